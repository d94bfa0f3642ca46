package http

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
)

// startLoad opens and starts a load, which ends with the test at the latest.
func startLoad(t *testing.T, a args) probes.Streamer {
	t.Helper()
	o, err := probeNamed(t, "http.load").Open(context.Background(), env.Env{}, a)
	if err != nil {
		t.Fatal(err)
	}
	s := o.(probes.Streamer)
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// runLoad is a load of some length, as one window that holds all that ended before the load was closed.
func runLoad(t *testing.T, length time.Duration, a args) (value.Value, *window) {
	t.Helper()
	s := startLoad(t, a)
	time.Sleep(length)
	_, m := s.Next()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_, rest := s.Next()
	m.Merge(rest)
	return m.Value(), m.(*window)
}

// loadUntil is a load until its window holds enough, which on a busy machine takes a while.
func loadUntil(t *testing.T, enough func(*window) bool, a args) (value.Value, *window) {
	t.Helper()
	g := startLoad(t, a).(*generator)
	done := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return enough(g.current)
	}
	for end := time.Now().Add(20 * time.Second); !done() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	_, m := g.Next()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	return m.Value(), m.(*window)
}

func answered(w *window) bool { return w.requests > 0 }
func failed(w *window) bool   { return w.errors > 0 }

// gauge counts requests, and the most that were served at once.
type gauge struct{ total, now, most atomic.Int64 }

func (g *gauge) enter() int64 {
	n := g.now.Add(1)
	for {
		most := g.most.Load()
		if n <= most || g.most.CompareAndSwap(most, n) {
			break
		}
	}
	return g.total.Add(1)
}

func (g *gauge) leave() { g.now.Add(-1) }

func gauged(f func(n int64, w http.ResponseWriter)) (*gauge, *httptest.Server) {
	g := &gauge{}
	return g, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := g.enter()
		defer g.leave()
		f(n, w)
	}))
}

func TestCountsMatchTheServers(t *testing.T) {
	g, server := gauged(func(n int64, w http.ResponseWriter) {
		switch {
		case n%10 == 0:
			panic(http.ErrAbortHandler) // closes the connection without an answer
		case n%5 == 0:
			w.WriteHeader(500)
		}
	})
	defer server.Close()
	s := startLoad(t, args{"url": str(server.URL), "rate": value.RateOf(100)})
	time.Sleep(1205 * time.Millisecond)
	v, m := s.Next()
	w := m.(*window)
	total := int(g.total.Load())
	if w.oldest > 0 || total < 100 || total > 125 {
		t.Skipf("this machine is too busy: %d requests, oldest %v", total, w.oldest)
	}
	wantNumber(t, v, "requests", float64(total))
	wantNumber(t, v, "errors", float64(total/5))
	wantNumber(t, v, "missed", 0)
	wantNumber(t, v.Get("status"), "500", float64(total/5-total/10))
	wantNumber(t, v.Get("status"), "200", float64(total-total/5))
	wantNumber(t, v.Get("status"), "503", 0)
	if r := v.Get("error_ratio"); r.T.Kind != value.Ratio || r.Float() != float64(total/5)/float64(total) {
		t.Errorf("error_ratio is %s", r)
	}
	if r := v.Get("rps"); r.T.Kind != value.Rate || math.Abs(r.Float()-float64(total)/w.elapsed.Seconds()) > 1e-9 {
		t.Errorf("rps is %s", r)
	}
	if n := int(w.latencies.TotalCount()); n != total-total/10 {
		t.Errorf("%d latencies of %d requests", n, total)
	}
}

