package http

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chaos/lang/value"
)

// message is a request before it is sent: fixed when the probe opens, so that every sample sends the same bytes.
type message struct {
	url    *url.URL
	method string
	header http.Header
	host   string // instead of the URL's, from a `Host` header
	body   string
}

// content is what the body can be made of; at most one is given.
type content struct {
	text string
	json *value.Value
	form map[string]value.Value
	file string // a path; a relative one starts at dir
	dir  string
}

// compose checks the arguments and builds the message. The errors name the argument and say what to write.
func compose(method, address string, headers map[string]value.Value, c content) (*message, error) {
	m := &message{method: strings.ToUpper(method), header: http.Header{}}
	if m.method == "" || strings.ContainsFunc(m.method, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' && r != '_' }) {
		return nil, fmt.Errorf("`method`: %s is no HTTP method", value.Quote(method))
	}
	var err error
	if m.url, err = parseURL(address); err != nil {
		return nil, err
	}
	m.header.Set("User-Agent", "chaos")
	if u := m.url.User; u != nil {
		password, _ := u.Password()
		m.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
		m.url.User = nil
	}
	if err := m.setBody(c); err != nil {
		return nil, err
	}
	for name, v := range headers {
		text := plainText(v)
		if name == "" || strings.ContainsAny(name, " \t\r\n:") {
			return nil, fmt.Errorf("`headers`: %s is no header name", value.Quote(name))
		}
		if strings.ContainsAny(text, "\r\n") {
			return nil, fmt.Errorf("`headers`: the value of %s must be one line", name)
		}
		if strings.EqualFold(name, "host") {
			m.host = text
			continue
		}
		m.header.Set(name, text)
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

func (m *message) setBody(c content) error {
	given := []string{}
	if c.text != "" {
		given = append(given, "`body`")
		m.body = c.text
	}
	if c.json != nil {
		given = append(given, "`json`")
		data, err := json.Marshal(*c.json)
		if err != nil {
			return fmt.Errorf("`json`: the value cannot be written as JSON")
		}
		m.body = string(data)
		m.header.Set("Content-Type", "application/json")
	}
	if c.form != nil {
		given = append(given, "`form`")
		fields := url.Values{}
		for name, v := range c.form {
			items := v.Items()
			if items == nil {
				items = []value.Value{v}
			}
			for _, item := range items {
				fields.Add(name, plainText(item))
			}
		}
		m.body = fields.Encode()
		m.header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.file != "" {
		given = append(given, "`body_file`")
		var err error
		if m.body, err = readBodyFile(c.dir, c.file); err != nil {
			return err
		}
	}
	if len(given) > 1 {
		return fmt.Errorf("%s exclude each other: a request has one body", strings.Join(given, " and "))
	}
	return nil
}

// maxBodyFile bounds a body from a file: it is kept in memory, and sent with every request.
const maxBodyFile = 64 << 20

func readBodyFile(dir, path string) (string, error) {
	quoted := value.Quote(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("`body_file`: there is no file %s; a relative path starts at the script's folder", quoted)
	case err != nil:
		return "", fmt.Errorf("`body_file`: %s cannot be looked at", quoted)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("`body_file`: %s is no plain file", quoted)
	case info.Size() > maxBodyFile:
		return "", fmt.Errorf("`body_file`: %s has more than 64MiB", quoted)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("`body_file`: %s cannot be read", quoted)
	}
	return string(data), nil
}

// plainText is a value inside a header or a form: strings as they are, everything else as the language prints it.
func plainText(v value.Value) string {
	if s, ok := v.V.(string); ok {
		return s
	}
	if v.V == nil {
		return ""
	}
	return v.String()
}

// peer is host:port, for messages and dialling.
func (m *message) peer() string {
	if m.url.Port() != "" {
		return m.url.Host
	}
	if m.url.Scheme == "https" {
		return m.url.Host + ":443"
	}
	return m.url.Host + ":80"
}

// request is the message as the net/http client wants it.
func (m *message) request() *http.Request {
	req := &http.Request{
		Method: m.method, URL: m.url, Host: m.url.Host, Header: m.header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if m.host != "" {
		req.Host = m.host
	}
	m.attach(req)
	return req
}

// tlsConfig is for HTTP/1.1 alone: one connection then carries one request, which is what the probes measure.
func tlsConfig(serverName string, insecure bool) *tls.Config {
	return &tls.Config{ServerName: serverName, InsecureSkipVerify: insecure, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS10}
}

// lowerHeaders makes header names lower case, since HTTP does not tell cases apart and a script must pick one.
func lowerHeaders(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for name, values := range h {
		out[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(slices.Clone(values), ", "), "\uFFFD")
	}
	return out
}

// attach gives a request its body, which can be read again after a redirect.
func (m *message) attach(req *http.Request) {
	if m.body == "" {
		return
	}
	req.ContentLength = int64(len(m.body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(m.body)), nil }
	req.Body, _ = req.GetBody()
}
