package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/value"
	"chaos/runtime/target"
)

// plan looks up what every step would touch, as far as it can be known now, and reports what is missing. It has no side
// effect.
func (x *experiment) plan(ctx context.Context) []diag.Diagnostic {
	var out []diag.Diagnostic
	report := func(s *check.Step, format string, args ...any) {
		out = append(out, diag.Errorf(diag.Unfit, s.Call.Span, format, args...))
	}
	for _, def := range x.def.Probes {
		if err := x.planProbe(ctx, def); err != nil {
			out = append(out, diag.Errorf(diag.Unfit, def.Call.Span, "probe `%s`: %s", def.Name, err))
		}
	}
	for _, section := range []*check.Section{x.def.Setup, x.def.Inject, x.def.Rollback} {
		if section == nil {
			continue
		}
		x.eachStep(section.Body, false, x.vars, func(s *check.Step, conditional bool, v *vars) {
			args, missing := x.arguments(s.Call, v)
			if missing != "" {
				return // a handle, a loop name or a sample: known when the step is reached
			}
			plan, err := x.planStep(ctx, s, args, v)
			var none *target.NoneError
			var busy *target.BusyError
			switch {
			case err != nil && (conditional || section == x.def.Rollback):
				// perhaps never needed, or on another world than today's: asked again right before the step
			case errors.As(err, &none) && x.def.Setup != nil:
				// expected after setup
			case errors.As(err, &busy) && section == x.def.Inject:
				// a step before it may make room
			case err != nil:
				report(s, "%s", err)
			case len(plan.Missing) > 0:
				report(s, "%s", needs(plan.Missing))
			case !conditional && section == x.def.Inject:
				if err := x.run.lock(s.Call.Spec, plan); err != nil {
					report(s, "%s", err)
				}
			}
		})
	}
	return out
}

// planProbe opens a probe whose arguments are known and closes it again: opening reads nothing and has no side effect, and
// finds an address that is none or a tool that is missing.
func (x *experiment) planProbe(ctx context.Context, def *check.Probe) error {
	args, missing := x.arguments(def.Call, x.vars)
	factory, ok := x.reg.Probes.Probe(def.Call.Spec.Name)
	if missing != "" || !ok {
		return nil
	}
	return guardPanic(def.Call.Spec.Name, func() error {
		opened, err := factory.Open(ctx, x.env, args)
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
	x.eachStep(x.def.Inject.Body, false, x.vars, func(s *check.Step, conditional bool, v *vars) {
		if conditional || failed != nil {
			return
		}
		args, missing := x.arguments(s.Call, v)
		if missing != "" {
			return
		}
		ctx, cancel := context.WithTimeout(x.ctx, 30*time.Second)
		defer cancel()
		plan, err := x.planStep(ctx, s, args, v)
		var busy *target.BusyError
		if errors.As(err, &busy) {
			return
		}
		if err == nil && len(plan.Missing) > 0 {
			err = errors.New(needs(plan.Missing))
		}
		if err != nil {
			failed = &stepError{text: s.Text, err: fmt.Errorf("planned again after setup: %w", err)}
		}
	})
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return failed
}

// eachStep visits the steps of a body, with the values that they see as far as they are known; conditional ones may never
// run, or run on another target.
func (x *experiment) eachStep(list []check.Stmt, conditional bool, v *vars, visit func(*check.Step, bool, *vars)) {
	later := func(name string) { // in a definition, so that it is not taken for a name of the experiment
		if v != x.vars && name != "" {
			v.set(name, value.NoData("`%s` is not known yet", name))
		}
	}
	for _, s := range list {
		switch s := s.(type) {
		case *check.Step:
			visit(s, conditional, v)
			later(s.As)
		case *check.LetStmt:
			later(s.Name)
		case *check.Composite:
			args, unsure := newVars(x.vars), conditional
			for _, a := range s.Args {
				val := x.eval(a.Value, v, time.Time{})
				unsure = unsure || val.IsMissing()
				args.set(a.Name, val)
			}
			x.eachStep(s.Body, unsure, args, visit)
		case *check.Repeat:
			later(s.Name)
			x.eachStep(s.Body, true, v, visit)
		case *check.When:
			x.eachStep(s.Then, true, v, visit)
			x.eachStep(s.Else, true, v, visit)
		case *check.Parallel:
			x.eachStep(s.Branches, conditional, v, visit)
		case *check.Do:
			x.eachStep(s.Body, conditional, v, visit)
		}
	}
}
