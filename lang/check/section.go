package check

import (
	"strings"
	"time"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/value"
)

// section checks one of the five blocks.
func (x *experiment) section(s *syntax.Section) {
	out := &Section{Span: x.wordSpan(s.Span, s.Kind)}
	if s.Title != nil {
		out.Title = s.Title.Value
	}
	switch s.Kind {
	case "setup":
		x.out.Setup = out
		x.steps(s, out, inSetup)
	case "steady":
		x.out.Steady = out
		x.claims(s, out, inSteady, x.scope)
	case "hypothesis":
		x.out.Hypothesis = out
		x.claims(s, out, inHypothesis, x.after)
	case "inject":
		x.out.Inject = out
		x.steps(s, out, inInject)
	case "rollback":
		x.out.Rollback = out
		x.steps(s, out, inRollback)
	}
}

// claims checks the blocks that say what must hold: steady and hypothesis.
func (x *experiment) claims(s *syntax.Section, out *Section, in placeKind, outer *expr.Scope) {
	scope := expr.NewScope(outer)
	var lets []*syntax.Let
	var list []*syntax.Attr
	for _, st := range s.Body.Stmts {
		switch st := st.(type) {
		case *syntax.Let:
			lets = append(lets, st)
		case *syntax.Attr:
			list = append(list, st)
		}
	}
	if in == inSteady {
		scope.Names["steady"] = &expr.Binding{Type: value.TBool, Denied: "`steady` cannot stand in its own block: it would mean itself", Hint: "write the condition out"}
	}
	x.declareLets(scope, lets)
	x.checkLets(scope, lets)
	a := x.attrs(list, s.Kind)
	if in == inSteady {
		out.Window, out.Settle = a.duration("window"), a.duration("settle")
	} else {
		out.StopWhenRefuted = a.bool("stop_when_refuted")
	}
	for _, st := range s.Body.Stmts {
		switch st := st.(type) {
		case *syntax.Let, *syntax.Attr:
		case *syntax.Check:
			if in == inSteady && st.Kind != "expect" {
				x.misplaced(st, in)
				continue
			}
			out.Checks = append(out.Checks, x.check(st, scope, in))
		default:
			x.misplaced(st, in)
		}
	}
}

// check checks a claim of steady, hypothesis or setup.
func (x *experiment) check(s *syntax.Check, scope *expr.Scope, in placeKind) *Check {
	out := &Check{Kind: CheckKind(s.Kind), Span: s.Cond.Span, Text: x.statement(s.Kind, &s.Cond, s.Clauses)}
	p := place{kind: in, word: s.Kind}
	if in == inHypothesis {
		p.kind = inOngoing
		if s.Kind == "expect" {
			p.kind = inExpect
		}
	}
	if s.Kind == "always" && x.src.Slice(s.Cond.Span) == "steady" {
		out.Kind = AlwaysSteady
		x.expression(&s.Cond, scope, value.TBool, p) // for its message where there is no steady state
	} else {
		out.Cond = x.expression(&s.Cond, scope, value.TBool, p)
		switch {
		case in == inSteady:
			x.mustChange(out.Cond, "this names no probe, so no sample can show whether it holds")
		case p.kind == inOngoing:
			x.mustChange(out.Cond, "this names no probe, so it is never judged")
		}
		for _, o := range out.Cond.Operands() {
			out.After = out.After || o.Path[0] == "after"
		}
	}
	cl := x.clauses(s, s.Clauses, scope, p)
	out.Within, out.For, out.Tolerate, out.Because = cl.within, cl.hold, cl.tolerate, cl.because
	return out
}

// steps checks the blocks that act: setup, inject and rollback.
func (x *experiment) steps(s *syntax.Section, out *Section, in placeKind) {
	outer := x.scope
	if in == inRollback {
		outer = x.after
	}
	b := &body{experiment: x, in: in, guards: &x.out.Guards}
	scope := expr.NewScope(outer)
	if in == inSetup {
		b.hideLater(scope, s.Body.Stmts)
	}
	out.Body = b.list(s.Body.Stmts, scope, true)
}

