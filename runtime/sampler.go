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

// sampleLoop takes samples on a schedule that does not drift: the n-th is due at t0 + n periods. One that takes longer
// than a period makes the ticks in between be skipped, counted; samples never overlap.
func (b *board) sampleLoop(ctx context.Context, p *probe, s probes.Sampler) {
	t0 := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	t := newTaker(p, s)
	defer close(t.ask)
	skipped := 0
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !b.takeOne(ctx, p, t, skipped) {
			return
		}
		due := int(time.Since(t0)/p.period) + 1
		skipped = due - n - 1
		n = due
		timer.Reset(time.Until(t0.Add(time.Duration(n) * p.period)))
	}
}

// hangGrace is how long a probe may take to notice that its time is up before it is reported without it.
const hangGrace = 100 * time.Millisecond

// taker takes samples in a goroutine of its own, so that a probe that hangs holds up nobody. One for all samples of a
// probe: a new one for each would have to grow its stack each time, a tenth of a fast sample.
type taker struct {
	ask  chan context.Context
	done chan taken
}

type taken struct {
	v   value.Value
	err error
}

func newTaker(p *probe, s probes.Sampler) *taker {
	t := &taker{ask: make(chan context.Context), done: make(chan taken, 1)}
	go func() {
		for ctx := range t.ask {
			var r taken
			r.err = guardPanic(p.def.Call.Spec.Name, func() (err error) { r.v, err = s.Sample(ctx); return err })
			t.done <- r
		}
	}()
	return t
}

// takeOne takes one sample and records it; false ends the loop. A probe that does not come back in time is recorded as
// failed at once, and no further sample starts until it does come back.
func (b *board) takeOne(ctx context.Context, p *probe, t *taker, skipped int) bool {
	start := time.Now()
	b.mu.Lock()
	p.inflight = start
	phase := b.at(start)
	b.mu.Unlock()
	sctx, cancel := context.WithTimeout(ctx, p.timeout+hangGrace)
	defer cancel()
	if phase != nil {
		sctx = probes.InPhase(sctx, phase.at)
	}
	t.ask <- sctx // it is idle: the sample before has come back
	finish := func(v value.Value) {
		b.mu.Lock()
		defer b.mu.Unlock()
		p.inflight = time.Time{}
		if ctx.Err() == nil {
			b.record(p, &sample{start: start, end: time.Now(), value: v, skipped: skipped})
		}
	}
	hung := time.NewTimer(p.timeout + 2*hangGrace)
	defer hung.Stop()
	select {
	case r := <-t.done:
		if r.err != nil {
			r.v = value.NoData("%s", plainError(r.err, p.timeout))
		}
		finish(r.v)
		return ctx.Err() == nil
	case <-hung.C:
		finish(value.NoData("the probe did not come back within %s", value.DurationOf(p.timeout)))
	case <-ctx.Done():
		return false
	}
	select {
	case <-t.done:
		return true
	case <-ctx.Done():
		return false
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
