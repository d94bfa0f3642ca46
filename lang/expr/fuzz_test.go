package expr

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// FuzzExpr says that no text makes the stages panic or take long, that every message points into the source, speaks no Go,
// and that what has no mistake can be evaluated.
func FuzzExpr(f *testing.F) {
	for _, s := range []string{
		"home.status == 200 and home.body contains \"FizzBuzz\"", "during.load.p99 < load.p99 + 250ms", "1 < n < 5", "all(xs, {# < 5ms})", "`a ${n} \"${name}\"`", "{in: 1, \"b\": 2s}.in",
		"xs | filter(# > 1ms) | sum(# * 2)", "m.for ?? m[name]", "not (yes or gone)", "n > 2 ? 1s : 0", "xs[1:][0]", "200/s * 3s", "10 % 3", "home.json.items[-1].name matches '^a'", "map(home.json.items, .up ?? false)",
		"\"\\u{1F600}${{a: \"}\"}.a}\"", "- - -1 ** 2", "// c\nn // d\n+ 1", "sortBy(ns, -#)", "fromJSON(\"[1]\")[0]", "name[0:2] + 'x'", "héllo “x”", "min(d, 0) / 2", "n = 3", "x * 1s > 2s", "a?.b?.[0]", "#index", "1..n", "n@` \n(", "\n`\n```\n",
	} {
		f.Add(s)
	}
	w := newWorld()
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 || !utf8.ValidString(text) {
			return
		}
		src := diag.NewSource("f.chaos", text)
		start := time.Now()
		for _, want := range []*value.Type{nil, value.TBool, value.TDuration, value.ListOf(value.TString)} {
			e, ds := Parse(src, src.Span(0, len(text)))
			broken := len(ds) > 0
			if !broken {
				ds = e.Check(w.scope, want)
			}
			for _, d := range ds {
				if s, n := d.Span.Start.Offset, d.Span.End.Offset; s < 0 || n < s || n > len(text) {
					t.Fatalf("%q: %v points outside", text, d)
				}
				if d.Message == "" || strings.Contains(d.Message, "interface {") || strings.Contains(d.Message, "float64") || strings.Contains(d.Message, "unexpected token") || strings.ContainsRune(d.Message, '\n') {
					t.Fatalf("%q: %q is no message of ours", text, d.Message)
				}
			}
			for _, o := range e.Operands() {
				if !strings.Contains(text, src.Slice(o.At)) || o.Text == "" {
					t.Fatalf("%q: operand %v", text, o)
				}
				o.Value(w)
			}
			v := e.Eval(w)
			if _, ok := v.V.(bool); want == value.TBool && !absent(v) && !ok {
				t.Fatalf("%q: a condition is %s", text, v)
			}
			if strings.ContainsRune(e.Text(), '\n') {
				t.Fatalf("%q: Text is %q", text, e.Text())
			}
			_ = v.String()
			e.Const()
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("%q took %s", text, took)
		}
	})
}
