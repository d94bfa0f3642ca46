package http

import (
	"crypto/tls"
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
	"chaos/runtime/httpmsg"
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
	made, err := httpmsg.Compose(method, address, headers, httpmsg.Content{Text: c.text, JSON: c.json, Form: c.form})
	if err != nil {
		return nil, err
	}
	m := &message{method: made.Method, header: made.Header, host: made.Host, body: string(made.Body)}
	if m.url, err = url.Parse(made.URL); err != nil {
		return nil, err
	}
	if c.file == "" {
		return m, nil
	}
	for name, given := range map[string]bool{"body": c.text != "", "json": c.json != nil, "form": c.form != nil} {
		if given {
			return nil, fmt.Errorf("`%s` and `body_file` exclude each other: a request has one body", name)
		}
	}
	m.body, err = readBodyFile(c.dir, c.file)
	return m, err
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
