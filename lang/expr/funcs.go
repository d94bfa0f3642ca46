package expr

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// Function is a function of the language as the reference shows it.
type Function struct {
	Name  string // "len"
	Usage string // "len(x)"
	Help  string // one sentence
}

// Functions lists every function, sorted by name.
func Functions() []Function {
	var out []Function
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		f := functions[name]
		out = append(out, Function{Name: f.name, Usage: f.usage, Help: f.help})
	}
	return out
}

// function is what a name before `(` means. Those that judge elements have no run; the engine runs them.
type function struct {
	name, usage, help string
	least, most       int // arguments; most < 0: any number
	typ               func(c *checker, n *node) *value.Type
	run               func(args []any) (any, error)
	regexp            *regexp.Regexp // of a `matches` with a constant pattern
}

// functions is filled by init: the checker, which the table names, reads the table.
var functions map[string]*function

func functionUsage(name string) string { return functions[name].usage }

func init() {
	functions = map[string]*function{}
	for i := range table {
		functions[table[i].name] = &table[i]
	}
}

// kinds of arguments
var (
	numbers = []value.Kind{value.Number, value.Ratio, value.Duration, value.Size, value.Rate, value.Bandwidth}
	strs    = []value.Kind{value.String}
	lists   = []value.Kind{value.List}
	plains  = []value.Kind{value.Number}
)

// arg checks the kind of an argument; what is of unknown type is judged at run time.
func (c *checker) arg(n *node, i int, kinds ...value.Kind) bool {
	if i >= len(n.kids) {
		return true
	}
	k := n.kids[i]
	if isAny(k.typ) || slices.Contains(kinds, k.typ.Kind) {
		return true
	}
	var names []string
	for _, kind := range kinds {
		if kind == value.Ratio { // the numeric kinds stand together
			names[len(names)-1] = "number or quantity"
			break
		}
		names = append(names, string(kind))
	}
	hint := ""
	if slices.Equal(kinds, plains) && k.typ.Unit() && k.typ.Kind != value.Ratio {
		hint = "divide it by a unit first: `" + shorten(k.text()) + " / " + unitOne(k.typ) + "`"
	}
	if slices.Equal(kinds, lists) && k.typ.Kind == value.Map {
		hint = "write `values(" + shorten(k.text()) + ")`"
	}
	c.report(diag.WrongType, k, hint, "`%s` takes a %s here, but %s", n.op, strings.Join(names, " or a "), is(k))
	return false
}

// sig makes the type rule of a function from the kinds of its arguments and its result; the last kind repeats.
func sig(result *value.Type, args ...[]value.Kind) func(*checker, *node) *value.Type {
	return func(c *checker, n *node) *value.Type {
		for i := range n.kids {
			if kinds := args[min(i, len(args)-1)]; kinds != nil && !c.arg(n, i, kinds...) {
				break
			}
		}
		return result
	}
}

// keeps is the rule of functions whose result has the type of the first argument.
func keeps(args ...[]value.Kind) func(*checker, *node) *value.Type {
	check := sig(nil, args...)
	return func(c *checker, n *node) *value.Type {
		check(c, n)
		if t := n.kids[0].typ; t.AnyUnit {
			return tAnyUnit
		} else if isAny(t) && slices.Contains(args[0], value.Number) {
			return value.TNumber
		}
		return n.kids[0].typ
	}
}

// element is the rule of functions that take one element of a list.
func element(c *checker, n *node) *value.Type {
	if !c.arg(n, 0, value.List) {
		return tBad
	}
	return n.kids[0].typ.ElemType()
}

