package expr

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// binary types an operator that is not logical.
func (c *checker) binary(n, l, r *node) {
	switch n.op {
	case "==", "!=":
		n.typ = value.TBool
		c.equality(n, l, r)
	case "<", "<=", ">", ">=":
		n.typ = value.TBool
		c.ordering(n, l, r)
	case "contains", "startsWith", "endsWith", "matches":
		n.typ = value.TBool
		c.stringTest(n, l, r)
	case "in":
		n.typ = value.TBool
		c.membership(n, l, r)
	case "..":
		n.typ = value.ListOf(value.TNumber)
		for _, k := range n.kids {
			if k.typ.Kind != value.Number && !isAny(k.typ) {
				c.report(diag.WrongType, k, "", "a range goes from a number to a number, but %s", is(k))
			}
		}
	default:
		c.arithmetic(n, l, r)
	}
}

func (c *checker) arithmetic(n, l, r *node) {
	n.typ = tBad
	switch {
	case l.typ == tBad || r.typ == tBad:
		return
	case n.op == "+" && (l.typ.Kind == value.String || r.typ.Kind == value.String):
		n.typ = value.TString
		for _, k := range n.kids {
			if k.typ.Kind != value.String && !isAny(k.typ) {
				c.report(diag.WrongType, k, "put it into the string: `\"… ${"+shorten(k.text())+"}\"`", "`+` joins two strings, but %s", is(k))
				return
			}
		}
		return
	case n.op == "+" && isAny(l.typ) && isAny(r.typ):
		n.typ = value.TAny
		return
	}
	for _, k := range n.kids {
		if !k.typ.Numeric() && !isAny(k.typ) {
			hint := ""
			switch {
			case n.op == "+" && k.typ.Kind == value.List:
				hint = "join lists with `concat(a, b)`"
			case k.typ.Kind == value.Struct:
				hint = "it has the fields " + quoteAll(k.typ.FieldNames())
			case k.typ.Kind == value.Nil:
				hint = "give a default with `??`"
			}
			c.report(diag.WrongType, k, hint, "`%s` calculates with numbers, but %s", n.op, is(k))
			return
		}
	}
	if isAny(l.typ) || isAny(r.typ) {
		c.arithmeticAny(n, l, r)
		return
	}
	if n.op == "+" || n.op == "-" {
		switch {
		case l.typ.AnyUnit && r.typ.Unit():
			n.typ, n.kids[1] = tAnyUnit, c.asPlain(r)
			return
		case r.typ.AnyUnit && l.typ.Unit():
			n.typ, n.kids[0] = tAnyUnit, c.asPlain(l)
			return
		case l.isZero() && r.typ.Unit():
			c.adapt(l, r.typ)
		case r.isZero() && l.typ.Unit():
			c.adapt(r, l.typ)
		}
	}
	t, scale := arithmetic(n.op, l.typ, r.typ)
	if t == nil {
		c.misfit(n, l, r)
		return
	}
	n.typ, n.scale = t, scale
}

// arithmeticAny types an operator with an operand of unknown type, which can only be a plain number.
func (c *checker) arithmeticAny(n, l, r *node) {
	x, other := l, r
	if isAny(r.typ) {
		x, other = r, l
	}
	switch {
	case isAny(other.typ) || other.typ.Kind == value.Number:
		n.typ = value.TNumber
		return
	case n.op == "*" || n.op == "/":
		num := func(t *value.Type) *value.Type {
			if isAny(t) {
				return value.TNumber
			}
			return t
		}
		if t, scale := arithmetic(n.op, num(l.typ), num(r.typ)); t != nil {
			n.typ, n.scale = t, scale
			return
		}
	}
	hint := unitHint(x, other.typ)
	if other.typ.Kind == value.Ratio {
		hint = "write the ratio as a number"
	}
	c.report(diag.WrongUnit, n, hint, "%s, but the unit of `%s` is not known", is(other), shorten(x.text()))
}

