package bpf

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"chaos/lang/value"
	"chaos/probes"
)

// entry is what one process did with one thing.
type entry struct {
	Pid  int    `json:"pid"`
	Name string `json:"name"`
	What string `json:"what"` // a path, or the address of a peer
	Port int    `json:"port,omitempty"`
	In   bool   `json:"in,omitempty"`
	N    counts `json:"n"`
}

// same is an entry without its counts: what entries merge by.
func (e entry) same() entry { e.N = counts{}; return e }

// text is what `match` looks at.
func (e entry) text() string {
	if e.Port == 0 {
		return e.What
	}
	if a, err := netip.ParseAddr(e.What); err == nil {
		return netip.AddrPortFrom(a, uint16(e.Port)).String()
	}
	return e.What
}

// window is what happened in a stretch of time. Sums merge exactly. Of the entries the largest are kept: of a window four
// times as many as are shown, which go into the journal, and of a summary of windows some maxMerged.
type window struct {
	kind    kind
	top     int // how many are shown
	elapsed time.Duration
	sum     counts
	lost    uint64
	entries map[entry]counts
}

const (
	keptFor   = 4
	maxMerged = 1000
)

func (w *window) add(e entry) {
	for i, n := range e.N {
		w.sum[i] += n
	}
	w.list(e)
}

func (w *window) list(e entry) {
	have := w.entries[e.same()]
	for i, n := range e.N {
		have[i] += n
	}
	w.entries[e.same()] = have
}

// largest are the entries with the highest counts, in a fixed order.
func (w *window) largest(most int) []entry {
	out := make([]entry, 0, len(w.entries))
	for e, n := range w.entries {
		e.N = n
		out = append(out, e)
	}
	weight := func(e entry) uint64 { return e.N[0] + e.N[1] }
	slices.SortFunc(out, func(a, b entry) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(b.N[2], a.N[2]), cmp.Compare(a.Name, b.Name), cmp.Compare(a.What, b.What),
			cmp.Compare(a.Port, b.Port), cmp.Compare(a.Pid, b.Pid))
	})
	return out[:min(most, len(out))]
}

// keep forgets all but the largest.
func (w *window) keep(most int) {
	if len(w.entries) <= most {
		return
	}
	kept := w.largest(most)
	clear(w.entries)
	for _, e := range kept {
		w.list(e)
	}
}

// Merge adds another window.
func (w *window) Merge(m probes.Mergeable) {
	o, ok := m.(*window)
	if !ok {
		return
	}
	w.elapsed += o.elapsed
	w.lost += o.lost
	for i, n := range o.sum {
		w.sum[i] += n
	}
	for e, n := range o.entries {
		e.N = n
		w.list(e)
	}
	if len(w.entries) > 2*maxMerged { // not each time: sorting takes a while
		w.keep(maxMerged)
	}
}

var sampleTypes = func() map[kind]*value.Type {
	out := map[kind]*value.Type{}
	for s, sample := range map[kind]any{opens: OpensSample{}, execs: ExecsSample{}, flows: FlowsSample{}} {
		out[s] = value.Encode(sample).T
		out[s].Name = "host." + string(s)
	}
	return out
}()

// Value shows the window.
func (w *window) Value() value.Value {
	var sample any
	list := w.largest(w.top)
	switch w.kind {
	case opens:
		s := OpensSample{Count: int(w.sum[opened]), Failed: int(w.sum[failed]), Rate: perSecond[value.RateV](w, opened), Files: []OpenedFile{}, Lost: int(w.lost)}
		for _, e := range list {
			s.Files = append(s.Files, OpenedFile{Path: e.What, Name: e.Name, Pid: e.Pid, Count: int(e.N[opened]), Failed: int(e.N[failed])})
		}
		sample = s
	case execs:
		s := ExecsSample{Count: int(w.sum[executed]), Rate: perSecond[value.RateV](w, executed), Programs: []Program{}, Lost: int(w.lost)}
		for _, e := range list {
			s.Programs = append(s.Programs, Program{Path: e.What, Name: e.Name, Pid: e.Pid, Count: int(e.N[executed])})
		}
		sample = s
	case flows:
		s := FlowsSample{Sent: value.SizeV(w.sum[sent]), Received: value.SizeV(w.sum[received]), Connects: int(w.sum[connects]), Flows: []Flow{}, Lost: int(w.lost),
			SendRate: perSecond[value.BandwidthV](w, sent), ReceiveRate: perSecond[value.BandwidthV](w, received)}
		for _, e := range list {
			direction := "out"
			if e.In {
				direction = "in"
			}
			s.Flows = append(s.Flows, Flow{Name: e.Name, Pid: e.Pid, Direction: direction, Peer: e.What, Port: e.Port,
				Sent: value.SizeV(e.N[sent]), Received: value.SizeV(e.N[received]), Connects: int(e.N[connects])})
		}
		sample = s
	}
	return value.EncodeAs(sampleTypes[w.kind], sample)
}