func TestTheRateIsKeptWithoutDrift(t *testing.T) {
	_, server := gauged(func(int64, http.ResponseWriter) {})
	defer server.Close()
	for _, rate := range []float64{50, 500} {
		g := startLoad(t, args{"url": str(server.URL), "rate": value.RateOf(rate)}).(*generator)
		progress := func() (sent, due float64) {
			g.mu.Lock()
			defer g.mu.Unlock()
			return float64(g.next), time.Since(g.t0).Seconds() * rate
		}
		time.Sleep(time.Second)
		// A busy machine may be behind for a moment; a schedule that drifts never catches up.
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			sent, due := progress()
			if sent > due+1 {
				t.Fatalf("at %v/s %v requests were sent, %v were due", rate, sent, due)
			}
			if sent > due*0.995-1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("at %v/s %v requests were sent, %v were due", rate, sent, due)
			}
		}
		g.Close()
	}
}

// A busy machine gets three attempts.
func TestPercentilesMatchTheServers(t *testing.T) {
	var complaints []string
	for range 3 {
		if complaints = comparePercentiles(t); len(complaints) == 0 {
			return
		}
	}
	t.Error(strings.Join(complaints, "\n"))
}

func comparePercentiles(t *testing.T) (complaints []string) {
	var mu sync.Mutex
	var served []time.Duration
	_, server := gauged(func(n int64, w http.ResponseWriter) {
		start := time.Now()
		time.Sleep(time.Duration(n*37%100) * time.Millisecond)
		mu.Lock()
		served = append(served, time.Since(start))
		mu.Unlock()
	})
	defer server.Close()
	v, _ := runLoad(t, 2*time.Second, args{"url": str(server.URL), "rate": value.RateOf(200)})
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(served)
	for field, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99} {
		want := served[min(int(math.Ceil(q*float64(len(served)))), len(served))-1]
		got := v.Get(field).Duration()
		if diff := (got - want).Abs(); diff > want/20+8*time.Millisecond {
			complaints = append(complaints, fmt.Sprintf("%s is %v, the server says %v", field, got, want))
		}
	}
	if mean := v.Get("mean").Duration(); mean < 45*time.Millisecond || mean > 65*time.Millisecond {
		complaints = append(complaints, fmt.Sprintf("mean is %v", mean))
	}
	return complaints
}

func TestPercentilesAreWithinAThousandth(t *testing.T) {
	w := newWindow()
	for i := range 100_000 { // 1µs … 10s, evenly on a logarithmic scale, in no order
		w.answered(200, time.Duration(float64(time.Microsecond)*math.Pow(10, float64(i*7919%100_000+1)/100_000*7)))
	}
	v := w.Value()
	for field, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1} {
		want := float64(time.Microsecond) * math.Pow(10, q*7)
		if got := v.Get(field).Float(); math.Abs(got-want) > want*0.0011 {
			t.Errorf("%s is %v, want %v", field, time.Duration(got), time.Duration(want))
		}
	}
	w = newWindow()
	w.answered(200, 10*time.Millisecond)
	w.answered(200, 20*time.Millisecond)
	v = w.Value()
	if v.Get("mean").Duration() != 15*time.Millisecond || v.Get("max").Duration() != 20*time.Millisecond || v.Get("p99").Duration() != 20*time.Millisecond {
		t.Errorf("two requests show as %s", v)
	}
}

// A server stalls for half a second of three. A client that waits politely sees two slow requests; the schedule sees all.
func TestAStallIsNotOmitted(t *testing.T) {
	var begin atomic.Int64
	begin.Store(time.Now().UnixNano())
	stall := func(g *gauge) {
		at := time.Since(time.Unix(0, begin.Load()))
		if from, to := 1000*time.Millisecond, 1500*time.Millisecond; at > from && at < to {
			time.Sleep(to - at)
		}
	}
	var g *gauge
	g, server := gauged(func(int64, http.ResponseWriter) { stall(g) })
	defer server.Close()
	begin.Store(time.Now().UnixNano())
	v, w := runLoad(t, 3*time.Second, args{"url": str(server.URL), "rate": value.RateOf(200), "concurrency": value.NumberOf(2)})
	if p99 := v.Get("p99").Duration(); p99 < 350*time.Millisecond || p99 > 3*time.Second {
		t.Errorf("the open model's p99 is %v", p99)
	}
	if p90 := v.Get("p90").Duration(); p90 < 80*time.Millisecond {
		t.Errorf("the open model's p90 is %v", p90)
	}
	if most := g.most.Load(); most > 2 {
		t.Errorf("%d requests were in flight", most)
	}
	if w.missed < 80 || w.missed > 500 {
		t.Errorf("%d sends were withheld, 98 are expected on an idle machine", w.missed)
	}
	if w.requests < 500 || w.errors != 0 {
		t.Errorf("%d requests with %d errors: what was withheld is sent late", w.requests, w.errors)
	}
}

