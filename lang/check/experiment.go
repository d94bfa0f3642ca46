package check

import (
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
	"chaos/lang/token"
	"chaos/lang/value"
)

// experiment is the check of one experiment.
type experiment struct {
	*checker
	syn   *syntax.Experiment
	out   *Experiment
	scope *expr.Scope // params, lets, probes, and what setup returns
	after *expr.Scope // and what inject returns: for hypothesis and rollback

	sections map[string]*syntax.Section
	handle   map[*syntax.Step]*expr.Binding // of the top-level steps with `as`
	injected *diag.Span                     // the first irreversible step of inject
	within   *diag.Span                     // where it stands in the definition of a composite action
}

func (x *experiment) run() {
	x.sections, x.handle = map[string]*syntax.Section{}, map[*syntax.Step]*expr.Binding{}
	x.mentioned = map[string]bool{}
	defer func() { x.mentioned = nil }()
	x.scope = expr.NewScope(x.global)
	var (
		lets   []*syntax.Let
		params []*syntax.Param
		probes []*syntax.Probe
		aborts []*syntax.Abort
		attrs  []*syntax.Attr
		order  []*syntax.Section
	)
	for _, s := range x.syn.Body.Stmts {
		switch s := s.(type) {
		case *syntax.Param:
			params = append(params, s)
		case *syntax.Let:
			lets = append(lets, s)
		case *syntax.Probe:
			if s.Formals != nil {
				x.report(diag.Errorf(diag.WrongPlace, s.Name.Span, "a probe with parameters is a definition: it stands at the top of a file").WithHint("move it above the experiment"))
				x.assume(x.base, s.Name.Text, s.Name.Span)
				x.unknown[s.Name.Text] = true
				continue
			}
			probes = append(probes, s)
		case *syntax.Abort:
			aborts = append(aborts, s)
		case *syntax.Attr:
			attrs = append(attrs, s)
		case *syntax.Section:
			if first, ok := x.sections[s.Kind]; ok {
				x.report(diag.Errorf(diag.Duplicate, x.wordSpan(s.Span, s.Kind), "there is a second `%s`", s.Kind).
					WithNote(x.wordSpan(first.Span, first.Kind), "the first is here").WithHint("put everything into one"))
				x.loseNames(s)
				continue
			}
			x.sections[s.Kind] = s
			order = append(order, s)
			x.loseMisplaced(s)
		default:
			x.misplaced(s, inExperiment)
		}
	}
	x.declareParams(x.scope, params, &x.out.Params)
	for _, p := range x.out.Params {
		if first, ok := x.outside[p.Name]; ok { // `--param` names no experiment
			x.report(diag.Errorf(diag.Duplicate, p.Span, "another experiment of this file has a parameter `%s`", p.Name).
				WithNote(first, "the first is here").WithHint("move it to the top of the file, or give this one another name"))
			continue
		}
		x.outside[p.Name] = p.Span
	}
	x.declareLets(x.scope, lets)
	own := x.declareProbes(x.scope, probes)
	x.predeclare("setup", x.scope)
	x.phases(x.scope, append(slices.Clone(x.unit.own), own...))
	x.steadyName()
	x.after = expr.NewScope(x.scope)
	x.predeclare("inject", x.after)
	x.checkLets(x.scope, lets)
	x.checkProbes(x.scope, probes, own)
	x.attributes(attrs)
	x.out.Guards = append(x.out.Guards, x.guards...)
	for _, g := range x.guards {
		for _, o := range g.Cond.Operands() {
			x.mention(o)
		}
	}
	for _, a := range aborts {
		if g := x.guard(x.scope, a); g != nil {
			x.out.Guards = append(x.out.Guards, g)
		}
	}
	for _, s := range order {
		x.section(s)
	}
	x.recovery()
	for _, p := range append(slices.Clone(x.decls), own...) {
		if x.mentioned[p.Name] && p.Call != nil {
			x.out.Probes = append(x.out.Probes, p)
		}
	}
}

// loseMisplaced assumes, before anything uses them, the names that stand in a section where they cannot.
func (x *experiment) loseMisplaced(s *syntax.Section) {
	for _, in := range s.Body.Stmts {
		switch in := in.(type) {
		case *syntax.Probe, *syntax.Param, *syntax.Section:
			x.loseNames(in)
		case *syntax.Step:
			if s.Kind == "steady" || s.Kind == "hypothesis" {
				x.loseNames(in)
			}
		}
	}
}

