package expr

import (
	"strings"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// Settled is a part of a condition that says the same whatever is measured.
type Settled struct {
	At   diag.Span
	True bool
	Why  string // a clause, "" where the part reads nothing at all
}

// Settled finds the parts of a condition that no sample can change: constants, a thing compared with itself, and what
// compares something that is never negative with 0. Parts are what `and`, `or` and `not` join.
func (e *Expr) Settled() []Settled {
	var out []Settled
	var visit func(n *node)
	visit = func(n *node) {
		switch n.kind {
		case kAnd, kOr, kNot:
			for _, k := range n.kids {
				visit(k)
			}
			return
		}
		if s, ok := settled(n); ok {
			s.At = n.span()
			out = append(out, s)
		}
	}
	if e.root != nil {
		visit(e.root)
	}
	return out
}

func settled(n *node) (Settled, bool) {
	reads := false
	n.each(func(n *node) { reads = reads || n.kind == kOperand })
	if !reads {
		v := (&run{env: EnvFunc(func([]string) value.Value { return value.NoData("nothing is known") })}).node(n)
		b, ok := v.V.(bool)
		return Settled{True: b}, ok && !absent(v)
	}
	if n.kind != kBinary {
		return Settled{}, false
	}
	l, r := n.kids[0], n.kids[1]
	if l.text() == r.text() {
		why := "it compares `" + shorten(l.text()) + "` with itself"
		switch n.op {
		case "==", "<=", ">=":
			return Settled{True: true, Why: why}, true
		case "!=", "<", ">":
			return Settled{Why: why}, true
		}
	}
	op := n.op
	if l.kind == kConst && r.kind != kConst { // 0 <= x is x >= 0
		l, r = r, l
		op = map[string]string{"<": ">", ">": "<", "<=": ">=", ">=": "<="}[op]
	}
	if r.kind != kConst || !neverNegative(l) {
		return Settled{}, false
	}
	limit := r.val.Float()
	why := "`" + shorten(l.text()) + "` is never negative"
	switch {
	case op == ">=" && limit <= 0, op == ">" && limit < 0:
		return Settled{True: true, Why: why}, true
	case op == "<" && limit <= 0, op == "<=" && limit < 0:
		return Settled{Why: why}, true
	case !isShare(l):
		return Settled{}, false
	}
	why = "`" + shorten(l.text()) + "` is never more than 100%"
	switch {
	case op == "<=" && limit >= 1, op == "<" && limit > 1:
		return Settled{True: true, Why: why}, true
	case op == ">" && limit >= 1, op == ">=" && limit > 1:
		return Settled{Why: why}, true
	}
	return Settled{}, false
}

// neverNegative tells a measured quantity. A plain number may be anything, unless its name says that it is a count.
func neverNegative(n *node) bool {
	if n.kind == kCall && (n.op == "len" || n.op == "count") {
		return true
	}
	if n.kind != kOperand || n.operand.binding.Let != nil || n.typ.AnyUnit || len(n.operand.rest) > 0 || len(n.operand.path) < 2 {
		return false
	}
	last := n.operand.path[len(n.operand.path)-1]
	return n.typ.Unit() || n.typ.Kind == value.Number && (last == "count" || last == "errors" || strings.HasSuffix(last, "_count"))
}

// isShare tells a part of a whole.
func isShare(n *node) bool {
	if n.kind != kOperand || n.typ.Kind != value.Ratio {
		return false
	}
	last := n.operand.path[len(n.operand.path)-1]
	return last == "ratio" || strings.HasSuffix(last, "_ratio")
}
