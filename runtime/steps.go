package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/event"
	"chaos/runtime/guardian"
	"chaos/runtime/target"
)

// block is where statements run: the strand, the scope that their faults end with, the values that they see.
type block struct {
	*strand
	scope *scope
	vars  *vars
	depth int
}

func (b block) inside(s *scope, v *vars) block {
	return block{strand: b.strand, scope: s, vars: v, depth: b.depth + 1}
}

// stepError is a step that failed; it ends inject with the outcome failed.
type stepError struct {
	text string
	err  error
}

func (e *stepError) Error() string { return e.text + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// preconditionError is an `expect` of setup that is not true: the system is not fit to be broken.
type preconditionError struct{ text string }

func (e *preconditionError) Error() string { return "the precondition is not met: " + e.text }

func (x *experiment) statements(ctx context.Context, b block, list []check.Stmt) error {
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := x.statement(ctx, b, s); err != nil {
			return err
		}
	}
	return nil
}

func (x *experiment) statement(ctx context.Context, b block, s check.Stmt) error {
	switch s := s.(type) {
	case *check.Step:
		return x.step(ctx, b, s)
	case *check.WaitFor:
		return x.waitFor(ctx, b, s)
	case *check.WaitUntil:
		return x.waitUntil(ctx, b, s)
	case *check.Repeat:
		return x.repeat(ctx, b, s)
	case *check.When:
		return x.when(ctx, b, s)
	case *check.Parallel:
		return x.parallel(ctx, b, s)
	case *check.Do:
		if s.Title != "" {
			x.stream.Emit(event.Heading{Phase: b.phase, Text: s.Title, Depth: b.depth})
		}
		return x.scoped(ctx, b, newVars(b.vars), s.Body)
	case *check.Composite:
		return x.composite(ctx, b, s)
	case *check.LetStmt:
		v := x.eval(s.Value, b.vars, time.Time{})
		if v.IsMissing() {
			return &stepError{text: "let " + s.Name, err: errors.New(v.Why())}
		}
		b.vars.set(s.Name, v)
		return nil
	case *check.Precondition:
		return x.precondition(ctx, b, s.Check)
	}
	return fmt.Errorf("a statement that the runtime does not know")
}

// scoped runs a body whose faults end with it, however it ends.
func (x *experiment) scoped(ctx context.Context, b block, v *vars, body []check.Stmt) error {
	if b.phase == event.Rollback || b.phase == event.Setup { // its steps are final; what setup started is stopped at the very end
		return x.statements(ctx, b.inside(b.scope, v), body)
	}
	s := &scope{}
	return b.within(x, s, func() error { return x.statements(ctx, b.inside(s, v), body) })
}

// composite runs the steps of an action that the script defines, with its arguments as they are now. Its faults go to the
// scope around it; with `for` they are held together and undone together, however the body ends.
func (x *experiment) composite(ctx context.Context, b block, s *check.Composite) error {
	args := newVars(x.vars) // not the names of the caller
	for _, a := range s.Args {
		v := x.eval(a.Value, b.vars, time.Time{})
		if v.IsMissing() {
			return &stepError{text: s.Text, err: fmt.Errorf("`%s` has no value: %s", x.missing(a.Value, b.vars, a.Name), v.Why())}
		}
		args.set(a.Name, v)
	}
	lasts, err := x.duration(s.For, b.vars, 0)
	if err != nil {
		return &stepError{text: s.Text, err: err}
	}
	text := s.Text
	if s.Because != "" {
		text += ", because " + s.Because
	}
	x.stream.Emit(event.Heading{Phase: b.phase, Text: text, Depth: b.depth})
	if lasts <= 0 {
		return x.statements(ctx, b.inside(b.scope, args), s.Body)
	}
	held := &scope{}
	err = b.within(x, held, func() error {
		if err := x.statements(ctx, b.inside(held, args), s.Body); err != nil {
			return err
		}
		x.stream.Emit(event.Waiting{Step: x.run.nextStep(), Phase: b.phase, Text: "hold it for " + short(lasts), Most: event.Seconds(lasts), Depth: b.depth + 1, At: place(s.Span)})
		return x.hold(ctx, s.Text, lasts, slices.Clone(held.faults)...)
	})
	x.stepDone()
	return err
}

