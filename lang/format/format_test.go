package format

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/lineartest"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/token"
)

var update = flag.Bool("update", false, "write the golden files")

// read gives the files of patterns, at least n of them.
func read(t testing.TB, n int, patterns ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[path] = string(data)
		}
	}
	if len(files) < n {
		t.Fatalf("only %d files match %q", len(files), patterns)
	}
	return files
}

// canonical are the scripts of the project that have to be fixed points.
func canonical(t testing.TB) map[string]string {
	files := read(t, 15, "../testdata/samples/*.chaos", "../../examples/*/*.chaos", "../../stdlib/*.chaos", "../../stdlib/*/*.chaos", "testdata/*.chaos")
	for path := range files {
		if strings.HasSuffix(path, ".in.chaos") {
			delete(files, path)
		}
	}
	return files
}

func format(t *testing.T, path, text string) string {
	t.Helper()
	out, ds := Source(diag.NewSource(path, text))
	if len(ds) > 0 {
		t.Fatalf("%v\n%s", diag.List(ds), text)
	}
	return out
}

func TestFixedPoints(t *testing.T) {
	for path, text := range canonical(t) {
		if got := format(t, path, text); got != text {
			t.Errorf("%s is formatted, and yet becomes\n%s", path, got)
		}
	}
}

func TestGolden(t *testing.T) {
	for path, text := range read(t, 3, "testdata/*.in.chaos") {
		golden := strings.TrimSuffix(path, ".in.chaos") + ".chaos"
		got := format(t, path, text)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s becomes\n%s\nwant\n%s", path, got, want)
		}
		same(t, path, text, got)
	}
}

// same checks what every result has to fulfil: it is canonical itself, and means what the original means.
func same(t *testing.T, path, before, after string) {
	t.Helper()
	if again := format(t, path, after); again != after {
		t.Errorf("%s: formatting twice is not formatting once:\n%q\n%q\n%q", path, before, after, again)
	}
	a, b := meanings(before), meanings(after)
	if strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("%s: the tokens changed:\n%q\n%q", path, before, after)
	}
	// Where an expression cannot be read there is no meaning to keep, and a space may be what makes it readable.
	if a, b := judged(path, before), judged(path, after); a != b && !strings.Contains(a, string(diag.BadExpression)) {
		t.Errorf("%s: the checker thought\n%s\nand thinks\n%s\n%q\n%q", path, a, b, before, after)
	}
}

// meanings is a second opinion on compare: all that is written, and where statements end.
func meanings(text string) []string {
	list := token.Scan(diag.NewSource("", text))
	var out []string
	for _, t := range list.Tokens {
		out = append(out, fmt.Sprintf("%s %q", t.Kind, strings.TrimSpace(t.Text)))
	}
	for _, t := range list.All {
		if t.Kind == token.Comment {
			out = append(out, strings.TrimSpace(t.Text))
		}
	}
	return out
}

type nothing struct{}

func (nothing) Call(string) (*spec.Call, bool) { return nil, false }
func (nothing) Names() []string                { return nil }

// judged is what the checker says to a text, without positions. White space that means something would show here.
func judged(path, text string) string {
	file, diags := syntax.Parse(diag.NewSource(path, text))
	_, more := check.File(file, nothing{}, check.Options{})
	var b strings.Builder
	for _, d := range append(diags, more...) {
		fmt.Fprintf(&b, "%s %s\n", d.Code, strings.Join(strings.Fields(d.Message), "")) // it may quote the line
	}
	return b.String()
}

// TestWhiteSpaceIsAllThatMatters takes the white space out of canonical files, puts other white space in, and formats.
func TestWhiteSpaceIsAllThatMatters(t *testing.T) {
	for path, text := range canonical(t) {
		for seed := range uint64(20) {
			mangled := mangle(rand.New(rand.NewPCG(seed, 1)), text)
			got := format(t, path, mangled)
			same(t, path, mangled, got)
			if a, b := meanings(text), meanings(got); strings.Join(a, "\n") != strings.Join(b, "\n") {
				t.Fatalf("%s, seed %d: the tokens changed:\n%s", path, seed, mangled)
			}
			if got != text {
				t.Fatalf("%s, seed %d: not the canonical form any more:\n%s\nfrom\n%s", path, seed, got, mangled)
			}
		}
	}
}

