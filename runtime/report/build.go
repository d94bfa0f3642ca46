package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"chaos/runtime/event"
)

// Builder collects a report from events. It is a sink: whatever ran before a second RunStarted stays in the report.
type Builder struct {
	report Report
	run    *Run
	x      *Experiment
	phase  *Phase

	steps   map[int]*stepState
	faults  map[int]*Fault
	records map[string]*Record
	probes  map[string]*Probe
	mono    time.Duration // of the latest event
}

type stepState struct {
	step   *Step
	moment *Moment
}

var _ event.Sink = (*Builder)(nil)

// NewBuilder makes an empty one.
func NewBuilder() *Builder {
	return &Builder{report: Report{Schema: Schema, Runs: []*Run{}}}
}

// Report is what was collected so far.
func (b *Builder) Report() *Report { return &b.report }

// Refused notes a script that was not started, and why.
func (b *Builder) Refused(script string, problems ...string) {
	b.report.NotStarted = append(b.report.NotStarted, NotStarted{Script: script, Problems: problems})
}

// Read builds the report of a journal. Torn lines are left out; a journal without a start is refused.
func Read(journal io.Reader) (*Report, error) {
	b := NewBuilder()
	for e, err := range event.ReadJournal(journal) {
		var torn *event.TornError
		if errors.As(err, &torn) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b.Event(e)
	}
	if len(b.report.Runs) == 0 {
		return nil, errors.New("no run starts in it")
	}
	return b.Report(), nil
}

// sec keeps what a journal keeps of a duration, so that a report made live equals one read back.
func sec[D ~int64](d D) event.Seconds { return event.Seconds(time.Duration(d).Round(time.Microsecond)) }

// Event collects one event.
func (b *Builder) Event(e event.Event) {
	if d, ok := e.Data.(event.RunStarted); ok {
		b.start(e, d)
		return
	}
	if b.run == nil { // what comes before a start belongs to nothing
		return
	}
	b.mono = max(b.mono, e.Mono)
	if !b.run.Ended {
		b.run.Took = sec(b.mono)
	}
	switch d := e.Data.(type) {
	case event.RunEnded:
		b.run.Ended, b.run.Exit, b.run.Took, b.run.Skipped, b.run.Dir = true, &d.Exit, sec(d.Took), d.Skipped, d.Dir
		return
	case event.ExperimentStarted:
		b.x = &Experiment{Title: d.Title, Owner: d.Owner, Hypothesis: d.Hypothesis, At: d.At, Began: sec(e.Mono), Phases: []*Phase{}, Checks: []*Check{},
			Steps: []*Step{}, Faults: []*Fault{}, Probes: []*Probe{}, Timeline: []*Moment{}}
		if len(d.Tags) > 0 {
			b.x.Tags = d.Tags
		}
		b.x.claims, b.x.broken = d.Checks, map[claimAt][]span{}
		for _, w := range d.Watched {
			b.x.series = append(b.x.series, newSeries(w))
		}
		b.phase, b.probes = nil, map[string]*Probe{}
		b.run.Experiments = append(b.run.Experiments, b.x)
		return
	case event.UndoState:
		b.undoState(d)
		return
	case event.Note:
		if b.x == nil || b.x.Ended {
			b.run.Notes = append(b.run.Notes, Moment{T: sec(e.Mono), Kind: "note", Text: d.Text})
			return
		}
	}
	if b.x == nil || b.x.Ended {
		return
	}
	b.inside(e)
	if !b.x.Ended {
		b.x.Took = sec(e.Mono - time.Duration(b.x.Began))
	}
}

func (b *Builder) start(e event.Event, d event.RunStarted) {
	b.run = &Run{ID: d.Run, Script: d.Script, Seed: d.Seed, Version: d.Version, Began: e.Wall.UTC().Truncate(time.Millisecond), Experiments: []*Experiment{}}
	if len(d.Params) > 0 {
		b.run.Params = maps.Clone(d.Params)
	}
	b.report.Runs = append(b.report.Runs, b.run)
	b.x, b.phase, b.mono = nil, nil, 0
	b.steps, b.faults, b.records = map[int]*stepState{}, map[int]*Fault{}, map[string]*Record{}
}

