package syntax

import (
	"reflect"

	"chaos/lang/diag"
	"chaos/lang/token"
)

// pieces parses tokens statement by statement: the way a broken file is read. What cannot be parsed is one message.
func (p *parser) pieces(from, to int) []Stmt {
	var out []Stmt
	for i := from; i < to; {
		if p.toks[i].Kind == token.End {
			i++
			continue
		}
		end := p.end(i, to)
		if p.braceBelow(i, end, to) {
			open := end + 1
			end = p.end(open, to)
			p.report(diag.Errorf(diag.Unexpected, p.span(p.toks[open]), "this `{` starts a line, so it belongs to nothing").WithHint("write it on the line of `%s`", p.toks[i].Text))
			out = append(out, p.withBlock(i, open, end)...)
			i = end + 1
			continue
		}
		if p.toks[i].Is("else") {
			p.lonelyElse(i, end, out)
		} else {
			out = append(out, p.statement(i, end)...)
		}
		i = end + 1
	}
	return out
}

// braceBelow tells that the brace of a block stands on the line below its head.
func (p *parser) braceBelow(i, end, to int) bool {
	return blocks[p.toks[i].Text] && end+1 < to && p.toks[end].Text == "\n" && p.toks[end+1].Is("{") && p.blockOf(i, end) < 0
}

// end is the index behind the last token of the statement that starts at i.
func (p *parser) end(i, to int) int {
	for ; i < to; i++ {
		if p.toks[i].Kind == token.End {
			return i
		}
		if j := p.partner[i]; j > i {
			i = j
		}
	}
	return to
}

// statement parses what stands from i up to e, which may be more than one statement where an end was forgotten.
func (p *parser) statement(i, e int) []Stmt {
	if !p.anyReported(i, e) {
		s, at, ok := run(stmtParser, p.toks[i:e])
		if ok {
			return []Stmt{*s}
		}
		if open := p.blockOf(i, e); open < 0 {
			return p.leaf(i, e, p.index(i, e, at))
		}
	}
	open := p.blockOf(i, e)
	if open < 0 { // a bracket was reported
		p.lose(i, e)
		return nil
	}
	return p.withBlock(i, open, e)
}

func (p *parser) anyReported(i, e int) bool {
	for ; i < e; i++ {
		if p.reported[i] {
			return true
		}
	}
	return false
}

// index is the token of a statement at an offset.
func (p *parser) index(i, e, off int) int {
	for k := i; k < e; k++ {
		if p.toks[k].Off >= off {
			return k
		}
	}
	return e
}

// blockOf is the index of the brace that opens the block of a statement, -1 where it has none.
func (p *parser) blockOf(i, e int) int {
	for k := i; k < e; k++ {
		j := p.partner[k]
		if j <= k {
			continue
		}
		if p.toks[k].Is("{") && (j+1 == e || p.toks[j+1].Is("else")) && (blocks[p.toks[i].Text] || !p.operandWanted(i, k)) {
			return k
		}
		k = j
	}
	return -1
}

// blocks are the words of statements that have a block.
var blocks = map[string]bool{
	"experiment": true, "setup": true, "steady": true, "hypothesis": true, "inject": true, "rollback": true,
	"repeat": true, "when": true, "parallel": true, "do": true, "action": true, "else": true,
}

// operandWanted tells that a brace at k starts a map and no block.
func (p *parser) operandWanted(i, k int) bool {
	if k == i {
		return false
	}
	switch t := p.toks[k-1]; t.Kind {
	case token.Op:
		return true
	case token.Punct:
		return t.Text == ":" || t.Text == "=" || t.Text == ","
	case token.Name:
		return token.IsWordOp(t.Text) || checks[p.toks[i].Text] && k == i+1 || token.Clauses[t.Text] && k > i+1
	}
	return false
}

var checks = map[string]bool{"expect": true, "always": true, "never": true, "eventually": true}

