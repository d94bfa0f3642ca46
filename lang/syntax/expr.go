package syntax

import (
	"github.com/alecthomas/participle/v2"
	"github.com/alecthomas/participle/v2/lexer"

	"chaos/lang/token"
)

// Parse captures the tokens of an expression. It is participle's Parseable.
func (e *Expr) Parse(lex *lexer.PeekingLexer) error { return e.capture(lex, false) }

// Parse captures the tokens of an expression that ends before `in`.
func (d *Default) Parse(lex *lexer.PeekingLexer) error { return d.capture(lex, true) }

func (e *Expr) capture(lex *lexer.PeekingLexer, stopAtIn bool) error {
	start := lex.RawCursor()
	x := extent{stopAtIn: stopAtIn}
	for {
		t := lex.Peek()
		if t.EOF() || !x.take(kind{t.Type, t.Value}) {
			break
		}
		lex.Next()
	}
	if !x.complete() {
		t := lex.Peek()
		if lex.RawCursor() == start {
			return participle.NextMatch
		}
		return participle.Errorf(t.Pos, "operand")
	}
	e.Bad = x.bad
	e.Tokens = lex.Range(start, lex.RawCursor())
	return nil
}

// kind is the part of a token that decides where an expression ends.
type kind struct {
	typ  lexer.TokenType
	text string
}

// extent finds where an expression ends: at bracket depth 0, behind a complete operand, at what cannot go on.
type extent struct {
	stopAtIn bool
	open     []byte // brackets around the next token
	operand  bool   // the last token completed an operand
	dot      bool   // the last token was a dot, so that any word may follow
	not      bool   // the last token was the `not` of `not in`
	choices  int    // `?` without their `:` yet
	bad      bool
}

func (x *extent) complete() bool { return x.operand && len(x.open) == 0 && x.choices == 0 }

// take tells whether the token belongs to the expression, and goes on behind it if so.
func (x *extent) take(t kind) bool {
	if t.typ == tError {
		x.bad = true
	}
	if n := len(x.open); n > 0 {
		return x.inside(t, x.open[n-1])
	}
	if x.not {
		x.not, x.operand = false, false
		return t.text == "in"
	}
	if x.dot {
		x.dot, x.operand = false, true
		return t.typ == tName || t.typ == tWord || t.typ == tError
	}
	if !x.operand {
		return x.start(t)
	}
	return x.follow(t)
}

// inside takes everything up to the closing bracket, but no statement end in round and square ones.
func (x *extent) inside(t kind, open byte) bool {
	switch t.typ {
	case tEnd:
		return open == '{'
	case tPunct:
		switch t.text {
		case "(", "[", "{":
			x.open = append(x.open, t.text[0])
		case ")", "]", "}":
			if pairs[open] != t.text[0] {
				return false
			}
			x.open = x.open[:len(x.open)-1]
			x.operand = true
		}
	}
	return true
}

var pairs = map[byte]byte{'(': ')', '[': ']', '{': '}'}

// start takes what may begin an operand.
func (x *extent) start(t kind) bool {
	switch t.typ {
	case tName, tNumber, tString, tError:
		x.operand = true
		return true
	case tWord:
		switch t.text {
		case "not":
			return true
		case "true", "false", "nil", "steady", "before", "during", "after":
			x.operand = true
			return true
		}
	case tOp:
		switch t.text {
		case "-", "+", "!":
			return true
		case "#":
			x.operand = true
			return true
		}
	case tPunct:
		switch t.text {
		case "(", "[", "{":
			x.open = append(x.open, t.text[0])
			return true
		}
	}
	return false
}

// follow takes what may go on behind an operand.
func (x *extent) follow(t kind) bool {
	switch t.typ {
	case tWord:
		if t.text == "in" && x.stopAtIn {
			return false
		}
		if t.text == "not" {
			x.not = true
			return true
		}
		if token.IsWordOp(t.text) {
			x.operand = false
			return true
		}
	case tOp:
		switch t.text {
		case "!", "#":
			return false
		case "?.":
			x.dot = true
			return true
		case "?":
			x.choices++
		}
		x.operand = false
		return true
	case tPunct:
		switch t.text {
		case ".":
			x.dot = true
			return true
		case "(", "[":
			x.open = append(x.open, t.text[0])
			return true
		case ":":
			if x.choices > 0 {
				x.choices--
				x.operand = false
				return true
			}
		}
	}
	return false
}
