package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/event"
	"chaos/runtime/target"
)

// plan looks up what every step would touch, as far as it can be known now, locks that against other runs, and reports
// what is missing. The locks are all that it does.
func (x *experiment) plan(ctx context.Context) []diag.Diagnostic {
	plan, problems := x.survey(ctx, x.run.lock)
	x.expected = plan.Longest
	return problems
}

// survey is the plan of an experiment, with what does not fit. It has no side effect but that of lock, which is called with
// what a step of inject is sure to act on.
func (x *experiment) survey(ctx context.Context, lock func(*spec.Call, actions.Plan) error) (*ExperimentPlan, []diag.Diagnostic) {
	var out []diag.Diagnostic
	plan := x.outline()
	for i, def := range x.def.Probes {
		err := x.planProbe(ctx, def)
		if err != nil {
			plan.Probes[i].Problem = err.Error()
			out = append(out, diag.Errorf(diag.Unfit, def.Call.Span, "probe `%s`: %s", def.Name, err))
		}
		for _, n := range def.Call.Spec.Needs {
			state := "unknown"
			if err == nil && plan.Probes[i].Later == "" && n.Kind != "privilege" { // without a privilege many probes open, and show less
				state = "here" // or it would not have opened
			}
			plan.need(PlannedNeed{Kind: n.Kind, Name: n.Name, Install: n.Install, State: state}, "probe "+def.Name)
		}
	}
	names := x.boundIn(x.def.Setup, fromSetup)
	for name, o := range x.boundIn(x.def.Inject, fromStep) {
		names[name] = o
	}
	steps := map[event.Phase]extent{}
	for _, section := range []struct {
		phase event.Phase
		def   *check.Section
		ends  string
	}{
		{event.Setup, x.def.Setup, endsLast},
		{event.During, x.def.Inject, endsWithInject},
		{event.Rollback, x.def.Rollback, endsNever},
	} {
		if section.def == nil {
			continue
		}
		w := &walker{x: x, step: func(s *check.Step, in inside, v *vars) PlannedStep {
			row, err := x.surveyStep(ctx, section.phase, s, in, v, lock)
			if err != nil {
				row.State, row.Why = Unfit, err.Error()
				out = append(out, diag.Errorf(diag.Unfit, s.Call.Span, "%s", err))
			}
			return row
		}}
		steps[section.phase] = w.walk(section.def.Body, inside{ends: section.ends, names: names}, x.vars)
		plan.section(section.phase).Steps = w.rows
	}
	plan.add(steps)
	plan.Longest = x.longest(steps)
	return plan, out
}

// surveyStep plans one step. The error is why it does not fit.
func (x *experiment) surveyStep(ctx context.Context, phase event.Phase, s *check.Step, in inside, v *vars, lock func(*spec.Call, actions.Plan) error) (PlannedStep, error) {
	row := describe(s, in)
	if d, err := x.duration(s.For, v, 0); s.For != nil && row.Ends != "" && err == nil {
		row.Ends = "after " + short(d)
	}
	args, missing := x.arguments(s.Call, v)
	if missing != "" { // a handle, a loop name or a sample: known when the step is reached
		row.later(x.origin(s.Call, in, v), missing)
		if row.Harmless { // it acts on nothing: only its words are not known yet
			row.Why = ""
		}
		return row, x.lacking(phase, s.Call.Spec, in)
	}
	plan, err := x.planStep(ctx, s, args, v)
	var none *target.NoneError
	var busy *target.BusyError
	switch {
	case errors.As(err, &none) && x.def.Setup != nil:
		row.later(origin{when: AfterSetup, why: err.Error() + " yet"}, "")
		if phase == event.Setup || in.conditional {
			row.State = WhenReached
		}
		return row, x.lacking(phase, s.Call.Spec, in)
	case err != nil && (in.conditional || phase == event.Rollback):
		// perhaps never needed, or on another world than today's: asked again right before the step
		row.later(origin{when: WhenReached, why: "now: " + err.Error()}, "")
	case errors.As(err, &busy) && phase == event.During:
		row.later(origin{when: WhenReached, why: err.Error() + "; a step before it may make room"}, "")
	case err != nil:
		return row, err
	default:
		row.fill(s, plan)
		if len(plan.Missing) > 0 {
			return row, errors.New(needs(plan.Missing))
		}
		if !in.conditional && phase == event.During {
			return row, lock(s.Call.Spec, plan)
		}
	}
	return row, nil
}

