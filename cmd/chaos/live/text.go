// Package live draws what a run is doing on a terminal: a board of a few lines that stays below the lines of the log. The
// model reads events, the renderer turns it into lines, the screen writes them; only the screen knows a terminal.
package live

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Width is how many cells a text takes on a terminal. See https://www.unicode.org/reports/tr11: what is ambiguous is narrow.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += cells(r)
	}
	return n
}

func cells(r rune) int {
	if r < 0x300 { // before the first that combines
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut shortens a text to a number of cells, with … at its end.
func Cut(s string, room int) string {
	if Width(s) <= room {
		return s
	}
	if room < 1 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n+cells(r) > room-1 {
			return s[:i] + "…"
		}
		n += cells(r)
	}
	return s
}

// pad fills a text up with spaces on its right; what is longer is cut.
func pad(s string, room int) string {
	s = Cut(s, room)
	return s + strings.Repeat(" ", max(room-Width(s), 0))
}

// padLeft is pad on the other side.
func padLeft(s string, room int) string {
	s = Cut(s, room)
	return strings.Repeat(" ", max(room-Width(s), 0)) + s
}

// Fold breaks a text between words, and a word that is longer than a line where the line ends.
func Fold(text string, room int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && Width(line)+1+Width(word) > room {
			out, line = append(out, line), ""
		}
		if line != "" {
			line += " "
		}
		for Width(word) > room {
			n := fitting(word, room)
			out, word = append(out, word[:n]), word[n:]
		}
		line += word
	}
	return append(out, line)
}

// fitting is how many bytes of a word go into a room, at least one letter.
func fitting(word string, room int) int {
	n := 0
	for i, r := range word {
		if n += cells(r); n > room && i > 0 {
			return i
		}
	}
	return len(word)
}

// Shown replaces what a terminal would obey rather than show: what a script or a command says is no command to it.
func Shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return '\ufffd'
		}
		return r
	}, s)
}
