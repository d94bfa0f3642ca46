// Package http watches what answers in HTTP: single requests (`http.get`, `http.post`, `http.request`), each a sample of
// its own, and a stream of them (`http.load`).
//
// A single request opens a connection of its own: one kept from the last sample would hide that nobody accepts new ones.
package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/netfail"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{get(), post(), request(), load()} }

const (
	maxBody      = 1 << 20 // of a sample, in bytes; the rest is read, for its time, and dropped
	maxRedirects = 10      // as browsers and net/http have it
)

// options are the arguments that all single requests share.
type options struct {
	Headers  map[string]value.Value `chaos:"headers" help:"headers to send, as a map; Host sets the virtual host"`
	Body     string                 `chaos:"body" help:"the body as text"`
	JSON     *value.Value           `chaos:"json" help:"the body as a value, sent as JSON with its content type"`
	Form     map[string]value.Value `chaos:"form" help:"the body as the fields of a form, sent URL-encoded with its content type"`
	Timeout  time.Duration          `chaos:"timeout" default:"5s" range:">0s" help:"how long connecting, sending and reading the whole answer may take together"`
	Insecure bool                   `chaos:"insecure" default:"false" help:"accept any TLS certificate"`
	Follow   bool                   `chaos:"follow" default:"true" help:"follow redirects, up to 10; otherwise the redirect is the answer"`
}

// Sample is one answer, or its absence.
type Sample struct {
	OK      bool              `chaos:"ok" help:"a whole answer came, with a status below 400"`
	Status  int               `chaos:"status" help:"the status code, 0 without an answer"`
	Latency *time.Duration    `chaos:"latency" help:"from the start of connecting to the last byte of the body; of a timeout the time waited; absent when the connection failed"`
	Body    *string           `chaos:"body" help:"the body as text, cut after 1MiB; absent without an answer"`
	JSON    *value.Value      `chaos:"json" help:"the body as JSON; absent unless it is JSON"`
	Headers map[string]string `chaos:"headers" help:"the headers of the answer, by lower-case name"`
	Error   string            `chaos:"error" help:"why there is no whole answer, in words; empty when there is one"`
}

type bareArgs struct {
	URL string `chaos:"url,required,positional,filled" help:"where to send the request"`
	options
}

type requestArgs struct {
	URL    string `chaos:"url,required,positional,filled" help:"where to send the request"`
	Method string `chaos:"method,required,filled" help:"the method, such as PUT"`
	options
}

func get() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "http.get",
		Summary: "Sends a GET request on a connection of its own and shows the answer; that there is none is a sample too.",
		Example: `probe home = http.get("http://127.0.0.1:8080/", timeout: 2s) every 200ms`,
	}, func(_ context.Context, _ env.Env, in bareArgs) (probes.Take[Sample], error) {
		return open(http.MethodGet, in.URL, in.options)
	})
}

func post() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "http.post",
		Summary: "Sends a POST request on a connection of its own and shows the answer; that there is none is a sample too.",
		Example: `probe order = http.post("http://127.0.0.1:8080/orders", json: {item: "tea", count: 2}) every 1s`,
	}, func(_ context.Context, _ env.Env, in bareArgs) (probes.Take[Sample], error) {
		return open(http.MethodPost, in.URL, in.options)
	})
}

func request() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "http.request",
		Summary: "Sends a request with any method on a connection of its own and shows the answer; that there is none is a sample too.",
		Example: `probe alive = http.request("http://127.0.0.1:8080/health", method: "HEAD", follow: false) every 1s`,
	}, func(_ context.Context, _ env.Env, in requestArgs) (probes.Take[Sample], error) {
		return open(in.Method, in.URL, in.options)
	})
}

func open(method, address string, o options) (probes.Take[Sample], error) {
	m, err := compose(method, address, o.Headers, content{text: o.Body, json: o.JSON, form: o.Form})
	if err != nil {
		return nil, err
	}
	// No proxy from the environment: a probe measures the way that its URL names. No compression: the body is shown as sent.
	first, err := newHop(m, false)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (Sample, error) { return take(ctx, first, o) }, nil
}

var errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

// take sends one request. Only the end of the run is an error; every failure of the server is a sample.
func take(parent context.Context, first *hop, o options) (Sample, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(parent, o.Timeout)
	defer cancel()
	h := first
	var s Sample
	var data []byte
	whole := false
	var err error
	for redirects := 0; ; redirects++ {
		var next *hop
		if next, err = visit(ctx, h, o, redirects, func(answer *http.Response) (err error) {
			s = Sample{OK: answer.StatusCode < 400, Status: answer.StatusCode, Headers: lowerHeaders(answer.Header)}
			data, whole, err = readBody(answer.Body)
			text := strings.ToValidUTF8(string(data), "\uFFFD") // the journal is UTF-8, and a verdict must come out of it again
			s.Body = &text
			return err
		}); next == nil {
			break
		}
		h = next
	}
	waited := time.Since(start)
	switch {
	case err == nil:
		s.Latency = &waited
		if whole {
			s.JSON = parseJSON(data)
		}
		return s, nil
	case errors.Is(parent.Err(), context.Canceled):
		return Sample{}, parent.Err()
	}
	s.OK = false
	s.Error = netfail.Text(err, h.address)
	if ctx.Err() != nil || netfail.IsTimeout(err) {
		s.Latency = &waited
		s.Error = netfail.Timeout(h.address, o.Timeout)
	}
	return s, nil
}

// visit sends a request on a connection of its own and hands the answer to read, or returns where a redirect leads.
func visit(ctx context.Context, h *hop, o options, redirects int, read func(*http.Response) error) (next *hop, err error) {
	c, err := dial(ctx, h, o.Insecure)
	if err != nil {
		return nil, err
	}
	defer c.bare().Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	response, err := c.send(h.raw, h.request)
	if err != nil {
		return nil, err
	}
	if !o.Follow || !leadsOn(response.StatusCode, response.Header) {
		return nil, read(response)
	}
	if redirects == maxRedirects {
		return nil, errRedirects
	}
	return h.redirected(answer{response.StatusCode, response.Header})
}

// readBody reads to the end, since the latency is that of the whole body, and keeps the first maxBody bytes.
func readBody(r io.Reader) (data []byte, whole bool, err error) {
	data, err = io.ReadAll(io.LimitReader(r, maxBody))
	if err != nil {
		return data, false, err
	}
	dropped, err := io.Copy(io.Discard, r)
	return data, dropped == 0, err
}

func parseJSON(data []byte) *value.Value {
	var x any
	if len(data) == 0 || json.Unmarshal(data, &x) != nil {
		return nil
	}
	v := value.FromPlain(x, nil)
	return &v
}
