package live

import (
	"fmt"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// Size is that of a terminal, in cells.
type Size struct{ Width, Height int }

// Below these a terminal gets one line instead of the board.
const (
	leastWidth  = 60
	leastHeight = 10
	mostWidth   = 120 // beyond, the eye loses the line
	margin      = 11  // of the labels: the text stands where that of the log's steps does
)

// Paint colours a text: dim, bold, good, bad, warn, act, head, bar, no.
type Paint func(kind, text string) string

// Plain leaves texts as they are.
func Plain(_, text string) string { return text }

// Render draws the model as lines that fit. Their last cell stays free: a terminal that is written full wraps.
func Render(m *Model, now time.Duration, size Size, paint Paint) []string {
	if !m.Active() {
		return nil
	}
	r := &renderer{m: m, now: now, width: min(size.Width, mostWidth) - 1, paint: paint}
	if size.Width < leastWidth || size.Height < leastHeight {
		return []string{r.status(size.Width - 1)}
	}
	r.rule()
	r.header()
	most := size.Height - 3
	steps, faults := r.steps(), r.faultRows()
	rest := most - len(r.lines)
	room := share(rest, len(steps), len(faults))
	steps, faults = cutRows(steps, room[0]), cutRows(faults, room[1])
	checks, guards := r.checkRows()
	values := r.valueRows()
	room = share(rest-len(steps)-len(faults), len(values), len(checks), len(guards))
	r.section("steps", steps)
	r.section("faults", faults)
	r.section("probes", cutRows(values, room[0]))
	r.section(r.checksLabel(), cutRows(checks, room[1]))
	r.section("guards", cutRows(guards, room[2]))
	return r.lines
}

// row is a line below a label. Of those that matter more fewer are dropped when there is no room.
type row struct {
	text    string
	matters bool
}

type renderer struct {
	m     *Model
	now   time.Duration
	width int
	paint Paint
	lines []string
}

func (r *renderer) section(label string, rows []row) {
	for i, row := range rows {
		lead := strings.Repeat(" ", margin)
		if i == 0 {
			lead = r.paint("dim", padLeft(label, margin-2)) + "  "
		}
		r.lines = append(r.lines, lead+row.text)
	}
}

// share divides lines among sections: each gets what it needs as long as it lasts, then the longest give way.
func share(lines int, needs ...int) []int {
	sum := 0
	for _, n := range needs {
		sum += n
	}
	for ; sum > max(lines, 0); sum-- {
		longest := 0
		for i, n := range needs {
			if n > needs[longest] {
				longest = i
			}
		}
		needs[longest]--
	}
	return needs
}

// cutRows keeps n rows, in their order; the last one says how many are missing.
func cutRows(rows []row, n int) []row {
	if len(rows) <= n {
		return rows
	}
	if n < 1 {
		return nil
	}
	keep, left := make([]bool, len(rows)), n-1
	for _, matters := range []bool{true, false} {
		for i, row := range rows {
			if row.matters == matters && left > 0 {
				keep[i] = true
				left--
			}
		}
	}
	var out []row
	for i, row := range rows {
		if keep[i] {
			out = append(out, row)
		}
	}
	return append(out, row{text: fmt.Sprintf("+%d more", len(rows)-n+1)})
}

func (r *renderer) room() int { return r.width - margin }

// rule parts the board from the log, and says what runs.
func (r *renderer) rule() {
	right := ""
	if r.m.deadline > 0 {
		right = " deadline in " + Clock(max(r.m.began+r.m.deadline-r.now, 0).Truncate(time.Second)) + " ──"
	}
	left := "── " + Cut(r.m.title, r.width-Width(right)-8) + " "
	r.lines = append(r.lines, r.paint("dim", left+strings.Repeat("─", max(r.width-Width(left)-Width(right), 0))+right))
}

// header is the phase: what it is about, how far it is.
func (r *renderer) header() {
	m := r.m
	name, kind, about := label(m.phase), "head", m.about
	spent := r.now - m.entered
	most, done := m.most[m.phase], 0.0
	if most > 0 {
		done = spent.Seconds() / most.Seconds()
	}
	times := Clock(spent)
	if most > 0 && spent <= most {
		times += " of " + Total(most)
	}
	switch undoing := m.phase == event.Undo || m.phase == event.UndoSetup; {
	case undoing && m.toUndo > 0:
		times, done = fmt.Sprintf("%d of %d undone", m.undone, m.toUndo), float64(m.undone)/float64(m.toUndo)
		if m.abort != "" {
			kind, about = "bad", join(m.abort, about)
		}
	case m.abort != "" && m.phase == event.During:
		kind, about = "bad", "aborting: "+m.abort
	}
	bar := 12
	switch {
	case r.width < 80:
		bar = 8
	case r.width >= 99:
		bar = 24
	}
	right := padLeft(times, 14)
	rightWidth := Width(right) + bar + 2
	text := pad(about, r.room()-rightWidth-2)
	r.lines = append(r.lines, r.paint(kind, padLeft(name, margin-2))+"  "+r.paint("bold", text)+"  "+r.bar(done, bar)+"  "+right)
}

func (r *renderer) bar(done float64, width int) string {
	n := int(min(max(done, 0), 1)*float64(width) + 0.5)
	return r.paint("good", strings.Repeat("━", n)) + r.paint("dim", strings.Repeat("─", width-n))
}

func label(p event.Phase) string {
	switch p {
	case event.During:
		return "inject"
	case event.UndoSetup:
		return "undo"
	}
	return string(p)
}

// line is a mark, a text and what stands at the right edge.
func (r *renderer) line(mark, kind, text, right string) string {
	lead := ""
	room := r.room()
	if mark != "" {
		lead = r.paint(kind, mark) + " "
		room -= Width(mark) + 1
	}
	right = Cut(right, room/2)
	return lead + pad(text, room-Width(right)-2) + "  " + r.paint("dim", right)
}

func (r *renderer) steps() []row {
	var out []row
	for _, a := range r.m.present(r.now) {
		spent := r.now - a.since
		right, mark, kind := Clock(spent), "·", "dim"
		if a.most > 0 {
			right = Clock(max(a.most-spent, 0)) + " left"
		}
		if a.acts {
			mark, kind = spinner(spent), "head"
		}
		out = append(out, row{text: r.line(mark, kind, a.text, right)})
	}
	return r.fill(out, r.m.mostRunning)
}

func (r *renderer) faultRows() []row {
	var out []row
	for _, f := range r.m.faults {
		spent := max(r.now-f.since, 0)
		right := Clock(spent)
		if f.lasts > 0 {
			right = Clock(max(f.lasts-spent, 0)) + " left"
		}
		mark, kind := "⚡", "act"
		if f.stuck {
			mark, kind, right = "✗", "bad", "NOT UNDONE"
		}
		out = append(out, row{text: r.line(mark, kind, f.text, f.lifetime+"  "+padLeft(right, 10)), matters: f.stuck})
	}
	return r.fill(out, r.m.mostFaults)
}

// fill keeps the height of a section for as long as a phase lasts.
func (r *renderer) fill(rows []row, n int) []row {
	none := r.paint("dim", "–")
	for len(rows) < n {
		if len(rows) > 0 {
			none = ""
		}
		rows = append(rows, row{text: none})
	}
	return rows
}

// status is all in one line.
func (r *renderer) status(width int) string {
	m := r.m
	text := label(m.phase)
	spent := r.now - m.entered
	right := Clock(spent)
	if m.abort != "" {
		text = "aborting"
	}
	if running := m.present(r.now); len(running) > 0 {
		a := running[len(running)-1]
		text, right = text+" · "+a.text, Clock(r.now-a.since)
		if a.most > 0 {
			right = Clock(max(a.most-(r.now-a.since), 0)) + " left"
		}
	}
	return Cut(spinner(spent)+" "+Cut(text, width-Width(right)-4)+"  "+right, width)
}

func spinner(d time.Duration) string {
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	return string(frames[int(max(d, 0)/(100*time.Millisecond))%len(frames)])
}

// Clock is a time that runs.
func Clock(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}

// Total is a time that stands.
func Total(d time.Duration) string { return value.DurationOf(d.Round(100 * time.Millisecond)).Short() }

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " · ")
}
