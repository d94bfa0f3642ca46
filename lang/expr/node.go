package expr

import (
	"github.com/expr-lang/expr/ast"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// kind is what a node of the typed tree does.
type kind byte

const (
	kConst     kind = iota
	kOperand        // a name with its fields and constant indexes
	kElement        // `#` and `#index`
	kNegate         // unary minus
	kBinary         // arithmetic, comparison, string and list operators
	kAnd            // three-valued
	kOr             // three-valued
	kNot            // three-valued
	kCoalesce       // `??`
	kCond           // `c ? a : b`
	kList           // a list literal
	kMap            // a map literal
	kText           // a string with holes
	kGet            // a field or an element that is not part of an operand
	kSlice          // `x[a:b]`
	kCall           // a function
	kPredicate      // `all(list, …)` and its like
)

// node is a typed expression. The checker makes it from the engine's tree; evaluation never looks at types again.
type node struct {
	kind kind
	typ  *value.Type
	at   *parsed // where its text is
	tree ast.Node
	op   string // operator, or name of the function
	kids []*node
	keys []string // of a map literal

	val     value.Value // of a constant
	operand *operand
	fn      *function
	scale   float64 // what the result is multiplied by (above 1) or divided by (below -1) to be in its base unit
	element bool    // reads `#` of a predicate around it
	leaf    *leaf   // compiled, where the engine evaluates it
}

// operand is what a kOperand reads: a binding, fields, then constant indexes and what follows them.
type operand struct {
	binding *Binding
	path    []string // the name and its fields
	rest    []step   // from the first index on
}

// step goes from a value to a part of it.
type step struct {
	key     string
	index   int
	isIndex bool
}

// span is where the node stands.
func (n *node) span() diag.Span { return n.at.spanOf(n.tree) }

// text is the node as written, on one line.
func (n *node) text() string {
	s := n.span()
	return n.at.line(s.Start.Offset, s.End.Offset)
}

// each calls f for a node and everything below it, in order.
func (n *node) each(f func(*node)) {
	f(n)
	for _, k := range n.kids {
		if k != nil {
			k.each(f)
		}
	}
}

func (n *node) isZero() bool { return n.isNumber(0) }

// isNumber tells a plain number literal of a given value.
func (n *node) isNumber(f float64) bool {
	return n.kind == kConst && n.typ.Kind == value.Number && n.val.Float() == f
}

// part reads a part of a value; what is not there is no data.
func (s step) of(v value.Value) value.Value {
	if absent(v) {
		return v
	}
	if !s.isIndex {
		return v.Get(s.key)
	}
	switch x := v.V.(type) {
	case []value.Value:
		i := s.index
		if i < 0 {
			i += len(x)
		}
		if i < 0 || i >= len(x) {
			return value.NoData("there is no element %d: the list has %d", s.index, len(x))
		}
		return x[i]
	case string:
		c, err := char(x, s.index)
		if err != nil {
			return value.NoData("%s", err)
		}
		return value.StringOf(c)
	}
	return value.NoData("%s has no element %d", v.Short(), s.index)
}

// absent tells a value that says nothing: no data, or known only after setup.
func absent(v value.Value) bool { return v.Unknown || v.IsMissing() }
