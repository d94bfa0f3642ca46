package expr

import (
	"strings"

	"chaos/lang/diag"
	"chaos/lang/token"
)

// Unquote gives the text of a string token: `"…"` with escapes, '…' and backticks as they stand, `$${` as a plain `${`.
// A `${…}` is E110, unless allowHoles is set: then it is left in the text as it stands. A bad escape is E102.
func Unquote(src *diag.Source, tok token.Token, allowHoles bool) (string, []diag.Diagnostic) {
	if tok.Kind != token.String || len(tok.Text) < 2 {
		return "", []diag.Diagnostic{diag.Errorf(diag.BadString, src.Span(tok.Off, tok.Stop()), "a string is missing here")}
	}
	var b strings.Builder
	pieces, diags := cutString(src, tok)
	for _, pc := range pieces {
		if pc.hole && !allowHoles {
			d := diag.Errorf(diag.InterpolatedLit, src.Span(pc.from-2, pc.to+1), "a `${…}` cannot stand in this string")
			diags = append(diags, d.WithHint("it must be plain text; write `$${` for a plain `${`"))
			continue
		}
		if pc.hole {
			b.WriteString(src.Text[pc.from-2 : pc.to+1])
			continue
		}
		b.WriteString(pc.text)
	}
	return b.String(), diags
}

// piece is plain text with its escapes undone, or the byte range between `${` and `}`.
type piece struct {
	text     string
	hole     bool
	from, to int
}

// cutString splits a closed string token at its holes.
func cutString(src *diag.Source, tok token.Token) ([]piece, []diag.Diagnostic) {
	var (
		pieces []piece
		diags  []diag.Diagnostic
		b      strings.Builder
	)
	quote := tok.Text[0]
	text, end := src.Text, tok.Stop()-1
	if quote == '\'' {
		return []piece{{text: text[tok.Off+1 : end]}}, nil
	}
	for i := tok.Off + 1; i < end; {
		switch {
		case quote == '"' && text[i] == '\\':
			r, n, hint, ok := token.Escape(text[i:end])
			if !ok {
				d := diag.Errorf(diag.BadString, src.Span(i, i+n), "`%s` is no escape", text[i:i+n])
				d.Hint = hint
				diags = append(diags, d)
			} else {
				b.WriteRune(r)
			}
			i += n
		case strings.HasPrefix(text[i:end], "$${"):
			b.WriteString("${")
			i += 3
		case strings.HasPrefix(text[i:end], "${"):
			stop := holeEnd(text, i+2, end)
			pieces = append(pieces, piece{text: b.String()}, piece{hole: true, from: i + 2, to: stop})
			b.Reset()
			i = stop + 1
		default:
			b.WriteByte(text[i])
			i++
		}
	}
	return append(pieces, piece{text: b.String()}), diags
}

// holeEnd is the offset of the `}` that closes the hole whose inside starts at i. The scanner found the string closed, so
// there is one.
func holeEnd(text string, i, end int) int {
	open := 1
	for i < end {
		switch c := text[i]; c {
		case '"', '\'', '`':
			next, _ := token.SkipString(text, i)
			i = next
			continue
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i
			}
		}
		i++
	}
	return end
}

// maxHoles bounds the expressions in one string, each of which is parsed apart.
const maxHoles = 1000

// stringParts parses a string token with its holes.
func stringParts(src *diag.Source, tok token.Token, depth int) ([]part, []diag.Diagnostic) {
	pieces, diags := cutString(src, tok)
	if len(pieces) > 2*maxHoles {
		d := diag.Errorf(diag.TooDeep, src.Span(tok.Off, tok.Off+1), "this string has more than %d `${…}`", maxHoles)
		return nil, append(diags, d.WithHint("split it with `let`"))
	}
	var parts []part
	for _, pc := range pieces {
		if !pc.hole {
			if pc.text != "" {
				parts = append(parts, part{text: pc.text})
			}
			continue
		}
		if strings.TrimSpace(src.Text[pc.from:pc.to]) == "" {
			d := diag.Errorf(diag.BadExpression, src.Span(pc.from-2, pc.to+1), "nothing stands between `${` and `}`")
			diags = append(diags, d.WithHint("write `$${` for a plain `${`"))
			continue
		}
		sub, ds := parse(src, pc.from, pc.to, depth+1)
		diags = append(diags, ds...)
		parts = append(parts, part{hole: sub})
	}
	return parts, diags
}