// predeclare declares what the top-level steps of a section return, for the places outside of that section.
func (x *experiment) predeclare(section string, scope *expr.Scope) {
	s := x.sections[section]
	if s == nil {
		return
	}
	for _, in := range s.Body.Stmts {
		step, ok := in.(*syntax.Step)
		if !ok {
			continue
		}
		for _, cl := range step.Clauses {
			if cl.Name == nil || x.handle[step] != nil {
				continue
			}
			b := x.returned(step)
			if x.declare(scope, *cl.Name, b) {
				x.handle[step] = b
				x.late[b] = section == "inject"
			}
		}
	}
}

// returned is the meaning of the name behind `as`.
func (x *experiment) returned(step *syntax.Step) *expr.Binding {
	t, spec := x.resultOf(&step.Call)
	for _, cl := range step.Clauses {
		if cl.Kind() == "pick" && x.src.Slice(cl.Value.Span) != "1" {
			t = value.ListOf(t)
		}
	}
	b := &expr.Binding{Type: t}
	x.handles[b] = true
	x.setVague(b, spec == nil)
	return b
}

func (x *experiment) steadyName() {
	if s := x.sections["steady"]; s != nil {
		x.scope.Names["steady"] = &expr.Binding{Type: value.TBool, At: x.wordSpan(s.Span, s.Kind)}
		return
	}
	if x.file.Incomplete {
		b := &expr.Binding{Type: value.TBool}
		x.setVague(b, true)
		x.scope.Names["steady"] = b
		return
	}
	x.deny(x.scope, "steady", "this experiment has no `steady` block", "write one: `steady { expect … }`")
}

// recovery demands a steady state where something irreversible is done.
func (x *experiment) recovery() {
	if x.injected == nil || x.file.Incomplete {
		return
	}
	report := func(d diag.Diagnostic) {
		if x.within != nil {
			d = d.WithNote(*x.within, "this step of it")
		}
		x.report(d)
	}
	switch s := x.sections["steady"]; {
	case s == nil:
		report(diag.Errorf(diag.NeedsSteady, *x.injected, "this cannot be undone, and the experiment has no `steady` to show that the system recovered").
			WithHint("write `steady { expect … }` in the experiment"))
	case x.out.Steady != nil && len(x.out.Steady.Checks) == 0 && len(s.Body.Stmts) == countAttrs(s.Body.Stmts):
		report(diag.Errorf(diag.NeedsSteady, *x.injected, "this cannot be undone, and `steady` expects nothing that would show that the system recovered").
			WithNote(x.wordSpan(s.Span, s.Kind), "it is empty").WithHint("write `expect …` in `steady`"))
	}
}

func countAttrs(list []syntax.Stmt) int {
	n := 0
	for _, s := range list {
		switch s.(type) {
		case *syntax.Attr, *syntax.Let:
			n++
		}
	}
	return n
}

// guard checks an `abort when`.
func (c *checker) guard(scope *expr.Scope, s *syntax.Abort) *Guard {
	p := place{kind: inGuard, word: "abort when"}
	g := &Guard{Span: s.Cond.Span, Text: c.statement("abort when", &s.Cond, s.Clauses)}
	g.Cond = c.expression(&s.Cond, scope, value.TBool, p)
	c.mustChange(g.Cond, "this guard watches no probe, so it can never trip")
	cl := c.clauses(s, s.Clauses, scope, p)
	g.For, g.Because = cl.hold, cl.because
	return g
}

// mustChange reports a condition that nothing can change.
func (c *checker) mustChange(e *expr.Expr, message string) {
	if e == nil || c.isVague(e) || c.changes(e) {
		return
	}
	c.report(diag.Errorf(diag.NeverRun, e.Span(), "%s", message).WithHint("name a probe in it: `probe name = …` in the experiment"))
}

// statement is the text of a check or a guard on one line, without `because`.
func (c *checker) statement(word string, cond *syntax.Expr, list []*syntax.Clause) string {
	return strings.Join(append([]string{word, c.text(cond.Span)}, c.clauseTexts(list)...), " ")
}

func (c *checker) clauseTexts(list []*syntax.Clause) []string {
	var out []string
	for _, cl := range list {
		if cl.Kind() != "because" {
			out = append(out, c.text(cl.Span))
		}
	}
	return out
}

func tokensOf(c *checker, at diag.Span) []token.Token {
	var out []token.Token
	for _, t := range token.ScanRange(c.src, at.Start.Offset, at.End.Offset).Tokens {
		if t.Kind != token.End && t.Kind != token.EOF {
			out = append(out, t)
		}
	}
	return out
}

