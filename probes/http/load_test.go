package http

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
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

// gather adds windows to the first one until what was counted is enough. How long that takes is a matter of the machine; after
// the limit the caller complains about what is missing.
func gather(s probes.Streamer, enough func(*window) bool) *window {
	_, m := s.Next()
	for end := time.Now().Add(20 * time.Second); !enough(m.(*window)) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		_, next := s.Next()
		m.Merge(next)
	}
	return m.(*window)
}

// runLoadUntil is a load that lasts until what was counted is enough.
func runLoadUntil(t *testing.T, a args, enough func(*window) bool) (value.Value, *window) {
	t.Helper()
	s := startLoad(t, a)
	w := gather(s, enough)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	_, rest := s.Next()
	w.Merge(rest)
	return w.Value(), w
}

// ended is enough when so many requests have ended.
func ended(n int) func(*window) bool { return func(w *window) bool { return w.requests >= n } }

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
	// Between two sends nothing is on its way, on a busy machine not between any two: that instant is waited for.
	w, total := newWindow(), 0
	for end := time.Now().Add(30 * time.Second); ; {
		time.Sleep(time.Millisecond)
		before := g.total.Load()
		_, m := s.Next()
		w.Merge(m)
		total = int(g.total.Load())
		if total >= 100 && total == int(before) && m.(*window).oldest == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("of %d requests some are always on their way: %+v", total, *w)
		}
	}
	s.Close()
	v := w.Value()
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
	var served, late []time.Duration
	_, server := gauged(func(n int64, w http.ResponseWriter) {
		start, length := time.Now(), time.Duration(n*37%100)*time.Millisecond
		time.Sleep(length)
		mu.Lock()
		served, late = append(served, time.Since(start)), append(late, time.Since(start)-length)
		mu.Unlock()
	})
	defer server.Close()
	v, _ := runLoad(t, 2*time.Second, args{"url": str(server.URL), "rate": value.RateOf(200)})
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(served)
	// What a handler waits for its core after its sleep, a request waits for several times outside of the handler.
	slices.Sort(late)
	busy := 4 * late[len(late)*19/20]
	for field, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99} {
		want := served[min(int(math.Ceil(q*float64(len(served)))), len(served))-1]
		got := v.Get(field).Duration()
		if diff := (got - want).Abs(); diff > want/20+8*time.Millisecond+busy {
			complaints = append(complaints, fmt.Sprintf("%s is %v, the server says %v", field, got, want))
		}
	}
	if mean := v.Get("mean").Duration(); mean < 45*time.Millisecond || mean > 65*time.Millisecond+busy {
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

// A server stalls. A client that waits politely sees two slow requests; the schedule sees all that were due meanwhile.
func TestAStallIsNotOmitted(t *testing.T) {
	var stalled atomic.Pointer[chan struct{}]
	g, server := gauged(func(int64, http.ResponseWriter) {
		if end := stalled.Load(); end != nil {
			<-*end
		}
	})
	defer server.Close()
	end := make(chan struct{})
	release := sync.OnceFunc(func() { close(end) })
	defer release()
	const rate = 200
	s := startLoad(t, args{"url": str(server.URL), "rate": value.RateOf(rate), "concurrency": value.NumberOf(2), "timeout": value.DurationOf(30 * time.Second)})
	w := gather(s, ended(100))
	stalled.Store(&end)
	begun := time.Now()
	for before := w.missed; w.missed < before+98 && time.Since(begun) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		_, m := s.Next()
		w.Merge(m)
	}
	stall := time.Since(begun)
	stalled.Store(nil)
	release()
	all := w.requests + int(stall.Seconds()*rate)
	w.Merge(gather(s, ended(all-w.requests)))
	if w.requests < all || w.errors > 0 {
		t.Errorf("%d requests with %d errors, of %d that were due", w.requests, w.errors, all)
	}
	if most := g.most.Load(); most > 2 {
		t.Errorf("%d requests were in flight", most)
	}
	// What was withheld is sent late: all that were due in the first half of the stall waited for the second half of it.
	slow := 0
	for _, bar := range w.latencies.Distribution() {
		if time.Duration(bar.To)*histogramUnit >= stall/2 {
			slow += int(bar.Count)
		}
	}
	if due := int(stall.Seconds() * rate / 2); slow < due-1 {
		t.Errorf("%d requests waited for %v or longer, %d were due in the first half of a stall of %v", slow, stall/2, due, stall)
	}
	v := w.Value()
	for field, share := range map[string]float64{"p90": 0.9, "p99": 0.99} {
		// That of the slowest tenth or hundredth: of them the last were due so long before the end of the stall.
		least := stall - time.Duration((1-share)*float64(w.requests+2)/rate*1e9)
		if got := v.Get(field).Duration(); got < least-least/100 {
			t.Errorf("%s is %v, of a stall of %v in %d requests at least %v", field, got, stall, w.requests, least)
		}
	}
}

