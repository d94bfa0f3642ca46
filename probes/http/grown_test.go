package http

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/needtest"
)

// serveHTTP starts a server with these protocols, over TLS or not, and counts its connections.
func serveHTTP(t *testing.T, secure bool, protocols func(*http.Protocols), h http.HandlerFunc) (url string, connections *atomic.Int64) {
	t.Helper()
	connections = &atomic.Int64{}
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = &http.Protocols{}
	protocols(server.Config.Protocols)
	server.EnableHTTP2 = server.Config.Protocols.HTTP2()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 4}
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.URL, connections
}

func onlyHTTP1(p *http.Protocols) { p.SetHTTP1(true) }
func withHTTP2(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true); p.SetUnencryptedHTTP2(true) }

// wantFailures compares the reasons, and that they add up to the errors.
func wantFailures(t *testing.T, w *window, reasons ...string) {
	t.Helper()
	sum := 0
	for _, n := range w.failures {
		sum += n
	}
	if sum != w.errors {
		t.Errorf("the reasons %v add up to %d, there are %d errors", w.failures, sum, w.errors)
	}
	for _, r := range reasons {
		if w.failures[r] == 0 {
			t.Errorf("%q is not among the reasons %v", r, w.failures)
		}
	}
	if len(w.failures) != len(reasons) {
		t.Errorf("the reasons are %v, want %q", w.failures, reasons)
	}
}

func TestRedirectsOfALoad(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer other.Close()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/see":
			http.Redirect(w, r, "got", http.StatusSeeOther)
		case "/keep":
			http.Redirect(w, r, "/posted", http.StatusPermanentRedirect)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/nowhere":
			w.Header().Set("Location", "gopher://x/")
			w.WriteHeader(http.StatusFound)
		case "/away":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/got":
			if r.Method != "GET" || len(body) > 0 || r.Host != "shop.test" {
				w.WriteHeader(http.StatusTeapot)
			}
			arrived.Add(1)
		case "/posted":
			if r.Method != "POST" || string(body) != "tea" {
				w.WriteHeader(http.StatusTeapot)
			}
			arrived.Add(1)
		}
	}))
	defer server.Close()
	load := func(path string, more args) *window {
		a := args{"url": str(server.URL + path), "body": str("tea"), "headers": mapOf("host", "shop.test", "authorization", "x", "cookie", "a=b"), "follow": value.BoolOf(true)}
		for name, v := range more {
			a[name] = v
		}
		_, w := runLoadUntil(t, a, ended(5))
		if w.requests == 0 {
			t.Errorf("%s: no request ended", path)
		}
		return w
	}
	for _, path := range []string{"/see", "/keep", "/away"} {
		arrived.Store(0)
		w := load(path, nil)
		if w.errors > 0 || w.status[200] != w.requests || path != "/away" && int(arrived.Load()) < w.requests {
			t.Errorf("%s: %d requests, status %v, %d arrived", path, w.requests, w.status, arrived.Load())
		}
	}
	wantFailures(t, load("/loop", nil), reasonRedirects)
	wantFailures(t, load("/nowhere", nil), "a redirect leads nowhere")
	if w := load("/see", args{"follow": value.BoolOf(false)}); w.status[303] != w.requests || w.errors > 0 {
		t.Errorf("a redirect that is not followed has status %v", w.status)
	}
}