// misfit reports units that do not go together.
func (c *checker) misfit(n, l, r *node) {
	hint := ""
	switch {
	case n.op == "**" || n.op == "^":
		c.report(diag.WrongUnit, n, "", "`%s` takes plain numbers, but %s", n.op, is(firstUnit(l, r)))
		return
	case n.op == "*" || n.op == "/":
		c.report(diag.WrongUnit, n, "", "`%s` has no meaning here: %s and %s", n.op, is(l), is(r))
		return
	case l.typ.Kind == value.Number:
		hint = unitHint(l, r.typ)
	case r.typ.Kind == value.Number:
		hint = unitHint(r, l.typ)
	case r.typ.Kind == value.Ratio && (n.op == "+" || n.op == "-"):
		hint = "to change it by a part of itself write `" + shorten(l.text()) + " * (1 " + n.op + " …)`"
		if r.kind == kConst {
			f := 100 + 100*r.val.Float()
			if n.op == "-" {
				f = 100 - 100*r.val.Float()
			}
			hint = "to change it by a part of itself write `" + shorten(l.text()) + " * " + value.NumberOf(f).Short() + "%`"
		}
	}
	c.report(diag.WrongUnit, n, hint, "`%s` takes two of the same unit, but %s and %s", n.op, is(l), is(r))
}

func firstUnit(l, r *node) *node {
	if l.typ.Unit() {
		return l
	}
	return r
}

// asPlain makes a quantity comparable with a number of any unit: durations in seconds, the others in their base unit.
func (c *checker) asPlain(n *node) *node {
	if n.typ.Kind != value.Duration {
		return n
	}
	if n.kind == kConst {
		k := *n
		k.val = value.NumberOf(n.val.Float() / 1e9)
		k.typ = value.TNumber
		return &k
	}
	second := c.constant(n.tree, value.NumberOf(1e9))
	s := c.new(kBinary, n.tree, value.TNumber, n, second)
	s.at, s.op = n.at, "/"
	return s
}

// sameUnit brings two numeric operands of a comparison together, or reports that their units differ.
func (c *checker) sameUnit(n, l, r *node) bool {
	lt, rt := l.typ, r.typ
	switch {
	case lt.Kind == rt.Kind:
		return true
	case lt.AnyUnit:
		n.kids[1] = c.asPlain(r)
		return true
	case rt.AnyUnit:
		n.kids[0] = c.asPlain(l)
		return true
	case l.isZero(), r.isZero():
		return true
	case lt.Kind == value.Ratio && r.isNumber(1), rt.Kind == value.Ratio && l.isNumber(1):
		return true
	}
	hint := ""
	switch {
	case rt.Kind == value.Number:
		hint = unitHint(r, lt)
	case lt.Kind == value.Number:
		hint = unitHint(l, rt)
	}
	c.report(diag.WrongUnit, n, hint, "%s, but %s", is(l), is(r))
	return false
}

func (c *checker) ordering(n, l, r *node) {
	lt, rt := l.typ, r.typ
	switch {
	case lt == tBad || rt == tBad:
	case lt.Kind == value.Nil || rt.Kind == value.Nil:
		c.report(diag.NilCompare, n, "give a default with `??`", "nil is neither more nor less than anything")
	case lt.Numeric() && rt.Numeric():
		c.sameUnit(n, l, r)
	case isAny(lt) && isAny(rt), lt.Kind == value.String && rt.Kind == value.String:
	case isAny(lt) || isAny(rt):
		c.compareAny(n, l, r)
	default:
		for _, k := range n.kids {
			if !k.typ.Numeric() && k.typ.Kind != value.String {
				c.report(diag.WrongType, k, c.orderHint(k), "`%s` compares numbers or strings, but %s", n.op, is(k))
				return
			}
		}
		c.mixed(n, l, r)
	}
}

func (c *checker) orderHint(k *node) string {
	switch k.typ.Kind {
	case value.List, value.Map:
		return "its length is `len(" + shorten(k.text()) + ")`"
	case value.Struct:
		return "it has the fields " + quoteAll(k.typ.FieldNames())
	}
	return ""
}

