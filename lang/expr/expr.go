package expr

import (
	"chaos/lang/diag"
	"chaos/lang/value"
)

// Expr is one expression. Parse makes it, Check types it, then Eval may be called, concurrently too.
type Expr struct {
	src  *diag.Source
	at   diag.Span
	p    *parsed
	root *node // nil before Check and after a mistake
	typ  *value.Type
	want *value.Type
	text string
	ops  []Operand  // own operands
	lets []*Binding // the bindings of all operands, in order, lets and plain ones
	err  bool
}

// Parse parses what stands in a span. Diagnostics are the only errors; the Expr is never nil. What the scanner finds wrong
// in the span is among them, with the same code and span as in a scan of the whole file.
func Parse(src *diag.Source, at diag.Span) (*Expr, []diag.Diagnostic) {
	from := min(max(at.Start.Offset, 0), len(src.Text))
	to := min(max(at.End.Offset, from), len(src.Text))
	p, diags := parse(src, from, to, 0)
	e := &Expr{src: src, at: at, p: p, err: p.root == nil}
	if len(p.toks) > 0 {
		e.at = src.Span(p.from, p.to)
	}
	e.text = p.line(p.from, p.to)
	return e, diags
}

// Check resolves names and types in a scope. want, when not nil, is the type that the place asks for. After errors, Type
// is still the best guess, so that one mistake gives one message.
func (e *Expr) Check(s *Scope, want *value.Type) []diag.Diagnostic {
	e.root, e.ops, e.lets = nil, nil, nil
	e.want, e.typ = want, want
	if e.p.root == nil {
		return nil
	}
	c := &checker{scope: s, p: e.p}
	n := c.expr(e.p.root)
	c.adapt(n, want)
	if want == nil || n.typ != tBad && fits(n.typ, want) && !isAny(n.typ) {
		e.typ = n.typ
	}
	e.collect(n)
	e.err = diag.List(c.diags).HasErrors() || n.typ == tBad
	if e.err {
		return c.diags
	}
	if err := prepare(n); err != nil {
		e.err = true
		return append(c.diags, diag.Errorf(diag.BadExpression, e.at, "this expression cannot be evaluated"))
	}
	e.root = n
	return c.diags
}

// collect finds the operands of a typed tree.
func (e *Expr) collect(n *node) {
	n.each(func(n *node) {
		if n.kind != kOperand {
			return
		}
		e.lets = append(e.lets, n.operand.binding)
		if n.operand.binding.Let != nil {
			return
		}
		e.ops = append(e.ops, Operand{Path: n.operand.path, Text: n.text(), At: n.span(), Type: n.typ, Binding: n.operand.binding, rest: n.operand.rest})
	})
}

// Span is where the expression stands.
func (e *Expr) Span() diag.Span { return e.at }

// Text is the expression as written, on one line.
func (e *Expr) Text() string { return e.text }

// Type is the type found by Check, Vague where a mistake hides it.
func (e *Expr) Type() *value.Type {
	if e.typ == nil {
		return Vague
	}
	return e.typ
}

// Operands are what the expression reads, in order of appearance, each once, those of its lets included.
func (e *Expr) Operands() []Operand {
	var out []Operand
	seen, visited := map[string]bool{}, map[*Expr]bool{}
	var visit func(*Expr)
	visit = func(e *Expr) {
		if visited[e] {
			return
		}
		visited[e] = true
		own := e.ops
		for _, b := range e.lets {
			if b.Let != nil {
				visit(b.Let)
				continue
			}
			if op := own[0]; !seen[op.key()] {
				seen[op.key()] = true
				out = append(out, op)
			}
			own = own[1:]
		}
	}
	visit(e)
	return out
}

// Const is the value of an expression that reads nothing, or only what is known before a run.
func (e *Expr) Const() (value.Value, bool) {
	known := map[string]value.Value{}
	if e.root == nil || !e.constants(known, map[*Expr]bool{}) {
		return value.Value{}, false
	}
	v := e.Eval(EnvFunc(func(path []string) value.Value {
		v, ok := known[path[0]]
		if !ok {
			return value.NoData("`%s` is not known", path[0])
		}
		for _, f := range path[1:] {
			v = v.Get(f)
		}
		return v
	}))
	return v, !absent(v)
}

// constants collects the known values of all operands; false when one is not known before a run.
func (e *Expr) constants(known map[string]value.Value, visited map[*Expr]bool) bool {
	if visited[e] {
		return true
	}
	visited[e] = true
	own := e.ops
	for _, b := range e.lets {
		switch {
		case b.Let != nil:
			if b.Let.root == nil || !b.Let.constants(known, visited) {
				return false
			}
			continue
		case b.Const == nil:
			return false
		}
		known[own[0].Path[0]] = *b.Const
		own = own[1:]
	}
	return true
}

// Eval evaluates. It never fails: an error at run time, a NaN, a missing operand that matters is no data.
func (e *Expr) Eval(env Env) value.Value {
	r := &run{env: env}
	return r.expr(e)
}
