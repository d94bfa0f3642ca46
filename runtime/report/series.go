package report

import (
	"math"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// series is what was seen of one value, for a chart. However long the run, it keeps maxBins bins: of each the first, the
// lowest, the highest and the latest value, which is all that a line of so many pixels can show (Jugel et al., M4: A
// Visualization-Oriented Time Series Data Aggregation, VLDB 2014).
type series struct {
	event.Watched
	bins  []bin
	width event.Seconds // of a bin
}

type bin struct {
	first, low, high, last float64
	n                      int // samples with data
	missing                int // and without
}

const (
	maxBins  = 600
	firstBin = event.Seconds(10 * time.Millisecond)
)

func newSeries(w event.Watched) *series { return &series{Watched: w, width: firstBin} }

// add takes in a number that was seen so long after the experiment began; NaN is no data.
func (s *series) add(t event.Seconds, n float64) {
	for t >= s.width*maxBins {
		s.halve()
	}
	i := max(int(t/s.width), 0)
	for len(s.bins) <= i {
		s.bins = append(s.bins, bin{})
	}
	b := &s.bins[i]
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0):
		b.missing++
	case b.n == 0:
		b.first, b.low, b.high, b.last, b.n = n, n, n, n, 1
	default:
		b.low, b.high, b.last = min(b.low, n), max(b.high, n), n
		b.n++
	}
}

// halve makes one bin of two.
func (s *series) halve() {
	for i := range s.bins {
		b := s.bins[i]
		if i%2 == 0 {
			s.bins[i/2] = b
			continue
		}
		a := &s.bins[i/2]
		if a.n > 0 && b.n > 0 {
			a.low, a.high, a.last = min(a.low, b.low), max(a.high, b.high), b.last
		} else if b.n > 0 {
			a.first, a.low, a.high, a.last = b.first, b.low, b.high, b.last
		}
		a.n, a.missing = a.n+b.n, a.missing+b.missing
	}
	s.bins = s.bins[:(len(s.bins)+1)/2]
	s.width *= 2
}

// bounds are the lowest and the highest value; false when there is none.
func (s *series) bounds() (low, high float64, ok bool) {
	for _, b := range s.bins {
		if b.n == 0 {
			continue
		}
		if !ok {
			low, high, ok = b.low, b.high, true
		}
		low, high = min(low, b.low), max(high, b.high)
	}
	return low, high, ok
}

// gap is the time without a sample after which a line ends, as in the live view.
func (s *series) gap() event.Seconds {
	return 3*s.Every + event.Seconds(time.Second) + s.width
}

// drawn is the number that stands for a sample's value in a chart: durations in seconds, yes as 1, and NaN for what is no
// number. A value that was read back from a journal has no unit any more, so all are what the journal has.
func drawn(v *value.Value, path []string) float64 {
	if v == nil {
		return math.NaN()
	}
	x := *v
	for _, name := range path {
		if x.IsMissing() {
			return math.NaN()
		}
		x = x.Get(name)
	}
	switch n := x.V.(type) {
	case bool:
		if n {
			return 1
		}
		return 0
	case float64:
		if x.T != nil && x.T.Kind == value.Duration {
			return n / 1e9
		}
		return n
	}
	return math.NaN()
}

// spell writes a number of a chart with its unit.
func spell(n float64, kind value.Kind) string {
	if kind == value.Duration {
		return value.DurationOf(time.Duration(math.Round(n * 1e9))).Short()
	}
	if t := value.Of(kind); t != nil && t.Numeric() {
		return value.Value{T: t, V: n}.Short()
	}
	return value.NumberOf(n).Short()
}