// aggregate is the rule of min, max, mean and median: numbers of one unit, or one list of them.
func aggregate(c *checker, n *node) *value.Type {
	if len(n.kids) == 1 {
		return c.listOfNumbers(n)
	}
	var t *value.Type
	for i, k := range n.kids {
		if k.typ == tBad || !c.arg(n, i, numbers...) {
			return tBad
		}
		switch {
		case t == nil || t.Kind == value.Number && n.kids[0].isZero() && i == 1:
			t = k.typ
		case k.isZero() && t.Unit(), t.AnyUnit && k.typ.Kind == value.Number:
		case k.typ.Kind != t.Kind && !(isAny(t) && k.typ.Kind == value.Number) && !(isAny(k.typ) && t.Kind == value.Number):
			c.report(diag.WrongUnit, k, c.adaptHint(k, t), "`%s` takes numbers of one unit, but %s, %s", n.op, is(n.kids[0]), is(k))
			return tBad
		}
	}
	if isAny(t) {
		return value.TNumber
	}
	return t
}

// listOfNumbers types the single argument of an aggregate.
func (c *checker) listOfNumbers(n *node) *value.Type {
	k := n.kids[0]
	if k.typ.Numeric() && n.op != "sum" {
		return k.typ
	}
	if !c.arg(n, 0, value.List) {
		return tBad
	}
	switch elem := k.typ.ElemType(); {
	case isAny(elem):
		return value.TNumber
	case elem.Numeric():
		return elem
	default:
		c.report(diag.WrongType, k, "", "`%s` takes numbers, but %s", n.op, is(k))
	}
	return tBad
}

