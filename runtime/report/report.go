// Package report turns the stream of events into a report: for a pull request (Markdown), for a CI server (JUnit) and for
// programs (JSON). It reads events and knows nothing else, so that a report of yesterday's journal says what the report
// made live said.
package report

import (
	"time"

	"chaos/runtime/event"
)

// Schema is the version of the JSON form. It changes when a field changes its meaning or goes away; see docs/report.md.
const Schema = 1

// Report is all that one invocation ran: one run a file.
type Report struct {
	Schema     int          `json:"schema"`
	Runs       []*Run       `json:"runs"`
	NotStarted []NotStarted `json:"not_started,omitempty"`
}

// NotStarted is a script that was refused: exit code 2.
type NotStarted struct {
	Script   string   `json:"script"`
	Problems []string `json:"problems"`
}

// Run is one run of a script. Durations are in seconds; moments are seconds since the run began.
type Run struct {
	ID          string            `json:"run"`
	Script      string            `json:"script"`
	Seed        uint64            `json:"seed"`
	Version     string            `json:"version"`
	Params      map[string]string `json:"params,omitempty"`
	Began       time.Time         `json:"began"`
	Took        event.Seconds     `json:"took"`
	Ended       bool              `json:"ended"` // false: it runs still, or it was killed
	Exit        *int              `json:"exit"`  // nil until it ended
	Skipped     int               `json:"skipped,omitempty"`
	Dir         string            `json:"dir,omitempty"`
	Experiments []*Experiment     `json:"experiments"`
	Notes       []Moment          `json:"notes,omitempty"` // what was said outside of any experiment
}

