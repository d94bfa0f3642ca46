package repl

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
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
	w       io.Writer
	colour  bool
	columns func() int

	hide func(string) string // secrets

	mu     sync.Mutex
	steps  map[int]event.StepStarted
	failed bool // a step of the running input said why it failed
	logged bool // the latest step has said what it had to say
	drawn  bool // a line of bars stands on the last line
}

// width is what a line may take: on a wide terminal less, for the eyes.
func (v *view) width() int { return max(min(v.columns(), 110), 40) }

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
		switch {
		case d.Phase == event.Settle || d.Phase == event.After:
			v.say("dim", "· ", joined(string(d.Phase), d.Detail))
		case d.Phase == event.Before && d.Detail != "":
			v.say("dim", "· ", joined("steady", d.Detail))
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
		text := x.String()
		if x.T.Unit() { // nobody reads nine digits of a second
			text = x.Short()
		}
		v.say("", "", text)
		return
	}
	longest, widest := 0, 0
	var rows [][3]string
	below := map[string]string{} // the tables of fields that are lists of structs
	for _, f := range x.T.Fields {
		cell, there := m[f.Name]
		text := "–"
		switch {
		case there && !cell.IsMissing() && f.Type.Kind == value.List && f.Type.ElemType().Kind == value.Struct:
			if text = "none"; len(cell.Items()) > 0 {
				text, below[f.Name] = "", v.rows(f.Type.Elem, cell.Items())
			}
		case there && !cell.IsMissing():
			text = v.hide(cell.Short())
		case there:
			text = "– " + cell.Why()
		}
		rows = append(rows, [3]string{f.Name, printable(strings.Join(strings.Fields(text), " ")), f.Help})
		longest, widest = max(longest, utf8.RuneCountInString(f.Name)), max(widest, min(utf8.RuneCountInString(text), 30))
	}
	var b strings.Builder
	for _, r := range rows {
		line := "  " + v.paint("bold", r[0]) + strings.Repeat(" ", longest-utf8.RuneCountInString(r[0])+2)
		room := v.width() - longest - 4
		cell := cut(r[1], room)
		line += cell
		const least = 30 // with less room a help says nothing
		if help := room - max(utf8.RuneCountInString(cell), widest) - 2; r[2] != "" && help >= min(least, utf8.RuneCountInString(r[2])) {
			line += strings.Repeat(" ", max(widest-utf8.RuneCountInString(cell), 0)+2) + v.paint("dim", cut(r[2], help))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n" + below[r[0]])
	}
	io.WriteString(v.w, b.String())
}

