package main

import (
	"testing"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/lint"
	"chaos/lang/syntax"
	"chaos/stdlib"
)

// TestExplanationsAreTrue runs every example of `chaos explain` through the checker with the real families: the wrong one
// gives its code and no other, the right one gives nothing.
func TestExplanationsAreTrue(t *testing.T) {
	for _, code := range diag.Codes() {
		e, _ := diag.Explain(string(code))
		if e.None != "" {
			continue
		}
		t.Run(string(code), func(t *testing.T) {
			wrong := look("wrong.chaos", e.Wrong)
			found := false
			for _, d := range wrong {
				found = found || d.Code == code
				if d.Code != code && !(code == diag.IgnoresWrong && d.Severity == diag.Warning) {
					t.Errorf("the wrong example gives another message: %v", d)
				}
			}
			if !found {
				t.Errorf("the wrong example does not give %s: %v", code, wrong)
			}
			if right := look("right.chaos", e.Right); len(right) > 0 {
				t.Errorf("the right example is not: %v", right)
			}
		})
	}
}

// look is what `chaos check` says about a text.
func look(name, text string) diag.List {
	file, parsed := syntax.Parse(diag.NewSource(name, text))
	script, checked := check.File(file, registries(), check.Options{Std: stdlib.FS()})
	list := append(diag.List(parsed), checked...)
	if !list.HasErrors() {
		list = append(list, lint.Lint(file, script)...)
	}
	list.Sort()
	return list
}
