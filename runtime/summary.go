package runtime

import (
	"math"
	"slices"

	"chaos/lang/value"
	"chaos/probes"
)

// summary is what `before.x`, `during.x` and `after.x` read: the samples of one probe in one phase.
type summary struct {
	fields map[string]*series // by field; "" for a probe whose sample is one value
	merged probes.Mergeable   // of a streaming probe
}

func (s *summary) add(v value.Value, state probes.Mergeable) {
	if state != nil {
		if s.merged == nil {
			s.merged = state
		} else {
			s.merged.Merge(state)
		}
		return
	}
	if v.IsMissing() {
		return
	}
	if m, ok := v.V.(map[string]value.Value); ok && v.T.Kind == value.Struct {
		for name, f := range m {
			s.series(name).add(f)
		}
		return
	}
	s.series("").add(v)
}

func (s *summary) series(name string) *series {
	if s.fields == nil {
		s.fields = map[string]*series{}
	}
	f, ok := s.fields[name]
	if !ok {
		f = &series{}
		s.fields[name] = f
	}
	return f
}

// get reads a statistic; path is what stands behind the probe's name.
func (s *summary) get(path []string) value.Value {
	if s == nil {
		return value.NoData("there is no sample in this phase")
	}
	if s.merged != nil {
		v := s.merged.Value()
		for _, name := range path {
			v = v.Get(name)
		}
		return v
	}
	field := ""
	if len(path) > 1 {
		field, path = path[0], path[1:]
	}
	f, ok := s.fields[field]
	if !ok || len(path) != 1 {
		if len(path) == 1 && path[0] == "count" {
			return value.NumberOf(0)
		}
		return value.NoData("there is no sample in this phase")
	}
	return f.stat(path[0])
}

// series accumulates one field. Values are kept exactly up to exactSamples; beyond that they go into logarithmic buckets
// half a percent wide, so that an hour at 10 Hz costs kilobytes. Mean, min, max, count and last stay exact.
type series struct {
	count, trues  int
	sum, min, max float64
	exact         []float64
	buckets       map[int]int
	last          value.Value
}

const (
	exactSamples = 4096
	bucketGamma  = 1.01 // (γ−1)/(γ+1) ≈ 0.5 % relative error, as in DDSketch (Masson et al., VLDB 2019)
)

func (s *series) add(v value.Value) {
	if v.IsMissing() {
		return
	}
	s.count++
	s.last = v
	switch x := v.V.(type) {
	case bool:
		if x {
			s.trues++
		}
	case float64:
		if s.count == 1 {
			s.min, s.max = x, x
		}
		s.min, s.max, s.sum = math.Min(s.min, x), math.Max(s.max, x), s.sum+x
		switch {
		case s.buckets != nil:
			s.buckets[bucket(x)]++
		case len(s.exact) < exactSamples:
			s.exact = append(s.exact, x)
		default:
			s.buckets = map[int]int{}
			for _, e := range append(s.exact, x) {
				s.buckets[bucket(e)]++
			}
			s.exact = nil
		}
	}
}

func (s *series) stat(name string) value.Value {
	if name == "count" {
		return value.NumberOf(float64(s.count))
	}
	if s.count == 0 {
		return value.NoData("there is no sample in this phase")
	}
	of := func(f float64) value.Value { return value.Value{T: s.last.T, V: f} }
	switch name {
	case "last":
		return s.last
	case "ratio":
		return value.RatioOf(float64(s.trues) / float64(s.count))
	case "mean":
		return of(s.sum / float64(s.count))
	case "min":
		return of(s.min)
	case "max":
		return of(s.max)
	case "p50":
		return of(s.quantile(0.50))
	case "p90":
		return of(s.quantile(0.90))
	case "p95":
		return of(s.quantile(0.95))
	case "p99":
		return of(s.quantile(0.99))
	}
	return value.NoData("there is no `%s` in a summary", name)
}

// quantile is the nearest-rank quantile: the smallest value with at least q of all values at or below it.
func (s *series) quantile(q float64) float64 {
	rank := max(int(math.Ceil(q*float64(s.count))), 1)
	if s.buckets == nil {
		sorted := slices.Clone(s.exact)
		slices.Sort(sorted)
		return sorted[min(rank, len(sorted))-1]
	}
	keys := make([]int, 0, len(s.buckets))
	for k := range s.buckets {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b int) int { return compareBuckets(a, b) })
	for _, k := range keys {
		if rank -= s.buckets[k]; rank <= 0 {
			return math.Max(s.min, math.Min(s.max, unbucket(k)))
		}
	}
	return s.max
}

// Buckets are numbered by the logarithm of the magnitude; negative values get the odd numbers, positive the even ones.
const zeroBucket = math.MinInt32

func bucket(x float64) int {
	if x == 0 {
		return zeroBucket
	}
	k := int(math.Ceil(math.Log(math.Abs(x)) / math.Log(bucketGamma)))
	if x < 0 {
		return 2*k + 1
	}
	return 2 * k
}

func unbucket(k int) float64 {
	if k == zeroBucket {
		return 0
	}
	half := k >> 1
	x := 2 * math.Pow(bucketGamma, float64(half)) / (bucketGamma + 1)
	if k&1 == 1 {
		return -x
	}
	return x
}

func compareBuckets(a, b int) int {
	x, y := unbucket(a), unbucket(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}
