package runtime

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"chaos/lang/check"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/event"
)

// Probes that were opened together are due together; one that comes much later keeps its own schedule.
func TestDueTogether(t *testing.T) {
	b := &board{}
	first := b.inStep(time.Now(), time.Second)
	for _, c := range []struct{ opened, period, begins time.Duration }{
		{3 * time.Millisecond, time.Second, 0},
		{3 * time.Millisecond, 100 * time.Millisecond, 0},
		{3 * time.Millisecond, 10 * time.Millisecond, 3 * time.Millisecond}, // it would take its second sample too early
		{102 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond},
		{102 * time.Millisecond, 250 * time.Millisecond, 102 * time.Millisecond},
		{10200 * time.Millisecond, time.Second, 10 * time.Second},
	} {
		if begins := b.inStep(first.Add(c.opened), c.period).Sub(first); begins != c.begins {
			t.Errorf("opened at %s, every %s: begins at %s, not at %s", c.opened, c.period, begins, c.begins)
		}
	}
}

// slow is a probe whose samples take so long.
type slow time.Duration

func (s slow) Sample(context.Context) (value.Value, error) {
	time.Sleep(time.Duration(s))
	return value.BoolOf(true), nil
}
func (slow) Timeout() time.Duration { return 0 }
func (slow) Close() error           { return nil }

// Only a sample that takes longer than a period makes its probe miss a tick.
func TestInStepNoTickIsMissed(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		takes   time.Duration
		starts  []time.Duration // after it was opened, 20 ms behind another
		skipped int
	}{
		{30 * ms, []time.Duration{0, 80 * ms, 180 * ms}, 0},
		{90 * ms, []time.Duration{0, 100 * ms, 200 * ms}, 0},
		{110 * ms, []time.Duration{0, 180 * ms, 380 * ms}, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard(event.NewStream(nil), nil)
			b.inStep(time.Now(), time.Second)
			time.Sleep(20 * ms)
			p := &probe{def: &check.Probe{Name: "p", Call: &check.Call{Spec: &spec.Call{Name: "slow"}}}, period: 100 * ms, timeout: time.Second}
			b.probes["p"] = p
			opened, skipped := time.Now(), 0
			var starts []time.Duration
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b.watch(&watcher{names: []string{"p"}, fire: func(at time.Time, _ bool) {
				starts = append(starts, at.Sub(opened))
				if skipped += p.latest.skipped; len(starts) == len(c.starts) {
					cancel()
				}
			}})
			b.sampleLoop(ctx, p, slow(c.takes))
			if !slices.Equal(starts, c.starts) || skipped != c.skipped {
				t.Errorf("samples of %s start at %v with %d ticks missed, not at %v with %d", c.takes, starts, skipped, c.starts, c.skipped)
			}
		})
	}
}
