package check

import (
	"chaos/lang/diag"
	"chaos/lang/syntax"
	"os"
	"testing"
)

func TestZZ(t *testing.T) {
	src, ds := syntax.Load("/tmp/x.chaos")
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	_, l := parseAndCheck(t, src)
	diag.Render(os.Stdout, l, func(string) *diag.Source { return src }, nil)
}