func TestConcurrencyIsNeverExceeded(t *testing.T) {
	// Each load has a server of its own: what the one before gave up would count, for as long as a busy machine takes to serve it.
	serve := func() (*gauge, string) {
		g, server := gauged(func(int64, http.ResponseWriter) { time.Sleep(5 * time.Millisecond) })
		t.Cleanup(server.Close)
		return g, server.URL
	}
	for _, a := range []args{
		{"concurrency": value.NumberOf(7)},
		{"concurrency": value.NumberOf(7), "rate": value.RateOf(3000)},
	} {
		g, url := serve()
		a["url"] = str(url)
		v, w := runLoad(t, 500*time.Millisecond, a)
		if most := g.most.Load(); most > 7 || most < 4 {
			t.Errorf("%d requests at once", most)
		}
		if total := int(g.total.Load()); w.requests > total || w.requests < total-7 {
			t.Errorf("%d requests are counted, %d came", w.requests, total)
		}
		if _, open := a["rate"]; open != (w.missed > 0) {
			t.Errorf("missed is %d in %s", w.missed, v)
		}
	}
	_, url := serve()
	_, w := runLoad(t, 200*time.Millisecond, args{"url": str(url)})
	if w.requests < 5 || w.requests > 45 {
		t.Errorf("one client of a 5ms server made %d requests in 200ms", w.requests)
	}
}

func TestAHangingServerShowsTheAgeOfTheOldest(t *testing.T) {
	address := rawServer(t, hang)
	for _, a := range []args{
		{"url": str("http://" + address), "concurrency": value.NumberOf(2)},
		{"url": str("http://" + address), "rate": value.RateOf(100)},
	} {
		s := startLoad(t, a)
		time.Sleep(200 * time.Millisecond)
		s.Next()
		time.Sleep(200 * time.Millisecond)
		v, _ := s.Next()
		wantNumber(t, v, "requests", 0)
		wantAbsent(t, v, "error_ratio")
		for _, field := range []string{"mean", "p50", "p99", "max"} {
			if d := v.Get(field).Duration(); d < 400*time.Millisecond || d > 1500*time.Millisecond {
				t.Errorf("%s is %s, the oldest request waits 400ms", field, v.Get(field))
			}
		}
		start := time.Now()
		s.Close()
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("closing took %v", took)
		}
	}
}

func TestTimeoutsCountAtTheirTimeout(t *testing.T) {
	address := rawServer(t, hang)
	v, w := runLoad(t, 700*time.Millisecond, args{"url": str("http://" + address), "concurrency": value.NumberOf(3), "timeout": value.DurationOf(200 * time.Millisecond)})
	if w.requests < 3 || w.requests > 9 || w.errors != w.requests {
		t.Errorf("%d requests, %d errors", w.requests, w.errors)
	}
	if p50 := v.Get("p50").Duration(); p50 < 200*time.Millisecond || p50 > 600*time.Millisecond {
		t.Errorf("p50 is %v", p50)
	}
}

