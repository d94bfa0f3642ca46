package repl

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"chaos/cmd/chaos/live"
	"chaos/lang/value"
	"chaos/runtime"
	"chaos/runtime/event"
)

// view prints what happens, one line for each thing that matters; it reads the run's events.
type view struct {
	w      io.Writer
	colour bool
	width  int

	hide func(string) string // secrets

	mu     sync.Mutex
	steps  map[int]event.StepStarted
	failed bool // a step of the running input said why it failed
	logged bool // the latest step has said what it had to say
	drawn  bool // a line of bars stands on the last line
}

func (v *view) paint(kind, text string) string {
	codes := map[string]string{"dim": "2", "bold": "1", "good": "32", "bad": "1;31", "warn": "33", "act": "35", "head": "1;36"}
	if !v.colour || codes[kind] == "" || text == "" {
		return text
	}
	return "\x1b[" + codes[kind] + "m" + text + "\x1b[0m"
}

// say prints a line. What comes from outside loses what could move the cursor.
func (v *view) say(kind, mark, text string) {
	lines := strings.Split(strings.TrimRight(v.hide(text), "\n"), "\n")
	var b strings.Builder
	v.mu.Lock()
	if v.drawn {
		b.WriteString("\r\x1b[K")
		v.drawn = false
	}
	v.mu.Unlock()
	for i, l := range lines {
		lead := v.paint(kind, mark)
		if i > 0 {
			lead = strings.Repeat(" ", utf8.RuneCountInString(mark))
		}
		l = printable(l)
		if kind == "dim" {
			l = v.paint("dim", l)
		}
		b.WriteString(lead + l + "\n")
	}
	io.WriteString(v.w, b.String())
}

func (v *view) note(text string) { v.say("warn", "! ", text) }

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

func (v *view) begin() { v.mu.Lock(); v.failed = false; v.mu.Unlock() }

// end tells whether a failure was printed already.
func (v *view) end() bool { v.mu.Lock(); defer v.mu.Unlock(); return v.failed }

// Event prints one event.
func (v *view) Event(e event.Event) {
	switch d := e.Data.(type) {
	case event.StepStarted:
		v.mu.Lock()
		v.steps[d.Step], v.logged = d, false
		v.mu.Unlock()
	case event.StepEnded:
		v.stepEnded(d)
	case event.Waiting:
		v.say("dim", "· ", d.Text)
	case event.Heading:
		v.say("head", "▸ ", d.Text)
	case event.FaultUndone:
		what := d.Text
		if d.Does != "" {
			what = d.Does
		}
		if d.OK {
			v.say("good", "↶ ", "undone: "+what)
		} else {
			v.say("bad", "✗ ", "NOT UNDONE: "+what+"\n"+d.Error)
		}
	case event.Turned:
		if d.To == "false" {
			v.say("warn", "▼ ", joined(d.Text, "false: "+operands(d.Operands)))
		} else {
			v.say("good", "▲ ", joined(d.Text, "true again"))
		}
	case event.GuardTripped:
		why := operands(d.Operands)
		if d.NoData != "" {
			why = "no data counts as true: " + d.NoData
		}
		v.say("bad", "■ ", joined("guard tripped: "+d.Text, why, d.Because))
	case event.Abort:
		if d.By != "guard" {
			v.say("bad", "■ ", d.Text+": undoing everything")
		}
	case event.Log:
		v.mu.Lock()
		v.logged = true
		v.mu.Unlock()
		v.say("dim", "│ ", d.Text)
	case event.Note:
		v.note(d.Text)
	case event.CheckJudged:
		v.judged(d)
	case event.PhaseEntered:
		switch d.Phase {
		case event.Settle, event.After:
			v.say("dim", "· ", joined(string(d.Phase), d.Detail))
		}
	case event.PhaseEnded:
		if d.OK {
			v.say("good", "✓ ", "steady")
		} else {
			v.say("bad", "✗ ", "not steady: "+d.Detail)
		}
	case event.ExperimentEnded:
		v.ended(d)
	}
}