// inside collects what belongs to the present experiment.
func (b *Builder) inside(e event.Event) {
	t := sec(e.Mono)
	switch d := e.Data.(type) {
	case event.PhaseEntered:
		b.endPhase(t)
		b.phase = &Phase{Phase: d.Phase, Title: d.Title, Began: t, Detail: d.Detail}
		b.x.Phases = append(b.x.Phases, b.phase)
		b.tell(Moment{T: t, Kind: "phase", Text: d.Title, Detail: d.Detail})
	case event.PhaseEnded:
		if p := b.phase; p != nil && p.Phase == d.Phase {
			p.OK, p.Took = &d.OK, sec(d.Took)
			if d.Detail != "" {
				p.Detail = d.Detail
			}
		}
	case event.Heading:
		b.tell(Moment{T: t, Phase: d.Phase, Kind: "heading", Depth: d.Depth, Text: d.Text})
	case event.StepStarted:
		s := &Step{Step: d.Step, Kind: "action", Phase: d.Phase, Text: d.Text, Does: d.Does, Lifetime: d.Lifetime, For: sec(d.For), Because: d.Because, At: d.At, Began: t}
		b.step(s, d.Depth)
	case event.Waiting:
		b.step(&Step{Step: d.Step, Kind: "wait", Phase: d.Phase, Text: d.Text, For: sec(d.Most), At: d.At, Began: t}, d.Depth)
	case event.StepEnded:
		b.stepEnded(d)
	case event.UndoIntended:
		b.intended(d)
	case event.FaultUndone:
		b.undone(t, d)
	case event.Sample:
		b.sample(t, d)
	case event.CheckJudged:
		c := &Check{Section: d.Section, Kind: d.Kind, Text: d.Text, Because: d.Because, At: d.At, Result: d.Result, Detail: d.Detail,
			Evaluations: d.Evaluations, False: d.False, NoData: d.NoData, Operands: operands(d.Operands)}
		if d.Moment != nil {
			m := sec(*d.Moment)
			c.Moment = &m
		}
		b.x.Checks = append(b.x.Checks, c)
	case event.CheckState:
		b.checkState(t, d)
	case event.Turned:
		b.tell(Moment{T: t, Kind: "turned", Text: d.Text, Detail: values(d.Operands), Result: d.To})
	case event.GuardTripped:
		b.x.Guards = append(b.x.Guards, Guard{T: t, Text: d.Text, Because: d.Because, At: d.At, NoData: d.NoData, Operands: operands(d.Operands)})
		why := values(d.Operands)
		if d.NoData != "" {
			why = "no data counts as true: " + d.NoData
		}
		b.tell(Moment{T: t, Kind: "guard", Text: d.Text, Detail: why})
	case event.Abort:
		b.x.Aborts = append(b.x.Aborts, Abort{T: t, By: d.By, Text: d.Text})
		b.tell(Moment{T: t, Kind: "abort", Text: d.Text, Detail: d.By})
	case event.Log:
		b.tell(Moment{T: t, Kind: "log", Text: d.Text})
	case event.Note:
		b.tell(Moment{T: t, Kind: "note", Text: d.Text})
	case event.ExperimentEnded:
		b.endPhase(t)
		x := b.x
		x.Ended, x.Verdict, x.Outcome, x.Reason, x.Restoration, x.Exit, x.Took = true, d.Verdict, d.Outcome, d.Reason, d.Restoration, &d.Exit, sec(d.Took)
		if len(d.Left) > 0 {
			x.Left = slices.Clone(d.Left)
		}
	}
}

// endPhase gives the present phase its length, unless it said so itself.
func (b *Builder) endPhase(t event.Seconds) {
	if p := b.phase; p != nil && p.Took == 0 {
		p.Took = t - p.Began
	}
}

func (b *Builder) tell(m Moment) *Moment {
	if m.Phase == "" && b.phase != nil {
		m.Phase = b.phase.Phase
	}
	b.x.Timeline = append(b.x.Timeline, &m)
	return &m
}

func (b *Builder) step(s *Step, depth int) {
	b.x.Steps = append(b.x.Steps, s)
	text := s.Text
	if s.Does != "" {
		text = s.Does
	}
	kind := map[string]string{"action": "step", "wait": "wait"}[s.Kind]
	b.steps[s.Step] = &stepState{s, b.tell(Moment{T: s.Began, Phase: s.Phase, Kind: kind, Depth: depth, Text: text})}
}