func (x *experiment) repeat(ctx context.Context, b block, s *check.Repeat) error {
	if s.In == nil {
		n, err := x.number(s.Times, b.vars)
		if err != nil {
			return &stepError{text: "repeat", err: err}
		}
		for i := range int(n) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			x.stream.Emit(event.Heading{Phase: b.phase, Text: fmt.Sprintf("repeat %d of %d", i+1, int(n)), Depth: b.depth})
			if err := x.scoped(ctx, b, newVars(b.vars), s.Body); err != nil {
				return err
			}
		}
		return nil
	}
	list := x.eval(s.In, b.vars, time.Time{})
	if list.IsMissing() {
		return &stepError{text: "repeat " + s.Name, err: errors.New(list.Why())}
	}
	for _, item := range list.Items() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		x.stream.Emit(event.Heading{Phase: b.phase, Text: s.Name + " = " + item.Short(), Depth: b.depth})
		v := newVars(b.vars)
		v.set(s.Name, item)
		if err := x.scoped(ctx, b, v, s.Body); err != nil {
			return err
		}
	}
	return nil
}

func (x *experiment) when(ctx context.Context, b block, s *check.When) error {
	if err := x.ready(ctx, b, s.Cond); err != nil {
		return err
	}
	v := x.eval(s.Cond, b.vars, x.fresh(b))
	branch, answer := s.Then, "yes"
	switch {
	case v.IsMissing() && b.phase == event.Rollback:
		x.stream.Emit(event.Note{Text: fmt.Sprintf("when %s: no data (%s), so rollback takes the first branch", s.Cond.Text(), v.Why())})
	case v.IsMissing():
		return &stepError{text: "when " + s.Cond.Text(), err: errors.New("no data: " + v.Why())}
	case !v.Bool():
		branch, answer = s.Else, "no"
	}
	x.stream.Emit(event.Heading{Phase: b.phase, Text: "when " + s.Cond.Text() + ": " + answer, Depth: b.depth})
	return x.statements(ctx, b.inside(b.scope, newVars(b.vars)), branch)
}

