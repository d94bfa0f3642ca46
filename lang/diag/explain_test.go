package diag

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestCodesHaveOnePlace: a code that is written anywhere else has no explanation, and may be taken twice; one that nobody
// reports explains nothing.
func TestCodesHaveOnePlace(t *testing.T) {
	code := regexp.MustCompile(`"[EW][0-9]{3}"`)
	named := regexp.MustCompile(`\bdiag\.([A-Z]\w+)\b`)
	used := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if found := code.FindString(string(data)); found != "" && filepath.Base(path) != "codes.go" {
			t.Errorf("%s writes %s; the codes stand in codes.go", path, found)
		}
		for _, m := range named.FindAllStringSubmatch(string(data), -1) {
			used[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range codes(t) {
		if !used[name] {
			t.Errorf("nobody reports %s (%s)", name, c)
		}
	}
}

// codes are the constants of codes.go by name.
func codes(t *testing.T) map[string]Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Code{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				s, _ := strconv.Unquote(lit.Value)
				out[spec.Names[0].Name] = Code(s)
			}
		}
		return true
	})
	return out
}

// TestEveryCodeIsExplained reads the codes from their source, so that a new one cannot be forgotten.
func TestEveryCodeIsExplained(t *testing.T) {
	known := map[Code]bool{}
	for name, c := range codes(t) {
		if known[c] {
			t.Errorf("%s (%s) has two names", c, name)
		}
		known[c] = true
	}
	if len(known) < 50 {
		t.Fatalf("%d codes", len(known))
	}
	for c := range known {
		e, ok := Explain(strings.ToLower(string(c)))
		if !ok {
			t.Errorf("%s has no explanation", c)
			continue
		}
		if e.Title == "" || strings.HasSuffix(e.Title, ".") || len(e.Text) < 80 {
			t.Errorf("%s: title %q, text %q", c, e.Title, e.Text)
		}
		if c[0] == 'W' && c.Lint() == "" {
			t.Errorf("%s has no name", c)
		}
	}
	for _, c := range Codes() {
		if !known[c] {
			t.Errorf("%s is explained and no code", c)
		}
	}
	for _, n := range LintNames() {
		if e, ok := Explain(n); !ok || e.Code.Lint() != n {
			t.Errorf("%s is not found by its name", n)
		}
	}
}
