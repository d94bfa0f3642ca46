package syntax

import (
	"os"
	"path/filepath"
	"testing"

	"chaos/lang/diag"
)

func TestSamplesParse(t *testing.T) {
	files, err := filepath.Glob("../testdata/samples/*.chaos")
	if err != nil || len(files) < 7 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, path := range files {
		src, ds := Load(path)
		if len(ds) > 0 {
			t.Fatal(ds)
		}
		file, ds := Parse(src)
		if len(ds) > 0 {
			t.Errorf("%v", diag.List(ds))
		}
		if len(file.Items) == 0 {
			t.Errorf("%s: no items", path)
		}
	}
	_ = os.Args
}