// Experiment is one experiment of a run.
type Experiment struct {
	Title       string            `json:"title"`
	Owner       string            `json:"owner,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	Hypothesis  string            `json:"hypothesis,omitempty"`
	At          event.Place       `json:"at"`
	Began       event.Seconds     `json:"began"`
	Took        event.Seconds     `json:"took"`
	Ended       bool              `json:"ended"`
	Verdict     event.Verdict     `json:"verdict,omitempty"`
	Outcome     event.Outcome     `json:"outcome,omitempty"`
	Restoration event.Restoration `json:"restoration,omitempty"`
	Reason      string            `json:"reason,omitempty"` // of the outcome
	Exit        *int              `json:"exit"`
	Phases      []*Phase          `json:"phases"`
	Checks      []*Check          `json:"checks"`
	Steps       []*Step           `json:"steps"`
	Faults      []*Fault          `json:"faults"`
	Guards      []Guard           `json:"guards,omitempty"` // those that tripped
	Aborts      []Abort           `json:"aborts,omitempty"`
	Probes      []*Probe          `json:"probes"`
	Left        []event.Left      `json:"left,omitempty"` // what a human has to look at
	Timeline    []*Moment         `json:"timeline"`

	series []*series          // of what is worth a look
	broken map[claimAt][]span // when checks were false
	claims []event.Claim
}

// claimAt is a check: its section and its place in the script.
type claimAt struct {
	section string
	at      event.Place
}

// span is a time in which a check was false. to is 0 while it still is.
type span struct{ from, to event.Seconds }

// Phase is one phase.
type Phase struct {
	Phase  event.Phase   `json:"phase"`
	Title  string        `json:"title,omitempty"`
	Began  event.Seconds `json:"began"`
	Took   event.Seconds `json:"took"`
	OK     *bool         `json:"ok,omitempty"` // of before and after: whether the steady state held
	Detail string        `json:"detail,omitempty"`
}

// Check is a judged check. Moment counts from the first injection.
type Check struct {
	Section     string          `json:"section"` // setup, steady, hypothesis, after
	Kind        string          `json:"check"`
	Text        string          `json:"text"`
	Because     string          `json:"because,omitempty"`
	At          event.Place     `json:"at"`
	Result      string          `json:"result"` // held, refuted, inconclusive
	Detail      string          `json:"detail,omitempty"`
	Evaluations int             `json:"evaluations"`
	False       int             `json:"false"`
	NoData      int             `json:"no_data"`
	Moment      *event.Seconds  `json:"moment,omitempty"`
	Operands    []event.Operand `json:"operands,omitempty"`
}

// Step is a step or a wait that was reached.
type Step struct {
	Step     int           `json:"step"`
	Kind     string        `json:"kind"` // action, wait
	Phase    event.Phase   `json:"phase"`
	Text     string        `json:"text"`
	Does     string        `json:"does,omitempty"`
	Lifetime string        `json:"lifetime,omitempty"`
	For      event.Seconds `json:"for,omitempty"` // of a wait: how long at most
	Because  string        `json:"because,omitempty"`
	At       event.Place   `json:"at"`
	Began    event.Seconds `json:"began"`
	Took     event.Seconds `json:"took"`
	Status   string        `json:"status,omitempty"` // done, failed, cancelled; "" where nothing was said, as of a plain wait
	Error    string        `json:"error,omitempty"`
	Note     string        `json:"note,omitempty"`
	Effect   string        `json:"effect,omitempty"` // yes, no, unknown
	Detail   string        `json:"effect_detail,omitempty"`
}

// Fault is what a step left to be undone.
type Fault struct {
	Step     int           `json:"step"`
	Text     string        `json:"text"`
	Name     string        `json:"name,omitempty"` // its `as`
	Does     string        `json:"does,omitempty"`
	Lifetime string        `json:"lifetime,omitempty"`
	Undone   bool          `json:"undone"`
	Phase    event.Phase   `json:"undone_in,omitempty"`
	At       event.Seconds `json:"undone_at,omitempty"`
	Took     event.Seconds `json:"took,omitempty"`
	Error    string        `json:"error,omitempty"`
	Records  []*Record     `json:"records,omitempty"`
}

// Record is one undo record of a fault.
type Record struct {
	ID     string `json:"id"`
	Kind   string `json:"kind,omitempty"`
	State  string `json:"state"` // intended, applied, reverting, reverted, failed
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
	Manual string `json:"manual,omitempty"` // the command with which a human undoes it

	step     int // whose fault it belongs to
	lifetime string
}

// Guard is an `abort when` that tripped.
type Guard struct {
	T        event.Seconds   `json:"t"`
	Text     string          `json:"text"`
	Because  string          `json:"because,omitempty"`
	At       event.Place     `json:"at"`
	NoData   string          `json:"no_data,omitempty"`
	Operands []event.Operand `json:"operands,omitempty"`
}

// Abort is why a run was cut short.
type Abort struct {
	T    event.Seconds `json:"t"`
	By   string        `json:"by"`
	Text string        `json:"text"`
}

// Probe is how well a probe could see.
type Probe struct {
	Name      string              `json:"probe"`
	Samples   int                 `json:"samples"`
	Failed    int                 `json:"failed"`  // samples that are no data as a whole
	Skipped   int                 `json:"skipped"` // ticks that were missed
	LastError string              `json:"last_error,omitempty"`
	Phases    map[event.Phase]int `json:"phases"` // samples by phase
}

// Moment is a line of the story.
type Moment struct {
	T      event.Seconds `json:"t"`
	Phase  event.Phase   `json:"phase,omitempty"`
	Kind   string        `json:"kind"` // phase, heading, step, wait, turned, guard, abort, undo, log, note
	Depth  int           `json:"depth,omitempty"`
	Text   string        `json:"text"`
	Detail string        `json:"detail,omitempty"`
	Result string        `json:"result,omitempty"` // of steps and waits: their status; of turned: true or false; of undo: done or failed
}

// Word is an experiment's result in one word, as the terminal says it.
func (x *Experiment) Word() string {
	switch {
	case !x.Ended:
		return "unfinished"
	case x.Restoration == event.Incomplete:
		return string(event.Incomplete)
	case x.Outcome != event.Completed:
		return string(x.Outcome)
	case x.Verdict == event.NotJudged:
		return "steady"
	}
	return string(x.Verdict)
}

// Good tells a word that needs nobody's attention.
func (x *Experiment) Good() bool { w := x.Word(); return w == string(event.Held) || w == "steady" }

// open lists the records that may still be in the world, oldest first.
func (x *Experiment) open() []event.Left {
	var out []event.Left
	for _, f := range x.Faults {
		for _, r := range f.Records {
			if r.State == "reverted" {
				continue
			}
			why := "its undo is recorded as " + r.State
			if r.Error != "" {
				why = r.Error
			}
			out = append(out, event.Left{Text: f.Text, Error: why, Manual: r.Manual})
		}
	}
	return out
}

// Leftovers are what a human has to look at: what the run named, or, of a run that did not end, every fault that is not
// known to be undone.
func (x *Experiment) Leftovers() []event.Left {
	if x.Ended {
		return x.Left
	}
	return x.open()
}
