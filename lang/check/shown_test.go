package check

import (
	"strings"
	"testing"

	"chaos/lang/diag"
)

// Nothing of a secret is seen, whatever it is and over however many lines it goes, and the parameter behind it is.
func TestWhatIsShownOfAFileOfParameters(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"p.json", `{"n": "x", "head": {"auth": "hunter2", "list": ["hunter2"]}, "m": 1}`},
		{"p.json", "{\"ü\": \"ü\", \"head\": [\n  {\"hunter2\": 1}, \"hunter2\"], \"m\": 1}"},
		{"p.json", `{"head": "hunter2", "m": 1, "hea": "hunter2"}`},
		{"p.yaml", "head:\n  auth: [hunter2, \"hunter2\"]\n  hunter2: x\nm: 1\n"},
		{"p.yaml", "n: x\nhead: {auth: \"a\n    hunter2\", kind: [a]}\nm: 1\n"},
		{"p.yaml", "{\"ü\": ü, head: hunter2, m: 1}\n"},
		{"p.yaml", "head: |\n  hunter2\n  hunter2\nm: 1\n"},
		{"p.yaml", "head: >-\r\n  hunter2\r\n\r\n  hunter2\r\nm: 1\r\n"},
		{"p.yaml", "head: a\n  hunter2\n  hunter2\nm: 1\n"},
		{"p.yaml", "head:\n- hunter2\n- - hunter2\nm: 1\n"},
		{"p.yaml", "head: 'a\n\n  hunter2'\nm: 1\n"},
		{"p.yaml", "head:\n  hunter2\nm: 1\n"},
		{"p.yaml", "ü: {head: hunter2}\nm: 1\n"},
		{"p.yaml", "\"head\": hunter2\n\"m\": 1\n"},
	} {
		f, ds := ReadParams(diag.NewSource(c.name, c.text))
		if len(ds) > 0 {
			t.Fatalf("%q: %v", c.text, ds)
		}
		got := f.Shown([]*Param{{Name: "m"}, {Name: "head", Secret: true}, {Name: "head"}}).Text
		if strings.Contains(got, "unter") || !strings.Contains(strings.ReplaceAll(got, `"`, ""), "m: 1") {
			t.Errorf("%q is shown as %q", c.text, got)
		}
	}
}

// Those of an experiment that is left out, or of one that is not typed yet at the prompt.
func TestParametersOfOtherScriptsAreNotShown(t *testing.T) {
	f, _ := ReadParams(diag.NewSource("p.json", `{"m": 1, "head": "hunter2", "web": {"key": ["hunter2"]}, "n": "x"}`))
	if got := f.Shown([]*Param{{Name: "m"}}); got.Text != f.Source.Text {
		t.Errorf("without any secret it is shown as %q", got.Text)
	}
	f.Ignore = func(name string) bool { return name == "head" || name == "web.key" }
	if got, want := f.Shown([]*Param{{Name: "m"}}).Text, `{"m": 1, "head": *********, "web": {"key": **********]}, "n": "x"}`; got != want {
		t.Errorf("it is shown as %q", got)
	}
}
