// Package httpmsg composes HTTP requests from the arguments of a script, and keeps them as data: an undo record may carry
// one to another process.
package httpmsg

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"chaos/lang/value"
)

// Message is a request before it is sent.
type Message struct {
	Method string      `json:"method"`
	URL    string      `json:"url"` // without user and fragment
	Host   string      `json:"host,omitempty"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

// Content is what the body can be made of; at most one is given.
type Content struct {
	Text string
	JSON *value.Value
	Form map[string]value.Value
}

// Compose checks the arguments and builds the message. The errors name the argument and say what to write.
func Compose(method, address string, headers map[string]value.Value, c Content) (Message, error) {
	m := Message{Method: strings.ToUpper(method), Header: http.Header{}}
	if m.Method == "" || strings.ContainsFunc(m.Method, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' && r != '_' }) {
		return m, fmt.Errorf("`method`: %s is no HTTP method", value.Quote(method))
	}
	u, err := parseURL(address)
	if err != nil {
		return m, err
	}
	m.Header.Set("User-Agent", "chaos")
	if u.User != nil {
		password, _ := u.User.Password()
		m.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
		u.User = nil
	}
	m.URL = u.String()
	if err := m.setBody(c); err != nil {
		return m, err
	}
	for name, v := range headers {
		text := PlainText(v)
		if name == "" || strings.ContainsAny(name, " \t\r\n:") {
			return m, fmt.Errorf("`headers`: %s is no header name", value.Quote(name))
		}
		if strings.ContainsAny(text, "\r\n") {
			return m, fmt.Errorf("`headers`: the value of %s must be one line", name)
		}
		if strings.EqualFold(name, "host") {
			m.Host = text
			continue
		}
		m.Header.Set(name, text)
	}
	return m, nil
}

func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil && !strings.Contains(address, "://"), err == nil && u.Host == "" && !strings.Contains(address, "://"):
		return nil, fmt.Errorf("`url`: %s has no scheme; write %s", value.Quote(address), value.Quote("http://"+strings.TrimPrefix(address, "//")))
	case err != nil:
		return nil, fmt.Errorf("`url`: %s is no URL", value.Quote(address))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("`url`: %s is neither http nor https", value.Quote(address))
	case u.Hostname() == "":
		return nil, fmt.Errorf("`url`: %s names no host", value.Quote(address))
	}
	u.Fragment = ""
	return u, nil
}

func (m *Message) setBody(c Content) error {
	given := []string{}
	if c.Text != "" {
		given = append(given, "`body`")
		m.Body = []byte(c.Text)
	}
	if c.JSON != nil {
		given = append(given, "`json`")
		data, err := json.Marshal(*c.JSON)
		if err != nil {
			return fmt.Errorf("`json`: the value cannot be written as JSON")
		}
		m.Body = data
		m.Header.Set("Content-Type", "application/json")
	}
	if c.Form != nil {
		given = append(given, "`form`")
		fields := url.Values{}
		for name, v := range c.Form {
			items := v.Items()
			if items == nil {
				items = []value.Value{v}
			}
			for _, item := range items {
				fields.Add(name, PlainText(item))
			}
		}
		m.Body = []byte(fields.Encode())
		m.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if len(given) > 1 {
		return fmt.Errorf("%s exclude each other: a request has one body", strings.Join(given, " and "))
	}
	return nil
}

// PlainText is a value inside a header or a form: strings as they are, everything else as the language prints it.
func PlainText(v value.Value) string {
	if s, ok := v.V.(string); ok {
		return s
	}
	if v.V == nil {
		return ""
	}
	return v.String()
}

// Peer is host:port, for messages about the network.
func (m Message) Peer() string {
	u, err := url.Parse(m.URL)
	switch {
	case err != nil:
		return m.URL
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// Request is the message as the net/http client wants it.
func (m Message) Request() (*http.Request, error) {
	u, err := parseURL(m.URL)
	if err != nil {
		return nil, err
	}
	req := &http.Request{
		Method: m.Method, URL: u, Host: u.Host, Header: m.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if m.Host != "" {
		req.Host = m.Host
	}
	if len(m.Body) > 0 {
		req.ContentLength = int64(len(m.Body))
		req.Body = io.NopCloser(bytes.NewReader(m.Body))
	}
	return req, nil
}