func TestMissedWhenNothingMoves(t *testing.T) {
	address := rawServer(t, hang)
	// 100/s for 1s with room for 2: 98 are withheld, and after 300ms each of them is given up.
	_, w := runLoad(t, time.Second, args{"url": str("http://" + address), "rate": value.RateOf(100), "concurrency": value.NumberOf(2), "timeout": value.DurationOf(300 * time.Millisecond)})
	if w.missed < 85 || w.missed > 101 {
		t.Errorf("missed is %d", w.missed)
	}
	if w.requests < 4 || w.requests > 6 {
		t.Errorf("%d requests ended", w.requests)
	}
}

func TestADeadServerIsNoFastServer(t *testing.T) {
	v, w := runLoad(t, 500*time.Millisecond, args{"url": str("http://" + deadAddress(t)), "concurrency": value.NumberOf(2)})
	if w.requests == 0 || w.requests > 40 || w.errors != w.requests {
		t.Errorf("%d requests, %d errors", w.requests, w.errors)
	}
	if r := v.Get("error_ratio").Float(); r != 1 {
		t.Errorf("error_ratio is %v", r)
	}
	wantAbsent(t, v, "mean", "p50", "p99", "max")
}

func TestMergedWindowsAreTheWhole(t *testing.T) {
	_, server := gauged(func(n int64, w http.ResponseWriter) {
		if n%7 == 0 {
			w.WriteHeader(503)
		}
	})
	defer server.Close()
	s := startLoad(t, args{"url": str(server.URL), "concurrency": value.NumberOf(2)}).(*generator)
	whole, merged := newWindow(), newWindow()
	started, elapsed := time.Now(), time.Duration(0)
	for range 10 {
		time.Sleep(30 * time.Millisecond)
		_, m := s.Next()
		elapsed = time.Since(started)
		w := m.(*window)
		// The whole is rebuilt from the JSON of each window, as a verdict is recomputed from the journal.
		data, err := w.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := probeNamed(t, "http.load").(probes.Restorer).Restore(data)
		if err != nil {
			t.Fatal(err)
		}
		same(t, w, back.(*window))
		merged.Merge(m)
		whole.Merge(back)
	}
	same(t, merged, whole)
	if diff := (merged.elapsed - elapsed).Abs(); diff > 100*time.Millisecond {
		t.Errorf("the windows last %v of %v", merged.elapsed, elapsed)
	}
	if int(merged.latencies.TotalCount()) != merged.requests || merged.requests == 0 || merged.errors != merged.status[503] {
		t.Errorf("%d latencies, %d requests, %d errors", merged.latencies.TotalCount(), merged.requests, merged.errors)
	}
}

// The server hangs from the middle of a phase to its end. All that did end was fast; a summary must not conclude that the
// service was.
func TestASummaryRemembersWhoStillWaits(t *testing.T) {
	for _, a := range []args{
		{"rate": value.RateOf(200)},
		{"rate": value.RateOf(200), "concurrency": value.NumberOf(3)},
	} {
		resume := make(chan struct{})
		var hanging atomic.Bool
		_, server := gauged(func(int64, http.ResponseWriter) {
			if hanging.Load() {
				<-resume
			}
		})
		a["url"] = str(server.URL)
		s := startLoad(t, a)
		phase := newWindow()
		time.Sleep(500 * time.Millisecond)
		_, m := s.Next()
		phase.Merge(m)
		if p99 := phase.Value().Get("p99").Duration(); p99 > 200*time.Millisecond {
			close(resume)
			t.Skipf("this machine is too busy: p99 is %v", p99)
		}
		hanging.Store(true)
		for range 4 {
			time.Sleep(250 * time.Millisecond)
			_, m = s.Next()
			phase.Merge(m)
		}
		if p99 := phase.Value().Get("p99").Duration(); p99 < 700*time.Millisecond || p99 > 2*time.Second {
			t.Errorf("%s: p99 of the phase is %v", a, p99)
		}
		data, err := phase.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := restore(data)
		if err != nil {
			t.Fatal(err)
		}
		same(t, phase, back.(*window))
		ended := phase.requests
		close(resume)
		time.Sleep(300 * time.Millisecond)
		v, m := s.Next()
		if v.Get("p99").Duration() < 700*time.Millisecond {
			t.Errorf("the window in which they ended is %s", v)
		}
		phase.Merge(m)
		if n := int(phase.latencies.TotalCount()); n != phase.requests || n < ended+100 {
			t.Errorf("%d latencies of %d requests", n, phase.requests)
		}
		s.Close()
		server.Close()
	}
}

