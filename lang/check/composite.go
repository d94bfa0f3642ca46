package check

import (
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/value"
)

// composite is an action that a file defines. Its body is checked once where it stands, with what the parameters say of
// themselves, and again for each call, with what the call gives.
type composite struct {
	syn     *syntax.Action
	unit    *unit
	params  []spec.Param
	checked bool
	broken  bool
}

// maxExpansions bounds what a few definitions that call each other twice could grow to.
const maxExpansions = 5000

// defineAction notes a definition.
func (c *checker) defineAction(s *syntax.Action) {
	if c.taken(s.Name, "an action") {
		return
	}
	c.actions[s.Name.Text] = &composite{syn: s, unit: c.unit}
}

// taken reports a name that another callable bears.
func (c *checker) taken(name syntax.Name, what string) bool {
	var first *syntax.Name
	if m, ok := c.macros[name.Text]; ok {
		first = &m.syn.Name
	}
	if a, ok := c.actions[name.Text]; ok {
		first = &a.syn.Name
	}
	for _, u := range c.imports {
		if _, ok := c.modules[name.Text]; ok && u.name.Text == name.Text {
			first = &u.name
		}
	}
	if first != nil {
		c.report(diag.Errorf(diag.Duplicate, name.Span, "the name `%s` is taken", name.Text).WithNote(first.Span, "the first is here").WithHint("give this one another name"))
		return true
	}
	if c.familyName(name, what, "give it another name") {
		c.unknown[name.Text] = true
		return true
	}
	return false
}

// formals checks the parameters of a definition and binds them. One without type and default may be anything until a call
// says what it is.
func (c *checker) formals(list []*syntax.Formal, scope *expr.Scope) []spec.Param {
	var out []spec.Param
	first := map[string]diag.Span{}
	for _, f := range list {
		if at, taken := first[f.Name.Text]; taken { // a call gives it once
			c.report(diag.Errorf(diag.Duplicate, f.Name.Span, "the name `%s` is taken", f.Name.Text).WithHint("give this one another name").WithNote(at, "the first is here"))
			continue
		}
		first[f.Name.Text] = f.Name.Span
		p := spec.Param{Name: f.Name.Text, Type: value.TAny, Required: f.Default == nil, Positional: true}
		if f.Type != nil {
			p.Type = c.paramType(f.Type, value.HandleK) // which nothing outside could give
		}
		if f.Default != nil {
			e := c.expression(f.Default, c.global, known(p.Type), place{kind: inConst})
			if f.Type == nil {
				p.Type = typeOf(e)
			}
		}
		b := &expr.Binding{Type: p.Type}
		if p.Type.Kind == value.Any {
			b.Type = expr.Vague
			c.setVague(b, true)
		}
		c.declare(scope, f.Name, b)
		out = append(out, p)
	}
	return out
}

// checkActions checks the definitions of a file, each after those that it calls.
func (c *checker) checkActions() {
	c.actionCycles()
	for _, item := range c.file.Items {
		if s, ok := item.(*syntax.Action); ok && c.actions[s.Name.Text] != nil && c.actions[s.Name.Text].syn == s {
			c.definition(c.actions[s.Name.Text])
		}
	}
}

// definition checks the body of a definition, if that is not done yet.
func (c *checker) definition(m *composite) {
	if m.checked {
		return
	}
	m.checked = true
	mentioned, defining := c.mentioned, c.defining
	c.mentioned, c.defining = nil, true
	defer func() { c.mentioned, c.defining = mentioned, defining }()
	c.visit(m.unit, func() {
		before := len(c.diags)
		scope := expr.NewScope(c.global)
		m.params = c.formals(m.syn.Formals.List, scope)
		b := &body{experiment: &experiment{checker: c, out: &Experiment{}}, in: inAction}
		b.list(m.syn.Body.Stmts, expr.NewScope(scope), false)
		m.broken = m.broken || len(c.diags) > before
	})
}

