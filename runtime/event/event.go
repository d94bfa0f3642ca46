// Package event is the one stream that a run writes and that the terminal, the reports and the exit code read. Everything
// that a reader may know about a run stands in an event.
package event

import (
	"encoding/json"
	"sync"
	"time"

	"chaos/lang/value"
)

// Event is one thing that happened. Mono is the monotonic time since the run began, in seconds in JSON.
type Event struct {
	Seq  uint64
	Mono time.Duration
	Wall time.Time
	Data Data
}

// Data is one of the typed payloads below; EventKind is its stable name in the journal.
type Data interface{ EventKind() string }

// MarshalJSON is one line of the journal.
func (e Event) MarshalJSON() ([]byte, error) { return e.appendJSON(nil) }

// Place is a position in the script.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
}

// Phase is a phase of an experiment, in the order in which they come.
type Phase string

const (
	Setup     Phase = "setup"
	Before    Phase = "before"
	During    Phase = "during"
	Undo      Phase = "undo"
	Settle    Phase = "settle"
	Rollback  Phase = "rollback"
	After     Phase = "after"
	UndoSetup Phase = "undo setup"
)

// The verdict, the outcome and the restoration of an experiment; see docs/language.md.
type (
	Verdict     string
	Outcome     string
	Restoration string
)

const (
	Held         Verdict = "held"
	Refuted      Verdict = "refuted"
	Inconclusive Verdict = "inconclusive"
	NotJudged    Verdict = "not judged" // nothing was injected

	Completed Outcome = "completed"
	Unsteady  Outcome = "unsteady"
	Aborted   Outcome = "aborted"
	Failed    Outcome = "failed"
	Unfit     Outcome = "unfit" // a guard that cannot be evaluated: nothing was injected

	Clean      Restoration = "restored"
	Incomplete Restoration = "not restored"
)

