package http

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// wire sends one message again and again over HTTP/1.1 and reads the answers.
//
// It stands beside net/http's client because a load generator must not hide what it is there to see: that client sends a
// GET again, silently, when a kept connection breaks before the answer, so a killed server would cost no error. It is also
// about twice as cheap, which leaves the processor to the system under test.
type wire struct {
	ctx     context.Context // ends dials, and with abort everything
	raw     []byte          // the request, ready to send
	request *http.Request   // how to read the answer: HEAD has no body
	address string
	tls     *tls.Config // nil without TLS
	timeout time.Duration
	keep    bool

	mu      sync.Mutex
	idle    []*connection // the last one was used most recently
	open    map[*connection]struct{}
	aborted bool
}

type connection struct {
	net.Conn
	reader *bufio.Reader
	since  time.Time // idle since
}

// maxIdle is how long an unused connection is kept. A burst would otherwise leave its connections behind for ever.
const maxIdle = 15 * time.Second

func newWire(ctx context.Context, m *message, timeout time.Duration, keep, insecure bool) (*wire, error) {
	w := &wire{ctx: ctx, request: m.request(), address: m.peer(), timeout: timeout, keep: keep, open: map[*connection]struct{}{}}
	if m.url.Scheme == "https" {
		w.tls = tlsConfig(m.url.Hostname(), insecure)
	}
	w.request.Close = !keep
	var raw bytes.Buffer
	if err := w.request.Write(&raw); err != nil {
		return nil, errors.New("the request cannot be written")
	}
	w.raw = raw.Bytes()
	return w, nil
}

// send sends the request and reads the whole answer.
func (w *wire) send() (status int, err error) {
	deadline := time.Now().Add(w.timeout)
	c := w.takeIdle()
	if c == nil {
		if c, err = w.dial(deadline); err != nil {
			return 0, err
		}
	}
	status, reusable, err := w.exchange(c, deadline)
	if err == nil && reusable && w.keep {
		w.putIdle(c)
	} else {
		w.drop(c)
	}
	return status, err
}

func (w *wire) exchange(c *connection, deadline time.Time) (status int, reusable bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return 0, false, err
	}
	w.mu.Lock()
	aborted := w.aborted // abort may have set its deadline just before ours
	w.mu.Unlock()
	if aborted {
		return 0, false, context.Canceled
	}
	if _, err := c.Write(w.raw); err != nil {
		return 0, false, err
	}
	for {
		answer, err := http.ReadResponse(c.reader, w.request)
		if err != nil {
			return 0, false, err
		}
		if answer.StatusCode < 200 && answer.StatusCode != http.StatusSwitchingProtocols {
			continue // 100 and its like announce the answer
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return answer.StatusCode, !answer.Close && c.reader.Buffered() == 0 && answer.StatusCode >= 200, err
	}
}

func (w *wire) dial(deadline time.Time) (*connection, error) {
	ctx, cancel := context.WithDeadline(w.ctx, deadline)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.address)
	if err != nil {
		return nil, err
	}
	if w.tls != nil {
		secured := tls.Client(raw, w.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		raw = secured
	}
	c := &connection{Conn: raw, reader: bufio.NewReader(raw)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted {
		raw.Close()
		return nil, context.Canceled
	}
	w.open[c] = struct{}{}
	return c, nil
}

// takeIdle returns the connection that was used last and is still alive, nil without one.
func (w *wire) takeIdle() *connection {
	for {
		w.mu.Lock()
		n := len(w.idle)
		if n == 0 {
			w.mu.Unlock()
			return nil
		}
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		if c.alive() {
			return c
		}
		w.drop(c)
	}
}

func (w *wire) putIdle(c *connection) {
	now := time.Now()
	c.since = now
	var stale *connection
	w.mu.Lock()
	w.idle = append(w.idle, c)
	if first := w.idle[0]; now.Sub(first.since) > maxIdle {
		stale = first
		w.idle = append(w.idle[:0], w.idle[1:]...)
	}
	w.mu.Unlock()
	if stale != nil {
		w.drop(stale)
	}
}

func (w *wire) drop(c *connection) {
	w.mu.Lock()
	delete(w.open, c)
	w.mu.Unlock()
	c.Close()
}

// abort makes everything that waits return now, for good.
func (w *wire) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = true
	w.idle = nil
	for c := range w.open {
		// Not through TLS: its Close would wait to say goodbye.
		if t, ok := c.Conn.(*tls.Conn); ok {
			t.NetConn().Close()
		} else {
			c.Close()
		}
	}
	clear(w.open)
}

// alive tells whether the server has left an idle connection open. An idle connection has nothing to read: what is there
// is the end of the stream or a farewell.
func (c *connection) alive() bool {
	raw := c.Conn
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	tcp, ok := raw.(syscall.Conn)
	if !ok {
		return false
	}
	control, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = control.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && quiet
}
