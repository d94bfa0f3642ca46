// Package format writes a script in its canonical form. It works on tokens and changes nothing but the white space between
// them: comments cannot be lost, line breaks stay where the author put them, and the result is scanned again and compared
// before anybody sees it. It knows nothing of names, types, actions or probes.
//
// The canonical form:
//
//   - Two spaces a level. A line that continues a statement or an argument stands one level more than the line on which
//     that began, however many such lines there are.
//   - What is inside brackets stands one level more than the line that opened them, however many it opened. The line that
//     closes them stands where that line stands; the `}` of a block where its statement starts.
//   - One space around binary operators, `=`, and words, and behind `,` and `:`; none inside ( ) [ ] and the braces of a
//     map; one inside the braces of a block on one line. Calls, `.`, `?.`, `..`, signs and the `:` of a slice are tight.
//   - Nothing is aligned: several spaces become one, in front of trailing comments too.
//   - At most one blank line in a row; none at the start, behind an opening or before a closing bracket.
//   - A comment on a line of its own is indented like the line that follows, or like the end of the block it closes.
//     Comments lose the blanks behind them and nothing else.
//   - `;` stays where it is, with a space behind it: it is a token and no white space.
//   - Lines end with a line feed, the file with exactly one. A byte order mark is dropped. What stands between quotes is
//     never touched, line ends included.
//
// Where two tokens make no sense side by side (only inside brackets can they get past the parser), a space stays or stays
// absent as written, as expressions may tell `#acc` from `# acc`.
package format

import (
	"strings"
	"unicode"

	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/lang/token"
)

// Source is the canonical form of a script, together with warnings of the parser, if any. A script with mistakes is not
// formatted: the text is "" then and the diagnostics say why.
func Source(src *diag.Source) (string, []diag.Diagnostic) {
	file, diags := syntax.Parse(src)
	if diag.List(diags).HasErrors() {
		return "", diags
	}
	list := token.Scan(src)
	p := &printer{ends: ends(list.Tokens), blocks: blocks(file.Items), frames: []frame{{kind: block}}}
	p.print(list.All)
	text := p.out.String()
	if d, bad := changed(list, text); bad {
		return "", append(diags, d)
	}
	return text, diags
}

// ends are the offsets of the tokens that end a statement.
func ends(tokens []token.Token) map[int]bool {
	at := map[int]bool{}
	for _, t := range tokens {
		if t.Kind == token.End && t.Text != "" {
			at[t.Off] = true
		}
	}
	return at
}

// blocks are the offsets of the braces that open a block. All other braces are those of maps and predicates.
func blocks(items []syntax.Stmt) map[int]bool {
	at := map[int]bool{}
	var body func(b *syntax.Block)
	var walk func(list []syntax.Stmt)
	body = func(b *syntax.Block) {
		at[b.Span.Start.Offset] = true
		walk(b.Stmts)
	}
	walk = func(list []syntax.Stmt) {
		for _, s := range list {
			switch s := s.(type) {
			case *syntax.Experiment:
				body(&s.Body)
			case *syntax.Section:
				body(&s.Body)
			case *syntax.Action:
				body(&s.Body)
			case *syntax.Repeat:
				body(&s.Body)
			case *syntax.Parallel:
				body(&s.Body)
			case *syntax.Do:
				body(&s.Body)
			case *syntax.When:
				for ; s != nil; s = s.ElseWhen {
					body(&s.Then)
					if s.Else != nil {
						body(s.Else)
					}
				}
			}
		}
	}
	walk(items)
	return at
}

// changed tells that a formatted text does not have the tokens, the statement ends and the comments of the original.
func changed(before *token.List, text string) (diag.Diagnostic, bool) {
	after := token.Scan(diag.NewSource(before.Source.File, text))
	off, same := compare(before.Tokens, after.Tokens)
	if same {
		off, same = compare(written(before.All), written(after.All))
	}
	if same && len(after.Diags) == 0 {
		return diag.Diagnostic{}, false
	}
	return diag.Errorf(diag.Misformat, before.Source.Span(off, off+1), "the formatter would change the meaning of this line").
		WithHint("this is a mistake of chaos, not yours: please report it together with the script"), true
}

// written are all tokens, comments too, where the only white space is that a line ends: blank lines may come and go, line
// breaks may not.
func written(all []token.Token) []token.Token {
	var out []token.Token
	for _, t := range all {
		if n := len(out); !lineBreak(t) || n > 0 && !lineBreak(out[n-1]) {
			out = append(out, t)
		}
	}
	if n := len(out); n > 0 && lineBreak(out[n-1]) {
		out = out[:n-1]
	}
	return out
}

// compare finds the offset of the first token of a that is not the same in b.
func compare(a, b []token.Token) (off int, same bool) {
	for i, t := range a {
		if i == len(b) || t.Kind != b[i].Kind || meaning(t) != meaning(b[i]) {
			return t.Off, false
		}
		off = t.Off
	}
	return off, len(a) == len(b)
}

// meaning is the text of a token as it is compared: comments without the blanks behind them, and the end of a statement the
// same whether a line break, a `}` or the end of the file makes it.
func meaning(t token.Token) string {
	switch {
	case t.Kind == token.Comment:
		return trimmed(t.Text)
	case t.Kind == token.End && t.Text != ";":
		return ""
	}
	return t.Text
}

func trimmed(comment string) string { return strings.TrimRightFunc(comment, unicode.IsSpace) }

func lineBreak(t token.Token) bool { return t.Kind == token.End && t.Text == "\n" }
