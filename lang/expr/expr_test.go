package expr

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"chaos/lang/diag"
	"chaos/lang/value"
)

var (
	tHome = value.StructOf("http.get",
		value.Field{Name: "status", Type: value.TNumber}, value.Field{Name: "latency", Type: value.TDuration},
		value.Field{Name: "body", Type: value.TString}, value.Field{Name: "ok", Type: value.TBool}, value.Field{Name: "json", Type: value.TAny})
	tLoad = value.StructOf("http.load",
		value.Field{Name: "p99", Type: value.TDuration}, value.Field{Name: "error_ratio", Type: value.TRatio}, value.Field{Name: "rps", Type: value.TRate}, value.Field{Name: "errors", Type: value.TNumber})
)

// world is a scope and an environment for the tests: names with their types and values; a nil value is no data.
type world struct {
	scope  *Scope
	values map[string]value.Value
}

func (w world) Lookup(path []string) value.Value {
	v, ok := w.values[path[0]]
	if !ok {
		return value.NoData("`%s` has no sample", path[0])
	}
	for _, f := range path[1:] {
		v = v.Get(f)
	}
	return v
}

func newWorld() world {
	w := world{NewScope(nil), map[string]value.Value{}}
	set := func(name string, t *value.Type, v value.Value) {
		w.scope.Names[name] = &Binding{Type: t}
		w.values[name] = v
	}
	items := []any{map[string]any{"name": "a", "size": 1.0}, map[string]any{"name": "b", "size": 2.0, "up": true}}
	set("home", tHome, value.StructValue(tHome, map[string]value.Value{
		"status": value.NumberOf(200), "latency": value.DurationOf(41e6), "body": value.StringOf("Fizz"), "ok": value.BoolOf(true),
		"json": value.FromPlain(map[string]any{"n": 3.0, "nothing": nil, "items": items, "for": "x"}, nil)}))
	set("load", tLoad, value.StructValue(tLoad, map[string]value.Value{
		"p99": value.DurationOf(183e6), "error_ratio": value.RatioOf(0.02), "rps": value.RateOf(200), "errors": value.NumberOf(4)}))
	set("during", value.StructOf("", value.Field{Name: "load", Type: tLoad}), value.StructValue(tLoad, map[string]value.Value{"load": w.values["load"]}))
	set("n", value.TNumber, value.NumberOf(3))
	set("name", value.TString, value.StringOf("worker"))
	set("x", value.TAny, value.NumberOf(7))
	set("d", value.TDuration, value.DurationOf(2e9))
	set("xs", value.ListOf(value.TDuration), value.ListValue(value.TDuration, value.DurationOf(1e6), value.DurationOf(2e6), value.DurationOf(4e6)))
	set("ns", value.ListOf(value.TNumber), value.ListValue(value.TNumber, value.NumberOf(1), value.NumberOf(2)))
	set("m", value.MapOf(value.TNumber), value.Value{T: value.MapOf(value.TNumber), V: map[string]value.Value{"a": value.NumberOf(1), "for": value.NumberOf(2)}})
	set("p95", value.StructOf("prom.query", value.Field{Name: "value", Type: tAnyUnit}), value.StructValue(tLoad, map[string]value.Value{"value": value.NumberOf(0.25)}))
	set("yes", value.TBool, value.BoolOf(true))
	set("no", value.TBool, value.BoolOf(false))
	set("size", value.TSize, value.SizeOf(1<<20))
	set("nan", value.TNumber, value.NumberOf(math.NaN()))
	set("later", value.TNumber, value.Value{T: value.TNumber, Unknown: true})
	set("gone", value.TBool, value.NoData("the probe failed"))
	set("gone_n", value.TNumber, value.NoData("the probe failed"))
	w.scope.Names["after"] = &Binding{Type: tLoad, Denied: "`after` is not known yet here", Hint: "use it in `expect`"}
	return w
}

// compile parses and checks, and gives all messages.
func (w world) compile(text string, want *value.Type) (*Expr, []diag.Diagnostic) {
	src := diag.NewSource("t.chaos", text)
	e, ds := Parse(src, src.Span(0, len(text)))
	if len(ds) > 0 {
		return e, ds
	}
	return e, e.Check(w.scope, want)
}