// body is the check of the statements of a block that acts.
type body struct {
	*experiment
	in     placeKind
	guards *[]*Guard
}

// hideLater denies, inside setup, what a step further down returns.
func (b *body) hideLater(scope *expr.Scope, stmts []syntax.Stmt) {
	for _, s := range stmts {
		step, ok := s.(*syntax.Step)
		if !ok || b.handle[step] == nil {
			continue
		}
		for _, cl := range step.Clauses {
			if cl.Name != nil {
				scope.Names[cl.Name.Text] = &expr.Binding{Type: b.handle[step].Type, At: cl.Name.Span,
					Denied: "`" + cl.Name.Text + "` is not there yet: the step that returns it stands further down", Hint: "move this below that step"}
			}
		}
	}
}

func (b *body) block(s *syntax.Block, outer *expr.Scope) []Stmt {
	return b.list(s.Stmts, expr.NewScope(outer), false)
}

func (b *body) list(stmts []syntax.Stmt, scope *expr.Scope, top bool) []Stmt {
	var out []Stmt
	for _, s := range stmts {
		if st := b.stmt(s, scope, top); st != nil {
			out = append(out, st)
		}
	}
	return out
}

func (b *body) place(word string) place { return place{kind: b.in, word: word} }

func (b *body) stmt(s syntax.Stmt, scope *expr.Scope, top bool) Stmt {
	switch s := s.(type) {
	case *syntax.Step:
		if call, ok := b.cat.Call(s.Call.Name()); ok && call.Kind == spec.Probe {
			b.misplaced(s, b.in)
			return nil
		}
		m, a, _ := b.callable(&s.Call)
		switch {
		case a != nil:
			return b.composite(a, s, scope)
		case m != nil:
			b.wrongKind(&s.Call, &spec.Call{Kind: spec.Probe, Name: s.Call.Name()})
			b.loseNames(s)
			return nil
		}
		return b.step(s, scope, top)
	case *syntax.Wait:
		return b.wait(s, scope)
	case *syntax.Repeat:
		return b.repeat(s, scope)
	case *syntax.When:
		return b.when(s, scope)
	case *syntax.Parallel:
		return b.parallel(s, scope)
	case *syntax.Do:
		out := &Do{Span: s.Span, Body: b.block(&s.Body, scope)}
		if s.Title != nil {
			out.Title = s.Title.Value
		}
		return out
	case *syntax.Let:
		p := b.place("let")
		p.secret = true
		e := b.expression(&s.Value, scope, nil, p)
		v := &expr.Binding{Type: typeOf(e), Tainted: e.Tainted()}
		b.setVague(v, b.isVague(e))
		if !b.declare(scope, s.Name, v) {
			return nil
		}
		return &LetStmt{Name: s.Name.Text, Value: e, Span: s.Span}
	case *syntax.Abort:
		if b.in != inInject {
			b.misplaced(s, b.in)
			return nil
		}
		if g := b.guard(scope, s); g != nil {
			*b.guards = append(*b.guards, g)
		}
		return nil
	case *syntax.Check:
		if b.in == inSetup && s.Kind == "expect" && top {
			return &Precondition{Check: b.check(s, scope, inSetup)}
		}
		b.misplaced(s, b.in)
	case *syntax.Attr:
		b.unknownAttr(s, b.in.String())
	default:
		b.misplaced(s, b.in)
	}
	return nil
}

