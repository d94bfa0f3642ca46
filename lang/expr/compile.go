package expr

import (
	"strconv"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"chaos/lang/value"
)

// leaf is a part of an expression that the engine evaluates, and what must be known before.
type leaf struct {
	program *vm.Program
	inputs  []input
}

// input is a variable of a leaf. A soft one stands on the left of a `??` inside a predicate: missing, it is nil.
type input struct {
	node *node
	soft bool
}

// ticker is the variable with the count of elements looked at, which bounds the time that an expression can take.
const ticker = "ticks"

func variable(i int) string { return "v" + strconv.Itoa(i) }

// prepare compiles every leaf of a typed tree. The logic above the leaves is three-valued and therefore evaluated here.
func prepare(n *node) error {
	switch n.kind {
	case kConst, kOperand:
		return nil
	case kAnd, kOr, kNot, kCoalesce, kCond, kList, kMap, kText:
		known := n.kind == kList || n.kind == kMap
		for _, k := range n.kids {
			if err := prepare(k); err != nil {
				return err
			}
			known = known && k.kind == kConst
		}
		if known { // a list of literals is built once
			n.val = (&run{}).node(n)
			n.kind = kConst
		}
		return nil
	}
	l := &lowering{leaf: &leaf{}}
	tree := &parser.Tree{Node: l.lower(n)}
	config := &conf.Config{ShortCircuit: true, Functions: engineFunctions}
	config.WithEnv(map[string]any{})
	program, err := compiler.Compile(tree, config)
	if err != nil {
		return err
	}
	l.leaf.program = program
	n.leaf = l.leaf
	for _, in := range l.leaf.inputs {
		if err := prepare(in.node); err != nil {
			return err
		}
	}
	return nil
}

// lowering turns a typed tree back into one for the engine's compiler, with units erased.
type lowering struct {
	leaf *leaf
	soft bool // below the left side of a `??`: what has no value is nil
}

func (l *lowering) lower(n *node) ast.Node {
	if !n.element {
		switch n.kind {
		case kConst:
			return literal(n.val)
		case kOperand, kAnd, kOr, kNot, kCoalesce, kCond, kList, kMap, kText:
			name := variable(len(l.leaf.inputs))
			l.leaf.inputs = append(l.leaf.inputs, input{n, l.soft})
			return &ast.IdentifierNode{Value: name}
		}
	}
	switch n.kind {
	case kElement:
		p := &ast.PointerNode{Name: n.op}
		if n.op == "index" {
			return l.fn("float", p)
		}
		return l.checked(n.typ, p)
	case kNegate:
		if n.op == "+" {
			return l.fn("float", l.lower(n.kids[0]))
		}
		return l.operator("-", &ast.FloatNode{}, l.lower(n.kids[0]))
	case kBinary:
		return l.binary(n)
	case kAnd, kOr:
		op := map[kind]string{kAnd: "and", kOr: "or"}[n.kind]
		return &ast.BinaryNode{Operator: op, Left: l.truth(n.kids[0]), Right: l.truth(n.kids[1])}
	case kNot:
		return &ast.UnaryNode{Operator: "not", Node: l.truth(n.kids[0])}
	case kCond:
		return &ast.ConditionalNode{Ternary: true, Cond: l.truth(n.kids[0]), Exp1: l.lower(n.kids[1]), Exp2: l.lower(n.kids[2])}
	case kCoalesce:
		outer := l.soft
		l.soft = true
		x, y := l.lower(n.kids[0]), l.lower(n.kids[1])
		l.soft = outer
		return l.fn("coalesce", x, y)
	case kList:
		list := &ast.ArrayNode{}
		for _, k := range n.kids {
			list.Nodes = append(list.Nodes, l.lower(k))
		}
		return list
	case kMap:
		m := &ast.MapNode{}
		for i, k := range n.kids {
			m.Pairs = append(m.Pairs, &ast.PairNode{Key: &ast.StringNode{Value: n.keys[i]}, Value: l.lower(k)})
		}
		return m
	case kText:
		return l.fn("text", l.typed(n.kids)...)
	case kGet:
		return l.fn("get", l.lower(n.kids[0]), l.lower(n.kids[1]))
	case kSlice:
		args := []ast.Node{l.lower(n.kids[0]), &ast.NilNode{}, &ast.NilNode{}}
		for i, k := range n.kids[1:] {
			if k != nil {
				args[i+1] = l.lower(k)
			}
		}
		return l.fn("cut", args...)
	case kCall:
		if n.op == "toJSON" {
			return l.fn("toJSON", l.typed(n.kids)...)
		}
		args := make([]ast.Node, len(n.kids))
		for i, k := range n.kids {
			args[i] = l.lower(k)
		}
		return l.fn(n.op, args...)
	case kPredicate:
		return l.predicate(n)
	}
	return literal(n.val)
}

