package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"
)

// sender is what all requests of a load share.
type sender struct {
	way     way
	first   *hop
	timeout time.Duration
	follow  bool
	cookies bool

	mu   sync.Mutex
	idle []*user // the last one was used most recently
}

// way carries one request to its server and reads the whole answer.
type way interface {
	exchange(u *user, h *hop, cookie string, deadline time.Time) (answer, error)
	// abort makes everything that waits return now, for good.
	abort()
}

// answer is what the load needs of an answer.
type answer struct {
	status int
	header http.Header
}

// hop is a request on its way to one URL: the first one, or one that a redirect asked for.
type hop struct {
	message *message
	request *http.Request // how to read the answer: HEAD has no body; never sent itself
	cookie  string        // what the script's own headers say
	address string
	origin  string // scheme and address: what a connection is good for
	// The request as HTTP/1.1 writes it. A Cookie line goes between head and tail.
	head, tail, raw []byte
}

func newHop(m *message, keep bool) (*hop, error) {
	h := &hop{message: m, request: m.request(), address: m.peer(), origin: m.url.Scheme + "://" + m.peer()}
	h.cookie = strings.Join(h.request.Header["Cookie"], "; ")
	h.request.Header.Del("Cookie")
	h.request.Close = !keep
	var raw bytes.Buffer
	written := *h.request
	if m.body != "" {
		written.Body, _ = h.request.GetBody()
	}
	if err := written.Write(&raw); err != nil {
		return nil, errors.New("the request cannot be written")
	}
	end := bytes.Index(raw.Bytes(), []byte("\r\n\r\n")) + 2
	h.head, h.tail = raw.Bytes()[:end], raw.Bytes()[end:]
	h.raw = h.bytes(h.cookie)
	return h, nil
}

// bytes is the request with a Cookie line.
func (h *hop) bytes(cookie string) []byte {
	out := make([]byte, 0, len(h.head)+len(cookie)+10+len(h.tail))
	out = append(out, h.head...)
	if cookie != "" {
		out = append(append(append(out, "Cookie: "...), cookie...), "\r\n"...)
	}
	return append(out, h.tail...)
}

// user is one who sends a request after the other: over HTTP/1.1 on connections of its own, and with a cookie jar of its
// own where cookies are asked for. In the closed model there are as many as clients; in the open model as many as were ever
// needed at once, and the one that was used last goes first.
type user struct {
	s     *sender
	jar   *cookiejar.Jar // nil without cookies
	conns []*connection  // of HTTP/1.1; one, unless redirects lead elsewhere
	since time.Time      // idle since
}

// maxIdle is how long an unused user is kept. A burst would otherwise leave its connections behind for ever.
const maxIdle = 15 * time.Second

func (s *sender) newUser() *user {
	u := &user{s: s}
	if s.cookies {
		u.jar, _ = cookiejar.New(nil) // without options it cannot fail
	}
	return u
}

// take returns the user that was used last, or a new one.
func (s *sender) take() *user {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.idle)
	if n == 0 {
		return s.newUser()
	}
	u := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return u
}

func (s *sender) put(u *user) {
	u.since = time.Now()
	var stale *user
	s.mu.Lock()
	s.idle = append(s.idle, u)
	if first := s.idle[0]; u.since.Sub(first.since) > maxIdle {
		stale = first
		s.idle = append(s.idle[:0], s.idle[1:]...)
	}
	s.mu.Unlock()
	if stale != nil {
		for _, c := range stale.conns {
			c.drop()
		}
	}
}

// send sends the request, follows redirects if so asked, and reads the whole answer.
func (u *user) send() (status int, err error) {
	deadline := time.Now().Add(u.s.timeout)
	h := u.s.first
	for redirects := 0; ; redirects++ {
		a, err := u.s.way.exchange(u, h, u.cookieFor(h), deadline)
		if err != nil {
			return 0, err
		}
		if u.jar != nil && a.header["Set-Cookie"] != nil {
			u.jar.SetCookies(h.message.url, (&http.Response{Header: a.header}).Cookies())
		}
		if !u.s.follow || !leadsOn(a.status, a.header) {
			return a.status, nil
		}
		if redirects == maxRedirects {
			return 0, errRedirects
		}
		if h, err = h.redirected(a); err != nil {
			return 0, err
		}
		if deadline.Before(time.Now()) {
			return 0, context.DeadlineExceeded
		}
	}
}

// cookieFor is the value of the Cookie header: the script's own and those that the server set.
func (u *user) cookieFor(h *hop) string {
	if u.jar == nil {
		return h.cookie
	}
	var line strings.Builder
	line.WriteString(h.cookie)
	for _, c := range u.jar.Cookies(h.message.url) {
		if line.Len() > 0 {
			line.WriteString("; ")
		}
		line.WriteString(c.Name + "=" + c.Value)
	}
	return line.String()
}

// leadsOn tells whether an answer is a redirect that can be followed.
func leadsOn(status int, header http.Header) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return header.Get("Location") != ""
	}
	return false
}

// redirected is the request that a redirect asks for, by the rules of browsers and net/http: all but 307 and 308 turn what
// is not HEAD into a GET without a body, and another host does not get to see credentials.
func (h *hop) redirected(a answer) (*hop, error) {
	from := h.message
	to, err := from.url.Parse(a.header.Get("Location"))
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "" {
		return nil, fmt.Errorf("a redirect leads nowhere")
	}
	to.Fragment, to.User = "", nil
	m := &message{url: to, method: from.method, header: from.header.Clone(), body: from.body}
	if relative, err := url.Parse(a.header.Get("Location")); err == nil && relative.Host == "" {
		m.host = from.host
	}
	if a.status != http.StatusTemporaryRedirect && a.status != http.StatusPermanentRedirect {
		if m.method != http.MethodHead {
			m.method = http.MethodGet
		}
		m.body = ""
		m.header.Del("Content-Type")
	}
	if to.Hostname() != from.url.Hostname() {
		m.header.Del("Authorization")
		m.header.Del("Cookie")
	}
	return newHop(m, !h.request.Close)
}
