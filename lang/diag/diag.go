// Package diag is what the language says about a script: one Diagnostic value from the lexer to the runtime,
// rendered as text with a caret. It knows positions and words, nothing of what they mean.
package diag

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Pos is a place in a source. Line and Col are 1-based; Col counts characters, Offset counts bytes from 0.
type Pos struct {
	Offset int `json:"-"`
	Line   int `json:"line"`
	Col    int `json:"col"`
}

// Span is a half-open range of a source.
type Span struct {
	File  string `json:"file"`
	Start Pos    `json:"start"`
	End   Pos    `json:"end"`
}

// String is file:line:col, the form that editors and terminals make clickable. What is no file, such as a flag of the
// command line, has no lines, and only its name is said.
func (s Span) String() string {
	if s.Start.Line == 0 {
		return s.File
	}
	return fmt.Sprintf("%s:%d:%d", s.File, s.Start.Line, s.Start.Col)
}

// To spans from the start of s to the end of t.
func (s Span) To(t Span) Span { return Span{File: s.File, Start: s.Start, End: t.End} }

// Severity tells an error, which stops everything, from a warning.
type Severity string

const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one message about one place. Message is a lower-case clause without full stop that names what is
// wrong; Hint says what to write instead. Words of the script stand in backticks.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Code     Code     `json:"code"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	Span     Span     `json:"span"`
	Notes    []Note   `json:"notes,omitempty"`
}

// Note points at a second place, such as the first of two definitions.
type Note struct {
	Message string `json:"message"`
	Span    Span   `json:"span"`
}

// Warningf makes a warning without hint.
func Warningf(code Code, at Span, format string, args ...any) Diagnostic {
	return Diagnostic{Severity: Warning, Code: code, Span: at, Message: bounded(format, args)}
}

// Errorf makes an error without hint.
func Errorf(code Code, at Span, format string, args ...any) Diagnostic {
	return Diagnostic{Severity: Error, Code: code, Span: at, Message: bounded(format, args)}
}

// longest is what a message may have. More comes from a name of a million letters, which nobody reads.
const longest = 2000

func bounded(format string, args []any) string {
	s := fmt.Sprintf(format, args...)
	if len(s) <= longest {
		return s
	}
	runes := []rune(s)
	if len(runes) <= longest {
		return s
	}
	return string(runes[:longest/2]) + "…" + string(runes[len(runes)-longest/2:])
}

// WithHint returns d with a hint.
func (d Diagnostic) WithHint(format string, args ...any) Diagnostic {
	d.Hint = bounded(format, args)
	return d
}

// WithNote returns d with one more note.
func (d Diagnostic) WithNote(at Span, format string, args ...any) Diagnostic {
	d.Notes = append(d.Notes[:len(d.Notes):len(d.Notes)], Note{Message: fmt.Sprintf(format, args...), Span: at})
	return d
}

// Error makes a Diagnostic usable as an error of one line.
func (d Diagnostic) Error() string {
	s := fmt.Sprintf("%s: %s[%s]: %s", d.Span, d.Severity, d.Code, d.Message)
	if d.Hint != "" {
		s += " (" + d.Hint + ")"
	}
	return s
}

// Most bounds how many mistakes one stage reports: nobody reads more, and what follows a thousand mistakes is a guess.
const Most = 1000

// List is the diagnostics of one or more files.
type List []Diagnostic

// HasErrors tells whether anything in the list stops a run.
func (l List) HasErrors() bool {
	for _, d := range l {
		if d.Severity == Error {
			return true
		}
	}
	return false
}

// Sort orders by file and position, which is the order a reader fixes them in.
func (l List) Sort() {
	sort.SliceStable(l, func(i, j int) bool {
		a, b := l[i].Span, l[j].Span
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Start.Offset < b.Start.Offset
	})
}

// Error joins the list, one line each.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, d := range l {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// Source is a file's name and text, indexed so that a place is found in nearly constant time, on a very long line too.
type Source struct {
	File  string
	Text  string
	lines []int // byte offset of each line's start
	runes []int // the number of characters before each stride
}

// stride is how many bytes Pos may have to count through.
const stride = 256

// NewSource indexes text.
func NewSource(file, text string) *Source {
	s := &Source{File: file, Text: text, lines: []int{0}, runes: make([]int, 0, len(text)/stride+1)}
	n := 0
	for i := 0; i < len(text); i++ {
		if i%stride == 0 {
			s.runes = append(s.runes, n)
		}
		if utf8.RuneStart(text[i]) {
			n++
		}
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	if len(text)%stride == 0 {
		s.runes = append(s.runes, n)
	}
	return s
}

// before is the number of characters before an offset.
func (s *Source) before(offset int) int {
	from := offset / stride * stride
	n := s.runes[offset/stride]
	for i := from; i < offset; i++ {
		if utf8.RuneStart(s.Text[i]) {
			n++
		}
	}
	return n
}

// Pos converts a byte offset; an offset past the end is the end.
func (s *Source) Pos(offset int) Pos {
	offset = min(max(offset, 0), len(s.Text))
	line := sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset })
	return Pos{Offset: offset, Line: line, Col: s.before(offset) - s.before(s.lines[line-1]) + 1}
}

// Span converts a range of byte offsets.
func (s *Source) Span(start, end int) Span {
	return Span{File: s.File, Start: s.Pos(start), End: s.Pos(end)}
}

// Slice is the text of a span.
func (s *Source) Slice(at Span) string { return s.Text[at.Start.Offset:at.End.Offset] }

// Line is the text of a 1-based line, without its end.
func (s *Source) Line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	end := len(s.Text)
	if n < len(s.lines) {
		end = s.lines[n] - 1
	}
	return strings.TrimSuffix(s.Text[s.lines[n-1]:end], "\r")
}