func TestValues(t *testing.T) {
	w := newWorld()
	for _, c := range []struct{ text, want string }{
		{"1 + 2 * 3", "number 7"}, {"(1 + 2) * 3", "number 9"}, {"2 ** 3 ** 2", "number 512"}, {"7 % 4", "number 3"}, {"-n", "number -3"}, {"1_000 + 1e3", "number 2000"},
		{"home.latency * 2 + 1s", "duration 1.082s"}, {"d / 2", "duration 1s"}, {"1.5 * d", "duration 3s"}, {"d / 500ms", "number 4"}, {"d * 50%", "duration 1s"}, {"d % 1500ms", "duration 500ms"},
		{"50% * 10", "number 5"}, {"50% * 50%", "ratio 25%"}, {"20% + 5%", "ratio 25%"}, {"10MiB / 2s", "bandwidth 5MiB/s"}, {"1MB/s * 3s", "size 3MB"}, {"3s * 1MB/s", "size 3MB"},
		{"200/s * 3s", "number 600"}, {"600 / 3s", "rate 200/s"}, {"600 / 200/s", "duration 3s"}, {"10MB / 5MB/s", "duration 2s"}, {"load.rps * 50%", "rate 100/s"},
		{"d + 0", "duration 2s"}, {"max(d, 0)", "duration 2s"}, {"min(xs)", "duration 1ms"}, {"sum(xs)", "duration 7ms"}, {"median(ns)", "number 1.5"}, {"abs(-d)", "duration 2s"},
		{"p95.value < 300ms", "bool true"}, {"p95.value > 300ms", "bool false"}, {"p95.value < 2 * 200ms", "bool true"}, {"p95.value + 50ms", "number 0.3"}, {"p95.value < 30%", "bool true"}, {"p95.value * 1s", "duration 250ms"},
		{"load.error_ratio > 1%", "bool true"}, {"load.error_ratio < 1", "bool true"}, {"load.errors == 0", "bool false"}, {"d > 0", "bool true"}, {"0 < d", "bool true"},
		{`name + "-1"`, `string "worker-1"`}, {`home.body contains "izz" and not (home.body endsWith "q")`, "bool true"}, {`name matches '^w.*r$'`, "bool true"}, {`name not contains "z"`, "bool true"}, {"name[0:2]", `string "wo"`}, {"name[-1]", `string "r"`},
		{"n in [1, 3]", "bool true"}, {"n not in 4..9", "bool true"}, {`"a" in m`, "bool true"}, {"250ms in [50ms, 250ms]", "bool true"}, {"0 in [1s]", "bool false"},
		{"xs[1]", "duration 2ms"}, {"xs[-1]", "duration 4ms"}, {"xs[1:]", "list of duration [2ms, 4ms]"}, {"m.for + m[\"a\"]", "number 3"}, {"home.json.for", `any "x"`}, {"[1s, 0, 2s]", "list of duration [1s, 0s, 2s]"},
		{"all(xs, # < 5ms)", "bool true"}, {"any(xs, {# > 3ms})", "bool true"}, {"none(xs, # > 3ms)", "bool false"}, {"one(xs, # > 3ms)", "bool true"}, {"count(xs, # > 1ms)", "number 2"},
		{"map(xs, # * 2)", "list of duration [2ms, 4ms, 8ms]"}, {"filter(xs, # > 1ms)", "list of duration [2ms, 4ms]"}, {"find(xs, # > 1ms)", "duration 2ms"}, {"sum(ns, # * 1s)", "duration 3s"}, {"xs | filter(# > 1ms) | len()", "number 2"},
		{"map(xs, #index)", "list of number [0, 1, 2]"}, {"all(home.json.items, .size > 0)", "bool true"}, {"map(home.json.items, .name)", `list ["a", "b"]`}, {"home.json.items[1].size + 1", "number 3"},
		{"map(home.json.items, .up ?? false)", "list [false, true]"}, {"all(1..3, any(ns, # > 0))", "bool true"}, {`map(ns, "n${# + 1}")`, `list of string ["n2", "n3"]`}, {"findIndex(ns, # == 2)", "number 1"}, {"sortBy(ns, -#)", "list of number [2, 1]"},
		{"n > 2 ? 1s : 0", "duration 1s"}, {`{a: 1, "b": 2s, in: true}.a`, "any 1"}, {`len({a: 1, b: 2})`, "number 2"}, {"home?.status", "number 200"}, {`home["status"]`, "number 200"},
		{`"${d} and ${n}: ${name}"`, `string "2s and 3: worker"`}, {"`a${`${n}`}b`", `string "a3b"`}, {`"${{a: "}"}.a}"`, `string "}"`}, {`"\x41\u00e9\u{1F600}\t\\\""`, `string "Aé😀\t\\\""`}, {`'$${n} ${n}'`, `string "$$${n} $${n}"`}, {`"$${n}"`, `string "$${n}"`}, {`string(d)`, `string "2s"`},
		{`"${1000 * d / 3} ${1234.56ms} ${10MiB / 3s} ${n / 7}"`, `string "11m7s 1.23456s 3.33MiB/s 0.42857142857142855"`},
		{"x + 1", "number 8"}, {"x == 7", "bool true"}, {`x == "7"`, "bool false"}, {"x * 1s", "duration 7s"}, {"x != nil", "bool true"}, {"home.json.nothing == nil", "bool true"}, {"home.json.nothing ?? 4", "any 4"},
		{`fromJSON("{\"a\": [1, 2]}").a[1]`, "any 2"}, {`toJSON({t: 1500ms})`, `string "{\"t\":1.5}"`}, {`join(split("a,b", ","), "-")`, `string "a-b"`}, {`replace("aXa", "X", "b")`, `string "aba"`}, {`int("42") + float("0.5")`, "number 42.5"}, {"keys(m)", `list of string ["a", "for"]`},
		{"gone_n ?? 5", "number 5"}, {"(gone_n + 1) ?? 5", "number 5"}, {"n / 0 ?? 1 == 4", "bool no data (division by zero)"}, {"(n / 0) ?? 1", "number 1"}, {"1 + (gone_n ?? 2)", "number 3"},
		{"nan + 1", "number no data (the value is not a finite number)"}, {"nan > 1", "bool no data (the value is not a finite number)"}, {"not (nan > 1)", "bool no data (the value is not a finite number)"}, {"gone_n == gone_n", "bool no data (the probe failed)"}, {"5 / 0", "number no data (division by zero)"}, {"1 % 0", "number no data (division by zero)"},
		{"xs[9]", "duration no data (there is no element 9: the list has 3)"}, {"ns[n]", "number no data (there is no element 3: the list has 2)"}, {"home.json.missing == 1", "bool no data (there is no `missing`)"}, {"m[name]", "number no data (there is no `worker`)"}, {"10 ** 400", "number no data (the value is not a finite number)"},
		{`home.json + 1`, "number no data ({for: \"x\", items: [{name: \"a\", size: 1}, {name: \"b\", size: 2, up: true}], n: 3, nothing: nil} is no number)"}, {`"${gone}"`, "string no data (the probe failed)"}, {"find(ns, # > 5)", "number no data (no element was found)"}, {"[gone_n]", "list of number no data (the probe failed)"},
		{"yes and x", "bool no data (7 is neither true nor false)"}, {"later + 1", "number known after setup"}, {"later > 1 and no", "bool false"}, {"1..200000", "list of number no data (the list would be too long)"}, {"all(1..9999, all(1..9999, # > 0))", "bool no data (the lists are too long to look at every element)"},
		{"first([])", "any no data (the list is empty)"}, {"yes ? gone_n : 1", "number no data (the probe failed)"}, {"gone ? 1 : 2", "number no data (the probe failed)"}, {"(yes or gone) == yes", "bool true"},
	} {
		e, ds := w.compile(c.text, nil)
		if len(ds) > 0 {
			t.Errorf("%s: %v", c.text, ds)
			continue
		}
		if got := e.Type().String() + " " + e.Eval(w).String(); got != c.want {
			t.Errorf("%s = %s, want %s", c.text, got, c.want)
		}
	}
}

