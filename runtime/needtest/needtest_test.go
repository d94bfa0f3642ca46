package needtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// recorder is a test that is told how to end, and notes it.
type recorder struct {
	testing.TB
	end string
}

func (r *recorder) Helper() {}
func (r *recorder) Fatal(why ...any) {
	r.end = fmt.Sprint("failed: ", fmt.Sprint(why...))
	runtime.Goexit()
}
func (r *recorder) Skip(why ...any) {
	r.end = fmt.Sprint("skipped: ", fmt.Sprint(why...))
	runtime.Goexit()
}

func TestALackFailsInContinuousIntegrationAndSkipsElsewhere(t *testing.T) {
	for _, tc := range []struct {
		ci, want string
		do       func(testing.TB)
	}{
		{"", "skipped: no such thing", func(t testing.TB) { Lacks(t, "no such thing") }},
		{"true", "failed: no such thing", func(t testing.TB) { Lacks(t, "no such thing") }},
		{"true", "failed: no-such-tool is not installed", func(t testing.TB) { Tools(t, "go", "no-such-tool") }},
		{"true", "", func(t testing.TB) { Tools(t, "go") }},
	} {
		t.Setenv("CI", tc.ci)
		r, ended := &recorder{}, make(chan struct{})
		go func() {
			defer close(ended)
			tc.do(r)
		}()
		<-ended
		if r.end != tc.want {
			t.Errorf("CI=%s: %q, want %q", tc.ci, r.end, tc.want)
		}
	}
}

// elsewhere are the files that may skip by themselves.
var elsewhere = map[string]bool{"runtime/needtest/needtest.go": true}

func TestNobodyElseSkips(t *testing.T) {
	root := "../.."
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasSuffix(path, ".txtar") {
			return scripts(t, path)
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		if rel, err := filepath.Rel(root, path); err != nil || elsewhere[filepath.ToSlash(rel)] {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if receiver, ok := sel.X.(*ast.Ident); ok && (receiver.Name == "t" || receiver.Name == "b" || receiver.Name == "f") &&
				(sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow") {
				t.Errorf("%s: a skip that continuous integration does not see; call needtest.Lacks", set.Position(call.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil || files < 100 {
		t.Fatal(files, err)
	}
}

// scripts looks for skips in a file of testscript, which knows the condition `ci`.
func scripts(t *testing.T, path string) error {
	data, err := os.ReadFile(path)
	for i, line := range strings.Split(string(data), "\n") {
		if words := strings.Fields(line); slices.Contains(words, "skip") && strings.HasPrefix(line, "[") && !slices.Contains(words, "[!ci]") {
			t.Errorf("%s:%d: a skip that continuous integration does not see; write [!ci] before it", path, i+1)
		}
	}
	return err
}
