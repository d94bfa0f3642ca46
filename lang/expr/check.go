package expr

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"chaos/lang/diag"
	"chaos/lang/token"
	"chaos/lang/value"
)

// checker turns the engine's tree into a typed one. Every message is made here and in the files beside it; the engine's
// own checker, which knows no units, is not used.
type checker struct {
	scope    *Scope
	p        *parsed
	diags    []diag.Diagnostic
	elements []*value.Type // of the predicates around the present place, innermost last
}

func (c *checker) report(code diag.Code, n *node, hint, format string, args ...any) {
	c.reportAt(code, n.span(), hint, format, args...)
}

func (c *checker) reportAt(code diag.Code, at diag.Span, hint, format string, args ...any) {
	d := diag.Errorf(code, at, format, args...)
	d.Message, d.Hint = oneLine(d.Message), oneLine(hint)
	c.diags = append(c.diags, d)
}

func (c *checker) new(k kind, tree ast.Node, t *value.Type, kids ...*node) *node {
	n := &node{kind: k, typ: t, at: c.p, tree: tree, kids: kids, scale: 1}
	for _, k := range kids {
		n.element = n.element || k != nil && k.element
	}
	return n
}

func (c *checker) constant(tree ast.Node, v value.Value) *node {
	n := c.new(kConst, tree, v.T)
	n.val = v
	return n
}

// bad stands for what has a mistake, reported already.
func (c *checker) bad(tree ast.Node, kids ...*node) *node {
	n := c.new(kConst, tree, tBad, kids...)
	n.val = value.NoData("the expression has a mistake")
	return n
}

func (c *checker) expr(tree ast.Node) *node {
	switch t := tree.(type) {
	case *ast.NilNode:
		return c.constant(t, value.Null)
	case *ast.BoolNode:
		return c.constant(t, value.BoolOf(t.Value))
	case *ast.IdentifierNode:
		return c.name(t)
	case *ast.UnaryNode:
		return c.unary(t)
	case *ast.BinaryNode:
		return c.binaryNode(t)
	case *ast.ChainNode:
		return c.expr(t.Node)
	case *ast.MemberNode:
		return c.member(t)
	case *ast.SliceNode:
		return c.slice(t)
	case *ast.CallNode:
		if id, ok := t.Callee.(*ast.IdentifierNode); ok {
			return c.call(t, id.Value, t.Arguments)
		}
	case *ast.BuiltinNode:
		return c.call(t, t.Name, t.Arguments)
	case *ast.PredicateNode:
		return c.expr(t.Node)
	case *ast.PointerNode:
		return c.pointer(t, t.Name)
	case *ast.ConditionalNode:
		return c.conditional(t)
	case *ast.ArrayNode:
		return c.list(t)
	case *ast.MapNode:
		return c.mapLiteral(t)
	}
	c.reportAt(diag.BadExpression, c.p.spanOf(tree), "", "this is no part of an expression")
	return c.bad(tree)
}

// declared are the names that somebody gave, which a hint may list; those of the language mean nothing by themselves.
func (c *checker) declared() []string {
	return slices.DeleteFunc(c.scope.All(), func(n string) bool { return n == "before" || n == "during" || n == "after" || n == "steady" })
}