// withBlock parses the head of a statement on its own, then the statements of its block.
func (p *parser) withBlock(i, open, e int) []Stmt {
	stop := p.partner[open]
	first := p.toks[i]
	if first.Is("if") || first.Is("while") || first.Is("foreach") || first.Is("loop") || first.Is("try") || !blocks[first.Text] {
		if first.Kind == token.Error && p.hasError(i, open) {
			p.lose(i, e)
			return nil
		}
		p.unknownBlock(i, open, e)
		return nil
	}
	var head []token.Token
	for _, t := range p.toks[i : open+1] {
		if t.Kind != token.End {
			head = append(head, t)
		}
	}
	head = append(head, p.toks[stop])
	var s Stmt
	if tree, at, ok := run(stmtParser, head); ok {
		s = *tree
	} else {
		if k := p.index(i, open, at); !p.quiet(i, open+1) {
			p.explain(i, open, e, k)
		}
		s = p.bare(i, open)
	}
	if s == nil {
		p.lose(i, e)
		return nil
	}
	blockTokens := convert(p.toks[open : stop+1])
	s.node().Tokens = convert(p.toks[i:e])
	b := blockOfStmt(s)
	b.Tokens = blockTokens
	b.Stmts = p.pieces(open+1, stop)
	if w, ok := s.(*When); ok && stop+1 < e {
		p.otherwise(w, stop+1, e)
	} else if stop+1 < e { // an `else` behind something else than `when`
		p.lonelyElse(stop+1, e, nil)
	}
	return []Stmt{s}
}

// bare makes a node of which only the block is known.
func (p *parser) bare(i, open int) Stmt {
	p.file.Incomplete = true
	p.names(i, open)
	word := p.toks[i].Text
	switch word {
	case "experiment":
		s := &Experiment{}
		s.Title.Tokens = convert(p.toks[i : i+1])
		return s
	case "repeat":
		s := &Repeat{Times: &Expr{Bad: true}}
		s.Times.Tokens = convert(p.toks[i : i+1])
		return s
	case "when":
		s := &When{Cond: Expr{Bad: true}}
		s.Cond.Tokens = convert(p.toks[i : i+1])
		return s
	case "parallel":
		return &Parallel{}
	case "do":
		return &Do{}
	case "setup", "steady", "hypothesis", "inject", "rollback":
		return &Section{Kind: word}
	}
	return nil
}

func blockOfStmt(s Stmt) *Block {
	switch s := s.(type) {
	case *When:
		return &s.Then
	default:
		return reflect.ValueOf(s).Elem().FieldByName("Body").Addr().Interface().(*Block)
	}
}

// otherwise parses the `else` at k of a `when`.
func (p *parser) otherwise(w *When, k, e int) {
	if k+1 < e && p.toks[k+1].Is("when") {
		for _, s := range p.statement(k+1, e) {
			w.ElseWhen, _ = s.(*When)
		}
		return
	}
	if k+1 < e && p.toks[k+1].Is("{") {
		stop := p.partner[k+1]
		w.Else = &Block{Stmts: p.pieces(k+2, stop)}
		w.Else.Tokens = convert(p.toks[k+1 : stop+1])
		if stop+1 < e && !p.quiet(stop+1, e) {
			p.report(p.unexpected(stop+1, e, "nothing goes on behind the last `else`"))
		}
		return
	}
	if !p.quiet(k, e) {
		at := p.span(p.toks[k])
		d := diag.Errorf(diag.Unexpected, at, "`else` needs a block")
		if k+1 < e && p.toks[k+1].Is("if") {
			d = d.WithHint("write `else when CONDITION { … }`")
		} else {
			d = d.WithHint("write `else { … }` or `else when CONDITION { … }`")
		}
		p.report(d)
	}
	p.lose(k, e)
}

// lonelyElse reports an `else` that stands on a line of its own, and parses its block all the same.
func (p *parser) lonelyElse(i, e int, before []Stmt) {
	d := diag.Errorf(diag.Unexpected, p.span(p.toks[i]), "`else` stands alone")
	var w *When
	if n := len(before); n > 0 {
		w, _ = before[n-1].(*When)
	}
	for w != nil && w.ElseWhen != nil {
		w = w.ElseWhen
	}
	if w != nil && w.Else == nil {
		d = diag.Errorf(diag.Unexpected, p.span(p.toks[i]), "`else` starts a line, so it belongs to nothing").WithHint("write it on the line of the brace: `} else {`")
		p.report(d)
		p.otherwise(w, i, e)
		return
	}
	p.report(d.WithHint("it belongs behind the block of a `when`: `when CONDITION { … } else { … }`"))
	p.lose(i, e)
}

