package check

import (
	"path/filepath"
	"strings"
	"testing"

	"chaos/lang/check/checktest"
	"chaos/lang/diag"
	"chaos/lang/syntax"
)

func parseAndCheck(t *testing.T, src *diag.Source) (*Script, diag.List) {
	t.Helper()
	return parseAndCheckWith(t, src, checktest.New())
}

func parseAndCheckWith(t *testing.T, src *diag.Source, cat checktest.Catalogue) (*Script, diag.List) {
	t.Helper()
	file, ds := syntax.Parse(src)
	script, more := File(file, cat, Options{})
	list := diag.List(append(ds, more...))
	list.Sort()
	return script, list
}

func TestSamplesCheckClean(t *testing.T) {
	files, err := filepath.Glob("../testdata/samples/*.chaos")
	if err != nil || len(files) < 8 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, path := range files {
		src, ds := syntax.Load(path)
		if len(ds) > 0 {
			t.Fatal(ds)
		}
		script, list := parseAndCheck(t, src)
		if strings.HasSuffix(path, "checkout-slo.chaos") { // needs a module
			if len(list) != 1 || list[0].Code != diag.UnknownModule {
				t.Errorf("%s: want only that there is no `std/slo`, got\n%v", path, list)
			}
			continue
		}
		if len(list) > 0 {
			t.Errorf("%s:\n%v", path, list)
		}
		if len(script.Experiments) != 1 || len(script.Experiments[0].Probes) == 0 {
			t.Errorf("%s: %d experiments", path, len(script.Experiments))
		}
	}
}
