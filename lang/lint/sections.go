package lint

import (
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/value"
)

// sections looks for blocks without which the others say little.
func (x *experiment) sections() {
	claims := x.out.Steady != nil && len(x.out.Steady.Checks) > 0
	switch {
	case x.out.Inject == nil:
		for _, s := range x.written() {
			if s.Kind == "hypothesis" || s.Kind == "rollback" {
				x.report(diag.Warningf(diag.NoInject, x.word(s), "`%s` never comes into play: nothing is injected", s.Kind).
					WithHint("write `inject { … }`, or leave `%s` out: an experiment that only looks is one of `steady`", s.Kind))
				return
			}
		}
		if !claims && !x.preconditions() {
			x.report(diag.Warningf(diag.NoSteady, x.syn.Title.Span, "this experiment neither breaks nor expects anything").WithHint("write `steady { expect … }`"))
		}
	case !claims && x.acts():
		x.report(diag.Warningf(diag.NoSteady, x.out.Inject.Span, "this injects faults, and no `steady` shows that all was well before and is well again").
			WithHint("write `steady { expect … }` in the experiment"))
	}
}

// acts tells whether inject does more than wait, log and ask.
func (x *experiment) acts() bool {
	found := false
	steps(x.out.Inject.Body, func(s *check.Step, _ diag.Span) { found = found || !s.Call.Spec.Harmless })
	return found
}

// preconditions tells whether setup expects something.
func (x *experiment) preconditions() bool {
	found := false
	if x.out.Setup != nil {
		each(x.out.Setup.Body, func(s check.Stmt) {
			_, ok := s.(*check.Precondition)
			found = found || ok
		})
	}
	return found
}

var rank = map[string]int{"setup": 1, "steady": 2, "hypothesis": 3, "inject": 4, "rollback": 5}

// order looks for a block that stands below one that comes later in a run.
func (x *experiment) order() {
	list := x.written()
	for i := 1; i < len(list); i++ {
		for _, above := range list[:i] {
			if rank[list[i].Kind] < rank[above.Kind] {
				x.report(diag.Warningf(diag.BlockOrder, x.word(list[i]), "`%s` stands below `%s`, and a reader looks for it above", list[i].Kind, above.Kind).
					WithNote(x.word(above), "`%s` is here", above.Kind).WithHint("the order is setup, steady, hypothesis, inject, rollback"))
				return
			}
		}
	}
}

// shortFault is how long a fault may last without a guard: nobody would be faster.
const shortFault = 5 * time.Second

// guards looks for faults in what the experiment did not start itself, of which no guard limits the harm.
func (x *experiment) guards() {
	if x.out.Inject == nil || len(x.out.Guards) > 0 || x.out.Hypothesis != nil && x.out.Hypothesis.StopWhenRefuted {
		return
	}
	own := x.own()
	var first *diag.Span
	steps(x.out.Inject.Body, func(s *check.Step, at diag.Span) {
		if first != nil || s.Call.Spec.Harmless || makesHandle(s) || own.reads(s) {
			return
		}
		if d, ok := x.value(s.For, nil); ok && d.Duration() <= shortFault {
			return
		}
		first = &at
	})
	if first != nil {
		x.report(diag.Warningf(diag.NoAbort, x.out.Inject.Span, "no guard ends this when it hurts more than it should").
			WithNote(*first, "this touches what the experiment did not start itself").
			WithHint("write `abort when … for 3s` in the experiment"))
	}
}

// rollback looks for what cannot be undone, where nothing brings it back.
func (x *experiment) rollback() {
	if x.out.Inject == nil || x.out.Rollback != nil {
		return
	}
	own := x.own()
	done := false
	steps(x.out.Inject.Body, func(s *check.Step, at diag.Span) {
		if done || !irreversible(s) || own.supervised(s) {
			return
		}
		done = true
		hint := "write `rollback { when … { … } }` that brings it back"
		if arg := s.Call.Spec.UndoArg; arg != "" {
			hint = "give it `" + arg + ": …`, or write `rollback { … }`"
		}
		x.report(diag.Warningf(diag.NoRollback, at, "this cannot be undone, and there is no `rollback`: if it does not come back by itself, the run ends with 6").WithHint("%s", hint))
	})
}

// possessions are the names that stand for what the experiment started itself, and whether something restarts it.
type possessions map[string]bool

// own finds them: what steps return, and what `repeat` takes from a list of such names.
func (x *experiment) own() possessions {
	own := possessions{}
	for _, sec := range []*check.Section{x.out.Setup, x.out.Inject} {
		if sec == nil {
			continue
		}
		each(sec.Body, func(s check.Stmt) {
			switch s := s.(type) {
			case *check.Step:
				if s.As != "" && makesHandle(s) {
					v, ok := x.value(s.Call.Args["restart"], nil)
					own[s.As] = ok && v.Bool()
				}
			case *check.Repeat:
				if s.In != nil {
					own.take(s.Name, s.In)
				}
			case *check.Composite:
				for _, a := range s.Args {
					own.take(a.Name, a.Value)
				}
			}
		})
	}
	return own
}

// take gives a name what an expression stands for, if all of that is owned.
func (p possessions) take(name string, from *expr.Expr) {
	all := true
	for _, o := range from.Operands() {
		restarts, ok := p[o.Path[0]]
		if !ok {
			return
		}
		all = all && restarts
	}
	if len(from.Operands()) > 0 {
		p[name] = all
	}
}

// reads tells whether a step acts on something that the experiment started.
func (p possessions) reads(s *check.Step) bool {
	for _, a := range s.Call.Args {
		for _, o := range a.Operands() {
			if _, ok := p[o.Path[0]]; ok {
				return true
			}
		}
	}
	return false
}

// supervised tells whether everything of that comes back by itself.
func (p possessions) supervised(s *check.Step) bool {
	found := false
	for _, a := range s.Call.Args {
		for _, o := range a.Operands() {
			restarts, ok := p[o.Path[0]]
			if ok && !restarts {
				return false
			}
			found = found || ok
		}
	}
	return found
}

// makesHandle tells a step that makes something, rather than breaking what it selects.
func makesHandle(s *check.Step) bool {
	r := s.Call.Spec.Result
	return r != nil && r.Kind == value.HandleK && !s.Call.Spec.Selects
}