func TestMergingPendingTakesTheLatest(t *testing.T) {
	fast, stuck := newWindow(), newWindow()
	fast.answered(200, time.Millisecond)
	fast.end = 1
	stuck.end, stuck.oldest = 2, time.Second
	stuck.waits(time.Second)
	a, b := newWindow(), newWindow()
	for _, w := range []*window{fast, stuck} {
		a.Merge(w)
	}
	for _, w := range []*window{stuck, fast} {
		b.Merge(w)
	}
	same(t, a, b)
	if p99 := a.Value().Get("p99").Duration(); p99 != time.Second {
		t.Errorf("p99 is %v", p99)
	}
	if p50 := a.Value().Get("p50").Duration(); p50 > 2*time.Millisecond {
		t.Errorf("p50 is %v", p50)
	}
	later := newWindow()
	later.answered(200, 1100*time.Millisecond)
	later.end = 3
	a.Merge(later)
	if n := a.withPending().latencies.TotalCount(); n != 2 {
		t.Errorf("%d latencies of 2 requests", n)
	}
}

func same(t *testing.T, a, b *window) {
	t.Helper()
	if a.requests != b.requests || a.errors != b.errors || a.missed != b.missed || a.elapsed != b.elapsed || a.sum != b.sum || a.max != b.max || a.oldest != b.oldest || a.end != b.end {
		t.Errorf("windows differ: %+v %+v", *a, *b)
	}
	if fmt.Sprint(a.status) != fmt.Sprint(b.status) {
		t.Errorf("status counts differ: %v %v", a.status, b.status)
	}
	if (a.latencies == nil) != (b.latencies == nil) || a.latencies != nil && !a.latencies.Equals(b.latencies) {
		t.Error("histograms differ")
	}
	if (a.pending == nil) != (b.pending == nil) || a.pending != nil && !a.pending.Equals(b.pending) {
		t.Error("what is pending differs")
	}
	if a.Value().String() != b.Value().String() {
		t.Errorf("values differ:\n%s\n%s", a.Value(), b.Value())
	}
}

func TestConnectionsAreReusedOrNot(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // chunked
		io.WriteString(w, strings.Repeat("x", 100_000))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	_, w := runLoad(t, 200*time.Millisecond, args{"url": str(server.URL), "concurrency": value.NumberOf(3)})
	if n := connections.Load(); n > 3 || w.requests < 10 || w.errors > 0 {
		t.Errorf("%d connections, %d requests, %d errors", n, w.requests, w.errors)
	}
	connections.Store(0)
	_, w = runLoad(t, 200*time.Millisecond, args{"url": str(server.URL), "concurrency": value.NumberOf(3), "keepalive": value.BoolOf(false)})
	if n := int(connections.Load()); n < w.requests || n > w.requests+3 || w.errors > 0 {
		t.Errorf("%d connections, %d requests, %d errors", n, w.requests, w.errors)
	}
}

func TestConnectionsThatTheServerLetGoAreNoErrors(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	server.Config.IdleTimeout = 20 * time.Millisecond
	server.Start()
	defer server.Close()
	_, w := runLoad(t, 600*time.Millisecond, args{"url": str(server.URL), "rate": value.RateOf(15)})
	if w.errors != 0 || w.requests < 5 {
		t.Errorf("%d errors of %d requests", w.errors, w.requests)
	}
}

