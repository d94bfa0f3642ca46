package http

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"golang.org/x/sys/unix"
)

type args = map[string]value.Value

func str(s string) value.Value { return value.StringOf(s) }

func mapOf(pairs ...any) value.Value {
	m := map[string]value.Value{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = value.FromPlain(pairs[i+1], nil)
	}
	return value.Value{T: value.MapOf(value.TAny), V: m}
}

func probeNamed(t *testing.T, name string) probes.Probe {
	t.Helper()
	p, ok := probes.NewRegistry(All()...).Probe(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return p
}

// sample opens a probe and takes one sample, which must not be a failed one.
func sample(t *testing.T, name string, a args) value.Value {
	t.Helper()
	o, err := probeNamed(t, name).Open(context.Background(), env.Env{Dir: t.TempDir()}, a)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	v, err := o.(probes.Sampler).Sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// rawServer serves each TCP connection with f.
func rawServer(t *testing.T, f func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return l.Addr().String()
}

func deadAddress(t *testing.T) string {
	t.Helper()
	// The port is taken and nobody listens: one that was given back could become somebody else's, even that of the very
	// connection which is tried.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// hang reads and never answers, until the client goes away.
func hang(c net.Conn) { io.Copy(io.Discard, c); c.Close() }

func reset(c net.Conn) {
	readSome(c)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// readSome tells whether a request came.
func readSome(c net.Conn) bool {
	n, _ := c.Read(make([]byte, 4096))
	return n > 0
}

func wantBool(t *testing.T, v value.Value, field string, want bool) {
	t.Helper()
	if f := v.Get(field); f.IsMissing() || f.Bool() != want {
		t.Errorf("%s is %s, want %v, in %s", field, f, want, v)
	}
}

func wantNumber(t *testing.T, v value.Value, field string, want float64) {
	t.Helper()
	if f := v.Get(field); f.IsMissing() || f.Float() != want {
		t.Errorf("%s is %s, want %v, in %s", field, f, want, v)
	}
}

func wantText(t *testing.T, v value.Value, field, want string) {
	t.Helper()
	if f := v.Get(field); f.IsMissing() || f.Text() != want {
		t.Errorf("%s is %s, want %q, in %s", field, f, want, v)
	}
}

func wantAbsent(t *testing.T, v value.Value, fields ...string) {
	t.Helper()
	for _, field := range fields {
		if f := v.Get(field); !f.IsMissing() {
			t.Errorf("%s is %s, want it absent", field, f.Short())
		}
	}
}

func TestAnAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Worker", "a")
		w.Header().Add("X-Many", "1")
		w.Header().Add("X-Many", "2")
		fmt.Fprintf(w, `{"healthy": true, "count": 3, "list": [1, null], "agent": %q}`, r.UserAgent())
	}))
	defer server.Close()
	v := sample(t, "http.get", args{"url": str(server.URL)})
	wantBool(t, v, "ok", true)
	wantNumber(t, v, "status", 200)
	wantText(t, v, "error", "")
	wantText(t, v.Get("headers"), "x-worker", "a")
	wantText(t, v.Get("headers"), "x-many", "1, 2")
	wantBool(t, v.Get("json"), "healthy", true)
	wantNumber(t, v.Get("json"), "count", 3)
	wantText(t, v.Get("json"), "agent", "chaos")
	if l := v.Get("latency").Duration(); l <= 0 || l > 2*time.Second {
		t.Errorf("latency %v", l)
	}
	// The journal must give the same sample back.
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	back, err := value.FromJSON(data, probeNamed(t, "http.get").Spec().Result)
	if err != nil || back.Get("body").Text() != v.Get("body").Text() || back.Get("latency").Float() != v.Get("latency").Float() {
		t.Errorf("%s reads back as %s (%v)", v, back, err)
	}
}

func TestStatusDecidesOK(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscanf(r.URL.Path, "/%d", &code)
		w.WriteHeader(code)
	}))
	defer server.Close()
	for code, ok := range map[int]bool{200: true, 204: true, 304: true, 399: true, 400: false, 404: false, 500: false, 503: false} {
		v := sample(t, "http.get", args{"url": str(fmt.Sprintf("%s/%d", server.URL, code))})
		wantBool(t, v, "ok", ok)
		wantNumber(t, v, "status", float64(code))
		wantText(t, v, "error", "")
		wantAbsent(t, v, "json")
	}
}

