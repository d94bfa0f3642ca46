package runtime

import (
	"testing"
	"time"
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
