package runtime

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"chaos/lang/check"
	"chaos/lang/expr"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/event"
)

// board holds what the probes saw: the latest sample of each, the summaries of the phases, and those who watch. Every
// evaluation happens under its lock, so that a check reads one consistent moment.
type board struct {
	mu       sync.Mutex
	stream   *event.Stream
	probes   map[string]*probe
	entries  []*entry // the phases entered so far
	injected time.Time
	first    time.Time // when the schedule of the first probe began
	watchers []*watcher
	changed  chan struct{} // closed and replaced at every sample
	steady   []*check.Check
}

// entry is one stay in a phase. `before` may be entered again when a window is retried; its summaries start afresh.
type entry struct {
	phase event.Phase
	at    time.Time
	sums  map[string]*summary
}

// probe is a named probe of a running experiment.
type probe struct {
	def     *check.Probe
	period  time.Duration
	timeout time.Duration
	opened  probes.Opened

	latest   *sample
	inflight time.Time // start of the sample being taken; zero when none is
	window   time.Time // start of a streaming probe's present window
	realign  chan time.Time
}

type sample struct {
	start, end time.Time
	value      value.Value
	state      probes.Mergeable
	skipped    int
	partial    bool
}

// watcher is called under the board's lock at each new sample of a probe that it names. all tells whether each of them has
// one since `since`; before that, an evaluation counts only if it does not depend on the missing ones: `false and no-data`
// is false, and an outage must not hide behind a slow probe.
type watcher struct {
	names []string
	since time.Time
	until time.Time // samples that started later do not count; zero for no end
	fire  func(at time.Time, all bool)
}

func newBoard(stream *event.Stream, steady []*check.Check) *board {
	return &board{stream: stream, probes: map[string]*probe{}, changed: make(chan struct{}), steady: steady}
}

// enter starts a phase: windows of streaming probes are cut, so that each belongs to one phase.
func (b *board) enter(p event.Phase) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.cut(now)
	b.entries = append(b.entries, &entry{phase: p, at: now, sums: map[string]*summary{}})
	if p == event.During {
		b.injected = now
	}
	return now
}

func (b *board) cut(now time.Time) {
	for _, p := range b.probes {
		if s, ok := p.opened.(probes.Streamer); ok && now.After(p.window) {
			b.window(p, s, now)
			select {
			case p.realign <- now:
			default:
			}
		}
	}
}

// window closes the present window of a streaming probe. One that was cut to less than half a period goes into summaries,
// which are exact, and is not judged by itself: its rates would be noise.
func (b *board) window(p *probe, s probes.Streamer, now time.Time) {
	var v value.Value
	var state probes.Mergeable
	if err := guardPanic(p.def.Call.Spec.Name, func() error { v, state = s.Next(); return nil }); err != nil {
		v = value.NoData("%s", err)
	}
	start := p.window
	p.window = now
	b.record(p, &sample{start: start, end: now, value: v, state: state, partial: now.Sub(start) < p.period/2})
}

func (b *board) at(start time.Time) *entry {
	for _, e := range slices.Backward(b.entries) {
		if !start.Before(e.at) {
			return e
		}
	}
	return nil
}

// record takes in a sample. Called under the lock.
func (b *board) record(p *probe, s *sample) {
	e := b.at(s.start)
	spans := !b.injected.IsZero() && s.start.Before(b.injected) && s.end.After(b.injected)
	ev := event.Sample{Probe: p.def.Name, Start: b.stream.Since(s.start), Took: event.Seconds(s.end.Sub(s.start)), Skipped: s.skipped, Spans: spans, Partial: s.partial}
	if s.value.Missing != "" {
		ev.Error = s.value.Missing
	} else {
		ev.Value = &s.value
	}
	if s.state != nil {
		ev.State, _ = json.Marshal(s.state)
	}
	if e != nil {
		ev.Phase = e.phase
		if !spans {
			sum, ok := e.sums[p.def.Name]
			if !ok {
				sum = &summary{}
				e.sums[p.def.Name] = sum
			}
			sum.add(s.value, s.state)
		}
	}
	b.stream.Emit(ev)
	if !s.partial {
		if p.latest == nil || !s.start.Before(p.latest.start) {
			p.latest = s
		}
		for _, w := range slices.Clone(b.watchers) {
			if slices.Contains(w.names, p.def.Name) && !s.start.Before(w.since) && (w.until.IsZero() || !s.start.After(w.until)) {
				w.fire(s.start, b.have(w.names, w.since))
			}
		}
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// have tells whether each probe has a sample that started at or after since.
func (b *board) have(names []string, since time.Time) bool {
	for _, n := range names {
		p, ok := b.probes[n]
		if !ok || p.latest == nil || p.latest.start.Before(since) {
			return false
		}
	}
	return true
}

// idle tells whether no probe is still taking a sample that started at or before an instant.
func (b *board) idle(names []string, upto time.Time) bool {
	for _, n := range names {
		if p, ok := b.probes[n]; ok && !p.inflight.IsZero() && !p.inflight.After(upto) {
			return false
		}
	}
	return true
}

func (b *board) watch(w *watcher) *watcher {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers = append(b.watchers, w)
	return w
}

func (b *board) unwatch(list ...*watcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers = slices.DeleteFunc(b.watchers, func(w *watcher) bool { return slices.Contains(list, w) })
}

// until waits for a condition that samples can change; cond runs under the lock. It returns false when ctx ended first.
func (b *board) until(done <-chan struct{}, cond func() bool) bool {
	for {
		b.mu.Lock()
		ok := cond()
		changed := b.changed
		b.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		}
	}
}

// env reads the board and the bound values; called under the lock. Samples that started before since are not seen.
func (b *board) env(v *vars, since time.Time) expr.Env {
	now := time.Now()
	var e expr.EnvFunc
	e = func(path []string) value.Value {
		switch path[0] {
		case "before", "during", "after":
			if len(path) < 2 {
				return value.NoData("`%s` is no value by itself", path[0])
			}
			return b.summaryOf(event.Phase(path[0]), path[1]).get(path[2:])
		case "steady":
			return b.evalSteady(e)
		}
		if x, ok := v.get(path[0]); ok {
			return walk(x, path[1:])
		}
		p, ok := b.probes[path[0]]
		if !ok {
			return value.NoData("`%s` was never reached", path[0])
		}
		switch {
		case p.latest == nil:
			return value.NoData("`%s` has no sample yet", path[0])
		case p.latest.start.Before(since):
			return value.NoData("`%s` has no new sample yet", path[0])
		case now.Sub(p.latest.start) > 3*p.period+p.timeout:
			return value.NoData("the latest sample of `%s` is %s old", path[0], value.DurationOf(now.Sub(p.latest.start)).Short())
		}
		return walk(p.latest.value, path[1:])
	}
	return e
}

func walk(v value.Value, path []string) value.Value {
	for _, name := range path {
		v = v.Get(name)
	}
	return v
}

func (b *board) summaryOf(p event.Phase, name string) *summary {
	for _, e := range slices.Backward(b.entries) {
		if e.phase == p {
			return e.sums[name]
		}
	}
	return nil
}

// evalSteady is the value of `steady`: every expect of the steady block, on the latest samples.
func (b *board) evalSteady(e expr.Env) value.Value {
	out := value.BoolOf(true)
	for _, c := range b.steady {
		switch v := c.Cond.Eval(e); {
		case v.IsMissing():
			out = v
		case !v.Bool():
			return value.BoolOf(false)
		}
	}
	return out
}
