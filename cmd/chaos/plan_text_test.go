package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"chaos/lang/check"
	"chaos/lang/diag"
)

// On a terminal nothing is cut and nothing goes beyond the edge, but words that are longer than a line.
func TestAPlanIsWrapped(t *testing.T) {
	path := "../../examples/fizzbuzz/game-day.chaos"
	reg := registries()
	src, script, diags := load(path, reg)
	if diags.HasErrors() {
		t.Fatal(diags.Error())
	}
	bound, bad := check.Bind(script, allParams(script), check.Given{Env: func(string) (string, bool) { return "", false }})
	if len(bad) > 0 {
		t.Fatal(diag.List(bad).Error())
	}
	s, err := planOne(prepared{path, src, script, bound}, reg, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	doc := planned{Scripts: []plannedScript{s}}
	whole := strings.Fields(doc.text(planStyle{width: noWidth}))
	for _, width := range []int{60, planWidth} {
		text := doc.text(planStyle{width: width})
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\n")
			if utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 3 {
				t.Errorf("beyond %d columns: %s", width, line)
			}
		}
		if got := strings.Join(strings.Fields(text), " "); got != strings.Join(whole, " ") {
			t.Errorf("at %d columns the words differ", width)
		}
	}
}

func TestColoursOfAPlanAreOnlyThat(t *testing.T) {
	l := &layout{style: planStyle{width: 40, colour: true}}
	l.put(2, "✗ ", "bad", "a text that is longer than one line of forty columns", "bold")
	plain := strings.NewReplacer("\x1b[1;31m", "", "\x1b[1m", "", "\x1b[0m", "").Replace(l.String())
	want := "  ✗ a text that is longer than one line\n    of forty columns\n"
	if plain != want {
		t.Errorf("got\n%q\nwant\n%q", plain, want)
	}
}