func (b *Builder) stepEnded(d event.StepEnded) {
	st, ok := b.steps[d.Step]
	if !ok {
		return
	}
	s := st.step
	s.Status, s.Error, s.Note, s.Effect, s.Detail, s.Took = d.Status, d.Error, d.Note, d.Effect, d.Detail, sec(d.Took)
	var parts []string
	add := func(text string) {
		if text != "" && !strings.Contains(st.moment.Text, text) && !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	switch {
	case d.Error != "":
		add(d.Error)
	case d.Effect == "no":
		add("no effect: " + d.Detail)
	case d.Effect == "unknown":
		add(d.Note)
		add("effect unknown: " + d.Detail)
	default:
		add(d.Note)
	}
	if s.Kind == "action" && s.For > 0 && d.Status == "done" {
		add("for " + short(s.For))
	}
	if d.Status != "done" {
		add(s.Because)
	}
	st.moment.Detail, st.moment.Result = strings.Join(parts, " · "), d.Status
}

func (b *Builder) fault(step int, text string) *Fault {
	f, ok := b.faults[step]
	if !ok {
		f = &Fault{Step: step, Text: text}
		if st, ok := b.steps[step]; ok {
			f.Does, f.Lifetime = st.step.Does, st.step.Lifetime
		}
		b.faults[step] = f
		b.x.Faults = append(b.x.Faults, f)
	}
	return f
}

func (b *Builder) intended(d event.UndoIntended) {
	f := b.fault(d.Step, d.Text)
	r := &Record{ID: d.ID, State: "intended", step: d.Step}
	var undo struct{ Kind, Lifetime, Manual string }
	if json.Unmarshal(d.Record, &undo) == nil {
		r.Kind, r.Manual = undo.Kind, undo.Manual
		if r.lifetime = undo.Lifetime; r.lifetime != "" {
			f.Lifetime = r.lifetime
		}
	}
	f.Records = append(f.Records, r)
	b.records[d.ID] = r
}

// undoState may come long after the run's end, from `chaos recover`.
func (b *Builder) undoState(d event.UndoState) {
	r, ok := b.records[d.ID]
	if !ok {
		return
	}
	if d.State == event.Void {
		b.drop(r)
		delete(b.records, r.ID)
		return
	}
	if r.step != d.Step { // a record that was void serves another step
		b.drop(r)
		r.step = d.Step
		f := b.fault(d.Step, d.Text)
		f.Records, f.Lifetime = append(f.Records, r), cmp.Or(r.lifetime, f.Lifetime)
	}
	r.State, r.Detail, r.Error = d.State, d.Detail, d.Error
	if d.Manual != "" {
		r.Manual = d.Manual
	}
	if f, ok := b.faults[d.Step]; ok {
		f.Undone = !slices.ContainsFunc(f.Records, func(r *Record) bool { return r.State != "reverted" })
	}
}

// drop takes a record from its fault, and the fault with it that has no other.
func (b *Builder) drop(r *Record) {
	f, ok := b.faults[r.step]
	if !ok {
		return
	}
	f.Records = slices.DeleteFunc(f.Records, func(o *Record) bool { return o == r })
	if len(f.Records) == 0 {
		delete(b.faults, r.step)
		b.x.Faults = slices.DeleteFunc(b.x.Faults, func(o *Fault) bool { return o == f })
	}
}

func (b *Builder) undone(t event.Seconds, d event.FaultUndone) {
	f := b.fault(d.Step, d.Text)
	f.Undone, f.Phase, f.At, f.Took, f.Error = d.OK, d.Phase, t, sec(d.Took), d.Error
	f.Name = d.Name
	if d.Does != "" {
		f.Does = d.Does
	}
	m := Moment{T: t, Phase: d.Phase, Kind: "undo", Text: f.what(), Result: "done"}
	if !d.OK {
		m.Result, m.Detail = "failed", d.Error
	}
	b.tell(m)
}

// what is the best short description of a fault: what it did, with its name, else its text.
func (f *Fault) what() string {
	switch {
	case f.Does == "":
		return f.Text
	case f.Name != "" && !strings.Contains(f.Does, f.Name):
		return f.Name + ": " + f.Does
	}
	return f.Does
}

// checkState keeps when a check was false.
func (b *Builder) checkState(t event.Seconds, d event.CheckState) {
	of := claimAt{d.Section, d.At}
	list := b.x.broken[of]
	if n := len(list); n > 0 && list[n-1].to == 0 {
		list[n-1].to = t
	}
	if d.State == "false" && d.Section != "guard" {
		b.x.broken[of] = append(list, span{from: t})
	}
}

func (b *Builder) sample(t event.Seconds, d event.Sample) {
	p, ok := b.probes[d.Probe]
	if !ok {
		p = &Probe{Name: d.Probe, Phases: map[event.Phase]int{}}
		b.probes[d.Probe] = p
		b.x.Probes = append(b.x.Probes, p)
		slices.SortFunc(b.x.Probes, func(a, c *Probe) int { return strings.Compare(a.Name, c.Name) })
	}
	p.Samples++
	p.Skipped += d.Skipped
	p.Phases[d.Phase]++
	if d.Error != "" {
		p.Failed++
		p.LastError = d.Error
	}
	if d.Partial { // for summaries only
		return
	}
	for _, s := range b.x.series {
		if s.Probe == d.Probe {
			s.add(t-b.x.Began, drawn(d.Value, s.Path))
		}
	}
}

func operands(list []event.Operand) []event.Operand {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

// values are operands on one line.
func values(list []event.Operand) string {
	parts := make([]string, len(list))
	for i, o := range list {
		parts[i] = fmt.Sprintf("%s = %s", o.Text, o.Value)
	}
	return strings.Join(parts, ", ")
}
