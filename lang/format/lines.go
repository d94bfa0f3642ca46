package format

import (
	"strings"

	"chaos/lang/token"
)

// bracket is what a frame is made by.
type bracket int

const (
	block  bracket = iota // a block of statements, or the file
	braces                // a map, or the predicate of a function
	round
	square // a list
	index  // the square brackets behind an operand
)

// frame is an open bracket. Levels count from 0.
type frame struct {
	kind    bracket
	close   int // the level of a line that starts with the closing bracket
	content int // the level of a line inside
	item    int // the level of the line on which the present statement or argument began
	choices int // the `?` of that statement or argument that still lack their `:`
}

type printer struct {
	ends   map[int]bool // where a statement ends
	blocks map[int]bool // braces of blocks
	out    strings.Builder
	frames []frame
	level  int  // of the present line
	opened bool // the line before ended with an opening bracket

	prev    token.Token // the last one that is neither comment nor line break
	ended   bool        // a statement ended since
	operand bool        // prev ends an operand
	sign    bool        // prev is a sign: the `-` of `-1`, or `!`
	choice  bool        // prev is the `:` of `a ? b : c`
}

func (p *printer) top() *frame { return &p.frames[len(p.frames)-1] }

// print writes all tokens of a file, line by line.
func (p *printer) print(all []token.Token) {
	lines := split(all)
	gap := false
	alone := -1 // the level of comments before the next line of code, once it is known
	for i, line := range lines {
		switch {
		case len(line) == 0 || lineBreak(line[0]):
			gap = true
		case line[0].Kind == token.Comment:
			p.separate(gap, false)
			if alone < 0 {
				alone = p.ahead(lines[i+1:])
			}
			p.start(alone)
			p.out.WriteString(trimmed(line[0].Text) + "\n")
			p.opened, gap = false, false
		default:
			p.separate(gap, closing(line[0]))
			p.start(p.indent(line[0]))
			p.line(line)
			p.out.WriteByte('\n')
			gap, alone = false, -1
		}
		if n := len(line); n > 0 && lineBreak(line[n-1]) && p.ends[line[n-1].Off] {
			p.ended = true
		}
	}
}

// split cuts tokens behind each line break. A string of several lines is one token and so part of one line.
func split(all []token.Token) [][]token.Token {
	var lines [][]token.Token
	start := 0
	for i, t := range all {
		if lineBreak(t) {
			lines = append(lines, all[start:i+1])
			start = i + 1
		}
	}
	return append(lines, all[start:])
}

// separate writes the blank line that stood before a line, unless a bracket opens before it or closes behind it.
func (p *printer) separate(gap, closes bool) {
	if gap && !closes && !p.opened && p.out.Len() > 0 {
		p.out.WriteByte('\n')
	}
}

func (p *printer) start(level int) {
	p.level = level
	p.out.WriteString(strings.Repeat("  ", level))
}

// ahead is the level of a comment that stands alone before the given lines.
func (p *printer) ahead(lines [][]token.Token) int {
	for _, line := range lines {
		if len(line) > 0 && line[0].Kind != token.Comment && !lineBreak(line[0]) {
			if closing(line[0]) { // the comment is the last thing inside the brackets
				break
			}
			return p.indent(line[0])
		}
	}
	return p.top().content
}

// indent is the level of a line that starts with t.
func (p *printer) indent(t token.Token) int {
	f := p.top()
	switch {
	case closing(t):
		return f.close
	case p.fresh():
		return f.content
	}
	return max(f.content, f.item+1)
}

// fresh tells that the next token starts a statement or an argument.
func (p *printer) fresh() bool {
	return p.ended || p.prev.Kind == token.EOF || opening(p.prev) || p.prev.Is(",")
}

// line writes the tokens of a line.
func (p *printer) line(line []token.Token) {
	for i, t := range line {
		if lineBreak(t) {
			break
		}
		if i > 0 && p.space(t) {
			p.out.WriteByte(' ')
		}
		if t.Kind == token.Comment {
			p.out.WriteString(trimmed(t.Text))
			continue
		}
		p.out.WriteString(t.Text)
		p.pass(t)
	}
	p.opened = opening(p.prev)
}

// pass notes what a token means for those behind it.
func (p *printer) pass(t token.Token) {
	if p.fresh() && !closing(t) {
		p.top().item, p.top().choices = p.level, 0
	}
	f := p.top()
	sign := !p.operand && (t.Is("-") || t.Is("+")) || t.Is("!") && t.Kind == token.Op
	choice := t.Is(":") && f.choices > 0
	operand := false
	switch {
	case opening(t):
		p.open(t)
	case closing(t):
		operand = f.kind != block
		if len(p.frames) > 1 {
			p.frames = p.frames[:len(p.frames)-1]
		}
	case choice:
		f.choices--
	case t.Is("?"):
		f.choices++
	case t.Kind == token.Name:
		operand = p.prev.Is(".") || p.prev.Is("?.") || !p.word(t)
	default:
		operand = t.Kind == token.Number || t.Kind == token.String || t.Is("#")
	}
	p.prev, p.operand, p.sign, p.choice = t, operand, sign, choice
	p.ended = t.Kind == token.End
}

func (p *printer) open(t token.Token) {
	f := frame{close: p.level}
	switch {
	case t.Is("("):
		f.kind = round
	case t.Is("[") && p.operand:
		f.kind = index
	case t.Is("["):
		f.kind = square
	case p.blocks[t.Off]:
		// The condition before a block may go over several lines; the block belongs to the line on which it began.
		f.kind, f.close = block, p.top().item
	default:
		f.kind = braces
	}
	f.content, f.item = f.close+1, p.level
	p.frames = append(p.frames, f)
}

func opening(t token.Token) bool {
	return t.Kind == token.Punct && (t.Text == "(" || t.Text == "[" || t.Text == "{")
}

func closing(t token.Token) bool {
	return t.Kind == token.Punct && (t.Text == ")" || t.Text == "]" || t.Text == "}")
}
