// Package vt is as much of a terminal as tests need to see what a human would: a screen with its scrollback, that wraps,
// scrolls, and folds its lines anew when it is resized, as VTE, kitty, tmux and others do.
package vt

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"chaos/cmd/chaos/live"
)

// Terminal takes in what a program writes. It knows the sequences that ours use; anything else is listed by Unknown.
type Terminal struct {
	width, height int
	rows          []row // the scrollback and the screen
	top           int   // the first row of the screen
	x, y          int   // y counts all rows
	rest          string
	wraps         int
	unknown       []string
}

type row struct {
	cells   []cell
	wrapped bool // it goes on in the next row
}

type cell struct {
	r rune // 0: the second half of a wide one
}

// New is an empty terminal.
func New(width, height int) *Terminal {
	return &Terminal{width: width, height: height, rows: make([]row, 1)}
}

// Write takes in some output; a sequence may be cut anywhere.
func (t *Terminal) Write(p []byte) (int, error) {
	text := t.rest + string(p)
	t.rest = ""
	for text != "" {
		if text[0] == '\x1b' {
			n := sequence(text)
			if n == 0 {
				t.rest = text
				break
			}
			t.escape(text[:n])
			text = text[n:]
			continue
		}
		if !utf8.FullRuneInString(text) {
			t.rest = text
			break
		}
		r, n := utf8.DecodeRuneInString(text)
		t.put(r)
		text = text[n:]
	}
	return len(p), nil
}

// sequence is the length of the control sequence that a text begins with, 0 when it is cut; see ECMA-48, 5.4.
func sequence(text string) int {
	if len(text) < 2 {
		return 0
	}
	if text[1] != '[' {
		return 2
	}
	for i := 2; i < len(text); i++ {
		if text[i] >= 0x40 && text[i] <= 0x7e {
			return i + 1
		}
	}
	return 0
}

func (t *Terminal) escape(seq string) {
	number := func(otherwise int) int {
		n, err := strconv.Atoi(seq[2 : len(seq)-1])
		if err != nil {
			return otherwise
		}
		return n
	}
	switch last := seq[len(seq)-1]; {
	case last == 'm':
	case seq == "\x1b[?2026h", seq == "\x1b[?2026l":
	case last == 'A':
		t.y, t.x = max(t.y-number(1), t.top), min(t.x, t.width-1)
	case seq == "\x1b[K":
		t.clear()
	case seq == "\x1b[J":
		t.clear()
		t.rows = t.rows[:t.y+1]
	default:
		t.unknown = append(t.unknown, seq)
	}
}

// clear empties a row from the cursor on.
func (t *Terminal) clear() {
	row := &t.rows[t.y]
	row.cells, row.wrapped = row.cells[:min(t.x, len(row.cells))], false
}

func (t *Terminal) put(r rune) {
	switch r {
	case '\r':
		t.x = 0
		return
	case '\n': // the tty has put a \r before it
		t.down()
		return
	}
	if r < ' ' {
		t.unknown = append(t.unknown, strconv.QuoteRune(r))
		return
	}
	n := live.Width(string(r))
	if t.x+n > t.width {
		t.rows[t.y].wrapped = true
		t.wraps++
		t.x = 0
		t.down()
	}
	row := &t.rows[t.y]
	for len(row.cells) < t.x+n {
		row.cells = append(row.cells, cell{' '})
	}
	if n > 0 {
		row.cells[t.x] = cell{r}
	}
	if n == 2 {
		row.cells[t.x+1] = cell{}
	}
	t.x += n
}

func (t *Terminal) down() {
	if t.y++; t.y == len(t.rows) {
		t.rows = append(t.rows, row{})
	}
	t.top = max(t.top, t.y-t.height+1)
}

// Resize gives it another size: lines that were wrapped are joined, those that are too long are wrapped.
func (t *Terminal) Resize(width, height int) {
	var rows []row
	at := 0 // the cursor's row
	for i := 0; i < len(t.rows); {
		var line []cell
		begin := len(rows)
		for {
			if i == t.y {
				at = begin + (len(line)+t.x)/width
				t.x = (len(line) + t.x) % width
			}
			line = append(line, t.rows[i].cells...)
			i++
			if !t.rows[i-1].wrapped || i == len(t.rows) {
				break
			}
		}
		for len(line) > width {
			n := width
			if line[n].r == 0 { // do not part a wide letter
				n--
			}
			rows = append(rows, row{cells: line[:n:n], wrapped: true})
			line = line[n:]
		}
		rows = append(rows, row{cells: line})
	}
	for len(rows) <= at {
		rows = append(rows, row{})
	}
	t.rows, t.y, t.width, t.height = rows, at, width, height
	t.top = max(0, at-height+1)
}

func (r row) text() string {
	var b strings.Builder
	for _, c := range r.cells {
		if c.r != 0 {
			b.WriteRune(c.r)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// Text is all that can be scrolled to, one line a row, without empty ones at the end.
func (t *Terminal) Text() string { return t.from(0) }

// Screen is what is seen.
func (t *Terminal) Screen() string { return t.from(t.top) }

func (t *Terminal) from(first int) string {
	var lines []string
	for _, r := range t.rows[first:] {
		lines = append(lines, r.text())
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// Fresh tells that the cursor stands at the start of an empty line below everything: where a prompt belongs.
func (t *Terminal) Fresh() bool {
	for _, r := range t.rows[t.y:] {
		if r.text() != "" {
			return false
		}
	}
	return t.x == 0
}

// Wraps is how often a line went beyond the edge.
func (t *Terminal) Wraps() int { return t.wraps }

// Unknown lists what it was told and does not know.
func (t *Terminal) Unknown() []string { return t.unknown }
