package live

import (
	"fmt"
	"strings"
	"time"

	"chaos/runtime/event"
)

const (
	valueWidth = 11 // of a probe's latest value
	leastFact  = 20 // of what is said about a check: "false for 0.4s of 3s"
)

// valueRows show each watched value: its name, the latest, and how it went.
func (r *renderer) valueRows() []row {
	if r.m.phase == event.Setup || r.m.phase == event.UndoSetup { // nothing is sampled, or no longer
		return nil
	}
	names := 8
	for _, s := range r.m.values {
		names = max(names, Width(s.Text))
	}
	names = min(names, max(r.room()/3, 16))
	bars := r.room() - names - valueWidth - 4
	var out []row
	for _, s := range r.m.values {
		text := pad(s.Text, names) + "  "
		age := s.stale(r.now)
		switch {
		case !s.sampled:
			text += r.paint("dim", padLeft("–", valueWidth))
		case s.latest.IsMissing():
			text += r.paint("bad", padLeft("no data", valueWidth)) + "  " + r.spark(s, bars, "dim", oneLine(s.latest.Why()))
		case age > 0:
			text += r.paint("dim", padLeft(oneLine(s.latest.Short()), valueWidth)) + "  " + r.spark(s, bars, "warn", Clock(age.Truncate(time.Second))+" old")
		default:
			text += padLeft(oneLine(s.latest.Short()), valueWidth) + "  " + r.spark(s, bars, "", "")
		}
		out = append(out, row{text: text, matters: s.Read})
	}
	return out
}

// spark draws how a value went, and a note: behind it as long as there is room, then over its oldest part, so that in all
// lines one column is one time.
func (r *renderer) spark(s *series, width int, kind, note string) string {
	first, last := r.m.span(width, r.now)
	used := last - first + 1
	behind, before := "", ""
	if room := width - used - 2; note != "" && room >= min(Width(note), 12) {
		behind = "  " + r.paint(kind, Cut(note, room))
	} else if note != "" {
		note = Cut(note, min(width*2/3, used-2))
		first += Width(note) + 2
		before = r.paint(kind, note) + "  "
	}
	blank, list := s.cells(first, last)
	before += strings.Repeat(" ", blank)
	if s.yesNo() {
		return before + ticks(list, r.paint) + behind
	}
	return before + r.paint("bar", Spark(list)) + behind
}

func (r *renderer) checksLabel() string {
	if r.steady() {
		return "steady"
	}
	return "checks"
}

// steady tells that it is the steady state that is looked at now, not the hypothesis.
func (r *renderer) steady() bool { return r.m.phase == event.Before || r.m.phase == event.After }

// checkRows are the checks that are looked at now, and the guards; the facts stand in one column.
func (r *renderer) checkRows() (checks, guards []row) {
	if r.m.phase == event.Setup || r.m.phase == event.UndoSetup {
		return nil, nil
	}
	section := "hypothesis"
	if r.steady() {
		section = "steady"
	}
	var list []*check
	texts := 0
	for _, c := range r.m.checks {
		if c.Section == section || c.Section == "guard" && r.armed() {
			list = append(list, c)
			texts = max(texts, Width(c.Text))
		}
	}
	least := r.room() - 4 - max(r.room()*4/10, leastFact)
	for _, c := range list {
		mark, kind, fact := r.judge(c)
		text, fact := texts, oneLine(fact)
		if texts > least { // no column for all then: each text gets what its fact leaves
			text = max(min(least, Width(c.Text)), r.room()-4-Width(fact))
		}
		line := r.paint(kind, mark) + " " + pad(c.Text, text) + "  " + r.paint(factKind(kind), Cut(fact, r.room()-text-4))
		out := row{text: line, matters: kind == "bad" || kind == "warn"}
		if c.Section == "guard" {
			guards = append(guards, out)
		} else {
			checks = append(checks, out)
		}
	}
	return checks, guards
}

// armed tells whether guards watch: until all is undone.
func (r *renderer) armed() bool {
	switch r.m.phase {
	case event.Before, event.During, event.Undo:
		return true
	}
	return false
}

func factKind(kind string) string {
	if kind == "good" || kind == "" {
		return "dim"
	}
	return kind
}

// judge says how a check stands.
func (r *renderer) judge(c *check) (mark, kind, fact string) {
	lasted := max(r.now-c.since, 0)
	values := r.values(c)
	if c.Section == "guard" {
		switch {
		case c.trips:
			return "■", "bad", "tripped: " + c.values
		case c.state == "":
			return "·", "dim", values
		case c.state == "false":
			return "○", "good", values
		case c.For > 0:
			return "■", "warn", fmt.Sprintf("%s for %s of %s", c.state, Clock(lasted), Total(time.Duration(c.For)))
		}
		return "■", "warn", c.state
	}
	switch {
	case c.refuted(r.now) && c.Kind == "eventually":
		return "✗", "bad", "false longer than " + Total(time.Duration(c.Within))
	case c.refuted(r.now):
		return "✗", "bad", strings.TrimSuffix("false at "+Clock(c.first)+": "+c.values, ": ")
	case c.state == "" && c.Kind == "expect" && c.Section == "hypothesis":
		return "·", "dim", join("at the end", values)
	case c.state == "":
		return "·", "dim", values
	case c.state == "no data":
		return "?", "warn", strings.TrimSuffix("no data: "+c.why, ": ")
	case c.state == "false" && c.Kind == "eventually":
		return "▼", "warn", "false for " + Clock(lasted) + " of " + Total(time.Duration(c.Within))
	case c.state == "false" && c.Tolerate > 0:
		return "▼", "warn", "false: " + values
	case c.state == "false":
		return "✗", "bad", "false: " + values
	}
	return "✓", "good", values
}

// values are the latest of what a check reads, with names where there are several, or where a `not` turns the only one round.
func (r *renderer) values(c *check) string {
	var parts []string
	for _, text := range c.Reads {
		for _, s := range r.m.values {
			if s.Text == text && s.sampled && !s.latest.IsMissing() {
				value := s.latest.Short()
				if len(c.Reads) > 1 || strings.Contains(c.Text, "not "+text) {
					value = text + " = " + value
				}
				parts = append(parts, value)
			}
		}
	}
	return strings.Join(parts, ", ")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
