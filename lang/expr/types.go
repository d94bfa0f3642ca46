package expr

import (
	"fmt"
	"strconv"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// Vague is the type of what a mistake hides. A name bound to it may be used in any way, and nothing more is said about it:
// one mistake, one message. It is told apart by its address.
var Vague = &value.Type{Kind: value.Any}

var tBad = Vague

// tAnyUnit is a plain number that stands for a quantity of any unit, durations in seconds.
var tAnyUnit = &value.Type{Kind: value.Number, AnyUnit: true}

func isAny(t *value.Type) bool { return t.Kind == value.Any }

// a names a type with its article: "a duration", "a list of strings".
func a(t *value.Type) string {
	switch t.Kind {
	case value.Any:
		return "a value of unknown type"
	case value.Nil:
		return "nil"
	case value.Struct:
		if t.Name == "summary" {
			return "a summary"
		}
		if t.Name != "" {
			return "a sample of `" + t.Name + "`"
		}
		return "a group of fields"
	case value.Bool:
		return "a condition"
	}
	return "a " + t.String()
}

// describe names an operand of an operator in a message.
func describe(n *node) string {
	text := n.text()
	if len([]rune(text)) > 60 {
		return "this " + strings.TrimPrefix(a(n.typ), "a ")
	}
	if n.kind == kConst && n.typ.Kind != value.Nil {
		return "the " + n.typ.String() + " `" + text + "`"
	}
	return "`" + text + "`"
}

// is tells what an operand is: "`x` is a duration".
func is(n *node) string {
	text := "`" + n.text() + "`"
	if len([]rune(text)) > 60 {
		text = "this"
	}
	if n.kind == kElement && text == "`.`" {
		text = "an element"
	}
	if n.typ.Kind == value.Number {
		return text + " is a plain number"
	}
	return text + " is " + a(n.typ)
}

// withUnit suggests a literal with the unit of t for a bare number: 100 becomes `100ms`, `100%`, `100/s`. asked tells that
// the place asks for the unit, rather than what the number is compared with or added to.
func withUnit(f float64, t *value.Type, asked bool) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	switch t.Kind {
	case value.Ratio:
		if f > -1 && f < 1 {
			return value.RatioOf(f).String()
		}
		return s + "%"
	case value.Duration:
		if asked && f < 60 || f < 10 { // `wait 5` means seconds, `timeout: 100` cannot; a latency of 50 neither
			return s + "s"
		}
		return s + "ms"
	case value.Size:
		return s + "MiB"
	case value.Rate:
		return s + "/s"
	case value.Bandwidth:
		return s + "Mbit/s"
	}
	return s
}

// unitHint says how a number gets the unit of t.
func unitHint(n *node, t *value.Type) string { return unitHintFor(n, t, false) }

func unitHintFor(n *node, t *value.Type, asked bool) string {
	if n.kind == kConst {
		return "write `" + withUnit(n.val.Float(), t, asked) + "`"
	}
	text := n.text()
	if n.kind == kBinary {
		text = "(" + text + ")"
	}
	switch {
	case t.Kind == value.Ratio:
		return "a ratio compares with a ratio only, such as `20%`"
	case len([]rune(text)) > 40:
		text = "…"
	}
	return "multiply it by a unit: `" + text + " * " + unitOne(t) + "`"
}

func unitOne(t *value.Type) string {
	return map[value.Kind]string{value.Duration: "1s", value.Size: "1B", value.Rate: "1/s", value.Bandwidth: "1B/s", value.Ratio: "100%"}[t.Kind]
}

