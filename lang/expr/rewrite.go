package expr

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"chaos/lang/diag"
	"chaos/lang/token"
	"chaos/lang/value"
)

// maxTokens bounds the length of one expression, and with it the depth of every recursion over it: a chain of a hundred
// thousand `not` is refused here instead of exhausting the stack later.
const maxTokens = 5000

// firstMark is the first of the characters that stand for literals in the text that the engine parses. Names of the
// language are ASCII, so they cannot clash.
const firstMark = '\u4e00'

// parsed is a piece of source as the engine's syntax tree, with what its placeholders stand for. The engine sees text in
// which every literal and every member name is a placeholder of the same length, so that its positions are ours.
type parsed struct {
	src      *diag.Source
	from, to int           // byte offsets of the first token's start and the last one's end
	toks     []token.Token // without comments and line ends
	marks    map[rune]mark
	offs     []int // byte offset of each character, counted from base
	base     int
	root     ast.Node // nil after a mistake
}

// mark is what a placeholder stands for.
type mark struct {
	tok   token.Token
	num   *value.Value // a number, perhaps with a unit
	parts []part       // a string
	name  string       // a member or a map key; behind `#` what it asks for
}

// part is a piece of a string: plain text, or a hole with an expression.
type part struct {
	text string
	hole *parsed
}

// parse scans, checks the order of the tokens and lets the engine build the tree. depth counts the strings around it.
func parse(src *diag.Source, from, to, depth int) (*parsed, []diag.Diagnostic) {
	p := &parsed{src: src, from: from, to: to, base: from}
	if depth > token.MaxDepth {
		return p, []diag.Diagnostic{diag.Errorf(diag.TooDeep, src.Span(from, to), "strings are nested more than %d deep", token.MaxDepth)}
	}
	list := token.ScanRange(src, from, to)
	for _, t := range list.All {
		if t.Kind != token.Comment && (t.Kind != token.End || t.Text == ";") {
			p.toks = append(p.toks, t)
		}
	}
	if n := len(p.toks); n > 0 {
		p.from, p.to = p.toks[0].Off, p.toks[n-1].Stop()
	}
	diags := slices.DeleteFunc(list.Diags, func(d diag.Diagnostic) bool { // a comment of another language: the file's scan reports it
		return depth == 0 && slices.ContainsFunc(list.All, func(t token.Token) bool {
			return t.Kind == token.Comment && t.Off == d.Span.Start.Offset
		})
	})
	if len(diags) > 0 {
		return p, diags
	}
	if len(p.toks) == 0 {
		return p, []diag.Diagnostic{diag.Errorf(diag.BadExpression, src.Span(from, to), "an expression is missing here")}
	}
	if len(p.toks) > maxTokens {
		d := diag.Errorf(diag.TooDeep, p.span(p.toks[0], p.toks[0]), "this expression has more than %d words and signs", maxTokens)
		return p, []diag.Diagnostic{d.WithHint("split it with `let`")}
	}
	g := &grammar{p: p, roles: make([]role, len(p.toks))}
	if d := g.check(); d != nil {
		return p, []diag.Diagnostic{*d}
	}
	text, diags := p.rewrite(g.roles, from, to, depth)
	if len(diags) > 0 {
		return p, diags
	}
	tree, err := parser.ParseWithConfig(text, &conf.Config{DisableIfOperator: true})
	if err != nil {
		return p, []diag.Diagnostic{p.translate(err)}
	}
	p.root = tree.Node
	return p, nil
}

// rewrite makes the text for the engine: as many characters as the source has, blanks where it has comments.
func (p *parsed) rewrite(roles []role, from, to, depth int) (string, []diag.Diagnostic) {
	var diags []diag.Diagnostic
	var b strings.Builder
	blank := func(upTo int) {
		for _, r := range p.src.Text[from:upTo] {
			if r == '\n' {
				b.WriteRune(r)
			} else {
				b.WriteByte(' ')
			}
		}
		from = upTo
	}
	p.marks = map[rune]mark{}
	next := firstMark
	for off := range p.src.Text[from:to] {
		p.offs = append(p.offs, from+off)
	}
	p.offs = append(p.offs, to)
	for i, t := range p.toks {
		blank(t.Off)
		from = t.Stop()
		m := mark{tok: t}
		switch {
		case t.Kind == token.Number:
			v, err := value.ParseNumber(t.Text)
			if err != nil {
				diags = append(diags, diag.Errorf(diag.BadNumber, p.span(t, t), "%s", err))
			}
			m.num = &v
		case t.Kind == token.String:
			parts, ds := stringParts(p.src, t, depth)
			diags = append(diags, ds...)
			m.parts = parts
		case roles[i] == roleName:
			m.name = t.Text
		case t.Is("#"): // a placeholder too, so that it may stand in the holes of a string, which are parsed apart
			if i+1 < len(p.toks) && p.toks[i+1].Kind == token.Name && p.toks[i+1].Off == t.Stop() {
				m.name = p.toks[i+1].Text
			}
		default:
			b.WriteString(t.Text)
			continue
		}
		p.marks[next] = m
		length, pad := utf8.RuneCountInString(t.Text), "_"
		if t.Kind == token.String { // a word may touch it: `"x"or y`
			pad = " "
			if length > 2 {
				b.WriteByte(' ')
				length--
			}
		}
		b.WriteRune(next)
		next++
		b.WriteString(strings.Repeat(pad, length-1))
	}
	blank(to)
	return b.String(), diags
}

