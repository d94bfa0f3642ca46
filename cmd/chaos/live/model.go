package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// Model is what is going on now, as far as the events tell. Times are since the run began.
type Model struct {
	title    string
	phase    event.Phase
	about    string // the phase's title
	entered  time.Duration
	most     map[event.Phase]time.Duration // of each phase
	began    time.Duration
	deadline time.Duration // 0 when there is none any more

	abort   string // why everything is being undone
	toUndo  int    // faults, when undoing began
	undone  int
	inSetup int // steps of setup that are undone at the very end

	running []*activity
	faults  []*fault
	values  []*series
	checks  []*check

	mostRunning, mostFaults int // seen at a time in this phase, so that lines do not come and go
}

// activity is a step that acts, a wait, an undo.
type activity struct {
	step  int
	text  string
	since time.Duration
	most  time.Duration // 0: nobody knows
	acts  bool
}

// fault is one that is in place.
type fault struct {
	step     int
	text     string
	lifetime string
	since    time.Duration
	lasts    time.Duration // 0: as long as what is around it
	stuck    bool          // it could not be undone
}

// series is a watched value and what it was.
type series struct {
	event.Watched
	latest  value.Value
	at      time.Duration // of the latest sample
	sampled bool
	marks   []mark
}

// mark is what one cell of a sparkline stands for.
type mark struct {
	slot int     // which cell, counted since the run began
	n    float64 // NaN: no data
}

// check is a check or a guard and what it says now.
type check struct {
	event.Claim
	state  string // "" until it says something
	why    string
	since  time.Duration // of the state
	values string        // that made it false first, or trip
	broken bool          // it was false once
	first  time.Duration // when
	trips  bool
}

// NewModel is the model of a run that has not begun.
func NewModel() *Model { return &Model{} }

// Active tells that there is something to draw.
func (m *Model) Active() bool { return m.phase != "" }

// Event takes one event in.
func (m *Model) Event(e event.Event) {
	now := e.Mono
	switch d := e.Data.(type) {
	case event.ExperimentStarted:
		m.start(d, now)
	case event.PhaseEntered:
		m.enter(d, now)
	case event.PhaseEnded:
		m.running = nil
	case event.StepStarted:
		m.run(&activity{step: d.Step, text: what(d.Does, d.Text), since: now, acts: true}, now)
		if d.Lifetime != "" && d.Lifetime != "irreversible" {
			m.inject(d, now)
		}
	case event.StepEnded:
		m.stop(d.Step)
		if i := m.fault(d.Step); i >= 0 {
			f := m.faults[i]
			f.since = now
			if d.Status != "done" { // what it left is undone at once
				f.lasts = 0
			} else if f.lasts > 0 {
				m.run(&activity{step: d.Step, text: "hold: " + f.text, since: now, most: f.lasts}, now)
			}
		}
	case event.Waiting:
		m.run(&activity{step: d.Step, text: d.Text, since: now, most: time.Duration(d.Most)}, now)
	case event.UndoState:
		if d.State == "reverting" && !m.runs(-d.Step) {
			text := d.Text
			if i := m.fault(d.Step); i >= 0 {
				text = m.faults[i].text
			}
			m.run(&activity{step: -d.Step, text: "undo: " + text, since: now, acts: true}, now)
		}
	case event.FaultUndone:
		m.undo(d)
	case event.Sample:
		m.sample(d, now)
	case event.CheckState:
		if c := m.check(d.Section, d.Text, d.At); c != nil {
			c.says(d.State, d.Why, now)
		}
	case event.Turned:
		if c := m.check("hypothesis", d.Text, d.At); c != nil && d.To == "false" {
			c.values = words(d.Operands)
		}
	case event.GuardTripped:
		if c := m.check("guard", d.Text, d.At); c != nil {
			c.trips, c.values = true, words(d.Operands)
		}
	case event.Abort:
		m.abort, m.toUndo, m.undone = d.Text, len(m.faults), 0
	case event.ExperimentEnded, event.RunEnded:
		*m = Model{}
	}
}

func (m *Model) start(d event.ExperimentStarted, now time.Duration) {
	*m = Model{title: d.Title, began: now, deadline: time.Duration(d.Deadline), most: map[event.Phase]time.Duration{}}
	for _, p := range d.Longest {
		m.most[p.Phase] += time.Duration(p.Most)
	}
	for _, w := range d.Watched {
		m.values = append(m.values, &series{Watched: w})
	}
	for _, c := range d.Checks {
		m.checks = append(m.checks, &check{Claim: c})
	}
}

