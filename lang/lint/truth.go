package lint

import (
	"slices"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
	"chaos/lang/value"
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
	probes := map[string]*value.Type{}
	for _, p := range x.out.Probes {
		probes[p.Name] = p.Type
	}
	for _, c := range x.out.Hypothesis.Checks {
		if c.Kind != check.Expect {
			continue
		}
		for _, o := range c.Cond.Operands() {
			if t := probes[o.Path[0]]; t == nil || keeps(t, o.Path[1:]) {
				continue
			}
			at := o.At
			if at.File != c.Span.File || at.Start.Offset < c.Span.Start.Offset || at.End.Offset > c.Span.End.Offset { // it stands in a let
				at = c.Span
			}
			instead := "write `always " + shorten(syntax.OneLine(x.src, c.Span)) + "`"
			if slices.ContainsFunc(c.Cond.Operands(), func(o expr.Operand) bool { return o.Path[0] == "during" || o.Path[0] == "after" }) { // these are known at the end only
				instead = "give it an `always` of its own"
			}
			x.report(diag.Warningf(diag.JudgedLate, at, "this `expect` is judged once, when the faults are undone: `%s` shows nothing of them then", o.Text).
				WithHint("%s, or read the phase: `during.%s…`", instead, o.Path[0]))
			break
		}
	}
}

// keeps tells that a field of a sample still shows what is gone: a count since the probe began.
func keeps(t *value.Type, path []string) bool {
	return len(path) > 0 && slices.ContainsFunc(t.Fields, func(f value.Field) bool { return f.Name == path[0] && f.Kept })
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 50 {
		return "…"
	}
	return s
}
