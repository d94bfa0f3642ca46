package http

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"chaos/runtime/netfail"
)

// wire sends the requests of a load over HTTP/1.1 and reads the answers.
//
// It and its connections stand beside net/http's client because a load generator must not hide what it is there to see:
// that client sends a GET again, silently, when a kept connection breaks before the answer, so a killed server would cost
// no error. They are also about twice as cheap, which leaves the processor to the system under test.
type wire struct {
	ctx      context.Context // ends dials
	keep     bool
	insecure bool

	mu      sync.Mutex
	open    map[*connection]struct{}
	aborted bool
}

// connection carries one request at a time.
type connection struct {
	net.Conn
	wire   *wire // nil for a single request
	origin string
	budget int // bytes that may come until the header of an answer is whole
	reader *bufio.Reader
	raw    syscall.RawConn // of the socket below
	look   func(fd uintptr)
	quiet  bool // what look saw
	// post sends what is in out once, and has its caller wait until there is something to read; see ask.
	post func(fd uintptr) bool
	out  []byte
	sent error

	usual  int    // how many of its latest answers were of the usual kind in a row; never with TLS
	prefix []byte // read already, by a lane
	ended  error  // what the lane read behind that; nil for nothing
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
	a, reusable, err := c.exchange(raw, h.request, u.s.follow || u.s.cookies, deadline)
	u.keep(c, err == nil && reusable && w.keep)
	return a, err
}

// goOn goes on with a request that a lane has begun.
func (u *user) goOn(p *pending) (status int, err error) {
	switch {
	case p.failed != nil:
		return 0, p.failed
	case p.c == nil:
		return u.send()
	}
	a, reusable, err := answer{}, false, p.c.SetDeadline(p.due)
	if err == nil {
		a, reusable, err = p.c.finish(p.unsent, u.s.first.request)
	}
	u.keep(p.c, err == nil && reusable)
	return a.status, err
}

func (u *user) keep(c *connection, reusable bool) {
	if reusable {
		u.conns = append(u.conns, c)
	} else {
		c.drop()
	}
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

// exchange sends a request and reads the whole answer. The header of the answer is kept where it is asked for.
func (c *connection) exchange(raw []byte, request *http.Request, header bool, deadline time.Time) (a answer, reusable bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return a, false, err
	}
	if !header && request.Method != http.MethodHead && len(raw) <= small {
		if err := c.ask(raw); err != nil {
			return a, false, err
		}
		status, ok, err := c.skim()
		if c.usual++; !ok || c.post == nil {
			c.usual = 0
		}
		if ok || err != nil {
			return answer{status: status}, c.empty(), err
		}
		raw = nil
	}
	return c.finish(raw, request)
}

// finish sends what is left of a request, and reads the whole answer, of whatever kind.
func (c *connection) finish(raw []byte, request *http.Request) (a answer, reusable bool, err error) {
	c.usual = 0
	response, err := c.send(raw, request)
	if err != nil {
		return a, false, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return answer{response.StatusCode, response.Header}, !response.Close && c.empty() && response.StatusCode >= 200, err
}

// empty tells that nothing is left of what was read: behind an answer, that is something else.
func (c *connection) empty() bool { return c.reader.Buffered() == 0 && len(c.prefix) == 0 }

// ask sends a request and waits for the answer to come. To wait before a first attempt to read, which would find nothing,
// saves one system call in four.
func (c *connection) ask(request []byte) error {
	if c.post == nil {
		_, err := c.Write(request)
		return err
	}
	c.out, c.sent = request, nil
	_ = c.raw.Read(c.post) // the end of the time, or of the connection, is for the reading to say
	return c.sent
}

// small is what a socket surely takes in one go, so that no server can refuse it halfway.
const small = 4 << 10

// skim reads an answer of the usual kind. ok is false, and nothing is read, for everything else, which net/http shall judge.
func (c *connection) skim() (status int, ok bool, err error) {
	c.budget = maxHeader
	if _, err := c.reader.Peek(1); err == io.EOF {
		return 0, false, io.ErrUnexpectedEOF
	} else if err != nil {
		return 0, false, err
	}
	begun, _ := c.reader.Peek(c.reader.Buffered())
	status, length, ok := skim(begun)
	if !ok {
		return 0, false, nil
	}
	c.budget = math.MaxInt
	if _, err = c.reader.Discard(length); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return status, true, err
}

// skim understands the beginning of an answer of the usual kind: a final one in HTTP/1.1 that keeps the connection and tells
// its length, in a header that came at once. To build the header only to drop it would be a fifth of the work of a load.
func skim(begun []byte) (status, length int, ok bool) {
	end := bytes.Index(begun, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, 0, false
	}
	line, rest, _ := bytes.Cut(begun[:end+2], []byte("\r\n"))
	if len(line) < 13 || string(line[:9]) != "HTTP/1.1 " || line[12] != ' ' {
		return 0, 0, false
	}
	status, valid := digits(line[9:12])
	if !valid || status < 200 || status == http.StatusNoContent || status == http.StatusNotModified {
		return 0, 0, false
	}
	body := -1
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, text, found := bytes.Cut(line, []byte(":"))
		if !found || len(name) == 0 || bytes.ContainsAny(name, " \t\n") {
			return 0, 0, false
		}
		switch {
		case len(name) == len("Content-Length") && strings.EqualFold(string(name), "Content-Length"):
			n, valid := digits(bytes.TrimSpace(text))
			if !valid || body >= 0 {
				return 0, 0, false
			}
			body = n
		case len(name) == len("Connection") && strings.EqualFold(string(name), "Connection"):
			if !strings.EqualFold(string(bytes.TrimSpace(text)), "keep-alive") {
				return 0, 0, false
			}
		case len(name) == len("Transfer-Encoding") && strings.EqualFold(string(name), "Transfer-Encoding"):
			return 0, 0, false
		}
	}
	return status, end + 4 + body, body >= 0
}

