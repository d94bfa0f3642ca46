package http

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// streams sends requests over HTTP/2, where many share a connection. As many share one as the server permits, but for one;
// a further connection is opened only when all are full. Nothing that a server may have seen is sent again: net/http's pool
// of connections would do that.
type streams struct {
	ctx       context.Context
	keep      bool
	transport *http.Transport

	mu      sync.Mutex
	origins map[string]*origin
	open    map[*shared]struct{}
	aborted bool
}

// origin is what is open towards one server.
type origin struct {
	conns   []*shared
	limit   int      // requests at once on a connection, as the last one that told it has it; 0: not known yet
	dialing *opening // nil when none is under way
}

// spare is how many of a connection's streams stay unused. A server may count a stream as ended only when its last frame is
// out, which is after we have read it: Go's does so, and answers the next request with PROTOCOL_ERROR if that was the last
// stream there is. It writes one frame at a time, so one is enough.
const spare = 1

// opening is an attempt at a connection, which all who need one wait for.
type opening struct {
	done chan struct{}
	err  error
}

// shared is a connection of many users.
type shared struct {
	*http.ClientConn
	origin  *origin
	known   bool // it has answered, so the server's settings are here
	retired bool // no new request: it is closed when the last one is answered
	users   int
}

func newStreams(ctx context.Context, keep, insecure bool) *streams {
	var only http.Protocols
	only.SetHTTP2(true)
	only.SetUnencryptedHTTP2(true)
	config := tlsConfig("", insecure)
	config.NextProtos = nil // ALPN offers what Protocols says
	return &streams{
		ctx: ctx, keep: keep, origins: map[string]*origin{}, open: map[*shared]struct{}{},
		transport: &http.Transport{
			DialContext:        (&net.Dialer{}).DialContext,
			TLSClientConfig:    config,
			DisableCompression: true,
			Protocols:          &only,
		},
	}
}

func (w *streams) exchange(_ *user, h *hop, cookie string, deadline time.Time) (answer, error) {
	ctx, cancel := context.WithDeadline(w.ctx, deadline)
	defer cancel()
	request := h.request.WithContext(ctx)
	request.Close = false // a header of HTTP/1.1; the connection is closed here
	if cookie != "" {
		request.Header = request.Header.Clone()
		request.Header.Set("Cookie", cookie)
	}
	for attempt := 0; ; attempt++ {
		c, known, err := w.reserve(ctx, h)
		if err != nil {
			return answer{}, err
		}
		if request.GetBody != nil {
			request.Body, _ = request.GetBody()
		}
		a, err := roundTrip(c, request)
		// After a timeout a connection gets no further request, as over HTTP/1.1: the silence may be the connection's.
		w.release(c, err == nil, !w.keep || ctx.Err() != nil)
		if err == nil || attempt == maxAttempts || !unseen(err, known) {
			return a, err
		}
	}
}

// maxAttempts bounds how often a request that no server looked at is sent once more.
const maxAttempts = 3

// unseen tells of a request that failed whether the server certainly did not look at it: our mistake, not a failure of the
// service. known tells whether the limit of its connection was.
func unseen(err error, known bool) bool {
	text := err.Error() // none of these has a name or a type outside net/http
	switch {
	case strings.Contains(text, "client conn not usable"): // another request ended the connection before this one was sent
		return true
	case strings.Contains(text, "graceful shutdown GOAWAY"): // the server takes no more than it has looked at (RFC 9113, 6.8)
		return true
	case strings.Contains(text, "REFUSED_STREAM"), strings.Contains(text, "PROTOCOL_ERROR; received from peer"):
		return !known // beyond the limit (RFC 9113, 5.1.2)
	}
	return false
}

func roundTrip(c *shared, request *http.Request) (answer, error) {
	response, err := c.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 {
		return answer{}, errNotHTTP2
	}
	_, err = io.Copy(io.Discard, response.Body)
	return answer{response.StatusCode, response.Header}, err
}

// reserve finds room for one request; known tells whether the connection's limit is.
func (w *streams) reserve(ctx context.Context, h *hop) (c *shared, known bool, err error) {
	if !w.keep {
		c, err = w.connect(ctx, h)
		return c, true, err // one request is beyond no limit
	}
	for {
		w.mu.Lock()
		o := w.origins[h.origin]
		if o == nil {
			o = &origin{}
			w.origins[h.origin] = o
		}
		if c := w.room(o); c != nil {
			known := c.known
			w.mu.Unlock()
			return c, known, nil
		}
		d := o.dialing
		mine := d == nil
		if mine {
			d = &opening{done: make(chan struct{})}
			o.dialing = d
		}
		w.mu.Unlock()
		if !mine {
			select {
			case <-d.done:
			case <-ctx.Done():
				return nil, false, context.Cause(ctx)
			}
			if d.err != nil {
				return nil, false, d.err
			}
			continue
		}
		c, err := w.connect(ctx, h)
		w.mu.Lock()
		o.dialing = nil
		d.err = err
		if err == nil {
			c.origin = o
			o.conns = append(o.conns, c)
		}
		w.mu.Unlock()
		close(d.done)
		return c, false, err
	}
}

// room reserves a stream on the first connection that has one. The lock is held.
func (w *streams) room(o *origin) *shared {
	for i := 0; i < len(o.conns); {
		c := o.conns[i]
		if c.Err() != nil {
			w.retire(c)
			continue
		}
		if (o.limit == 0 || c.users < o.limit) && c.Reserve() == nil {
			c.users++
			return c
		}
		i++
	}
	return nil
}

// connect opens a connection and reserves its first stream.
func (w *streams) connect(ctx context.Context, h *hop) (*shared, error) {
	conn, err := w.transport.NewClientConn(ctx, h.message.url.Scheme, h.address)
	if err != nil {
		return nil, err
	}
	if err := conn.Reserve(); err != nil {
		conn.Close()
		return nil, err
	}
	c := &shared{ClientConn: conn, users: 1}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aborted {
		conn.Close()
		return nil, context.Canceled
	}
	w.open[c] = struct{}{}
	return c, nil
}

// retire takes a connection out of its pool; the last user closes it. The lock is held.
func (w *streams) retire(c *shared) {
	if c.origin != nil {
		c.origin.conns = slices.DeleteFunc(c.origin.conns, func(o *shared) bool { return o == c })
	}
	c.retired = true
	if c.users == 0 {
		delete(w.open, c)
		go c.Close() // it may wait for the lock of a write that hangs
	}
}

// release ends a user's turn.
func (w *streams) release(c *shared, answered, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.users--
	if answered && !c.known && c.origin != nil {
		// A connection that has failed meanwhile says nothing of its limit.
		if limit := c.Available() + c.InFlight(); c.Err() == nil {
			c.known = true
			c.origin.limit = max(limit-spare, 1)
		}
	}
	if last || c.retired || c.Err() != nil {
		w.retire(c)
	}
}

func (w *streams) abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = true
	for c := range w.open {
		go c.Close()
	}
	clear(w.open)
}