var table = []function{
	{name: "len", usage: "len(x)", help: "The number of characters, elements or keys.", least: 1, most: 1, typ: sig(value.TNumber, []value.Kind{value.String, value.List, value.Map}), run: length},
	{name: "abs", usage: "abs(x)", help: "The value without its sign; the unit stays.", least: 1, most: 1, typ: keeps(numbers), run: round(abs)},
	{name: "ceil", usage: "ceil(x)", help: "The next whole number, upwards.", least: 1, most: 1, typ: keeps(plains), run: round(ceil)},
	{name: "floor", usage: "floor(x)", help: "The next whole number, downwards.", least: 1, most: 1, typ: keeps(plains), run: round(floor)},
	{name: "round", usage: "round(x)", help: "The nearest whole number.", least: 1, most: 1, typ: keeps(plains), run: round(nearest)},
	{name: "min", usage: "min(a, b, …)", help: "The least of several values or of a list; the unit stays.", least: 1, most: -1, typ: aggregate, run: reduce(least)},
	{name: "max", usage: "max(a, b, …)", help: "The greatest of several values or of a list; the unit stays.", least: 1, most: -1, typ: aggregate, run: reduce(greatest)},
	{name: "mean", usage: "mean(list)", help: "The arithmetic mean; the unit stays.", least: 1, most: -1, typ: aggregate, run: reduce(mean)},
	{name: "median", usage: "median(list)", help: "The middle value; the unit stays.", least: 1, most: -1, typ: aggregate, run: reduce(median)},
	{name: "int", usage: "int(x)", help: "The whole part of a number, or of a number in a string.", least: 1, most: 1, typ: sig(value.TNumber, []value.Kind{value.Number, value.String}), run: toInt},
	{name: "float", usage: "float(x)", help: "A number, also from a string.", least: 1, most: 1, typ: sig(value.TNumber, []value.Kind{value.Number, value.String}), run: toFloat},
	{name: "string", usage: "string(x)", help: "The value as it is printed.", least: 1, most: 1},
	{name: "trim", usage: "trim(s)", help: "The string without white space (or the given characters) at both ends.", least: 1, most: 2, typ: sig(value.TString, strs), run: trim},
	{name: "trimPrefix", usage: "trimPrefix(s, prefix)", help: "The string without a prefix.", least: 2, most: 2, typ: sig(value.TString, strs), run: text2(strings.TrimPrefix)},
	{name: "trimSuffix", usage: "trimSuffix(s, suffix)", help: "The string without a suffix.", least: 2, most: 2, typ: sig(value.TString, strs), run: text2(strings.TrimSuffix)},
	{name: "upper", usage: "upper(s)", help: "The string in capitals.", least: 1, most: 1, typ: sig(value.TString, strs), run: text1(strings.ToUpper)},
	{name: "lower", usage: "lower(s)", help: "The string in small letters.", least: 1, most: 1, typ: sig(value.TString, strs), run: text1(strings.ToLower)},
	{name: "split", usage: "split(s, separator)", help: "The parts of a string.", least: 2, most: 2, typ: sig(value.ListOf(value.TString), strs), run: split},
	{name: "join", usage: "join(list, separator)", help: "The strings of a list as one.", least: 1, most: 2, typ: joinStrings, run: join2},
	{name: "replace", usage: "replace(s, old, new)", help: "The string with every occurrence replaced.", least: 3, most: 3, typ: sig(value.TString, strs), run: replace},
	{name: "indexOf", usage: "indexOf(s, part)", help: "Where a part starts, in characters from 0; -1 if nowhere.", least: 2, most: 2, typ: sig(value.TNumber, strs), run: indexOf},
	{name: "hasPrefix", usage: "hasPrefix(s, prefix)", help: "Whether a string starts so.", least: 2, most: 2, typ: sig(value.TBool, strs), run: text2(strings.HasPrefix)},
	{name: "hasSuffix", usage: "hasSuffix(s, suffix)", help: "Whether a string ends so.", least: 2, most: 2, typ: sig(value.TBool, strs), run: text2(strings.HasSuffix)},
	{name: "keys", usage: "keys(map)", help: "The keys of a map, sorted.", least: 1, most: 1, typ: sig(value.ListOf(value.TString), []value.Kind{value.Map}), run: keys},
	{name: "values", usage: "values(map)", help: "The values of a map, in the order of their keys.", least: 1, most: 1, typ: mapValues, run: mapItems},
	{name: "first", usage: "first(list)", help: "The first element.", least: 1, most: 1, typ: element, run: pick(0)},
	{name: "last", usage: "last(list)", help: "The last element.", least: 1, most: 1, typ: element, run: pick(-1)},
	{name: "take", usage: "take(list, n)", help: "The first n elements.", least: 2, most: 2, typ: keeps(lists, plains), run: take},
	{name: "reverse", usage: "reverse(list)", help: "The list backwards.", least: 1, most: 1, typ: keeps(lists), run: reverse},
	{name: "sort", usage: "sort(list)", help: "The list in ascending order.", least: 1, most: 1, typ: sortable, run: sortList},
	{name: "uniq", usage: "uniq(list)", help: "The list without repetitions.", least: 1, most: 1, typ: keeps(lists), run: uniq},
	{name: "concat", usage: "concat(a, b, …)", help: "Several lists as one.", least: 1, most: -1, typ: concatType, run: concat},
	{name: "flatten", usage: "flatten(list)", help: "The elements of the lists in a list.", least: 1, most: 1, typ: flattenType, run: flatten},
	{name: "fromJSON", usage: "fromJSON(s)", help: "What a JSON text says.", least: 1, most: 1, typ: sig(value.TAny, strs), run: fromJSON},
	{name: "toJSON", usage: "toJSON(x)", help: "The value as JSON; durations in seconds, sizes in bytes.", least: 1, most: 1, typ: sig(value.TString, nil), run: nil},
	{name: "secret", usage: "secret(\"NAME\")", help: "A secret, from CHAOS_SECRET_NAME or the file of --secrets; for arguments only, and shown nowhere.", least: 1, most: 1},
	{name: "all", usage: "all(list, # > 1)", help: "Whether every element passes.", least: 2, most: 2},
	{name: "any", usage: "any(list, # > 1)", help: "Whether some element passes.", least: 2, most: 2},
	{name: "none", usage: "none(list, # > 1)", help: "Whether no element passes.", least: 2, most: 2},
	{name: "one", usage: "one(list, # > 1)", help: "Whether exactly one element passes.", least: 2, most: 2},
	{name: "filter", usage: "filter(list, # > 1)", help: "The elements that pass.", least: 2, most: 2},
	{name: "map", usage: "map(list, .field)", help: "What the expression gives for each element.", least: 2, most: 2},
	{name: "count", usage: "count(list, # > 1)", help: "How many elements pass.", least: 1, most: 2},
	{name: "sum", usage: "sum(list)", help: "The sum of the elements, or of what the expression gives for each; the unit stays.", least: 1, most: 2},
	{name: "find", usage: "find(list, # > 1)", help: "The first element that passes.", least: 2, most: 2},
	{name: "findLast", usage: "findLast(list, # > 1)", help: "The last element that passes.", least: 2, most: 2},
	{name: "findIndex", usage: "findIndex(list, # > 1)", help: "The position of the first element that passes.", least: 2, most: 2},
	{name: "sortBy", usage: "sortBy(list, .field)", help: "The list in the order of what the expression gives for each element.", least: 2, most: 2},
}

