package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

func TestAPI(t *testing.T) {
	server := httptest.NewServer(api())
	defer server.Close()
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/api/v1/", 200, `{"n":15,"answer":"FizzBuzz"}`},
		{"/api/v1/?n=15", 200, `{"n":15,"answer":"FizzBuzz"}`},
		{"/api/v1/?n=9", 200, `{"n":9,"answer":"Fizz"}`},
		{"/api/v1/?n=10", 200, `{"n":10,"answer":"Buzz"}`},
		{"/api/v1/?n=7", 200, `{"n":7,"answer":"7"}`},
		{"/api/v1/?n=0", 400, "n is a whole number from 1 on"},
		{"/api/v1/?n=many", 400, "n is a whole number from 1 on"},
		{"/healthz", 200, "ok"},
		{"/", 404, "404 page not found"},
	} {
		status, body := get(t, server.URL+c.path)
		if status != c.status || body != c.body {
			t.Errorf("GET %s = %d %q, want %d %q", c.path, status, body, c.status, c.body)
		}
	}
}

func TestThePrometheusSeesWhatTheCustomerSees(t *testing.T) {
	worker := httptest.NewServer(api())
	defer worker.Close()
	shop := httptest.NewServer(observed(newBalancer([]string{strings.TrimPrefix(worker.URL, "http://")}).handler()))
	defer shop.Close()
	for _, path := range []string{"/api/v1/", "/api/v1/?n=7", "/api/v1/?n=0", "/nowhere"} {
		get(t, shop.URL+path)
	}
	worker.Close()
	get(t, shop.URL+"/api/v1/")
	_, metrics := get(t, shop.URL+"/metrics")
	for _, line := range []string{
		`http_requests_total{code="200"} 2`, `http_requests_total{code="400"} 1`, `http_requests_total{code="404"} 1`, `http_requests_total{code="502"} 1`,
		`http_request_duration_seconds_bucket{le="0.25"} 5`, "http_request_duration_seconds_count 5",
	} {
		if !strings.Contains(metrics+"\n", line+"\n") {
			t.Errorf("the metrics lack %s:\n%s", line, metrics)
		}
	}
}

// The claim of the game day, in small: the workers die and come back, one at a time, under load, and nobody notices.
func TestBalancerHidesADyingWorker(t *testing.T) {
	a, b := startWorker(t, "127.0.0.1:0"), startWorker(t, "127.0.0.1:0")
	lb := httptest.NewServer(newBalancer([]string{a.address, b.address}).handler())
	defer lb.Close()

	var load sync.WaitGroup
	var requests atomic.Int64
	done := make(chan struct{})
	for range 8 {
		load.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				requests.Add(1)
				status, body := get(t, lb.URL+"/api/v1/")
				if status != 200 || !strings.Contains(body, "FizzBuzz") {
					t.Errorf("GET = %d %q", status, body)
				}
			}
		})
	}
	for n := 0; n < 4 || n < 100 && requests.Load() < 100; n++ { // a slow machine needs more than four deaths for some load
		w := []*testWorker{a, b}[n%2]
		time.Sleep(50 * time.Millisecond)
		w.kill()
		time.Sleep(50 * time.Millisecond)
		w.start(t, w.address)
	}
	close(done)
	load.Wait()
	if requests.Load() < 100 {
		t.Errorf("only %d requests: no load, no proof", requests.Load())
	}
}

// A worker that dies between the request and its answer is the harder half.
func TestBalancerHidesResetsInFlight(t *testing.T) {
	good := startWorker(t, "127.0.0.1:0")
	bad := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer bad.Close()
	balancer := newBalancer([]string{bad.Listener.Addr().String(), good.address})
	balancer.failTimeout = 0 // so that every second request meets the bad one
	lb := httptest.NewServer(balancer.handler())
	defer lb.Close()
	for range 20 {
		if status, body := get(t, lb.URL+"/api/v1/"); status != 200 {
			t.Fatalf("GET = %d %q", status, body)
		}
	}
}

func TestBalancerSharesTheWork(t *testing.T) {
	var hits [2]atomic.Int64
	var addresses []string
	for i := range hits {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits[i].Add(1) }))
		defer s.Close()
		addresses = append(addresses, s.Listener.Addr().String())
	}
	lb := httptest.NewServer(newBalancer(addresses).handler())
	defer lb.Close()
	for range 10 {
		get(t, lb.URL)
	}
	if hits[0].Load() != 5 || hits[1].Load() != 5 {
		t.Errorf("shares %d and %d, want 5 and 5", hits[0].Load(), hits[1].Load())
	}
}

func TestBalancerAvoidsADownWorkerForAWhile(t *testing.T) {
	var tries atomic.Int64
	bad := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		tries.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer bad.Close()
	good := startWorker(t, "127.0.0.1:0")
	balancer := newBalancer([]string{bad.Listener.Addr().String(), good.address})
	balancer.failTimeout = time.Minute
	lb := httptest.NewServer(balancer.handler())
	defer lb.Close()
	for range 10 {
		get(t, lb.URL+"/api/v1/")
	}
	if tries.Load() != 1 {
		t.Errorf("the down worker was tried %d times, want once", tries.Load())
	}
}

func TestBalancerWithoutWorkersLeft(t *testing.T) {
	a, b := startWorker(t, "127.0.0.1:0"), startWorker(t, "127.0.0.1:0")
	lb := httptest.NewServer(newBalancer([]string{a.address, b.address}).handler())
	defer lb.Close()
	a.kill()
	b.kill()
	if status, _ := get(t, lb.URL+"/api/v1/"); status != http.StatusBadGateway {
		t.Errorf("GET = %d, want 502", status)
	}
	// Both are marked down, and yet the one that is back serves the very next request.
	b.start(t, b.address)
	if status, _ := get(t, lb.URL+"/api/v1/"); status != 200 {
		t.Errorf("GET = %d, want 200", status)
	}
}

func TestBalancerDoesNotRepeatAPost(t *testing.T) {
	var posts atomic.Int64
	var addresses []string
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			posts.Add(1)
			panic(http.ErrAbortHandler)
		}))
		defer s.Close()
		addresses = append(addresses, s.Listener.Addr().String())
	}
	lb := httptest.NewServer(newBalancer(addresses).handler())
	defer lb.Close()
	resp, err := http.Post(lb.URL, "text/plain", strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway || posts.Load() != 1 {
		t.Errorf("POST = %d after %d tries, want 502 after 1", resp.StatusCode, posts.Load())
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "api or lb?"},
		{"web", `unknown command "web"`},
		{"lb --port 8003", "at least one --worker"},
		{"lb --worker nowhere", "missing port"},
		{"api", "--port is missing"},
		{"lb --prot 8003", "-prot"},
		{"api 8001", `unexpected argument "8001"`},
	} {
		err := run(strings.Fields(c.args))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("fizzbuzz %s: %v, want %q", c.args, err, c.want)
		}
	}
}

// A testWorker is an API worker that can die as a process does, its connections with it, and come back at its address.
type testWorker struct {
	address string
	server  *http.Server
}

func startWorker(t *testing.T, address string) *testWorker {
	t.Helper()
	w := &testWorker{}
	w.start(t, address)
	t.Cleanup(w.kill)
	return w
}

func (w *testWorker) start(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); l, err = net.Listen("tcp", address) {
		time.Sleep(10 * time.Millisecond) // meanwhile a connection of somebody may have got the port for its own end
	}
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()
	w.server = &http.Server{Handler: api()}
	go w.server.Serve(l)
}

func (w *testWorker) kill() { w.server.Close() }

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(fmt.Errorf("GET %s: body: %w", url, err))
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}