// Each client has a jar of its own: the server gives each a session, and sees no other.
func TestCookies(t *testing.T) {
	var sessions, strangers atomic.Int64
	handler := func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("fixed"); err != nil || c.Value != "1" {
			strangers.Add(1)
		}
		time.Sleep(2 * time.Millisecond)
		seen, err := r.Cookie("session")
		if err != nil {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: fmt.Sprint(sessions.Add(1))})
			http.SetCookie(w, &http.Cookie{Name: "elsewhere", Value: "x", Path: "/elsewhere"})
		} else if seen.Value == "" {
			strangers.Add(1)
		}
		if _, err := r.Cookie("elsewhere"); err == nil {
			strangers.Add(1)
		}
	}
	url, _ := serveHTTP(t, false, withHTTP2, handler)
	for _, a := range []args{
		{"concurrency": value.NumberOf(3)},
		{"concurrency": value.NumberOf(3), "http2": value.BoolOf(true)},
		{"concurrency": value.NumberOf(3), "rate": value.RateOf(5000)},
		{"concurrency": value.NumberOf(3), "keepalive": value.BoolOf(false)},
	} {
		sessions.Store(0)
		a["url"], a["cookies"], a["headers"] = str(url+"/a"), value.BoolOf(true), mapOf("Cookie", "fixed=1")
		_, w := runLoadUntil(t, a, func(w *window) bool { return w.requests >= 30 && sessions.Load() >= 3 })
		if n := sessions.Load(); n != 3 || strangers.Load() > 0 || w.requests < 10 || w.errors > 0 {
			t.Errorf("%v: %d sessions, %d strange requests of %d, %d errors", a, n, strangers.Load(), w.requests, w.errors)
		}
	}
	sessions.Store(0)
	_, w := runLoadUntil(t, args{"url": str(url), "headers": mapOf("Cookie", "fixed=1")}, ended(5))
	if n := int(sessions.Load()); n < w.requests || n == 0 || strangers.Load() > 0 {
		t.Errorf("without cookies %d requests made %d sessions", w.requests, n)
	}
}

func TestABodyFromAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "order.json"), []byte("{\"item\": \"tea\"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var wrong atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) != "{\"item\": \"tea\"}" || r.Method != "POST" {
			wrong.Add(1)
		}
	}))
	defer server.Close()
	open := func(a args) (probes.Opened, error) {
		a["url"] = str(server.URL)
		return probeNamed(t, "http.load").Open(context.Background(), env.Env{Dir: dir}, a)
	}
	o, err := open(args{"body_file": str("order.json")})
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "order.json")) // it was read once
	s := o.(probes.Streamer)
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	w := gather(s, ended(5))
	s.Close()
	if w.requests == 0 || w.errors > 0 || wrong.Load() > 0 {
		t.Errorf("%d requests, %d errors, %d wrong bodies", w.requests, w.errors, wrong.Load())
	}
	for path, want := range map[string]string{
		"missing": "`body_file`: there is no file \"missing\"; a relative path starts at the script's folder",
		".":       "`body_file`: \".\" is no plain file",
	} {
		if _, err := open(args{"body_file": str(path)}); err == nil || err.Error() != want {
			t.Errorf("%s: the error reads %v", path, err)
		}
	}
	if _, err := open(args{"body_file": str("x"), "body": str("y")}); err == nil {
		t.Error("a request with two bodies is accepted")
	}
}

// runLoadFor runs a load until it made so many requests, however slow the machine is.
func runLoadFor(t *testing.T, requests int, a args) *window {
	t.Helper()
	_, w := runLoadUntil(t, a, func(w *window) bool { return w.requests >= requests && w.elapsed > 300*time.Millisecond })
	return w
}

func TestHTTP2SharesConnections(t *testing.T) {
	for _, secure := range []bool{true, false} {
		// Each load has a server of its own: one that is slow to let go of its last requests would count them for the next.
		var old atomic.Int64
		serve := func() (url value.Value, connections *atomic.Int64, g *gauge) {
			g = &gauge{}
			address, connections := serveHTTP(t, secure, withHTTP2, func(w http.ResponseWriter, r *http.Request) {
				if r.ParseForm() != nil { // its body was cut off: the load ended
					return
				}
				if r.ProtoMajor != 2 || r.FormValue("item") != "tea" || r.Host != "shop.test" {
					old.Add(1)
				}
				g.enter()
				defer g.leave()
				time.Sleep(10 * time.Millisecond)
				io.WriteString(w, strings.Repeat("x", 10_000))
			})
			return str(address), connections, g
		}
		a := args{"http2": value.BoolOf(true), "insecure": value.BoolOf(true), "form": mapOf("item", "tea"), "headers": mapOf("host", "shop.test")}
		for clients, want := range map[float64]int64{3: 1, 10: 4} { // four streams a connection, of which one stays unused
			url, connections, g := serve()
			a["url"], a["concurrency"] = url, value.NumberOf(clients)
			w := runLoadFor(t, 10, a)
			// Before the server's limit is known too many may be tried, and net/http gives a connection up for that.
			if n := connections.Load(); n > 2*want || n == 0 || w.requests < 10 || old.Load() > 0 || w.errors > 0 {
				t.Errorf("secure %v: %d connections for %v clients, %d requests, %d not as sent, failures %v", secure, n, clients, w.requests, old.Load(), w.failures)
			}
			if n := g.most.Load(); n > int64(clients) {
				t.Errorf("%v clients had %d requests in flight", clients, n)
			}
		}
		url, connections, _ := serve()
		a["url"], a["keepalive"] = url, value.BoolOf(false)
		w := runLoadFor(t, 5, a)
		if n := int(connections.Load()); n < w.requests || w.requests < 5 || w.errors > 0 {
			t.Errorf("%d connections for %d requests, failures %v", n, w.requests, w.failures)
		}
	}
}

