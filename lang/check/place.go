package check

import (
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
)

// placeKind says where an expression or a statement stands, which decides what is known there.
type placeKind int

const (
	inFile placeKind = iota
	inExperiment
	inSetup
	inSteady
	inHypothesis
	inInject
	inRollback
	inConst // defaults: constants only
	inLet   // an abbreviation: judged where it is used
	inProbe // arguments of a probe: fixed after setup
	inAttr  // attributes, and the times of checks and guards: fixed before the run
	inGuard // `abort when`
	inExpect
	inOngoing // always, never, eventually
	inAction  // the body of a definition
	inModule
)

type place struct {
	kind placeKind
	word string // the statement's first word, for messages

	secret    bool   // a secret may go here: it is shown nowhere
	shown     string // the call that shows what it is given
	composite bool   // a step that calls a definition
}

// sectionKinds maps the word of a section to its place.
var sectionKinds = map[string]placeKind{"setup": inSetup, "steady": inSteady, "hypothesis": inHypothesis, "inject": inInject, "rollback": inRollback, "action": inAction}

func (k placeKind) String() string {
	for w, s := range sectionKinds {
		if s == k {
			return w
		}
	}
	return map[placeKind]string{inFile: "the file", inModule: "the module", inExperiment: "experiment"}[k]
}

// placed judges what an expression reads by where it stands: is that known there?
func (c *checker) placed(e *expr.Expr, p place) (bad bool) {
	if p.kind == inLet {
		return false
	}
	if !p.secret && e.Tainted() {
		c.leak(e, p)
		return true
	}
	for _, o := range e.Operands() {
		d, bad := c.judge(o, p)
		if !bad {
			continue
		}
		d.Span = o.At
		if o.At.File != e.Span().File || o.At.Start.Offset < e.Span().Start.Offset || o.At.End.Offset > e.Span().End.Offset {
			d.Span = e.Span()
			d = d.WithNote(o.At, "`%s` stands for it here", o.Text)
		}
		c.report(d)
		return true // one expression, one message
	}
	return false
}

// leak reports a secret where its value would be shown.
func (c *checker) leak(e *expr.Expr, p place) {
	d := diag.Errorf(diag.SecretShown, e.Span(), "a secret may go only into the arguments of actions and probes: here its value would be shown")
	if p.shown != "" {
		d = diag.Errorf(diag.SecretShown, e.Span(), "`%s` shows what it is given, and this is secret", p.shown)
	}
	for _, o := range e.Operands() {
		if o.Binding.Tainted && (o.At.File != e.Span().File || o.At.Start.Offset < e.Span().Start.Offset || o.At.End.Offset > e.Span().End.Offset) {
			d = d.WithNote(o.At, "this is secret")
			break
		} else if o.Binding.Tainted && o.Binding.Secret == "" && o.Binding.At != (diag.Span{}) {
			d = d.WithNote(o.Binding.At, "`%s` is secret, since a secret goes into it", o.Text)
			break
		}
	}
	c.uses[e] = append(c.uses[e], vagueBinding)
	if p.shown == "" && p.kind != inConst {
		d = d.WithHint("judge what a probe sees that was given the secret")
	}
	c.report(d)
}

func constant(at diag.Span, text string) diag.Diagnostic {
	return diag.Errorf(diag.WrongPlace, at, "a default is a constant, and `%s` is none", text).WithHint("write a value, such as `10s` or `\"text\"`")
}