func (l *lowering) predicate(n *node) ast.Node {
	outer := l.soft
	if outer { // no list, no result: the default on the right counts
		l.soft = false
		hard := l.predicate(n)
		l.soft = true
		nothing := l.fn("operator==", l.fn("items", l.lower(n.kids[0])), &ast.NilNode{})
		return &ast.ConditionalNode{Ternary: true, Cond: nothing, Exp1: &ast.NilNode{}, Exp2: hard}
	}
	list := l.fn("items", l.lower(n.kids[0]))
	l.soft = false // what is missing for one element is no reason to take the default for all
	body := l.lower(n.kids[1])
	l.soft = outer
	tick := "judge" // the body must be true or false
	switch n.op {
	case "map", "sortBy":
		tick = "visit"
	case "sum":
		tick = "weigh"
	}
	body = l.fn(tick, &ast.IdentifierNode{Value: ticker}, body)
	call := &ast.BuiltinNode{Name: n.op, Arguments: []ast.Node{list, &ast.PredicateNode{Node: body}}}
	switch n.op {
	case "count", "sum":
		return l.fn("float", call)
	case "findIndex":
		return l.fn("found", l.fn("maybeFloat", call))
	case "find", "findLast":
		return l.fn("found", call)
	}
	return call
}

// typed puts the types of values in front of them, for functions that print.
func (l *lowering) typed(kids []*node) []ast.Node {
	types := make([]*value.Type, len(kids))
	args := make([]ast.Node, 0, len(kids)+1)
	args = append(args, nil)
	for i, k := range kids {
		types[i] = k.typ
		args = append(args, l.lower(k))
	}
	args[0] = &ast.ConstantNode{Value: &types}
	return args
}

// truth is a condition for the engine; what is not known to be one is checked at run time.
func (l *lowering) truth(n *node) ast.Node {
	x := l.lower(n)
	if n.typ.Kind == value.Bool && !l.soft {
		return x
	}
	return l.fn("truth", x)
}

// checked guards an element whose type is known: a list may still hold what has no value.
func (l *lowering) checked(t *value.Type, x ast.Node) ast.Node {
	if isAny(t) || l.soft {
		return x
	}
	return l.fn("some", x)
}

func (l *lowering) binary(n *node) ast.Node {
	x, y := l.lower(n.kids[0]), l.lower(n.kids[1])
	if n.fn != nil && n.fn.regexp != nil {
		return l.fn("matches", x, &ast.ConstantNode{Value: n.fn.regexp})
	}
	out := ast.Node(nil)
	if native(n) && !l.soft {
		out = &ast.BinaryNode{Operator: n.op, Left: x, Right: y}
	} else {
		out = l.operator(n.op, x, y)
	}
	switch {
	case n.scale > 1:
		out = l.operator("*", out, &ast.FloatNode{Value: n.scale})
	case n.scale < -1:
		out = l.operator("/", out, &ast.FloatNode{Value: -n.scale})
	}
	return out
}

// native tells that the engine's own operator does the same: both sides are known to be numbers, or both strings.
func native(n *node) bool {
	l, r := n.kids[0].typ, n.kids[1].typ
	switch n.op {
	case "+", "-", "*", "<", "<=", ">", ">=":
		if l.Numeric() && r.Numeric() {
			return true
		}
	}
	switch n.op {
	case "<", "<=", ">", ">=", "contains", "startsWith", "endsWith":
		return l.Kind == value.String && r.Kind == value.String
	case "==", "!=":
		return l.Kind == value.String && r.Kind == value.String || l.Kind == value.Bool && r.Kind == value.Bool || l.Numeric() && r.Numeric()
	}
	return false
}

func (l *lowering) operator(op string, x, y ast.Node) ast.Node {
	if op == "^" {
		op = "**"
	}
	return l.fn("operator"+op, x, y)
}

// fn calls a function of the engine's table, on the left of `??` the one that returns nil instead of failing.
func (l *lowering) fn(name string, args ...ast.Node) ast.Node {
	if l.soft {
		name = "soft " + name
	}
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
}

// literal is a constant for the engine.
func literal(v value.Value) ast.Node {
	switch x := v.V.(type) {
	case nil:
		return &ast.NilNode{}
	case bool:
		return &ast.BoolNode{Value: x}
	case string:
		return &ast.StringNode{Value: x}
	case float64:
		return &ast.FloatNode{Value: x}
	}
	return &ast.ConstantNode{Value: v.Plain()}
}

// engineFunctions is what the engine may call: the language's functions, and the operators where its own differ.
var engineFunctions conf.FunctionsTable

func init() {
	engineFunctions = conf.FunctionsTable{}
	add := func(name string, f func(args []any) (any, error)) {
		hard := func(args ...any) (any, error) { return f(args) }
		soft := func(args ...any) (any, error) {
			out, err := f(args)
			if err != nil {
				if err == errTicks || err == errTextLong || err == errListLong {
					return nil, err
				}
				return nil, nil
			}
			return out, nil
		}
		engineFunctions[name] = &builtin.Function{Name: name, Func: hard}
		engineFunctions["soft "+name] = &builtin.Function{Name: "soft " + name, Func: soft}
	}
	for _, f := range table {
		if f.run != nil {
			add(f.name, f.run)
		}
	}
	for _, op := range []string{"+", "-", "*", "/", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "..", "contains", "startsWith", "endsWith", "matches"} {
		add("operator"+op, func(args []any) (any, error) { return operate(op, args[0], args[1]) })
	}
	addEngineHelpers(add)
}
