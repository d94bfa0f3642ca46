package http

import (
	"bufio"
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

// wire sends requests over HTTP/1.1 and reads the answers.
//
// It stands beside net/http's client because a load generator must not hide what it is there to see: that client sends a
// GET again, silently, when a kept connection breaks before the answer, so a killed server would cost no error. It is also
// about twice as cheap, which leaves the processor to the system under test.
type wire struct {
	ctx      context.Context // ends dials
	keep     bool
	insecure bool

	mu      sync.Mutex
	open    map[*connection]struct{}
	aborted bool
}

// connection belongs to one user.
type connection struct {
	net.Conn
	wire   *wire
	origin string
	reader *bufio.Reader
	raw    syscall.RawConn // of the socket below
	look   func(fd uintptr)
	quiet  bool // what look saw
}

func newWire(ctx context.Context, keep, insecure bool) *wire {
	return &wire{ctx: ctx, keep: keep, insecure: insecure, open: map[*connection]struct{}{}}
}

func (w *wire) exchange(u *user, h *hop, cookie string, deadline time.Time) (answer, error) {
	c := u.connectionTo(h.origin)
	if c == nil {
		var err error
		if c, err = w.dial(h, deadline); err != nil {
			return answer{}, err
		}
	}
	raw := h.raw
	if cookie != h.cookie {
		raw = h.bytes(cookie)
	}
	a, reusable, err := c.exchange(raw, h.request, deadline)
	if err == nil && reusable && w.keep {
		u.conns = append(u.conns, c)
	} else {
		c.drop()
	}
	return a, err
}

// connectionTo takes out a connection that the server has left open, nil without one.
func (u *user) connectionTo(origin string) *connection {
	for i, c := range u.conns {
		if c.origin != origin {
			continue
		}
		u.conns = append(u.conns[:i], u.conns[i+1:]...)
		if c.alive() {
			return c
		}
		c.drop()
		return nil
	}
	return nil
}

func (c *connection) exchange(raw []byte, request *http.Request, deadline time.Time) (a answer, reusable bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return a, false, err
	}
	if _, err := c.Write(raw); err != nil {
		return a, false, err
	}
	for {
		response, err := http.ReadResponse(c.reader, request)
		if err != nil {
			return a, false, err
		}
		if response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			continue // 100 and its like announce the answer
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		return answer{response.StatusCode, response.Header}, !response.Close && c.reader.Buffered() == 0 && response.StatusCode >= 200, err
	}
}

func (w *wire) dial(h *hop, deadline time.Time) (*connection, error) {
	ctx, cancel := context.WithDeadline(w.ctx, deadline)
	defer cancel()
	bare, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: bare, wire: w, origin: h.origin}
	if socket, ok := bare.(syscall.Conn); ok {
		c.raw, _ = socket.SyscallConn()
	}
	c.look = func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		c.quiet = errors.Is(err, syscall.EAGAIN)
	}
	if h.message.url.Scheme == "https" {
		secured := tls.Client(bare, tlsConfig(h.message.url.Hostname(), w.insecure))
		if err := secured.HandshakeContext(ctx); err != nil {
			bare.Close()
			return nil, err
		}
		c.Conn = secured
	}
	c.reader = bufio.NewReader(c.Conn)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted {
		bare.Close()
		return nil, context.Canceled
	}
	w.open[c] = struct{}{}
	return c, nil
}

func (c *connection) drop() {
	c.wire.mu.Lock()
	delete(c.wire.open, c)
	c.wire.mu.Unlock()
	c.Close()
}

func (w *wire) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = true
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
	c.quiet = false
	return c.raw != nil && c.raw.Control(c.look) == nil && c.quiet
}
