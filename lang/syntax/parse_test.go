package syntax

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaos/lang/diag"
	"chaos/lang/lineartest"
)

func TestSamplesParse(t *testing.T) {
	files, err := filepath.Glob("../testdata/samples/*.chaos")
	if err != nil || len(files) < 8 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, path := range files {
		src, ds := Load(path)
		if len(ds) > 0 {
			t.Fatal(ds)
		}
		file, ds := Parse(src)
		if len(ds) > 0 {
			t.Errorf("%v", diag.List(ds))
		}
		if len(file.Items) == 0 || file.Incomplete {
			t.Errorf("%s: no items", path)
		}
		everySpanInside(t, src, file)
	}
}

// everySpanInside walks a tree and checks the span of every node.
func everySpanInside(t *testing.T, src *diag.Source, file *File) {
	t.Helper()
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Struct:
			if n, ok := v.Interface().(Node); ok {
				insideSource(t, src, n.Span)
				if n.Tokens != nil {
					t.Errorf("tokens are left in a node at %s", n.Span)
				}
				return
			}
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		}
	}
	for _, s := range file.Items {
		walk(reflect.ValueOf(s))
	}
}

func insideSource(t *testing.T, src *diag.Source, at diag.Span) {
	t.Helper()
	if at == (diag.Span{}) {
		return // of a part that was not written
	}
	if at.Start.Offset < 0 || at.Start.Offset > at.End.Offset || at.End.Offset > len(src.Text) {
		t.Errorf("a span outside of the file: %+v", at)
		return
	}
	if want := src.Span(at.Start.Offset, at.End.Offset); want != at {
		t.Errorf("span %+v, want %+v", at, want)
	}
}

func parse(text string) (*File, diag.List) {
	file, ds := Parse(diag.NewSource("t.chaos", text))
	return file, ds
}

func TestHelpIsTheCommentAbove(t *testing.T) {
	file, ds := parse("// Of the file.\n\n// First line,\n// second line.\nparam a = 1\nparam b = 2 // behind it\nparam c = 3\n")
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	for i, want := range []string{"First line,\nsecond line.", "", ""} {
		if got := file.Items[i].(*Param).Help; got != want {
			t.Errorf("help %d: %q, want %q", i, got, want)
		}
	}
}

func TestStatements(t *testing.T) {
	for _, c := range []struct{ text, what string }{
		{"let a = b ? c : d", "*syntax.Let"},
		{"let a = {x: 1, \"y z\": [2,\n 3]}.x", "*syntax.Let"},
		{"let a = all(xs, {# > 1 and #.b in [1]}) and not b", "*syntax.Let"},
		{"let a = x not in [1, 2] or y | len() ?? 3", "*syntax.Let"},
		{"let a = home?.json.within.for\n  + 1", "*syntax.Let"},
		{"param a: duration = 5s in [5s, 6s]", "*syntax.Param"},
		{"param a = \"x\" in [\"x\"]", "*syntax.Param"},
		{"probe p(a, b: duration = 5s,) = http.get(a, within: b, ) every 1s", "*syntax.Probe"},
		{"action slow(x) { network.delay(to: x) }", "*syntax.Action"},
		{"use \"./a.chaos\" as b", "*syntax.Use"},
		{"expect {a: 1}.a == 1\n  because 'why'", "*syntax.Check"},
		{"wait until a\n  and b\n  within 5s", "*syntax.Wait"},
		{"wait 5s; wait 6s", "*syntax.Wait"},
		{"repeat in_list in [1, 2] { wait in_list }", "*syntax.Repeat"},
		{"repeat n { wait 1s; wait 2s }", "*syntax.Repeat"},
		{"when {a: 1}.a == 1 { wait 1s } else when b { } else { wait 2s }", "*syntax.When"},
		{"do \"x\" {\n}", "*syntax.Do"},
		{"a.b.c(1, for: 2, x: {y: [1,],},) for 5s pick all as x because \"y\"", "*syntax.Step"},
		{"meta: {a: \"b\"}", "*syntax.Attr"},
		{"abort when a for 3s", "*syntax.Abort"},
	} {
		file, ds := parse(c.text)
		if len(ds) > 0 {
			t.Errorf("%s\n%v", c.text, ds)
			continue
		}
		if got := fmt.Sprintf("%T", file.Items[0]); got != c.what {
			t.Errorf("%s: %s, want %s", c.text, got, c.what)
		}
	}
}

