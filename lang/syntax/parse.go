package syntax

import (
	"errors"

	"github.com/alecthomas/participle/v2"
	"github.com/alecthomas/participle/v2/lexer"

	"chaos/lang/diag"
	"chaos/lang/token"
)

var fileParser = participle.MustBuild[File](
	participle.Lexer(definition{}),
	participle.UseLookahead(0),
	participle.Union[Stmt](
		&Use{}, &Param{}, &Let{}, &Probe{}, &Action{}, &Abort{}, &Experiment{}, &Section{},
		&Check{}, &Wait{}, &Repeat{}, &When{}, &Parallel{}, &Do{}, &Attr{}, &Step{},
	),
)

// stmtParser is what participle.ParserForProduction would return, which cannot name an interface.
var stmtParser = (*participle.Parser[Stmt])(fileParser)

// run parses tokens with a production; at is the offset at which it got stuck.
func run[P any](p *participle.Parser[P], tokens []token.Token) (tree *P, at int, ok bool) {
	lex, err := lexer.Upgrade(&feed{tokens: convert(tokens)})
	if err != nil {
		return nil, 0, false
	}
	tree, err = p.ParseFromLexer(lex)
	if err == nil {
		return tree, 0, true
	}
	var perr participle.Error
	if errors.As(err, &perr) {
		at = perr.Position().Offset
	}
	return nil, at, false
}

// Parse parses a whole file. The File is never nil and holds everything that could be parsed, however broken the rest is.
func Parse(src *diag.Source) (*File, []diag.Diagnostic) {
	list := token.Scan(src)
	p := &parser{src: src, diags: append([]diag.Diagnostic(nil), list.Diags...), reported: map[int]bool{}}
	p.pos = newPositions(src)
	p.file = &File{Source: src, Assumed: map[string]bool{}}
	p.file.Span = src.Span(0, len(src.Text))
	for _, d := range list.Diags {
		if d.Code == diag.TooDeep { // recursion stops here
			p.file.Incomplete = true
			return p.file, []diag.Diagnostic{d}
		}
	}
	if len(list.Tokens) == 0 || list.Tokens[0].Kind == token.EOF {
		if len(p.diags) == 0 {
			p.diags = append(p.diags, emptyFile(src))
		}
		return p.file, p.diags
	}
	if d, ok := foreignFile(src, list.Tokens); ok {
		p.file.Incomplete = true
		return p.file, []diag.Diagnostic{d}
	}
	p.toks = p.balance(list.Tokens)
	p.partners()
	p.parse()
	finish(p, list)
	diag.List(p.diags).Sort()
	return p.file, p.diags
}

type parser struct {
	src      *diag.Source
	pos      *positions
	toks     []token.Token // without EOF, brackets balanced
	partner  []int         // of a bracket, the index of the other one
	reported map[int]bool  // tokens whose bracket was reported
	diags    []diag.Diagnostic
	file     *File
	actions  map[string]bool // that the file defines; nil until somebody asks
}

func (p *parser) parse() {
	if len(p.reported) == 0 {
		if tree, _, ok := run(fileParser, p.toks); ok {
			p.file.Items = tree.Items
			return
		}
	}
	p.file.Items = p.pieces(0, len(p.toks))
}

func (p *parser) partners() {
	p.partner = make([]int, len(p.toks))
	var open []int
	for i, t := range p.toks {
		p.partner[i] = i
		if t.Kind != token.Punct {
			continue
		}
		switch t.Text {
		case "(", "[", "{":
			open = append(open, i)
		case ")", "]", "}":
			if n := len(open); n > 0 {
				p.partner[i], p.partner[open[n-1]] = open[n-1], i
				open = open[:n-1]
			}
		}
	}
}

func (p *parser) report(d diag.Diagnostic) {
	if len(p.diags) < 2*diag.Most { // those of the tokens are among them
		p.diags = append(p.diags, d)
	}
}

func (p *parser) span(t token.Token) diag.Span { return p.pos.span(t.Off, t.Stop()) }