// parallel runs each branch; the first that fails cancels the others, and its error is the block's.
func (x *experiment) parallel(ctx context.Context, b block, s *check.Parallel) error {
	pctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	for _, branch := range s.Branches {
		wg.Go(func() {
			err := x.strand(pctx, b.phase, func(on *strand) error {
				in := b.inside(b.scope, newVars(b.vars))
				in.strand = on
				return x.statement(pctx, in, branch)
			})
			if err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return first
}

func (x *experiment) waitFor(ctx context.Context, b block, s *check.WaitFor) error {
	d, err := x.duration(s.Duration, b.vars, 0)
	if err != nil {
		return &stepError{text: s.Text, err: err}
	}
	text := s.Text
	if _, constant := s.Duration.Const(); !constant {
		text += " = " + short(d)
	}
	x.stream.Emit(event.Waiting{Step: x.run.nextStep(), Phase: b.phase, Text: text, Most: event.Seconds(d), Depth: b.depth, At: place(s.Span)})
	return pause(ctx, d)
}

// pause waits and returns the reason of a cancellation.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// waitUntil looks only at samples that started after it was reached.
func (x *experiment) waitUntil(ctx context.Context, b block, s *check.WaitUntil) error {
	fail := func(err error) error { return &stepError{text: s.Text, err: err} }
	within, err := x.duration(s.Within, b.vars, 0)
	if err != nil {
		return fail(err)
	}
	lasting, err := x.duration(s.For, b.vars, 0)
	if err != nil {
		return fail(err)
	}
	names := x.probesIn(s.Cond, b.vars)
	if err := x.open(ctx, names); err != nil {
		return fail(err)
	}
	reached := time.Now()
	step := x.run.nextStep()
	x.stream.Emit(event.Waiting{Step: step, Phase: b.phase, Text: s.Text, Most: event.Seconds(within), Depth: b.depth, At: place(s.Span)})
	var since time.Time
	met := make(chan struct{})
	var once sync.Once
	look := func(at time.Time, _ bool) {
		if v := s.Cond.Eval(x.board.env(b.vars, reached)); v.IsMissing() || !v.Bool() {
			since = time.Time{}
			return
		}
		if since.IsZero() {
			since = at
		}
		if at.Sub(since) >= lasting {
			once.Do(func() { close(met) })
		}
	}
	w := x.board.watch(&watcher{names: names, since: reached, fire: look})
	defer x.board.unwatch(w)
	ended := func(status, why string) {
		x.stream.Emit(event.StepEnded{Step: step, Status: status, Error: why, Took: event.Seconds(time.Since(reached))})
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-met:
		ended("done", "")
		return nil
	case <-ctx.Done():
		ended("cancelled", "")
		return context.Cause(ctx)
	case <-t.C:
	}
	x.board.mu.Lock()
	ops := operands(s.Cond, x.board.env(b.vars, reached))
	x.board.mu.Unlock()
	parts := make([]string, len(ops))
	for i, o := range ops {
		parts[i] = o.Text + " = " + o.Value
	}
	why := fmt.Sprintf("not met within %s: %s", short(within), strings.Join(parts, ", "))
	ended("failed", why)
	return fail(errors.New(why))
}

func (x *experiment) precondition(ctx context.Context, b block, c *check.Check) error {
	if err := x.ready(ctx, b, c.Cond); err != nil {
		return err
	}
	k := x.newClaim(c, "setup")
	x.board.mu.Lock()
	k.observe(x.board.env(b.vars, time.Time{}), time.Now(), true)
	x.board.mu.Unlock()
	res, detail := k.judge(time.Now(), false)
	x.stream.Emit(k.event(res, detail, time.Time{}))
	if res != held {
		return &preconditionError{text: k.text}
	}
	return nil
}

// ready makes sure that every probe that an expression reads has a sample, so that what follows is not a race with the
// first one.
func (x *experiment) ready(ctx context.Context, b block, e *expr.Expr) error {
	names := x.probesIn(e, b.vars)
	if err := x.open(ctx, names); err != nil {
		return &stepError{text: e.Text(), err: err}
	}
	since := x.fresh(b)
	if !x.board.until(ctx.Done(), func() bool { return x.board.have(names, since) }) {
		return context.Cause(ctx)
	}
	return nil
}

// fresh is how young a sample must be for a decision: rollback decides on the world as it is now that everything is undone,
// inject on the world after its latest step.
func (x *experiment) fresh(b block) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.phase == event.Rollback {
		return x.undone
	}
	return x.lastStep
}

// step runs one action: plan, intend, act, verify, and with `for` hold and undo.
func (x *experiment) step(ctx context.Context, b block, s *check.Step) error {
	id := x.run.nextStep()
	begun := time.Now()
	fail := func(err error, started bool) error {
		if !started {
			x.stream.Emit(event.StepStarted{Step: id, Phase: b.phase, Text: s.Text, Depth: b.depth, Because: s.Because, At: place(s.Span)})
		}
		status := "failed"
		if ctx.Err() != nil {
			status = "cancelled"
		}
		x.stream.Emit(event.StepEnded{Step: id, Status: status, Error: err.Error(), Took: event.Seconds(time.Since(begun))})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &stepError{text: s.Text, err: err}
	}
	lasts, err := x.duration(s.For, b.vars, 0)
	if err != nil {
		return fail(err, false)
	}
	args, missing := x.arguments(s.Call, b.vars)
	if missing != "" {
		return fail(errors.New(missing), false)
	}
	plan, err := x.planStep(ctx, s, args, b.vars)
	if err == nil {
		err = x.run.lock(s.Call.Spec, plan)
	}
	if err != nil {
		return fail(err, false)
	}
	if len(plan.Missing) > 0 {
		return fail(errors.New(needs(plan.Missing)), false)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	x.stream.Emit(event.StepStarted{Step: id, Phase: b.phase, Text: s.Text, Name: s.As, Does: plan.Does, Lifetime: lifetime(s.Call.Spec, plan), Depth: b.depth,
		For: event.Seconds(lasts), Because: s.Because, At: place(s.Span)})
	if plan.Inject == nil {
		return fail(errors.New("it has nothing to do here"), true)
	}
	if b.phase == event.During && !s.Call.Spec.Harmless {
		x.beginDuring()
	}
	led := &ledger{x: x, step: id, text: s.Text, lasts: lasts}
	var got actions.Fault
	var f *fault
	err = b.act(&acting{text: s.Text, lost: func(err error) error {
		led.close()
		f = x.leaves(b, s, plan, led, actions.Fault{}, err)
		f.undone = make(chan struct{})
		return fail(err, true)
	}, late: func() { x.undoLate(f, got.Hold) }}, func() error {
		return guardPanic(s.Call.Spec.Name, func() (err error) { got, err = plan.Inject(ctx, led); return err })
	})
	f = x.leaves(b, s, plan, led, got, err)
	if err != nil {
		return fail(err, true)
	}
	ended := event.StepEnded{Step: id, Status: "done", Note: got.Note}
	if got.Effect != nil {
		effect, detail := x.effect(ctx, s, got)
		ended.Effect, ended.Detail = string(effect), detail
		if effect == actions.No && b.phase == event.During {
			x.noEffect(s.Text, detail)
		}
	}
	ended.Took = event.Seconds(time.Since(begun))
	x.stream.Emit(ended)
	if s.As != "" {
		b.vars.set(s.As, got.Result)
		if b.depth == 0 {
			x.vars.set(s.As, got.Result)
		}
	}
	x.stepDone()
	if lasts <= 0 {
		return nil
	}
	werr := x.hold(ctx, s.Text, lasts, f)
	if f := b.scope.take(f); f != nil && !x.undoFault(f, b.phase) && werr == nil {
		werr = errNotUndone
	}
	x.stepDone()
	return werr
}

// leaves puts what a step left into the scope around it. Whatever was intended is undone, also after a failure, a panic or
// an abort in the middle of the act.
func (x *experiment) leaves(b block, s *check.Step, plan actions.Plan, led *ledger, got actions.Fault, err error) *fault {
	f := &fault{step: led.step, text: s.Text, name: s.As, does: cmp.Or(got.Leaves, plan.Does), phase: b.phase, hold: got.Hold, last: got.Last, records: led.taken(), applied: time.Now()}
	f.records = slices.DeleteFunc(f.records, func(r record) bool {
		switch {
		case slices.Contains(got.Void, r.id):
			x.spare(r, led.lasts)
		case b.phase == event.Rollback && err == nil: // its steps are final
			x.void(r)
		default:
			return false
		}
		return true
	})
	for i, r := range f.records {
		if r.step != led.step { // it was another step's, and void
			f.records[i].step = led.step
			x.stream.Emit(event.UndoState{ID: r.id, Step: led.step, State: "intended", Text: s.Text})
		}
	}
	if left := f.hold != nil || len(f.records) > 0; left && b.phase != event.Rollback {
		b.scope.push(f)
	}
	return f
}

// hold lets faults last.
func (x *experiment) hold(ctx context.Context, text string, lasts time.Duration, faults ...*fault) error {
	for _, f := range faults {
		x.run.setDeadline(f.records, lasts)
	}
	held := time.Now()
	err := pause(ctx, lasts)
	if over := time.Since(held) - lasts; err == nil && over > guardian.DeadlineGrace {
		return &stepError{text: text, err: fmt.Errorf("it lasted %s too long, since chaos itself was stopped meanwhile", short(over))}
	}
	return err
}

const effectLimit = 5 * time.Second

// effect asks an action whether its fault bit. A question that fails or hangs is answered with unknown.
func (x *experiment) effect(ctx context.Context, s *check.Step, f actions.Fault) (effect actions.Effect, detail string) {
	ectx, cancel := context.WithTimeout(ctx, effectLimit)
	defer cancel()
	type answer struct {
		effect actions.Effect
		detail string
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		if err := guardPanic(s.Call.Spec.Name, func() error { a.effect, a.detail = f.Effect(ectx); return nil }); err != nil {
			a = answer{actions.Unknown, err.Error()}
		}
		done <- a
	}()
	select {
	case a := <-done:
		return a.effect, a.detail
	case <-ectx.Done():
		return actions.Unknown, "nothing could be seen within " + short(effectLimit)
	}
}

// planStep plans a step with the arguments as they are now.
func (x *experiment) planStep(ctx context.Context, s *check.Step, args map[string]value.Value, v *vars) (plan actions.Plan, err error) {
	a, ok := x.reg.Actions.Action(s.Call.Spec.Name)
	if !ok {
		return plan, fmt.Errorf("there is no action `%s`", s.Call.Spec.Name)
	}
	e := x.stepEnv(s.As)
	if e.Pick, err = x.pick(s, v); err != nil {
		return plan, err
	}
	err = guardPanic(s.Call.Spec.Name, func() (err error) { plan, err = a.Plan(ctx, e, args); return err })
	return plan, err
}

func (x *experiment) pick(s *check.Step, v *vars) (target.Pick, error) {
	if s.PickAll {
		return target.Pick{All: true, List: true}, nil
	}
	if s.Pick == nil {
		return target.Pick{}, nil
	}
	p := x.eval(s.Pick, v, time.Time{})
	switch {
	case p.IsMissing():
		return target.Pick{}, errors.New("`pick`: " + p.Why())
	case p.T.Kind == value.Ratio && p.Float() > 0:
		return target.Pick{Ratio: p.Float(), List: true}, nil
	case p.Float() >= 1 && p.Float() == float64(int(p.Float())):
		return target.Pick{Count: int(p.Float()), List: s.Pick.Text() != "1"}, nil
	}
	return target.Pick{}, fmt.Errorf("`pick %s` picks nothing: it takes a whole number from 1, or a ratio", p)
}

// arguments evaluates a call's arguments; why says what is missing.
func (x *experiment) arguments(c *check.Call, v *vars) (args map[string]value.Value, why string) {
	args = make(map[string]value.Value, len(c.Args))
	for _, p := range c.Spec.Params {
		e, ok := c.Args[p.Name]
		if !ok {
			continue
		}
		val := x.eval(e, v, time.Time{})
		if val.IsMissing() {
			return nil, fmt.Sprintf("`%s` has no value: %s", x.missing(e, v, p.Name), val.Why())
		}
		args[p.Name] = val
	}
	return args, ""
}

// missing names what has no data in an expression: its first operand without, else what the expression is for.
func (x *experiment) missing(e *expr.Expr, v *vars, otherwise string) string {
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	env := x.board.env(v, time.Time{})
	for _, o := range e.Operands() {
		if o.Value(env).IsMissing() {
			return o.Text
		}
	}
	return otherwise
}

func lifetime(c *spec.Call, p actions.Plan) string {
	if c.Harmless {
		return ""
	}
	return string(p.Lifetime)
}

func needs(list []spec.Need) string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = fmt.Sprintf("%s `%s` is missing", n.Kind, n.Name)
		if n.Install != "" {
			parts[i] += " (" + n.Install + ")"
		}
	}
	return strings.Join(parts, "; ")
}

// probesIn lists the probes that an expression reads where a parameter of a definition may be called like one.
func (x *experiment) probesIn(e *expr.Expr, v *vars) []string {
	return slices.DeleteFunc(x.direct(e), func(n string) bool { _, bound := v.get(n); return bound })
}

// direct lists the probes whose latest samples an expression reads, those behind `steady` included.
func (x *experiment) direct(e *expr.Expr) []string {
	var out []string
	add := func(n string) {
		if x.isProbe(n) && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	for _, o := range e.Operands() {
		if o.Path[0] == "steady" && x.def.Steady != nil {
			for _, c := range x.def.Steady.Checks {
				for _, n := range x.direct(c.Cond) {
					add(n)
				}
			}
			continue
		}
		add(o.Path[0])
	}
	return out
}
