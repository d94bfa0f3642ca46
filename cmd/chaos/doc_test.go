package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/value"
)

// docs/reference is what the registries say.
func TestReferenceIsInStep(t *testing.T) {
	const dir, how = "../../docs/reference", "write it anew with: make reference"
	pages := reference().Pages()
	have, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range have {
		if _, ok := pages[filepath.Base(path)]; !ok {
			t.Errorf("%s is no page of the reference; %s", path, how)
		}
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case err != nil:
			t.Errorf("%v; %s", err, how)
		case string(got) != want:
			t.Errorf("docs/reference/%s is out of step with the registries; %s", name, how)
		}
	}
}

// Everything registered is documented: by a summary, by help on each argument and field, and by an example that checks.
func TestEverySpecIsDocumented(t *testing.T) {
	reg := registries()
	for _, name := range reg.Names() {
		c, _ := reg.Call(name)
		t.Run(name, func(t *testing.T) {
			if !sentence(c.Summary) {
				t.Errorf("its summary is no sentence: %q", c.Summary)
			}
			for _, p := range c.Params {
				if p.Help == "" {
					t.Errorf("its argument `%s` has no help", p.Name)
				}
				if p.Default != "" {
					if _, err := spec.Default(p.Default, p.Type); err != nil {
						t.Errorf("the default of `%s` is no literal: %v", p.Name, err)
					}
				}
				if p.Type.Numeric() && p.Low == nil && p.High == nil {
					t.Errorf("its argument `%s` is a %s of any size, so that `check` lets -5 pass: say what it may be with `range:\">=0\"`", p.Name, p.Type)
				}
				if v, err := spec.Default(p.Default, p.Type); p.Default != "" && err == nil && p.Judge(v) != nil {
					t.Errorf("the default of `%s` %s", p.Name, p.Judge(v))
				}
				if p.Default != "" && len(p.Enum) > 0 && !slices.Contains(p.Enum, p.Default) {
					t.Errorf("the default of `%s` is none of the values allowed", p.Name)
				}
			}
			eachField(c.Result, "", func(path string, f value.Field) {
				if f.Help == "" {
					t.Errorf("the field `%s` of its result has no help", path)
				}
			})
			if c.Kind == spec.Action {
				checkLifetime(t, c)
			} else if c.Result == nil {
				t.Error("a probe must have samples")
			}
			for _, d := range checkExample(c) {
				t.Errorf("its example does not check: %s: %s (%s)\n%s", d.Code, d.Message, d.Hint, c.Example)
			}
		})
	}
}

func sentence(s string) bool { return regexp.MustCompile(`^[A-Z].*\.$`).MatchString(s) }

func eachField(t *value.Type, path string, visit func(string, value.Field)) {
	if t == nil {
		return
	}
	for _, f := range t.Fields {
		visit(path+f.Name, f)
		eachField(f.Type, path+f.Name+".", visit)
	}
	eachField(t.Elem, path, visit)
}

// checkLifetime asks for exactly one answer to "how is it undone?".
func checkLifetime(t *testing.T, c *spec.Call) {
	reversible := []string{string(actions.Kernel), string(actions.TTL), string(actions.Guardian)}
	switch {
	case c.Harmless:
		if c.Undo != "" || c.UndoArg != "" {
			t.Error("it is harmless and yet has an undo")
		}
	case c.Undo == "":
		if c.Lifetime != string(actions.Irreversible) {
			t.Errorf("it has no undo, so its lifetime is %q, not %q", actions.Irreversible, c.Lifetime)
		}
	case !slices.Contains(reversible, c.Lifetime) && c.UndoArg == "":
		t.Errorf("it has an undo, so its lifetime is one of %v, not %q", reversible, c.Lifetime)
	}
	if c.UndoArg != "" {
		if _, ok := c.Param(c.UndoArg); !ok {
			t.Errorf("its undo hangs on the argument `%s`, which it does not have", c.UndoArg)
		}
	}
}

func checkExample(c *spec.Call) diag.List {
	text, ok := exampleScript(c)
	if !ok {
		return diag.List{diag.Errorf(diag.Unexpected, diag.Span{}, "it is no `probe NAME = …`")}
	}
	file, parsed := syntax.Parse(diag.NewSource("example", text))
	_, checked := check.File(file, registries(), check.Options{})
	return append(diag.List(parsed), checked...)
}

// exampleScript puts an example where it belongs. It may use the handle `server`, which stands for any process.
func exampleScript(c *spec.Call) (text string, ok bool) {
	var b strings.Builder
	fmt.Fprintf(&b, "experiment \"an example of %s\" {\n", c.Name)
	if !strings.Contains(c.Example, "as server") {
		b.WriteString("  setup { process.start(\"./server\") as server }\n")
	}
	if c.Kind == spec.Probe {
		name := regexp.MustCompile(`^probe (\w+)`).FindStringSubmatch(c.Example)
		if name == nil {
			return "", false
		}
		b.WriteString("  " + c.Example + "\n  steady { expect string(" + name[1] + ") != \"\" }\n}\n")
	} else {
		b.WriteString("  probe door = tcp.connect(\"127.0.0.1:80\")\n  steady { expect door.ok }\n  inject {\n    " + c.Example + "\n  }\n}\n")
	}
	return b.String(), true
}

// Each wrong spec is found; else the test above would show nothing.
func TestTheSpecTestFinds(t *testing.T) {
	for _, c := range []*spec.Call{
		{Kind: spec.Action, Example: "process.kil(server)"},
		{Kind: spec.Action, Example: "process.kill(server"},
		{Kind: spec.Probe, Example: "tcp.connect(\"127.0.0.1:80\")"},
		{Kind: spec.Probe, Example: "probe a = tcp.connect(80)"},
	} {
		if len(checkExample(c)) == 0 {
			t.Errorf("%s: nothing is found", c.Example)
		}
	}
	for _, c := range []*spec.Call{{Lifetime: "kernel"}, {Undo: "x", Lifetime: "irreversible"}, {Undo: "x"}, {Harmless: true, Undo: "x"}, {Undo: "x", UndoArg: "undo", Lifetime: "kernel"}} {
		probe := &testing.T{}
		checkLifetime(probe, c)
		if !probe.Failed() {
			t.Errorf("%+v: nothing is found", c)
		}
	}
}
