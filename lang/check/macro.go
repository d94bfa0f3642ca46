package check

import (
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/value"
)

// macro is a probe with parameters: a call that is expanded where it is used, its parameters as abbreviations of what is
// given for them. The runtime never sees one.
type macro struct {
	syn    *syntax.Probe
	params []spec.Param
	every  *expr.Expr
	open   bool // being expanded
	broken bool
}

// define notes a definition.
func (c *checker) define(s *syntax.Probe) {
	if first, ok := c.macros[s.Name.Text]; ok {
		c.report(diag.Errorf(diag.Duplicate, s.Name.Span, "the name `%s` is taken", s.Name.Text).WithNote(first.syn.Name.Span, "the first is here").WithHint("give this one another name"))
		return
	}
	c.macros[s.Name.Text] = &macro{syn: s}
}

// checkMacros checks each definition once, with nothing known of what will be given.
func (c *checker) checkMacros() {
	for _, item := range c.file.Items {
		s, ok := item.(*syntax.Probe)
		if !ok || s.Formals == nil || c.macros[s.Name.Text].syn != s {
			continue
		}
		m := c.macros[s.Name.Text]
		scope := expr.NewScope(c.global)
		for _, f := range s.Formals.List {
			p := spec.Param{Name: f.Name.Text, Type: value.TAny, Required: f.Default == nil, Positional: true}
			if f.Type != nil {
				p.Type = c.paramType(f.Type)
			}
			if f.Default != nil {
				e := c.expression(f.Default, c.global, known(p.Type), place{kind: inConst})
				if f.Type == nil {
					p.Type = typeOf(e)
				}
			}
			c.declare(scope, f.Name, &expr.Binding{Type: p.Type})
			m.params = append(m.params, p)
		}
		before := len(c.diags)
		m.open = true
		c.probeCall(&s.Call, scope)
		m.open = false
		m.every = c.clauses(s, s.Clauses, scope, place{kind: inProbe}).every
		m.broken = len(c.diags) > before
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
	before := len(c.diags)
	a.check(scope, place{kind: inProbe})
	if m.broken || len(c.diags) > before {
		return nil
	}
	inner := expr.NewScope(c.global)
	for _, f := range m.syn.Formals.List {
		e := given.Args[f.Name.Text]
		if e == nil {
			e = c.expression(f.Default, c.global, nil, place{kind: inConst})
		}
		inner.Names[f.Name.Text] = &expr.Binding{Type: typeOf(e), Let: e, At: f.Name.Span}
	}
	m.open = true
	out := c.probeCall(&m.syn.Call, inner)
	m.open = false
	if fresh := c.diags[before:]; len(fresh) > 0 { // what is given does not fit what is defined: the mistake is the caller's
		first := fresh[0]
		c.diags = c.diags[:before]
		c.report(diag.Errorf(first.Code, call.Span, "this use of `%s` does not fit its definition: %s", call.Name(), first.Message).WithNote(first.Span, "in its definition"))
		return nil
	}
	if out != nil {
		out.Text, out.Span = c.text(call.Span), call.Span
	}
	return out
}