func (b *body) step(s *syntax.Step, scope *expr.Scope, top bool) Stmt {
	p := b.place("")
	call := b.call(&s.Call, "action", scope, p)
	cl := b.clauses(s, s.Clauses, scope, p)
	b.bind(s, cl, call, scope, top)
	if call == nil {
		return nil
	}
	out := &Step{Call: call, For: cl.hold, Pick: cl.pick, PickAll: cl.pickAll, Because: cl.because, Span: s.Span}
	out.Text = strings.Join(append([]string{call.Text}, b.clauseTexts(s.Clauses)...), " ")
	if cl.as != nil {
		out.As = cl.as.Text
	}
	given := func(arg string) bool { _, ok := call.Args[arg]; return ok }
	irreversible := call.Spec.Irreversible(given)
	if irreversible && b.in == inInject && b.injected == nil {
		at := s.Call.NameSpan()
		b.injected = &at
	}
	if c := cl.at["for"]; c != nil {
		b.timed(call, c, irreversible)
	}
	if c := cl.at["pick"]; c != nil && !call.Spec.Selects {
		b.report(diag.Errorf(diag.WrongClause, b.wordSpan(c.Span, "pick"), "`%s` selects nothing, so there is nothing to pick from", call.Spec.Name).WithHint("remove `pick`"))
	}
	if cl.as != nil && call.Spec.Result == nil {
		b.report(diag.Errorf(diag.WrongClause, b.wordSpan(cl.at["as"].Span, "as"), "`%s` returns nothing that could be named", call.Spec.Name).WithHint("remove `as %s`", cl.as.Text))
	}
	return out
}

// timed judges `for` on a step.
func (b *body) timed(call *Call, c *syntax.Clause, irreversible bool) {
	at := b.wordSpan(c.Span, "for")
	name := call.Spec.Name
	switch {
	case b.in == inRollback:
		b.report(diag.Errorf(diag.WrongClause, at, "the steps of `rollback` are final: none of them is undone after a time").WithHint("remove `for`, or write `wait` behind the step"))
	case call.Spec.Harmless:
		b.report(diag.Errorf(diag.NeverRun, at, "`%s` leaves nothing to undo, so it has no `for`", name).WithHint("remove `for`, or write `wait` behind the step"))
	case irreversible && call.Spec.UndoArg != "":
		b.report(diag.Errorf(diag.NeverRun, at, "`%s` cannot be undone after a time unless it is told how", name).WithHint("give it `%s: …`, or write `wait` behind the step", call.Spec.UndoArg))
	case irreversible:
		b.report(diag.Errorf(diag.NeverRun, at, "`%s` cannot be undone, so it cannot last `for` a time", name).WithHint("remove `for`, and write `wait` behind the step to let time pass"))
	}
}

// bind binds the name behind `as`, from here on.
func (b *body) bind(s *syntax.Step, cl clauses, call *Call, scope *expr.Scope, top bool) {
	if cl.as == nil {
		return
	}
	v := b.handle[s]
	if v != nil && b.in == inSetup {
		delete(scope.Names, cl.as.Text) // it was denied so far; the meaning outside holds
		return
	}
	if v == nil {
		if top && b.in != inRollback {
			return // declared twice: reported
		}
		v = b.returned(s)
	}
	b.declare(scope, *cl.as, v)
}

func (b *body) wait(s *syntax.Wait, scope *expr.Scope) Stmt {
	if s.Until == nil {
		p := b.place("wait")
		out := &WaitFor{Span: s.Span}
		out.Duration = b.expression(s.For, scope, value.TDuration, p)
		b.positive(out.Duration, "wait")
		out.Because = b.clauses(s, s.Clauses, scope, p).because
		out.Text = strings.Join(append([]string{"wait", b.text(s.For.Span)}, b.clauseTexts(s.Clauses)...), " ")
		return out
	}
	p := b.place("wait until")
	out := &WaitUntil{Span: s.Span, Text: b.statement("wait until", s.Until, s.Clauses)}
	if text := b.text(s.Until.Span); isDuration(text) {
		b.report(diag.Errorf(diag.WrongType, s.Until.Span, "`wait until` takes a condition, and `%s` is a time", text).WithHint("write `wait %s`", text))
		out.Cond, _ = expr.Parse(b.src, s.Until.Span)
		b.uses[out.Cond] = []*expr.Binding{vagueBinding}
		return out
	}
	out.Cond = b.expression(s.Until, scope, value.TBool, p)
	b.mustChange(out.Cond, "this names no probe, so waiting changes nothing")
	cl := b.clauses(s, s.Clauses, scope, p)
	out.Within, out.For, out.Because = cl.within, cl.hold, cl.because
	if within, hold, ok := constants(cl.within, cl.hold); ok && hold > within {
		b.report(diag.Errorf(diag.NeverRun, cl.hold.Span(), "it cannot hold for %s within %s", hold, within).WithHint("make `within` longer than `for`"))
	}
	return out
}

