package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"chaos/lang/value"
	"chaos/probes"
)

// LoadSample is what a window, or a phase, of `http.load` shows.
//
// The latencies of a window are of what ended in it. Those of a phase must not forget who still waits at its end: if a
// server hangs until the phase is over, everything that did end was fast. So a summary takes a request that is pending at
// its end, and older than anything that ended, with its age: at least that long it will have taken.
type LoadSample struct {
	Requests   int            `chaos:"requests" help:"requests that ended: answered, failed or timed out"`
	Errors     int            `chaos:"errors" help:"those without a whole answer in time, or with a status of 400 and above"`
	ErrorRatio *value.RatioV  `chaos:"error_ratio" help:"errors per request; absent when no request ended"`
	RPS        *value.RateV   `chaos:"rps" help:"requests per second"`
	Missed     int            `chaos:"missed" help:"sends that could not start at their time, because too many were in flight; they start late, or never when the timeout has passed, which counts as a latency of the timeout"`
	Mean       *time.Duration `chaos:"mean" help:"mean latency of answered requests and of timeouts; where nothing ended, the age of the oldest pending request; in a summary, what is still pending at the end counts with its age"`
	P50        *time.Duration `chaos:"p50" help:"median latency"`
	P90        *time.Duration `chaos:"p90" help:"90th percentile of the latency"`
	P95        *time.Duration `chaos:"p95" help:"95th percentile of the latency"`
	P99        *time.Duration `chaos:"p99" help:"99th percentile of the latency"`
	Max        *time.Duration `chaos:"max" help:"largest latency"`
	Status     map[string]int `chaos:"status" help:"answers by status code, as in status[\"500\"]; a code that did not come is 0"`
	Failures   map[string]int `chaos:"failures" help:"errors by reason, as in failures[\"connection refused\"]; together they are errors. 0 when they did not come: no answer in time, no such host, connection refused, connection reset, closed before the answer, no route, no free local port, too many open files, not permitted, certificate not trusted, TLS failed, not HTTP, not HTTP/2, stream reset, too many redirects. Absent until they come: those by status, such as status 503, and what has no name here; beyond 32 of these the rest is other"`
}

var loadType = func() *value.Type {
	t := value.Encode(LoadSample{}).T
	t.Name = "http.load"
	return t
}()

// The histograms keep three significant digits from 1µs to 1h: a percentile is within 0.1% of the true one, and merging is
// adding counts, so it loses nothing. See http://hdrhistogram.org.
const (
	histogramUnit   = time.Microsecond
	histogramMax    = int64(time.Hour / histogramUnit)
	histogramDigits = 3
)

// window is the exact summary of what ended in a stretch of time. It merges: the sum of windows is the window of the sum.
type window struct {
	requests, errors, missed int
	elapsed                  time.Duration
	status                   map[int]int
	failures                 map[string]int          // errors by reason
	latencies                *hdrhistogram.Histogram // nil while empty
	sum, max                 time.Duration           // of the latencies, exact
	oldest                   time.Duration           // age at the end of the oldest request then pending
	end                      int64                   // when the window closed, in nanoseconds since 1970
	pending                  *hdrhistogram.Histogram // ages at the end, of what was older than max; never changed once set
	shown                    *value.Value            // Value, until something merges
}

func newWindow() *window { return &window{status: map[int]int{}, failures: map[string]int{}} }

// answered counts a whole answer.
func (w *window) answered(status int, latency time.Duration) {
	w.requests++
	w.status[status]++
	if status >= 400 {
		w.wrong(statusReason(status), 1)
	}
	w.latency(latency, 1)
}

// timedOut counts a request whose time ran out: it waited, so its latency counts.
func (w *window) timedOut(latency time.Duration) {
	w.requests++
	w.wrong(reasonTimeout, 1)
	w.latency(latency, 1)
}

// failed counts a request that never got its answer: how soon a connection breaks says nothing about the service's speed.
func (w *window) failed(reason string) {
	w.requests++
	w.wrong(reason, 1)
}

// maxReasons bounds the reasons that a window keeps: some texts come from the server, and it must not cost us our memory.
const maxReasons = 32

