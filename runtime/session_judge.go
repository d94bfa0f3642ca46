package runtime

import (
	"context"
	"errors"
	"time"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/runtime/event"
)

// Planned is what a step would do.
type Planned struct {
	Step         *check.Step
	Err          error  // why it cannot be done
	Later        string // why that is not known yet: what it acts on comes with the steps before it
	Does         string
	Targets      []string
	Undo         []string
	Lifetime     string
	Missing      string // what this machine lacks
	Irreversible bool
	Harmless     bool
}

// Plan looks up what the steps in statements would do now. It has no side effect.
func (s *Session) Plan(ctx context.Context, list []check.Stmt) []Planned {
	x, v := s.present()
	return x.planned(ctx, list, v)
}

func (x *experiment) planned(ctx context.Context, list []check.Stmt, v *vars) (out []Planned) {
	for _, st := range list {
		switch st := st.(type) {
		case *check.Step:
			out = append(out, x.plannedStep(ctx, st, v))
		case *check.Repeat:
			for _, pass := range x.passes(st, v) {
				out = append(out, x.planned(ctx, st.Body, pass)...)
			}
		case *check.When:
			out = append(append(out, x.planned(ctx, st.Then, v)...), x.planned(ctx, st.Else, v)...)
		case *check.Parallel:
			out = append(out, x.planned(ctx, st.Branches, v)...)
		case *check.Do:
			out = append(out, x.planned(ctx, st.Body, v)...)
		case *check.Composite:
			args := newVars(x.vars)
			for _, a := range st.Args {
				if val := x.eval(a.Value, v, time.Time{}); !val.IsMissing() {
					args.set(a.Name, val)
				}
			}
			out = append(out, x.planned(ctx, st.Body, args)...)
		}
	}
	return out
}

// passes are the values that each pass of a `repeat` over a list sees; of a long one, or of one that only counts, one pass
// stands for all.
func (x *experiment) passes(st *check.Repeat, v *vars) []*vars {
	const most = 10
	if st.In == nil {
		return []*vars{v}
	}
	list := x.eval(st.In, v, time.Time{}).Items()
	if len(list) == 0 || len(list) > most {
		return []*vars{v}
	}
	var out []*vars
	for _, item := range list {
		pass := newVars(v)
		pass.set(st.Name, item)
		out = append(out, pass)
	}
	return out
}

func (x *experiment) plannedStep(ctx context.Context, step *check.Step, v *vars) Planned {
	out := Planned{Step: step, Harmless: step.Call.Spec.Harmless, Irreversible: irreversibleSpec(step.Call.Spec, step.Call)}
	args, missing := x.arguments(step.Call, v)
	if missing != "" {
		out.Later = missing
		return out
	}
	plan, err := x.planStep(ctx, step, args, v)
	if err != nil {
		out.Err = err
		return out
	}
	out.Does, out.Undo, out.Lifetime, out.Irreversible = plan.Does, plan.Undo, lifetime(step.Call.Spec, plan), irreversible(step.Call, plan)
	for _, t := range plan.Targets {
		out.Targets = append(out.Targets, t.String())
	}
	if len(plan.Missing) > 0 {
		out.Missing = needs(plan.Missing)
	}
	return out
}

func irreversible(c *check.Call, p actions.Plan) bool {
	return p.Lifetime == actions.Irreversible || irreversibleSpec(c.Spec, c)
}

func irreversibleSpec(s *spec.Call, c *check.Call) bool {
	return s.Irreversible(func(arg string) bool { _, ok := c.Args[arg]; return ok })
}

// Injected tells whether the round has begun to break things.
func (s *Session) Injected() bool {
	x, _ := s.present()
	return !x.injectAt.IsZero()
}