// mangle replaces the white space within lines and in front of them, adds some where it means nothing, and takes it away
// where the tokens stay apart without.
func mangle(r *rand.Rand, text string) string {
	list := token.Scan(diag.NewSource("", text))
	blanks := func() string { return strings.Repeat([]string{" ", "\t", "  ", " \t "}[r.IntN(4)], 1+r.IntN(3)) }
	var b strings.Builder
	for i, t := range list.All {
		if i > 0 {
			prev := list.All[i-1]
			loose := loose(prev) || loose(t)
			if apart := prev.Stop() < t.Off; apart && !loose || loose && r.IntN(2) == 0 {
				b.WriteString(blanks())
			}
			if lineBreak(t) && lineBreak(prev) {
				b.WriteString(strings.Repeat("\t\n", r.IntN(3)))
			}
		}
		if lineBreak(t) && r.IntN(4) == 0 {
			b.WriteByte('\r')
		}
		b.WriteString(t.Text)
	}
	return b.String() + strings.Repeat("\n\t", r.IntN(3))
}

// loose tells a token that white space on either side makes no difference to.
func loose(t token.Token) bool {
	return t.Kind == token.End || t.Kind == token.Punct && strings.Contains("()[]{},", t.Text)
}

func TestRefusesBrokenFiles(t *testing.T) {
	files := read(t, 20, "../check/testdata/broken/*.chaos")
	refused := 0
	for path, text := range files {
		out, ds := Source(diag.NewSource(path, text))
		if bad := diag.List(ds).HasErrors(); bad != (out == "") {
			t.Errorf("%s: text %q with %v", path, out, ds)
		} else if bad {
			refused++
		} else {
			same(t, path, text, out)
		}
	}
	if refused < 8 {
		t.Errorf("only %d of %d were refused", refused, len(files))
	}
	for _, text := range []string{"", "// only a comment\n", "\n\n", "param a = \"x\n", "param a = (1", "expect §", strings.Repeat("(", 500)} {
		if out, ds := Source(diag.NewSource("t.chaos", text)); out != "" || !diag.List(ds).HasErrors() {
			t.Errorf("%.20q became %q", text, out)
		}
	}
}

// TestChangesAreNoticed breaks a text on purpose behind the formatter's back.
func TestChangesAreNoticed(t *testing.T) {
	const text = "// Help.\nparam a = 1 // one\nlet b = a;let c = 10 % 3\nsteady { expect b }\n"
	list := token.Scan(diag.NewSource("t.chaos", text))
	if d, bad := changed(list, "// Help.  \n\nparam a=1 // one\nlet b = a; let c = 10 % 3\nsteady {expect b }"); bad {
		t.Errorf("%v, for a change of white space", d)
	}
	for _, c := range []struct{ old, new, at string }{
		{"// one", "", "t.chaos:2:13"},
		{"// one", "// two", "t.chaos:2:13"},
		{"1 // one\n", "1\n// one\n+", "t.chaos:2:19"},
		{"1 // one", "1\n// one", "t.chaos:2:13"},
		{"Help.\n", "Help. ", "t.chaos:2:1"},
		{";", "\n", "t.chaos:3:10"},
		{"10 % 3", "10% 3", "t.chaos:3:19"},
		{"10 % 3", "10%3", "t.chaos:3:19"},
		{"\nsteady", " steady", "t.chaos:3:25"},
		{"expect b }", "expect b ", ""},
		{"b }\n", "b }\nlet d = 2\n", "t.chaos:5:1"},
		{"expect b", "expect b, §", ""},
	} {
		after := strings.Replace(text, c.old, c.new, 1)
		d, bad := changed(list, after)
		if !bad || d.Code != diag.Misformat || d.Severity != diag.Error {
			t.Errorf("not noticed: %s", after)
		} else if c.at != "" && d.Span.String() != c.at {
			t.Errorf("%q for %q: seen at %s, want %s", c.new, c.old, d.Span, c.at)
		}
	}
}

func TestLargeFilesTakeLinearTime(t *testing.T) {
	for name, shape := range map[string]func(n int) string{
		"parameters":       func(n int) string { return strings.Repeat("param a = [1, 2, {b: \"c\"}] // d\n", n) },
		"comments":         func(n int) string { return strings.Repeat("// a\n", 5*n/2) + "let a = 1\n" },
		"a long list":      func(n int) string { return "let a = [" + strings.Repeat("1, ", 5*n/2) + "1]\n" },
		"a list downwards": func(n int) string { return "let a = [\n" + strings.Repeat("  1, // one\n", 5*n/2) + "]\n" },
	} {
		t.Run(name, func(t *testing.T) {
			lineartest.Linear(t, 20_000, 30*time.Second, func(n int) func() {
				text := shape(n)
				return func() {
					if format(t, "large.chaos", text) != text {
						t.Fatalf("%.100q… changed", text)
					}
				}
			})
		})
	}
	deep := "let a = " + strings.Repeat("(", token.MaxDepth) + "1" + strings.Repeat(")", token.MaxDepth) + "\n"
	if got := format(t, "deep.chaos", deep); got != deep {
		t.Errorf("%.100q… changed", deep)
	}
}