func (m *Model) enter(d event.PhaseEntered, now time.Duration) {
	m.phase, m.about, m.entered = d.Phase, d.Title, now
	m.running, m.mostRunning, m.mostFaults = nil, 1, 0
	if d.Phase != event.Undo { // a step that failed before it did anything is never said to be undone
		m.faults = slices.DeleteFunc(m.faults, func(f *fault) bool { return !f.stuck })
	}
	switch d.Phase {
	case event.Before:
		m.run(&activity{text: "watching the steady state " + d.Detail, since: now}, now)
	case event.During:
		m.mostFaults = 1
	case event.Undo:
		m.toUndo, m.undone, m.mostFaults = len(m.faults), 0, len(m.faults)
		fmt.Sscan(d.Detail, &m.toUndo) // "3 faults", which knows better
	case event.Settle:
		m.run(&activity{text: "an `eventually` is still false: waiting", since: now}, now)
	case event.Rollback:
		m.deadline = 0
	case event.After:
		m.deadline, m.about = 0, "does the steady state come back?"
		m.run(&activity{text: "waiting for the steady state " + d.Detail, since: now}, now)
		for _, c := range m.checks { // judged anew
			if c.Section == "steady" {
				*c = check{Claim: c.Claim}
			}
		}
	case event.UndoSetup:
		m.about, m.toUndo, m.undone = "what setup did", m.inSetup, 0
	}
}

func (m *Model) run(a *activity, now time.Duration) {
	a.text = strings.TrimSpace(a.text)
	m.running = append(m.present(now), a)
	m.mostRunning = max(m.mostRunning, len(m.running))
}

// present are the activities without the waits that are over: nothing says so.
func (m *Model) present(now time.Duration) []*activity {
	return slices.DeleteFunc(slices.Clone(m.running), func(a *activity) bool { return !a.acts && a.most > 0 && now >= a.since+a.most })
}

func (m *Model) stop(step int) {
	m.running = slices.DeleteFunc(m.running, func(a *activity) bool { return a.step == step })
}

func (m *Model) runs(step int) bool {
	return slices.ContainsFunc(m.running, func(a *activity) bool { return a.step == step })
}

func (m *Model) fault(step int) int {
	return slices.IndexFunc(m.faults, func(f *fault) bool { return f.step == step })
}

// inject notes a fault as soon as it acts: one that is cut off in the middle may be in place.
func (m *Model) inject(d event.StepStarted, now time.Duration) {
	switch d.Phase {
	case event.Setup:
		m.inSetup++
	case event.During:
		text := what(d.Does, d.Text)
		if d.Name != "" && !strings.Contains(text, d.Name) {
			text = d.Name + ": " + text
		}
		m.faults = append(m.faults, &fault{step: d.Step, text: text, lifetime: d.Lifetime, since: now, lasts: time.Duration(d.For)})
		m.mostFaults = max(m.mostFaults, len(m.faults))
	}
}

func (m *Model) undo(d event.FaultUndone) {
	m.stop(d.Step) // held no longer
	m.stop(-d.Step)
	m.undone++
	i := m.fault(d.Step)
	switch {
	case i < 0:
	case d.OK:
		m.faults = slices.Delete(m.faults, i, i+1)
	default:
		m.faults[i].stuck = true
	}
}

func (m *Model) check(section, text string, at event.Place) *check {
	for _, c := range m.checks {
		if c.Section == section && c.Text == text && c.At == at {
			return c
		}
	}
	return nil
}

func (c *check) says(state, why string, now time.Duration) {
	if state == "false" && !c.broken {
		c.broken, c.first = true, now
	}
	if c.late(now) { // before this one it was false for too long
		c.trips = true
	}
	c.state, c.why, c.since = state, why, now
}

// late tells an `eventually` that was false for longer than it may.
func (c *check) late(now time.Duration) bool {
	return c.trips || c.Kind == "eventually" && c.state == "false" && now-c.since > time.Duration(c.Within)
}

// refuted tells that nothing can make it hold any more.
func (c *check) refuted(now time.Duration) bool {
	switch c.Kind {
	case "eventually":
		return c.late(now)
	case "always", "never":
		return c.broken && c.Tolerate == 0
	}
	return false
}

func what(does, text string) string {
	if does != "" {
		return does
	}
	return text
}

func words(list []event.Operand) string {
	parts := make([]string, len(list))
	for i, o := range list {
		parts[i] = o.Text + " = " + o.Value
	}
	return strings.Join(parts, ", ")
}
