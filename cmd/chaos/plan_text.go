package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime"
	"chaos/runtime/event"

	"golang.org/x/term"
)

// planStyle is how a plan is laid out: wrapped on a terminal, uncut elsewhere.
type planStyle struct {
	width  int
	colour bool
}

const planWidth = 100

func newPlanStyle(w io.Writer) planStyle {
	s := planStyle{width: noWidth, colour: colourful(w)}
	if f, ok := w.(*os.File); ok && isTerminal(w) {
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 {
			s.width = min(max(cols, 40), planWidth)
		}
	}
	return s
}

// layout writes indented, wrapped lines.
type layout struct {
	strings.Builder
	style planStyle
}

func (l *layout) paint(kind, text string) string {
	codes := map[string]string{"dim": "2", "bold": "1", "good": "32", "bad": "1;31", "warn": "33", "head": "1;36"}
	if !l.style.colour || kind == "" || text == "" {
		return text
	}
	return "\x1b[" + codes[kind] + "m" + text + "\x1b[0m"
}

// put writes a line. What does not fit goes on under the text, behind the lead.
func (l *layout) put(indent int, lead, leadKind, text, kind string) {
	hang := indent
	if lead != "" {
		hang += utf8.RuneCountInString(lead)
	}
	for i, line := range wrap(oneLine(text), max(l.style.width-hang, 20)) {
		if i == 0 {
			fmt.Fprintf(l, "%s%s", strings.Repeat(" ", indent), l.paint(leadKind, lead))
		} else {
			l.WriteString(strings.Repeat(" ", hang))
		}
		l.WriteString(l.paint(kind, line) + "\n")
	}
}

// fact writes a line with a label of its own column.
func (l *layout) fact(indent, column int, label, text, kind string) {
	l.put(indent, fmt.Sprintf("%-*s", column, label), "dim", text, kind)
}

