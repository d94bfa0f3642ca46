package http

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"chaos/lang/value"
	"chaos/runtime/netfail"
)

const maxBody = 1 << 20 // of a result, in bytes

// send sends the request, once, and demands an allowed status.
func (o order) send(parent context.Context) (Result, error) {
	req, err := o.Message.Request()
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(parent, o.Timeout)
	defer cancel()
	failed := func(err error) (Result, error) {
		switch {
		case parent.Err() != nil:
			return Result{}, fmt.Errorf("%s was stopped before its answer: %w", o, context.Cause(parent))
		case ctx.Err() != nil || netfail.IsTimeout(err):
			return Result{}, fmt.Errorf("%s: %s", o, netfail.Timeout(o.Message.Peer(), o.Timeout))
		}
		return Result{}, fmt.Errorf("%s: %s", o, netfail.Text(err, o.Message.Peer()))
	}
	// No proxy from the environment, and no connection that was used before: the client would then send again by itself
	// what it cannot know to have arrived.
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:        (&net.Dialer{}).DialContext,
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: o.Insecure, NextProtos: []string{"http/1.1"}},
			DisableKeepAlives:  true,
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return failed(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err != nil {
		return failed(err)
	}
	whole := len(data) <= maxBody
	data = data[:min(len(data), maxBody)]
	r := Result{Status: answer.StatusCode, Body: strings.ToValidUTF8(string(data), "\uFFFD")}
	var x any
	if whole && len(data) > 0 && json.Unmarshal(data, &x) == nil {
		v := value.FromPlain(x, nil)
		r.JSON = &v
	}
	if !o.allows(r.Status) {
		return Result{}, refusal(o, answer, r.Body)
	}
	return r, nil
}

func (o order) allows(status int) bool {
	if len(o.Allow) > 0 {
		return slices.Contains(o.Allow, status)
	}
	return status >= 200 && status <= 299
}

// refusal says what the server answered instead of a success.
func refusal(o order, answer *http.Response, body string) error {
	text := fmt.Sprintf("%s was answered with status %d", o, answer.StatusCode)
	if name := http.StatusText(answer.StatusCode); name != "" {
		text += " (" + name + ")"
	}
	if to := answer.Header.Get("Location"); to != "" && answer.StatusCode/100 == 3 {
		return fmt.Errorf("%s to %s; send it there", text, to)
	}
	if line := firstLine(body); line != "" {
		text += ": " + line
	}
	return fmt.Errorf("%s", text)
}

// firstLine is the first line that says something, and not all of a long one.
func firstLine(body string) string {
	const most = 200
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line != "" {
			if r := []rune(line); len(r) > most {
				return string(r[:most]) + "…"
			}
			return line
		}
	}
	return ""
}