func (v *view) stepEnded(d event.StepEnded) {
	v.mu.Lock()
	s := v.steps[d.Step]
	delete(v.steps, d.Step)
	v.failed = v.failed || d.Status == "failed"
	logged := v.logged && s.Lifetime == "" && d.Status == "done"
	v.mu.Unlock()
	if logged {
		return
	}
	what := s.Does
	if what == "" {
		what = s.Text
	}
	note := d.Note
	if strings.Contains(s.Does, d.Note) {
		note = ""
	}
	switch {
	case d.Status == "failed":
		v.say("bad", "✗ ", strings.TrimLeft(what+"\n"+d.Error, "\n"))
	case d.Status == "cancelled":
		if what != "" {
			v.say("warn", "■ ", joined(what, "cancelled"))
		}
	case d.Effect == "no":
		v.say("bad", "✗ ", joined(what, "no effect: "+d.Detail))
	case what != "" && s.Lifetime != "" && s.Phase == event.During:
		v.say("act", "⚡ ", joined(what, note))
	case what != "":
		v.say("good", "✓ ", joined(what, note))
	}
}

func operands(list []event.Operand) string {
	parts := make([]string, len(list))
	for i, o := range list {
		parts[i] = o.Text + " = " + o.Value
	}
	return strings.Join(parts, ", ")
}

func (v *view) judged(d event.CheckJudged) {
	if d.Result == "held" {
		if d.Section == "hypothesis" || d.Section == "setup" {
			detail := d.Detail
			if d.Section == "setup" {
				detail = ""
			}
			v.say("good", "✓ ", joined(d.Text, detail))
		}
		return
	}
	mark, kind := "✗ ", "bad"
	if d.Result != "refuted" {
		mark, kind = "? ", "warn"
	}
	text := d.Text
	if d.Section == "hypothesis" {
		text = joined(d.Text, d.Detail)
	}
	longest := 0
	for _, o := range d.Operands {
		longest = max(longest, utf8.RuneCountInString(o.Text))
	}
	for _, o := range d.Operands {
		text += fmt.Sprintf("\n  %-*s = %s", longest, o.Text, o.Value)
	}
	if d.Because != "" {
		text += "\n  because " + d.Because
	}
	v.say(kind, mark, text)
}

func (v *view) ended(d event.ExperimentEnded) {
	if d.Verdict == event.NotJudged && d.Outcome == event.Completed && len(d.Left) == 0 {
		return
	}
	word, kind := strings.ToUpper(string(d.Verdict)), "good"
	switch {
	case d.Restoration == event.Incomplete:
		word, kind = "NOT RESTORED", "bad"
	case d.Outcome != event.Completed:
		word, kind = strings.ToUpper(string(d.Outcome)), "bad"
	case d.Verdict == event.Refuted:
		kind = "bad"
	case d.Verdict == event.Inconclusive:
		kind = "warn"
	}
	var rest []string
	for _, w := range []string{string(d.Verdict), string(d.Restoration), d.Reason} {
		if w != "" && !strings.EqualFold(w, word) {
			rest = append(rest, w)
		}
	}
	io.WriteString(v.w, v.paint(kind, word)+"  "+v.paint("dim", printable(strings.Join(rest, " · ")))+"\n")
}

func (v *view) left(list []event.Left) {
	for _, l := range list {
		v.say("bad", "✗ ", "left: "+l.Text+": "+l.Error)
		if l.Manual != "" {
			v.say("", "  ", "by hand: "+l.Manual)
		}
	}
}