// wrap breaks a text between words; a word that is too long stays whole.
func wrap(text string, width int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			out, line = append(out, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(out, line)
}

func (p planned) text(style planStyle) string {
	l := &layout{style: style}
	for i, s := range p.Scripts {
		if i > 0 {
			l.WriteString("\n")
		}
		l.script(s)
	}
	return l.String()
}

func (l *layout) script(s plannedScript) {
	switch {
	case s.module():
		l.put(0, "✗ ", "bad", s.Script+": "+noExperiment+", so there is no plan", "")
		return
	case len(s.Mistakes) > 0:
		l.put(0, "✗ ", "bad", s.Script+": has mistakes, so there is no plan", "")
		return
	case s.Fit:
		l.put(0, "✓ ", "good", s.Script+": fits this machine", "dim")
	default:
		l.put(0, "✗ ", "bad", s.Script+": does not fit, a run would be refused", "")
	}
	for _, name := range sortedKeys(s.Params) {
		l.put(2, "", "", name+" = "+s.Params[name], "dim")
	}
	for _, x := range s.Experiments {
		l.WriteString("\n")
		l.experiment(x)
	}
}

func (l *layout) experiment(x *runtime.ExperimentPlan) {
	l.put(0, "", "", x.Title, "bold")
	if about := planAbout(x); about != "" {
		l.put(0, "", "", about, "dim")
	}
	if len(x.Probes) > 0 {
		l.heading("probes", "", "")
		column := 0
		for _, p := range x.Probes {
			column = max(column, utf8.RuneCountInString(p.Name)+2)
		}
		for _, p := range x.Probes {
			l.fact(4, min(column, 24), p.Name+" ", p.Text+", "+sampling(p), "")
			if p.Later != "" {
				l.put(4+min(column, 24), "", "", "known later: "+p.Later, "dim")
			}
			if p.Problem != "" {
				l.put(4+min(column, 24), "✗ ", "bad", p.Problem, "")
			}
		}
	}
	if len(x.Guards) > 0 {
		l.heading("guards", "", "")
		for _, g := range x.Guards {
			text := g.Text
			if g.File {
				text += ", which ends the whole file"
			}
			l.put(4, "■ ", "warn", text, "")
			if g.Because != "" {
				l.put(6, "", "", "because "+g.Because, "dim")
			}
		}
	}
	for _, s := range x.Sections {
		l.heading(s.Name, s.Title, s.Detail)
		for _, c := range s.Checks {
			l.put(4, "· ", "dim", c.Text, "")
		}
		for _, row := range s.Steps {
			l.step(row)
		}
	}
	l.heading("in sum", "", "")
	for _, f := range planFacts(x) {
		l.fact(4, 14, f.name, f.text, "")
	}
}

func (l *layout) heading(name, title, detail string) {
	l.WriteString("\n  " + l.paint("head", name))
	if title != "" {
		l.WriteString("  " + l.paint("bold", oneLine(title)))
	}
	if detail != "" {
		l.WriteString("  " + l.paint("dim", detail))
	}
	l.WriteString("\n")
}

const stepColumn = 10

func (l *layout) step(s runtime.PlannedStep) {
	at := 4 + 2*s.Depth
	mark, kind := "·", "dim"
	switch {
	case s.State == runtime.Unfit:
		mark, kind = "✗", "bad"
	case s.Final:
	case s.Kind == "step" && s.Irreversible():
		mark, kind = "!", "warn"
	case s.Kind == "step" && !s.Harmless:
		mark, kind = "↶", "good"
	case slices.Contains([]string{"repeat", "when", "else", "parallel", "do", "composite"}, s.Kind):
		mark, kind = "▸", "head"
	}
	l.put(at, mark+" ", kind, s.Text, "bold")
	if s.Kind != "step" {
		return
	}
	add := func(label, text, kind string) {
		if text != "" {
			l.fact(at+4, stepColumn, label, text, kind)
		}
	}
	if s.State == runtime.Unfit {
		add("problem", s.Why, "bad")
	}
	add("does", s.Does, "")
	add("target", planTarget(s), "")
	if s.Harmless {
		return
	}
	add("lifetime", planLifetime(s), "")
	for i, u := range planUndo(s) {
		add([]string{"undo", ""}[min(i, 1)], u, "")
	}
}

// planTarget says what a step acts on, or when that will be known.
func planTarget(s runtime.PlannedStep) string {
	var list []string
	for _, t := range s.Targets {
		list = append(list, t.Text)
	}
	text := strings.Join(list, ", ")
	switch {
	case s.Harmless && s.Why == "":
	case s.State == runtime.Resolved:
		if text != "" && s.Pick != "" && s.Why != "" {
			text += " (" + s.Why + ")"
		}
	case s.State == runtime.AfterSetup:
		text = knownAs("known after setup", s.Why)
	case s.State == runtime.WhenReached:
		text = knownAs("known when it is reached", s.Why)
	}
	return text
}

func knownAs(when, why string) string {
	if why == "" {
		return when
	}
	return when + ": " + why
}

func planLifetime(s runtime.PlannedStep) string {
	if s.Final {
		return "final: what rollback does is meant to stay"
	}
	if s.Irreversible() {
		return "irreversible: nothing undoes it"
	}
	return knownAs(string(s.Lifetime), s.LifetimeWhy)
}

// planUndo says how a step is undone, and when the run does it by itself.
func planUndo(s runtime.PlannedStep) []string {
	if s.Irreversible() || s.Final {
		return nil
	}
	out := slices.Clone(s.Undo)
	if s.Ends != "" && len(out) > 0 {
		out[0] = s.Ends + ": " + out[0]
	}
	return out
}

func sampling(p runtime.PlannedProbe) string {
	every := "every " + seconds(p.Every)
	if p.Streaming {
		return "all the time, a sample " + every
	}
	return every
}

func planAbout(x *runtime.ExperimentPlan) string {
	parts := []string{fmt.Sprintf("%s:%d", x.At.File, x.At.Line)}
	if x.Owner != "" {
		parts = append(parts, "owner "+x.Owner)
	}
	if len(x.Tags) > 0 {
		parts = append(parts, "tags "+strings.Join(x.Tags, " "))
	}
	if x.Runbook != "" {
		parts = append(parts, "runbook "+x.Runbook)
	}
	return strings.Join(parts, " · ")
}

// planFact is a line of the summary.
type planFact struct{ name, text string }

func planFacts(x *runtime.ExperimentPlan) []planFact {
	var out []planFact
	add := func(name string, list []string, none string) {
		if len(list) == 0 && none != "" {
			list = []string{none}
		}
		for i, text := range list {
			if i > 0 {
				name = ""
			}
			out = append(out, planFact{name, text})
		}
	}
	more := ""
	if x.Faults.More {
		more = ", or more"
	}
	add("faults", []string{fmt.Sprintf("%d that the run undoes, %d irreversible%s", x.Faults.Reversible, x.Faults.Irreversible, more)}, "")
	var final, later []string
	for _, s := range x.Steps("setup") {
		if s.Irreversible() {
			final = append(final, fmt.Sprintf("%s (setup, line %d)", s.Text, s.At.Line))
		}
	}
	for _, s := range x.Steps("inject") {
		if s.Irreversible() {
			final = append(final, fmt.Sprintf("%s (line %d)", s.Text, s.At.Line))
		}
	}
	for _, s := range x.Steps() {
		if s.State == runtime.AfterSetup && !s.Harmless {
			later = append(later, fmt.Sprintf("%s (line %d)", s.Text, s.At.Line))
		}
	}
	add("irreversible", final, "nothing")
	add("after setup", later, "")
	add("needs", needLines(x.Needs), "no privilege")
	add("exclusions", x.Excluded, "")
	add("longest", longestLines(x.Longest), "")
	return out
}

func needLines(list []runtime.PlannedNeed) []string {
	var out []string
	for _, n := range list {
		text := n.Kind + " " + n.Name
		switch n.State {
		case "here":
			text += ", which is here"
		case "missing":
			text += ", which is missing: " + n.Install
		default:
			text += ": " + n.Install
		}
		out = append(out, text+" – for "+strings.Join(n.For, ", "))
	}
	return out
}

func longestLines(t runtime.PlannedTime) []string {
	var phases []string
	for _, p := range t.Phases {
		phases = append(phases, fmt.Sprintf("%s %s", p.Phase, seconds(p.Most)))
	}
	text := seconds(t.Most)
	if len(phases) > 0 {
		text += ": " + strings.Join(phases, ", ")
	}
	out := []string{text}
	deadline := "after " + seconds(t.Deadline) + " all is undone, however far it is"
	if t.Cut {
		deadline = "cut short: after " + seconds(t.Deadline) + " all is undone, however far it is"
	}
	out = append(out, deadline)
	if len(t.Unknown) > 0 {
		out = append(out, "not known yet: "+strings.Join(t.Unknown, "; "))
	}
	return out
}

func seconds(s event.Seconds) string { return value.DurationOf(time.Duration(s)).Short() }

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// lifetimeMeaning says what ends a fault of a class when chaos itself is killed.
var lifetimeMeaning = map[actions.Lifetime]string{
	actions.Kernel:       "the kernel ends it at once",
	actions.TTL:          "the target itself ends it after a deadline",
	actions.Guardian:     "the guardian process undoes it",
	actions.Irreversible: "nothing undoes it",
}
