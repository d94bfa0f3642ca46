// Package token splits source text into tokens. It never fails: what is no token becomes an Error token with its
// diagnostic. It also ends statements, so that no later stage thinks about newlines.
package token

import (
	"strings"

	"chaos/lang/diag"
)

// Kind is the class of a token.
type Kind int

const (
	EOF     Kind = iota
	End          // the end of a statement: a newline or `;` where one counts, or implied before `}` and at the end (then empty)
	Name         // a word: a name or a reserved word
	Number       // a number, perhaps with units: `10`, `1m30s`, `20%`
	String       // any of "…" `…` '…', quotes included
	Op           // an operator
	Punct        // one of ( ) [ ] { } , : = .
	Comment      // from // to the end of the line
	Error        // what is no token; see Tokens.Diags
)

var kindNames = [...]string{"end of file", "end of statement", "name", "number", "string", "operator", "punctuation", "comment", "error"}

func (k Kind) String() string { return kindNames[k] }

// Token is a piece of the source: Text is exactly what stands there ("" for an implied End).
type Token struct {
	Kind Kind
	Text string
	Off  int // byte offset
}

// Stop is the byte offset behind the token.
func (t Token) Stop() int { return t.Off + len(t.Text) }

// Is tells a punctuation, operator or word by its text.
func (t Token) Is(text string) bool {
	return t.Text == text && (t.Kind == Punct || t.Kind == Op || t.Kind == Name)
}

// Statements are the words that start a statement or a block and nothing else. `steady`, `before`, `during` and `after`
// are values too and therefore not among them.
var Statements = set("use param let action probe experiment setup hypothesis inject rollback expect always never eventually abort wait repeat when parallel do else")

// Clauses are the words that trail a statement.
var Clauses = set("for within every tolerate because pick as")

// Reserved are the words that cannot be names of values.
var Reserved = set("use param let action probe experiment setup steady hypothesis inject rollback expect always never eventually abort wait until repeat when else parallel do before during after for within every tolerate because pick as in and or not contains matches startsWith endsWith true false nil")

// wordOps are the operators that are words.
var wordOps = set("and or not in contains matches startsWith endsWith")

func set(words string) map[string]bool {
	m := map[string]bool{}
	start := 0
	for i := 0; i <= len(words); i++ {
		if i == len(words) || words[i] == ' ' {
			m[words[start:i]] = true
			start = i + 1
		}
	}
	return m
}

// IsWordOp tells an operator that is a word.
func IsWordOp(s string) bool { return wordOps[s] }

// List is a scanned source.
type List struct {
	Source *diag.Source
	Tokens []Token // with Comment tokens left out; the last is EOF
	All    []Token // every token, comments too, without implied Ends: for the formatter and for help texts
	Diags  []diag.Diagnostic
}

// QuoteHint says how a text is written that has the quotes of the string t in it.
func QuoteHint(t Token) string {
	switch {
	case strings.HasPrefix(t.Text, "'"):
		return "a text with `'` in it stands in other quotes: \"…\""
	case strings.HasPrefix(t.Text, "`"): // which knows no escapes
		return "a text with backticks in it stands in other quotes: '…'"
	}
	return "a text with quotes in it stands in other ones: '…', or write them `\\\"`"
}
