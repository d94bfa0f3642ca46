package token

// continuing are the operators that cannot start a statement, so that a line that starts with one goes on.
var continuing = func() map[string]bool {
	m := set("and or in contains matches startsWith endsWith ?? ?. .. ** == != <= >= && || + - * / % ^ < > ? | . : , )")
	m["]"] = true
	return m
}()

// endStatements drops comments, turns newlines into End tokens where they count, and implies an End before a `}` and at
// the end. See language.md, "Words, literals, types".
func endStatements(all []Token, end int) []Token {
	out := make([]Token, 0, len(all)+8)
	var open []byte // the brackets around the present token
	last := func() (Token, bool) {
		if len(out) == 0 {
			return Token{}, false
		}
		return out[len(out)-1], true
	}
	next := following(all)
	for i, t := range all {
		switch {
		case t.Kind == Comment:
		case t.Kind == End:
			prev, ok := last()
			if !ok || prev.Kind == End || prev.Is("{") {
				continue
			}
			if t.Text == "\n" {
				rest := all[next[i]:]
				if n := len(open); n > 0 && open[n-1] != '{' && !closesBracket(rest) {
					continue
				}
				// A statement word at the start of a line starts a statement, however incomplete the one before is.
				if goesOn(prev) && !counts(out) && !startsStatement(prev, rest) || goesOnWith(rest) {
					continue
				}
			}
			out = append(out, t)
		case t.Is("}"):
			if prev, ok := last(); ok && prev.Kind != End && !prev.Is("{") {
				out = append(out, Token{Kind: End, Off: t.Off})
			}
			// A `}` closes every ( and [ that was left open inside its block: the reader meant the block's end.
			for len(open) > 0 && open[len(open)-1] != '{' {
				open = open[:len(open)-1]
			}
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
			out = append(out, t)
		default:
			if t.Kind == Punct {
				switch t.Text {
				case "(", "[", "{":
					open = append(open, t.Text[0])
				case ")", "]":
					if n := len(open); n > 0 && open[n-1] != '{' {
						open = open[:n-1]
					}
				}
			}
			if prev, ok := last(); ok && prev.Kind == End && prev.Text == "\n" && len(open) > 0 && (Statements[t.Text] || steadyBlock(all[i:])) {
				// A statement word at the start of a line closes what was left open before it.
				for len(open) > 0 && open[len(open)-1] != '{' {
					open = open[:len(open)-1]
				}
			}
			out = append(out, t)
		}
	}
	if prev, ok := last(); ok && prev.Kind != End {
		out = append(out, Token{Kind: End, Off: end})
	}
	return append(out, Token{Kind: EOF, Off: end})
}

// following is, for each token, the index of the next one behind it that is neither a comment nor the end of a statement.
func following(all []Token) []int {
	out := make([]int, len(all))
	next := len(all)
	for i := len(all) - 1; i >= 0; i-- {
		out[i] = next
		if all[i].Kind != Comment && all[i].Kind != End {
			next = i
		}
	}
	return out
}

// closesBracket tells that the line which starts with these tokens, after an open ( or [, starts a new statement, so that
// the bracket was forgotten: a statement word that is neither an argument's name nor a field.
func closesBracket(line []Token) bool {
	if len(line) == 0 {
		return false
	}
	if line[0].Kind != Name || !Statements[line[0].Text] {
		return steadyBlock(line)
	}
	for _, after := range line[1:] {
		if after.Kind != Comment && after.Kind != End {
			return !after.Is(":")
		}
	}
	return true
}

// startsStatement tells that a line starts a statement although the one before it, which ends with prev, goes on. Behind a
// dot every word is a field, so there a statement word must be followed by what no field is followed by.
func startsStatement(prev Token, line []Token) bool {
	if !closesBracket(line) {
		return false
	}
	if !prev.Is(".") {
		return true
	}
	return len(line) > 1 && (line[1].Is("{") || line[1].Kind == String || line[1].Kind == Number || line[1].Kind == Name && !IsWordOp(line[1].Text) && !Clauses[line[1].Text])
}

// steadyBlock tells that the block `steady` starts here, not the value of that name.
func steadyBlock(all []Token) bool {
	if len(all) == 0 || !all[0].Is("steady") {
		return false
	}
	all = all[1:]
	if len(all) > 0 && all[0].Kind == String {
		all = all[1:]
	}
	return len(all) > 0 && all[0].Is("{")
}

// counts tells that a line ends with the `n++` of other languages, which is no operator that goes on.
func counts(line []Token) bool {
	n := len(line)
	if n < 3 || line[n-3].Kind != Name || !line[n-1].Is(line[n-2].Text) {
		return false
	}
	return (line[n-1].Is("+") || line[n-1].Is("-")) && line[n-2].Off == line[n-3].Stop() && line[n-1].Off == line[n-2].Stop()
}

// goesOn tells that a statement cannot end behind this token.
func goesOn(t Token) bool {
	switch t.Kind {
	case Op:
		return t.Text != "#"
	case Punct:
		return t.Text == "," || t.Text == ":" || t.Text == "=" || t.Text == "." || t.Text == "(" || t.Text == "["
	case Name:
		return IsWordOp(t.Text)
	}
	return false
}

// goesOnWith tells that a line that begins with these tokens continues the one before.
func goesOnWith(line []Token) bool {
	if len(line) == 0 {
		return false
	}
	switch t := line[0]; t.Kind {
	case Op, Punct:
		if t.Is("-") && len(line) > 1 && line[1].Is("-") && line[1].Off == t.Stop() { // a comment of SQL
			return false
		}
		return continuing[t.Text] && t.Text != "," && t.Text != ")" && t.Text != "]"
	case Name:
		if t.Text == "not" { // `not in`
			return len(line) > 1 && line[1].Is("in")
		}
		if t.Text == "for" && loops(line) {
			return false
		}
		return continuing[t.Text] || Clauses[t.Text]
	}
	return false
}

// loops tells that a line starts with the `for` of other languages, `for x in …` or `for (…`, so that a message can say what
// to write instead.
func loops(line []Token) bool {
	return len(line) > 2 && (line[1].Is("(") || line[1].Kind == Name && (line[2].Is("in") || line[2].Is("=")))
}
