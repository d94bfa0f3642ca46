package repl

import (
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/token"
)

// kind is what an input turns out to be.
type kind int

const (
	kExpression  kind = iota
	kCall             // a call that may be a step or a probe
	kDeclaration      // use, param, let, probe, action, abort, attribute
	kSection
	kCheck // expect, always, never, eventually
	kStatement
	kExperiment
)

// chunk is one statement or expression of an input.
type chunk struct {
	src      *diag.Source
	from, to int
	tokens   []token.Token
}

func (c chunk) text() string { return c.src.Text[c.from:c.to] }

// split cuts an input into its statements.
func split(src *diag.Source) []chunk {
	var out []chunk
	depth, from := 0, 0
	var tokens []token.Token
	for _, t := range token.Scan(src).Tokens {
		if t.Kind == token.Punct {
			switch t.Text {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			}
		}
		if t.Kind != token.EOF && (t.Kind != token.End || depth > 0) {
			tokens = append(tokens, t)
			continue
		}
		if len(tokens) > 0 {
			text := src.Text[from:t.Off]
			lead := len(text) - len(strings.TrimLeft(text, " \t\r\n;"))
			out = append(out, chunk{src, from + lead, from + len(strings.TrimRight(text, " \t\r\n")), tokens})
		}
		from, tokens = t.Stop(), nil
		if t.Kind == token.EOF {
			break
		}
	}
	return out
}

// goesOn tells that more lines belong to an input. Of the commands only `:plan` takes a statement.
func goesOn(text string) bool {
	if command, is := strings.CutPrefix(strings.TrimSpace(text), ":"); is {
		statement, plan := strings.CutPrefix(command, "plan ")
		return plan && incomplete(statement)
	}
	return incomplete(text)
}

// incomplete tells that an input goes on: a bracket or a string of several lines is open, or an operator wants an operand.
func incomplete(text string) bool {
	src := diag.NewSource("input", text)
	list := token.Scan(src)
	depth := 0
	var last token.Token
	for _, t := range list.Tokens {
		switch {
		case t.Kind == token.Punct && strings.Contains("([{", t.Text):
			depth++
		case t.Kind == token.Punct && strings.Contains(")]}", t.Text):
			depth--
		case t.Kind == token.Error && strings.HasPrefix(t.Text, "`"):
			return true
		}
		if t.Kind != token.End && t.Kind != token.EOF {
			last = t
		}
	}
	if depth > 0 {
		return true
	}
	return last.Kind == token.Op && last.Text != "#" && last.Text != "%" || last.Kind == token.Punct && (last.Text == "," || last.Text == "=") || last.Kind == token.Name && token.IsWordOp(last.Text)
}

// declarers are the words that declare; checks those that claim; blocks those that begin a section.
var (
	declarers  = []string{"use", "param", "let", "probe", "action", "abort"}
	checks     = []string{"expect", "always", "never", "eventually"}
	statements = []string{"wait", "repeat", "when", "parallel", "do"}
)

// classify tells what a chunk is. known tells names of calls from names of values.
func (c chunk) classify(cat spec.Catalogue, own func(name string) bool) kind {
	t := c.tokens
	first := t[0]
	if first.Kind != token.Name {
		return kExpression
	}
	at := func(i int) token.Token {
		if i < len(t) {
			return t[i]
		}
		return token.Token{Kind: token.EOF}
	}
	block := at(1).Is("{") || at(1).Kind == token.String && at(2).Is("{")
	switch word := first.Text; {
	case slices.Contains(declarers, word):
		return kDeclaration
	case slices.Contains(checks, word):
		return kCheck
	case slices.Contains(statements, word):
		return kStatement
	case word == "experiment":
		return kExperiment
	case isSection(word) && (block || word != "steady"):
		return kSection
	case at(1).Is(":"):
		return kDeclaration
	}
	i := 1
	name := first.Text
	for at(i).Is(".") && at(i+1).Kind == token.Name {
		name += "." + at(i+1).Text
		i += 2
	}
	if !at(i).Is("(") {
		return kExpression
	}
	depth := 0
	for ; i < len(t); i++ {
		switch {
		case t[i].Kind != token.Punct:
		case strings.Contains("([{", t[i].Text):
			depth++
		case strings.Contains(")]}", t[i].Text):
			depth--
		}
		if depth == 0 {
			break
		}
	}
	behind := at(i + 1)
	if i+1 < len(t) && !(behind.Kind == token.Name && token.Clauses[behind.Text]) {
		return kExpression
	}
	if _, ok := cat.Call(name); ok || own(name) || own(first.Text) && strings.Contains(name, ".") {
		return kCall
	}
	if !strings.Contains(name, ".") && !behindClause(behind) && isFunction(name) {
		return kExpression
	}
	if strings.Contains(name, ".") || behindClause(behind) || nearCall(name, cat) {
		return kCall
	}
	return kExpression
}

func behindClause(t token.Token) bool { return t.Kind == token.Name && token.Clauses[t.Text] }

func nearCall(name string, cat spec.Catalogue) bool {
	_, ok := diag.Nearest(name, cat.Names())
	return ok
}

func isSection(word string) bool {
	for _, s := range sections {
		if string(s) == word {
			return true
		}
	}
	return false
}

func isFunction(name string) bool {
	return name == "secret" || slices.ContainsFunc(expr.Functions(), func(f expr.Function) bool { return f.Name == name })
}

// syntaxOf parses a chunk alone, where it stands; its diagnostics are about the input.
func (c chunk) syntaxOf() (*syntax.File, diag.List) {
	hidden := []byte(c.src.Text[:c.from]) // byte for byte, so that offsets hold
	for i := range hidden {
		hidden[i] = ' '
	}
	file, ds := syntax.Parse(diag.NewSource(c.src.File, string(hidden)+c.text()))
	for i := range ds {
		ds[i].Span = c.src.Span(ds[i].Span.Start.Offset, ds[i].Span.End.Offset)
		for j := range ds[i].Notes {
			at := &ds[i].Notes[j].Span
			*at = c.src.Span(at.Start.Offset, at.End.Offset)
		}
	}
	return file, ds
}

// malformed tells why a chunk is no expression. Where it looks like a statement of another language, or like a bracket that
// is lost, the parser of statements has better words.
func (c chunk) malformed() diag.List {
	_, ds := expr.Parse(c.src, c.src.Span(c.from, c.to))
	if len(ds) == 0 {
		return nil
	}
	_, others := c.syntaxOf()
	for _, d := range others {
		if d.Code == diag.UnknownBlock || d.Code == diag.Unclosed {
			return others
		}
	}
	return ds
}