func TestThreeValuedLogic(t *testing.T) {
	w := newWorld()
	const T, F, N = "yes", "no", "gone"
	for _, op := range []struct {
		op    string
		table map[[2]string]string
	}{
		{"and", map[[2]string]string{{T, T}: "true", {T, F}: "false", {T, N}: "?", {F, T}: "false", {F, F}: "false", {F, N}: "false", {N, T}: "?", {N, F}: "false", {N, N}: "?"}},
		{"or", map[[2]string]string{{T, T}: "true", {T, F}: "true", {T, N}: "true", {F, T}: "true", {F, F}: "false", {F, N}: "?", {N, T}: "true", {N, F}: "?", {N, N}: "?"}},
		{"??", map[[2]string]string{{T, T}: "true", {T, F}: "true", {T, N}: "true", {F, T}: "false", {F, F}: "false", {F, N}: "false", {N, T}: "true", {N, F}: "false", {N, N}: "?"}},
	} {
		for pair, want := range op.table {
			// The second form hides the operator inside a leaf, which must not change its meaning.
			for _, form := range []string{"%s %s %s", "(%s %s %s) == true", "not not (%s %s %s)"} {
				text := fmt.Sprintf(form, pair[0], op.op, pair[1])
				e, ds := w.compile(text, value.TBool)
				if len(ds) > 0 {
					t.Fatalf("%s: %v", text, ds)
				}
				got := e.Eval(w).String()
				if strings.HasPrefix(got, "no data") {
					got = "?"
				}
				if got != want {
					t.Errorf("%s = %s, want %s", text, got, want)
				}
			}
		}
	}
	for name, want := range map[string]string{T: "false", F: "true", N: "no data (the probe failed)"} {
		e, _ := w.compile("not "+name, value.TBool)
		if got := e.Eval(w).String(); got != want {
			t.Errorf("not %s = %s, want %s", name, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	w := newWorld()
	for _, c := range []struct {
		text string
		want *value.Type
		col  int
		code diag.Code
		msg  string
		hint string
	}{
		// units
		{"home.latency < 100", nil, 1, diag.WrongUnit, "`home.latency` is a duration, but `100` is a plain number", "write `100ms`"},
		{"load.error_ratio > 20", nil, 1, diag.WrongUnit, "`load.error_ratio` is a ratio, but `20` is a plain number", "write `20%`"},
		{"load.error_ratio > 0.2", nil, 1, diag.WrongUnit, "", "write `20%`"},
		{"load.rps < 100", nil, 1, diag.WrongUnit, "", "write `100/s`"},
		{"d < n", nil, 1, diag.WrongUnit, "", "multiply it by a unit: `n * 1s`"},
		{"d < size", nil, 1, diag.WrongUnit, "`d` is a duration, but `size` is a size", ""},
		{"d + 5", nil, 1, diag.WrongUnit, "`+` takes two of the same unit, but `d` is a duration and `5` is a plain number", "write `5s`"},
		{"d * 20% + 20%", nil, 1, diag.WrongUnit, "", "to change it by a part of itself write `d * 20% * 120%`"},
		{"d * size", nil, 1, diag.WrongUnit, "`*` has no meaning here: `d` is a duration and `size` is a size", ""},
		{"home.json.n < 5s", nil, 1, diag.WrongUnit, "`5s` is a duration, but the unit of `home.json.n` is not known", "multiply it by a unit: `home.json.n * 1s`"},
		{"x > 20%", nil, 1, diag.WrongUnit, "", "write `0.2`"},
		{"max(d, 5)", nil, 8, diag.WrongUnit, "`max` takes numbers of one unit, but `d` is a duration, `5` is a plain number", "write `5s`"},
		{"round(d)", nil, 7, diag.WrongType, "`round` takes a number here, but `d` is a duration", "divide it by a unit first: `d / 1s`"},
		{"d in [1, 2s]", nil, 7, diag.WrongUnit, "expected a duration, found the number `1`", "write `1s`"},
		// types
		{`n == "3"`, nil, 1, diag.WrongType, "`n` is a plain number, but `\"3\"` is a string", "write `3` without quotes"},
		{"name == 3", nil, 1, diag.WrongType, "", "write `\"3\"`"},
		{"home.status == nil", nil, 1, diag.NilCompare, "`home.status` is a plain number and never nil", "what is absent is no data, not nil; give a default with `??`"},
		{"home == true", nil, 1, diag.WrongType, "`home` is a sample of `http.get`, but `true` is a condition", "ask for a field, for example `home.ok`"},
		{"n and yes", nil, 1, diag.WrongType, "`and` joins conditions, but `n` is a plain number", "compare it, for example `n > 0`"},
		{"not home.status == 200", nil, 5, diag.WrongType, "`not` stands before a condition, but `home.status` is a plain number", "`not` binds tighter: write `not (home.status == …)`"},
		{`name + 1`, nil, 8, diag.WrongType, "`+` joins two strings, but `1` is a plain number", "put it into the string: `\"… ${1}\"`"},
		{`name in "abc"`, nil, 9, diag.WrongType, "`in` looks into lists and maps, but `\"abc\"` is a string", "write `\"abc\" contains name`"},
		{`ns contains 1`, nil, 1, diag.WrongType, "", "write `1 in ns`"},
		{`name matches '['`, nil, 14, diag.BadExpression, "this is no regular expression: missing closing ] in `[`", ""},
		{"n ? 1 : 2", nil, 1, diag.WrongType, "a condition must stand before `?`, but `n` is a plain number", "compare it, for example `n > 0`"},
		{"yes ? 1s : 2", nil, 12, diag.WrongUnit, "", "write `2s`"},
		{"all(n, # > 1)", nil, 5, diag.WrongType, "`all` takes a list here, but `n` is a plain number", ""},
		{"all(ns, # + 1)", nil, 9, diag.WrongType, "`all` asks a condition of each element, but `# + 1` is a plain number", "compare it, for example `# + 1 > 0`"},
		{"all(ns, # > 1s)", nil, 9, diag.WrongUnit, "", "multiply it by a unit: `# * 1s`"},
		// names
		{"hom.status", nil, 1, diag.UnknownName, "there is no `hom` here", "did you mean `home`?"},
		{"home.status_code == 200", nil, 6, diag.UnknownField, "`status_code` is no field of `http.get`", ""},
		{"during.load.p9 < 1s", nil, 13, diag.UnknownField, "`p9` is no field of `http.load`", "did you mean `p99`?"},
		{"n.status", nil, 3, diag.UnknownField, "`n` is a plain number and has no field `status`", ""},
		{"xs.first", nil, 4, diag.UnknownField, "", "take one element with `[0]`, or ask of each: `all(xs, .first …)`"},
		{"after.p99 < 1s", nil, 1, diag.TooEarly, "`after` is not known yet here", "use it in `expect`"},
		{"lenn(xs)", nil, 1, diag.UnknownFunction, "there is no function `lenn`", "did you mean `len`?"},
		{"now()", nil, 1, diag.UnknownFunction, "there is no function `now`", "expressions read no clock; `for` and `within` say how long"},
		{"len", nil, 1, diag.UnknownName, "there is no `len` here", "it is a function: write `len(x)`"},
		{"len()", nil, 1, diag.MissingArgument, "`len` needs one argument", "write `len(x)`"},
		{"len(xs, ns)", nil, 9, diag.TooManyArgs, "`len` takes one argument", "write `len(x)`"},
		{`http.get("x").status`, nil, 1, diag.BadExpression, "`http.get` cannot be called here: actions and probes are no expressions", "declare `probe name = http.get(…)` and read the fields of `name`"},
		{`name.trim()`, nil, 1, diag.BadExpression, "values have no functions of their own", "write `trim(name)`"},
		{"{a: 1, a: 2}", nil, 8, diag.Duplicate, "the key `a` stands twice in this map", ""},
		// syntax
		{"n = 1", nil, 3, diag.BadAssign, "`=` binds a name, it does not compare", "write `==` to compare"},
		{"1 < n < 5", nil, 1, diag.BadExpression, "comparisons cannot be chained", "write `1 < n and n < 5`"},
		{"yes and 1 <= n * 2 < 5 or no", nil, 9, diag.BadExpression, "comparisons cannot be chained", "write `1 <= n * 2 and n * 2 < 5`"},
		{"n +", nil, 3, diag.BadExpression, "something is missing behind `+`", ""},
		{"n + * 2", nil, 3, diag.BadExpression, "something is missing between `+` and `*`", ""},
		{"* 2", nil, 1, diag.BadExpression, "something is missing before `*`", ""},
		{"(n + 1", nil, 1, diag.Unclosed, "this `(` is never closed", "close it with `)`"},
		{"[n)", nil, 1, diag.Unclosed, "this `[` is never closed", "close it with `]`"},
		{"n)", nil, 2, diag.Unexpected, "nothing is open that this `)` could close", ""},
		{"n name", nil, 3, diag.BadExpression, "an operator is missing between `n` and `name`", ""},
		{`name == "say "yes""`, nil, 14, diag.BadString, "this quote ends the string", ""},
		{"5 s", nil, 1, diag.BadNumber, "a unit stands directly behind its number", "write `5s`"},
		{"5 name", nil, 3, diag.BadExpression, "an operator is missing between `5` and `name`", ""},
		{"n in [200 204]", nil, 11, diag.BadExpression, "a comma is missing between `200` and `204`", "write `200, 204`"},
		{"n in [200, # ok\n 204]", nil, 14, diag.BadExpression, "an operator is missing between `#` and `ok`", "comments start with `//`"},
		{"max(n plus 1) > 2", nil, 7, diag.BadExpression, "an operator is missing between `n` and `plus`", ""},
		{"[`a\nb` 5]", nil, 4, diag.BadExpression, "a comma is missing between ``a b`` and `5`", "write `, ` between them"},
		{"name == `a`b`c`", nil, 11, diag.BadString, "this quote ends the string", "a text with backticks in it stands in other quotes: '…'"},
		{"{a: 1 b: 2}", nil, 7, diag.BadExpression, "a comma is missing between `1` and `b`", "write `1, b`"},
		{`{content-type: "json"}`, nil, 2, diag.BadExpression, "a key with `-` in it stands in quotes", "write `\"content-type\": …`"},
		{"{a -b: 1}", nil, 2, diag.BadExpression, "a `:` is missing behind `a`", ""},
		{"home.json.x-request-id == 1", nil, 13, diag.UnknownName, "there is no `request` here", "a key with `-` in it stands in quotes: `[\"x-request-id\"]`"},
		{"home.status-nope == 1", nil, 13, diag.UnknownName, "there is no `nope` here", ""},
		{"n is 3", nil, 3, diag.BadExpression, "`is` is no operator", "write `==`"},
		{"yes AND no", nil, 5, diag.BadExpression, "`AND` is no operator", "write `and`"},
		{"n <> 3", nil, 3, diag.BadExpression, "`<>` is no operator", "write `!=`"},
		{"n === 3", nil, 3, diag.BadExpression, "`===` is no operator", "write `==`"},
		{"n => 3", nil, 3, diag.BadExpression, "`=>` is no operator", "write `>=`"},
		{"n -> 3", nil, 3, diag.BadExpression, "`->` is no operator", ""},
		{"let a = 1", nil, 1, diag.BadExpression, "`let` is no part of an expression", ""},
		{"if yes { 1 } else { 2 }", nil, 1, diag.BadExpression, "`if` is no part of an expression", "write `condition ? a : b`"},
		{"yes ? 1", nil, 7, diag.BadExpression, "the `: …` of a `?` is missing", "write `condition ? a : b`"},
		{"a ?: b", nil, 3, diag.BadExpression, "`?:` is no operator", "write `a ?? b` for a default"},
		{"gone_n ?? 1 + 2", nil, 13, diag.BadExpression, "`??` and `+` need brackets to tell which comes first", "write `(a ?? b) + c`"},
		{"n + #", nil, 5, diag.BadExpression, "`#` is the element inside `all(list, …)` and its like, and stands nowhere else", ""},
		{"filter(xs)", nil, 1, diag.MissingArgument, "`filter` takes a list and what to ask of each element", "write `filter(list, # > 1)`"},
		{"xs.0", nil, 4, diag.BadExpression, "behind a dot stands a name, not `0`", "write `[0]` for an element of a list"},
		{"", nil, 1, diag.BadExpression, "an expression is missing here", ""},
		{"10%3", nil, 1, diag.BadNumber, "", "write `10 % 3` for the remainder"},
		{`"a\d"`, nil, 3, diag.BadString, "`\\d` is no escape", ""},
		{`"a\u{110000}"`, nil, 3, diag.BadString, "`\\u{110000}` is no escape", ""},
		{`"${}"`, nil, 2, diag.BadExpression, "nothing stands between `${` and `}`", ""},
		{`"a ${hom} b"`, nil, 6, diag.UnknownName, "there is no `hom` here", "did you mean `home`?"},
		{"`é\n ${d < 5}`", nil, 4, diag.WrongUnit, "", "write `5s`"},
		// what the place asks for
		{"100", value.TDuration, 1, diag.WrongUnit, "expected a duration, found the number `100`", "write `100ms`"},
		{"20", value.TRatio, 1, diag.WrongUnit, "expected a ratio, found the number `20`", "write `20%`"},
		{"200", value.TRate, 1, diag.WrongUnit, "expected a rate, found the number `200`", "write `200/s`"},
		{"10%", value.TNumber, 1, diag.WrongUnit, "expected a number, found the ratio `10%`", "write `0.1`"},
		{`"5s"`, value.TDuration, 1, diag.WrongType, "expected a duration, found the string `\"5s\"`", "write `5s` without quotes"},
		{"x", value.TDuration, 1, diag.WrongUnit, "expected a duration, found `x`, which has no unit", "multiply it by a unit: `x * 1s`"},
		{"n", value.TBool, 1, diag.WrongType, "expected a condition, found `n`, a number", "compare it, for example `n > 0`"},
		{"home", value.TBool, 1, diag.WrongType, "expected a condition, found `home`, a sample of `http.get`", "ask for a field, for example `home.ok`"},
		{"name", value.ListOf(value.TString), 1, diag.WrongType, "expected a list of string, found `name`, a string", "write a list: `[name]`"},
		{"[1s, 5]", value.ListOf(value.TDuration), 6, diag.WrongUnit, "expected a duration, found the number `5`", "write `5s`"},
		{"5", value.TString, 1, diag.WrongType, "expected a string, found the number `5`", "write it in quotes: `\"5\"`"},
	} {
		e, ds := w.compile(c.text, c.want)
		if len(ds) != 1 {
			t.Errorf("%s: %d messages, want one: %v", c.text, len(ds), ds)
			continue
		}
		d := ds[0]
		if d.Code != c.code || d.Span.Start.Col != c.col || c.msg != "" && d.Message != c.msg || c.hint != "" && d.Hint != c.hint {
			t.Errorf("%s:\n got %s %d %q %q\nwant %s %d %q %q", c.text, d.Code, d.Span.Start.Col, d.Message, d.Hint, c.code, c.col, c.msg, c.hint)
		}
		if v := e.Eval(w); !v.IsMissing() {
			t.Errorf("%s has a mistake and yet the value %s", c.text, v)
		}
	}
}

func TestPlacesAcceptWhatFits(t *testing.T) {
	w := newWorld()
	for _, c := range []struct {
		text string
		want *value.Type
		typ  string
	}{
		{"0", value.TDuration, "duration"}, {"[]", value.ListOf(value.TString), "list of string"}, {"{}", value.MapOf(value.TString), "map of string"}, {"[0, 1s]", value.ListOf(value.TDuration), "list of duration"},
		{"x", value.TNumber, "number"}, {"x", value.TBool, "bool"}, {"n", value.TAny, "number"}, {"[1, name]", value.ListOf(nil), "list"}, {"yes ? 0 : d", value.TDuration, "duration"},
	} {
		e, ds := w.compile(c.text, c.want)
		if len(ds) > 0 || e.Type().String() != c.typ {
			t.Errorf("%s for %s: %s, %v; want %s", c.text, c.want, e.Type(), ds, c.typ)
		}
	}
}

func TestOperands(t *testing.T) {
	w := newWorld()
	let, ds := w.compile("2 * load.p99", nil)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	w.scope.Names["budget"] = &Binding{Type: let.Type(), Let: let}
	for _, c := range []struct{ text, want string }{
		{"during.load.p99 < load.p99 + 50ms", "during.load.p99 load.p99"},
		{"home.ok and home.ok and n > 1", "home.ok n"},
		{"home.json.items[0].name == name", "home.json.items[0].name name"},
		{"d < budget", "d load.p99"},
		{"budget > budget", "load.p99"},
		{"xs[n]", "xs n"},
		{`"${n} ${home . status}"`, "n home . status"},
		{"all(xs, # < d)", "xs d"},
		{"1 + 2", ""},
	} {
		e, ds := w.compile(c.text, nil)
		if len(ds) > 0 {
			t.Errorf("%s: %v", c.text, ds)
		}
		var got []string
		for _, o := range e.Operands() {
			got = append(got, o.Text)
			if v := o.Value(w); v.IsMissing() {
				t.Errorf("%s: operand %s is %s", c.text, o.Text, v)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s reads %q, want %q", c.text, s, c.want)
		}
	}
}

func TestLets(t *testing.T) {
	w := newWorld()
	let := func(name, text string) *Expr {
		e, ds := w.compile(text, nil)
		if len(ds) > 0 {
			t.Fatal(name, ds)
		}
		w.scope.Names[name] = &Binding{Type: e.Type(), Let: e}
		return e
	}
	let("l0", "n + 1")
	for i := range 60 { // each names the one before twice: without memory this takes for ever
		let(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d - l%d / 2", i, i))
	}
	e, _ := w.compile("l60 > 0", nil)
	if v := e.Eval(w); v.String() != "true" || len(e.Operands()) != 1 {
		t.Errorf("l60 > 0 = %s, reads %v", v, e.Operands())
	}
	w.scope.Names["loop"] = &Binding{Type: value.TNumber}
	loop, _ := w.compile("loop + 1", nil)
	w.scope.Names["loop"].Let = loop
	loop.Check(w.scope, nil)
	if v := loop.Eval(w); !v.IsMissing() {
		t.Errorf("a let that names itself is %s, want no data", v)
	}
	loop.Operands()
	loop.Const()
}

func TestConst(t *testing.T) {
	w := newWorld()
	five := value.DurationOf(5e9)
	w.scope.Names["hold"] = &Binding{Type: value.TDuration, Const: &five}
	for text, want := range map[string]string{"2 * 3s": "6s", "hold * 2": "10s", "[hold, 1s]": "[5s, 1s]", "n + 1": "", "5 / 0": "", `"a"`: `"a"`} {
		e, _ := w.compile(text, nil)
		v, ok := e.Const()
		if ok != (want != "") || ok && v.String() != want {
			t.Errorf("Const(%s) = %s, %v; want %q", text, v, ok, want)
		}
	}
}

func TestOneMistakeOneMessage(t *testing.T) {
	w := newWorld()
	w.scope.Names["broken"] = &Binding{Type: Vague}
	for _, text := range []string{"broken.latency < 5s and broken.status == 3", "broken + 1s > 3", "all(broken, .x > 1s)", "map(broken, #.y)[0] / 2s", "max(broken, 1s) < 3s", `"${broken}" contains broken`, "broken in [1s]", "not broken", "broken ?? 1s", "-broken * 2s", "len(broken) > 1", "sum(broken) < 2s"} {
		if _, ds := w.compile(text, value.TBool); len(ds) > 1 || len(ds) == 1 && ds[0].Code != diag.WrongType && ds[0].Code != diag.WrongUnit {
			t.Errorf("%s: %v", text, ds)
		}
	}
	if _, ds := w.compile("hom.latency < 5 and hom.ok", value.TBool); len(ds) != 2 { // two places, two messages
		t.Errorf("%v", ds)
	}
}

func TestText(t *testing.T) {
	w := newWorld()
	for text, want := range map[string]string{
		"  n  +\n\t1 // why\n": "n + 1", "all(\n  xs,\n  # < 1s,\n)": "all(xs, # < 1s,)", "'a  b' + name": "'a  b' + name", "n+1": "n+1", "`a\n  b`": "`a b`",
	} {
		if e, _ := w.compile(text, nil); e.Text() != want {
			t.Errorf("Text(%q) = %q, want %q", text, e.Text(), want)
		}
	}
}

func TestPositionsInsideAFile(t *testing.T) {
	w := newWorld()
	text := "// grüße\nexpect \"é\" + // ümlaut\n  nam contains \"x\"\n"
	src := diag.NewSource("t.chaos", text)
	from := strings.Index(text, "\"é")
	e, ds := Parse(src, src.Span(from, len(text)-1))
	ds = append(ds, e.Check(w.scope, nil)...)
	if len(ds) != 1 || ds[0].Span.Start.Line != 3 || ds[0].Span.Start.Col != 3 || src.Slice(ds[0].Span) != "nam" {
		t.Errorf("got %v, want `nam` at 3:3", ds)
	}
}

func TestTooLongIsSaidNotCrashed(t *testing.T) {
	w := newWorld()
	for _, text := range []string{strings.Repeat("not ", 100_000) + "yes", strings.Repeat("-", 100_000) + "1", strings.Repeat("1+", 100_000) + "1", strings.Repeat("(", 10_000), strings.Repeat("yes ? ", 50_000), strings.Repeat("\"${", 1000)} {
		_, ds := w.compile(text, nil)
		if len(ds) != 1 || ds[0].Code != diag.TooDeep && ds[0].Code != diag.BadString {
			t.Errorf("%.20s…: %.200v", text, ds)
		}
	}
	for _, text := range []string{strings.Repeat("not ", 4000) + "yes", strings.Repeat("- ", 4000) + "1", strings.Repeat("1+", 2000) + "1", strings.Repeat("yes and ", 2000) + "yes", strings.Repeat("yes ? 1 : ", 1200) + "1"} {
		if e, ds := w.compile(text, nil); len(ds) > 0 || e.Eval(w).IsMissing() {
			t.Errorf("%.20s…: %.200v %v", text, ds, e.Eval(w))
		}
	}
}

func TestUnquote(t *testing.T) {
	for _, c := range []struct {
		text, want string
		holes      bool
		code       diag.Code
	}{
		{`"a\n\"b\""`, "a\n\"b\"", false, ""}, {`'a\n'`, `a\n`, false, ""}, {"`a\\n`", `a\n`, false, ""}, {`"$${x}"`, "${x}", false, ""}, {`"a${n}b"`, "ab", false, diag.InterpolatedLit}, {`"a${n}b"`, "a${n}b", true, ""}, {`"\q"`, "", false, diag.BadString},
	} {
		src := diag.NewSource("t", c.text)
		p, _ := parse(src, 0, len(c.text), 0)
		got, ds := Unquote(src, p.toks[0], c.holes)
		code := diag.Code("")
		if len(ds) > 0 {
			code = ds[0].Code
		}
		if got != c.want || code != c.code {
			t.Errorf("Unquote(%s) = %q %v, want %q %s", c.text, got, ds, c.want, c.code)
		}
	}
}

func TestConcurrentEvaluation(t *testing.T) {
	w := newWorld()
	e, _ := w.compile("all(xs, # < d) and home.latency * 2 < 1s ? sum(xs) : 0s", nil)
	done := make(chan string)
	for range 8 {
		go func() {
			s := ""
			for range 200 {
				s = e.Eval(w).String()
			}
			done <- s
		}()
	}
	for range 8 {
		if s := <-done; s != "7ms" {
			t.Errorf("got %s, want 7ms", s)
		}
	}
}

func TestEveryFunctionIsDocumentedAndCallable(t *testing.T) {
	for _, f := range Functions() {
		if f.Help == "" || !strings.HasPrefix(f.Usage, f.Name+"(") || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: usage %q, help %q", f.Name, f.Usage, f.Help)
		}
		fn := functions[f.Name]
		if fn.run == nil && !predicates[f.Name] && f.Name != "string" && f.Name != "toJSON" && f.Name != "secret" {
			t.Errorf("%s does nothing", f.Name)
		}
	}
}
