package lint

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/lang/check"
	"chaos/lang/check/checktest"
	"chaos/lang/diag"
	"chaos/lang/lineartest"
	"chaos/lang/syntax"
)

var update = flag.Bool("update", false, "write the golden files anew")

func lintFile(t *testing.T, src *diag.Source) diag.List {
	t.Helper()
	file, ds := syntax.Parse(src)
	script, more := check.File(file, checktest.New(), check.Options{})
	if all := diag.List(append(ds, more...)); len(all) > 0 {
		t.Fatalf("it does not check:\n%v", all)
	}
	return Lint(file, script)
}

var wants = regexp.MustCompile(`// WARN(@-1)?((?: [a-z-]+)+)`)

// TestLints demands the warnings that comments name on their lines (with @-1, on the line before) and no others, and shows
// them in a golden file.
func TestLints(t *testing.T) {
	files, err := filepath.Glob("testdata/*.chaos")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".chaos"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			src := diag.NewSource(filepath.Base(path), string(data))
			list := lintFile(t, src)
			got := map[int]string{}
			for _, d := range list {
				if d.Severity != diag.Warning || d.Code.Lint() == "" {
					t.Errorf("%v is no lint", d)
				}
				got[d.Span.Start.Line] += " " + d.Code.Lint()
				for _, text := range []string{d.Message, d.Hint} {
					if text == "" || strings.HasSuffix(text, ".") || text[0] >= 'A' && text[0] <= 'Z' {
						t.Errorf("%s: %q is not in the style of the house", d.Span, text)
					}
				}
			}
			want := map[int]string{}
			for i, line := range strings.Split(src.Text, "\n") {
				if m := wants.FindStringSubmatch(line); m != nil && m[1] == "" {
					want[i+1] = m[2]
				} else if m != nil {
					want[i] = m[2]
				}
			}
			for line := range strings.Count(src.Text, "\n") + 1 {
				if got[line] != want[line] {
					t.Errorf("line %d: got%s, want%s", line, got[line], want[line])
				}
			}
			var b strings.Builder
			diag.Render(&b, list, func(string) *diag.Source { return src }, nil)
			golden := strings.TrimSuffix(path, ".chaos") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want, err := os.ReadFile(golden); err != nil || b.String() != string(want) {
				t.Errorf("the rendered text differs (run with -update and look at it), %v:\n%s", err, b.String())
			}
		})
	}
}

// TestSamplesAreNearlyQuiet holds the rules to what good scripts say: one that warns where nothing is amiss is tuned here.
func TestSamplesAreNearlyQuiet(t *testing.T) {
	expected := map[string]string{
		"cache-black-hole": "no-abort", // drops packets to a cache that it did not start, for ten seconds and more
		"far-container":    "no-abort", // delays a container that it did not start, for half a minute
	}
	files, err := filepath.Glob("../testdata/samples/*.chaos")
	if err != nil || len(files) < 8 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".chaos")
		if name == "checkout-slo" { // needs modules
			continue
		}
		src, ds := syntax.Load(path)
		if len(ds) > 0 {
			t.Fatal(ds)
		}
		got := ""
		list := lintFile(t, src)
		for _, d := range list {
			got += d.Code.Lint()
		}
		if got != expected[name] {
			t.Errorf("%s: got %q, want %q\n%v", name, got, expected[name], list)
		}
	}
}

// TestModulesAreNotUnused: others use the names of a file without experiments.
func TestModulesAreNotUnused(t *testing.T) {
	if list := lintFile(t, diag.NewSource("m.chaos", "param limit = 5s\nlet twice = 2 * limit\nlet idle = 5\nprobe page(path) = http.get(path)\n")); len(list) > 0 {
		t.Error(list)
	}
}

// TestDirectivesAreNoHelp: what a comment says to this package is not shown to readers of the script.
func TestDirectivesAreNoHelp(t *testing.T) {
	file, _ := syntax.Parse(diag.NewSource("m.chaos", "// How long.\n// lint:ignore unused-param it is for later\nparam hold = 5s\n"))
	if p, ok := file.Items[0].(*syntax.Param); !ok || p.Help != "How long." {
		t.Errorf("help %q", p.Help)
	}
}

func TestLintIsLinear(t *testing.T) {
	const pause = `process.pause(match: "x%d")`
	for name, body := range map[string]func(n int) string{
		"else when": func(n int) string {
			return "when home.status > 0 { log(\"a\") }" + numbered(n, " else when home.status > %d { "+pause+" }")
		},
		"parallel": func(n int) string { return "parallel {\n" + numbered(n, pause+"\n") + "}" },
	} {
		t.Run(name, func(t *testing.T) {
			lineartest.Linear(t, 8000, 10*time.Second, func(n int) func() {
				file, ds := syntax.Parse(diag.NewSource("long.chaos", `experiment "long" {
  probe home = http.get("http://127.0.0.1/")
  steady { expect home.ok }
  inject {
`+body(n)+`
  }
}
`))
				script, more := check.File(file, checktest.New(), check.Options{})
				if all := diag.List(append(ds, more...)); len(all) > 0 {
					t.Fatalf("%.500v", all)
				}
				return func() { Lint(file, script) }
			})
		})
	}
}

// numbered repeats a text, with a number of its own wherever it has %d.
func numbered(n int, text string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(text, "%d", strconv.Itoa(i+1)))
	}
	return b.String()
}
