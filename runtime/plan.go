package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/runtime/target"
)

// plan looks up what every step would touch, as far as it can be known now, and reports what is missing. It has no side
// effect.
func (x *experiment) plan(ctx context.Context) []diag.Diagnostic {
	var out []diag.Diagnostic
	report := func(s *check.Step, format string, args ...any) {
		out = append(out, diag.Errorf(diag.Unfit, s.Call.Span, format, args...))
	}
	for _, section := range []*check.Section{x.def.Setup, x.def.Inject, x.def.Rollback} {
		if section == nil {
			continue
		}
		x.eachStep(section.Body, false, func(s *check.Step, conditional bool) {
			args, missing := x.arguments(s.Call, x.vars)
			if missing != "" {
				return // a handle, a loop name or a sample: known when the step is reached
			}
			plan, err := x.planStep(ctx, s, args, x.vars)
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

// replan looks again after setup, before anything is injected: what setup was expected to bring must be there now.
func (x *experiment) replan() error {
	if x.def.Inject == nil {
		return nil
	}
	var failed error
	x.eachStep(x.def.Inject.Body, false, func(s *check.Step, conditional bool) {
		if conditional || failed != nil {
			return
		}
		args, missing := x.arguments(s.Call, x.vars)
		if missing != "" {
			return
		}
		ctx, cancel := context.WithTimeout(x.ctx, 30*time.Second)
		defer cancel()
		plan, err := x.planStep(ctx, s, args, x.vars)
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

// eachStep visits the steps of a body; conditional ones may never run, or run on another target.
func (x *experiment) eachStep(list []check.Stmt, conditional bool, visit func(*check.Step, bool)) {
	for _, s := range list {
		switch s := s.(type) {
		case *check.Step:
			visit(s, conditional)
		case *check.Repeat:
			x.eachStep(s.Body, true, visit)
		case *check.When:
			x.eachStep(s.Then, true, visit)
			x.eachStep(s.Else, true, visit)
		case *check.Parallel:
			x.eachStep(s.Branches, conditional, visit)
		case *check.Do:
			x.eachStep(s.Body, conditional, visit)
		}
	}
}
