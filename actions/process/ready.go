package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/target"
)

const (
	readyEvery = 20 * time.Millisecond
	readyTry   = time.Second // one attempt
)

// ready is what answers once a process is ready.
type ready struct {
	text    string
	address string // host:port
	url     string // "" for a plain connection
}

func parseReady(text string) (ready, error) {
	if !strings.Contains(text, "://") {
		host, port, err := net.SplitHostPort(text)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 {
			return ready{}, fmt.Errorf("`ready: %q` is neither \"host:port\" nor a URL; write for example \"127.0.0.1:8080\" or \"http://127.0.0.1:8080/health\"", text)
		}
		if host == "" {
			host = "127.0.0.1"
		}
		return ready{text: text, address: net.JoinHostPort(host, port)}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ready{}, fmt.Errorf("`ready: %q` is no http or https URL", text)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return ready{text: text, address: net.JoinHostPort(u.Hostname(), port), url: text}, nil
}

// free refuses when something else answers already: it would be taken for the process to be started.
func (r ready) free(ctx context.Context) error {
	if r.connect(ctx) != nil {
		return nil
	}
	if err := r.unheld(); err != nil {
		return err
	}
	return r.busy("something else answers there")
}

// unheld is free for a plan: it only reads who listens.
func (r ready) unheld() error {
	_, port, _ := net.SplitHostPort(r.address)
	n, _ := strconv.Atoi(port)
	holders, _, err := target.Listeners(n)
	if err != nil || len(holders) == 0 {
		return nil
	}
	list := make([]string, len(holders))
	for i, p := range holders {
		list[i] = p.Describe()
	}
	return r.busy("process " + strings.Join(list, ", ") + " listens there")
}

func (r ready) busy(who string) error {
	return &target.BusyError{Text: fmt.Sprintf("%s is in use already: %s; end it, or choose another port", r.address, who)}
}

func (r ready) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: readyTry}).DialContext(ctx, "tcp", r.address)
	if err == nil {
		conn.Close()
	}
	return err
}

// await polls until it is ready, the process is down for good, or the time is over.
func (r ready) await(ctx context.Context, p *hold.Process, within time.Duration) error {
	limit, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	attempt := r.connect
	if r.url != "" {
		client := &http.Client{
			// Readiness is about the process, not about who signed its certificate, and no proxy stands between.
			Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       readyTry,
		}
		attempt = func(ctx context.Context) error { return r.get(ctx, client) }
	}
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	last := errors.New("no answer")
	for {
		err := attempt(limit)
		if err != nil && !cutShort(err) {
			last = err
		}
		s := p.State()
		if limit.Err() != nil {
			s = p.Settled() // that it has ended says more than that it is late
		}
		switch {
		case err == nil && s.Running:
			return nil
		case s.GaveUp || !s.Running && (s.Stopped || !p.Spec().Restart):
			hint := ""
			if s.Exited && s.ExitCode == 0 {
				hint = " (a program that goes into the background by itself cannot be kept: tell it to stay in the foreground, as with nginx's `daemon off;`)"
			}
			return fmt.Errorf("%s did not become ready: %s%s", p.HandleName(), ended(s), hint)
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s did not become ready within %s: %w", p.HandleName(), within, last)
		}
	}
}

// cutShort tells an attempt that ran into a limit of time, maybe our own: the one before it says more.
func cutShort(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout()
}

func (r ready) get(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= 400 {
		return fmt.Errorf("%s answers %s", r.text, resp.Status)
	}
	return nil
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// lastLines reads the end of what was written to a file after an offset: at most ten lines, of at most 4 KiB.
func lastLines(path string, after int64) string {
	const bytes, lines = 4096, 10
	f, err := os.Open(path)
	if err != nil || path == "" {
		return ""
	}
	defer f.Close()
	from := max(after, size(path)-bytes)
	data, _ := io.ReadAll(io.NewSectionReader(f, from, bytes))
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

func withOutput(err error, said string) error {
	if said == "" {
		return err
	}
	return fmt.Errorf("%w; its last words: %s", err, said)
}

// endElsewhere ends what a run left that is not this one.
func (s service) endElsewhere(ctx context.Context, e env.Env) error {
	// Of this run but never started, with the helper alive: there is nothing to wait for.
	if left, err := s.Mark.Left(); err == nil && len(left) == 0 && e.Hold != nil && e.Hold.Owns(s.Mark) {
		return nil
	}
	return s.Mark.End(ctx)
}