func (w *window) wrong(reason string, n int) {
	w.errors += n
	if _, ok := w.failures[reason]; !ok && len(w.failures) >= maxReasons {
		reason = reasonOther
	}
	w.failures[reason] += n
}

// latency counts n latencies of the same length.
func (w *window) latency(d time.Duration, n int) {
	if w.latencies == nil {
		w.latencies = newHistogram()
	}
	if w.latencies.RecordValues(inUnits(d), int64(n)) == nil {
		w.sum += d * time.Duration(n)
		w.max = max(w.max, d)
	}
}

// waits notes the age of a request that is pending at the end of the window.
func (w *window) waits(age time.Duration) {
	if age <= w.max || inUnits(age) <= inUnits(w.max) {
		return // as usual: it may well end as soon as the others
	}
	if w.pending == nil {
		w.pending = newHistogram()
	}
	_ = w.pending.RecordValue(inUnits(age)) // inUnits keeps it in range
}

func inUnits(d time.Duration) int64 { return min(max(int64(d/histogramUnit), 1), histogramMax) }

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, histogramMax, histogramDigits)
}

// Merge adds another window.
func (w *window) Merge(m probes.Mergeable) {
	o, ok := m.(*window)
	if !ok {
		return
	}
	w.requests += o.requests
	for _, reason := range slices.Sorted(maps.Keys(o.failures)) {
		w.wrong(reason, o.failures[reason])
	}
	w.missed += o.missed
	w.elapsed += o.elapsed
	for code, n := range o.status {
		w.status[code] += n
	}
	if o.latencies != nil {
		if w.latencies == nil {
			w.latencies = newHistogram()
		}
		w.latencies.Merge(o.latencies)
	}
	w.sum += o.sum
	w.max = max(w.max, o.max)
	w.oldest = max(w.oldest, o.oldest)
	if o.end > w.end {
		// What waited at the end of an earlier window has ended since, or waits still and is in the later one.
		w.end, w.pending = o.end, o.pending
	}
	w.shown = nil
}

// Value shows the window as a summary.
func (w *window) Value() value.Value {
	if w.shown == nil {
		v := value.EncodeAs(loadType, w.show(w.withPending()))
		w.shown = &v
	}
	return *w.shown
}

// sample shows the window as a sample.
func (w *window) sample() value.Value { return value.EncodeAs(loadType, w.show(w.ended())) }

// spread is what percentiles are computed from.
type spread struct {
	latencies *hdrhistogram.Histogram // nil while empty
	sum, max  time.Duration
}

func (w *window) ended() spread { return spread{w.latencies, w.sum, w.max} }

// withPending adds what is still pending and older than anything that ended.
func (w *window) withPending() spread {
	s := w.ended()
	if w.pending == nil {
		return s
	}
	if s.latencies == nil {
		s.latencies = newHistogram()
	} else {
		s.latencies = s.latencies.Clone()
	}
	for _, bar := range w.pending.Distribution() {
		if age := min(time.Duration(bar.To)*histogramUnit, w.oldest); bar.Count > 0 && age > w.max {
			if s.latencies.RecordValues(inUnits(age), bar.Count) == nil {
				s.sum += age * time.Duration(bar.Count)
				s.max = max(s.max, age)
			}
		}
	}
	return s
}

func (w *window) show(of spread) LoadSample {
	s := LoadSample{Requests: w.requests, Errors: w.errors, Missed: w.missed, Status: make(map[string]int, len(statusCodes))}
	for _, code := range statusCodes {
		s.Status[code] = 0
	}
	for code, n := range w.status {
		s.Status[strconv.Itoa(code)] = n
	}
	s.Failures = make(map[string]int, len(knownReasons)+len(w.failures))
	for _, reason := range knownReasons {
		s.Failures[reason] = 0
	}
	maps.Copy(s.Failures, w.failures)
	if w.requests > 0 {
		s.ErrorRatio = new(value.RatioV)
		*s.ErrorRatio = value.RatioV(float64(w.errors) / float64(w.requests))
	}
	if w.elapsed > 0 {
		s.RPS = new(value.RateV)
		*s.RPS = value.RateV(float64(w.requests) / w.elapsed.Seconds())
	}
	switch {
	case w.requests == 0 && w.oldest > 0:
		// Nothing ended, but somebody waits: "at least this long" is the truth, and no data would hide a hanging server.
		s.Mean, s.P50, s.P90, s.P95, s.P99, s.Max = &w.oldest, &w.oldest, &w.oldest, &w.oldest, &w.oldest, &w.oldest
	case of.latencies != nil && of.latencies.TotalCount() > 0:
		s.Max = &of.max
		mean := of.sum / time.Duration(of.latencies.TotalCount())
		s.Mean = &mean
		q := of.latencies.ValueAtPercentilesSlice([]float64{50, 90, 95, 99})
		for i, field := range []**time.Duration{&s.P50, &s.P90, &s.P95, &s.P99} {
			// A bucket's upper end may lie above the largest value in it.
			d := min(time.Duration(q[i])*histogramUnit, of.max)
			*field = &d
		}
	}
	return s
}

