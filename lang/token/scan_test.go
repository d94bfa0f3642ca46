package token

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/lang/diag"
)

// covers tells whether the tokens hold the whole text, in order, with nothing but white space between them.
func covers(t *testing.T, src *diag.Source, l *List) {
	t.Helper()
	at, broken := 0, false
	for _, tok := range l.All {
		if tok.Off < at || tok.Stop() > len(src.Text) || src.Text[tok.Off:tok.Stop()] != tok.Text || tok.Text == "" {
			t.Fatalf("%v at %d does not follow %d", tok, tok.Off, at)
		}
		blank(t, src, at, tok.Off)
		at = tok.Stop()
		broken = broken || tok.Kind == Error
	}
	blank(t, src, at, len(src.Text))
	if broken && len(l.Diags) == 0 {
		t.Error("an error token, and no word about it")
	}
	for _, d := range l.Diags {
		if s, e := d.Span.Start, d.Span.End; s.Offset < 0 || e.Offset > len(src.Text) || s.Offset > e.Offset || s != src.Pos(s.Offset) || e != src.Pos(e.Offset) {
			t.Errorf("%v stands nowhere", d)
		}
	}
	if len(l.Diags) > diag.Most+1 {
		t.Errorf("%d diagnostics", len(l.Diags))
	}
}

func blank(t *testing.T, src *diag.Source, from, to int) {
	t.Helper()
	between := src.Text[from:to]
	if from == 0 {
		between = strings.TrimPrefix(between, "\ufeff")
	}
	if strings.Trim(between, " \t\r") != "" {
		t.Fatalf("%q is in no token", between)
	}
}

// ends tells whether the tokens for the parser are those of the text, comments left out, with empty ends put in.
func ends(t *testing.T, src *diag.Source, l *List) {
	t.Helper()
	if n := len(l.Tokens); n == 0 || l.Tokens[n-1].Kind != EOF || l.Tokens[n-1].Off != len(src.Text) {
		t.Fatalf("%v does not end with the end", l.Tokens)
	}
	k := 0
	for i, tok := range l.Tokens[:len(l.Tokens)-1] {
		if tok.Kind == End && (i == 0 || l.Tokens[i-1].Kind == End) && tok.Text != ";" {
			t.Errorf("an empty statement ends at %d", tok.Off)
		}
		if tok.Kind == End && tok.Text == "" {
			continue
		}
		for k < len(l.All) && l.All[k] != tok {
			if l.All[k].Kind != Comment && l.All[k].Kind != End {
				t.Fatalf("%v is lost", l.All[k])
			}
			k++
		}
		if k == len(l.All) {
			t.Fatalf("%v stands nowhere", tok)
		}
		k++
	}
}

func TestTokensOfTheSamplesCoverThem(t *testing.T) {
	files, err := filepath.Glob("../testdata/samples/*.chaos")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		src := diag.NewSource(path, string(data))
		l := Scan(src)
		covers(t, src, l)
		ends(t, src, l)
		if len(l.Diags) > 0 {
			t.Error(l.Diags)
		}
	}
}

func TestAStringOverLinesIsOneMistake(t *testing.T) {
	for text, errors := range map[string]int{
		"log(\"a\n  b\")\n":                                   1,
		"log('a\n  b')\n":                                     1,
		"expect x because \"a\n b\"\n":                        1,
		"inject \"a\n b\" {\n}\n":                             1,
		"log(\"a\nlog(\"b\")\n":                               1, // the second is whole
		"a: \"x\nb: \"y\"\n":                                  1,
		"log(\"a)\nwait 1s\nlog(\"b)\n":                       2,
		"log(\"a\n{\n\")\n":                                   2,
		"log(\"a" + strings.Repeat("\n", maxLines+2) + "b\")": 2,
	} {
		if l := Scan(diag.NewSource("t", text)); len(l.Diags) != errors {
			t.Errorf("%q: %v", text, l.Diags)
		}
	}
}

// What took time with the square of the length would take minutes for a hundred thousand lines.
func TestScanningTakesLinearTime(t *testing.T) {
	for name, shape := range map[string]func(n int) string{
		"comments in a bracket": func(n int) string { return "let a = [\n" + strings.Repeat("  // a comment\n", n) + "]\n" },
		"empty lines":           func(n int) string { return "let a = (\n" + strings.Repeat("\n", n) + "1)\n" },
		"lines of not":          func(n int) string { return strings.Repeat("not\n", n) },
		"quotes on a line":      func(n int) string { return strings.Repeat("„ ", n) },
		"open strings":          func(n int) string { return strings.Repeat("\"a\n", n) },
		"open holes":            func(n int) string { return strings.Repeat("\"${\n", n) },
		"closers":               func(n int) string { return strings.Repeat(") ", n) },
		"openers":               func(n int) string { return strings.Repeat("( ", n) },
		"merge marks":           func(n int) string { return strings.Repeat("<<<<<<< a\n", n) },
		"hashes":                func(n int) string { return strings.Repeat("#\n", n) },
		"block comments":        func(n int) string { return strings.Repeat("/*\n", 2*n) },
		"bare URLs":             func(n int) string { return strings.Repeat(",http://a", n) },
	} {
		src := diag.NewSource("t", shape(100_000))
		done := make(chan struct{})
		go func() { Scan(src); close(done) }()
		select {
		case <-done:
		case <-time.After(30 * time.Second): // a busy machine takes a second
			t.Fatalf("%s: not done after 30s", name)
		}
	}
}

func TestAFileOfTooManyWordsIsRefused(t *testing.T) {
	l := Scan(diag.NewSource("t", strings.Repeat("a ", MaxTokens+1)))
	if len(l.Diags) != 1 || l.Diags[0].Code != diag.TooDeep || len(l.All) != MaxTokens+1 {
		t.Errorf("%d tokens, %v", len(l.All), l.Diags)
	}
}

func TestAMillionMistakesAreAFewMessages(t *testing.T) {
	l := Scan(diag.NewSource("t", strings.Repeat("@\n", 200_000)))
	if n := len(l.Diags); n != diag.Most {
		t.Errorf("%d diagnostics", n)
	}
}

func FuzzScan(f *testing.F) {
	for _, pattern := range []string{"../testdata/samples/*.chaos", "../check/testdata/broken/*.chaos"} {
		files, _ := filepath.Glob(pattern)
		for _, path := range files {
			if data, err := os.ReadFile(path); err == nil {
				f.Add(string(data))
			}
		}
	}
	f.Add("\ufefflet a = \"${'x' + `${1}`}\"\r\n# x\n5m30s 10%3 1..3 .5 „a“ <<<<<<<\n")
	f.Fuzz(func(t *testing.T, text string) {
		src := diag.NewSource("t", text)
		l := Scan(src)
		covers(t, src, l)
		ends(t, src, l)
		if again := ScanRange(src, 0, len(text)); len(again.All) != len(l.All) || len(again.Tokens) != len(l.Tokens) {
			t.Error("a second scan differs")
		}
	})
}
