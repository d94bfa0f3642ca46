package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/recovery"
	"chaos/runtime/undo"
)

// fault is what a step left, until it is undone.
type fault struct {
	step    int
	text    string // of the step
	name    string // its `as`
	does    string
	phase   event.Phase // in which it was injected
	hold    io.Closer
	last    func() (actions.Effect, string)
	records []record
	applied time.Time
	undone  chan struct{} // closed when it is, for the act of a step that was given up; else nil
}

type record struct {
	id   string
	step int // whose it is in the journal
	undo actions.Undo
}

// ledger writes the undo records of one step ahead of its acts.
type ledger struct {
	x     *experiment
	step  int
	text  string
	lasts time.Duration // the step's `for`, 0 without one

	mu      sync.Mutex // held until a record is written, so that nobody undoes it before
	records []record
	closed  atomic.Bool
}

// close refuses what comes from an act that was given up: nobody would undo it.
func (l *ledger) close() { l.closed.Store(true) }

var errGivenUp = errors.New("the step was given up, so nothing more may be injected")

// Intend journals a record, on disk before it returns.
func (l *ledger) Intend(u actions.Undo) (string, error) {
	if _, ok := l.x.reg.Actions.Reverter(u.Kind); !ok {
		return "", fmt.Errorf("nothing here can undo a %q", u.Kind)
	}
	raw, err := json.Marshal(u)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return "", errGivenUp
	}
	id := l.x.run.nextUndo()
	// The record counts from the moment it may be on disk, even if the sync fails half way.
	l.records = append(l.records, record{id: id, step: l.step, undo: u})
	sealed, err := l.x.run.seal(id, raw)
	if err == nil {
		err = l.x.stream.EmitSync(event.UndoIntended{ID: id, Step: l.step, Text: l.text, Record: raw, Sealed: sealed})
	}
	if err != nil {
		return "", fmt.Errorf("the journal cannot be written, so nothing may be injected: %w", err)
	}
	open := recovery.Open{ID: id, Step: l.step, Text: l.text, State: "intended", Undo: u, Sealed: sealed}
	if err := l.x.run.intend(open, l.x.env.Dir, l.x.dueIn(l.lasts)); err != nil {
		return "", fmt.Errorf("there is no guardian to undo this if we die, so nothing may be injected: %w", err)
	}
	if l.closed.Load() { // meanwhile, by a disk that hangs: what is undone now must not be done after that
		return "", errGivenUp
	}
	return id, nil
}

// Reuse takes over a record that another step left void. It is the experiment's, with its deadline, so it is not for a step
// with a `for` of its own.
func (l *ledger) Reuse(kind string) (id string, u actions.Undo, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lasts > 0 || l.closed.Load() {
		return "", u, false
	}
	r, ok := l.x.takeSpare(kind)
	if ok {
		l.records = append(l.records, r)
	}
	return r.id, r.undo, ok
}

// Applied marks a record. It is not synced: an intended record counts as possibly applied anyway.
func (l *ledger) Applied(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return errGivenUp
	}
	l.x.stream.Emit(event.UndoState{ID: id, Step: l.step, State: "applied"})
	return nil
}

// injectAllowance is how long an act and the look at its effect may take on top of a step's `for`.
const injectAllowance = time.Minute

// dueIn is when a fault has to be undone at the latest: after its `for`, else at the experiment's deadline.
func (x *experiment) dueIn(lasts time.Duration) time.Duration {
	if lasts > 0 {
		return lasts + injectAllowance
	}
	return max(time.Until(x.deadline), time.Second)
}

func (l *ledger) taken() []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}

// scope holds the faults that end together: those of inject, of a `do`, of one pass of a `repeat`.
type scope struct {
	mu     sync.Mutex
	faults []*fault
}

func (s *scope) push(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// take removes and returns the newest fault, or the one given.
func (s *scope) take(f *fault) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.faults)
	if f == nil {
		if n == 0 {
			return nil
		}
		f = s.faults[n-1]
	}
	s.faults = slices.DeleteFunc(s.faults, func(g *fault) bool { return g == f })
	return f
}

// errNotUndone stops an inject section that could not undo one of its own timed faults: what follows would run on top of it.
var errNotUndone = errors.New("a fault could not be undone")

// undoScope undoes everything in a scope, newest first. It is shielded: nothing cancels it, a failure does not stop it.
func (x *experiment) undoScope(s *scope, phase event.Phase) error {
	var err error
	for f := s.take(nil); f != nil; f = s.take(nil) {
		if !x.undoFault(f, phase) {
			err = errNotUndone
		}
	}
	return err
}

