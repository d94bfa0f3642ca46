package check

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"chaos/lang/check/checktest"
	"chaos/lang/diag"
	"chaos/lang/syntax"
)

func FuzzCheck(f *testing.F) {
	f.Add(whole)
	f.Add("use \"./self.chaos\"\nparam p = secret(\"X\")\naction a(x, y = 1s) { a(self.p); self.a(x) for y }\nprobe q(x) = self.q(x)\n")
	f.Add("action a() { wait 1s }\naction b() { a(); a() }\naction c() { b(); b() }\nexperiment \"x\" { inject { c() for 5s; c() } }")
	for _, pattern := range []string{"../testdata/samples/*.chaos", "testdata/broken/*.chaos"} {
		files, _ := filepath.Glob(pattern)
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	archives, _ := filepath.Glob("testdata/modules/*.txtar")
	var opts Options
	for _, path := range archives {
		a, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(string(file.Data))
		}
		if filepath.Base(path) == "names.txtar" {
			opts, _ = archive(a)
		}
	}
	cat := checktest.New()
	read := opts.Read
	f.Fuzz(func(t *testing.T, text string) {
		if _, bad := syntax.Encoding("f.chaos", []byte(text)); bad {
			return
		}
		src := diag.NewSource("f.chaos", text)
		file, ds := syntax.Parse(src)
		opts := opts
		opts.Read = func(path string) (*diag.Source, []diag.Diagnostic) {
			if path == "self.chaos" { // the fuzzed file as a module of itself
				return diag.NewSource(path, text), nil
			}
			return read(path)
		}
		script, more := File(file, cat, opts)
		if script == nil {
			t.Fatal("no script")
		}
		for _, d := range append(ds, more...) {
			if d.Message == "" || d.Span.Start.Offset > d.Span.End.Offset || d.Span.File == "f.chaos" && d.Span.End.Offset > len(text) {
				t.Errorf("%+v", d)
			}
		}
		BindParams(script.AllParams(), nil, nil)
	})
}
