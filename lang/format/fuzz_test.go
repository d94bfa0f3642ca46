package format

import (
	"strings"
	"testing"

	"chaos/lang/diag"
	"chaos/lang/syntax"
)

// FuzzFormat looks for texts that panic, that become something else, or that are not canonical after formatting.
func FuzzFormat(f *testing.F) {
	for _, text := range canonical(f) {
		f.Add(text)
	}
	for _, text := range read(f, 20, "testdata/*.in.chaos", "../check/testdata/broken/*.chaos") {
		f.Add(text)
	}
	for _, text := range []string{
		"let a = f(1 .x, . 5, a. .b, a.. .b, a ?.5 : b, 1 ?: 2, x ? ?.y)",
		"let a = x[a ? b : c:d][a: :b] ?? # # a - -  - 1 / * 2 * / ! ! b",
		"param a = \"\"or 0; let b = {c: \"x\"in[\"x\"]}",
		"let a = {b c: -1 .. -2, 1...2, \"a\" 'b' `c` b'd'}\n;;let b=c;",
		"steady { ; ; expect a[{\n}, (\n[\n])] \n\n }",
		"meta: {\n// a\n\n\n}\n// b\r\r\n",
		"f(\n\n// a\n\n\n[{ // b\n\n}])for 3s\n\n// c\n\nbecause `\n`",
		"\ufeff#!x\n\n\nparam a = 1 //\u00a0\u2028",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, bad := syntax.Encoding("f.chaos", []byte(text)); bad {
			return
		}
		out, ds := Source(diag.NewSource("f.chaos", text))
		for _, d := range ds {
			if d.Code == diag.Misformat {
				t.Fatalf("%v\n%q", d, text)
			}
		}
		if diag.List(ds).HasErrors() {
			if out != "" {
				t.Errorf("%q is wrong and becomes %q", text, out)
			}
			return
		}
		same(t, "f.chaos", text, out)
		if !strings.HasSuffix(out, "\n") || strings.HasSuffix(out, "\n\n") || strings.HasPrefix(out, "\n") || strings.HasPrefix(out, " ") {
			t.Errorf("%q becomes %q", text, out)
		}
	})
}