func (c *checker) name(t *ast.IdentifierNode) *node {
	if m, ok := c.p.markOf(t.Value); ok {
		if m.num != nil {
			return c.constant(t, *m.num)
		}
		if m.tok.Is("#") {
			return c.pointer(t, m.name)
		}
		return c.text(t, m.parts)
	}
	at := c.p.spanOf(t)
	b, ok := c.scope.Lookup(t.Value)
	if !ok {
		names := append(c.scope.All(), "true", "false", "nil")
		hint := diag.DidYouMean(t.Value, names)
		if _, isFn := functions[t.Value]; isFn {
			hint = "it is a function: write `" + functionUsage(t.Value) + "`"
		} else if _, near := diag.Nearest(t.Value, names); !near {
			hint = diag.DidYouMean(t.Value, c.declared())
		}
		if _, unit := token.UnitWord(t.Value); unit || slices.Contains(value.Suffixes(), t.Value) {
			hint = "a unit stands directly behind its number, such as `200" + t.Value + "`"
		}
		switch t.Value {
		case "env", "ENV", "environ":
			hint = "declare a parameter: `CHAOS_PARAM_name` in the environment sets `param name`"
		case "null", "None", "undefined", "NULL":
			hint = "what JSON calls null is `nil` here; what was not measured is no data"
		case "yes", "on":
			hint = "write `true`"
		case "no", "off":
			hint = "write `false`"
		}
		if owner := c.fieldOwner(t.Value); owner != "" {
			hint = "it is a field: write `" + owner + "." + t.Value + "`"
		}
		if h := c.rateHint(at); h != "" {
			hint = h
		}
		key, first := c.dashedKey(at)
		if _, near := diag.Nearest(t.Value, names); near && first {
			key = ""
		}
		if key != "" {
			hint = "a key with `-` in it stands in quotes: `[" + value.Quote(key) + "]`"
		}
		if token.Reserved[t.Value] && hint == "" {
			hint = "it is a word of the language"
		}
		if key == "" || first {
			c.reportAt(diag.UnknownName, at, hint, "there is no `%s` here", t.Value)
		}
		return c.bad(t)
	}
	if b.Denied != "" {
		code := diag.UnknownName
		if t.Value == "before" || t.Value == "during" || t.Value == "after" {
			code = diag.TooEarly
		}
		c.reportAt(code, at, b.Hint, "%s", b.Denied)
		return c.bad(t)
	}
	if b.Members != nil {
		c.reportAt(diag.UnknownName, at, memberHint(t.Value, b), "`%s` is a module, and no value itself", t.Value)
		return c.bad(t)
	}
	return c.bound(t, b, t.Value)
}

// bound is an operand that reads a name.
func (c *checker) bound(t ast.Node, b *Binding, name string) *node {
	typ := b.Type
	if typ == nil && b.Let != nil {
		typ = b.Let.Type()
	}
	if typ == nil || b.Let != nil && b.Let.err { // what is wrong with it was said there
		typ = tBad
	}
	n := c.new(kOperand, t, typ)
	if b.Key != "" {
		name = b.Key
	}
	n.operand = &operand{binding: b, path: []string{name}}
	return n
}

// rateHint knows `200/sec` and `200 / s`: a rate with a blank or a long word in it.
func (c *checker) rateHint(at diag.Span) string {
	i := c.p.tokenAt(at.Start.Offset)
	if i < 2 || i >= len(c.p.toks) || !c.p.toks[i-1].Is("/") || c.p.toks[i-2].Kind != token.Number {
		return ""
	}
	unit, ok := token.UnitWord(c.p.toks[i].Text)
	if !ok {
		unit = c.p.toks[i].Text
	}
	if unit != "s" && unit != "m" && unit != "h" {
		return ""
	}
	return "write `" + c.p.toks[i-2].Text + "/" + unit + "`"
}

// dashedKey knows `headers.x-request-id`, a key with `-` in it, of which only the part before is a field. first tells that
// none of the words between is unknown too.
func (c *checker) dashedKey(at diag.Span) (key string, first bool) {
	toks, i := c.p.toks, c.p.tokenAt(at.Start.Offset)
	start := i
	first = true
	for start >= 2 && start < len(toks) && toks[start-1].Is("-") {
		start -= 2
		if _, known := c.scope.Lookup(toks[start].Text); !known && !toks[max(start-1, 0)].Is(".") {
			first = false
		}
	}
	if start == i || start == 0 || !toks[start-1].Is(".") {
		return "", false
	}
	if last, word := dashed(toks, start); last >= i {
		return word, first
	}
	return "", false
}

