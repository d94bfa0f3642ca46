package http

import (
	"context"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/netfail"
)

type loadArgs struct {
	URL         string                 `chaos:"url,required,positional,filled" help:"where to send the requests"`
	Rate        *value.RateV           `chaos:"rate" range:">0/s" help:"requests per second, sent on time whatever the server does; latency counts from the moment at which a request was due"`
	Concurrency *int                   `chaos:"concurrency" range:">=1" help:"alone: so many clients, each sending its next request when the last is answered (after a failed connection it pauses, 10ms to 100ms); with rate: at most so many requests in flight; neither: one client"`
	Warmup      *value.Value           `chaos:"warmup" range:">=0" help:"how long (10s), or for how many requests (1000), to send without counting; until then there is no data, and before waits for it"`
	Method      string                 `chaos:"method" help:"the method; without it GET, or POST when there is a body"`
	Headers     map[string]value.Value `chaos:"headers" help:"headers to send, as a map; Host sets the virtual host"`
	Body        string                 `chaos:"body" help:"the body as text"`
	Form        map[string]value.Value `chaos:"form" help:"the body as the fields of a form, sent URL-encoded with its content type"`
	BodyFile    string                 `chaos:"body_file" help:"the body as a file's content, read once, up to 64MiB; a relative path starts at the script's folder"`
	Timeout     time.Duration          `chaos:"timeout" default:"5s" range:">0s" help:"how long connecting, sending and reading the whole answer may take together"`
	Follow      bool                   `chaos:"follow" default:"false" help:"follow redirects, up to 10: they count as one request, with the time of all and the status of the last; otherwise the redirect is the answer"`
	Cookies     bool                   `chaos:"cookies" default:"false" help:"send back the cookies that the server sets, each client its own; with rate, there are as many clients as requests were ever in flight at once"`
	Keepalive   bool                   `chaos:"keepalive" default:"true" help:"use connections again; otherwise every request opens its own"`
	HTTP2       bool                   `chaos:"http2" default:"false" help:"speak HTTP/2 only, with http:// without an upgrade (prior knowledge); all clients share one connection, and a further one opens when it has all the requests at once that the server permits but one"`
	Insecure    bool                   `chaos:"insecure" default:"false" help:"accept any TLS certificate"`
}

func load() probes.Probe {
	return probes.DefineStream(spec.Call{
		Name:    "http.load",
		Summary: "Sends requests all the time, at a rate or from so many clients, and shows counts and latencies of each window.",
		Example: `probe load = http.load("http://127.0.0.1:8080/", rate: 200/s, timeout: 2s)`,
	}, LoadSample{}, restore, openLoad)
}

// maxInFlight bounds the requests in flight where the script does not: a server that hangs must not cost this machine its
// memory. A run that may open few files gets half of those.
const maxInFlight = 10000

func openLoad(_ context.Context, e env.Env, in loadArgs) (probes.Streamer, error) {
	method := in.Method
	if method == "" {
		method = "GET"
		if in.Body != "" || in.Form != nil || in.BodyFile != "" {
			method = "POST"
		}
	}
	m, err := compose(method, in.URL, in.Headers, content{text: in.Body, form: in.Form, file: in.BodyFile, dir: e.Dir})
	if err != nil {
		return nil, err
	}
	g := &generator{limit: inFlightBound(), timeout: in.Timeout, freed: make(chan struct{}, 1), warm: make(chan struct{}), current: newWindow()}
	if err := g.setWarmup(in.Warmup); err != nil {
		return nil, err
	}
	if in.Concurrency != nil {
		if *in.Concurrency > g.limit {
			return nil, fmt.Errorf("`concurrency: %d` must be at most %d here", *in.Concurrency, g.limit)
		}
		g.limit = *in.Concurrency
	} else if in.Rate == nil {
		g.limit = 1
	}
	if in.Rate != nil {
		g.rate = float64(*in.Rate)
	}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	if g.sender, err = newSender(g.ctx, m, in); err != nil {
		return nil, err
	}
	return g, nil
}

func newSender(ctx context.Context, m *message, in loadArgs) (*sender, error) {
	first, err := newHop(m, in.Keepalive)
	if err != nil {
		return nil, err
	}
	s := &sender{first: first, timeout: in.Timeout, follow: in.Follow, cookies: in.Cookies}
	if in.HTTP2 {
		s.way = newStreams(ctx, in.Keepalive, in.Insecure)
	} else {
		s.way = newWire(ctx, in.Keepalive, in.Insecure)
	}
	return s, nil
}