func joinStrings(c *checker, n *node) *value.Type {
	if c.arg(n, 0, value.List) && c.arg(n, 1, value.String) && n.kids[0].typ.Kind == value.List {
		if e := n.kids[0].typ.ElemType(); !isAny(e) && e.Kind != value.String {
			c.report(diag.WrongType, n.kids[0], "write `join(map("+shorten(n.kids[0].text())+", string(#)), \", \")`", "`join` joins strings, but %s", is(n.kids[0]))
		}
	}
	return value.TString
}

func mapValues(c *checker, n *node) *value.Type {
	c.arg(n, 0, value.Map)
	return value.ListOf(n.kids[0].typ.ElemType())
}

func sortable(c *checker, n *node) *value.Type {
	if !c.arg(n, 0, value.List) {
		return value.ListOf(nil)
	}
	if e := n.kids[0].typ.ElemType(); !isAny(e) && !e.Numeric() && e.Kind != value.String {
		c.report(diag.WrongType, n.kids[0], "write `sortBy(list, .field)`", "only numbers and strings have an order, but %s", is(n.kids[0]))
	}
	return n.kids[0].typ
}

func concatType(c *checker, n *node) *value.Type {
	var t *value.Type
	for i, k := range n.kids {
		if !c.arg(n, i, value.List) {
			return value.ListOf(nil)
		}
		t = join(t, k.typ)
	}
	if t == nil || t.Kind != value.List {
		return value.ListOf(nil)
	}
	return t
}

func flattenType(c *checker, n *node) *value.Type {
	c.arg(n, 0, value.List)
	if e := n.kids[0].typ.ElemType(); e.Kind == value.List {
		return e
	}
	return value.ListOf(nil)
}

// elsewhere says what to write instead of some functions that people expect.
var elsewhere = map[string]string{
	"now": "expressions read no clock; `for` and `within` say how long", "date": "expressions read no clock",
	"duration": "write the literal, such as `100ms`", "reduce": "write `sum(list, …)`", "if": "write `condition ? a : b`",
	"avg": "write `mean(list)`", "average": "write `mean(list)`", "size": "write `len(x)`", "length": "write `len(x)`",
	"str": "write `string(x)`", "toString": "write `string(x)`", "number": "write `float(x)`", "contains": "write `a contains b`",
	"env":  "declare a parameter: `CHAOS_PARAM_name` in the environment sets `param name`",
	"rand": "expressions are the same each time; a random target is chosen by `pick`", "random": "expressions are the same each time; a random target is chosen by `pick`",
	"exists": "write `any(list, …)`", "every": "write `all(list, …)`", "some": "write `any(list, …)`", "not": "",
}