// text is a string literal: a constant, or one with holes.
func (c *checker) text(t ast.Node, parts []part) *node {
	if len(parts) == 0 {
		return c.constant(t, value.StringOf(""))
	}
	if len(parts) == 1 && parts[0].hole == nil {
		return c.constant(t, value.StringOf(parts[0].text))
	}
	var kids []*node
	for _, pt := range parts {
		if pt.hole == nil {
			kids = append(kids, c.constant(t, value.StringOf(pt.text)))
			continue
		}
		if pt.hole.root == nil {
			continue
		}
		outer := c.p
		c.p = pt.hole
		kids = append(kids, c.expr(pt.hole.root))
		c.p = outer
	}
	return c.new(kText, t, value.TString, kids...)
}

func (c *checker) unary(t *ast.UnaryNode) *node {
	k := c.expr(t.Node)
	if t.Operator == "not" || t.Operator == "!" {
		if !c.condition(k, t.Operator) {
			return c.bad(t, k)
		}
		return c.new(kNot, t, value.TBool, k)
	}
	if k.typ == tBad {
		return k
	}
	if !k.typ.Numeric() && !isAny(k.typ) {
		c.report(diag.WrongType, k, "", "`%s` stands before numbers, but %s", t.Operator, is(k))
		return c.bad(t)
	}
	if k.kind == kConst {
		if t.Operator == "-" {
			k.val.V = -k.val.Float()
		}
		k.tree = t // the sign belongs to the literal
		return k
	}
	typ := k.typ
	if isAny(typ) {
		typ = value.TNumber
	}
	n := c.new(kNegate, t, typ, k)
	n.op = t.Operator
	return n
}

// condition reports an operand of a logical operator that is neither true nor false.
func (c *checker) condition(n *node, op string) bool {
	if n.typ.Kind == value.Bool || isAny(n.typ) {
		return true
	}
	hint := c.adaptHint(n, value.TBool)
	if op != "not" && op != "!" {
		c.report(diag.WrongType, n, hint, "`%s` joins conditions, but %s", op, is(n))
		return false
	}
	s := n.span()
	if next := n.at.tokenAt(s.End.Offset); next < len(n.at.toks) && tighter(n.at.toks[next]) {
		hint = "`" + op + "` binds tighter: write `not (" + shorten(n.text()) + " " + n.at.toks[next].Text + " …)`"
	}
	c.report(diag.WrongType, n, hint, "`%s` stands before a condition, but %s", op, is(n))
	return false
}

// loneValue reports `x == 200 or 404`.
func (c *checker) loneValue(l, r *node, op string) {
	for l.kind == kAnd || l.kind == kOr {
		l = l.kids[1]
	}
	if l.kind != kBinary || !comparisons[l.op] || r.typ == tBad {
		c.condition(r, op)
		return
	}
	x := shorten(l.kids[0].text())
	hint := "write `" + x + " " + l.op + " " + r.text() + "` on this side too"
	if l.op == "==" && (op == "or" || op == "||") {
		hint += ", or `" + x + " in [" + shorten(l.kids[1].text()) + ", " + r.text() + "]`"
	}
	c.report(diag.WrongType, r, hint, "`%s` joins conditions, but %s", op, is(r))
}

// tighter tells an operator that a reader may expect to bind tighter than `not`.
func tighter(t token.Token) bool {
	return comparisons[t.Text] || token.IsWordOp(t.Text) && t.Text != "and" && t.Text != "or"
}

func (c *checker) binaryNode(t *ast.BinaryNode) *node {
	l, r := c.expr(t.Left), c.expr(t.Right)
	switch t.Operator {
	case "and", "&&", "or", "||":
		if c.condition(l, t.Operator) && r.kind == kConst && r.typ.Kind != value.Bool {
			c.loneValue(l, r, t.Operator)
		} else {
			c.condition(r, t.Operator)
		}
		k := kAnd
		if t.Operator == "or" || t.Operator == "||" {
			k = kOr
		}
		return c.new(k, t, value.TBool, l, r)
	case "??":
		return c.coalesce(t, l, r)
	}
	n := c.new(kBinary, t, tBad, l, r)
	n.op = t.Operator
	c.binary(n, l, r)
	return n
}

