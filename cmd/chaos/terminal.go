package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"chaos/cmd/chaos/live"
	"chaos/lang/value"
	"chaos/runtime/event"

	"golang.org/x/term"
)

// terminal tells the story of a run as it happens: one line for each thing that matters, with the time at its left. On a
// terminal a board below the lines shows what goes on now.
type terminal struct {
	screen *live.Screen
	out    *remembering // nil on a terminal
	colour bool
	width  int

	mu         sync.Mutex
	model      *live.Model
	mono       time.Duration // of the latest event
	at         time.Time     // when it came
	steps      map[int]event.StepStarted
	depths     map[int]int         // of the steps that left something to undo
	depth      int                 // of the step that speaks
	judged     []event.CheckJudged // of the hypothesis, kept until the end so that they stand above the verdict
	hypothesis string              // its title
	failing    []string            // the checks of the present phase that were shown as not holding
	untimed    bool                // the lines being written are about the whole run, not about a moment
}

// Columns of the story.
const (
	gutter   = 9 // "  12.3s  "
	maxWidth = 110
	noWidth  = 1 << 20 // a file or a pipe keeps every word
)

func newTerminal(w io.Writer, plain bool) *terminal {
	t := &terminal{width: noWidth, steps: map[int]event.StepStarted{}, depths: map[int]int{}}
	var draw func(live.Size) []string
	if f, ok := w.(*os.File); ok && isTerminal(w) {
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 {
			t.width = min(max(cols-1, 40), maxWidth)
		}
		t.colour = colourful(w) && !plain
		if !plain && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == "" {
			t.model, draw = live.NewModel(), t.board
		}
	}
	if !isTerminal(w) {
		t.out = &remembering{w: w}
		w = t.out
	}
	t.screen = live.NewScreen(w, draw)
	return t
}

// remembering keeps the first error of a writer. A run goes on without anybody to tell it to.
type remembering struct {
	w   io.Writer
	err error
}

func (r *remembering) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if r.err == nil {
		r.err = err
	}
	return n, err
}

// lost is why not all of the story was written, nil if it was; a reader that went away has seen enough. It is known after Close.
func (t *terminal) lost() error {
	if t.out == nil || errors.Is(t.out.err, syscall.EPIPE) {
		return nil
	}
	return t.out.err
}

// Close ends the board and returns when everything is written.
func (t *terminal) Close() { t.screen.Close() }

// board draws what goes on.
func (t *terminal) board(size live.Size) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.width = min(max(size.Width-1, 40), maxWidth)
	return live.Render(t.model, t.mono+time.Since(t.at), size, t.paint)
}

// printf writes as it stands, without folding.
func (t *terminal) printf(format string, args ...any) { t.screen.Print(fmt.Sprintf(format, args...)) }

func stamp(d time.Duration) string { return fmt.Sprintf("%*s  ", gutter-2, live.Clock(d)) }

func (t *terminal) paint(kind, text string) string {
	codes := map[string]string{"dim": "2", "bold": "1", "good": "32", "bad": "1;31", "warn": "33", "act": "35", "head": "1;36", "bar": "36", "no": "31"}
	if !t.colour || codes[kind] == "" || text == "" {
		return text
	}
	return "\x1b[" + codes[kind] + "m" + text + "\x1b[0m"
}

// put writes a text behind a lead, the right part dimmed behind it. What does not fit goes on below, under the text.
func (t *terminal) put(lead, kind, text, right string) {
	at := live.Width(live.Stripped(lead))
	lines := t.fold(text, t.width-at)
	right = oneLine(right)
	for i := range lines {
		lines[i] = t.paint(kind, lines[i])
	}
	if last := len(lines) - 1; right != "" && live.Width(live.Stripped(lines[last]))+2+live.Width(right) <= t.width-at {
		lines[last] += "  " + t.paint("dim", right)
	} else if right != "" {
		for _, l := range t.fold(right, t.width-at-2) {
			lines = append(lines, "  "+t.paint("dim", l))
		}
	}
	t.printf("%s\n", strings.TrimRight(lead+strings.Join(lines, "\n"+strings.Repeat(" ", at)), " "))
}

// fold leaves what fits as it is.
func (t *terminal) fold(text string, room int) []string {
	if live.Width(text) <= room {
		return []string{text}
	}
	return live.Fold(text, max(room, 20))
}

// when is the time at the left.
func (t *terminal) when() string {
	if t.untimed {
		return strings.Repeat(" ", gutter)
	}
	return t.paint("dim", stamp(t.mono))
}

// line writes a line of the story.
func (t *terminal) line(indent int, mark, kind, text, right string) {
	lead := t.when() + strings.Repeat(" ", indent)
	if mark != "" {
		lead += t.paint(kind, mark) + " "
	}
	t.put(lead, "", oneLine(text), right)
}

// below writes a line under another, without a time.
func (t *terminal) below(indent int, text string) {
	t.put(strings.Repeat(" ", gutter+indent), "", text, "")
}

