package check

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"chaos/lang/diag"
	"chaos/lang/syntax"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	errorComment = regexp.MustCompile(`// ERROR(@-1)?((?: "(?:[^"\\]|\\.)*")+)`)
	quoted       = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// TestBroken checks broken scripts two ways. A comment `// ERROR "regexp"` demands a diagnostic on its line (or, with @-1,
// on the line before), and every diagnostic needs one; and the file beside each script holds what a terminal shows.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.chaos")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".chaos"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			src := diag.NewSource(filepath.Base(path), string(data))
			_, list := parseAndCheck(t, src)
			matchComments(t, src, list)
			golden(t, strings.TrimSuffix(path, ".chaos")+".golden", src, list)
		})
	}
}

func matchComments(t *testing.T, src *diag.Source, list diag.List) {
	t.Helper()
	want := map[int][]*regexp.Regexp{}
	for i, line := range strings.Split(src.Text, "\n") {
		m := errorComment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at := i + 1
		if m[1] != "" {
			at--
		}
		for _, q := range quoted.FindAllString(m[2], -1) {
			text, err := strconv.Unquote(strings.ReplaceAll(strings.ReplaceAll(q, `\\`, `\`), `\(`, `\\(`))
			if err != nil {
				text = strings.Trim(q, `"`)
			}
			want[at] = append(want[at], regexp.MustCompile(text))
		}
	}
	for _, d := range list {
		line, found := d.Span.Start.Line, false
		for i, re := range want[line] {
			if re.MatchString(d.Message) || re.MatchString(d.Hint) {
				want[line] = append(want[line][:i:i], want[line][i+1:]...)
				found = true
				break
			}
		}
		if !found {
			t.Errorf("not expected: %v", d)
		}
	}
	for line, rest := range want {
		for _, re := range rest {
			t.Errorf("line %d: no diagnostic matches %q", line, re)
		}
	}
}

func golden(t *testing.T, path string, src *diag.Source, list diag.List) {
	t.Helper()
	var b strings.Builder
	diag.Render(&b, list, func(string) *diag.Source { return src }, nil)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the rendered text differs from %s (run with -update and look at it):\n%s", path, b.String())
	}
}

// TestMessagesAreFitForPeople guards the house style: lower case, no full stop, no words of Go or of the parser.
func TestMessagesAreFitForPeople(t *testing.T) {
	files, _ := filepath.Glob("testdata/broken/*.chaos")
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, ds := syntax.Parse(diag.NewSource(path, string(data)))
		_, more := File(file, fakes(), Options{})
		for _, d := range append(ds, more...) {
			for _, text := range []string{d.Message, d.Hint} {
				if strings.HasSuffix(text, ".") || text != "" && text[0] >= 'A' && text[0] <= 'Z' {
					t.Errorf("%s: %q", d.Span, text)
				}
				for _, bad := range []string{"float64", "interface {", "map[", "time.", "struct", "token", "participle", "EOF", "nil pointer"} {
					if strings.Contains(text, bad) {
						t.Errorf("%s: %q says %q", d.Span, text, bad)
					}
				}
			}
		}
	}
}