func (c *checker) coalesce(t ast.Node, l, r *node) *node {
	typ := l.typ
	switch {
	case l.typ.Kind == value.Nil || l.typ == tBad:
		typ = r.typ
	case r.typ.Kind == value.Nil || r.typ == tBad:
	case r.isZero() && l.typ.Unit():
		c.adapt(r, l.typ)
	case l.typ.Numeric() && r.typ.Numeric() && l.typ.Kind != r.typ.Kind:
		c.report(diag.WrongUnit, r, c.adaptHint(r, l.typ), "%s, its default %s", is(l), a(r.typ))
	default:
		typ = join(l.typ, r.typ)
	}
	return c.new(kCoalesce, t, typ, l, r)
}

func (c *checker) conditional(t *ast.ConditionalNode) *node {
	cond, x, y := c.expr(t.Cond), c.expr(t.Exp1), c.expr(t.Exp2)
	if cond.typ.Kind != value.Bool && !isAny(cond.typ) {
		c.report(diag.WrongType, cond, c.adaptHint(cond, value.TBool), "a condition must stand before `?`, but %s", is(cond))
	}
	switch {
	case x.isZero() && y.typ.Unit():
		c.adapt(x, y.typ)
	case y.isZero() && x.typ.Unit():
		c.adapt(y, x.typ)
	case x.typ.Numeric() && y.typ.Numeric() && x.typ.Kind != y.typ.Kind:
		c.report(diag.WrongUnit, y, c.adaptHint(y, x.typ), "the two sides of `:` differ: %s, %s", is(x), is(y))
		return c.bad(t)
	}
	return c.new(kCond, t, join(x.typ, y.typ), cond, x, y)
}

func (c *checker) pointer(t ast.Node, name string) *node {
	if len(c.elements) == 0 {
		c.reportAt(diag.BadExpression, c.p.spanOf(t), "", "`#` is the element inside `all(list, …)` and its like, and stands nowhere else")
		return c.bad(t)
	}
	n := c.new(kElement, t, c.elements[len(c.elements)-1])
	n.op, n.element = name, true
	if name == "index" {
		n.typ = value.TNumber
	}
	return n
}

func (c *checker) list(t *ast.ArrayNode) *node {
	n := c.new(kList, t, nil)
	var elem *value.Type
	for _, item := range t.Nodes {
		k := c.expr(item)
		n.kids = append(n.kids, k)
		n.element = n.element || k.element
	}
	elem = c.joinKids(n.kids)
	n.typ = value.ListOf(elem)
	return n
}

// joinKids is the type of the elements of a literal; a bare 0 takes the unit of the others. nil for none.
func (c *checker) joinKids(kids []*node) *value.Type {
	var elem *value.Type
	for _, k := range kids {
		if !k.isZero() || elem == nil {
			elem = join(elem, k.typ)
		}
		if elem.Kind == value.Number && k.typ.Unit() && kids[0].isZero() {
			elem = k.typ
		}
	}
	if elem != nil && elem.Unit() {
		for _, k := range kids {
			if k.isZero() {
				c.adapt(k, elem)
			}
		}
		for _, k := range kids {
			if k.typ.Kind != elem.Kind && k.typ != tBad {
				return value.TAny
			}
		}
	}
	return elem
}

func (c *checker) mapLiteral(t *ast.MapNode) *node {
	n := c.new(kMap, t, nil)
	seen := map[string]bool{}
	for _, p := range t.Pairs {
		pair, ok := p.(*ast.PairNode)
		if !ok {
			continue
		}
		key, at := "", c.p.spanOf(pair.Key)
		switch k := pair.Key.(type) {
		case *ast.StringNode:
			m, _ := c.p.markOf(k.Value)
			switch {
			case m.num != nil:
				c.reportAt(diag.WrongType, at, "write `\""+m.tok.Text+"\": …`", "a key is a name or a string, not a number")
			case m.name != "":
				key = m.name
			case len(m.parts) == 1 && m.parts[0].hole == nil:
				key = m.parts[0].text
			case len(m.parts) > 0:
				c.reportAt(diag.InterpolatedLit, at, "", "a key cannot have `${…}` in it")
			}
		default:
			c.reportAt(diag.BadExpression, at, "write `{name: value}` or `{\"name\": value}`", "a key is a name or a string")
		}
		if seen[key] && key != "" {
			c.reportAt(diag.Duplicate, at, "", "the key `%s` stands twice in this map", key)
		}
		seen[key] = true
		k := c.expr(pair.Value)
		n.kids = append(n.kids, k)
		n.keys = append(n.keys, key)
		n.element = n.element || k.element
	}
	n.typ = value.MapOf(c.joinKids(n.kids))
	return n
}

