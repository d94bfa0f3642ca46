package expr

import (
	"fmt"
	"testing"

	"chaos/lang/diag"
	"chaos/lang/value"
)

func TestSmoke(t *testing.T) {
	home := value.StructOf("http.get", value.Field{Name: "status", Type: value.TNumber}, value.Field{Name: "latency", Type: value.TDuration}, value.Field{Name: "body", Type: value.TString}, value.Field{Name: "ok", Type: value.TBool}, value.Field{Name: "json", Type: value.TAny}, value.Field{Name: "ratio", Type: value.TRatio})
	s := NewScope(nil)
	s.Names["home"] = &Binding{Type: home}
	s.Names["n"] = &Binding{Type: value.TNumber}
	s.Names["xs"] = &Binding{Type: value.ListOf(value.TDuration)}
	s.Names["p95"] = &Binding{Type: value.StructOf("prom.query", value.Field{Name: "value", Type: tAnyUnit})}
	env := EnvFunc(func(p []string) value.Value {
		switch p[0] {
		case "home":
			v := value.StructValue(home, map[string]value.Value{"status": value.NumberOf(200), "latency": value.DurationOf(41e6), "body": value.StringOf("hi"), "ok": value.BoolOf(true), "json": value.FromPlain(map[string]any{"a": []any{1.0, "x"}}, nil)})
			for _, f := range p[1:] {
				v = v.Get(f)
			}
			return v
		case "n":
			return value.NumberOf(3)
		case "xs":
			return value.ListValue(value.TDuration, value.DurationOf(1e6), value.DurationOf(2e6))
		case "p95":
			return value.NumberOf(0.25)
		}
		return value.NoData("?")
	})
	for _, text := range []string{
		"1 + 2 * 3", "home.latency < 100", "home.latency < 100ms", "home.status == 200 and home.body contains \"h\"", "50% * 10", "home.latency * 2 + 1s",
		"1 < n < 5", "home.statsu", "foo", "n ?? 1", "home.ratio > 20", "home.ratio ?? 20%", "home.json.a[0] + 1", "home.json.b > 1", "all(xs, # < 5ms)", "all(xs, {# < 5ms})",
		"sum(xs)", "map(xs, # * 2)", "\"a ${home.latency} ${n + 1} $${x}\"", "`x\n${n}`", "p95.value < 300ms", "p95.value + 10ms", "n = 3", "http.get(\"x\")", "not home.status == 200", "home.ok and",
		"(1 + 2", "{a: 1, \"b\": 2s, in: 3}", "[1s, 0, 2s]", "n / 0", "5 % 0", "home.status == nil", "home.json == nil", "1..3", "n > 2 ? 1s : 2s", "xs[0]", "xs[5]", "len(xs)", "lne(xs)", "home.ratio",
		"n in [1, 2, 3]", "'a.c' matches '['", "1 - - 1", "home.body.trim()", "let x = 1", "now()", "if n { 1 } else { 2 }", "100MiB / 2s", "200/s * 3s", "filter(xs, # > 1ms)[0]", "xs | count(# > 1ms)",
		"\"a\\d\"", "1s + 5", "home and n", "home.latency + 20%", "xs[1:]", "home.body[0:1]", "min(1s, 2s)", "min(1s, 2)", "string(1.5s)", "home.json * 1s", "home.json.a < 5s", "a ?? b + c", "-5s", "any(xs, .foo)",
		"home.latency ?? 0 > 5ms", "map(xs, \"${#}\")", "n.x", "home[\"status\"]", "n in 1..5", "-n ** 2", "true and n",
	} {
		src := diag.NewSource("t", text)
		e, ds := Parse(src, src.Span(0, len(text)))
		ds = append(ds, e.Check(s, nil)...)
		fmt.Printf("%-45q ", text)
		for _, d := range ds {
			fmt.Printf(" %d-%d %s %s (%s)", d.Span.Start.Col, d.Span.End.Col, d.Code, d.Message, d.Hint)
		}
		if len(ds) == 0 {
			v := e.Eval(env)
			var o []string
			for _, x := range e.Operands() {
				o = append(o, x.Text)
			}
			fmt.Printf(" %s = %s %q", e.Type(), v, o)
		}
		fmt.Println()
	}
}