// undoFault undoes one fault and verifies it. What is left is named, with what a human can do.
func (x *experiment) undoFault(f *fault, phase event.Phase) bool {
	x.undoing.add(f)
	defer x.undoing.remove(f)
	if f.undone != nil {
		defer close(f.undone)
	}
	begun := time.Now()
	x.lastLook(f)
	var failed []string
	if f.hold != nil {
		if err := undo.Bounded(undo.Limit, func(context.Context) error { return f.hold.Close() }); err != nil && len(f.records) == 0 {
			failed = append(failed, err.Error())
			x.left(event.Left{Text: f.text, Error: err.Error()})
		}
	}
	untouched := false
	for _, r := range slices.Backward(f.records) {
		foreign, err := x.undoRecord(f, r)
		untouched = untouched || foreign
		if err != nil {
			failed = append(failed, err.Error())
			x.left(event.Left{Text: f.text, Error: err.Error(), Manual: r.undo.Manual})
		}
	}
	ev := event.FaultUndone{Step: f.step, Text: f.text, Name: f.name, Does: f.does, OK: len(failed) == 0, Foreign: untouched, Phase: phase, Took: event.Seconds(time.Since(begun))}
	if len(failed) > 0 {
		ev.Error = failed[0]
	}
	x.stream.Emit(ev)
	return ev.OK
}

// undoLate undoes once more what an act did that came back after its step was given up. It says nothing: that the act may
// still do something is said already, and the run may be over.
func (x *experiment) undoLate(f *fault, hold io.Closer) {
	if f.phase == event.Rollback { // its steps are final
		return
	}
	if hold != nil {
		_ = undo.Bounded(undo.Limit, func(context.Context) error { return hold.Close() })
	}
	if len(f.records) == 0 { // then it is in no scope
		return
	}
	<-f.undone
	for _, r := range slices.Backward(f.records) {
		_, _ = undo.Revert(x.reg.Actions, x.env, r.undo)
	}
}

// lastLook asks what became of a fault before it is undone: one that ended by itself did not last as long as was claimed.
func (x *experiment) lastLook(f *fault) {
	if f.last == nil {
		return
	}
	effect, detail := actions.Unknown, ""
	if err := guardPanic(f.text, func() error { effect, detail = f.last(); return nil }); err != nil {
		detail = err.Error()
	}
	if effect == actions.No {
		if detail = "it had ended before it was undone: " + detail; f.phase == event.During {
			x.noEffect(f.text, detail)
		}
	}
	if detail != "" {
		x.stream.Emit(event.Log{Text: cmp.Or(f.name, f.text) + ": " + detail})
	}
}

func (x *experiment) undoRecord(f *fault, r record) (foreign bool, err error) {
	begun := time.Now()
	move := func(state, detail string, err error) {
		ev := event.UndoState{ID: r.id, Step: f.step, State: state, Text: f.text, Detail: detail, Took: event.Seconds(time.Since(begun))}
		if err != nil {
			ev.Error, ev.Manual = err.Error(), r.undo.Manual
		}
		x.stream.Emit(ev)
	}
	move("reverting", "", nil)
	foreign, err = undo.Revert(x.reg.Actions, x.env, r.undo)
	if err == nil {
		x.run.reverted(r.id)
		recovery.Unseal(x.run.dir, r.id)
	}
	switch {
	case err != nil:
		move("failed", "", err)
	case foreign:
		move("reverted", event.Foreign, nil)
	default:
		move("reverted", "", nil)
	}
	return foreign, err
}

// void takes a record back that there is nothing to undo for: its step is final, or left nothing.
func (x *experiment) void(r record) {
	x.stream.Emit(event.UndoState{ID: r.id, Step: r.step, State: event.Void})
	x.run.reverted(r.id)
	recovery.Unseal(x.run.dir, r.id)
}

// spare keeps a void record for the next step that can use it, until the experiment ends. A session has no end that would
// come soon enough: there it is taken back at once.
func (x *experiment) spare(r record, lasts time.Duration) {
	if !x.keepsSpares || lasts > 0 {
		x.void(r)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.spares = append(x.spares, r)
}

func (x *experiment) takeSpare(kind string) (r record, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.IndexFunc(x.spares, func(r record) bool { return r.undo.Kind == kind })
	if i < 0 {
		return r, false
	}
	r = x.spares[i]
	x.spares = slices.Delete(x.spares, i, i+1)
	return r, true
}

// dropSpares takes back what no step needs any more.
func (x *experiment) dropSpares() {
	x.mu.Lock()
	left := x.spares
	x.spares = nil
	x.mu.Unlock()
	for _, r := range left {
		x.void(r)
	}
}

// undoing lists the faults being undone and still to be undone, for the answer to an impatient Ctrl-C.
type undoing struct {
	mu   sync.Mutex
	list []*fault
}

func (u *undoing) add(f *fault) { u.mu.Lock(); u.list = append(u.list, f); u.mu.Unlock() }

func (u *undoing) remove(f *fault) {
	u.mu.Lock()
	u.list = slices.DeleteFunc(u.list, func(g *fault) bool { return g == f })
	u.mu.Unlock()
}

func (u *undoing) texts() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]string, len(u.list))
	for i, f := range u.list {
		out[i] = f.text
	}
	return out
}

// stepEnv is the run's environment for one step.
func (x *experiment) stepEnv(name string) env.Env {
	e := x.env
	e.Name = name
	return e
}