// value prints a struct as a table, and anything else on a line.
func (v *view) value(x value.Value) {
	if x.IsMissing() {
		v.say("warn", "", "no data: "+x.Why())
		return
	}
	m, ok := x.V.(map[string]value.Value)
	if !ok || x.T.Kind != value.Struct || len(x.T.Fields) == 0 {
		v.say("", "", x.String())
		return
	}
	longest, widest := 0, 0
	var rows [][3]string
	for _, f := range x.T.Fields {
		cell, there := m[f.Name]
		text := "–"
		if there && !cell.IsMissing() {
			text = v.hide(cell.Short())
		} else if there {
			text = "– " + cell.Why()
		}
		rows = append(rows, [3]string{f.Name, printable(strings.Join(strings.Fields(text), " ")), f.Help})
		longest, widest = max(longest, utf8.RuneCountInString(f.Name)), max(widest, min(utf8.RuneCountInString(text), 30))
	}
	var b strings.Builder
	for _, r := range rows {
		line := "  " + v.paint("bold", r[0]) + strings.Repeat(" ", longest-utf8.RuneCountInString(r[0])+2)
		room := v.width - longest - 4
		cell := cut(r[1], room)
		line += cell
		if help := room - max(utf8.RuneCountInString(cell), widest) - 2; help >= utf8.RuneCountInString(r[2]) && r[2] != "" {
			line += strings.Repeat(" ", max(widest-utf8.RuneCountInString(cell), 0)+2) + v.paint("dim", r[2])
		}
		b.WriteString(line + "\n")
	}
	io.WriteString(v.w, b.String())
}

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n || n < 1 {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// faultLine is a fault in the list.
func faultLine(f runtime.Fault) string {
	what := f.Does
	if what == "" {
		what = f.Text
	}
	left := clock(f.Left) + " left"
	if f.Setup {
		left = "until the session ends"
	}
	return fmt.Sprintf("%d  %s", f.Number, joined(what, f.Lifetime, left))
}

// clock is a time at a glance.
func clock(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// spark is a line of bars that grows with the samples.
type spark struct {
	view *view
	name string
	seen []float64
	last value.Value
	text string
}

// add draws one more value: numbers as bars, yes and no as full and empty, no data as a gap.
func (s *spark) add(v value.Value) {
	s.last = v
	n := math.NaN()
	switch {
	case v.IsMissing():
	case v.T.Kind == value.Bool && v.Bool():
		n = 1
	case v.T.Numeric():
		n = v.Float()
	case v.T.Kind == value.Struct:
		n = first(v)
	case v.T.Kind == value.Bool:
		n = 0
	}
	s.seen = append(s.seen, n)
	room := max(s.view.width-utf8.RuneCountInString(s.name)-40, 10)
	if len(s.seen) > room {
		s.seen = s.seen[len(s.seen)-room:]
	}
	s.draw()
}

// first is the first number of a sample, or whether its first field is true: something to look at.
func first(v value.Value) float64 {
	for _, f := range v.T.Fields {
		if c := v.Get(f.Name); f.Type.Unit() && !c.IsMissing() {
			return c.Float()
		}
	}
	for _, f := range v.T.Fields {
		switch c := v.Get(f.Name); {
		case c.IsMissing():
		case f.Type.Numeric():
			return c.Float()
		case f.Type.Kind == value.Bool && c.Bool():
			return 1
		}
	}
	return 0
}

func (s *spark) draw() {
	now := s.view.hide(s.last.Short())
	if s.last.IsMissing() {
		now = "no data: " + s.last.Why()
	}
	s.text = s.name + "  " + s.view.paint("act", live.Spark(s.seen)) + "  " + cut(printable(now), 36)
	s.view.mu.Lock()
	s.view.drawn = true
	s.view.mu.Unlock()
	fmt.Fprintf(s.view.w, "\r\x1b[K%s", s.text)
}

func (s *spark) end() {
	s.view.mu.Lock()
	drawn := s.view.drawn
	s.view.drawn = false
	s.view.mu.Unlock()
	if drawn {
		fmt.Fprintln(s.view.w)
	}
}