// compareAny checks a comparison of a value of unknown type with one of a known type.
func (c *checker) compareAny(n, l, r *node) {
	x, other := l, r
	if isAny(r.typ) {
		x, other = r, l
	}
	if !other.typ.Unit() || other.isZero() {
		if n.op != "==" && n.op != "!=" && other.typ.Kind != value.Number && other.typ.Kind != value.String {
			c.report(diag.WrongType, other, c.orderHint(other), "`%s` compares numbers or strings, but %s", n.op, is(other))
		}
		return
	}
	hint := unitHint(x, other.typ)
	if other.typ.Kind == value.Ratio {
		hint = "compare it with a plain number"
		if other.kind == kConst {
			hint = "write `" + value.NumberOf(other.val.Float()).String() + "`"
		}
	}
	c.report(diag.WrongUnit, n, hint, "%s, but the unit of `%s` is not known", is(other), shorten(x.text()))
}

// mixed reports a comparison of different types.
func (c *checker) mixed(n, l, r *node) {
	hint := ""
	for _, p := range [][2]*node{{l, r}, {r, l}} {
		if p[0].kind == kConst && p[0].typ.Kind == value.String && p[1].typ.Numeric() {
			if v, err := value.ParseNumber(p[0].val.Text()); err == nil && (v.T.Kind == p[1].typ.Kind || p[1].typ.Kind == value.Number) {
				hint = "write `" + p[0].val.Text() + "` without quotes"
			}
		}
		if p[0].kind == kConst && p[0].typ.Kind == value.Bool && p[1].typ.Kind == value.Struct {
			hint = c.boolFieldHint(p[1])
		}
		if p[0].kind == kConst && p[1].typ.Kind == value.Bool {
			hint = "it is true or false: write `" + shorten(p[1].text()) + "` or `not " + shorten(p[1].text()) + "`"
		}
		if p[1].typ.Kind == value.Map && p[0].kind == kConst && hint == "" {
			hint = "name one of its keys: `" + shorten(p[1].text()) + "[\"" + shorten(strings.Trim(p[0].text(), `"`)) + "\"]`"
		}
		if p[1].typ.Kind == value.Struct && hint == "" {
			hint = "it has the fields " + quoteAll(p[1].typ.FieldNames())
		}
		if p[0].kind == kConst && p[0].typ.Kind != value.String && p[1].typ.Kind == value.String {
			hint = "write `\"" + p[0].text() + "\"`"
		}
	}
	if r.typ.Kind == value.List && fits(l.typ, r.typ.ElemType()) && hint == "" {
		hint = "write `" + shorten(l.text()) + map[string]string{"==": " in ", "!=": " not in "}[n.op] + shorten(r.text()) + "`"
	}
	c.report(diag.WrongType, n, hint, "%s, but %s", is(l), is(r))
}

func (c *checker) equality(n, l, r *node) {
	lt, rt := l.typ, r.typ
	switch {
	case lt == tBad || rt == tBad:
	case lt.Kind == value.Nil && rt.Kind == value.Nil, isAny(lt) && rt.Kind == value.Nil, isAny(rt) && lt.Kind == value.Nil:
	case lt.Kind == value.Nil || rt.Kind == value.Nil:
		x := l
		if lt.Kind == value.Nil {
			x = r
		}
		hint := "what is absent is no data, not nil; give a default with `??`"
		if x.typ.Kind == value.Bool {
			hint = "write `" + shorten(x.text()) + "` or `not " + shorten(x.text()) + "`"
		}
		c.report(diag.NilCompare, n, hint, "%s and never nil", is(x))
	case lt.Numeric() && rt.Numeric():
		c.sameUnit(n, l, r)
	case isAny(lt) && isAny(rt):
	case isAny(lt) || isAny(rt):
		c.compareAny(n, l, r)
	case lt.Kind != rt.Kind:
		c.mixed(n, l, r)
	case lt.Kind == value.List && lt.Elem != nil && rt.Elem != nil && !isAny(lt.Elem) && !isAny(rt.Elem) && lt.Elem.Kind != rt.Elem.Kind:
		c.mixed(n, l, r)
	}
}

