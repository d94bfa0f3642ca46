package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"chaos/lang/value"
	"chaos/runtime/event"

	"golang.org/x/term"
)

// terminal tells the story of a run as it happens: one line for each thing that matters, with the time at its left. On a
// terminal a last line shows what is being waited for.
type terminal struct {
	w      io.Writer
	colour bool
	live   bool
	width  int

	mu         sync.Mutex
	mono       time.Duration // of the latest event
	at         time.Time     // when it came
	begun      bool
	status     string        // what is being waited for; "" when nothing is
	since      time.Time     // since when
	most       time.Duration // for how long at most
	drawn      bool
	steps      map[int]event.StepStarted
	latest     map[string]string   // newest words of each probe, for the live line
	judged     []event.CheckJudged // of the hypothesis, kept until the end so that they stand above the verdict
	hypothesis string              // its title
	untimed    bool                // the lines being written are about the whole run, not about a moment
	stop       chan struct{}
	wg         sync.WaitGroup
}

// Columns of the story.
const (
	gutter   = 9 // "  12.3s  "
	maxWidth = 110
	noWidth  = 1 << 20 // a file or a pipe keeps every word
)

func newTerminal(w io.Writer, plain bool) *terminal {
	t := &terminal{w: w, width: noWidth, steps: map[int]event.StepStarted{}, latest: map[string]string{}}
	if f, ok := w.(*os.File); ok && isTerminal(w) {
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 {
			t.width = min(max(cols, 40), maxWidth)
		}
		t.colour = colourful(w) && !plain
		t.live = !plain && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
	}
	if t.live {
		t.stop = make(chan struct{})
		t.wg.Go(t.tick)
	}
	return t
}

// Close ends the live line.
func (t *terminal) Close() {
	if t.stop != nil {
		close(t.stop)
		t.wg.Wait()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
}

func (t *terminal) tick() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
			t.mu.Lock()
			t.draw()
			t.mu.Unlock()
		}
	}
}

// draw writes the live line over itself.
func (t *terminal) draw() {
	if t.status == "" || time.Since(t.since) < 300*time.Millisecond {
		return
	}
	spent := time.Since(t.since)
	text := fmt.Sprintf("%s %s  %s", spinner(spent), t.status, clock(spent))
	if t.most > 0 {
		text += " of " + clock(t.most)
	}
	now := t.mono + time.Since(t.at)
	fmt.Fprintf(t.w, "\r%s%s\x1b[K", t.paint("dim", stamp(now)), cut(text, t.width-gutter-1))
	t.drawn = true
}

func (t *terminal) erase() {
	if t.drawn {
		fmt.Fprint(t.w, "\r\x1b[K")
		t.drawn = false
	}
}

func spinner(d time.Duration) string {
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	return string(frames[int(d/(100*time.Millisecond))%len(frames)])
}

func clock(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}

func stamp(d time.Duration) string { return fmt.Sprintf("%*s  ", gutter-2, clock(d)) }

func (t *terminal) paint(kind, text string) string {
	codes := map[string]string{"dim": "2", "bold": "1", "good": "32", "bad": "1;31", "warn": "33", "act": "35", "head": "1;36"}
	if !t.colour {
		return text
	}
	return "\x1b[" + codes[kind] + "m" + text + "\x1b[0m"
}

// line writes a line of the story. right stands dimmed behind it.
func (t *terminal) line(indent int, mark, kind, text, right string) {
	t.erase()
	room := t.width - gutter - indent
	if mark != "" {
		room -= 2
	}
	if mark == "⚡" { // it takes two cells
		room--
	}
	rightLen := utf8.RuneCountInString(right)
	text = oneLine(text)
	if rightLen > 0 && utf8.RuneCountInString(text)+rightLen+2 > room {
		keep := max(room-rightLen-2, room/2)
		text = cut(text, keep)
		right = cut(right, room-utf8.RuneCountInString(text)-2)
	}
	text = cut(text, room)
	var b strings.Builder
	if t.untimed {
		b.WriteString(strings.Repeat(" ", gutter))
	} else {
		b.WriteString(t.paint("dim", stamp(t.mono)))
	}
	b.WriteString(strings.Repeat(" ", indent))
	if mark != "" {
		b.WriteString(t.paint(kind, mark) + " ")
	}
	b.WriteString(text)
	if right != "" {
		b.WriteString("  " + t.paint("dim", right))
	}
	fmt.Fprintln(t.w, b.String())
}

// below writes a line under another, without a time.
func (t *terminal) below(indent int, text string) {
	t.erase()
	fmt.Fprintf(t.w, "%s%s\n", strings.Repeat(" ", gutter+indent), text)
}

func (t *terminal) heading(name, title, detail string) {
	text := t.paint("head", name)
	if title != "" {
		text += "  " + t.paint("bold", oneLine(title))
	}
	t.erase()
	if detail != "" {
		detail = "  " + t.paint("dim", detail)
	}
	when := t.paint("dim", stamp(t.mono))
	if t.untimed {
		when = strings.Repeat(" ", gutter)
	}
	fmt.Fprintf(t.w, "%s%s%s\n", when, text, detail)
}

// shown replaces what a terminal would obey rather than show: what a script or a command says is no command to it.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return '\ufffd'
		}
		return r
	}, s)
}

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n < 2 {
		return ""
	}
	return string([]rune(s)[:n-1]) + "…"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (t *terminal) wait(text string, most time.Duration) {
	t.status, t.since, t.most = oneLine(text), time.Now(), most
}