func (c *checker) slice(t *ast.SliceNode) *node {
	x := c.expr(t.Node)
	n := c.new(kSlice, t, x.typ, x, nil, nil)
	for i, b := range []ast.Node{t.From, t.To} {
		if b == nil {
			continue
		}
		k := c.expr(b)
		if k.typ.Kind != value.Number && !isAny(k.typ) {
			c.report(diag.WrongType, k, "", "a position is a number, but %s", is(k))
		}
		n.kids[i+1] = k
		n.element = n.element || k.element
	}
	n.element = n.element || x.element
	switch x.typ.Kind {
	case value.List, value.String, value.Any:
		n.op = "[…]"
		return c.unaltered(n)
	}
	c.report(diag.WrongType, x, "", "only lists and strings have parts, but %s", is(x))
	return c.bad(t)
}

// member is a field or an element. Chains of names and constant indexes grow the operand; the rest is read at run time.
func (c *checker) member(t *ast.MemberNode) *node {
	if n := c.moduleMember(t); n != nil {
		return n
	}
	x := c.expr(t.Node)
	var key *node
	if s, ok := t.Property.(*ast.StringNode); ok {
		m, _ := c.p.markOf(s.Value)
		key = c.constant(s, value.StringOf(m.name))
	} else {
		key = c.expr(t.Property)
	}
	if x.typ == tBad || key.typ == tBad {
		return c.bad(t, x)
	}
	typ := c.memberType(x, key)
	if typ == nil {
		return c.bad(t, x)
	}
	if x.kind == kOperand && key.kind == kConst {
		o := *x.operand
		var s step
		if key.typ.Kind == value.Number {
			s = step{index: int(key.val.Float()), isIndex: true}
		} else {
			s = step{key: key.val.Text()}
		}
		if s.isIndex || len(o.rest) > 0 {
			o.rest = append(o.rest[:len(o.rest):len(o.rest)], s)
		} else {
			o.path = append(o.path[:len(o.path):len(o.path)], s.key)
			o.path = c.summarised(o.path)
		}
		n := c.new(kOperand, t, typ)
		n.operand = &o
		if s.isIndex && x.typ.Kind == value.String {
			n.op = "[…]"
			return c.unaltered(n)
		}
		return n
	}
	return c.new(kGet, t, typ, x, key)
}