// statusCodes are all registered codes. A count that is missing would be no data, and `status["500"] == 0` could never
// hold; so every code that has a name is there.
var statusCodes = func() []string {
	var out []string
	for code := 100; code < 600; code++ {
		if http.StatusText(code) != "" {
			out = append(out, strconv.Itoa(code))
		}
	}
	return out
}()

// windowState is a window in the journal. Times are nanoseconds; the histogram is in HdrHistogram's compressed V2 encoding,
// base64, in microseconds.
type windowState struct {
	Requests  int            `json:"requests"`
	Errors    int            `json:"errors"`
	Missed    int            `json:"missed"`
	Elapsed   time.Duration  `json:"elapsed"`
	Status    map[int]int    `json:"status,omitempty"`
	Failures  map[string]int `json:"failures,omitempty"`
	Latencies string         `json:"latencies,omitempty"`
	Sum       time.Duration  `json:"sum,omitempty"`
	Max       time.Duration  `json:"max,omitempty"`
	Oldest    time.Duration  `json:"oldest,omitempty"`
	End       int64          `json:"end,omitempty"`
	Pending   string         `json:"pending,omitempty"`
}

// MarshalJSON writes the window into the journal.
func (w *window) MarshalJSON() ([]byte, error) {
	s := windowState{
		Requests: w.requests, Errors: w.errors, Missed: w.missed, Elapsed: w.elapsed, Status: w.status, Failures: w.failures,
		Sum: w.sum, Max: w.max, Oldest: w.oldest, End: w.end,
	}
	var err error
	if s.Latencies, err = encodeHistogram(w.latencies); err != nil {
		return nil, err
	}
	if s.Pending, err = encodeHistogram(w.pending); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// restore reads a window from the journal.
func restore(data json.RawMessage) (probes.Mergeable, error) {
	var s windowState
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, errors.New("the journalled window of http.load cannot be read")
	}
	if s.Requests < 0 || s.Errors < 0 || s.Missed < 0 || s.Elapsed < 0 {
		return nil, errors.New("the journalled window of http.load has a negative count")
	}
	w := &window{
		requests: s.Requests, errors: s.Errors, missed: s.Missed, elapsed: s.Elapsed, status: map[int]int{}, failures: map[string]int{},
		sum: s.Sum, max: s.Max, oldest: s.Oldest, end: s.End,
	}
	maps.Copy(w.status, s.Status)
	maps.Copy(w.failures, s.Failures)
	var err error
	if w.latencies, err = decodeHistogram(s.Latencies); err != nil {
		return nil, err
	}
	if w.pending, err = decodeHistogram(s.Pending); err != nil {
		return nil, err
	}
	return w, nil
}

func encodeHistogram(h *hdrhistogram.Histogram) (string, error) {
	if h == nil {
		return "", nil
	}
	encoded, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return string(encoded), err
}

func decodeHistogram(encoded string) (*hdrhistogram.Histogram, error) {
	if encoded == "" {
		return nil, nil
	}
	h, err := hdrhistogram.Decode([]byte(encoded))
	if err != nil {
		return nil, fmt.Errorf("the journalled latencies of http.load cannot be read: %w", err)
	}
	if h.LowestTrackableValue() != 1 || h.HighestTrackableValue() != histogramMax || h.SignificantFigures() != histogramDigits {
		return nil, errors.New("the journalled latencies of http.load have another precision")
	}
	return h, nil
}
