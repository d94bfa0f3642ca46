package syntax

import (
	"strings"

	"chaos/lang/diag"
	"chaos/lang/token"
)

// Problem is what is wrong with a string that has to be plain.
type Problem struct {
	Off, Len   int  // in the raw text
	Hole       bool // it holds `${…}`
	Text, Hint string
}

// Unquote is the text of a string literal without interpolation. The Problem is zero when there is none.
func Unquote(raw string) (string, Problem) {
	if len(raw) < 2 || raw[len(raw)-1] != raw[0] {
		return raw, Problem{Len: len(raw), Text: "this is no plain string", Hint: "write \"…\""}
	}
	quote, in := raw[0], raw[1:len(raw)-1]
	if quote == '\'' {
		return in, Problem{}
	}
	var b strings.Builder
	for i := 0; i < len(in); {
		switch {
		case strings.HasPrefix(in[i:], "$${"):
			b.WriteString("${")
			i += 3
		case strings.HasPrefix(in[i:], "${"):
			return in, Problem{Off: i + 1, Len: 2, Hole: true, Text: "`${` cannot stand in a plain string"}
		case quote == '"' && in[i] == '\\':
			r, size, hint, ok := token.Escape(in[i:])
			if !ok {
				return in, Problem{Off: i + 1, Len: size, Text: "`" + in[i:i+size] + "` is no escape", Hint: hint}
			}
			b.WriteRune(r)
			i += size
		default:
			b.WriteByte(in[i])
			i++
		}
	}
	return b.String(), Problem{}
}

// OneLine is what stands at a span, on one line: white space between tokens is at most one blank, comments are left out.
func OneLine(src *diag.Source, at diag.Span) string {
	var b strings.Builder
	stop := -1
	for _, t := range token.ScanRange(src, at.Start.Offset, at.End.Offset).All {
		if t.Kind == token.Comment || t.Kind == token.End && t.Text != ";" {
			continue
		}
		text := t.Text
		if strings.Contains(text, "\n") { // a string of several lines
			text = strings.Join(strings.Fields(text), " ")
		}
		if text == ")" || text == "]" { // the comma behind the last of several lines
			if before, ok := strings.CutSuffix(b.String(), ","); ok {
				b.Reset()
				b.WriteString(before)
			}
		}
		if gap := src.Text[max(stop, at.Start.Offset):t.Off]; stop >= 0 && gap != "" && !tight(b.String(), text, gap) {
			b.WriteByte(' ')
		}
		b.WriteString(text)
		stop = t.Stop()
	}
	return b.String()
}

// tight tells that a line break was the only reason for white space here, as behind `(` and before `)`.
func tight(before, next, gap string) bool {
	if !strings.Contains(gap, "\n") {
		return false
	}
	return strings.HasSuffix(before, "(") || strings.HasSuffix(before, "[") || next == ")" || next == "]" || next == "." || next == ","
}