// markOf finds what a name of the engine's tree stands for, if it is a placeholder.
func (p *parsed) markOf(name string) (mark, bool) {
	r, _ := utf8.DecodeRuneInString(name)
	m, ok := p.marks[r]
	return m, ok
}

// offset converts the engine's position to a byte offset of the source.
func (p *parsed) offset(loc file.Location) int {
	if len(p.offs) == 0 {
		return p.from
	}
	return p.offs[min(max(loc.From, 0), len(p.offs)-1)]
}

// tokenAt is the index of the token that holds or follows a byte offset.
func (p *parsed) tokenAt(off int) int {
	lo, hi := 0, len(p.toks)
	for lo < hi {
		mid := (lo + hi) / 2
		if p.toks[mid].Stop() <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (p *parsed) span(a, b token.Token) diag.Span { return p.src.Span(a.Off, b.Stop()) }

// spanOf is where a subtree stands. The engine keeps one position for each node, often that of an operator, so the range
// is that of all its tokens, widened until its brackets are balanced.
func (p *parsed) spanOf(n ast.Node) diag.Span {
	first, last := len(p.toks), -1
	walk(n, func(n ast.Node) {
		i := min(p.tokenAt(p.offset(n.Location())), len(p.toks)-1)
		first, last = min(first, i), max(last, i)
	})
	if last < 0 {
		return p.src.Span(p.from, p.to)
	}
	// `#index` and the `(` of a call belong to what stands before them.
	if t := p.toks[last]; t.Is("#") && last+1 < len(p.toks) && p.toks[last+1].Kind == token.Name && p.toks[last+1].Off == t.Stop() {
		last++
	}
	if last+1 < len(p.toks) && p.toks[last].Kind == token.Name && p.toks[last+1].Is("(") {
		last++
	}
	return p.balanced(first, last)
}

func (p *parsed) balanced(first, last int) diag.Span {
	open := 0
	for i := first; i <= last || open > 0 && i < len(p.toks); i++ {
		last = max(last, i)
		switch t := p.toks[i]; {
		case t.Kind != token.Punct:
		case strings.Contains("([{", t.Text):
			open++
		case strings.Contains(")]}", t.Text):
			open--
		}
		for ; open < 0 && first > 0; first-- {
			switch t := p.toks[first-1]; {
			case t.Kind != token.Punct:
			case strings.Contains("([{", t.Text):
				open++
			case strings.Contains(")]}", t.Text):
				open--
			}
		}
	}
	return p.span(p.toks[first], p.toks[last])
}

// walk visits a subtree without recursion, so that a long chain costs no stack.
func walk(n ast.Node, visit func(ast.Node)) {
	stack := []ast.Node{n}
	push := func(ns ...ast.Node) {
		for _, n := range ns {
			if n != nil {
				stack = append(stack, n)
			}
		}
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		visit(n)
		switch n := n.(type) {
		case *ast.UnaryNode:
			push(n.Node)
		case *ast.BinaryNode:
			push(n.Left, n.Right)
		case *ast.ChainNode:
			push(n.Node)
		case *ast.MemberNode:
			push(n.Node, n.Property)
		case *ast.SliceNode:
			push(n.Node, n.From, n.To)
		case *ast.CallNode:
			push(n.Callee)
			push(n.Arguments...)
		case *ast.BuiltinNode:
			push(n.Arguments...)
		case *ast.PredicateNode:
			push(n.Node)
		case *ast.ConditionalNode:
			push(n.Cond, n.Exp1, n.Exp2)
		case *ast.SequenceNode:
			push(n.Nodes...)
		case *ast.ArrayNode:
			push(n.Nodes...)
		case *ast.MapNode:
			push(n.Pairs...)
		case *ast.PairNode:
			push(n.Key, n.Value)
		}
	}
}

// line is the text from one byte offset to another on one line: comments dropped, white space collapsed.
func (p *parsed) line(from, to int) string {
	var b strings.Builder
	prev := token.Token{}
	for _, t := range p.toks {
		if t.Off < from || t.Stop() > to {
			continue
		}
		if b.Len() > 0 && t.Off > prev.Stop() {
			tight := prev.Is("(") || prev.Is("[") || t.Is(")") || t.Is("]")
			if !tight || !strings.Contains(p.src.Text[prev.Stop():t.Off], "\n") {
				b.WriteByte(' ')
			}
		}
		prev = t
		if strings.Contains(t.Text, "\n") {
			b.WriteString(strings.Join(strings.Fields(t.Text), " "))
		} else {
			b.WriteString(t.Text)
		}
	}
	return b.String()
}