// The payloads.
type (
	// RunStarted is always the first.
	RunStarted struct {
		Run         string            `json:"run"`
		Script      string            `json:"script"`
		Folder      string            `json:"folder"` // the script's, absolute
		Seed        uint64            `json:"seed"`
		Params      map[string]string `json:"params,omitempty"`
		Version     string            `json:"version"`
		Pid         int               `json:"pid"`
		Boot        string            `json:"boot,omitempty"`
		Experiments int               `json:"experiments"`
	}
	// ExperimentStarted precedes the first phase.
	ExperimentStarted struct {
		Title      string   `json:"title"`
		Owner      string   `json:"owner,omitempty"`
		Hypothesis string   `json:"hypothesis,omitempty"` // its title
		Tags       []string `json:"tags,omitempty"`
		At         Place    `json:"at"`

		// What is going to be watched, for live readers. Sessions of the REPL, which cannot know, have none of it.
		Watched  []Watched   `json:"watched,omitempty"`
		Checks   []Claim     `json:"checks,omitempty"`
		Longest  []PhaseTime `json:"longest,omitempty"`  // what each phase takes at most, where that is known
		Deadline Seconds     `json:"deadline,omitempty"` // since the experiment began; then all is undone
	}
	// Watched is a value worth a look: what a check or a guard reads of a probe, or else a probe's first number.
	Watched struct {
		Probe string     `json:"probe"`
		Path  []string   `json:"path,omitempty"` // of the field in a sample; none is the sample itself
		Text  string     `json:"text"`           // `load.p99`
		Type  value.Kind `json:"type,omitempty"` // of its values, which a sample in a journal does not tell
		Every Seconds    `json:"every"`
		Read  bool       `json:"read,omitempty"` // by a check or a guard
	}
	// Claim is a check or a guard that is going to be judged.
	Claim struct {
		Section  string   `json:"section"` // steady, hypothesis, guard
		Kind     string   `json:"check"`   // expect, always, never, eventually; abort of a guard
		Text     string   `json:"text"`
		At       Place    `json:"at"`
		Within   Seconds  `json:"within,omitempty"`
		For      Seconds  `json:"for,omitempty"`
		Tolerate float64  `json:"tolerate,omitempty"`
		Reads    []string `json:"reads,omitempty"` // texts of what is watched
	}
	PhaseTime struct {
		Phase Phase   `json:"phase"`
		Most  Seconds `json:"most"`
	}
	// PhaseEntered starts a phase; Title is the section's, Detail what the phase waits for.
	PhaseEntered struct {
		Phase  Phase  `json:"phase"`
		Title  string `json:"title,omitempty"`
		Detail string `json:"detail,omitempty"`
	}
	// PhaseEnded says how a phase ended, where that is not plain.
	PhaseEnded struct {
		Phase  Phase   `json:"phase"`
		OK     bool    `json:"ok"`
		Detail string  `json:"detail,omitempty"`
		Took   Seconds `json:"took"`
	}
	// StepStarted is written when a step is reached, before it acts.
	StepStarted struct {
		Step     int     `json:"step"`
		Phase    Phase   `json:"phase"`
		Text     string  `json:"text"`
		Name     string  `json:"name,omitempty"` // its `as`
		Does     string  `json:"does,omitempty"`
		Lifetime string  `json:"lifetime,omitempty"`
		Depth    int     `json:"depth,omitempty"` // nesting, for indentation
		For      Seconds `json:"for,omitempty"`
		Because  string  `json:"because,omitempty"`
		At       Place   `json:"at"`
	}
	// StepEnded says what came of it. Status is done, failed or cancelled.
	StepEnded struct {
		Step   int     `json:"step"`
		Status string  `json:"status"`
		Error  string  `json:"error,omitempty"`
		Note   string  `json:"note,omitempty"`
		Effect string  `json:"effect,omitempty"`
		Detail string  `json:"detail,omitempty"` // of the effect
		Took   Seconds `json:"took"`
	}
	// Waiting is a `wait`, reached; Progress readers count down to Until.
	Waiting struct {
		Step  int     `json:"step"`
		Phase Phase   `json:"phase"`
		Text  string  `json:"text"`
		Most  Seconds `json:"most"`
		Depth int     `json:"depth,omitempty"`
		At    Place   `json:"at"`
	}
	// Heading is a `do "title"` or a pass of `repeat`.
	Heading struct {
		Phase Phase  `json:"phase"`
		Text  string `json:"text"`
		Depth int    `json:"depth,omitempty"`
	}
	// UndoIntended is the write-ahead record; Record holds the undo.
	UndoIntended struct {
		ID     string          `json:"id"`
		Step   int             `json:"step"`
		Text   string          `json:"text"` // of the step
		Record json.RawMessage `json:"record"`
		Sealed string          `json:"sealed,omitempty"` // the file with the whole record, where this one has secrets left out
	}
	// UndoState moves a record: applied, reverting, reverted, failed.
	UndoState struct {
		ID     string  `json:"id"`
		Step   int     `json:"step"`
		State  string  `json:"state"`
		Text   string  `json:"text,omitempty"`
		Detail string  `json:"detail,omitempty"` // "the target is gone", "changed by somebody else"
		Error  string  `json:"error,omitempty"`
		Manual string  `json:"manual,omitempty"`
		Took   Seconds `json:"took,omitempty"`
	}
	// FaultUndone closes a fault: all its records are reverted, or what is left is named.
	FaultUndone struct {
		Step    int     `json:"step"`
		Text    string  `json:"text"`
		Name    string  `json:"name,omitempty"` // its `as`
		Does    string  `json:"does,omitempty"`
		OK      bool    `json:"ok"`
		Foreign bool    `json:"foreign,omitempty"` // somebody else changed it meanwhile, so it was left alone
		Error   string  `json:"error,omitempty"`
		Phase   Phase   `json:"phase"`
		Took    Seconds `json:"took"`
	}
	// Sample is one sample of a probe. State is a streaming probe's window.
	Sample struct {
		Probe   string          `json:"probe"`
		Phase   Phase           `json:"phase"`
		Start   Seconds         `json:"start"` // since the run began
		Took    Seconds         `json:"took"`
		Value   *value.Value    `json:"value,omitempty"`
		Error   string          `json:"error,omitempty"`
		Skipped int             `json:"skipped,omitempty"` // ticks that were missed before this one
		Spans   bool            `json:"spans,omitempty"`   // over the start of injection: for guards only
		Partial bool            `json:"partial,omitempty"` // a window cut short by a phase: for summaries only
		State   json.RawMessage `json:"state,omitempty"`
	}
	// Operand is a value under a check.
	Operand struct {
		Text  string `json:"text"`
		Value string `json:"value"`
	}
	// CheckJudged is the result of a check. Result is held, refuted, inconclusive.
	CheckJudged struct {
		Section     string    `json:"section"` // steady, hypothesis, setup, after
		Kind        string    `json:"check"`
		Text        string    `json:"text"`
		Because     string    `json:"because,omitempty"`
		At          Place     `json:"at"`
		Result      string    `json:"result"`
		Detail      string    `json:"detail,omitempty"` // "never exercised", "false in 3 of 40 evaluations"
		Evaluations int       `json:"evaluations"`
		False       int       `json:"false"`
		NoData      int       `json:"no_data"`
		Moment      *Seconds  `json:"moment,omitempty"` // of the operands: since the first injection
		Operands    []Operand `json:"operands,omitempty"`
	}
	// Turned is a check of the hypothesis that became false (or true again) just now, for live readers.
	Turned struct {
		Text     string    `json:"text"`
		At       Place     `json:"at"`
		To       string    `json:"to"`
		Operands []Operand `json:"operands,omitempty"`
	}
	// CheckState is what a check or a guard says now, each time that it says something else, for live readers. State is
	// true, false or no data; of a `never` it is true as long as the check holds.
	CheckState struct {
		Section string `json:"section"` // steady, hypothesis, guard
		Text    string `json:"text"`
		At      Place  `json:"at"`
		State   string `json:"state"`
		Why     string `json:"why,omitempty"` // there is no data
	}
	// GuardTripped aborts the run.
	GuardTripped struct {
		Text     string    `json:"text"`
		Because  string    `json:"because,omitempty"`
		At       Place     `json:"at"`
		NoData   string    `json:"no_data,omitempty"` // the guard failed closed, and why
		Operands []Operand `json:"operands,omitempty"`
	}
	// Abort says that the run is being aborted: by guard, signal, deadline or helper.
	Abort struct {
		By   string `json:"by"`
		Text string `json:"text"`
	}
	// Log is the script's own word; Note is the runtime's.
	Log struct {
		Text string `json:"text"`
	}
	Note struct {
		Text string `json:"text"`
	}
	// ExperimentEnded holds the three results and the exit code they amount to.
	ExperimentEnded struct {
		Title       string      `json:"title"`
		Verdict     Verdict     `json:"verdict"`
		Outcome     Outcome     `json:"outcome"`
		Reason      string      `json:"reason,omitempty"` // of the outcome
		Restoration Restoration `json:"restoration"`
		Left        []Left      `json:"left,omitempty"`
		Exit        int         `json:"exit"`
		Took        Seconds     `json:"took"`
	}
	// Left is something that a human has to look at.
	Left struct {
		Text   string `json:"text"`
		Error  string `json:"error"`
		Manual string `json:"manual,omitempty"`
	}
	// RunEnded is always the last.
	RunEnded struct {
		Exit    int     `json:"exit"`
		Took    Seconds `json:"took"`
		Skipped int     `json:"skipped,omitempty"` // experiments that were not started
		Dir     string  `json:"dir"`
	}
)

