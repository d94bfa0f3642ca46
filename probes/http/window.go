package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"chaos/lang/value"
	"chaos/probes"
)

// LoadSample is what a window, or a phase, of `http.load` shows.
type LoadSample struct {
	Requests   int            `chaos:"requests" help:"requests that ended: answered, failed or timed out"`
	Errors     int            `chaos:"errors" help:"those without a whole answer in time, or with a status of 400 and above"`
	ErrorRatio *value.RatioV  `chaos:"error_ratio" help:"errors per request; absent when no request ended"`
	RPS        *value.RateV   `chaos:"rps" help:"requests per second"`
	Missed     int            `chaos:"missed" help:"sends that could not start at their time, because too many were in flight; they start late, or never when that is later than the timeout"`
	Mean       *time.Duration `chaos:"mean" help:"mean latency of answered requests and of timeouts; where nothing ended, the age of the oldest pending request"`
	P50        *time.Duration `chaos:"p50" help:"median latency"`
	P90        *time.Duration `chaos:"p90" help:"90th percentile of the latency"`
	P95        *time.Duration `chaos:"p95" help:"95th percentile of the latency"`
	P99        *time.Duration `chaos:"p99" help:"99th percentile of the latency"`
	Max        *time.Duration `chaos:"max" help:"largest latency"`
	Status     map[string]int `chaos:"status" help:"answers by status code, as in status[\"500\"]; a code that did not come is 0"`
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
	latencies                *hdrhistogram.Histogram // nil while empty
	sum, max                 time.Duration           // of the latencies, exact
	oldest                   time.Duration           // age at the end of the oldest request then pending
	shown                    *value.Value            // Value, until something merges
}

func newWindow() *window { return &window{status: map[int]int{}} }

// answered counts a whole answer.
func (w *window) answered(status int, latency time.Duration) {
	w.requests++
	w.status[status]++
	if status >= 400 {
		w.errors++
	}
	w.latency(latency)
}

// timedOut counts a request whose time ran out: it waited, so its latency counts.
func (w *window) timedOut(latency time.Duration) {
	w.requests++
	w.errors++
	w.latency(latency)
}

// failed counts a request that never got its answer: how soon a connection breaks says nothing about the service's speed.
func (w *window) failed() {
	w.requests++
	w.errors++
}

func (w *window) latency(d time.Duration) {
	if w.latencies == nil {
		w.latencies = newHistogram()
	}
	units := min(max(int64(d/histogramUnit), 1), histogramMax)
	if w.latencies.RecordValue(units) == nil {
		w.sum += d
		w.max = max(w.max, d)
	}
}

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
	w.errors += o.errors
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
	w.shown = nil
}

// Value shows the window.
func (w *window) Value() value.Value {
	if w.shown == nil {
		v := value.EncodeAs(loadType, w.sample())
		w.shown = &v
	}
	return *w.shown
}

func (w *window) sample() LoadSample {
	s := LoadSample{Requests: w.requests, Errors: w.errors, Missed: w.missed, Status: make(map[string]int, len(statusCodes))}
	for _, code := range statusCodes {
		s.Status[code] = 0
	}
	for code, n := range w.status {
		s.Status[strconv.Itoa(code)] = n
	}
	if w.requests > 0 {
		s.ErrorRatio = new(value.RatioV)
		*s.ErrorRatio = value.RatioV(float64(w.errors) / float64(w.requests))
	}
	if w.elapsed > 0 {
		s.RPS = new(value.RateV)
		*s.RPS = value.RateV(float64(w.requests) / w.elapsed.Seconds())
	}
	switch {
	case w.latencies != nil && w.latencies.TotalCount() > 0:
		s.Max = &w.max
		mean := w.sum / time.Duration(w.latencies.TotalCount())
		s.Mean = &mean
		q := w.latencies.ValueAtPercentilesSlice([]float64{50, 90, 95, 99})
		for i, field := range []**time.Duration{&s.P50, &s.P90, &s.P95, &s.P99} {
			// A bucket's upper end may lie above the largest value in it.
			d := min(time.Duration(q[i])*histogramUnit, w.max)
			*field = &d
		}
	case w.requests == 0 && w.oldest > 0:
		// Nothing ended, but somebody waits: "at least this long" is the truth, and no data would hide a hanging server.
		s.Mean, s.P50, s.P90, s.P95, s.P99, s.Max = &w.oldest, &w.oldest, &w.oldest, &w.oldest, &w.oldest, &w.oldest
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
	Requests  int           `json:"requests"`
	Errors    int           `json:"errors"`
	Missed    int           `json:"missed"`
	Elapsed   time.Duration `json:"elapsed"`
	Status    map[int]int   `json:"status,omitempty"`
	Latencies string        `json:"latencies,omitempty"`
	Sum       time.Duration `json:"sum,omitempty"`
	Max       time.Duration `json:"max,omitempty"`
	Oldest    time.Duration `json:"oldest,omitempty"`
}

// MarshalJSON writes the window into the journal.
func (w *window) MarshalJSON() ([]byte, error) {
	s := windowState{Requests: w.requests, Errors: w.errors, Missed: w.missed, Elapsed: w.elapsed, Status: w.status, Sum: w.sum, Max: w.max, Oldest: w.oldest}
	if w.latencies != nil {
		encoded, err := w.latencies.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, err
		}
		s.Latencies = string(encoded)
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
	w := &window{requests: s.Requests, errors: s.Errors, missed: s.Missed, elapsed: s.Elapsed, status: map[int]int{}, sum: s.Sum, max: s.Max, oldest: s.Oldest}
	maps.Copy(w.status, s.Status)
	if s.Latencies != "" {
		h, err := hdrhistogram.Decode([]byte(s.Latencies))
		if err != nil {
			return nil, fmt.Errorf("the journalled latencies of http.load cannot be read: %w", err)
		}
		if h.LowestTrackableValue() != 1 || h.HighestTrackableValue() != histogramMax || h.SignificantFigures() != histogramDigits {
			return nil, errors.New("the journalled latencies of http.load have another precision")
		}
		w.latencies = h
	}
	return w, nil
}