// attributes checks those of the experiment.
func (x *experiment) attributes(list []*syntax.Attr) {
	a := x.attrs(list, "experiment")
	x.out.Owner = a.text("owner")
	x.out.Runbook = a.text("runbook")
	x.out.Tags = a.texts("tags")
	x.out.Deadline = a.duration("deadline")
	x.out.Recovery = a.duration("recovery")
	x.out.Meta = a.expr("meta", value.MapOf(value.TAny))
}

// attrs are the attributes of one block by name.
type attrs struct {
	*experiment
	by map[string]*syntax.Attr
}

// attrNames is the closed list of attributes of each block.
var attrNames = map[string][]string{
	"experiment": {"owner", "tags", "runbook", "deadline", "recovery", "meta"},
	"steady":     {"window", "settle"},
	"hypothesis": {"stop_when_refuted"},
}

func (x *experiment) attrs(list []*syntax.Attr, block string) attrs {
	a := attrs{experiment: x, by: map[string]*syntax.Attr{}}
	names := attrNames[block]
	for _, s := range list {
		name := s.Name.Text
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			x.unknownAttr(s, block)
			continue
		}
		if first, ok := a.by[name]; ok {
			x.report(diag.Errorf(diag.Duplicate, s.Name.Span, "`%s` is given twice", name).WithNote(first.Name.Span, "the first is here").WithHint("keep one of them"))
			continue
		}
		a.by[name] = s
	}
	return a
}

// elsewhereSaid is where an experiment says what other tools have an attribute for.
var elsewhereSaid = map[string]string{
	"name": "its title is its name: `experiment \"…\" {`", "title": "the title stands behind the word: `experiment \"…\" {`",
	"description": "a comment above the experiment describes it; anything else goes into `meta: {description: …}`",
	"timeout":     "`deadline: 5m` ends all of it", "max_duration": "`deadline: 5m` ends all of it", "duration": "`for 30s` behind a step says how long it lasts, `deadline: 5m` ends all of it",
	"thresholds": "what must hold is an `expect` in `hypothesis { … }`", "tag": "write `tags: [\"…\"]`", "labels": "write `tags: [\"…\"]`",
}

func (x *experiment) unknownAttr(s *syntax.Attr, block string) {
	name := s.Name.Text
	d := diag.Errorf(diag.UnknownAttr, s.Name.Span, "`%s` has no attribute `%s`", block, name)
	if near, ok := diag.Nearest(name, attrNames[block]); ok {
		x.report(d.WithHint("did you mean `%s`?", near))
		return
	}
	for other, names := range attrNames {
		for _, n := range names {
			if n == name && other != block {
				x.report(d.WithHint("`%s` stands in `%s`", name, other))
				return
			}
		}
	}
	switch meant := elsewhereSaid[name]; {
	case block == "experiment" && meant != "":
		d = d.WithHint("%s", meant)
	case block == "experiment":
		d = d.WithHint("it has `%s`; anything else goes into `meta: {%s: …}`", strings.Join(attrNames[block], "`, `"), name)
	case attrNames[block] != nil:
		d = d.WithHint("it has `%s`", strings.Join(attrNames[block], "`, `"))
	}
	x.report(d)
}

func (a attrs) expr(name string, want *value.Type) *expr.Expr {
	s := a.by[name]
	if s == nil {
		return nil
	}
	return a.expression(&s.Value, a.scope, want, place{kind: inAttr})
}

func (a attrs) duration(name string) *expr.Expr {
	e := a.expr(name, value.TDuration)
	a.positive(e, name)
	return e
}

// constant is the value of an attribute that must be known without running anything.
func (a attrs) constant(name string, want *value.Type) (value.Value, bool) {
	e := a.expr(name, want)
	if e == nil || a.isVague(e) {
		return value.Value{}, false
	}
	v, ok := e.Const()
	if !ok {
		if want == nil {
			want = value.TBool
		}
		a.report(diag.Errorf(diag.WrongPlace, e.Span(), "`%s` must be plain: tools read it without running the script", name).WithHint("write `%s: %s`", name, want.Example()))
	}
	return v, ok
}

func (a attrs) text(name string) string {
	v, _ := a.constant(name, value.TString)
	return v.Text()
}

func (a attrs) texts(name string) []string {
	v, _ := a.constant(name, value.ListOf(value.TString))
	var out []string
	for _, item := range v.Items() {
		out = append(out, item.Text())
	}
	return out
}

func (a attrs) bool(name string) bool {
	v, ok := a.constant(name, nil)
	if ok {
		a.flag(a.expr(name, nil), name)
	}
	return v.Bool()
}