// nginx ends each connection after so many requests, and says which of those under way it will not answer: no customer loses
// anything by that, and no load may count it.
func TestHTTP2OutlivesTheEndOfConnections(t *testing.T) {
	needtest.Tools(t, "nginx")
	dir := t.TempDir()
	address := listening(t, func(port string) *exec.Cmd {
		conf := `daemon off; master_process off; pid nginx.pid; error_log stderr warn; events {}
			http {
				access_log off; keepalive_requests 20;
				client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;
				server { listen 127.0.0.1:` + port + ` http2; location / { return 200 hello; } }
			}`
		if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command("nginx", "-p", dir, "-c", "nginx.conf", "-e", "stderr")
	})
	w := runLoadFor(t, 1000, args{"url": str("http://" + address), "http2": value.BoolOf(true), "concurrency": value.NumberOf(10)})
	if w.errors > 0 {
		t.Errorf("of %d requests %d failed: %v", w.requests, w.errors, w.failures)
	}
}

// listening starts a server that is told its port, until it has found one that nobody else took meanwhile.
func listening(t *testing.T, command func(port string) *exec.Cmd) (address string) {
	t.Helper()
	var said bytes.Buffer
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		_, port, _ := net.SplitHostPort(address)
		said.Reset()
		cmd := command(port)
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		go func() { cmd.Wait(); close(gone) }()
		t.Cleanup(func() { cmd.Process.Kill(); <-gone })
		for alive := true; alive; {
			select {
			case <-gone:
				alive = false
			case <-time.After(20 * time.Millisecond):
				if c, err := net.Dial("tcp", address); err == nil {
					c.Close()
					return address
				}
			}
		}
	}
	t.Fatalf("the server does not listen: %s", said.String())
	return ""
}

func TestHTTP2AgainstAServerWithout(t *testing.T) {
	quiet := func(url string) *window {
		_, w := runLoadUntil(t, args{"url": str(url), "http2": value.BoolOf(true), "insecure": value.BoolOf(true), "concurrency": value.NumberOf(2), "timeout": value.DurationOf(10 * time.Second)}, func(w *window) bool {
			return w.failures["not HTTP/2"] > 0
		})
		return w
	}
	old := quietTLS(http.NotFoundHandler())
	defer old.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	deaf := httptest.NewUnstartedServer(http.NotFoundHandler()) // knows nothing of ALPN
	deaf.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: old.TLS.Certificates}, nil
	}}
	deaf.StartTLS()
	defer deaf.Close()
	for _, url := range []string{old.URL, plain.URL, deaf.URL} {
		w := quiet(url)
		if w.requests == 0 || w.errors != w.requests {
			t.Errorf("%s: %d requests, %d errors", url, w.requests, w.errors)
		}
		// Who shares a connection with the one that learns it only sees it closed, or reset: the server has not read it all.
		if n := w.failures["not HTTP/2"]; n == 0 || n+w.failures[reasonClosed]+w.failures["connection reset"] != w.errors {
			t.Errorf("%s: the reasons are %v", url, w.failures)
		}
	}
}