func (t *terminal) heading(name, title, detail string) {
	lead := t.when() + t.paint("head", name) + "  "
	if title == "" {
		t.put(lead, "dim", detail, "")
		return
	}
	t.put(lead, "bold", oneLine(title), detail)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Event tells one event.
func (t *terminal) Event(e event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mono, t.at = e.Mono, time.Now()
	if _, sample := e.Data.(event.Sample); !sample { // its words are made by Short, which escapes, or by the model
		e.Data = event.Rewrite(e.Data, live.Shown)
	}
	if t.model != nil {
		t.model.Event(e)
	}
	switch d := e.Data.(type) {
	case event.RunStarted:
		t.put("", "dim", fmt.Sprintf("%s · run %s · seed %d", d.Script, d.Run, d.Seed), "")
	case event.ExperimentStarted:
		t.printf("\n")
		t.put("", "bold", oneLine(d.Title), d.Owner)
		t.printf("\n")
		t.hypothesis = d.Hypothesis
	case event.PhaseEntered:
		t.phase(d)
	case event.PhaseEnded:
		t.phaseEnded(d)
	case event.Heading:
		t.line(2+2*d.Depth, "▸", "head", d.Text, "")
	case event.StepStarted:
		t.steps[d.Step], t.depths[d.Step], t.depth = d, d.Depth, d.Depth
	case event.StepEnded:
		t.stepEnded(d)
	case event.Waiting:
		t.steps[d.Step] = event.StepStarted{Text: d.Text, Depth: d.Depth, Phase: d.Phase}
		t.line(2+2*d.Depth, "·", "dim", d.Text, "")
	case event.Turned:
		if d.To == "false" {
			t.line(4, "▼", "warn", d.Text, "false: "+words(d.Operands))
		} else {
			t.line(4, "▲", "good", d.Text, "true again")
		}
	case event.GuardTripped:
		why := words(d.Operands)
		if d.NoData != "" {
			why = "no data counts as true: " + d.NoData
		}
		t.line(2, "■", "bad", "guard tripped: "+d.Text, why)
		if d.Because != "" {
			t.below(4, "because "+d.Because)
		}
	case event.Abort:
		if d.By != "guard" {
			t.line(2, "■", "bad", d.Text+": undoing everything", "")
		}
	case event.Log:
		t.line(4+2*t.depth, "│", "dim", d.Text, "")
	case event.Note:
		t.line(2, "!", "warn", d.Text, "")
	case event.FaultUndone:
		t.undone(d)
	case event.CheckJudged:
		if d.Section == "hypothesis" {
			t.judged = append(t.judged, d)
		} else {
			t.check(d)
		}
	case event.ExperimentEnded:
		t.ended(d)
	case event.RunEnded:
		if d.Skipped > 0 {
			t.put("", "warn", plural(d.Skipped, "experiment")+" not started", "")
		}
		t.printf("%s\n", t.paint("dim", fmt.Sprintf("exit %d · %s/journal.jsonl", d.Exit, d.Dir))) // whole, to be copied
	}
}

// what is the best short description of a step: what it does here and now, else its text.
func what(d event.StepStarted) string {
	if d.Does != "" {
		return d.Does
	}
	return d.Text
}

func words(ops []event.Operand) string {
	parts := make([]string, len(ops))
	for i, o := range ops {
		parts[i] = o.Text + " = " + o.Value
	}
	return strings.Join(parts, ", ")
}

func (t *terminal) phase(d event.PhaseEntered) {
	name := string(d.Phase)
	if d.Phase == event.During {
		name = "inject"
	}
	title, detail := d.Title, d.Detail
	if d.Phase == event.After {
		title = "does the steady state come back?"
	}
	t.heading(name, title, detail)
	t.depth, t.failing = 0, nil
}

func (t *terminal) phaseEnded(d event.PhaseEnded) {
	switch {
	case d.OK:
		t.line(2, "✓", "good", "steady", took(d.Took))
	default:
		text := "not steady: " + d.Detail
		if slices.ContainsFunc(t.failing, func(check string) bool { return strings.HasPrefix(d.Detail, check) }) { // it stands above, with its values
			text = "not steady"
		}
		t.line(2, "✗", "bad", text, took(d.Took))
	}
}

func (t *terminal) stepEnded(d event.StepEnded) {
	s := t.steps[d.Step]
	delete(t.steps, d.Step)
	indent := 2 + 2*s.Depth
	right := d.Note
	if d.Note != "" && strings.Contains(s.Does, d.Note) {
		right = ""
	}
	if s.For > 0 {
		right = join(right, "for "+value.DurationOf(time.Duration(s.For)).Short())
	}
	right = join(right, took(d.Took))
	switch {
	case d.Status == "failed":
		t.line(indent, "✗", "bad", what(s), "")
		for _, l := range strings.Split(d.Error, "\n") {
			t.below(indent+2, l)
		}
		if s.Because != "" {
			t.below(indent+2, "because "+s.Because)
		}
	case d.Status == "cancelled":
		t.line(indent, "■", "warn", what(s), "cancelled")
	case s.Lifetime == "" && d.Effect != "no": // it changed nothing: what it said stands there already
	case d.Effect == "no":
		t.line(indent, "✗", "bad", what(s), "no effect: "+d.Detail)
	default:
		if d.Effect == "unknown" && d.Detail != "" {
			right = join("effect unknown: "+d.Detail, right)
		}
		mark, kind := "✓", "good"
		if s.Phase == event.During && s.Lifetime != "" {
			mark, kind = "⚡", "act"
		}
		t.line(indent, mark, kind, what(s), right)
	}
}

// took is a duration that is worth a word.
func took(d event.Seconds) string {
	if time.Duration(d) < 100*time.Millisecond {
		return ""
	}
	return live.Clock(time.Duration(d))
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

func (t *terminal) undone(d event.FaultUndone) {
	indent := 2
	if d.Phase != event.Undo && d.Phase != event.UndoSetup { // where its step stands; else with the others, at the end
		indent += 2 * t.depths[d.Step]
	}
	delete(t.depths, d.Step)
	text := d.Text
	if d.Does != "" {
		text = d.Does
	}
	if d.Name != "" && !strings.Contains(text, d.Name) {
		text = d.Name + ": " + text
	}
	if d.Foreign {
		t.line(indent, "!", "warn", "left alone, since somebody else changed it meanwhile: "+text, took(d.Took))
		return
	}
	if d.OK {
		t.line(indent, "↶", "good", "undone: "+text, took(d.Took))
		return
	}
	t.line(indent, "✗", "bad", "NOT UNDONE: "+text, live.Clock(time.Duration(d.Took)))
	t.below(indent+2, d.Error)
}

// check tells the result of a check; one that held in a steady block needs no line.
func (t *terminal) check(d event.CheckJudged) {
	at := fmt.Sprintf("%s:%d:%d", d.At.File, d.At.Line, d.At.Col)
	switch {
	case d.Result == "held" && (d.Section == "hypothesis" || d.Section == "setup"):
		t.line(2, "✓", "good", d.Text, d.Detail)
	case d.Result == "held":
	case d.Result == "refuted":
		t.line(2, "✗", "bad", d.Text, at)
		t.evidence(d, 6)
	default:
		t.line(2, "?", "warn", d.Text, at)
		t.evidence(d, 6)
	}
	if d.Result != "held" && d.Section != "hypothesis" {
		t.failing = append(t.failing, d.Text)
	}
}

// evidence shows why a check did not hold: when, and the value of every operand, aligned.
func (t *terminal) evidence(d event.CheckJudged, indent int) {
	if d.Detail != "" && d.Section == "hypothesis" {
		text := d.Detail
		if d.Moment != nil && d.Kind != "expect" {
			text += fmt.Sprintf(", first %s after the injection", live.Clock(time.Duration(*d.Moment)))
		}
		if d.Kind != "expect" || d.Result == "inconclusive" {
			t.below(indent, text)
		}
	}
	longest := 0
	for _, o := range d.Operands {
		longest = max(longest, utf8.RuneCountInString(o.Text))
	}
	for _, o := range d.Operands {
		t.below(indent, fmt.Sprintf("%-*s = %s", longest, o.Text, o.Value))
	}
	if d.Because != "" {
		t.below(indent, "because "+d.Because)
	}
}

func (t *terminal) ended(d event.ExperimentEnded) {
	if len(t.judged) > 0 {
		t.printf("\n")
		t.untimed = true
		t.heading("hypothesis", t.hypothesis, "")
		for _, c := range t.judged {
			t.check(c)
		}
		t.judged, t.untimed = nil, false
	}
	word, kind := strings.ToUpper(string(d.Verdict)), "good"
	switch {
	case d.Restoration == event.Incomplete:
		word, kind = "NOT RESTORED", "bad"
	case d.Outcome == event.Aborted, d.Outcome == event.Unsteady, d.Outcome == event.Unfit, d.Outcome == event.Failed:
		word, kind = strings.ToUpper(string(d.Outcome)), "bad"
	case d.Verdict == event.Refuted:
		kind = "bad"
	case d.Verdict == event.Inconclusive:
		kind = "warn"
	case d.Verdict == event.NotJudged:
		word = "STEADY"
	}
	var rest []string
	for _, r := range []string{string(d.Verdict), string(d.Outcome), string(d.Restoration)} {
		if !strings.EqualFold(r, word) {
			rest = append(rest, r)
		}
	}
	t.printf("\n")
	t.put("", kind, word, strings.Join(append(rest, live.Clock(time.Duration(d.Took))), " · "))
	if d.Reason != "" {
		t.put("  ", "", d.Reason, "")
	}
	for _, l := range d.Left {
		t.put("  "+t.paint("bad", l.Text+":")+" ", "", l.Error, "")
		if l.Manual != "" {
			t.printf("    by hand: %s\n", t.paint("bold", l.Manual)) // whole, to be copied
		}
	}
	t.printf("\n")
}