// rows prints structs of one type below each other. The first column may be cut, and is as wide as there is room.
func (v *view) rows(t *value.Type, items []value.Value) string {
	lines := [][]string{t.FieldNames()}
	for _, item := range items {
		var line []string
		for _, name := range t.FieldNames() {
			text := "–"
			switch cell := item.Get(name); {
			case cell.IsMissing():
			case cell.T.Kind == value.String:
				text = cell.Text()
			default:
				text = cell.Short()
			}
			line = append(line, printable(strings.Join(strings.Fields(v.hide(text)), " ")))
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(t.Fields))
	room := v.width() - 4
	for i := range widths {
		for _, line := range lines {
			widths[i] = max(widths[i], utf8.RuneCountInString(line[i]))
		}
		if i > 0 {
			room -= widths[i] + 2
		}
	}
	widths[0] = min(widths[0], max(room, 20))
	var b strings.Builder
	for n, line := range lines {
		text := "    "
		for i, cell := range line {
			cell = cut(cell, widths[i])
			text += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		text = strings.TrimRight(text, " ")
		if n == 0 {
			text = v.paint("dim", text)
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n || n < 1 {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// faults lists what is in place as a table.
func (v *view) faults(list []runtime.Fault) {
	rows := [][]string{{"", "fault", "lifetime", "age", "left"}}
	for _, f := range list {
		what, left := aboutFault(f)
		rows = append(rows, []string{strconv.Itoa(f.Number), what, f.Lifetime, clock(f.Age), strings.TrimSuffix(left, " left")})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	others := 2
	for _, w := range widths {
		others += w + 2
	}
	widths[1] = min(widths[1], max(v.width()-others+widths[1], 20))
	for n, row := range rows {
		line := ""
		for i, cell := range row {
			cell = cut(printable(v.hide(cell)), widths[i])
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		v.say([]string{"dim", ""}[min(n, 1)], "  ", strings.TrimRight(line, " "))
	}
}

// faultLine is a fault on a line of its own.
func faultLine(f runtime.Fault) string {
	what, left := aboutFault(f)
	return fmt.Sprintf("%d  %s", f.Number, joined(what, f.Lifetime, left))
}

// aboutFault says what a fault does, and when it ends by itself.
func aboutFault(f runtime.Fault) (what, left string) {
	if what = f.Does; what == "" {
		what = f.Text
	}
	if left = clock(f.Left) + " left"; f.Setup {
		left = "until the session ends"
	}
	return what, left
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
	view  *view
	name  string
	field string    // of a struct
	seen  []float64 // NaN for no data
	last  value.Value
}

// add draws one more value: numbers as bars, yes and no as full and empty, no data as a gap. Of a struct it is one field.
func (s *spark) add(v value.Value) {
	if v.T != nil && v.T.Kind == value.Struct && !v.IsMissing() {
		if s.field = telling(v.T); s.field != "" {
			why := v.Get("error").Text() // of many probes: why the rest is not there
			if v = v.Get(s.field); v.IsMissing() && why != "" {
				v = value.NoData("%s", why)
			}
		}
	}
	n := math.NaN()
	switch {
	case v.IsMissing():
	case v.T.Kind == value.Bool && v.Bool():
		n = 1
	case v.T.Numeric():
		n = v.Float()
	case v.T.Kind == value.Bool:
		n = 0
	}
	s.last, s.seen = v, append(s.seen, n)
	s.seen = s.seen[max(len(s.seen)-200, 0):] // more than any line holds
	s.draw()
}

// telling is the field of a struct to look at: the first with a unit, else the first number, else the first yes or no.
func telling(t *value.Type) string {
	for _, is := range []func(*value.Type) bool{
		(*value.Type).Unit, (*value.Type).Numeric, func(t *value.Type) bool { return t.Kind == value.Bool },
	} {
		if i := slices.IndexFunc(t.Fields, func(f value.Field) bool { return is(f.Type) }); i >= 0 {
			return t.Fields[i].Name
		}
	}
	return ""
}

// draw writes the line anew: what is watched, as many bars as fit, the latest value, and what the highest bar is.
func (s *spark) draw() {
	now := s.view.hide(s.last.Short())
	if s.last.IsMissing() {
		now = "no data: " + s.last.Why()
	}
	width := s.view.width()
	var name string
	name, now = printable(s.name), cut(printable(now), width/3)
	if s.field == "" {
		name = cut(name, width*2/5)
	} else {
		name = cut(name, width*2/5-len(s.field)-1) + "." + s.field
	}
	room := max(width-utf8.RuneCountInString(name)-utf8.RuneCountInString(now)-20, 8)
	seen := s.seen[max(len(s.seen)-room, 0):]
	high := 0.0
	for _, n := range seen {
		if n > high { // NaN is not
			high = n
		}
	}
	most := ""
	if s.last.T != nil && s.last.T.Numeric() && high > 0 {
		most = "  max " + value.Value{T: s.last.T, V: high}.Short()
	}
	s.view.mu.Lock()
	s.view.drawn = true
	s.view.mu.Unlock()
	fmt.Fprintf(s.view.w, "\r\x1b[K%s  %s  %s%s", name, s.view.paint("act", live.Spark(seen)), now, s.view.paint("dim", most))
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