func (c *checker) stringTest(n, l, r *node) {
	if l.typ == tBad || r.typ == tBad {
		return
	}
	if n.op == "contains" && (l.typ.Kind == value.List || l.typ.Kind == value.Map) {
		c.report(diag.WrongType, l, "write `"+shorten(r.text())+" in "+shorten(l.text())+"`", "`contains` looks into strings, but %s", is(l))
		return
	}
	for _, k := range n.kids {
		if k.typ.Kind == value.String || isAny(k.typ) {
			continue
		}
		hint := ""
		if k.kind == kConst && k.typ.Kind != value.Nil {
			hint = "write `\"" + k.text() + "\"`"
		} else if k.typ.Kind == value.Struct {
			if _, ok := k.typ.Field("body"); ok {
				hint = "write `" + shorten(k.text()) + ".body`"
			}
		}
		c.report(diag.WrongType, k, hint, "`%s` looks into strings, but %s", n.op, is(k))
		return
	}
	if n.op == "matches" && r.kind == kConst {
		re, err := regexp.Compile(r.val.Text())
		if err != nil {
			reason := "it cannot be read"
			var se *syntax.Error
			if errors.As(err, &se) {
				reason = se.Code.String()
				if se.Expr != "" {
					reason += " in `" + se.Expr + "`"
				}
			}
			c.report(diag.BadExpression, r, "the syntax is that of RE2; a literal character such as `.` is written `\\.` in single quotes", "this is no regular expression: %s", reason)
			return
		}
		n.fn = &function{regexp: re}
	}
}

func (c *checker) membership(n, l, r *node) {
	rt := r.typ
	switch {
	case l.typ == tBad || rt == tBad || isAny(rt):
	case rt.Kind == value.Map || rt.Kind == value.Struct:
		if l.typ.Kind != value.String && !isAny(l.typ) {
			c.report(diag.WrongType, l, "", "the keys of `%s` are strings, but %s", shorten(r.text()), is(l))
		}
	case rt.Kind == value.String:
		c.report(diag.WrongType, r, "write `"+shorten(r.text())+" contains "+shorten(l.text())+"`", "`in` looks into lists and maps, but %s", is(r))
	case rt.Kind == value.Duration && r.kind == kConst && l.typ.Kind == value.Bool:
		c.report(diag.WrongType, r, "write `within "+r.text()+"` for how long it may take", "`in` looks into lists and maps, but %s", is(r))
	case rt.Kind != value.List && r.kind == kConst:
		c.report(diag.WrongType, r, "write a list: `["+shorten(r.text())+"]`", "`in` looks into lists and maps, but %s", is(r))
	case rt.Kind != value.List:
		c.report(diag.WrongType, r, "", "`in` looks into lists and maps, but %s", is(r))
	case r.kind == kList && (l.typ.Unit() || l.typ.Kind == value.String || l.typ.Kind == value.Number && !l.typ.AnyUnit && !l.isZero()):
		c.adapt(r, value.ListOf(l.typ))
	default:
		elem := rt.ElemType()
		if rt.Elem == nil || isAny(elem) || isAny(l.typ) || l.typ.Kind == elem.Kind || l.isZero() && elem.Unit() {
			if isAny(l.typ) && elem.Unit() || isAny(elem) && rt.Elem != nil && l.typ.Unit() && r.kind != kList {
				c.report(diag.WrongUnit, n, "", "%s, but %s: their units cannot be compared", is(l), is(r))
			}
			return
		}
		hint := ""
		if elem.Unit() && l.typ.Kind == value.Number {
			hint = unitHint(l, elem)
		}
		c.report(diag.WrongType, n, hint, "%s, but %s", is(l), is(r))
	}
}
