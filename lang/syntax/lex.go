package syntax

import (
	"io"

	"github.com/alecthomas/participle/v2/lexer"

	"chaos/lang/diag"
	"chaos/lang/token"
)

// The token types as participle sees them: names apart from reserved words, so that the grammar can tell them.
const (
	tName lexer.TokenType = -(iota + 2)
	tWord
	tNumber
	tString
	tOp
	tPunct
	tEnd
	tError
)

// definition is lang/token behind participle's interface.
type definition struct{}

func (definition) Symbols() map[string]lexer.TokenType {
	return map[string]lexer.TokenType{
		"EOF": lexer.EOF, "Name": tName, "Word": tWord, "Number": tNumber, "String": tString,
		"Op": tOp, "Punct": tPunct, "End": tEnd, "Error": tError,
	}
}

func (definition) Lex(filename string, r io.Reader) (lexer.Lexer, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	list := token.Scan(diag.NewSource(filename, string(text)))
	return &feed{tokens: convert(list.Tokens)}, nil
}

// feed hands tokens to participle; it ends with EOF however the slice ends.
type feed struct {
	tokens []lexer.Token
	next   int
}

func (f *feed) Next() (lexer.Token, error) {
	if f.next >= len(f.tokens) {
		pos := lexer.Position{}
		if n := len(f.tokens); n > 0 {
			pos.Offset = f.tokens[n-1].Pos.Offset + len(f.tokens[n-1].Value)
		}
		return lexer.EOFToken(pos), nil
	}
	t := f.tokens[f.next]
	f.next++
	return t, nil
}

func convert(tokens []token.Token) []lexer.Token {
	out := make([]lexer.Token, len(tokens))
	for i, t := range tokens {
		out[i] = lexer.Token{Type: typeOf(t), Value: t.Text, Pos: lexer.Position{Offset: t.Off, Line: 1, Column: 1}}
	}
	return out
}

func typeOf(t token.Token) lexer.TokenType {
	switch t.Kind {
	case token.End:
		return tEnd
	case token.Name:
		if token.Reserved[t.Text] {
			return tWord
		}
		return tName
	case token.Number:
		return tNumber
	case token.String:
		return tString
	case token.Op:
		return tOp
	case token.Punct:
		return tPunct
	case token.Error:
		return tError
	}
	return lexer.EOF
}
