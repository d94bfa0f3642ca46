package report

import (
	"fmt"
	"strings"
)

// marks of the timeline, by kind and result.
var marks = map[string]string{
	"heading": "▸", "wait": "·", "guard": "■", "abort": "■", "log": "│", "note": "!",
	"step done": "✓", "step failed": "✗", "step cancelled": "■", "step": "…",
	"wait done": "✓", "wait failed": "✗", "wait cancelled": "■",
	"turned false": "▼", "turned true": "▲", "undo done": "↶", "undo failed": "✗",
}

// line is a line of the story.
type line struct {
	*Moment
	Mark string // "" of a phase
	Text string
}

// story is the timeline as lines of text, one a moment.
func (x *Experiment) story() []string {
	var out []string
	for _, l := range x.lines() {
		t := fmt.Sprintf("%8s  ", clock(l.T))
		if l.Mark != "" {
			t += strings.Repeat("  ", 1+l.Depth) + l.Mark + " "
		}
		out = append(out, t+l.Text)
	}
	return out
}

func (x *Experiment) lines() []line {
	var out []line
	for _, m := range x.Timeline {
		if m.Kind == "abort" && m.Detail == "guard" { // the guard's own line stands above
			continue
		}
		if m.Kind == "phase" {
			out = append(out, line{m, "", strings.Join(nonEmpty(string(m.Phase), oneLine(m.Text), oneLine(m.Detail)), " · ")})
			continue
		}
		mark, ok := marks[strings.TrimSpace(m.Kind+" "+m.Result)]
		if !ok {
			mark = marks[m.Kind]
		}
		text := oneLine(m.Text)
		switch {
		case m.Kind == "guard":
			text = "guard tripped: " + text
		case m.Kind == "abort":
			text += ": undoing everything"
		case m.Kind == "undo" && m.Result == "failed":
			text = "not undone: " + text
		case m.Kind == "undo":
			text = "undone: " + text
		}
		if d := oneLine(m.Detail); d != "" && m.Kind != "abort" {
			text += " (" + d + ")"
		}
		out = append(out, line{m, mark, text})
	}
	return out
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
