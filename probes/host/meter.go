package host

import (
	"context"
	"errors"
	"math"
	"time"

	"chaos/probes"
)

// shortest is how long a sample waits between two readings: below it, rates are noise, and the kernel counts processor time
// in steps of 10 ms. A first sample takes its two readings this far apart, so that it has rates as well. Ten samples a second
// come a little early now and then; that, a tenth at most, is no reason to wait.
const shortest = 100 * time.Millisecond

// metered makes samples of counters. read takes a reading; grown says what the counters grew by since an earlier one, or
// false where they began anew; sample makes of both what a script sees.
//
// A sample covers the time since the one before. Without a usable earlier reading, because it is the first, the one before
// failed, or the counters began anew, it waits and reads a second time.
func metered[R, S any](read func() (R, error), grown func(before, now R) (R, bool), sample func(now, grown R, span time.Duration) S) probes.Take[S] {
	var before R
	var at time.Time // of before; zero without one
	return func(ctx context.Context) (out S, err error) {
		for range 3 {
			if early := shortest - time.Since(at); !at.IsZero() && early > shortest/10 {
				if err := sleep(ctx, early); err != nil {
					return out, err
				}
			}
			now, err := read()
			if err != nil {
				at = time.Time{}
				return out, err
			}
			earlier, earlierAt := before, at
			before, at = now, time.Now()
			if earlierAt.IsZero() {
				continue
			}
			if g, ok := grown(earlier, now); ok {
				return sample(now, g, at.Sub(earlierAt)), nil
			}
		}
		return out, errors.New("the counters begin anew again and again, so there is no rate")
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// counters are those of several devices, by name. All rows have the same columns.
type counters map[string][]uint64

// counted makes samples of counters that only grow.
func counted[S any](read func() (counters, error), sample func(growth) S) probes.Take[S] {
	return metered(read, counters.until, func(_, grown counters, span time.Duration) S { return sample(growth{grown, span}) })
}

// until is what each device counted up to now. One that is new, or began anew, has no row; false is that none has.
func (before counters) until(now counters) (counters, bool) {
	out := counters{}
	for name, row := range now {
		earlier, ok := before[name]
		if !ok {
			continue
		}
		if grown, ok := advance(earlier, row); ok {
			out[name] = grown
		}
	}
	return out, len(out) > 0 || len(now) == 0
}

// growth is what the devices counted in a span of time.
type growth struct {
	counters
	span time.Duration
}

// sum adds up a column.
func (g growth) sum(column int) float64 {
	total := 0.0
	for _, row := range g.counters {
		total += float64(row[column])
	}
	return total
}

// rate is a column per second.
func (g growth) rate(column int) float64 { return g.sum(column) / g.span.Seconds() }

// advance is what the counters of one device grew by; false is that they began anew, as those of a device do that was
// removed and came back.
//
// A counter that fell has wrapped, or begun anew. Some are 32 bits wide on any machine: the milliseconds of diskstats, and the
// bytes of some network drivers. It is taken for wrapped if it can have been such a counter and grew by less than half of its
// range. When a device begins anew all its counters fall, and not all of them were in the upper half.
func advance(before, now []uint64) ([]uint64, bool) {
	out := make([]uint64, len(now))
	for i := range now {
		out[i] = now[i] - before[i]
		if now[i] >= before[i] {
			continue
		}
		if before[i] > math.MaxUint32 {
			return nil, false
		}
		out[i] += 1 << 32
		if out[i] >= 1<<31 {
			return nil, false
		}
	}
	return out, true
}