// leaf reports a statement without a block that got stuck at k.
func (p *parser) leaf(i, e, k int) []Stmt {
	if p.toks[i].Is("wait") && k == i+2 && k < e && p.toks[i+1].Kind == token.Name {
		if near, ok := diag.Nearest(p.toks[i+1].Text, []string{"until"}); ok {
			p.report(diag.Errorf(diag.Unexpected, p.span(p.toks[i+1]), "`%s` cannot stand here", p.toks[i+1].Text).WithHint("did you mean `%s`?", near))
			p.lose(i, e)
			return nil
		}
	}
	if d, ok := p.habit(i, e, k); ok {
		if !p.quiet(i, e) {
			p.report(d)
		}
		p.lose(i, e)
		return nil
	}
	// Two statements on a line: the first is whole where the second starts.
	if k > i && k < e && p.startsStatement(k, e) {
		if s, _, ok := run(stmtParser, p.toks[i:k]); ok {
			if !p.quiet(i, e) {
				p.report(diag.Errorf(diag.Unexpected, p.span(p.toks[k]), "a second statement starts on this line").WithHint("start a new line before `%s`, or write `;`", p.toks[k].Text))
			}
			rest, at, ok := run(stmtParser, p.toks[k:e])
			if ok {
				return []Stmt{*s, *rest}
			}
			_ = at
			p.lose(k, e)
			return []Stmt{*s}
		}
	}
	if !p.quiet(i, e) {
		p.explain(i, -1, e, k)
	}
	p.lose(i, e)
	return nil
}

// startsStatement tells that a second statement starts at k.
func (p *parser) startsStatement(k, e int) bool {
	t := p.toks[k]
	if t.Kind != token.Name {
		return false
	}
	if token.Statements[t.Text] {
		return true
	}
	return !token.Reserved[t.Text] && k+2 < e && (p.toks[k+1].Is(".") || p.toks[k+1].Is("("))
}

// quiet tells that a mistake among these tokens was reported already.
func (p *parser) quiet(i, e int) bool { return p.anyReported(i, e) || p.hasError(i, e) }

func (p *parser) hasError(i, e int) bool {
	for ; i < e; i++ {
		if p.toks[i].Kind == token.Error {
			return true
		}
	}
	return false
}

// lose notes that a statement is not in the tree, and the names that it would have declared.
func (p *parser) lose(i, e int) {
	p.file.Incomplete = true
	p.names(i, e)
}

// names assumes every name that tokens seem to declare.
func (p *parser) names(i, e int) {
	for k := i; k+1 < e; k++ {
		t, next := p.toks[k], p.toks[k+1]
		if next.Kind != token.Name {
			if (t.Is("use") || t.Is("import") || t.Is("from")) && next.Kind == token.String {
				if path, _ := Unquote(next.Text); path != "" {
					p.file.Assumed[segment(path)] = true
				}
			}
			continue
		}
		if token.Reserved[next.Text] {
			continue
		}
		first := k == i || p.toks[k-1].Kind == token.End || p.toks[k-1].Is("{")
		switch {
		case first && t.Is("probe") && p.hasCall(k+1, e) && p.toks[k+2].Is("."): // without a name: `http` is none
		case t.Is("as"), first && (t.Is("let") || t.Is("param") || t.Is("probe") || t.Is("action") || t.Is("repeat")):
			p.file.Assumed[next.Text] = true
			for d := k + 2; d+1 < e && p.toks[d].Is("-") && p.toks[d+1].Kind == token.Name; d += 2 { // my-home
				if word := p.toks[d+1].Text; !token.Reserved[word] {
					p.file.Assumed[word] = true
				}
			}
		case first && t.Is("use"): // std/web without quotes, or web from "std/web"
			for _, word := range p.toks[k+1 : e] {
				if word.Kind == token.Name {
					p.file.Assumed[word.Text] = true
				}
			}
		case first && t.Kind == token.Name && k+2 < e && p.toks[k+2].Is("="): // a misspelt `let`
			p.file.Assumed[next.Text] = true
		}
	}
	if i+1 < e && p.toks[i].Kind == token.Name && p.toks[i+1].Is("=") {
		p.file.Assumed[p.toks[i].Text] = true
	}
}

func segment(path string) string {
	start := 0
	for i := range len(path) {
		if path[i] == '/' {
			start = i + 1
		}
	}
	path = path[start:]
	if n := len(path) - len(".chaos"); n > 0 && path[n:] == ".chaos" {
		path = path[:n]
	}
	return path
}
