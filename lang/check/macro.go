package check

import (
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
)

// macro is a probe with parameters: a call that is expanded where it is used, its parameters as abbreviations of what is
// given for them. The runtime never sees one.
type macro struct {
	syn    *syntax.Probe
	unit   *unit
	params []spec.Param
	every  *expr.Expr
	open   bool // being expanded
	broken bool
}

// define notes a definition.
func (c *checker) define(s *syntax.Probe) {
	if c.taken(s.Name, "a probe with parameters") {
		return
	}
	c.macros[s.Name.Text] = &macro{syn: s, unit: c.unit}
}

// checkMacros checks each definition once, with nothing known of what will be given.
func (c *checker) checkMacros() {
	var list []*macro
	scopes := map[*macro]*expr.Scope{}
	for _, item := range c.file.Items { // what each takes, before one uses another that stands below
		s, ok := item.(*syntax.Probe)
		if !ok || s.Formals == nil || c.macros[s.Name.Text] == nil || c.macros[s.Name.Text].syn != s {
			continue
		}
		m := c.macros[s.Name.Text]
		before := len(c.diags)
		list, scopes[m] = append(list, m), expr.NewScope(c.global)
		m.params = c.formals(s.Formals.List, scopes[m])
		m.broken = m.broken || len(c.diags) > before
	}
	for _, m := range list {
		s, scope := m.syn, scopes[m]
		before := len(c.diags)
		m.open, c.defining = true, true
		c.probeCall(&s.Call, scope)
		m.open, c.defining = false, false
		m.every = c.clauses(s, s.Clauses, scope, place{kind: inProbe}).every
		m.broken = m.broken || len(c.diags) > before
	}
}

// expand is the call that a use of a definition stands for.
func (c *checker) expand(m *macro, call *syntax.Call, scope *expr.Scope) *Call {
	if m.open {
		c.report(diag.Errorf(diag.Cycle, call.NameSpan(), "`%s` is defined by itself", call.Name()).WithNote(m.syn.Name.Span, "it is defined here"))
		m.broken = true
		return nil
	}
	given := &Call{Spec: &spec.Call{Kind: spec.Probe, Name: call.Name(), Params: m.params}, Args: map[string]*expr.Expr{}}
	a := &arguments{checker: c, call: call, spec: given.Spec, out: given, at: map[string]diag.Span{}}
	if !c.fits(a, scope, place{kind: inProbe}, m.syn.Name.Span) || m.broken {
		return nil
	}
	var out *Call
	m.open = true
	fresh := c.trial(func() {
		c.visit(m.unit, func() {
			inner := expr.NewScope(c.global)
			for _, f := range m.syn.Formals.List {
				e := given.Args[f.Name.Text]
				if e == nil {
					p, _ := given.Spec.Param(f.Name.Text)
					e = c.expression(f.Default, c.global, known(p.Type), place{kind: inConst})
				}
				b := &expr.Binding{Type: typeOf(e), Let: e, At: f.Name.Span, Tainted: e.Tainted()}
				c.setVague(b, c.isVague(e))
				inner.Names[f.Name.Text] = b
			}
			out = c.probeCall(&m.syn.Call, inner)
		})
	})
	m.open = false
	if len(fresh) > 0 { // what is given does not fit what is defined: the mistake is the caller's
		c.report(c.misfit(call, fresh[0]))
		return nil
	}
	if out != nil {
		out.Text, out.Span = c.text(call.Span), call.Span
	}
	return out
}
