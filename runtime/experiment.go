package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chaos/lang/check"
	"chaos/lang/expr"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/event"
)

const (
	defaultDeadline = 10 * time.Minute
	defaultRecovery = 30 * time.Second
	defaultPeriod   = time.Second
	defaultTimeout  = 5 * time.Second
	rollbackLimit   = 5 * time.Minute
)

// experiment is one running experiment.
type experiment struct {
	run    *Run
	def    *check.Experiment
	reg    Registries
	env    env.Env
	stream *event.Stream
	board  *board
	vars   *vars

	sampling     context.Context // ends with `after`, whatever happens to the run
	stopSampling context.CancelFunc
	loops        sync.WaitGroup
	openMu       sync.Mutex

	ctx   context.Context // of setup, before and inject; its cause is an *abort
	abort context.CancelCauseFunc

	expected    PlannedTime // as planned, for live readers
	began       time.Time
	deadline    time.Time
	during      sync.Once
	injectAt    time.Time // of the first injection
	claims      []*claim
	judged      map[*claim]judgement
	watching    map[*claim]*watcher
	guards      []*watcher
	undoing     undoing
	waiting     atomic.Bool // for the steady state to come back
	mu          sync.Mutex
	lastStep    time.Time // when the latest step of inject was done
	undone      time.Time // when everything was
	leftOver    []event.Left
	spares      []record // void, for the next step that can use them; see actions.Reuser
	keepsSpares bool
	fruitless   []string // faults that were seen not to bite
	tripped     *check.Guard
}

// abort is why a run was aborted. It is the cause of the experiment's context.
type abort struct {
	by   string // guard, signal, deadline, helper, refuted
	text string
}

func (a *abort) Error() string { return a.text }

// outcome is what became of an experiment.
type outcome struct {
	verdict     event.Verdict
	outcome     event.Outcome
	reason      string
	by          string // of an abort
	restoration event.Restoration
	left        []event.Left
	fileGuard   bool
}

func (x *experiment) left(l event.Left) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.leftOver = append(x.leftOver, l)
}

func (x *experiment) noEffect(text, detail string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if detail != "" {
		text += ": " + detail
	}
	x.fruitless = append(x.fruitless, text)
}

func (x *experiment) stepDone() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lastStep = time.Now()
}

// execute runs all phases. It returns only when everything is undone or named as left.
func (x *experiment) execute() (out outcome) {
	x.began = time.Now()
	x.sampling, x.stopSampling = context.WithCancel(context.WithoutCancel(x.ctx))
	defer x.abort(nil)
	deadline, _ := x.duration(x.def.Deadline, x.vars, defaultDeadline)
	x.deadline = x.began.Add(deadline)
	timer := time.AfterFunc(deadline, func() {
		x.cancel(&abort{by: "deadline", text: fmt.Sprintf("the deadline of %s passed", short(deadline))})
	})
	defer timer.Stop()
	if h := x.env.Hold; h != nil {
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-h.Died():
				x.cancel(&abort{by: "helper", text: "the helper process that owns what was started has died"})
			case <-stop:
			}
		}()
	}

	x.keepsSpares = true
	setup := &scope{}
	defer func() {
		if r := recover(); r != nil { // a defect of ours: undo first, then say so
			out = outcome{verdict: event.Inconclusive, outcome: event.Failed, reason: fmt.Sprintf("a defect of chaos itself: %v", r)}
		}
		x.stopSampling()
		x.loops.Wait()
		x.closeProbes()
		if len(setup.faults) > 0 {
			x.stream.Emit(event.PhaseEntered{Phase: event.UndoSetup})
			x.undoScope(setup, event.UndoSetup)
		}
		x.dropSpares()
		out.left = x.leftOver
		out.restoration = event.Clean
		if len(out.left) > 0 {
			out.restoration = event.Incomplete
		}
	}()

	if err := x.setup(setup); err != nil {
		return x.ended(event.NotJudged, err)
	}
	if err := x.open(x.ctx, x.probeNames()); err != nil {
		return x.ended(event.NotJudged, err)
	}
	if err := x.replan(); err != nil {
		return x.ended(event.NotJudged, err)
	}
	if err := x.before(); err != nil {
		return x.ended(event.NotJudged, err)
	}
	if x.def.Inject == nil || x.run.opts.Rehearse {
		if x.run.opts.Rehearse {
			x.after()
		}
		return outcome{verdict: event.NotJudged, outcome: event.Completed}
	}
	err := x.inject()
	x.settle(err)
	x.judge(err != nil, false)
	x.rollback()
	x.after()
	if err == nil && x.ctx.Err() != nil { // a signal or the deadline, after the last undo
		err = context.Cause(x.ctx)
	}
	x.judge(err != nil, true)
	return x.ended(x.verdict(err), err)
}

// ended turns the error that ended a phase into an outcome.
func (x *experiment) ended(v event.Verdict, err error) outcome {
	out := outcome{verdict: v, outcome: event.Completed}
	var a *abort
	var pre *preconditionError
	var steady *unsteadyError
	var unfit *unfitGuard
	switch {
	case err == nil:
	case errors.As(err, &a) && a.by == "refuted":
		out.reason = a.text
	case errors.As(err, &a) && a.by == "helper":
		out.outcome, out.reason = event.Failed, a.text
	case errors.As(err, &a):
		out.outcome, out.by, out.reason = event.Aborted, a.by, a.text
	case errors.As(err, &pre), errors.As(err, &steady):
		out.outcome, out.reason = event.Unsteady, err.Error()
	case errors.As(err, &unfit):
		out.outcome, out.reason = event.Unfit, err.Error()
	default:
		out.outcome, out.reason = event.Failed, err.Error()
	}
	out.fileGuard = x.tripped != nil && x.tripped.File
	return out
}