// net/http's client would send the second request again without a word.
func TestABrokenRequestIsNotRepeated(t *testing.T) {
	var requests atomic.Int64
	address := rawServer(t, func(c net.Conn) {
		defer c.Close()
		if readSome(c) {
			requests.Add(1)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
		if readSome(c) {
			requests.Add(1)
		}
	})
	_, w := runLoad(t, 300*time.Millisecond, args{"url": str("http://" + address), "rate": value.RateOf(100), "concurrency": value.NumberOf(2)})
	if total := int(requests.Load()); w.errors < w.requests/2-1 || w.requests < 10 || w.requests > total || w.requests < total-2 {
		t.Errorf("%d errors of %d requests, the server saw %d", w.errors, w.requests, total)
	}
}

func TestLoadOverTLSWithABody(t *testing.T) {
	var bodies atomic.Int64
	server := quietTLS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && r.FormValue("item") == "tea" && r.Host == "shop.test" {
			bodies.Add(1)
		}
	}))
	defer server.Close()
	a := args{"url": str(server.URL), "form": mapOf("item", "tea"), "headers": mapOf("host", "shop.test"), "insecure": value.BoolOf(true), "concurrency": value.NumberOf(2)}
	_, w := runLoad(t, 300*time.Millisecond, a)
	if n := int(bodies.Load()); w.errors > 0 || w.requests < 5 || n < w.requests {
		t.Errorf("%d errors of %d requests, %d bodies", w.errors, w.requests, n)
	}
	delete(a, "insecure")
	_, w = runLoad(t, 500*time.Millisecond, a) // the first one loads the trusted certificates
	if w.requests == 0 || w.errors != w.requests {
		t.Errorf("%d errors of %d requests to an untrusted server", w.errors, w.requests)
	}
}

func TestNothingStaysBehind(t *testing.T) {
	address := rawServer(t, hang)
	_, server := gauged(func(int64, http.ResponseWriter) {})
	defer server.Close()
	before := runtime.NumGoroutine()
	for _, a := range []args{
		{"url": str("http://" + address), "rate": value.RateOf(500)},
		{"url": str("http://" + address), "concurrency": value.NumberOf(20)},
		{"url": str(server.URL), "rate": value.RateOf(500), "concurrency": value.NumberOf(3)},
		{"url": str("http://" + deadAddress(t)), "concurrency": value.NumberOf(3)},
	} {
		o, err := probeNamed(t, "http.load").Open(context.Background(), env.Env{}, a)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		s := o.(probes.Streamer)
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		cancel() // the end of the run ends the load, without Close
		g := s.(*generator)
		g.running.Wait()
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("the load ended %v after its context", took)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if v, _ := s.Next(); v.Get("requests").IsMissing() {
			t.Errorf("after the end there is %s", v)
		}
	}
	server.Close()
	for deadline := time.Now().Add(3 * time.Second); ; {
		n := runtime.NumGoroutine()
		if n <= before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestWhatNeverStartedCloses(t *testing.T) {
	o, err := probeNamed(t, "http.load").Open(context.Background(), env.Env{}, args{"url": str("http://127.0.0.1:1/")})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func TestACorruptJournalIsRefused(t *testing.T) {
	for _, data := range []string{"", "[]", `{"requests": -1}`, `{"requests": 1, "latencies": "AAAA"}`, `{"requests": "many"}`} {
		if m, err := restore([]byte(data)); err == nil {
			t.Errorf("%s reads as %s", data, m.Value())
		}
	}
	empty, err := restore([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, empty.Value(), "error_ratio", "rps", "mean", "p99", "max")
	wantNumber(t, empty.Value(), "requests", 0)
}

func BenchmarkClosedModel(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	m, err := compose("GET", server.URL, nil, content{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := newSender(b.Context(), m, loadArgs{Timeout: time.Second, Keepalive: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.way.abort()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		u := s.newUser()
		for pb.Next() {
			if _, err := u.send(); err != nil {
				b.Error(err)
			}
		}
	})
}
