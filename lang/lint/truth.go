package lint

import (
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
)

// conditions looks for those whose answer is known without looking.
func (x *experiment) conditions() {
	judge := func(e *expr.Expr) {
		if e == nil {
			return
		}
		for _, s := range e.Settled() {
			d := diag.Warningf(diag.AlwaysTrue, s.At, "this is always %t", s.True)
			if s.Why != "" {
				d = diag.Warningf(diag.AlwaysTrue, s.At, "this is always %t: %s", s.True, s.Why)
			}
			x.once(d.WithHint("compare it with what would surprise you, or remove it"))
		}
	}
	for _, sec := range []*check.Section{x.out.Setup, x.out.Steady, x.out.Hypothesis, x.out.Inject, x.out.Rollback} {
		if sec == nil {
			continue
		}
		for _, c := range sec.Checks {
			judge(c.Cond)
		}
		each(sec.Body, func(s check.Stmt) {
			switch s := s.(type) {
			case *check.WaitUntil:
				judge(s.Cond)
			case *check.When:
				judge(s.Cond)
			case *check.Precondition:
				judge(s.Check.Cond)
			}
		})
	}
	for _, g := range x.out.Guards {
		judge(g.Cond)
	}
}

// late looks for an `expect` of hypothesis that reads a sample: it is judged when the faults are undone, so that it shows
// nothing of them. What nothing undoes is still there to be seen.
func (x *experiment) late() {
	if x.out.Hypothesis == nil || x.out.Inject == nil {
		return
	}
	undone := false
	steps(x.out.Inject.Body, func(s *check.Step, _ diag.Span) {
		undone = undone || !s.Call.Spec.Harmless && !irreversible(s) && !makesHandle(s)
	})
	if !undone {
		return
	}
	probes := map[string]bool{}
	for _, p := range x.out.Probes {
		probes[p.Name] = true
	}
	for _, c := range x.out.Hypothesis.Checks {
		if c.Kind != check.Expect {
			continue
		}
		for _, o := range c.Cond.Operands() {
			if !probes[o.Path[0]] {
				continue
			}
			at := o.At
			if at.File != c.Span.File || at.Start.Offset < c.Span.Start.Offset || at.End.Offset > c.Span.End.Offset { // it stands in a let
				at = c.Span
			}
			x.report(diag.Warningf(diag.JudgedLate, at, "this `expect` is judged once, when the faults are undone: `%s` shows nothing of them then", o.Text).
				WithHint("write `always %s`, or read the phase: `during.%s…`", shorten(syntax.OneLine(x.src, c.Span)), o.Path[0]))
			break
		}
	}
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 50 {
		return "…"
	}
	return s
}