// isDuration tells the literal of a time.
func isDuration(text string) bool {
	v, err := value.ParseNumber(text)
	return err == nil && v.T.Kind == value.Duration
}

// constants are two times that are known before the run.
func constants(a, b *expr.Expr) (x, y time.Duration, ok bool) {
	if a == nil || b == nil {
		return 0, 0, false
	}
	v, ok1 := a.Const()
	w, ok2 := b.Const()
	return v.Duration(), w.Duration(), ok1 && ok2 && v.T.Kind == value.Duration && w.T.Kind == value.Duration
}

func (b *body) repeat(s *syntax.Repeat, scope *expr.Scope) Stmt {
	p := b.place("repeat")
	out := &Repeat{Span: s.Span}
	inner := expr.NewScope(scope)
	if s.In == nil {
		out.Times = b.expression(s.Times, scope, value.TNumber, p)
		switch v, ok := out.Times.Const(); {
		case !ok || b.isVague(out.Times) || v.T.Kind != value.Number:
		case v.Float() < 0 || v.Float() != float64(int64(v.Float())):
			b.report(diag.Errorf(diag.BadChoice, s.Times.Span, "`repeat %s` is no whole number of times", v).WithHint("write `repeat 3 { … }`"))
		case v.Float() == 0:
			b.report(diag.Errorf(diag.BadChoice, s.Times.Span, "`repeat %s` runs nothing", v).WithHint("write `repeat 3 { … }`, or remove it"))
		}
	} else {
		out.In = b.expression(s.In, scope, nil, p)
		t := typeOf(out.In)
		v := &expr.Binding{Type: value.TAny}
		b.setVague(v, b.isVague(out.In))
		switch {
		case t.Kind == value.List:
			v.Type = t.ElemType()
			if list, ok := out.In.Const(); ok && !b.vague[v] && len(list.Items()) == 0 {
				b.report(diag.Errorf(diag.BadChoice, s.In.Span, "the list is empty, so this runs nothing").WithHint("write what it goes through: `repeat %s in [1s, 5s] { … }`", s.Name.Text))
				b.setVague(v, true) // of what it would be nothing is known
			}
		case t.Kind != value.Any && !b.vague[v]:
			b.report(diag.Errorf(diag.WrongType, s.In.Span, "`repeat %s in` goes through a list, and this is a %s", s.Name.Text, t).
				WithHint("write `repeat %s in [%s] { … }`, or `repeat 3 { … }`", s.Name.Text, t.Example()))
			b.setVague(v, true)
		}
		if b.declare(inner, *s.Name, v) {
			out.Name = s.Name.Text
		}
	}
	out.Body = b.list(s.Body.Stmts, inner, false)
	return out
}

func (b *body) when(s *syntax.When, scope *expr.Scope) Stmt {
	out := &When{Span: s.Span}
	out.Cond = b.expression(&s.Cond, scope, value.TBool, b.place("when"))
	out.Then = b.block(&s.Then, scope)
	switch {
	case s.ElseWhen != nil:
		out.Else = []Stmt{b.when(s.ElseWhen, scope)}
	case s.Else != nil:
		out.Else = b.block(s.Else, scope)
	}
	return out
}

func (b *body) parallel(s *syntax.Parallel, scope *expr.Scope) Stmt {
	out := &Parallel{Span: s.Span}
	for _, st := range s.Body.Stmts {
		if let, ok := st.(*syntax.Let); ok {
			b.report(diag.Errorf(diag.WrongPlace, b.wordSpan(let.Span, "let"), "each statement of `parallel` is a branch of its own, so no other could use this name").WithHint("move it above `parallel`, or into a branch: `do { … }`"))
			b.assume(scope, let.Name.Text, let.Name.Span)
			continue
		}
		// Each branch has names of its own: the others cannot wait for what it returns.
		if branch := b.stmt(st, expr.NewScope(scope), false); branch != nil {
			out.Branches = append(out.Branches, branch)
		}
	}
	return out
}