// arithmetic is the rule of `+ - * / % **` on two numeric types that are not any: the type of the result and how to bring
// it to its base unit. nil means that the units do not fit.
func arithmetic(op string, l, r *value.Type) (t *value.Type, scale float64) {
	anyUnit := func(t *value.Type) *value.Type {
		if l.AnyUnit || r.AnyUnit {
			return tAnyUnit
		}
		return t
	}
	plain := l.Kind == value.Number && r.Kind == value.Number
	pair := func(x, y value.Kind) bool { return l.Kind == x && r.Kind == y }
	switch op {
	case "+", "-":
		switch {
		case plain:
			return anyUnit(value.TNumber), 1
		case l.Kind == r.Kind:
			return l, 1
		}
	case "*":
		switch {
		case plain, pair(value.Number, value.Ratio), pair(value.Ratio, value.Number):
			return anyUnit(value.TNumber), 1
		case pair(value.Ratio, value.Ratio):
			return value.TRatio, 1
		case l.Kind == value.Number || l.Kind == value.Ratio:
			return value.Of(r.Kind), 1
		case r.Kind == value.Number || r.Kind == value.Ratio:
			return value.Of(l.Kind), 1
		case pair(value.Bandwidth, value.Duration), pair(value.Duration, value.Bandwidth):
			return value.TSize, -1e9
		case pair(value.Rate, value.Duration), pair(value.Duration, value.Rate):
			return value.TNumber, -1e9
		}
	case "/":
		switch {
		case plain:
			return anyUnit(value.TNumber), 1
		case l.Kind == r.Kind:
			return value.TNumber, 1
		case pair(value.Number, value.Ratio):
			return anyUnit(value.TNumber), 1
		case pair(value.Number, value.Duration):
			return value.TRate, 1e9
		case pair(value.Number, value.Rate), pair(value.Size, value.Bandwidth):
			return value.TDuration, 1e9
		case pair(value.Size, value.Duration):
			return value.TBandwidth, 1e9
		case l.Unit() && (r.Kind == value.Number || r.Kind == value.Ratio):
			return l, 1
		}
	case "%":
		if l.Kind == r.Kind {
			return l, 1
		}
	case "**", "^":
		if plain {
			return value.TNumber, 1
		}
	}
	return nil, 1
}

// join is the type of a list that holds both.
func join(t, u *value.Type) *value.Type {
	switch {
	case t == nil:
		return u
	case u == nil || t == tBad || u == tBad:
		return t
	case t.Kind == value.List && u.Kind == value.List, t.Kind == value.Map && u.Kind == value.Map:
		if t.Elem == nil || t.Elem.Kind == value.Nil {
			return u
		}
		if u.Elem == nil || u.Elem.Kind == value.Nil {
			return t
		}
		return &value.Type{Kind: t.Kind, Elem: join(t.Elem, u.Elem)}
	case t.String() == u.String():
		return t
	case t.Kind == u.Kind && t.Kind == value.HandleK:
		return value.THandle
	}
	return value.TAny
}

// fits tells whether a value of type t may stand where want is asked for.
func fits(t, want *value.Type) bool {
	switch {
	case want == nil || isAny(want) || t == tBad:
		return true
	case isAny(t):
		return !want.Unit()
	case t.Kind == value.List && want.Kind == value.List, t.Kind == value.Map && want.Kind == value.Map:
		return t.Elem == nil || fits(t.Elem, want.Elem)
	case t.Kind == value.Struct && want.Kind == value.Map:
		return want.Elem == nil || isAny(want.Elem)
	}
	return t.Kind == want.Kind
}

// adapt types an expression for the place where it stands: literals take the unit of the place where that is not in
// doubt, and what does not fit is reported.
func (c *checker) adapt(n *node, want *value.Type) {
	if want == nil || n.typ == tBad {
		return
	}
	switch {
	case n.isZero() && want.Unit():
		n.typ = value.Of(want.Kind)
		n.val.T = n.typ
		return
	case n.kind == kList && want.Kind == value.List && want.Elem != nil && !isAny(want.Elem):
		for _, k := range n.kids {
			c.adapt(k, want.Elem)
		}
		n.typ = value.ListOf(want.Elem)
		return
	case n.kind == kMap && want.Kind == value.Map && want.Elem != nil && !isAny(want.Elem):
		for _, k := range n.kids {
			c.adapt(k, want.Elem)
		}
		n.typ = value.MapOf(want.Elem)
		return
	case n.kind == kCond:
		c.adapt(n.kids[1], want)
		c.adapt(n.kids[2], want)
		return
	case fits(n.typ, want):
		return
	}
	code := diag.WrongType
	if n.typ.Numeric() && want.Numeric() || isAny(n.typ) {
		code = diag.WrongUnit
	}
	found := a(n.typ)
	switch {
	case n.kind == kConst:
		found = describe(n)
	case isAny(n.typ):
		found = describe(n) + ", which has no unit"
	case n.kind == kOperand:
		found = describe(n) + ", " + a(n.typ)
	}
	asked := a(want)
	if want.Kind == value.Struct {
		asked = "fields " + strings.Join(want.FieldNames(), ", ")
	}
	c.report(code, n, c.adaptHint(n, want), "expected %s, found %s", asked, found)
}