// actionCycles reports definitions that call themselves, each circle once.
func (c *checker) actionCycles() {
	const (
		fresh = iota
		busy
		done
	)
	state := map[*composite]int{}
	var visit func(m *composite, trail []*composite)
	visit = func(m *composite, trail []*composite) {
		switch state[m] {
		case done:
			return
		case busy:
			c.actionCycle(m, trail)
			return
		}
		state[m] = busy
		eachCall(m.syn.Body.Stmts, func(call *syntax.Call) {
			if next, ok := c.actions[call.First.Text]; ok && len(call.Rest) == 0 {
				visit(next, append(trail, m))
			}
		})
		state[m] = done
	}
	for _, item := range c.file.Items {
		if s, ok := item.(*syntax.Action); ok {
			if m := c.actions[s.Name.Text]; m != nil && m.syn == s {
				visit(m, nil)
			}
		}
	}
}

func (c *checker) actionCycle(m *composite, trail []*composite) {
	from := len(trail) - 1
	for from > 0 && trail[from] != m {
		from--
	}
	var names []string
	for _, t := range trail[from:] {
		names = append(names, "`"+t.syn.Name.Text+"`")
		t.broken = true
	}
	d := diag.Errorf(diag.Cycle, m.syn.Name.Span, "`%s` calls itself", m.syn.Name.Text)
	if len(names) > 1 {
		d = diag.Errorf(diag.Cycle, m.syn.Name.Span, "`%s` calls itself: %s", m.syn.Name.Text, strings.Join(append(names, names[0]), " → "))
	}
	for _, t := range trail[from+1:] {
		d = d.WithNote(t.syn.Name.Span, "by way of `%s`", t.syn.Name.Text)
	}
	c.report(d.WithHint("nothing would end it: write `repeat 3 { … }` to do it more than once"))
}

// eachCall visits the calls of all steps.
func eachCall(list []syntax.Stmt, f func(*syntax.Call)) {
	for _, s := range list {
		switch s := s.(type) {
		case *syntax.Step:
			f(&s.Call)
		case *syntax.Repeat:
			eachCall(s.Body.Stmts, f)
		case *syntax.Parallel:
			eachCall(s.Body.Stmts, f)
		case *syntax.Do:
			eachCall(s.Body.Stmts, f)
		case *syntax.When:
			for ; s != nil; s = s.ElseWhen {
				eachCall(s.Then.Stmts, f)
				if s.Else != nil {
					eachCall(s.Else.Stmts, f)
				}
			}
		}
	}
}

// composite checks a call of an action that a file defines.
func (b *body) composite(m *composite, s *syntax.Step, scope *expr.Scope) Stmt {
	call := &s.Call
	b.visit(m.unit, func() { b.definition(m) })
	p := b.place("")
	p.composite = true
	cl := b.clauses(s, s.Clauses, scope, p)
	if b.expansions++; b.expansions > maxExpansions {
		if b.expansions == maxExpansions+1 { // once is enough
			b.report(diag.Errorf(diag.TooDeep, call.NameSpan(), "the actions of this script call each other more than %d times", maxExpansions).WithHint("write `repeat` instead of calling one twice"))
		}
		return nil
	}
	given := &Call{Spec: &spec.Call{Kind: spec.Action, Name: call.Name(), Params: m.params}, Args: map[string]*expr.Expr{}}
	a := &arguments{checker: b.checker, call: call, spec: given.Spec, out: given, at: map[string]diag.Span{}}
	if !b.fits(a, scope, p, m.syn.Name.Span) || m.broken {
		return nil
	}
	out := &Composite{Name: call.Name(), For: cl.hold, Because: cl.because, Span: s.Span}
	out.Text = strings.Join(append([]string{b.text(call.Span)}, b.clauseTexts(s.Clauses)...), " ")
	injected := b.injected
	fresh := b.trial(func() { b.visit(m.unit, func() { b.expand(m, given, out) }) })
	if len(fresh) > 0 { // what is given does not fit what is defined: the mistake is the caller's
		b.report(b.misfit(call, fresh[0]))
		return nil
	}
	if injected == nil && b.injected != nil {
		at := call.NameSpan()
		b.experiment.within, b.injected = b.injected, &at
		if first := irreversible(out.Body); first != nil {
			b.experiment.within = &first.Call.Span
		}
	}
	if c := cl.at["for"]; c != nil {
		b.held(out, c)
	}
	return out
}