func TestFailuresAreSamples(t *testing.T) {
	dead := deadAddress(t)
	for name, c := range map[string]struct{ address, want string }{
		"dead":    {dead, "connection refused by " + dead},
		"reset":   {rawServer(t, reset), "connection reset by "},
		"closed":  {rawServer(t, func(c net.Conn) { readSome(c); c.Close() }), " closed the connection before its answer was complete"},
		"garbage": {rawServer(t, func(c net.Conn) { readSome(c); io.WriteString(c, "SSH-2.0-x\r\n\r\n"); c.Close() }), " did not answer in HTTP"},
	} {
		v := sample(t, "http.get", args{"url": str("http://" + c.address + "/")})
		wantBool(t, v, "ok", false)
		wantNumber(t, v, "status", 0)
		wantAbsent(t, v, "latency", "body", "json")
		if e := v.Get("error").Text(); !strings.Contains(e, c.want) {
			t.Errorf("%s: the error reads %q", name, e)
		}
	}
}

func TestTimeoutsKeepTheTimeWaited(t *testing.T) {
	slow := rawServer(t, func(c net.Conn) {
		defer c.Close()
		readSome(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
		for range 100 {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			time.Sleep(30 * time.Millisecond)
		}
	})
	for address, status := range map[string]float64{rawServer(t, hang): 0, slow: 200} {
		const timeout = time.Second // for a header that is there at once
		begun := time.Now()
		v := sample(t, "http.get", args{"url": str("http://" + address), "timeout": value.DurationOf(timeout)})
		wantBool(t, v, "ok", false)
		wantNumber(t, v, "status", status)
		wantText(t, v, "error", "no answer from "+address+" within "+value.DurationOf(timeout).String())
		if l := v.Get("latency").Duration(); l < timeout || l > time.Since(begun) {
			t.Errorf("latency %v", l)
		}
	}
}

func TestTheRunsEndIsNoSample(t *testing.T) {
	open := func(a args) probes.Sampler {
		a["url"] = str("http://" + rawServer(t, hang))
		o, err := probeNamed(t, "http.get").Open(context.Background(), env.Env{}, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		return o.(probes.Sampler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	if v, err := open(args{"timeout": value.DurationOf(time.Minute)}).Sample(ctx); err == nil {
		t.Errorf("a cancelled sample is %s", v)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("cancelling took %v", took)
	}
	if d := open(args{}).Timeout(); d != 5*time.Second {
		t.Errorf("the default timeout is %v", d)
	}
}

func TestRedirects(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/from":
			http.Redirect(w, r, "/to", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			io.WriteString(w, "there")
		}
	}))
	defer server.Close()
	v := sample(t, "http.get", args{"url": str(server.URL + "/from")})
	wantNumber(t, v, "status", 200)
	wantText(t, v, "body", "there")
	v = sample(t, "http.get", args{"url": str(server.URL + "/from"), "follow": value.BoolOf(false)})
	wantBool(t, v, "ok", true)
	wantNumber(t, v, "status", 302)
	wantText(t, v.Get("headers"), "location", "/to")
	v = sample(t, "http.get", args{"url": str(server.URL + "/loop")})
	wantBool(t, v, "ok", false)
	wantText(t, v, "error", "more than 10 redirects")
}

func TestWhatIsSent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		json.NewEncoder(w).Encode(map[string]any{
			"method": r.Method, "host": r.Host, "type": r.Header.Get("Content-Type"), "token": r.Header.Get("X-Token"),
			"body": string(body), "close": r.Close, "auth": r.Header.Get("Authorization"),
		})
	}))
	defer server.Close()
	url := str(server.URL + "/a?b=c#d")
	v := sample(t, "http.post", args{"url": url, "json": mapOf("a", 1, "b", nil), "headers": mapOf("x-token", 7, "Host", "shop.test")}).Get("json")
	wantText(t, v, "method", "POST")
	wantText(t, v, "host", "shop.test")
	wantText(t, v, "type", "application/json")
	wantText(t, v, "token", "7")
	wantText(t, v, "body", `{"a":1,"b":null}`)
	wantBool(t, v, "close", true)
	v = sample(t, "http.request", args{"url": url, "method": str("put"), "form": mapOf("q", "a b", "n", []any{1, 2})}).Get("json")
	wantText(t, v, "method", "PUT")
	wantText(t, v, "type", "application/x-www-form-urlencoded")
	wantText(t, v, "body", "n=1&n=2&q=a+b")
	v = sample(t, "http.post", args{"url": str(strings.Replace(server.URL, "http://", "http://me:secret@", 1)), "body": str("plain")}).Get("json")
	wantText(t, v, "body", "plain")
	wantText(t, v, "auth", "Basic bWU6c2VjcmV0")
	head := sample(t, "http.request", args{"url": url, "method": str("HEAD")})
	wantNumber(t, head, "status", 200)
	wantText(t, head, "body", "")
}

