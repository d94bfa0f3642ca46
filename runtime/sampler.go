package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/probes"
)

// sampling takes the samples of one probe, all in one goroutine: to hand each to another one and back costs two wake-ups of
// a thread, which is more than to read a file of /proc. So that a probe that hangs holds up nobody, a timer stands beside
// it, which records the sample without it.
type sampling struct {
	b       *board
	p       *probe
	s       probes.Sampler
	ctx     context.Context
	over    context.CancelFunc // no sample counts any more
	overdue *time.Timer        // of the sample being taken

	inside  bool // the probe's own code; guarded by the board's lock
	skipped int  // ticks that were missed before the sample
}

// sampleLoop takes samples on a schedule that does not drift, until ctx ends. One that does not come back then is left behind.
func (b *board) sampleLoop(ctx context.Context, p *probe, s probes.Sampler) {
	over, end := context.WithCancel(context.Background())
	l := &sampling{b: b, p: p, s: s, ctx: ctx, over: end}
	l.overdue = time.AfterFunc(time.Hour, l.hung)
	l.overdue.Stop()
	defer context.AfterFunc(ctx, l.leave)()
	go l.run()
	<-over.Done()
}

// run takes the n-th sample at t0 + n periods. One that takes longer than a period makes the ticks in between be skipped,
// counted; samples never overlap.
func (l *sampling) run() {
	defer l.over()
	opened := time.Now()
	t0 := l.b.inStep(opened, l.p.period)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; {
		select {
		case <-l.ctx.Done():
			return
		case <-timer.C:
		}
		if !l.take() {
			return
		}
		if n == 0 && time.Since(opened) < l.p.period && time.Since(t0) >= l.p.period {
			t0 = opened // in step with others, it would miss a tick without having taken longer than a period
		}
		due := int(time.Since(t0)/l.p.period) + 1
		l.skipped = due - n - 1
		n = due
		timer.Reset(time.Until(t0.Add(time.Duration(n) * l.p.period)))
	}
}

// inStep is when the schedule of a probe that opens now begins: at most a quarter of a period ago, so that probes that were
// opened together are due together. They see the same moment, and a machine that sleeps in between wakes once for all.
func (b *board) inStep(now time.Time, period time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first.IsZero() {
		b.first = now
	}
	if behind := now.Sub(b.first) % period; behind <= period/4 {
		return now.Add(-behind)
	}
	return now
}

// hangGrace is how long a probe may take to notice that its time is up before it is reported without it.
const hangGrace = 100 * time.Millisecond

// take takes one sample and records it; false ends the loop.
func (l *sampling) take() bool {
	start := time.Now()
	l.b.mu.Lock()
	if l.ctx.Err() != nil { // then leave has been here, or waits for the lock
		l.b.mu.Unlock()
		return false
	}
	l.inside, l.p.inflight = true, start
	phase := l.b.at(start)
	l.b.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.ctx, l.p.timeout+hangGrace)
	defer cancel()
	if phase != nil {
		ctx = probes.InPhase(ctx, phase.at)
	}
	l.overdue.Reset(l.patience())
	var v value.Value
	err := guardPanic(l.p.def.Call.Spec.Name, func() (err error) { v, err = l.s.Sample(ctx); return err })
	l.overdue.Stop()
	if err != nil {
		v = value.NoData("%s", plainError(err, l.p.timeout))
	}
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.inside = false
	l.record(v)
	return l.ctx.Err() == nil
}

func (l *sampling) patience() time.Duration { return l.p.timeout + 2*hangGrace }

// hung records that a probe does not come back. No further sample starts until it does.
func (l *sampling) hung() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if time.Since(l.p.inflight) >= l.patience() { // or else it came back at the last moment, and this is the next sample
		l.record(value.NoData("the probe did not come back within %s", value.DurationOf(l.p.timeout)))
	}
}

// record records the sample being taken, once. The board's lock is held.
func (l *sampling) record(v value.Value) {
	start := l.p.inflight
	l.p.inflight = time.Time{}
	if !start.IsZero() && l.ctx.Err() == nil {
		l.b.record(l.p, &sample{start: start, end: time.Now(), value: v, skipped: l.skipped})
	}
}

// leave ends the loop without the sample being taken, which may never come back.
func (l *sampling) leave() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.inside {
		l.over()
	}
}

func plainError(err error, timeout time.Duration) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", value.DurationOf(timeout))
	}
	return err.Error()
}

// streamLoop closes a window every period, counted from the latest cut.
func (b *board) streamLoop(ctx context.Context, p *probe, s probes.Streamer, t0 time.Time) {
	timer := time.NewTimer(time.Until(t0.Add(p.period)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case t0 = <-p.realign:
		case <-timer.C:
			b.mu.Lock()
			// A cut may have come between the tick and the lock: then the window is fresh and this tick is void.
			if now := time.Now(); now.Sub(p.window) >= p.period/2 {
				b.window(p, s, now)
			}
			b.mu.Unlock()
		}
		next := t0.Add((time.Since(t0)/p.period + 1) * p.period)
		timer.Reset(time.Until(next))
	}
}

// panicError is a panic of a family, caught and named.
type panicError struct {
	who   string
	what  any
	stack []byte
}

func (e *panicError) Error() string {
	return fmt.Sprintf("`%s` has a defect: %v (at %s)", e.who, e.what, panicSite(e.stack))
}

// panicSite is the function of ours that panicked, for a bug report, instead of a stack trace.
func panicSite(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	seen := false
	for _, l := range lines {
		if strings.HasPrefix(l, "panic(") {
			seen = true
			continue
		}
		if seen && !strings.HasPrefix(l, "\t") && !strings.HasPrefix(l, "runtime") {
			if i := strings.LastIndexByte(l, '('); i > 0 { // the arguments
				return l[:i]
			}
			return l
		}
	}
	return "an unknown place"
}

// guardPanic runs code of a family and turns a panic into an error that names it.
func guardPanic(who string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{who: who, what: r, stack: debug.Stack()}
		}
	}()
	return f()
}