// fits checks the arguments of a call of a definition, and points at it where they do not match.
func (c *checker) fits(a *arguments, scope *expr.Scope, p place, at diag.Span) bool {
	fresh := c.trial(func() { a.check(scope, p) })
	for _, d := range fresh {
		switch d.Code {
		case diag.WrongType, diag.WrongUnit, diag.MissingArgument, diag.TooManyArgs, diag.UnknownArgument:
			d = d.WithNote(at, "`%s` is defined here", a.spec.Name)
		}
		c.report(d)
	}
	return len(fresh) == 0
}

// misfit says that a call does not fit a definition.
func (c *checker) misfit(call *syntax.Call, first diag.Diagnostic) diag.Diagnostic {
	switch first.Code {
	case diag.TooDeep:
		return first
	case diag.Cycle:
		return diag.Errorf(diag.Cycle, call.NameSpan(), "%s", first.Message).WithNote(first.Span, "by way of this").WithHint("break the circle: let one of them call a probe of a family")
	}
	d := diag.Errorf(first.Code, call.Span, "this use of `%s` does not fit its definition: %s", call.Name(), first.Message).WithNote(first.Span, "in its definition")
	d.Notes = append(d.Notes, first.Notes...)
	return d
}

// expand checks a body with what a call gives.
func (b *body) expand(m *composite, given *Call, out *Composite) {
	inner := expr.NewScope(b.global)
	for _, f := range m.syn.Formals.List {
		e := given.Args[f.Name.Text]
		if e == nil {
			p, _ := given.Spec.Param(f.Name.Text)
			e = b.expression(f.Default, b.global, known(p.Type), place{kind: inConst})
		}
		v := &expr.Binding{Type: typeOf(e), At: f.Name.Span, Tainted: e.Tainted()}
		if c, ok := e.Const(); ok {
			v.Const = &c
		}
		b.setVague(v, b.isVague(e))
		inner.Names[f.Name.Text] = v
		out.Args = append(out.Args, &LetStmt{Name: f.Name.Text, Value: e, Span: e.Span()})
	}
	defining := b.defining
	b.defining = true
	out.Body = (&body{experiment: b.experiment, in: b.in, guards: b.guards}).list(m.syn.Body.Stmts, expr.NewScope(inner), false)
	b.defining = defining
}

// held judges `for` on a composite action, which holds all the faults of its steps.
func (b *body) held(s *Composite, c *syntax.Clause) {
	at := b.wordSpan(c.Span, "for")
	step := irreversible(s.Body)
	switch {
	case b.in == inRollback:
		b.report(diag.Errorf(diag.WrongClause, at, "the steps of `rollback` are final: none of them is undone after a time").WithHint("remove `for`, or write `wait` behind the step"))
	case step != nil:
		b.report(diag.Errorf(diag.NeverRun, at, "`%s` cannot last `for` a time: a step of it cannot be undone", s.Name).WithNote(step.Call.Span, "this one").
			WithHint("remove `for`, and write `wait` behind the step to let time pass"))
	case b.in != inAction && !leaves(s.Body):
		b.report(diag.Errorf(diag.NeverRun, at, "`%s` leaves nothing to undo when its steps are done, so it has no `for`", s.Name).WithHint("remove `for`, or write `wait` behind the step"))
	}
}

// irreversible is the first step of a body that nothing can undo, nil where there is none.
func irreversible(list []Stmt) *Step {
	for _, s := range list {
		var found *Step
		switch s := s.(type) {
		case *Step:
			if s.Call.Spec.Irreversible(func(arg string) bool { _, ok := s.Call.Args[arg]; return ok }) {
				found = s
			}
		case *Composite:
			found = irreversible(s.Body)
		case *Repeat:
			found = irreversible(s.Body)
		case *Parallel:
			found = irreversible(s.Branches)
		case *Do:
			found = irreversible(s.Body)
		case *When:
			if found = irreversible(s.Then); found == nil {
				found = irreversible(s.Else)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// leaves tells that a body leaves faults to its caller: not those that end with a `for`, a `do` or a pass of `repeat`.
func leaves(list []Stmt) bool {
	for _, s := range list {
		yes := false
		switch s := s.(type) {
		case *Step:
			yes = !s.Call.Spec.Harmless && s.For == nil
		case *Composite:
			yes = s.For == nil && leaves(s.Body)
		case *Parallel:
			yes = leaves(s.Branches)
		case *When:
			yes = leaves(s.Then) || leaves(s.Else)
		}
		if yes {
			return true
		}
	}
	return false
}