// quietTLS is a TLS server that does not log the handshakes which the tests make fail.
func quietTLS(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	return server
}

func TestTLS(t *testing.T) {
	server := quietTLS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "safe") }))
	defer server.Close()
	v := sample(t, "http.get", args{"url": str(server.URL)})
	wantBool(t, v, "ok", false)
	if e := v.Get("error").Text(); !strings.Contains(e, "signed by nobody this machine trusts") {
		t.Errorf("the error reads %q", e)
	}
	v = sample(t, "http.get", args{"url": str(server.URL), "insecure": value.BoolOf(true)})
	wantBool(t, v, "ok", true)
	wantText(t, v, "body", "safe")
}

func TestABigBodyIsCutButTimedWhole(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("\""))
		w.Write(bytes.Repeat([]byte("x"), 3<<20))
		w.(http.Flusher).Flush()
		time.Sleep(100 * time.Millisecond)
		w.Write([]byte("\""))
	}))
	defer server.Close()
	v := sample(t, "http.get", args{"url": str(server.URL)})
	if n := len(v.Get("body").Text()); n != maxBody {
		t.Errorf("the body has %d bytes", n)
	}
	wantAbsent(t, v, "json")
	if l := v.Get("latency").Duration(); l < 100*time.Millisecond {
		t.Errorf("latency %v does not cover the whole body", l)
	}
}

func TestEverySampleConnectsAnew(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	o, err := probeNamed(t, "http.get").Open(context.Background(), env.Env{}, args{"url": str(server.URL)})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for range 3 {
		if _, err := o.(probes.Sampler).Sample(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("3 samples made %d connections", n)
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	ok := str("http://127.0.0.1/")
	for _, c := range []struct {
		probe string
		a     args
		want  string
	}{
		{"http.get", args{"url": str("127.0.0.1:80/x")}, "`url`: \"127.0.0.1:80/x\" has no scheme; write \"http://127.0.0.1:80/x\""},
		{"http.get", args{"url": str("example.com")}, "`url`: \"example.com\" has no scheme; write \"http://example.com\""},
		{"http.get", args{"url": str("ftp://x/")}, "`url`: \"ftp://x/\" is neither http nor https"},
		{"http.get", args{"url": str("http:///x")}, "`url`: \"http:///x\" names no host"},
		{"http.get", args{"url": str("http://[x/")}, "`url`: \"http://[x/\" is no URL"},
		{"http.post", args{"url": ok, "body": str("x"), "form": mapOf("a", "b")}, "`body` and `form` exclude each other: a request has one body"},
		{"http.request", args{"url": ok, "method": str("GET /")}, "`method`: \"GET /\" is no HTTP method"},
		{"http.get", args{"url": ok, "headers": mapOf("a b", "c")}, "`headers`: \"a b\" is no header name"},
		{"http.get", args{"url": ok, "headers": mapOf("a", "c\r\nd: e")}, "`headers`: the value of a must be one line"},
		{"http.get", args{"url": ok, "timeout": value.DurationOf(0)}, "`timeout: 0s` must be more than 0s"},
		{"http.load", args{"url": ok, "rate": value.RateOf(0)}, "`rate: 0/s` must be more than 0/s"},
		{"http.load", args{"url": ok, "concurrency": value.NumberOf(0)}, "`concurrency: 0` must be a whole number, at least 1"},
		{"http.load", args{"url": ok, "concurrency": value.NumberOf(1.5)}, "`concurrency: 1.5` must be a whole number, at least 1"},
	} {
		_, err := probeNamed(t, c.probe).Open(context.Background(), env.Env{}, c.a)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: the error reads %v, want %s", c.probe, err, c.want)
		}
	}
}

func TestSpecsAreComplete(t *testing.T) {
	for _, p := range All() {
		s := p.Spec()
		if s.Kind != spec.Probe || s.Summary == "" || s.Example == "" {
			t.Errorf("%s lacks a summary or an example", s.Name)
		}
		for _, a := range s.Params {
			if a.Help == "" {
				t.Errorf("%s: %s lacks help", s.Name, a.Name)
			}
		}
		for _, f := range s.Result.Fields {
			if f.Help == "" {
				t.Errorf("%s: field %s lacks help", s.Name, f.Name)
			}
		}
	}
}