func TestConcurrencyIsNeverExceeded(t *testing.T) {
	slow := func(int64, http.ResponseWriter) { time.Sleep(5 * time.Millisecond) }
	for _, a := range []args{
		{"concurrency": value.NumberOf(7)},
		{"concurrency": value.NumberOf(7), "rate": value.RateOf(3000)},
	} {
		// Each load has a server of its own: one that is slow to let go of its last requests would count them for the next.
		g, server := gauged(slow)
		defer server.Close()
		a["url"] = str(server.URL)
		v, w := runLoadUntil(t, a, func(w *window) bool {
			_, open := a["rate"]
			return w.elapsed > 500*time.Millisecond && g.most.Load() >= 4 && (!open || w.missed > 0)
		})
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
	_, server := gauged(slow)
	defer server.Close()
	_, w := runLoadUntil(t, args{"url": str(server.URL)}, func(w *window) bool { return w.elapsed > 200*time.Millisecond && w.requests >= 5 })
	if w.requests < 5 || w.requests > int(w.elapsed/(5*time.Millisecond)) {
		t.Errorf("one client of a 5ms server made %d requests in %v", w.requests, w.elapsed)
	}
}

func TestAHangingServerShowsTheAgeOfTheOldest(t *testing.T) {
	address := rawServer(t, hang)
	for _, a := range []args{
		{"url": str("http://" + address), "concurrency": value.NumberOf(2)},
		{"url": str("http://" + address), "rate": value.RateOf(100)},
	} {
		begun := time.Now()
		s := startLoad(t, a)
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, m := s.Next(); m.(*window).oldest > 0 {
				break
			}
		}
		time.Sleep(200 * time.Millisecond)
		s.Next()
		time.Sleep(200 * time.Millisecond)
		v, _ := s.Next()
		wantNumber(t, v, "requests", 0)
		wantAbsent(t, v, "error_ratio")
		for _, field := range []string{"mean", "p50", "p99", "max"} {
			if d := v.Get(field).Duration(); d < 400*time.Millisecond || d > time.Since(begun) {
				t.Errorf("%s is %s, the oldest request waits for 400ms of %v", field, v.Get(field), time.Since(begun))
			}
		}
		start := time.Now()
		s.Close()
		if took := time.Since(start); took > 2*time.Second { // the requests would hang for five
			t.Errorf("closing took %v", took)
		}
	}
}

func TestTimeoutsCountAtTheirTimeout(t *testing.T) {
	address := rawServer(t, hang)
	const timeout = 200 * time.Millisecond
	v, w := runLoadUntil(t, args{"url": str("http://" + address), "concurrency": value.NumberOf(3), "timeout": value.DurationOf(timeout)}, ended(9))
	if w.requests < 9 || w.requests > 3*int(w.elapsed/timeout) || w.errors != w.requests {
		t.Errorf("%d requests in %v, %d errors", w.requests, w.elapsed, w.errors)
	}
	if p50 := v.Get("p50").Duration(); p50 < timeout || p50 > 5*timeout {
		t.Errorf("p50 is %v", p50)
	}
}

func TestMissedWhenNothingMoves(t *testing.T) {
	address := rawServer(t, hang)
	// 100/s for 1s with room for 2: 98 are withheld, and after 300ms each of them is given up. A second may last longer.
	s := startLoad(t, args{"url": str("http://" + address), "rate": value.RateOf(100), "concurrency": value.NumberOf(2), "timeout": value.DurationOf(300 * time.Millisecond)})
	time.Sleep(time.Second)
	due := func(w *window) int { return int(w.elapsed.Seconds() * 100) }
	// The schedule may be behind for a moment, as on a busy machine: it catches up.
	w := gather(s, func(w *window) bool { return w.missed >= due(w)-15 })
	if due := due(w); w.missed < due-15 || w.missed > due+1 {
		t.Errorf("missed is %d of %d", w.missed, due)
	}
	if w.requests < 2 || w.requests > 2*int(w.elapsed/(300*time.Millisecond)) {
		t.Errorf("%d requests ended in %v", w.requests, w.elapsed)
	}
}

