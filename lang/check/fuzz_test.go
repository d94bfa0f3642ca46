package check

import (
	"os"
	"path/filepath"
	"testing"

	"chaos/lang/diag"
	"chaos/lang/syntax"
)

func FuzzCheck(f *testing.F) {
	f.Add(whole)
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
	cat := fakes()
	f.Fuzz(func(t *testing.T, text string) {
		if _, bad := syntax.Encoding("f.chaos", []byte(text)); bad {
			return
		}
		src := diag.NewSource("f.chaos", text)
		file, ds := syntax.Parse(src)
		script, more := File(file, cat, Options{})
		if script == nil {
			t.Fatal("no script")
		}
		for _, d := range append(ds, more...) {
			if d.Message == "" || d.Span.Start.Offset > d.Span.End.Offset || d.Span.End.Offset > len(text) {
				t.Errorf("%+v", d)
			}
		}
		BindParams(script.AllParams(), nil, nil)
	})
}