// digits reads a number that is nothing but digits, and not too many.
func digits(text []byte) (n int, ok bool) {
	if len(text) == 0 || len(text) > 15 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// maxHeader bounds the header of an answer, as net/http does: a server that never ends it must not cost us our memory.
const maxHeader = 10 << 20

var errHeader = errors.New("malformed HTTP: the header of the answer has more than 10MiB")

// send sends a request, if there is one still to send, and reads the header of its answer; the body is still to be read.
func (c *connection) send(raw []byte, request *http.Request) (*http.Response, error) {
	// A server may refuse a body before it has read all of it: then the writing fails, and the answer is there.
	var failed error
	if len(raw) > 0 {
		_, failed = c.Write(raw)
	}
	if failed != nil && netfail.IsTimeout(failed) {
		return nil, failed
	}
	c.budget = maxHeader
	for {
		response, err := http.ReadResponse(c.reader, request)
		switch {
		case err != nil && failed != nil:
			return nil, failed
		case err != nil:
			return nil, err
		case response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols:
			continue // 100 and its like announce the answer
		}
		c.budget = math.MaxInt
		if failed != nil {
			response.Close = true
		}
		return response, nil
	}
}

// Read is what reader reads from.
func (c *connection) Read(p []byte) (int, error) {
	if c.budget <= 0 {
		return 0, errHeader
	}
	n, err := 0, c.ended
	switch {
	case len(c.prefix) > 0:
		n, err = copy(p, c.prefix), nil
		c.prefix = c.prefix[n:]
	case c.ended == nil:
		n, err = c.Conn.Read(p)
	}
	c.budget -= n
	return n, err
}

// dial opens a connection for a request.
func dial(ctx context.Context, h *hop, insecure bool) (*connection, error) {
	bare, err := connect(ctx, h.address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: bare, origin: h.origin}
	if h.message.url.Scheme == "https" {
		secured := tls.Client(bare, tlsConfig(h.message.url.Hostname(), insecure))
		if err := secured.HandshakeContext(ctx); err != nil {
			bare.Close()
			return nil, err
		}
		c.Conn = secured
	}
	c.reader = bufio.NewReader(c)
	return c, nil
}

// connect passes over the resolver where the host is an address already: that is a tenth of a request on loopback.
func connect(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	if literal, err := netip.ParseAddrPort(address); err == nil {
		c, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, literal)
		if err != nil {
			return nil, err // not a nil *TCPConn in an interface
		}
		return c, nil
	}
	return dialer.DialContext(ctx, "tcp", address)
}

// dial opens a connection for a user.
func (w *wire) dial(h *hop, deadline time.Time) (*connection, error) {
	ctx, cancel := context.WithDeadline(w.ctx, deadline)
	defer cancel()
	c, err := dial(ctx, h, w.insecure)
	if err != nil {
		return nil, err
	}
	return w.adopt(c)
}

// adopt makes a connection one of the load's.
func (w *wire) adopt(c *connection) (*connection, error) {
	c.wire = w
	if c.reader == nil {
		c.reader = bufio.NewReader(c)
	}
	bare := c.bare()
	if socket, ok := bare.(syscall.Conn); ok {
		c.raw, _ = socket.SyscallConn()
	}
	c.look = func(fd uintptr) { c.quiet = quiet(int(fd)) }
	if c.raw != nil && c.Conn == bare {
		c.post = func(uintptr) bool {
			if c.out == nil {
				return true
			}
			_, c.sent = c.Write(c.out)
			c.out = nil
			return c.sent != nil
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted {
		bare.Close()
		return nil, context.Canceled
	}
	w.open[c] = struct{}{}
	return c, nil
}

// bare is the connection below TLS, whose Close would wait to say goodbye.
func (c *connection) bare() net.Conn {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c.Conn
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
		c.bare().Close()
	}
	clear(w.open)
}

// alive tells whether the server has left an idle connection open.
func (c *connection) alive() bool {
	c.quiet = false
	return c.raw != nil && c.raw.Control(c.look) == nil && c.quiet
}

// quiet tells that an idle connection has nothing to read: what is there is the end of the stream or a farewell.
func quiet(fd int) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}