// Seconds is a duration that JSON shows in seconds.
type Seconds time.Duration

// MarshalJSON writes seconds, to the microsecond.
func (s Seconds) MarshalJSON() ([]byte, error) { return value.AppendNumber(nil, s.inJSON()), nil }

func (s Seconds) inJSON() float64 { return float64(time.Duration(s).Round(time.Microsecond)) / 1e9 }

func (RunStarted) EventKind() string        { return "run_started" }
func (ExperimentStarted) EventKind() string { return "experiment_started" }
func (PhaseEntered) EventKind() string      { return "phase_entered" }
func (PhaseEnded) EventKind() string        { return "phase_ended" }
func (StepStarted) EventKind() string       { return "step_started" }
func (StepEnded) EventKind() string         { return "step_ended" }
func (Waiting) EventKind() string           { return "waiting" }
func (Heading) EventKind() string           { return "heading" }
func (UndoIntended) EventKind() string      { return "undo_intended" }
func (UndoState) EventKind() string         { return "undo_state" }
func (FaultUndone) EventKind() string       { return "fault_undone" }
func (Sample) EventKind() string            { return "sample" }
func (CheckJudged) EventKind() string       { return "check_judged" }
func (Turned) EventKind() string            { return "check_turned" }
func (CheckState) EventKind() string        { return "check_state" }
func (GuardTripped) EventKind() string      { return "guard_tripped" }
func (Abort) EventKind() string             { return "abort" }
func (Log) EventKind() string               { return "log" }
func (Note) EventKind() string              { return "note" }
func (ExperimentEnded) EventKind() string   { return "experiment_ended" }
func (RunEnded) EventKind() string          { return "run_ended" }

