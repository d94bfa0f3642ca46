package diag

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// shown is how many diagnostics are written as text.
const shown = 100

// Style colours a piece of text; the zero Style leaves it alone.
type Style func(kind, text string) string

// ANSI is the Style for terminals.
func ANSI(kind, text string) string {
	codes := map[string]string{"error": "1;31", "warning": "1;33", "note": "1;36", "hint": "36", "gutter": "2", "bold": "1"}
	if c, ok := codes[kind]; ok {
		return "\x1b[" + c + "m" + text + "\x1b[0m"
	}
	return text
}

// Render writes each diagnostic with the line it is about and a caret below. lookup may return nil.
//
//	error[E204]: `status_code` is no field of `http.get`
//	  --> game-day.chaos:24:17
//	   |
//	24 |     expect home.status_code == 200
//	   |                 ^^^^^^^^^^^ did you mean `status`?
//
// Of a long list it writes the first, and how many follow.
func Render(w io.Writer, list List, lookup func(file string) *Source, style Style) {
	if style == nil {
		style = func(_, text string) string { return text }
	}
	for i, d := range list {
		if i == shown {
			fmt.Fprintf(w, "\n… and %d more\n", len(list)-shown)
			return
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s%s %s\n", style(string(d.Severity), fmt.Sprintf("%s[%s]", d.Severity, d.Code.title())), style("bold", ":"), style("bold", printable(d.Message)))
		excerpt(w, d.Span, d.Hint, string(d.Severity), lookup, style)
		for _, n := range d.Notes {
			fmt.Fprintf(w, "%s %s\n", style("note", "note:"), printable(n.Message))
			excerpt(w, n.Span, "", "note", lookup, style)
		}
	}
}

// title is a code with the name by which it is silenced.
func (c Code) title() string { return strings.TrimSpace(string(c) + " " + c.Lint()) }

// printable replaces what a terminal would obey rather than show. The number of characters stays.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069') {
			return '\ufffd'
		}
		return r
	}, s)
}

// wide are the blocks of characters that take two cells of a terminal.
var wide = [][2]rune{{0x1100, 0x115f}, {0x2e80, 0xa4cf}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1faff}, {0x20000, 0x3fffd}}

// cells is how much room a character takes.
func cells(r rune) int {
	if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) || r == '\u200d' {
		return 0
	}
	for _, w := range wide {
		if r >= w[0] && r <= w[1] {
			return 2
		}
	}
	return 1
}

const maxExcerpt = 120

func excerpt(w io.Writer, at Span, hint, kind string, lookup func(string) *Source, style Style) {
	width, hint := len(fmt.Sprint(at.Start.Line)), printable(hint)
	pad := strings.Repeat(" ", width)
	fmt.Fprintf(w, "%s%s %s\n", pad, style("gutter", "-->"), at)
	var src *Source
	if lookup != nil {
		src = lookup(at.File)
	}
	if src == nil || at.Start.Line < 1 {
		if hint != "" {
			fmt.Fprintf(w, "%s %s %s\n", pad, style("gutter", "="), style("hint", hint))
		}
		return
	}
	line := printable(src.Line(at.Start.Line))
	col := at.Start.Col
	length := 1
	if at.End.Line == at.Start.Line {
		length = max(at.End.Col-at.Start.Col, 1)
	} else {
		length = max(utf8.RuneCountInString(line)-col+1, 1)
	}
	if utf8.RuneCountInString(line) > maxExcerpt { // a minified or machine-made line: show what is around the place
		runes := []rune(line)
		from := min(max(col-1-40, 0), len(runes))
		to := min(from+maxExcerpt, len(runes))
		line, col = "…"+string(runes[from:to])+"…", col-from+1
		length = min(length, max(to-from-(col-2), 1))
	}
	// Tabs keep their width below the line only when the same tabs stand there too.
	var lead strings.Builder
	for i, r := range []rune(line) {
		if i >= col-1 {
			break
		}
		if r == '\t' {
			lead.WriteRune('\t')
		} else {
			lead.WriteString(strings.Repeat(" ", cells(r)))
		}
	}
	marks := 0
	for i, r := range []rune(line) {
		if i >= col-1 && i < col-1+length {
			marks += cells(r)
		}
	}
	marks = max(marks, min(length, 1))
	fmt.Fprintf(w, "%s %s\n", pad, style("gutter", "|"))
	fmt.Fprintf(w, "%d %s %s\n", at.Start.Line, style("gutter", "|"), line)
	fmt.Fprintf(w, "%s %s %s%s", pad, style("gutter", "|"), lead.String(), style(kind, strings.Repeat("^", marks)))
	if hint != "" {
		fmt.Fprintf(w, " %s", style("hint", hint))
	}
	fmt.Fprintln(w)
}