func (c *checker) judge(o expr.Operand, p place) (diag.Diagnostic, bool) {
	root, b := o.Path[0], o.Binding
	phase := root == "before" || root == "during" || root == "after"
	sampled := phase || root == "steady" || c.probes[b] != nil
	fail := func(code diag.Code, hint, format string, args ...any) (diag.Diagnostic, bool) {
		d := diag.Errorf(code, o.At, format, args...)
		d.Hint = hint
		return d, true
	}
	switch p.kind {
	case inConst:
		if b.Secret != "" {
			return diag.Diagnostic{}, false
		}
		return constant(o.At, o.Text), true
	case inProbe:
		if sampled {
			return fail(diag.WrongPlace, "use a param, a let of params, or a handle from `setup`", "the arguments of a probe are fixed after setup, and `%s` goes on changing", o.Text)
		}
		return diag.Diagnostic{}, false
	case inAttr:
		if sampled || c.handles[b] {
			return fail(diag.WrongPlace, "use a literal, a param, or a let of params", "this is fixed before the run, and `%s` is not known then", o.Text)
		}
		return diag.Diagnostic{}, false
	}
	if p.kind == inOngoing && c.late[b] {
		return fail(diag.TooEarly, "use it in an `expect`, or bind it in `setup`", "`%s` is known only after its step has run, and `%s` is judged from the first injection on", o.Text, p.word)
	}
	if !phase || p.kind == inExpect {
		return diag.Diagnostic{}, false
	}
	now := present(o.Path)
	if root == "before" {
		switch p.kind {
		case inSetup:
			return fail(diag.TooEarly, "use the present sample: `"+now+"`", "`%s` is not known in `setup`: what is before the injection is measured after it", o.Text)
		case inSteady:
			return fail(diag.TooEarly, "compare with `before.` in `hypothesis`", "`%s` is not known in `steady`: it is what `steady` measures", o.Text)
		}
		return diag.Diagnostic{}, false
	}
	switch p.kind {
	case inOngoing:
		return fail(diag.TooEarly, "write `expect` to judge the whole phase once, or use the present sample: `"+now+"`", "`%s` is complete only at the end, and `%s` is judged all the time", o.Text, p.word)
	case inGuard:
		return fail(diag.TooEarly, "use the present sample: `"+now+"`", "`%s` is complete only at the end, too late for a guard", o.Text)
	}
	return fail(diag.TooEarly, "use the present sample: `"+now+"`", "`%s` may be used only in an `expect` of `hypothesis`: here it is not complete", o.Text)
}

// present is the path of the sample that a summary summarises.
func present(path []string) string {
	rest := path[1:]
	if n := len(rest); n > 2 {
		rest = rest[:n-1]
	}
	return strings.Join(rest, ".")
}

// misplaced reports a statement that cannot stand in this place, and why.
func (c *checker) misplaced(s syntax.Stmt, in placeKind) {
	c.loseNames(s)
	where := "in `" + in.String() + "`"
	if in == inFile {
		where = "at the top of a file"
	}
	if in == inModule {
		c.notInModule(s)
		return
	}
	body := in == inAction || in == inSetup || in == inInject || in == inRollback
	fail := func(at diag.Span, hint, format string, args ...any) {
		d := diag.Errorf(diag.WrongPlace, at, format, args...)
		d.Hint = hint
		c.report(d)
	}
	switch s := s.(type) {
	case *syntax.Use:
		fail(s.Span, "move it above the experiment", "`use` stands at the top of a file, not %s", where)
	case *syntax.Action:
		fail(s.Name.Span, "move it above the experiment", "an `action` is defined at the top of a file, not %s", where)
	case *syntax.Param:
		fail(s.Name.Span, "move it to the experiment or to the top of the file", "a `param` belongs to a file or an experiment, not %s", where)
	case *syntax.Probe:
		fail(s.Name.Span, "move it out of `"+in.String()+"`, into the experiment", "a `probe` is declared in the experiment or the file, not %s", where)
	case *syntax.Experiment:
		fail(s.Title.Span, "close the block before it with `}`", "an experiment cannot stand %s", where)
	case *syntax.Section:
		at := c.wordSpan(s.Span, s.Kind)
		if in == inFile {
			fail(at, "write `experiment \"what must hold\" { … }` around it", "`%s` belongs to an experiment, not %s", s.Kind, where)
			return
		}
		fail(at, "close `"+in.String()+"` before it with `}`", "`%s` cannot stand %s", s.Kind, where)
	case *syntax.Check:
		c.misplacedCheck(s, in, where, fail)
	case *syntax.Abort:
		at := c.wordSpan(s.Span, "abort")
		fail(at, "move it to the experiment", "a guard watches the faults: it stands in the experiment, in `inject` or at the top of the file, not %s", where)
	case *syntax.Wait:
		hint := "move it to `inject`, `setup` or `rollback`"
		switch in {
		case inSteady:
			hint = "write `settle: 30s` to give the steady state time"
		case inHypothesis:
			hint = "write `eventually … within 30s`, or move it to `inject`"
		}
		fail(c.wordSpan(s.Span, "wait"), hint, "`wait` is a step, and nothing runs %s", where)
	case *syntax.Repeat:
		fail(c.wordSpan(s.Span, "repeat"), "move it to `inject`, `setup` or `rollback`", "`repeat` runs steps, and nothing runs %s", where)
	case *syntax.When:
		fail(c.wordSpan(s.Span, "when"), "move it to `inject`, `setup` or `rollback`", "`when` chooses steps, and nothing runs %s", where)
	case *syntax.Parallel:
		fail(c.wordSpan(s.Span, "parallel"), "move it to `inject`, `setup` or `rollback`", "`parallel` runs steps, and nothing runs %s", where)
	case *syntax.Do:
		fail(c.wordSpan(s.Span, "do"), "move it to `inject`, `setup` or `rollback`", "`do` groups steps, and nothing runs %s", where)
	case *syntax.Step:
		name := s.Call.Name()
		if spec, ok := c.cat.Call(name); ok && spec.Kind == "probe" {
			read := "read `name` where it is needed"
			switch in {
			case inSteady, inHypothesis:
				read = "`expect name…` here"
			case inSetup, inInject, inRollback:
				read = "`wait until name… within 5s` here"
			}
			c.report(diag.Errorf(diag.NotAnAction, s.Call.NameSpan(), "`%s` is a probe: it is declared with a name, and is no statement", name).
				WithHint("write `probe name = %s(…)` in the experiment, and %s", name, read))
			return
		}
		hint := "move it to `setup`, `inject` or `rollback`"
		switch in {
		case inSteady:
			fail(s.Call.NameSpan(), hint, "an action cannot stand in `steady`: looking must not change what is looked at")
		case inHypothesis:
			fail(s.Call.NameSpan(), hint, "an action cannot stand in `hypothesis`: it says what must hold while `inject` acts")
		default:
			fail(s.Call.NameSpan(), hint, "an action cannot stand %s", where)
		}
	case *syntax.Attr:
		hint := ""
		if !body && in == inFile {
			hint = "attributes such as `owner:` stand in the experiment"
		}
		fail(s.Name.Span, hint, "there are no attributes %s", where)
	default:
		fail(s.At(), "", "this cannot stand %s", where)
	}
}