// A server that dies costs the requests in flight, and a connection that fell silent is not kept.
func TestHTTP2FailuresShow(t *testing.T) {
	var hanging atomic.Bool
	release := make(chan struct{})
	defer close(release)
	url, connections := serveHTTP(t, false, withHTTP2, func(w http.ResponseWriter, r *http.Request) {
		if hanging.Load() {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		time.Sleep(time.Millisecond)
	})
	s := startLoad(t, args{"url": str(url), "http2": value.BoolOf(true), "concurrency": value.NumberOf(2), "timeout": value.DurationOf(100 * time.Millisecond)})
	gather(s, ended(10))
	hanging.Store(true)
	before := connections.Load()
	wantFailures(t, gather(s, func(w *window) bool { return w.errors >= 4 }), reasonTimeout)
	hanging.Store(false)
	// On a busy machine one or another still is too slow for 100 ms: that there is a time without is waited for.
	var w *window
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		_, m := s.Next()
		if w = m.(*window); w.errors == 0 && w.requests >= 10 {
			break
		}
	}
	if w.errors > 0 || w.requests < 10 || connections.Load() == before {
		t.Errorf("after the hang: %d requests, failures %v, %d new connections", w.requests, w.failures, connections.Load()-before)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_, w = runLoadUntil(t, args{"url": str("http://" + deadAddress(t)), "http2": value.BoolOf(true)}, ended(1))
	wantFailures(t, w, "connection refused")
	_, w = runLoadUntil(t, args{"url": str("http://" + rawServer(t, reset)), "http2": value.BoolOf(true)}, ended(1))
	if w.requests == 0 || w.errors != w.requests {
		t.Errorf("%d requests, %d errors", w.requests, w.errors)
	}
}

func TestReasons(t *testing.T) {
	untrusted := quietTLS(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/503" {
			w.WriteHeader(503)
		}
	}))
	t.Cleanup(plain.Close)
	for want, url := range map[string]string{
		"connection refused":      "http://" + deadAddress(t),
		"connection reset":        "http://" + rawServer(t, reset),
		reasonClosed:              "http://" + rawServer(t, func(c net.Conn) { readSome(c); c.Close() }),
		"not HTTP":                "http://" + rawServer(t, func(c net.Conn) { readSome(c); io.WriteString(c, "SSH-2.0-x\r\n\r\n"); c.Close() }),
		"status 404":              "http://" + strings.TrimPrefix(httptestNotFound(t), "http://"),
		"status 503":              plain.URL + "/503",
		"certificate not trusted": untrusted.URL,
		"TLS failed":              strings.Replace(plain.URL, "http:", "https:", 1),
		reasonTimeout:             "http://" + rawServer(t, hang),
	} {
		t.Run(strings.ReplaceAll(want, "/", ""), func(t *testing.T) {
			t.Parallel()
			timeout := 15 * time.Second // the first of TLS loads the trusted certificates
			if want == reasonTimeout {
				timeout = 300 * time.Millisecond
			}
			v, w := runLoadUntil(t, args{"url": str(url), "timeout": value.DurationOf(timeout)}, ended(2))
			wantFailures(t, w, want)
			if n := v.Get("failures").Get(want).Float(); n == 0 || n != v.Get("errors").Float() {
				t.Errorf("the sample says %s", v.Get("failures"))
			}
			wantNumber(t, v.Get("failures"), "too many open files", 0)
		})
	}
}

// What skim reads must be what net/http reads, and what it leaves must be untouched.
func TestSkimAgreesWithNetHTTP(t *testing.T) {
	for text, skimmed := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                                            true,
		"HTTP/1.1 404 Not Found\r\nServer: x\r\ncontent-length:0\r\nConnection: Keep-Alive\r\n\r\n": true,
		"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok":                                              true,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more":                                  true,
		"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok":                                           true,
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok":                       false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n":                 false,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!":                      false,
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n":                                             false,
		"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok":                                           false,
		"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok":                              false,
		"HTTP/1.1 200 OK\r\n\r\nuntil the end":                                                      false,
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok":                                            false,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":               false,
		"HTTP/1.1 204 No Content\r\n\r\n":                                                           false,
		"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok":                                            false,
		"SSH-2.0-x\r\n\r\n":           false,
		"HTTP/1.1 200 OK\r\nContent-": false,
		"":                            false,
	} {
		ends := func() *connection {
			here, there := net.Pipe()
			go func() { io.WriteString(there, text); there.Close() }()
			t.Cleanup(func() { here.Close() })
			c := &connection{Conn: here, budget: maxHeader}
			c.reader = bufio.NewReader(c)
			return c
		}
		c := ends()
		status, ok, err := c.skim()
		if ok != skimmed {
			t.Errorf("%q: skim says %v", text, ok)
		}
		if !ok {
			if rest, _ := io.ReadAll(c.reader); string(rest) != text {
				t.Errorf("%q: skim left %q", text, rest)
			}
			continue
		}
		d := ends()
		response, perr := http.ReadResponse(d.reader, &http.Request{Method: "GET"})
		if perr != nil {
			t.Fatal(perr)
		}
		_, perr = io.Copy(io.Discard, response.Body)
		if status != response.StatusCode || (err == nil) != (perr == nil) || c.reader.Buffered() != d.reader.Buffered() || response.Close {
			t.Errorf("%q: skim reads %d, %v, net/http %d, %v", text, status, err, response.StatusCode, perr)
		}
	}
}