// call types a call of a function.
func (c *checker) call(t ast.Node, name string, args []ast.Node) *node {
	fn, ok := functions[name]
	if m, mark := c.p.markOf(name); mark {
		c.reportAt(diag.BadExpression, c.p.spanOf(t), "", "`%s` is no function", m.tok.Text)
		return c.bad(t)
	}
	if !ok {
		i := c.p.tokenAt(c.p.offset(t.Location()))
		at := c.p.span(c.p.toks[min(i, len(c.p.toks)-1)], c.p.toks[min(i, len(c.p.toks)-1)])
		hint, known := elsewhere[name]
		if !known {
			if near, ok := diag.Nearest(name, slices.Collect(maps.Keys(functions))); ok {
				hint = "did you mean `" + near + "`?"
			} else if summaryFields[name] {
				hint = "a summary is a field of a phase: `during.probe.field." + name + "`"
			} else if strings.Contains(name, ".") {
				hint = "actions and probes cannot be called inside an expression"
			} else {
				hint = "`chaos doc functions` lists what there is"
			}
		}
		c.reportAt(diag.UnknownFunction, at, hint, "there is no function `%s`", name)
		return c.bad(t)
	}
	if predicates[name] {
		return c.unaltered(c.predicate(t, name, args))
	}
	if name == "secret" {
		return c.secret(t, args)
	}
	n := c.new(kCall, t, value.TAny)
	n.op, n.fn = name, fn
	broken := false
	for _, arg := range args {
		k := c.expr(arg)
		n.kids = append(n.kids, k)
		n.element = n.element || k.element
		broken = broken || k.typ == tBad
	}
	switch {
	case len(args) < fn.least:
		c.report(diag.MissingArgument, n, "write `"+fn.usage+"`", "`%s` needs %s", name, count(fn.least, "argument"))
		return c.bad(t)
	case fn.most >= 0 && len(args) > fn.most:
		c.report(diag.TooManyArgs, n.kids[fn.most], "write `"+fn.usage+"`", "`%s` takes %s", name, count(fn.most, "argument"))
		return c.bad(t)
	case name == "string":
		n.kind, n.typ = kText, value.TString
		return n
	}
	typ := fn.typ(c, n)
	if broken && isAny(typ) {
		typ = tBad
	}
	n.typ = typ
	return c.unaltered(n)
}

// predicate types `all(list, …)` and its like.
func (c *checker) predicate(t ast.Node, name string, args []ast.Node) *node {
	n := c.new(kPredicate, t, tBad)
	n.op = name
	if len(args) < functions[name].least || len(args) > functions[name].most {
		code := diag.MissingArgument
		if len(args) > functions[name].most {
			code = diag.TooManyArgs
		}
		c.report(code, n, "write `"+functions[name].usage+"`", "`%s` takes a list and what to ask of each element", name)
		return c.bad(t)
	}
	list := c.expr(args[0])
	n.kids, n.element = []*node{list}, list.element
	elem := tBad
	if c.arg(n, 0, value.List) && list.typ != tBad {
		elem = list.typ.ElemType()
	}
	var body *node
	c.elements = append(c.elements, elem)
	if len(args) == 2 {
		body = c.expr(args[1])
	} else { // `count(list)` and `sum(list)` look at the elements themselves
		body = c.new(kElement, list.tree, elem)
		body.element = true
	}
	c.elements = c.elements[:len(c.elements)-1]
	n.kids = append(n.kids, body)
	switch name {
	case "map":
		n.typ = value.ListOf(body.typ)
	case "sum":
		n.typ = value.TNumber
		if body.typ.Numeric() {
			n.typ = body.typ
		} else if !isAny(body.typ) {
			c.report(diag.WrongType, body, "", "`sum` adds numbers, but %s", is(body))
		}
	case "sortBy":
		n.typ = list.typ
		if !isAny(body.typ) && !body.typ.Numeric() && body.typ.Kind != value.String {
			c.report(diag.WrongType, body, "", "only numbers and strings have an order, but %s", is(body))
		}
	default:
		if body.typ.Kind != value.Bool && !isAny(body.typ) {
			hint := c.adaptHint(body, value.TBool)
			if len(args) == 1 {
				hint = "write `len(" + shorten(list.text()) + ")`"
			}
			c.report(diag.WrongType, body, hint, "`%s` asks a condition of each element, but %s", name, is(body))
		}
		n.typ = map[string]*value.Type{"filter": list.typ, "find": elem, "findLast": elem, "count": value.TNumber, "findIndex": value.TNumber}[name]
		if n.typ == nil {
			n.typ = value.TBool
		}
	}
	if list.typ == tBad && n.typ.Kind != value.Bool && n.typ.Kind != value.Number {
		n.typ = tBad
	}
	return n
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return value.NumberOf(float64(n)).String() + " " + what + "s"
}