// notInModule reports a statement that makes a file no module.
func (c *checker) notInModule(s syntax.Stmt) {
	at := s.At()
	switch s := s.(type) {
	case *syntax.Experiment:
		at = c.wordSpan(s.Span, "experiment")
	case *syntax.Abort:
		at = c.wordSpan(s.Span, "abort")
	case *syntax.Section:
		at = c.wordSpan(s.Span, s.Kind)
	case *syntax.Check:
		at = c.wordSpan(s.Span, s.Kind)
	case *syntax.Step:
		at = s.Call.NameSpan()
	}
	c.report(diag.Errorf(diag.WrongPlace, at, "a file that another one uses holds only `use`, `param`, `let`, `probe` and `action`").WithHint("move this into the script that uses it"))
}

func (c *checker) misplacedCheck(s *syntax.Check, in placeKind, where string, fail func(diag.Span, string, string, ...any)) {
	at := c.wordSpan(s.Span, s.Kind)
	switch {
	case s.Kind == "expect" && (in == inInject || in == inRollback || in == inAction):
		fail(at, "write `wait until … within 5s` to wait for it here, or move it to `hypothesis`", "`expect` is judged in `steady` and `hypothesis`, not %s", where)
	case s.Kind == "expect" && in == inSetup:
		fail(at, "move it out of the inner block, or write `wait until … within 5s`", "a precondition stands directly in `setup`, where it is judged once in any case")
	case s.Kind == "expect":
		fail(at, "move it to `steady` or `hypothesis`", "`expect` cannot stand %s", where)
	case in == inSteady:
		fail(at, "write `expect`: in `steady` it holds on every sample", "`%s` is judged while `inject` acts, so it belongs to `hypothesis`", s.Kind)
	case s.Kind == "eventually" && (in == inInject || in == inSetup || in == inRollback || in == inAction):
		fail(at, "write `wait until … within 5s` to wait for it here", "`eventually` belongs to `hypothesis`, not %s", where)
	default:
		fail(at, "move it to `hypothesis`", "`%s` belongs to `hypothesis`: it cannot stand %s", s.Kind, where)
	}
}

// wordSpan is the place of the word that a statement starts with.
func (c *checker) wordSpan(at diag.Span, word string) diag.Span {
	return c.src.Span(at.Start.Offset, at.Start.Offset+len(word))
}

// loseNames assumes the names that a statement in the wrong place would have declared.
func (c *checker) loseNames(s syntax.Stmt) {
	lose := func(n *syntax.Name) {
		if n != nil {
			c.assume(c.base, n.Text, n.Span)
		}
	}
	switch s := s.(type) {
	case *syntax.Param:
		lose(&s.Name)
	case *syntax.Let:
		lose(&s.Name)
	case *syntax.Probe:
		lose(&s.Name)
	case *syntax.Step:
		for _, cl := range s.Clauses {
			lose(cl.Name)
		}
	case *syntax.Section:
		for _, in := range s.Body.Stmts {
			c.loseNames(in)
		}
	}
}
