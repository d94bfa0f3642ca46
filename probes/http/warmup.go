package http

import (
	"fmt"
	"math"
	"time"

	"chaos/lang/value"
)

// warmup is the time in which requests are sent and not counted: caches fill, connections open, a JVM compiles. It ends
// after a while or after so many requests. What is still on its way then is not counted either, nor is what was due before.
type warmup struct {
	on       bool
	length   time.Duration // 0: it ends by count
	requests int64         // left until its end

	end   time.Time
	sends int64 // of the schedule, those that were due before the end
}

func (g *generator) setWarmup(given *value.Value) error {
	if given != nil {
		n, _ := given.V.(float64)
		switch {
		case given.T.Kind == value.Duration && n >= 0:
			g.warmup.length = given.Duration()
		case given.T.Kind == value.Number && n >= 0 && n == math.Trunc(n) && n < math.MaxInt32:
			g.warmup.requests = int64(n)
		default:
			return fmt.Errorf("`warmup` is a duration, such as 10s, or a number of requests, such as 1000; %s is neither", given)
		}
	}
	g.warmup.on = g.warmup.length > 0 || g.warmup.requests > 0
	if !g.warmup.on {
		close(g.warm)
	}
	return nil
}

// Warm is closed when what is sent counts, which it does from the start where there is no warm-up.
func (g *generator) Warm() <-chan struct{} { return g.warm }

// startWarmup lets the time run. The lock is held.
func (g *generator) startWarmup() {
	if g.warmup.length > 0 {
		timer := time.AfterFunc(g.warmup.length, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.endWarmup()
		})
		g.stopTimer = timer.Stop
	}
}

// warmedUpBy counts requests that ended. The lock is held.
func (g *generator) warmedUpBy(n int64) {
	if !g.warmup.on || g.warmup.length > 0 {
		return
	}
	if g.warmup.requests -= n; g.warmup.requests <= 0 {
		g.endWarmup()
	}
}

// endWarmup forgets what was counted so far. The lock is held.
func (g *generator) endWarmup() {
	if !g.warmup.on {
		return
	}
	now := time.Now()
	g.warmup.on, g.warmup.end = false, now
	if g.rate > 0 {
		g.warmup.sends = max(int64(math.Floor(now.Sub(g.t0).Seconds()*g.rate))+1, g.next)
	}
	g.current, g.since = newWindow(), now
	for f := g.oldest; f != nil; f = f.next {
		// Its latency is not counted, but that it hangs must show: the age is at least that from now on.
		f.uncounted, f.start = true, now
	}
	close(g.warm)
}