// Event tells one event.
func (t *terminal) Event(e event.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mono, t.at = e.Mono, time.Now()
	if _, sample := e.Data.(event.Sample); !sample { // a sample's words are made by Short, which escapes
		e.Data = event.Rewrite(e.Data, shown)
	}
	switch d := e.Data.(type) {
	case event.RunStarted:
		t.erase()
		fmt.Fprintf(t.w, "%s\n", t.paint("dim", fmt.Sprintf("%s · run %s · seed %d", d.Script, d.Run, d.Seed)))
	case event.ExperimentStarted:
		t.erase()
		owner := ""
		if d.Owner != "" {
			owner = "  " + t.paint("dim", d.Owner)
		}
		fmt.Fprintf(t.w, "\n%s%s\n\n", t.paint("bold", oneLine(d.Title)), owner)
		t.hypothesis = d.Hypothesis
	case event.PhaseEntered:
		t.phase(d)
	case event.PhaseEnded:
		t.phaseEnded(d)
	case event.Heading:
		t.line(2+2*d.Depth, "▸", "head", d.Text, "")
	case event.StepStarted:
		t.steps[d.Step] = d
		t.wait(what(d), 0)
	case event.StepEnded:
		t.stepEnded(d)
	case event.Waiting:
		t.steps[d.Step] = event.StepStarted{Text: d.Text, Depth: d.Depth, Phase: d.Phase}
		t.line(2+2*d.Depth, "·", "dim", d.Text, "")
		t.wait(d.Text, time.Duration(d.Most))
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
		t.line(4, "│", "dim", d.Text, "")
	case event.Note:
		t.line(2, "!", "warn", d.Text, "")
	case event.FaultUndone:
		t.undone(d)
	case event.Sample:
		if d.Value != nil {
			t.latest[d.Probe] = d.Value.Short()
		}
	case event.CheckJudged:
		if d.Section == "hypothesis" {
			t.judged = append(t.judged, d)
		} else {
			t.check(d)
		}
	case event.ExperimentEnded:
		t.ended(d)
	case event.RunEnded:
		t.status = ""
		t.erase()
		if d.Skipped > 0 {
			fmt.Fprintf(t.w, "%s\n", t.paint("warn", plural(d.Skipped, "experiment")+" not started"))
		}
		fmt.Fprintf(t.w, "%s\n", t.paint("dim", fmt.Sprintf("exit %d · %s/journal.jsonl", d.Exit, d.Dir)))
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
	switch d.Phase {
	case event.Before:
		t.wait("watching the steady state", 0)
	case event.After:
		t.wait("waiting for the steady state", 0)
	case event.Settle:
		t.wait("an `eventually` is still false: waiting", 0)
	default:
		t.status = ""
	}
}

func (t *terminal) phaseEnded(d event.PhaseEnded) {
	t.status = ""
	switch {
	case d.OK:
		t.line(2, "✓", "good", "steady", took(d.Took))
	default:
		t.line(2, "✗", "bad", "not steady: "+d.Detail, clock(time.Duration(d.Took)))
	}
}

func (t *terminal) stepEnded(d event.StepEnded) {
	t.status = ""
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
	if s.For > 0 {
		t.wait("holding: "+what(s), time.Duration(s.For))
	}
}

// took is a duration that is worth a word.
func took(d event.Seconds) string {
	if time.Duration(d) < 100*time.Millisecond {
		return ""
	}
	return clock(time.Duration(d))
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

func (t *terminal) undone(d event.FaultUndone) {
	t.status = ""
	text := d.Text
	if d.Does != "" {
		text = d.Does
	}
	if d.Name != "" && !strings.Contains(text, d.Name) {
		text = d.Name + ": " + text
	}
	if d.Foreign {
		t.line(2, "!", "warn", "left alone, since somebody else changed it meanwhile: "+text, took(d.Took))
		return
	}
	if d.OK {
		t.line(2, "↶", "good", "undone: "+text, took(d.Took))
		return
	}
	t.line(2, "✗", "bad", "NOT UNDONE: "+text, clock(time.Duration(d.Took)))
	t.below(4, d.Error)
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
}

// evidence shows why a check did not hold: when, and the value of every operand, aligned.
func (t *terminal) evidence(d event.CheckJudged, indent int) {
	if d.Detail != "" && d.Section == "hypothesis" {
		text := d.Detail
		if d.Moment != nil && d.Kind != "expect" {
			text += fmt.Sprintf(", first %s after the injection", clock(time.Duration(*d.Moment)))
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
	t.status = ""
	t.erase()
	if len(t.judged) > 0 {
		fmt.Fprintln(t.w)
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
	fmt.Fprintf(t.w, "\n%s  %s\n", t.paint(kind, word), t.paint("dim", strings.Join(append(rest, clock(time.Duration(d.Took))), " · ")))
	if d.Reason != "" {
		fmt.Fprintf(t.w, "  %s\n", d.Reason)
	}
	for _, l := range d.Left {
		fmt.Fprintf(t.w, "  %s %s\n", t.paint("bad", l.Text+":"), l.Error)
		if l.Manual != "" {
			fmt.Fprintf(t.w, "    by hand: %s\n", t.paint("bold", l.Manual))
		}
	}
	fmt.Fprintln(t.w)
}