func TestADeadServerIsNoFastServer(t *testing.T) {
	v, w := runLoadUntil(t, args{"url": str("http://" + deadAddress(t)), "concurrency": value.NumberOf(2)}, func(w *window) bool {
		return w.requests > 0 && w.elapsed > 500*time.Millisecond
	})
	// Each client pauses for 10, 20, 40, 80, then always for 100 ms.
	if w.requests == 0 || w.requests > 2*(5+int(w.elapsed/(100*time.Millisecond))) || w.errors != w.requests {
		t.Errorf("%d requests in %v, %d errors", w.requests, w.elapsed, w.errors)
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
	begun := time.Now()
	s := startLoad(t, args{"url": str(server.URL), "concurrency": value.NumberOf(2)}).(*generator)
	started := time.Now()
	whole, merged := newWindow(), newWindow()
	var least, most time.Duration // that the windows can last together
	for range 10 {
		time.Sleep(30 * time.Millisecond)
		least = time.Since(started)
		_, m := s.Next()
		most = time.Since(begun)
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
	if merged.elapsed < least || merged.elapsed > most {
		t.Errorf("the windows last %v, which is not from %v to %v", merged.elapsed, least, most)
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
		// What hangs may have been due that much earlier, on a busy machine.
		behind := max(phase.max, phase.oldest)
		hung := time.Now()
		hanging.Store(true)
		for range 4 {
			time.Sleep(250 * time.Millisecond)
			_, m = s.Next()
			phase.Merge(m)
		}
		if p99 := phase.Value().Get("p99").Duration(); p99 < 700*time.Millisecond || p99 > time.Since(hung)+behind+500*time.Millisecond {
			t.Errorf("%s: p99 of the phase is %v, the server hangs for %v", a, p99, time.Since(hung))
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
		before := phase.requests
		close(resume)
		after := gather(s, ended(100))
		if v := after.Value(); v.Get("p99").Duration() < 700*time.Millisecond {
			t.Errorf("the windows in which they ended are %s", v)
		}
		phase.Merge(after)
		if n := int(phase.latencies.TotalCount()); n != phase.requests || n < before+100 {
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
	var connections, served atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
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
	_, w := runLoadUntil(t, args{"url": str(server.URL), "concurrency": value.NumberOf(3)}, ended(30))
	if n := connections.Load(); n > 3 || w.requests < 10 || w.errors > 0 {
		t.Errorf("%d connections, %d requests, %d errors", n, w.requests, w.errors)
	}
	connections.Store(0)
	served.Store(0)
	_, w = runLoadUntil(t, args{"url": str(server.URL), "concurrency": value.NumberOf(3), "keepalive": value.BoolOf(false)}, ended(30))
	// Between the last sample and its end the load goes on, so the server says how many requests there were. Each client may
	// have opened a connection for one that it gave up.
	n := int(connections.Load())
	if all := int(served.Load()); n < w.requests || n > all+3 || w.errors > 0 {
		t.Errorf("%d connections, %d requests, %d of them in samples, %d errors", n, all, w.requests, w.errors)
	}
}

func TestConnectionsThatTheServerLetGoAreNoErrors(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	server.Config.IdleTimeout = 20 * time.Millisecond
	server.Start()
	defer server.Close()
	// The server has lost interest long before the next request, also when it is late: one that it closes its door to is an error.
	_, w := runLoadUntil(t, args{"url": str(server.URL), "rate": value.RateOf(5)}, ended(5))
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
	_, w := runLoadUntil(t, args{"url": str("http://" + address), "rate": value.RateOf(100), "concurrency": value.NumberOf(2)}, ended(20))
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
	_, w := runLoadUntil(t, a, ended(20))
	if n := int(bodies.Load()); w.errors > 0 || w.requests < 5 || n < w.requests {
		t.Errorf("%d errors of %d requests, %d bodies", w.errors, w.requests, n)
	}
	delete(a, "insecure")
	_, w = runLoadUntil(t, a, ended(1)) // the first one loads the trusted certificates
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
		if took := time.Since(start); took > 2*time.Second { // the requests would hang for five
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
	for deadline := time.Now().Add(10 * time.Second); ; {
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

// What a script may compare with 0 has to be findable, so the field's help names every reason.
func TestTheHelpNamesEveryReason(t *testing.T) {
	field, _ := reflect.TypeFor[LoadSample]().FieldByName("Failures")
	help := field.Tag.Get("help")
	for _, reason := range knownReasons {
		if !strings.Contains(help, reason) {
			t.Errorf("%q is missing in: %s", reason, help)
		}
	}
}
