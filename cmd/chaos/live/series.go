package live

import (
	"math"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// slot is how long one cell of a sparkline lasts. It is the same for all, so that what happened at one time stands in one
// column, whatever the periods of the probes.
const slot = 500 * time.Millisecond

// kept is how many cells are remembered at most: as many as a wide terminal has.
const kept = 200

func (m *Model) sample(d event.Sample, now time.Duration) {
	if d.Partial { // for summaries only
		return
	}
	for _, s := range m.values {
		if s.Probe != d.Probe {
			continue
		}
		v := value.NoData("%s", Shown(d.Error))
		if d.Value != nil {
			v = *d.Value
			for _, f := range s.Path {
				v = v.Get(f)
			}
		}
		s.add(v, now)
	}
}

func (s *series) add(v value.Value, now time.Duration) {
	s.latest, s.at, s.sampled = v, now, true
	n := number(v)
	last := len(s.marks) - 1
	at := int(now / slot)
	if last < 0 || s.marks[last].slot != at {
		s.marks = append(s.marks, mark{at, n})
		if len(s.marks) > 2*kept {
			s.marks = append(s.marks[:0], s.marks[kept:]...)
		}
		return
	}
	// Of several in one cell the one stays that stands out: a short dip or peak is what a human looks for.
	before := s.marks[last].n
	if last > 0 {
		before = s.marks[last-1].n
	}
	if math.IsNaN(n) || math.Abs(n-before) > math.Abs(s.marks[last].n-before) {
		s.marks[last].n = n
	}
}

// number is what can be drawn of a value, NaN where there is no data.
func number(v value.Value) float64 {
	switch {
	case v.IsMissing():
		return math.NaN()
	case v.T != nil && v.T.Kind == value.Bool:
		if v.Bool() {
			return 1
		}
		return 0
	case v.T != nil && v.T.Numeric():
		return v.Float()
	}
	return math.NaN()
}

func (s *series) yesNo() bool { return s.latest.T != nil && s.latest.T.Kind == value.Bool }

// stale is the age of the latest sample when it is longer than it should be, else 0.
func (s *series) stale(now time.Duration) time.Duration {
	if age := now - s.at; s.sampled && age > 3*time.Duration(s.Every)+time.Second {
		return age
	}
	return 0
}

// span is the first cell to draw of n, and the last. The first is the same for all values, that of the earliest sample.
func (m *Model) span(n int, now time.Duration) (first, last int) {
	last = int(now / slot)
	first = last
	for _, s := range m.values {
		if len(s.marks) > 0 {
			first = min(first, s.marks[0].slot)
		}
	}
	return max(first, last-n+1), last
}

// cells are the numbers of some cells, and how many of them are before the first sample. A cell without a sample of its own
// shows the one before it, as long as that is fresh.
func (s *series) cells(first, last int) (blank int, list []float64) {
	fresh := int((3*time.Duration(s.Every)+time.Second)/slot) + 1
	i := 0
	for at := first; at <= last; at++ {
		for i < len(s.marks) && s.marks[i].slot <= at {
			i++
		}
		switch {
		case i == 0:
			blank++
		case at-s.marks[i-1].slot > fresh:
			list = append(list, math.NaN())
		default:
			list = append(list, s.marks[i-1].n)
		}
	}
	return blank, list
}

// ticks draws yes and no, as full and empty.
func ticks(list []float64, paint func(kind, text string) string) string {
	var b strings.Builder
	for i := 0; i < len(list); { // painted in runs, which keeps the line short
		j := i
		for j < len(list) && (list[j] == list[i] || math.IsNaN(list[j]) && math.IsNaN(list[i])) {
			j++
		}
		switch n := j - i; {
		case math.IsNaN(list[i]):
			b.WriteString(paint("dim", strings.Repeat(string(Gap), n)))
		case list[i] > 0:
			b.WriteString(paint("good", strings.Repeat("▮", n)))
		default:
			b.WriteString(paint("no", strings.Repeat("▯", n)))
		}
		i = j
	}
	return b.String()
}