func inFlightBound() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur/2 < maxInFlight {
		return max(int(files.Cur/2), 1)
	}
	return maxInFlight
}

// generator sends the load and counts what comes back.
type generator struct {
	sender  *sender
	rate    float64 // requests per second; 0: the closed model
	limit   int     // in flight; in the closed model the number of clients
	timeout time.Duration

	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	freed   chan struct{} // a request ended, for a schedule that waits for room
	warm    chan struct{} // closed when what is sent counts
	lanes   []*lane       // of the closed model

	// One lock is enough: it is held for some 100ns twice a request, a percent of a core at 20,000 requests per second.
	mu       sync.Mutex
	current  *window
	since    time.Time
	inFlight int
	oldest   *flight // of a list in the order of start
	newest   *flight
	t0       time.Time // of the schedule
	next     int64     // the send that the schedule starts next
	warmup   warmup

	stopTimer func() bool // of the warm-up; nil without one
}

// flight is a request on its way.
type flight struct {
	start      time.Time // intended; in the closed model the real one
	uncounted  bool      // of the warm-up
	prev, next *flight
}

// Start begins to send. The end of ctx ends it, as Close does.
func (g *generator) Start(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var p *pacer
	if g.rate > 0 {
		var err error
		if p, err = newPacer(); err != nil {
			return err
		}
	}
	g.mu.Lock()
	g.since = time.Now()
	g.t0 = g.since
	g.startWarmup()
	g.mu.Unlock()
	release := context.AfterFunc(ctx, func() { g.cancel(context.Cause(ctx)) })
	context.AfterFunc(g.ctx, func() {
		release()
		g.sender.way.abort()
		if p != nil {
			p.close()
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.stopTimer != nil {
			g.stopTimer()
		}
	})
	if g.rate > 0 {
		g.running.Go(func() { g.schedule(p) })
		return nil
	}
	g.openLanes()
	for _, l := range g.lanes {
		g.running.Go(l.run)
	}
	for i := range g.limit {
		var l *lane
		if n := len(g.lanes); n > 0 {
			l = g.lanes[i%n]
		}
		g.running.Go(func() { g.client(l, g.sender.newUser(), nil) })
	}
	return nil
}

// Next closes the window. During the warm-up there is none.
func (g *generator) Next() (value.Value, probes.Mergeable) {
	fresh := newWindow()
	g.mu.Lock()
	if g.warmup.on {
		g.mu.Unlock()
		return value.NoData("warming up"), nil
	}
	now := time.Now()
	w := g.current
	if !g.since.IsZero() {
		w.elapsed = now.Sub(g.since)
		g.since = now
	}
	w.end = now.UnixNano()
	if g.oldest != nil {
		w.oldest = max(now.Sub(g.oldest.start), 0)
	}
	for f := g.oldest; f != nil; f = f.next {
		w.waits(now.Sub(f.start))
	}
	if g.inFlight >= g.limit && g.rate > 0 { // sends wait for room; they are all younger than those in flight
		for n := max(g.next, g.warmup.sends); ; n++ {
			age := now.Sub(g.due(n))
			if age <= w.max || age <= 0 {
				break
			}
			w.waits(age)
		}
	}
	g.current = fresh
	g.mu.Unlock()
	return w.sample(), w
}

// due is when send n of the schedule should start.
func (g *generator) due(n int64) time.Time {
	return g.t0.Add(time.Duration(float64(n) / g.rate * 1e9))
}

// Close ends the load: what is in flight is given up and not counted.
func (g *generator) Close() error {
	g.cancel(context.Canceled)
	g.sender.way.abort()
	done := make(chan struct{})
	go func() { g.running.Wait(); close(done) }()
	limit := time.NewTimer(2 * time.Second)
	defer limit.Stop()
	select {
	case <-done:
		return nil
	case <-limit.C:
		return fmt.Errorf("requests to %s do not end", g.sender.first.address)
	}
}

// minSleep batches the sends of a high rate: waking for each would cost more than sending.
const minSleep = 50 * time.Microsecond

// schedule is the open model. Send n is due at t0 + n/rate, whatever became of the others, so a slow server does not
// slow the schedule down and hide itself (coordinated omission). A send that finds no room is counted as missed; it starts
// as soon as there is room, its latency counted from when it was due, unless its timeout has passed by then.
func (g *generator) schedule(p *pacer) {
	until := func(elapsed time.Duration) int64 { return int64(math.Floor(elapsed.Seconds()*g.rate)) + 1 } // sends due by then
	poll := time.NewTimer(time.Hour)
	defer poll.Stop()
	var judged int64 // the first send of which it is not known yet whether it was on time
	for g.ctx.Err() == nil {
		elapsed := time.Since(g.t0)
		g.giveUp(until(elapsed-g.timeout)-1, &judged)
		end := until(elapsed)
		for g.next < end && g.launch(g.due(g.next)) {
		}
		if g.next < end {
			g.miss(max(g.next, judged), end)
			judged = end
			poll.Reset(5 * time.Millisecond) // so that sends are judged in the window in which they were due
			select {
			case <-g.freed:
			case <-poll.C:
			case <-g.ctx.Done():
			}
			continue
		}
		judged = max(judged, g.next)
		if !p.sleep(max(time.Until(g.due(g.next)), minSleep)) {
			return
		}
	}
}

// miss counts the sends from one to before another that found no room at their time.
func (g *generator) miss(from, end int64) {
	g.mu.Lock()
	g.current.missed += int(max(end-max(from, g.warmup.sends), 0))
	g.mu.Unlock()
}

// giveUp drops the sends before expired: their timeout has passed without room for them. The percentiles are of all that
// was due, so each of them counts as a wait of the timeout; it is no request, since the server never saw it.
func (g *generator) giveUp(expired int64, judged *int64) {
	if expired <= g.next {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := int(expired - max(g.next, g.warmup.sends)); n > 0 {
		g.current.latency(g.timeout, n)
	}
	g.current.missed += int(max(expired-max(g.next, *judged, g.warmup.sends), 0))
	g.next, *judged = expired, max(*judged, expired)
}

// launch starts a request that is or was due at start; false without room.
func (g *generator) launch(start time.Time) bool {
	f := &flight{start: start}
	g.mu.Lock()
	if g.inFlight >= g.limit {
		g.mu.Unlock()
		return false
	}
	if g.next < g.warmup.sends {
		f.uncounted, f.start = true, g.warmup.end
	}
	g.depart(f)
	g.next++
	g.mu.Unlock()
	g.running.Go(func() {
		u := g.sender.take()
		status, err := u.send()
		g.sender.put(u)
		g.land(f, status, err)
		select {
		case g.freed <- struct{}{}:
		default:
		}
	})
	return true
}

// client is one client of the closed model, until the lane takes it over, if there is one. It goes on with a request, if
// there is one, even when the load has ended: somebody must say how that request ended.
func (g *generator) client(l *lane, u *user, p *pending) {
	const shortest, longest = 10 * time.Millisecond, 100 * time.Millisecond
	pause := shortest
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for p != nil || g.ctx.Err() == nil {
		var f *flight
		var status int
		var err error
		switch {
		case p != nil:
			f = p.f
			status, err = u.goOn(p)
		default:
			var due time.Time
			f, due = g.begin()
			if l != nil && l.take(u, f, due) {
				return
			}
			status, err = u.send()
		}
		p = nil
		g.land(f, status, err)
		if err == nil || netfail.IsTimeout(err) {
			pause = shortest
			continue
		}
		// A refused connection costs microseconds: without a pause a dead server would look like a very fast one.
		timer.Reset(pause)
		pause = min(2*pause, longest)
		select {
		case <-timer.C:
		case <-g.ctx.Done():
		}
	}
}

// begin is the start of a request of the closed model, and when its time is up.
func (g *generator) begin() (*flight, time.Time) {
	f := &flight{}
	g.mu.Lock()
	defer g.mu.Unlock()
	f.start = time.Now()
	g.depart(f)
	return f, f.start.Add(g.timeout)
}

// depart appends to the list of what is in flight. The lock is held.
func (g *generator) depart(f *flight) {
	g.inFlight++
	if f.prev = g.newest; f.prev != nil {
		f.prev.next = f
	} else {
		g.oldest = f
	}
	g.newest = f
}

// land takes a request out of the list and counts how it ended.
func (g *generator) land(f *flight, status int, err error) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	latency := now.Sub(f.start)
	g.inFlight--
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		g.oldest = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		g.newest = f.prev
	}
	switch {
	case g.ctx.Err() != nil && err != nil: // we gave up, not the server
	case f.uncounted:
	case err == nil:
		g.current.answered(status, latency)
	case netfail.IsTimeout(err):
		g.current.timedOut(latency)
	default:
		g.current.failed(reason(err))
	}
	g.warmedUpBy(1)
}