func (c *checker) adaptHint(n *node, want *value.Type) string {
	t := n.typ
	switch {
	case want.Unit() && t.Kind == value.Number:
		if want.Kind == value.Ratio && n.kind != kConst {
			return "write a ratio such as `20%`"
		}
		return unitHintFor(n, want, true)
	case want.Unit() && isAny(t) && want.Kind != value.Ratio:
		return unitHint(n, want)
	case want.Unit() && t.Kind == value.String && n.kind == kConst:
		if v, err := value.ParseNumber(n.val.Text()); err == nil && v.T.Kind == want.Kind {
			return "write `" + n.val.Text() + "` without quotes"
		}
		return "write `" + want.Example() + "`"
	case want.Kind == value.Bandwidth && t.Kind == value.Size && n.kind == kConst:
		return "write `" + shorten(n.text()) + "/s`"
	case want.Unit():
		return "write a " + want.String() + " such as `" + want.Example() + "`"
	case want.Kind == value.Number && t.Kind == value.Ratio && n.kind == kConst:
		return fmt.Sprintf("write `%s`", value.NumberOf(n.val.Float()))
	case want.Kind == value.Number && t.Unit() && t.Kind != value.Ratio:
		return "divide it by a unit: `" + shorten(n.text()) + " / " + unitOne(t) + "`"
	case want.Kind == value.Number && t.Kind == value.String && n.kind == kConst:
		if _, err := value.ParseNumber(n.val.Text()); err == nil {
			return "write `" + n.val.Text() + "` without quotes"
		}
	case want.Kind == value.String && n.kind == kConst:
		return "write it in quotes: `\"" + shorten(n.text()) + "\"`"
	case want.Kind == value.String && (t.Numeric() || t.Kind == value.Bool):
		return "put it into a string: `\"${" + shorten(n.text()) + "}\"`"
	case want.Kind == value.Bool && t.Kind == value.Struct:
		return c.boolFieldHint(n)
	case want.Kind == value.Bool && t.Numeric():
		return "compare it, for example `" + shorten(n.text()) + " > 0`"
	case want.Kind == value.Bool && n.kind == kConst && t.Kind == value.String && (n.val.Text() == "true" || n.val.Text() == "false"):
		return "write `" + n.val.Text() + "` without quotes"
	case want.Kind == value.Bool && t.Kind == value.String:
		return "compare it, for example `" + shorten(n.text()) + " == \"text\"`"
	case want.Kind == value.Bool && t.Kind == value.List:
		return "ask about its elements: `all(" + shorten(n.text()) + ", …)`"
	case want.Kind == value.Map && n.kind == kConst:
		return "write a map: `{name: " + shorten(n.text()) + "}`"
	case want.Kind == value.Map && t.Kind == value.List:
		return "write a map: `{name: value}`"
	case want.Kind == value.String && t.Kind == value.List && n.kind == kList && len(n.kids) == 1:
		return "write it without brackets: `" + shorten(n.kids[0].text()) + "`"
	case want.Kind == value.String && t.Kind == value.List:
		return "it takes one, not a list of them"
	case want.Kind == value.List && fits(t, want.Elem):
		return "write a list: `[" + shorten(n.text()) + "]`"
	}
	return ""
}

// boolFieldHint suggests the fields of a sample that are conditions.
func (c *checker) boolFieldHint(n *node) string {
	for _, f := range n.typ.Fields {
		if f.Type.Kind == value.Bool {
			return "ask for a field, for example `" + shorten(n.text()) + "." + f.Name + "`"
		}
	}
	return "ask for a field: " + strings.Join(n.typ.FieldNames(), ", ")
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 40 {
		return "…"
	}
	return s
}