// Expect judges a condition once, on samples that started after the latest step. A false one that was expected while
// something is broken counts against the hypothesis.
func (s *Session) Expect(ctx context.Context, c *check.Check) (ok bool, err error) {
	ctx, done, err := s.start(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	since, err := s.fresh(ctx, c.Cond)
	if err != nil {
		return false, err
	}
	x := s.x
	k := x.newClaim(c, "setup")
	x.board.mu.Lock()
	k.observe(x.board.env(s.vars, since), time.Now(), true)
	x.board.mu.Unlock()
	res, detail := k.judge(time.Now(), false)
	x.stream.Emit(k.event(res, detail, time.Time{}))
	if res != held && !x.injectAt.IsZero() {
		k.section = "hypothesis"
		s.explicit()
		x.board.mu.Lock()
		x.claims = append(x.claims, k)
		x.board.mu.Unlock()
	}
	return res == held, nil
}

// Claim adds a check of the hypothesis. Before the first injection it waits for that; behind it, it is judged from now on.
func (s *Session) Claim(ctx context.Context, c *check.Check) error {
	if !s.Injected() {
		return nil // beginDuring finds it in the experiment
	}
	ctx, done, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer done()
	x := s.x
	s.explicit()
	list := []*check.Check{c}
	if c.Kind == check.AlwaysSteady {
		list = nil
		if x.def.Steady != nil {
			for _, one := range x.def.Steady.Checks {
				copied := *one
				copied.Kind = check.Always
				list = append(list, &copied)
			}
		}
	}
	for _, c := range list {
		k := x.newClaim(c, "hypothesis")
		if err := x.open(ctx, k.names); err != nil {
			return err
		}
		now := time.Now()
		x.board.mu.Lock()
		x.claims = append(x.claims, k)
		x.board.mu.Unlock()
		if c.Kind != check.Expect {
			w := &watcher{names: k.names, since: now, fire: func(at time.Time, all bool) { x.look(k, at, all) }}
			x.watching[k] = x.board.watch(w)
		}
	}
	return nil
}

// explicit drops `always steady`, which stands for a hypothesis that nobody wrote, now that somebody writes one.
func (s *Session) explicit() {
	if !s.implicit {
		return
	}
	s.implicit = false
	x := s.x
	for k, w := range x.watching {
		x.board.unwatch(w)
		delete(x.watching, k)
	}
	x.board.mu.Lock()
	x.claims = nil
	x.board.mu.Unlock()
}

// Operands reads what an expression is made of, on the samples and summaries as they are now.
func (s *Session) Operands(ctx context.Context, e *expr.Expr) ([]event.Operand, error) {
	ctx, done, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := s.fresh(ctx, e); err != nil {
		return nil, err
	}
	s.x.board.mu.Lock()
	defer s.x.board.mu.Unlock()
	return operands(e, s.x.board.env(s.vars, time.Time{})), nil
}

// Standing is how a claim stands so far.
type Standing struct {
	Text   string
	Result string // held, refuted, inconclusive
	Detail string
}

// Standings tells how the hypothesis stands, without deciding it.
func (s *Session) Standings() []Standing {
	x, _ := s.present()
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	var out []Standing
	for _, k := range x.claims {
		if k.evals == 0 {
			out = append(out, Standing{Text: k.text, Result: string(inconclusive), Detail: "not judged yet"})
			continue
		}
		trial := *k
		res, detail := trial.judge(time.Now(), true)
		out = append(out, Standing{Text: k.text, Result: string(res), Detail: detail})
	}
	return out
}

// Steady waits until the steady state holds for its window, as before an injection; what says what did not hold.
func (s *Session) Steady(ctx context.Context) (what string, err error) {
	ctx, done, err := s.start(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	x := s.x
	if x.def.Steady == nil || len(x.def.Steady.Checks) == 0 {
		return "", errors.New("there is no steady state: enter `steady { expect … }`, or an `expect`")
	}
	retry, err := x.duration(x.def.Steady.Settle, x.vars, 0)
	if err != nil {
		return "", err
	}
	if err := x.open(ctx, x.probeNames()); err != nil {
		return "", err
	}
	phase := event.Before
	if !x.injectAt.IsZero() {
		phase = event.During
	}
	x.stream.Emit(event.PhaseEntered{Phase: event.Before, Title: x.def.Steady.Title, Detail: x.windowText()})
	began := time.Now()
	what, err = s.window(ctx, phase, retry)
	if err == nil {
		x.stream.Emit(event.PhaseEnded{Phase: event.Before, OK: what == "", Detail: what, Took: event.Seconds(time.Since(began))})
	}
	return what, err
}

// window is that of before. Once something is broken no phase may be entered anew, since what was seen so far would be
// forgotten; then each check is judged once.
func (s *Session) window(ctx context.Context, phase event.Phase, retry time.Duration) (string, error) {
	x := s.x
	if phase == event.Before {
		return x.window(ctx, phase, "steady", retry)
	}
	failed := ""
	for _, c := range x.def.Steady.Checks {
		since, err := s.fresh(ctx, c.Cond)
		if err != nil {
			return "", err
		}
		k := x.newClaim(c, "steady")
		x.board.mu.Lock()
		k.observe(x.board.env(s.vars, since), time.Now(), true)
		x.board.mu.Unlock()
		res, detail := k.judge(time.Now(), false)
		x.stream.Emit(k.event(res, detail, time.Time{}))
		if res != held && failed == "" {
			failed = k.text + " (" + detail + ")"
		}
	}
	return failed, nil
}

// Judge ends the round: everything but setup is undone, the hypothesis is decided, and the steady state has to come back.
func (s *Session) Judge(ctx context.Context) error {
	_, done, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer done()
	s.endRound(ctx, false, false)
	s.newRound(s.vars)
	return nil
}

// afterAbort ends a round that a guard or a lost helper has aborted, and starts the next.
func (s *Session) afterAbort() {
	if s.x.ctx.Err() == nil || s.journal == nil {
		return
	}
	s.endRound(context.Background(), true, false)
	s.newRound(s.vars)
}

// endRound undoes, judges and says what came of it. With last, setup is undone too.
func (s *Session) endRound(ctx context.Context, hurry, last bool) {
	x := s.x
	s.live()
	var err error
	switch {
	case x.ctx.Err() != nil:
		err = context.Cause(x.ctx)
	case hurry && last: // only a signal is in such a hurry
		a := &abort{by: "signal", text: "interrupted by a signal"}
		x.stream.Emit(event.Abort{By: a.by, Text: a.text})
		err = a
	}
	injected := !x.injectAt.IsZero()
	if injected && err == nil && !hurry {
		s.lastLook(ctx)
	}
	if n := len(s.open.faults); n > 0 {
		x.stream.Emit(event.PhaseEntered{Phase: event.Undo, Detail: plural(n, "fault")})
	}
	s.undoAll(s.open, event.Undo)
	s.ending.Wait() // those whose time came just now
	verdict := event.NotJudged
	if injected {
		stopped := err
		if hurry && stopped == nil {
			stopped = errHurry
		}
		stop := context.AfterFunc(ctx, func() { // nobody wants to wait any longer
			x.abort(errHurry)
			s.run.mu.Lock()
			close(s.run.signaled)
			s.run.signaled = make(chan struct{})
			s.run.mu.Unlock()
		})
		x.settle(stopped)
		x.judge(stopped != nil, true)
		if !hurry && !last && ctx.Err() == nil {
			x.after()
		}
		stop()
		verdict = x.verdict(err)
	}
	x.stopSampling()
	x.loops.Wait()
	x.closeProbes()
	if last && len(s.setup.faults) > 0 {
		x.stream.Emit(event.PhaseEntered{Phase: event.UndoSetup})
		s.undoAll(s.setup, event.UndoSetup)
	}
	out := x.ended(verdict, err)
	out.left, out.restoration = x.leftOver, event.Clean
	if len(out.left) > 0 {
		out.restoration = event.Incomplete
	}
	exit := exitCode(out, len(x.fruitless) > 0)
	s.exit = worse(s.exit, exit)
	s.left = append(s.left, out.left...)
	x.stream.Emit(event.ExperimentEnded{Title: x.def.Title, Verdict: out.verdict, Outcome: out.outcome, Reason: out.reason, Restoration: out.restoration,
		Left: out.left, Exit: exit, Took: event.Seconds(time.Since(x.began))})
	x.abort(nil)
}

var errHurry = errors.New("the session was left")

// lastLook gives every probe that the hypothesis names a sample with the faults in place, as at the end of inject.
func (s *Session) lastLook(ctx context.Context) {
	x := s.x
	last := x.injectAt
	x.mu.Lock()
	if x.lastStep.After(last) {
		last = x.lastStep
	}
	x.mu.Unlock()
	var names []string
	for _, k := range x.claims {
		names = append(names, k.names...)
		names = append(names, x.summarised(k)...)
	}
	x.board.until(ctx.Done(), func() bool { return x.board.have(names, last) })
}

func (s *Session) undoAll(from *scope, phase event.Phase) {
	for f := from.take(nil); f != nil; f = from.take(nil) {
		s.x.undoFault(f, phase)
		s.forget(f)
	}
}

// Aborted tells that an input was ended by its round: by a guard, or by the loss of a helper, which said so.
func Aborted(err error) bool {
	var a *abort
	return errors.As(err, &a)
}