func TestAHeaderWithoutEndIsCutOff(t *testing.T) {
	address := rawServer(t, func(c net.Conn) {
		defer c.Close()
		readSome(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for {
			if _, err := io.WriteString(c, "X-More: "+strings.Repeat("x", 64<<10)+"\r\n"); err != nil {
				return
			}
		}
	})
	v := sample(t, "http.get", args{"url": str("http://" + address), "timeout": value.DurationOf(15 * time.Second)})
	wantBool(t, v, "ok", false)
	wantText(t, v, "error", address+" did not answer in HTTP")
	_, w := runLoadUntil(t, args{"url": str("http://" + address), "timeout": value.DurationOf(15 * time.Second)}, ended(1))
	wantFailures(t, w, "not HTTP")
}

func httptestNotFound(t *testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.URL
}

func TestReasonsAreBounded(t *testing.T) {
	w := newWindow()
	for i := range 1000 {
		w.failed(reason(fmt.Errorf("trouble %d", i)))
	}
	w.failed(reason(fmt.Errorf("%s", strings.Repeat("ü", 1000))))
	if n := len(w.failures); n > maxReasons+1 || w.failures[reasonOther] != 1001-maxReasons {
		t.Errorf("%d reasons, %d others", n, w.failures[reasonOther])
	}
	merged := newWindow()
	merged.failed("mine")
	merged.Merge(w)
	if n := len(merged.failures); n > maxReasons+1 || merged.errors != 1002 {
		t.Errorf("%d reasons of %d errors", n, merged.errors)
	}
	for text := range w.failures {
		if len(text) > 100 {
			t.Errorf("a reason has %d bytes", len(text))
		}
	}
}

func TestTheWarmupIsNotCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		a    args
	}{
		{"a while, closed", args{"warmup": value.DurationOf(300 * time.Millisecond), "concurrency": value.NumberOf(2)}},
		{"a while, open", args{"warmup": value.DurationOf(300 * time.Millisecond), "rate": value.RateOf(200)}},
		{"requests, closed", args{"warmup": value.NumberOf(60), "concurrency": value.NumberOf(2)}},
		{"requests, open", args{"warmup": value.NumberOf(60), "rate": value.RateOf(200)}},
	} {
		var mu sync.Mutex
		var came []time.Time
		begun := time.Now()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now := time.Now()
			mu.Lock()
			came = append(came, now)
			mu.Unlock()
			if now.Sub(begun) < 100*time.Millisecond {
				w.WriteHeader(500) // a cold server
			}
			time.Sleep(8 * time.Millisecond)
		}))
		c.a["url"] = str(server.URL)
		begun = time.Now()
		s := startLoad(t, c.a).(*generator)
		time.Sleep(100 * time.Millisecond)
		v, m := s.Next()
		select {
		case <-s.Warm(): // this machine slept for too long
		default:
			if !v.IsMissing() || v.Why() != "warming up" || m != nil {
				t.Errorf("%s: while it warms up there is %s, %v", c.name, v, m)
			}
		}
		select {
		case <-s.Warm():
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it never gets warm", c.name)
		}
		s.mu.Lock()
		warm, since := s.warmup.end, s.since
		s.mu.Unlock()
		time.Sleep(300 * time.Millisecond)
		least := time.Since(since)
		w := gather(s, ended(10))
		if most := time.Since(since); w.elapsed < least || w.elapsed > most || !since.Equal(warm) && m == nil {
			t.Errorf("%s: the first window lasts %v, which is not from %v to %v", c.name, w.elapsed, least, most)
		}
		s.Close()
		server.Close()
		cold := 0
		for _, at := range came {
			if at.Before(warm) {
				cold++
			}
		}
		if w.errors > 0 || cold == 0 || w.requests > len(came)-cold || w.requests < 10 || w.missed > 0 {
			t.Errorf("%s: %d requests with %d errors, %d missed, of %d that came, %d in the warm-up", c.name, w.requests, w.errors, w.missed, len(came), cold)
		}
		switch warmup := c.a["warmup"]; {
		case warmup.T.Kind == value.Duration && warm.Sub(begun) < warmup.Duration():
			t.Errorf("%s: it was warm after %v", c.name, warm.Sub(begun))
		case warmup.T.Kind == value.Number && cold < 60:
			t.Errorf("%s: it was warm after %d requests", c.name, cold)
		}
	}
	s := startLoad(t, args{"url": str(httptestNotFound(t))}).(*generator)
	select {
	case <-s.Warm():
	default:
		t.Error("without a warm-up it is not warm at once")
	}
	for text, v := range map[string]value.Value{"`warmup` is a duration, such as 10s, or a number of requests, such as 1000; 1.5 is neither": value.NumberOf(1.5), "`warmup` is a duration, such as 10s, or a number of requests, such as 1000; \"x\" is neither": str("x")} {
		_, err := probeNamed(t, "http.load").Open(context.Background(), env.Env{}, args{"url": str("http://x/"), "warmup": v})
		if err == nil || err.Error() != text {
			t.Errorf("the error reads %v, want %s", err, text)
		}
	}
}

