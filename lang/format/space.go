package format

import "chaos/lang/token"

// word tells a word of the grammar from a name. Inside brackets only operators are left: `repeat` is a function there.
func (p *printer) word(t token.Token) bool {
	if token.IsWordOp(t.Text) {
		return true
	}
	return p.top().kind == block && (token.Statements[t.Text] || token.Clauses[t.Text] || t.Text == "until")
}

// space tells whether a space stands between the last token and t, which is on the same line. The order of the cases is
// the order of precedence.
func (p *printer) space(t token.Token) bool {
	prev, f := p.prev, p.top()
	asWritten := prev.Stop() < t.Off
	switch {
	case t.Kind == token.Comment, prev.Kind == token.End:
		return true
	case t.Kind == token.End: // a `;`
		return prev.Is("{") && f.kind == block

	case prev.Is("(") || prev.Is("[") || t.Is(")") || t.Is("]") || t.Is(","):
		return false
	case prev.Is("{"):
		return f.kind == block && !t.Is("}")
	case t.Is("}"):
		return f.kind == block
	case prev.Is(",") || prev.Is("=") || t.Is("="):
		return true

	case t.Is(":"):
		switch {
		case prev.Is(":") || prev.Is("?"):
			return asWritten
		case f.choices > 0:
			return true
		}
		return false
	case prev.Is(":"):
		return p.choice || f.kind != index

	case t.Is(".") || t.Is("?."):
		return asWritten && (!p.operand || prev.Kind == token.Number) // 1 .x is not 1.x
	case prev.Is(".") || prev.Is("?."):
		return asWritten && t.Kind != token.Name && !opening(t)
	case t.Is(".."):
		return asWritten && !p.operand
	case prev.Is(".."):
		return asWritten && t.Kind == token.Op && !signs(t)

	case (t.Is("(") || t.Is("[")) && p.operand: // a call, an index
		return false
	case p.sign:
		return asWritten && t.Kind == token.Op && !t.Is("#")
	case t.Kind == token.Op && !p.operand && !signs(t) && !t.Is("#"): // an operator without its left side
		return asWritten
	case p.operand && f.kind != block && starts(t) && !p.word(t): // two operands side by side: `#acc`, b"…"
		return asWritten
	}
	return true
}

func signs(t token.Token) bool { return t.Is("-") || t.Is("+") || t.Is("!") }

// starts tells a token that is an operand, or the first of one.
func starts(t token.Token) bool {
	return t.Kind == token.Name || t.Kind == token.Number || t.Kind == token.String || t.Is("#")
}