// lacking is what stops a step already now whose target is not there yet: what this machine lacks for any. A step that may
// never run, or only on another world than today's, is asked again when it is reached.
func (x *experiment) lacking(phase event.Phase, call *spec.Call, in inside) error {
	if x.run.opts.Lacks == nil || in.maybe || phase == event.Rollback {
		return nil
	}
	if list := x.run.opts.Lacks(call); len(list) > 0 {
		return errors.New(needs(list))
	}
	return nil
}

// planProbe opens a probe whose arguments are known and closes it again: opening has no side effect, and finds an address
// that is none or a tool that is missing. What setup may still bring, such as a device, is looked for when sampling begins.
func (x *experiment) planProbe(ctx context.Context, def *check.Probe) error {
	args, missing := x.arguments(def.Call, x.vars)
	factory, ok := x.reg.Probes.Probe(def.Call.Spec.Name)
	if missing != "" || !ok {
		return nil
	}
	return guardPanic(def.Call.Spec.Name, func() error {
		opened, err := factory.Open(ctx, x.env, args)
		var none *target.NoneError
		if errors.As(err, &none) && x.def.Setup != nil {
			return nil
		}
		if err != nil {
			return err
		}
		return opened.Close()
	})
}

// replan looks again after setup, before anything is injected: what setup was expected to bring must be there now.
func (x *experiment) replan() error {
	if x.def.Inject == nil {
		return nil
	}
	var failed error
	w := &walker{x: x, step: func(s *check.Step, in inside, v *vars) PlannedStep {
		if in.conditional || failed != nil {
			return PlannedStep{}
		}
		args, missing := x.arguments(s.Call, v)
		if missing != "" {
			return PlannedStep{}
		}
		ctx, cancel := context.WithTimeout(x.ctx, 30*time.Second)
		defer cancel()
		plan, err := x.planStep(ctx, s, args, v)
		var busy *target.BusyError
		if errors.As(err, &busy) {
			return PlannedStep{}
		}
		if err == nil && len(plan.Missing) > 0 {
			err = errors.New(needs(plan.Missing))
		}
		if err != nil {
			failed = &stepError{text: s.Text, err: fmt.Errorf("planned again after setup: %w", err)}
		}
		return PlannedStep{}
	}}
	w.walk(x.def.Inject.Body, inside{}, x.vars)
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return failed
}

// inside is where a statement stands, for a walk.
type inside struct {
	conditional bool // it may never run, or run on another target
	maybe       bool // it may never run
	depth       int
	ends        string            // what its faults end with
	names       map[string]origin // of what is bound on the way
}

// origin is where something comes from that is not known yet.
type origin struct {
	when State
	why  string
}

// What the faults of a body end with.
const (
	endsLast       = "at the very end"
	endsWithInject = "with inject"
	endsWithDo     = "with its `do`"
	endsWithPass   = "with its pass of `repeat`"
	endsNever      = "never: what rollback does is final"
)

func fromSetup(name string) origin {
	return origin{AfterSetup, "`" + name + "` is what setup returns"}
}

func fromStep(name string) origin {
	return origin{WhenReached, "`" + name + "` is what a step before it returns"}
}

func (in inside) with(name string, o origin) inside {
	names := make(map[string]origin, len(in.names)+1)
	for k, v := range in.names {
		names[k] = v
	}
	names[name] = o
	in.names = names
	return in
}

// walker visits the statements of a body in order, with the values that they see as far as they are known.
type walker struct {
	x    *experiment
	step func(*check.Step, inside, *vars) PlannedStep
	rows []PlannedStep
}

