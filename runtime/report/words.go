package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"chaos/runtime/event"
)

// What the forms for people, Markdown and HTML, say in the same words.

// severity is worst first, as the exit code has it.
var severity = []string{"unfinished", "not restored", "aborted", "refuted", "inconclusive", "failed", "unsteady", "unfit", "held", "steady"}

var phases = []event.Phase{event.Setup, event.Before, event.During, event.Undo, event.Settle, event.Rollback, event.After, event.UndoSetup}

// words are the results of a run's experiments, in one word each.
func (r *Run) words() []string {
	out := make([]string, len(r.Experiments))
	for i, x := range r.Experiments {
		out[i] = x.Word()
	}
	return out
}

// params are the parameters of a run, as its script would write them.
func (r *Run) params() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		out = append(out, name+" = "+r.Params[name])
	}
	return out
}

// worst is the one that matters most.
func worst(words []string) string {
	for _, w := range severity {
		if slices.Contains(words, w) {
			return w
		}
	}
	return ""
}

// tally counts them: "1 refuted, 2 held".
func tally(words []string) string {
	count := map[string]int{}
	for _, w := range words {
		count[w]++
	}
	var parts []string
	for _, w := range severity {
		if n := count[w]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, w))
		}
	}
	return strings.Join(parts, ", ")
}

// results are the three results, but for the one that Word says.
func (x *Experiment) results() []string {
	list := nonEmpty(string(x.Verdict), string(x.Outcome), string(x.Restoration))
	return slices.DeleteFunc(list, func(w string) bool { return w == x.Word() })
}

func (x *Experiment) leftTitle() string {
	if !x.Ended {
		return "Perhaps left behind: no undo is recorded"
	}
	return "Left behind: a human is needed"
}

// seen is what a check of the hypothesis saw, on one line.
func (c *Check) seen() string {
	if c.Kind == "expect" && len(c.Operands) > 0 {
		return values(c.Operands)
	}
	return c.Detail
}

// when is the time at which a check outside of the hypothesis was judged.
func (c *Check) when() string {
	return map[string]string{"steady": ", before the injection", "after": ", after the undo", "setup": ", in setup"}[c.Section]
}

// twice is a check of the steady state and its results, "" where it was not judged.
type twice struct{ Text, Before, After string }

// steady puts what was judged before beside what was judged after.
func (x *Experiment) steady() []twice {
	before, after := x.in("steady"), x.in("after")
	var out []twice
	for _, c := range before {
		t := twice{c.Text, c.Result, ""}
		if i := slices.IndexFunc(after, func(a *Check) bool { return a.At == c.At }); i >= 0 {
			t.After = after[i].Result
		}
		out = append(out, t)
	}
	for _, c := range after {
		if !slices.ContainsFunc(before, func(b *Check) bool { return b.At == c.At }) {
			out = append(out, twice{c.Text, "", c.Result})
		}
	}
	return out
}

// undone counts the faults that were undone.
func (x *Experiment) undone() int {
	n := 0
	for _, f := range x.Faults {
		if f.Undone {
			n++
		}
	}
	return n
}

// when says when a fault was undone, and what was found then.
func (f *Fault) when() string {
	out := clock(f.At)
	switch {
	case !f.Undone:
		out = "no"
	case f.At == 0:
		out = "yes"
	}
	if f.Phase != "" && f.Undone {
		out += ", " + string(f.Phase)
	}
	for _, r := range f.Records {
		if r.Detail != "" {
			out += ": " + r.Detail
		}
	}
	return out
}

func (x *Experiment) samples() int {
	n := 0
	for _, p := range x.Probes {
		n += p.Samples
	}
	return n
}

func (p *Probe) failures() string {
	if p.LastError == "" {
		return fmt.Sprint(p.Failed)
	}
	return fmt.Sprintf("%d: %s", p.Failed, p.LastError)
}

// byPhase says how many samples each phase had.
func (p *Probe) byPhase() string {
	var by []string
	for _, ph := range phases {
		if n := p.Phases[ph]; n > 0 {
			by = append(by, fmt.Sprintf("%s %d", ph, n))
		}
	}
	return strings.Join(by, ", ")
}