// memberType is the type of a field or an element, nil after a mistake.
func (c *checker) memberType(x, key *node) *value.Type {
	named := key.kind == kConst && key.typ.Kind == value.String
	name := key.val.Text()
	number := key.typ.Kind == value.Number
	at := key.span()
	if number && key.kind == kConst && key.val.Float() != float64(int(key.val.Float())) {
		c.reportAt(diag.WrongType, at, "", "`%s` is no whole number", key.text())
		return nil
	}
	if !number && key.typ.Kind != value.String && !isAny(key.typ) {
		c.reportAt(diag.WrongType, at, "", "an element is chosen by a number or a string, but %s", is(key))
		return nil
	}
	switch t := x.typ; t.Kind {
	case value.Any:
		return value.TAny
	case value.Struct, value.HandleK:
		if named {
			if f, ok := t.Field(name); ok {
				return f
			}
			owner := "`" + shorten(x.text()) + "`"
			if t.Name != "" {
				owner = "`" + t.Name + "`"
			}
			if t.Name == "summary" {
				owner = "a summary"
			}
			c.reportAt(diag.UnknownField, at, fieldHint(x, name), "`%s` is no field of %s", name, owner)
			return nil
		}
		if number {
			c.reportAt(diag.WrongType, at, "fields are "+quoteAll(t.FieldNames()), "%s and has no elements", is(x))
			return nil
		}
		return value.TAny
	case value.Map:
		if number {
			c.reportAt(diag.WrongType, at, "write `["+value.Quote(shorten(key.text()))+"]`", "%s: its keys are strings", is(x))
			return nil
		}
		return t.ElemType()
	case value.List:
		if named {
			c.reportAt(diag.UnknownField, at, "take one element with `[0]`, or ask of each: `all("+shorten(x.text())+", ."+name+" …)`", "%s and has no field `%s`", is(x), name)
			return nil
		}
		if !number && !isAny(key.typ) {
			c.reportAt(diag.WrongType, at, "", "an element of a list is chosen by a number, but %s", is(key))
			return nil
		}
		return t.ElemType()
	case value.String:
		if !named && (number || isAny(key.typ)) {
			return value.TString
		}
	}
	hint := ""
	phase := x.kind == kOperand && (x.operand.path[0] == "before" || x.operand.path[0] == "during" || x.operand.path[0] == "after")
	if x.typ.Numeric() && x.kind == kOperand && (summaryFields[name] || name == "value") && (phase || len(x.operand.path) == 1) {
		hint = "it is the number itself: write `" + shorten(x.text()) + "`"
	} else if summaryFields[name] && x.kind == kOperand && !phase && len(x.operand.path) > 1 {
		hint = "a summary is one of a phase: write `during." + shorten(x.text()) + "." + name + "`"
	} else if s, ok := functions[name]; ok {
		hint = "write `" + s.name + "(" + shorten(x.text()) + ")`"
	} else if name == "length" || name == "size" || name == "count" && x.typ.Kind == value.String {
		hint = "write `len(" + shorten(x.text()) + ")`"
	} else if x.typ.Kind == value.String {
		hint = "read JSON in it with `fromJSON(" + shorten(x.text()) + ")." + name + "`"
	}
	if named {
		c.reportAt(diag.UnknownField, at, hint, "%s and has no field `%s`", is(x), name)
	} else {
		c.reportAt(diag.WrongType, at, "", "%s and has no elements", is(x))
	}
	return nil
}

// summaryFields are what a summary of numbers has, and a sample has not.
var summaryFields = map[string]bool{"mean": true, "min": true, "max": true, "p50": true, "p90": true, "p95": true, "p99": true, "last": true, "count": true, "ratio": true}

// fieldHint names the nearest field, or says where it is.
func fieldHint(x *node, name string) string {
	switch name {
	case "avg", "average", "median":
		for _, f := range []string{"mean", "p50"} {
			if _, ok := x.typ.Field(f); ok && (f == "p50") == (name == "median") {
				return "write `" + f + "`"
			}
		}
	case "before", "during", "after":
		return "the phase comes first: `" + name + "." + shorten(x.text()) + "…`"
	}
	if _, near := diag.Nearest(name, x.typ.FieldNames()); !near { // `during.home.p99`
		for _, f := range x.typ.Fields {
			if _, ok := f.Type.Field(name); ok && (f.Type.Kind == value.Struct) && f.Name == "latency" {
				return "write `" + shorten(x.text()) + "." + f.Name + "." + name + "`"
			}
		}
	}
	hint := diag.DidYouMean(name, x.typ.FieldNames())
	if hint == "" && strings.Contains(x.typ.Name, ".") {
		hint = "`chaos doc " + x.typ.Name + "` lists them"
	}
	return hint
}

// fieldOwner is a name of the scope that has such a field, such as the probe whose `status` is meant; "" for none or several.
func (c *checker) fieldOwner(field string) string {
	owner := ""
	for _, name := range c.scope.All() {
		b, _ := c.scope.Lookup(name)
		if b.Type == nil || b.Type.Kind != value.Struct {
			continue
		}
		switch name {
		case "before", "during", "after":
			continue
		}
		if _, ok := b.Type.Field(field); ok {
			if owner != "" {
				return ""
			}
			owner = name
		}
	}
	return owner
}

func quoteAll(names []string) string {
	s := ""
	for i, n := range names {
		if i > 0 {
			s += ", "
		}
		s += "`" + n + "`"
	}
	return s
}