// walk says how long the body may take and what it leaves, as far as that can be known.
func (w *walker) walk(list []check.Stmt, in inside, v *vars) extent {
	later := func(name string) { // in a definition, so that it is not taken for a name of the experiment
		if v != w.x.vars && name != "" {
			v.set(name, value.NoData("`%s` is not known yet", name))
		}
	}
	var sum extent
	for _, s := range list {
		switch s := s.(type) {
		case *check.Step:
			row := w.step(s, in, v)
			e := w.x.extentOf(s, row, v)
			row.Longest = event.Seconds(e.most)
			w.rows = append(w.rows, row)
			sum = sum.then(e)
			later(s.As)
		case *check.LetStmt:
			later(s.Name)
			in = in.with(s.Name, origin{WhenReached, "`" + s.Name + "` is worked out when it is reached"})
		case *check.WaitFor:
			e := w.x.limit(s.Duration, v)
			w.rows = append(w.rows, rowOf(s, in, "wait", s.Text, s.Because, e))
			sum = sum.then(e)
		case *check.WaitUntil:
			e := w.x.limit(s.Within, v)
			w.rows = append(w.rows, rowOf(s, in, "wait_until", s.Text, s.Because, e))
			sum = sum.then(e)
		case *check.Precondition:
			w.rows = append(w.rows, rowOf(s, in, "expect", s.Check.Text, s.Check.Because, extent{}))
		case *check.Composite:
			sum = sum.then(w.composite(s, in, v))
		case *check.Repeat:
			later(s.Name)
			sum = sum.then(w.repeat(s, in, v))
		case *check.When:
			sum = sum.then(w.when(s, in, v))
		case *check.Parallel:
			w.rows = append(w.rows, rowOf(s, in, "parallel", "parallel", "", extent{}))
			at := len(w.rows) - 1
			var all extent
			for _, branch := range s.Branches {
				all = all.beside(w.walk([]check.Stmt{branch}, in.below(), v))
			}
			w.rows[at].Longest = event.Seconds(all.most)
			sum = sum.then(all)
		case *check.Do:
			text := "do"
			if s.Title != "" {
				text += " " + value.Quote(s.Title)
			}
			below := in.below()
			if in.scoped() {
				below.ends = endsWithDo
			}
			sum = sum.then(w.block(s, in, "do", text, "", s.Body, below, v))
		}
	}
	return sum
}

func (in inside) below() inside { in.depth++; return in }

// scoped tells whether faults end with the block around them: in inject, but neither in setup nor in rollback.
func (in inside) scoped() bool { return in.ends != endsLast && in.ends != endsNever }

// block adds a heading and what is below it.
func (w *walker) block(s check.Stmt, in inside, kind, text, because string, body []check.Stmt, below inside, v *vars) extent {
	w.rows = append(w.rows, rowOf(s, in, kind, text, because, extent{}))
	at := len(w.rows) - 1
	e := w.walk(body, below, v)
	w.rows[at].Longest = event.Seconds(e.most)
	return e
}

func (w *walker) composite(s *check.Composite, in inside, v *vars) extent {
	args, below := newVars(w.x.vars), in.below()
	for _, a := range s.Args {
		val := w.x.eval(a.Value, v, time.Time{})
		args.set(a.Name, val)
		if val.IsMissing() {
			below.conditional = true
			below = below.with(a.Name, w.x.originOf(a.Value, in, v))
		}
	}
	held := extent{}
	if s.For != nil {
		if held = w.x.limit(s.For, v); in.ends != endsNever {
			below.ends = "with `" + s.Name + "`, " + held.after()
		}
	}
	return w.block(s, in, "composite", s.Text, s.Because, s.Body, below, args).then(held)
}

func (w *walker) repeat(s *check.Repeat, in inside, v *vars) extent {
	below := in.below()
	below.conditional = true
	if in.scoped() {
		below.ends = endsWithPass
	}
	text, n, known := "repeat", 0, true
	if s.In != nil {
		text = "repeat " + s.Name + " in " + s.In.Text()
		if n, known = s.In.Len(); !known {
			list := w.x.eval(s.In, v, time.Time{})
			n, known = len(list.Items()), !list.IsMissing()
		}
		below = below.with(s.Name, origin{WhenReached, "`" + s.Name + "` is another one in each pass"})
	} else {
		text = "repeat " + s.Times.Text()
		times, err := w.x.number(s.Times, v)
		n, known = int(times), err == nil
	}
	w.rows = append(w.rows, rowOf(s, in, "repeat", text, "", extent{}))
	at := len(w.rows) - 1
	e := w.walk(s.Body, below, v)
	if known {
		e = e.times(n)
		w.rows[at].Passes = &n
	} else {
		e.open = append(e.open, "how often `"+text+"` repeats")
		e.more = true
	}
	w.rows[at].Longest = event.Seconds(e.most)
	return e
}

func (w *walker) when(s *check.When, in inside, v *vars) extent {
	below := in.below()
	below.conditional, below.maybe = true, true
	e := w.block(s, in, "when", "when "+s.Cond.Text(), "", s.Then, below, v)
	if s.Else == nil {
		return e
	}
	return e.or(w.block(s, in, "else", "else", "", s.Else, below, v))
}