func TestExtentsOfExpressions(t *testing.T) {
	file, ds := parse("let a = x // one\n  + y // two\nlet b = `a\n  ${\"}\"} b` + 'c'\n")
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	for i, want := range []string{"x + y", "`a ${\"}\"} b` + 'c'"} {
		if got := file.Text(file.Items[i].(*Let).Value.Span); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a.b(\n  \"x\", // why\n  y: [\n    1,\n    2,\n  ],\n)\n  for 5s": "a.b(\"x\", y: [1, 2]) for 5s",
		"a.b(c,d )":     "a.b(c,d )",
		"a.b(`x\n  y`)": "a.b(`x y`)",
	} {
		file, ds := parse(in)
		if len(ds) > 0 {
			t.Fatal(ds)
		}
		if got := file.Text(file.Items[0].At()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestUnquote(t *testing.T) {
	for _, c := range []struct{ raw, want, problem string }{
		{`"a\n\"b\\"`, "a\n\"b\\", ""}, {`'a\n'`, `a\n`, ""}, {"`a\nb`", "a\nb", ""}, {`"$${x}"`, "${x}", ""}, {`"µ\u00b5"`, "µµ", ""},
		{`"${x}"`, "", "`${` cannot stand in a plain string"}, {`"\q"`, "", "`\\q` is no escape"}, {`5`, "", "this is no plain string"},
	} {
		got, p := Unquote(c.raw)
		if p.Text != c.problem || p.Text == "" && got != c.want {
			t.Errorf("Unquote(%s) = %q, %q", c.raw, got, p.Text)
		}
	}
}

func TestDeepNesting(t *testing.T) {
	for _, pair := range []string{"()", "[]", "{}"} {
		for _, close := range []bool{true, false} {
			text := "let a = " + strings.Repeat(pair[:1], 10_000)
			if close {
				text += strings.Repeat(pair[1:], 10_000)
			}
			_, ds := parse(text)
			if len(ds) != 1 || ds[0].Code != diag.TooDeep {
				t.Errorf("%s closed %v: %d diagnostics, first %v", pair, close, len(ds), ds[0])
			}
		}
	}
}

func TestLongFilesTakeLinearTime(t *testing.T) {
	experiments := func(n int) string {
		return strings.Repeat("experiment \"x\" {\n  probe home = http.get(\"http://127.0.0.1/\")\n  steady {\n    expect home.ok\n  }\n}\n", n)
	}
	const most = 500 * time.Millisecond
	if took := lineartest.Best(t, most, func() { parse(experiments(40)) }); took > most {
		t.Errorf("240 lines took %s", took)
	}
	for name, shape := range map[string]func(n int) string{
		"many experiments":     func(n int) string { return experiments(n / 40) },
		"one long line":        func(n int) string { return strings.Repeat("wait 1s; ", n) },
		"one long broken line": func(n int) string { return strings.Repeat("wait 1s) ; ", n) },
		"many broken statements": func(n int) string {
			return "experiment \"x\" {\n inject {\n" + strings.Repeat("wait =\n", n) + "}\n}\n"
		},
		"many calls without brackets": func(n int) string { return strings.Repeat("foo bar\n", n) },
		"many open brackets":          func(n int) string { return strings.Repeat("a.b(\nwait 1s\n", n/4) },
		"a long list":                 func(n int) string { return "let a = [" + strings.Repeat("1,", 5*n/2) + "]" },
	} {
		t.Run(name, func(t *testing.T) {
			lineartest.Linear(t, 20_000, 10*time.Second, func(n int) func() {
				text := shape(n)
				return func() { parse(text) }
			})
		})
	}
}

func TestOneMistakeOneMessage(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"experiment \"x\" {\n  stedy {\n    rubbish here\n    let\n    x = \n  }\n}", "there is no block `stedy`"},
		{"experiment \"x\" {\n  steady {\n    expect a ==\n  }\n  inject {\n    wait 5s\n  }\n}", "something is missing behind `==`"},
		{"param a = (1 + 2\nparam b = 3\n", "this `(` is never closed"},
		{"param a = 1 + 2)\nparam b = 3\n", "`)` closes nothing"},
		{"experiment \"x\" {\n  inject {\n    process.kill(a\n    wait 2s\n  }\n}", "this `(` is never closed"},
		{"experiment \"x\" {\n  inject {\n    wait 2s\n}\n", "this `{` is never closed"},
	} {
		_, ds := parse(c.text)
		if len(ds) != 1 || ds[0].Message != c.want {
			t.Errorf("%q:\n%v\nwant %s", c.text, ds, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		path, want string
		code       diag.Code
	}{
		{filepath.Join(dir, "none.chaos"), "there is no file", diag.BadFile},
		{dir, "is a directory", diag.BadFile},
		{write("large.chaos", strings.Repeat("// x\n", MaxSize/5+1)), "is too large for a script", diag.BadFile},
		{write("latin.chaos", "let a = \"caf\xe9\"\n"), "byte 0xe9", diag.NotUTF8},
		{write("binary.chaos", "\x7fELF\x00\x01"), "binary data", diag.NotUTF8},
		{write("mac.chaos", "let a = 1\rlet b = 2\r"), "the lines of this file end in CR alone", diag.BadCharacter},
		{write("utf16.chaos", "\xff\xfea\x00"), "UTF-16", diag.NotUTF8},
	} {
		src, ds := Load(c.path)
		if src != nil || len(ds) != 1 || ds[0].Code != c.code || !strings.Contains(ds[0].Message, c.want) {
			t.Errorf("%s: %v", c.path, ds)
		}
	}
	for text, want := range map[string]string{"": "the file is empty", " \n\n": "the file is empty", "// nothing\n": "the file holds only comments"} {
		if _, ds := parse(text); len(ds) != 1 || ds[0].Code != diag.EmptyFile || ds[0].Message != want {
			t.Errorf("%q: %v", text, ds)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../testdata/samples/*.chaos", "../check/testdata/broken/*.chaos"} {
		files, _ := filepath.Glob(pattern)
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, bad := Encoding("f.chaos", []byte(text)); bad {
			return
		}
		src := diag.NewSource("f.chaos", text)
		file, ds := Parse(src)
		everySpanInside(t, src, file)
		for _, d := range ds {
			if d.Message == "" || d.Code == "" {
				t.Errorf("an empty message: %+v", d)
			}
			insideSource(t, src, d.Span)
		}
		if file.Incomplete && len(ds) == 0 {
			t.Error("something was dropped without a word")
		}
	})
}