func perSecond[R ~float64](w *window, which int) *R {
	if w.elapsed <= 0 {
		return nil
	}
	return new(R(float64(w.sum[which]) / w.elapsed.Seconds()))
}

// windowState is a window in the journal; elapsed is in nanoseconds.
type windowState struct {
	Top     int           `json:"top"`
	Elapsed time.Duration `json:"elapsed"`
	Sum     counts        `json:"sum"`
	Lost    uint64        `json:"lost,omitempty"`
	Entries []entry       `json:"entries,omitempty"`
}

// MarshalJSON writes the window into the journal.
func (w *window) MarshalJSON() ([]byte, error) {
	return json.Marshal(windowState{Top: w.top, Elapsed: w.elapsed, Sum: w.sum, Lost: w.lost, Entries: w.largest(keptFor * w.top)})
}

func restore(k kind, data json.RawMessage) (probes.Mergeable, error) {
	var state windowState
	if err := json.Unmarshal(data, &state); err != nil || state.Top < 1 || state.Elapsed < 0 {
		return nil, fmt.Errorf("the journalled window of host.%s cannot be read", k)
	}
	w := &window{kind: k, top: state.Top, elapsed: state.Elapsed, sum: state.Sum, lost: state.Lost, entries: map[entry]counts{}}
	for _, e := range state.Entries {
		w.list(e)
	}
	return w, nil
}

// counted is a table of any kind of key.
type counted interface {
	read(func(entry)) error
	leave() (wait func() error)
	empty(waited error, see func(entry))
}

// stream is an opened probe.
type stream struct {
	kind    kind
	filter  filter
	trace   tracefs
	entries uint32

	mu     sync.Mutex
	watch  *watch // nil before the start and once closed
	closed bool
	counted
	since  time.Time
	missed uint64  // lost calls, of all windows so far
	late   []entry // seen while tidying: they belong to the next window
	tidies bool
	tidied sync.WaitGroup
}

// open only looks whether the kernel would be asked in vain: a plan opens probes, and loads nothing.
func open(k kind, f filter, trace tracefs, entries uint32) (*stream, error) {
	if err := look(k); err != nil {
		return nil, err
	}
	return &stream{kind: k, filter: f, trace: trace, entries: entries}, nil
}

// Start loads the programs and begins to count.
func (s *stream) Start(context.Context) error {
	w, err := load(s.kind, s.trace, s.entries)
	if err != nil {
		return err
	}
	return s.begin(w)
}

func (s *stream) begin(w *watch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		w.close()
		return errors.New("the probe is closed")
	}
	s.watch = w
	if s.kind == flows {
		s.counted = newTable(w.sides, w.turn, showFlow)
	} else {
		s.counted = newTable(w.sides, w.turn, showPath)
	}
	s.since = time.Now()
	if err := w.attach(); err != nil {
		s.end() // whoever starts it need not close it
		return err
	}
	return nil
}

func (s *stream) end() {
	if s.watch != nil {
		s.watch.close()
		s.watch = nil
	}
}

// Next closes the window.
func (s *stream) Next() (value.Value, probes.Mergeable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch == nil || s.closed {
		return value.NoData("the probe is closed"), nil
	}
	w := &window{kind: s.kind, top: s.filter.Count, entries: map[entry]counts{}}
	take := func(e entry) {
		if s.filter.passes(e) {
			w.add(e)
		}
	}
	for _, e := range s.late {
		take(e)
	}
	s.late = s.late[:0]
	err := s.read(take)
	var missed uint64
	if err == nil {
		err = s.watch.lost.Lookup(uint32(0), &missed)
	}
	if err != nil {
		return value.NoData("%s", plain(err)), nil
	}
	w.lost, s.missed = missed-s.missed, missed
	now := time.Now()
	w.elapsed, s.since = now.Sub(s.since), now
	w.keep(keptFor * w.top)
	if !s.tidies { // thousands of short-lived processes take a while, and Next is not to block
		s.tidies = true
		s.tidied.Go(s.tidy)
	}
	return w.Value(), w
}

// tidy takes out of the table what has gone quiet.
func (s *stream) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.leave(); wait != nil {
		s.mu.Unlock()
		err := wait()
		s.mu.Lock()
		s.empty(err, func(e entry) { s.late = append(s.late, e) })
	}
	s.tidies = false
}

// Close ends the counting.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.tidied.Wait() // it uses what is closed now
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return nil
}