// A server that hangs from the warm-up on must not look idle, nor may what was due before count.
func TestAHangInTheWarmupShows(t *testing.T) {
	address := rawServer(t, hang)
	s := startLoad(t, args{"url": str("http://" + address), "rate": value.RateOf(100), "concurrency": value.NumberOf(2), "warmup": value.DurationOf(200 * time.Millisecond), "timeout": value.DurationOf(1500 * time.Millisecond)}).(*generator)
	<-s.Warm()
	time.Sleep(200 * time.Millisecond)
	v, m := s.Next()
	if p, length := v.Get("p50").Duration(), m.(*window).elapsed; p < 190*time.Millisecond || p > length+10*time.Millisecond {
		t.Errorf("%v after the warm-up the oldest request is %v old", length, p)
	}
	time.Sleep(1500 * time.Millisecond)
	due := func() int { return int(m.(*window).elapsed.Seconds() * 100) }
	// The schedule may be behind for a moment, as on a busy machine: it catches up.
	missed := m.(*window).missed
	m.Merge(gather(s, func(w *window) bool { return missed+w.missed >= due()+int(w.elapsed.Seconds()*100)-15 }))
	if w := m.(*window); w.missed < due()-15 || w.missed > due()+10 { // less the two that went out
		t.Errorf("%d sends were missed of %d", w.missed, due())
	}
}

// Every percentile lies in the middle of a step of the server's delays, so that it has one true value. A busy machine gets
// three attempts.
func TestPercentilesOfAKnownDistribution(t *testing.T) {
	steps := []struct {
		field  string
		share  int
		length time.Duration
	}{{"p50", 70, 40 * time.Millisecond}, {"p90", 22, 100 * time.Millisecond}, {"p95", 5, 200 * time.Millisecond}, {"p99", 3, 400 * time.Millisecond}}
	// Each load gets a server of its own: two that share one would each see a part of the distribution.
	attempt := func(a args) (complaints []string) {
		var n, behind atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			place := int(n.Add(1) * 37 % 100)
			for _, s := range steps {
				if place -= s.share; place < 0 {
					begun := time.Now()
					time.Sleep(s.length)
					if time.Since(begun) > s.length+s.length/25 {
						behind.Add(1)
					}
					return
				}
			}
		}))
		defer server.Close()
		a["url"] = str(server.URL)
		v, _ := runLoad(t, 2500*time.Millisecond, a)
		for _, s := range steps {
			if got := v.Get(s.field).Duration(); (got - s.length).Abs() > s.length/20 {
				complaints = append(complaints, fmt.Sprintf("%s is %v, the server says %v", s.field, got, s.length))
			}
		}
		if late := behind.Load(); late*50 > n.Load() {
			if len(complaints) > 0 {
				t.Logf("the server itself was late in %d of %d requests, so nothing is said of: %v", late, n.Load(), complaints)
			}
			return nil
		}
		return complaints
	}
	for _, a := range []args{{"rate": value.RateOf(150)}, {"concurrency": value.NumberOf(15)}} {
		var complaints []string
		for range 3 {
			if complaints = attempt(a); len(complaints) == 0 {
				break
			}
		}
		if len(complaints) > 0 {
			t.Error(strings.Join(complaints, "\n"))
		}
	}
}
