package expr

import (
	"errors"

	"github.com/expr-lang/expr/vm"

	"chaos/lang/value"
)

// run is one evaluation. A let is computed once in it, however often it is named.
type run struct {
	env  Env
	lets map[*Expr]value.Value
	busy map[*Expr]bool
}

// expr evaluates a whole expression and holds it to the type that its place asks for.
func (r *run) expr(e *Expr) value.Value {
	if e.root == nil {
		return value.NoData("the expression has a mistake")
	}
	v := r.node(e.root)
	if absent(v) {
		v.T = e.Type()
		return v
	}
	if why := unlike(v, e.want); why != "" {
		return value.Value{T: e.Type(), Missing: why}
	}
	if e.typ != nil && (v.T == nil || isAny(v.T) || e.typ.Kind == v.T.Kind) {
		v.T = e.Type()
	}
	return v
}

// unlike says why a value is not of a type, "" where it is.
func unlike(v value.Value, t *value.Type) string {
	if t == nil || isAny(t) || absent(v) {
		return ""
	}
	ok := true
	switch t.Kind {
	case value.Bool:
		_, ok = v.V.(bool)
	case value.String:
		_, ok = v.V.(string)
	case value.List:
		_, ok = v.V.([]value.Value)
	case value.Map, value.Struct:
		_, ok = v.V.(map[string]value.Value)
	case value.HandleK:
		_, ok = v.V.(value.Handle)
	case value.Nil:
		ok = v.V == nil
	default:
		_, ok = v.V.(float64)
	}
	switch {
	case ok:
		return ""
	case t.Kind == value.Bool:
		return v.Short() + " is neither true nor false"
	}
	return v.Short() + " is no " + string(t.Kind)
}

func (r *run) node(n *node) value.Value {
	switch n.kind {
	case kConst:
		return n.val
	case kOperand:
		return r.operand(n)
	case kAnd, kOr:
		return r.junction(n)
	case kNot:
		v := r.condition(n.kids[0])
		if !absent(v) {
			v = value.BoolOf(!v.Bool())
		}
		return v
	case kCoalesce:
		v := r.node(n.kids[0])
		if v.Unknown || !absent(v) && v.V != nil {
			return v
		}
		return r.node(n.kids[1])
	case kCond:
		v := r.condition(n.kids[0])
		switch {
		case absent(v):
			return v
		case v.Bool():
			return r.node(n.kids[1])
		}
		return r.node(n.kids[2])
	case kList:
		items := make([]value.Value, len(n.kids))
		for i, k := range n.kids {
			if items[i] = r.node(k); absent(items[i]) {
				return items[i]
			}
		}
		return value.Value{T: n.typ, V: items}
	case kMap:
		m := make(map[string]value.Value, len(n.kids))
		for i, k := range n.kids {
			v := r.node(k)
			if absent(v) {
				return v
			}
			m[n.keys[i]] = v
		}
		return value.Value{T: n.typ, V: m}
	case kText:
		parts := make([]value.Value, len(n.kids))
		for i, k := range n.kids {
			if parts[i] = r.node(k); absent(parts[i]) {
				return parts[i]
			}
		}
		return printed(parts)
	}
	return r.leaf(n)
}

// condition is a value that must be true or false; anything else is no data.
func (r *run) condition(n *node) value.Value {
	v := r.node(n)
	if why := unlike(v, value.TBool); why != "" {
		return value.Value{T: value.TBool, Missing: why}
	}
	return v
}

// junction is three-valued: a side that decides does so whatever the other one is.
func (r *run) junction(n *node) value.Value {
	decides := n.kind == kOr
	l := r.condition(n.kids[0])
	if !absent(l) && l.Bool() == decides {
		return l
	}
	m := r.condition(n.kids[1])
	if !absent(m) && m.Bool() == decides || !absent(l) {
		return m
	}
	return l
}

// operand looks up a name with its fields.
func (r *run) operand(n *node) value.Value {
	o := n.operand
	var v value.Value
	if let := o.binding.Let; let != nil {
		v = r.let(let)
		for _, f := range o.path[1:] {
			v = step{key: f}.of(v)
		}
	} else {
		v = r.env.Lookup(o.path)
	}
	for _, s := range o.rest {
		v = s.of(v)
	}
	switch {
	case absent(v):
		return v
	case v.V == nil && n.typ.Kind != value.Any && n.typ.Kind != value.Nil:
		return value.NoData("`%s` is nil", n.text())
	}
	if why := unlike(v, n.typ); why != "" {
		return value.Value{T: n.typ, Missing: why}
	}
	if v.T == nil || isAny(v.T) {
		v.T = n.typ
	}
	return v
}

func (r *run) let(e *Expr) value.Value {
	if v, ok := r.lets[e]; ok {
		return v
	}
	if r.busy[e] {
		return value.NoData("it is defined by itself")
	}
	if r.lets == nil {
		r.lets, r.busy = map[*Expr]value.Value{}, map[*Expr]bool{}
	}
	r.busy[e] = true
	v := r.expr(e)
	r.busy[e] = false
	r.lets[e] = v
	return v
}

// leaf lets the engine evaluate. What it reads is fetched before: the engine takes nil for false and NaN for more and
// less than everything, so it may see neither.
func (r *run) leaf(n *node) value.Value {
	env := make(map[string]any, len(n.leaf.inputs)+1)
	var missing *value.Value
	for i, in := range n.leaf.inputs {
		v := r.node(in.node)
		switch {
		case v.Unknown:
			return v
		case v.IsMissing() && !in.soft && missing == nil:
			missing = &v
		}
		env[variable(i)] = v.Plain()
	}
	if missing != nil {
		return *missing
	}
	env[ticker] = new(int)
	out, err := vm.Run(n.leaf.program, env)
	if err != nil {
		var why noData
		if errors.As(err, &why) {
			return value.Value{T: n.typ, Missing: string(why)}
		}
		return value.Value{T: n.typ, Missing: "`" + shorten(n.text()) + "` cannot be evaluated with these values"}
	}
	return result(out, n.typ)
}

// result converts what the engine returned.
func result(out any, t *value.Type) value.Value {
	if l, ok := out.([]int); ok {
		out, _ = items(l)
	}
	v := value.FromPlain(out, t)
	if v.Missing != "" {
		return v
	}
	if v.IsMissing() {
		return value.Value{T: t, Missing: v.Why()}
	}
	if v.V == nil && !isAny(t) && t.Kind != value.Nil {
		return value.Value{T: t, Missing: "there is no value"}
	}
	return v
}