// Sink reads the stream. It is called in order, by one goroutine at a time, and must not block.
type Sink interface{ Event(Event) }

// SinkFunc is a function as a Sink.
type SinkFunc func(Event)

// Event calls f.
func (f SinkFunc) Event(e Event) { f(e) }

// Stream numbers, stamps and hands out events.
type Stream struct {
	mu    sync.Mutex
	start time.Time
	seq   uint64
	jour  *Journal
	sinks []Sink
	err   error

	redact func(string) string // nil without secrets
}

// NewStream starts a stream. journal may be nil.
func NewStream(journal *Journal, sinks ...Sink) *Stream {
	return &Stream{start: time.Now(), jour: journal, sinks: sinks}
}

// ResumeStream goes on with the stream of a run whose process is gone. Its times are by the wall clock, since the
// monotonic clock's origin went with the process.
func ResumeStream(journal *Journal, started time.Time, seq uint64) *Stream {
	return &Stream{start: started.Round(0), seq: seq, jour: journal}
}

// Void is the state of a record that there is nothing to undo for: its step is final, or left nothing.
const Void = "void"

// Foreign is the detail of an undo that found somebody else's value and left it.
const Foreign = "somebody else changed it meanwhile: left alone"

// Since is the time since the stream's start at an instant.
func (s *Stream) Since(t time.Time) Seconds { return Seconds(t.Sub(s.start)) }

// Emit appends an event. A journal that cannot be written is remembered, see Err, and does not stop the stream: undoing
// goes on whatever the disk says.
func (s *Stream) Emit(d Data) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit(d)
}

func (s *Stream) emit(d Data) error {
	now := time.Now()
	s.seq++
	if s.redact != nil {
		d = redacted(d, s.redact)
	}
	e := Event{Seq: s.seq, Mono: now.Sub(s.start), Wall: now, Data: d}
	var err error
	if s.jour != nil {
		if err = s.jour.Append(e); err != nil && s.err == nil {
			s.err = err
		}
		if err != nil { // its number goes to the next one: a number that is missing means a line that was taken away
			s.seq--
		}
	}
	for _, k := range s.sinks {
		k.Event(e)
	}
	return err
}

// EmitSync appends an event and returns only when it is on disk.
func (s *Stream) EmitSync(d Data) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.emit(d); err != nil {
		return err
	}
	if s.jour == nil {
		return nil
	}
	err := s.jour.Sync()
	if s.err == nil {
		s.err = err
	}
	return err
}

// Err is the first failure to write the journal.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
