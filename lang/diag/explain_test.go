package diag

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// TestEveryCodeIsExplained reads the codes from their source, so that a new one cannot be forgotten.
func TestEveryCodeIsExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := map[Code]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			s, _ := strconv.Unquote(lit.Value)
			if known[Code(s)] {
				t.Errorf("%s has two names", s)
			}
			known[Code(s)] = true
		}
		return true
	})
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
