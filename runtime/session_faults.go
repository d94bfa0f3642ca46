package runtime

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/runtime/event"
)

// lasting is what a session knows of a fault that is in place.
type lasting struct {
	number int
	due    time.Time
	lasts  time.Duration
	timer  *time.Timer
	setup  bool
	timed  bool
}

// Fault is a fault as it is listed.
type Fault struct {
	Number   int
	Text     string // of the step
	Does     string
	Lifetime string        // what ends it when we are killed
	Age      time.Duration // since it was injected
	Left     time.Duration // until it is undone by itself
	Setup    bool          // it lasts until the session ends
}

// Faults lists what is in place, oldest first.
func (s *Session) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Fault
	for f, l := range s.faults {
		out = append(out, Fault{Number: l.number, Text: f.text, Does: f.does, Lifetime: lifetimeOf(f), Age: time.Since(f.applied), Left: time.Until(l.due), Setup: l.setup})
	}
	slices.SortFunc(out, func(a, b Fault) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// Undone is when a fault ended, zero while it lasts, and whether that was because the time of its `for` had come.
func (s *Session) Undone(number int) (at time.Time, timed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.undone[number], s.timed[number]
}

func lifetimeOf(f *fault) string {
	if len(f.records) == 0 {
		return string(actions.Kernel) // it hangs on something that we hold
	}
	return string(f.records[len(f.records)-1].undo.Lifetime)
}

// Do runs statements of a section. When one fails, or ctx ends, everything that they injected is undone. What they leave
// lasts until it is undone: a step's own `for` is not waited for.
func (s *Session) Do(ctx context.Context, phase event.Phase, list []check.Stmt) (faults []int, err error) {
	ctx, done, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := s.fitToAct(ctx); err != nil {
		return nil, err
	}
	x := s.x
	if phase == event.During {
		if err := x.open(ctx, x.probeNames()); err != nil { // what checks and guards name is watched from the first injection on
			return nil, err
		}
	}
	if s.phase != phase {
		s.phase = phase
		x.stream.Emit(event.PhaseEntered{Phase: phase, Title: titleOf(x.def, phase)})
	}
	in := &scope{}
	b := block{scope: in, vars: s.vars}
	lasts, err := x.duration(x.def.Deadline, x.vars, s.deadline)
	if err != nil {
		return nil, err
	}
	if phase == event.Setup {
		b.vars, lasts = x.vars, setupDeadline
	}
	timed := false
	if len(list) == 1 && phase == event.During {
		var own time.Duration
		if list[0], own, err = s.untimed(list[0]); err != nil {
			return nil, err
		}
		if own > 0 {
			lasts, timed = own, true
		}
	}
	x.deadline = time.Now().Add(lasts + injectAllowance)
	before := x.injectAt
	err = x.strand(ctx, phase, func(on *strand) error {
		b.strand = on
		return x.statements(ctx, b, list)
	})
	if before.IsZero() && !x.injectAt.IsZero() {
		s.implicit = x.def.Hypothesis == nil
		for _, g := range x.def.Guards { // beginDuring has armed them
			s.armed[g.Text] = true
		}
	}
	if err != nil {
		x.undoScope(in, phase)
		x.stepDone()
		return nil, err
	}
	into := s.open
	if phase == event.Setup {
		into = s.setup
	}
	for _, f := range in.faults {
		into.push(f)
		faults = append(faults, s.keep(f, lasts, phase == event.Setup, timed))
	}
	return faults, nil
}

// titleOf is the title of the section of a phase.
func titleOf(def *check.Experiment, phase event.Phase) string {
	section := map[event.Phase]*check.Section{event.Setup: def.Setup, event.During: def.Inject, event.Rollback: def.Rollback}[phase]
	if section == nil {
		return ""
	}
	return section.Title
}

// untimed takes the `for` off a step: it becomes the time after which the fault ends by itself.
func (s *Session) untimed(st check.Stmt) (check.Stmt, time.Duration, error) {
	var d time.Duration
	var err error
	switch step := st.(type) {
	case *check.Step:
		if d, err = s.x.duration(step.For, s.vars, 0); err != nil || d <= 0 {
			return st, 0, err
		}
		short := *step
		short.For = nil
		return &short, d, nil
	case *check.Composite:
		if d, err = s.x.duration(step.For, s.vars, 0); err != nil || d <= 0 {
			return st, 0, err
		}
		short := *step
		short.For = nil
		return &short, d, nil
	}
	return st, 0, nil
}

// keep lists a fault and sets its end.
func (s *Session) keep(f *fault, lasts time.Duration, setup, timed bool) int {
	s.run.setDeadline(f.records, lasts)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	l := &lasting{number: s.count, due: time.Now().Add(lasts), lasts: lasts, setup: setup, timed: timed}
	s.faults[f] = l
	if !setup {
		x, from := s.x, s.open
		l.timer = time.AfterFunc(lasts, func() { s.expire(x, from, f) })
	}
	return l.number
}

// expire ends a fault whose time has come.
func (s *Session) expire(x *experiment, from *scope, f *fault) {
	s.mu.Lock()
	l, there := s.faults[f]
	if !there || l.setup {
		s.mu.Unlock()
		return
	}
	s.ending.Add(1)
	s.mu.Unlock()
	defer s.ending.Done()
	if from.take(f) == nil {
		return
	}
	if !l.timed {
		x.stream.Emit(event.Note{Text: f.text + ": it has lasted " + short(l.lasts) + ", the longest without a `for`"})
	}
	s.end(x, f, event.During)
	s.mu.Lock()
	s.timed[l.number] = l.timed
	s.mu.Unlock()
}

// end undoes a fault that is in no scope any more.
func (s *Session) end(x *experiment, f *fault, phase event.Phase) bool {
	ok := x.undoFault(f, phase)
	x.stepDone()
	s.forget(f)
	return ok
}

func (s *Session) forget(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.faults[f]; l != nil {
		if l.timer != nil {
			l.timer.Stop()
		}
		delete(s.faults, f)
		s.undone[l.number] = time.Now()
	}
}

// ErrNoFault is an undo of what is not there.
var ErrNoFault = errors.New("there is no such fault")

// Undo ends the fault of a number, 0 the newest of inject. Nothing cancels it.
func (s *Session) Undo(number int) (ok bool, err error) {
	s.busy.Lock()
	defer s.busy.Unlock()
	var found *fault
	from := s.open
	s.mu.Lock()
	for f, l := range s.faults {
		switch {
		case number == l.number:
			found = f
			if l.setup {
				from = s.setup
			}
		case number == 0 && !l.setup && (found == nil || l.number > s.faults[found].number):
			found = f
		}
	}
	s.mu.Unlock()
	if found == nil || from.take(found) == nil {
		return false, ErrNoFault
	}
	return s.end(s.x, found, event.During), nil
}

// Promote makes what a step returned a part of setup: it lasts until the session ends.
func (s *Session) Promote(name string) {
	s.busy.Lock()
	defer s.busy.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for f, l := range s.faults {
		if f.name != name || l.setup || s.open.take(f) == nil {
			continue
		}
		l.timer.Stop()
		l.setup, l.due = true, time.Now().Add(setupDeadline)
		s.run.setDeadline(f.records, setupDeadline)
		s.setup.push(f)
	}
}
