package syntax

import (
	"reflect"
	"sort"
	"strings"
	"unicode/utf8"

	"chaos/lang/diag"
	"chaos/lang/token"
)

// positions converts offsets to positions in nearly constant time, so that a file of one long line takes linear time.
type positions struct {
	src   *diag.Source
	lines []int // the offset of each line's start
	runes []int // the number of characters before each stride
}

const stride = 256

func newPositions(src *diag.Source) *positions {
	p := &positions{src: src, lines: []int{0}}
	n := 0
	for i := 0; i < len(src.Text); i++ {
		if i%stride == 0 {
			p.runes = append(p.runes, n)
		}
		if utf8.RuneStart(src.Text[i]) {
			n++
		}
		if src.Text[i] == '\n' {
			p.lines = append(p.lines, i+1)
		}
	}
	if len(src.Text)%stride == 0 {
		p.runes = append(p.runes, n)
	}
	return p
}

func (p *positions) line(off int) int {
	return sort.Search(len(p.lines), func(i int) bool { return p.lines[i] > off })
}

// lineStart is the offset of the start of the line of off.
func (p *positions) lineStart(off int) int { return p.lines[p.line(off)-1] }

// before is the number of characters before an offset.
func (p *positions) before(off int) int {
	n := p.runes[off/stride]
	for i := off / stride * stride; i < off; i++ {
		if utf8.RuneStart(p.src.Text[i]) {
			n++
		}
	}
	return n
}

func (p *positions) at(off int) diag.Pos {
	off = min(max(off, 0), len(p.src.Text))
	line := p.line(off)
	return diag.Pos{Offset: off, Line: line, Col: p.before(off) - p.before(p.lines[line-1]) + 1}
}

func (p *positions) span(from, to int) diag.Span {
	start := p.at(from)
	return diag.Span{File: p.src.File, Start: start, End: p.at(max(to, from))}
}

// finish gives every node its span, titles their values, and declarations their help.
func finish(p *parser, list *token.List) {
	f := &finisher{p: p, help: helps(p, list)}
	for _, s := range p.file.Items {
		f.walk(reflect.ValueOf(s))
	}
}

type finisher struct {
	p    *parser
	help map[int]string // by line, of the comment that ends on the line before
}

var (
	nodeType = reflect.TypeFor[Node]()
	strType  = reflect.TypeFor[Str]()
)

func (f *finisher) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			f.walk(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			f.walk(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == nodeType {
			f.place(v.Addr().Interface().(*Node))
			return
		}
		if v.NumField() == 0 || v.Field(0).Kind() != reflect.Struct { // no node
			return
		}
		for i := range v.NumField() {
			f.walk(v.Field(i))
		}
		if v.Type() == strType {
			f.title(v.Addr().Interface().(*Str))
		}
		if h := v.FieldByName("Help"); h.IsValid() {
			n := v.Field(0).Addr().Interface().(*Node)
			h.SetString(f.help[n.Span.Start.Line])
		}
	}
}

func (f *finisher) place(n *Node) {
	if len(n.Tokens) > 0 {
		first, last := n.Tokens[0], n.Tokens[len(n.Tokens)-1]
		n.Span = f.p.pos.span(first.Pos.Offset, last.Pos.Offset+len(last.Value))
		n.Tokens = nil
	}
}

func (f *finisher) title(s *Str) {
	if s.Raw == "" {
		return
	}
	var problem Problem
	s.Value, problem = Unquote(s.Raw)
	if problem.Text == "" {
		return
	}
	from := s.Span.Start.Offset + problem.Off
	at := f.p.pos.span(from, from+problem.Len)
	if problem.Hole {
		f.p.report(diag.Errorf(diag.InterpolatedLit, at, "`${` cannot stand in a title or a path").WithHint("titles are plain text: they name the same thing in every report; write `$${` for the characters themselves"))
		return
	}
	f.p.report(diag.Errorf(diag.BadString, at, "%s", problem.Text).WithHint("%s", problem.Hint))
}

// helps finds the comments that stand alone on their lines, joined where the lines follow each other, by the line behind.
func helps(p *parser, list *token.List) map[int]string {
	lines := map[int][]string{} // joined at the end: a file may be one long comment
	alone := true
	for _, t := range list.All {
		switch {
		case t.Kind == token.End && t.Text == "\n":
			alone = true
		case t.Kind == token.Comment && alone && strings.HasPrefix(t.Text, "//"):
			line := p.pos.line(t.Off)
			text := strings.TrimSpace(strings.TrimPrefix(t.Text, "//"))
			block := lines[line]
			delete(lines, line)
			if text != "" && !strings.HasPrefix(text, "lint:") { // that is for tools, not for readers
				block = append(block, text)
			}
			lines[line+1] = block
		default:
			alone = false
		}
	}
	out := make(map[int]string, len(lines))
	for line, block := range lines {
		out[line] = strings.Join(block, "\n")
	}
	return out
}
