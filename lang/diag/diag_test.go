package diag

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPosAgreesWithCounting compares the index with the plain definition of line and column, at every offset.
func TestPosAgreesWithCounting(t *testing.T) {
	texts := []string{
		"", "a", "\n", "a\nb", "\n\n", "äöü\nß", strings.Repeat("x", stride), strings.Repeat("é", stride),
		strings.Repeat("a→b\n", 200) + strings.Repeat("日本", 300), strings.Repeat("x", stride-1) + "\n" + strings.Repeat("y", stride*2),
	}
	for _, text := range texts {
		src := NewSource("f", text)
		for off := 0; off <= len(text); off++ {
			if off < len(text) && !utf8.RuneStart(text[off]) {
				continue
			}
			start := strings.LastIndexByte(text[:off], '\n') + 1
			want := Pos{Offset: off, Line: 1 + strings.Count(text[:off], "\n"), Col: 1 + utf8.RuneCountInString(text[start:off])}
			if got := src.Pos(off); got != want {
				t.Fatalf("%.20q at %d: %+v, want %+v", text, off, got, want)
			}
		}
	}
	src := NewSource("f", "ab")
	if got := src.Pos(99); got.Offset != 2 || got.Col != 3 {
		t.Errorf("past the end: %+v", got)
	}
	if got := src.Pos(-1); got.Offset != 0 || got.Col != 1 {
		t.Errorf("before the start: %+v", got)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	d := Errorf(UnknownName, Span{}, "there is no `%s` here", strings.Repeat("é", 1_000_000)).WithHint("write `%s`", strings.Repeat("x", 1_000_000))
	if n := len(d.Error()); n > 10_000 || !strings.HasPrefix(d.Message, "there is no `é") || !strings.HasSuffix(d.Message, "é` here") {
		t.Errorf("%d bytes, %.40s", n, d.Message)
	}
}

func list() List {
	src := NewSource("a,b:c.chaos", "expect x < 20\nwait 5\n")
	return List{
		Errorf(WrongUnit, src.Span(7, 13), "`x` is a ratio, but `20` is %s", "a plain number").WithHint("write `20%%`").WithNote(src.Span(14, 18), "seen here"),
		{Severity: Warning, Code: Unbounded, Span: src.Span(0, 18), Message: "100% of\ntwo lines"},
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, nil); err != nil || b.String() != "{\n  \"diagnostics\": []\n}\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	b.Reset()
	if err := JSON(&b, list()[:1]); err != nil {
		t.Fatal(err)
	}
	want := `{
  "diagnostics": [
    {
      "severity": "error",
      "code": "E302",
      "message": "` + "`x` is a ratio, but `20` is a plain number" + `",
      "hint": "` + "write `20%`" + `",
      "span": {
        "file": "a,b:c.chaos",
        "start": {
          "line": 1,
          "col": 8
        },
        "end": {
          "line": 1,
          "col": 14
        }
      },
      "notes": [
        {
          "message": "seen here",
          "span": {
            "file": "a,b:c.chaos",
            "start": {
              "line": 2,
              "col": 1
            },
            "end": {
              "line": 2,
              "col": 5
            }
          }
        }
      ]
    }
  ]
}
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestGitHub(t *testing.T) {
	var b strings.Builder
	GitHub(&b, list())
	want := "::error file=a%2Cb%3Ac.chaos,line=1,col=8,endLine=1,endColumn=14,title=E302::`x` is a ratio, but `20` is a plain number (write `20%25`)\n" +
		"::warning file=a%2Cb%3Ac.chaos,line=1,endLine=2,title=W106 unbounded::100%25 of%0Atwo lines\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestNearestCountsCharacters(t *testing.T) {
	for _, c := range []struct{ name, want string }{{"timout", "timeout"}, {"TIMEOUT", "timeout"}, {"tiemout", "timeout"}, {"x", ""}, {"naïve", "naive"}} {
		if got, _ := Nearest(c.name, []string{"timeout", "naive"}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// BenchmarkPosOnOneLongLine would be quadratic if a column were counted from the start of its line.
func BenchmarkPosOnOneLongLine(b *testing.B) {
	src := NewSource("f", strings.Repeat("é ", 500_000))
	for b.Loop() {
		for off := 0; off < len(src.Text); off += 1000 {
			src.Pos(off)
		}
	}
}

// TestExcerptsOfStrangeText: carets stand below what they mean, and a script cannot speak to the terminal.
func TestExcerptsOfStrangeText(t *testing.T) {
	text := "\tsay \"日本\" + e\u0301x \x1b[31mred"
	src := NewSource("f", text)
	show := func(from string, n int) string {
		at := strings.Index(text, from)
		var b strings.Builder
		Render(&b, List{Errorf(BadCharacter, src.Span(at, at+n), "no")}, func(string) *Source { return src }, nil)
		lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
		return lines[len(lines)-1]
	}
	for _, c := range []struct {
		from string
		n    int
		want string
	}{
		{"say", 3, "  | \t^^^"}, {"日本", 6, "  | \t     ^^^^"}, {"+", 1, "  | \t           ^"}, {"x ", 1, "  | \t              ^"},
	} {
		if got := show(c.from, c.n); got != c.want {
			t.Errorf("%q: %q, want %q", c.from, got, c.want)
		}
	}
	var b strings.Builder
	Render(&b, List{Errorf(BadCharacter, src.Span(0, 1), "a \x1b[2J b").WithHint("\x07")}, func(string) *Source { return src }, nil)
	if strings.ContainsAny(b.String(), "\x1b\x07") {
		t.Errorf("%q", b.String())
	}
}