// cancel aborts; only the first reason counts.
func (x *experiment) cancel(a *abort) {
	if x.ctx.Err() == nil {
		x.stream.Emit(event.Abort{By: a.by, Text: a.text})
	}
	x.abort(a)
}

func (x *experiment) setup(s *scope) error {
	if x.def.Setup == nil {
		return nil
	}
	x.board.enter(event.Setup)
	x.stream.Emit(event.PhaseEntered{Phase: event.Setup, Title: x.def.Setup.Title})
	return x.strand(x.ctx, event.Setup, func(on *strand) error {
		return x.statements(x.ctx, block{strand: on, scope: s, vars: x.vars}, x.def.Setup.Body)
	})
}

func (x *experiment) probeNames() []string {
	out := make([]string, len(x.def.Probes))
	for i, p := range x.def.Probes {
		out[i] = p.Name
	}
	return out
}

func (x *experiment) isProbe(name string) bool {
	return slices.ContainsFunc(x.def.Probes, func(p *check.Probe) bool { return p.Name == name })
}

// open starts sampling probes that are not sampled yet; setup may need some of them early.
func (x *experiment) open(ctx context.Context, names []string) error {
	x.openMu.Lock()
	defer x.openMu.Unlock()
	for _, def := range x.def.Probes {
		x.board.mu.Lock()
		_, open := x.board.probes[def.Name]
		x.board.mu.Unlock()
		if open || !slices.Contains(names, def.Name) {
			continue
		}
		if err := x.openOne(ctx, def); err != nil {
			return fmt.Errorf("probe `%s`: %w", def.Name, err)
		}
	}
	return nil
}

func (x *experiment) openOne(ctx context.Context, def *check.Probe) error {
	args, missing := x.arguments(def.Call, x.vars)
	if missing != "" {
		return errors.New(missing)
	}
	p := &probe{def: def, timeout: defaultTimeout, realign: make(chan time.Time, 1)}
	var err error
	if p.period, err = x.duration(def.Every, x.vars, defaultPeriod); err != nil {
		return err
	}
	if p.period <= 0 {
		return errors.New("`every` must be more than 0s")
	}
	factory, ok := x.reg.Probes.Probe(def.Call.Spec.Name)
	if !ok {
		return fmt.Errorf("there is no probe `%s`", def.Call.Spec.Name)
	}
	err = guardPanic(def.Call.Spec.Name, func() (err error) { p.opened, err = factory.Open(ctx, x.env, args); return err })
	if err != nil {
		return err
	}
	switch o := p.opened.(type) {
	case probes.Streamer:
		if err := guardPanic(def.Call.Spec.Name, func() error { return o.Start(x.sampling) }); err != nil {
			_ = guardPanic(def.Call.Spec.Name, o.Close) // it may hold something open since Open
			return err
		}
		began := time.Now()
		p.window = began
		x.add(p)
		x.loops.Go(func() { x.board.streamLoop(x.sampling, p, o, began) })
	case probes.Sampler:
		if t := o.Timeout(); t > 0 {
			p.timeout = t
		}
		x.add(p)
		x.loops.Go(func() { x.board.sampleLoop(x.sampling, p, o) })
	default:
		return errors.New("it neither samples nor streams")
	}
	return nil
}

func (x *experiment) add(p *probe) {
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	x.board.probes[p.def.Name] = p
}

func (x *experiment) closeProbes() {
	for _, p := range x.board.probes {
		if err := guardPanic(p.def.Call.Spec.Name, p.opened.Close); err != nil {
			x.stream.Emit(event.Note{Text: fmt.Sprintf("closing probe `%s`: %s", p.def.Name, err)})
		}
	}
}

// eval evaluates under the board's lock; samples before since are not seen.
func (x *experiment) eval(e *expr.Expr, v *vars, since time.Time) value.Value {
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	return e.Eval(x.board.env(v, since))
}

// duration evaluates a duration; a nil expression is the default.
func (x *experiment) duration(e *expr.Expr, v *vars, otherwise time.Duration) (time.Duration, error) {
	if e == nil {
		return otherwise, nil
	}
	d := x.eval(e, v, time.Time{})
	if d.IsMissing() {
		return otherwise, fmt.Errorf("`%s` has no value: %s", e.Text(), d.Why())
	}
	if d.Float() < 0 {
		return otherwise, fmt.Errorf("`%s` is %s, and time runs forwards only", e.Text(), d.Short())
	}
	return d.Duration(), nil
}

func (x *experiment) number(e *expr.Expr, v *vars) (float64, error) {
	n := x.eval(e, v, time.Time{})
	if n.IsMissing() {
		return 0, errors.New(n.Why())
	}
	if f := n.Float(); f < 0 || f != float64(int(f)) {
		return 0, fmt.Errorf("`%s` is %s, not a whole number", e.Text(), n.Short())
	}
	return n.Float(), nil
}

// newClaim prepares a check for judging; its clauses are fixed now.
func (x *experiment) newClaim(c *check.Check, section string) *claim {
	k := &claim{def: c, section: section, text: c.Text, names: x.direct(c.Cond)}
	if c.Tolerate != nil {
		k.tolerate = x.eval(c.Tolerate, x.vars, time.Time{}).Float()
	}
	k.within, _ = x.duration(c.Within, x.vars, 0)
	k.lasting, _ = x.duration(c.For, x.vars, 0)
	return k
}
