package syntax

import (
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/token"
	"chaos/lang/value"
)

// asked are words that other languages have for an operator of this one.
var asked = map[string]string{
	"like": "write `contains`, or `matches` with a regular expression", "includes": "write `contains`", "contain": "write `contains`",
	"has": "write `contains`", "match": "write `matches`", "isnt": "write `!=`",
	"xor": "write `a != b`", "mod": "write `%`", "div": "write `/`",
}

// habit knows what comes from other languages and from writing by hand, where a statement got stuck at k.
func (p *parser) habit(i, e, k int) (diag.Diagnostic, bool) {
	if k <= i || k >= e {
		return diag.Diagnostic{}, false
	}
	at, before := p.toks[k], p.toks[k-1]
	touch := before.Stop() == at.Off
	both := p.pos.span(before.Off, at.Stop())
	next := token.Token{Kind: token.EOF}
	if k+1 < e {
		next = p.toks[k+1]
	}
	for _, t := range []token.Token{before, at} { // AND, Not, OR
		if lower := strings.ToLower(t.Text); t.Kind == token.Name && t.Text != lower && token.IsWordOp(lower) {
			return diag.Errorf(diag.Unexpected, p.span(t), "`%s` is written `%s`", t.Text, lower), true
		}
	}
	if d, ok := p.comma(i, e, k); ok {
		return d, true
	}
	if before.Kind == token.String && touch && (at.Kind == token.Name || at.Kind == token.Number || at.Kind == token.String) { // "sum(up{job="api"})"
		return diag.Errorf(diag.BadString, p.pos.span(before.Stop()-1, before.Stop()), "this quote ends the string").
			WithHint("%s", token.QuoteHint(before)), true
	}
	switch {
	case at.Is("#") && operandEnd(before):
		return diag.Errorf(diag.BadCharacter, p.span(at), "`#` starts no comment here").WithHint("comments start with `//`"), true
	case before.Is("while") && p.toks[i].Is("wait") && k == i+2:
		return diag.Errorf(diag.Unexpected, p.span(before), "`wait` takes no `while`").WithHint("write `wait until not (CONDITION) within 30s`"), true
	case at.Kind == token.Name && asked[at.Text] != "" && operandEnd(before) && !before.Is(")") && p.judges(i):
		return diag.Errorf(diag.Unexpected, p.span(at), "`%s` is no operator", at.Text).WithHint("%s", asked[at.Text]), true
	case at.Is("between") && operandEnd(before) && p.judges(i) && k+3 < e && p.toks[k+2].Is("and"):
		x, least, most := p.left(i, k), p.toks[k+1].Text, p.toks[k+3].Text
		return diag.Errorf(diag.Unexpected, p.span(at), "`between` is no operator").WithHint("write `%s <= %s and %s <= %s`", least, x, x, most), true
	case at.Kind == token.Name && len(at.Text) > 2 && operandEnd(before) && p.judges(i) && !token.Reserved[at.Text] && nearWordOp(at.Text) != "":
		return diag.Errorf(diag.Unexpected, p.span(at), "`%s` is no operator", at.Text).WithHint("did you mean `%s`?", nearWordOp(at.Text)), true
	case at.Is(".") && next.Kind == token.Name && usage[p.toks[i].Text] == "" && p.partner[k-1] < k-1 && p.callee(i) == p.partner[k-1]:
		return diag.Errorf(diag.Unexpected, p.span(at), "a step is no value, so no field of it can be read here").WithHint("name what it returns: `%s(…) as result`, and read `result.%s`", p.text(i, p.partner[k-1]), next.Text), true
	case comparisons[at.Text] && (before.Is("and") || before.Is("or") || before.Is("&&") || before.Is("||")) && p.judges(i) && p.compared(i, k) != "":
		return diag.Errorf(diag.Unexpected, p.span(at), "nothing stands in front of this `%s`", at.Text).WithHint("say it on this side too: `%s %s …`", p.compared(i, k), at.Text), true
	case before.Is(".") && at.Kind == token.Number && p.judges(i):
		return diag.Errorf(diag.Unexpected, p.span(at), "behind a dot stands a name, not `%s`", at.Text).WithHint("write `[%s]` for an element of a list", at.Text), true
	case before.Is("not") && k-2 > i && operandEnd(p.toks[k-2]) && (at.Kind == token.Number || at.Kind == token.String):
		return diag.Errorf(diag.Unexpected, p.span(before), "`not` compares nothing").WithHint("write `!=`"), true
	case at.Is(".") && next.Kind == token.Number && at.Stop() == next.Off && !touch:
		return diag.Errorf(diag.BadNumber, p.pos.span(at.Off, next.Stop()), "a number starts with a digit").WithHint("write `0.%s`", next.Text), true
	case before.Kind == token.Number && at.Kind == token.Number:
		if v, err := value.ParseNumber(before.Text + at.Text); err == nil && v.T.Kind == value.Duration {
			return diag.Errorf(diag.BadNumber, both, "the parts of a duration stand together").WithHint("write `%s%s`", before.Text, at.Text), true
		}
	case at.Is(":") && k == i+3 && p.toks[i+1].Is(":") && p.pos.line(p.toks[i+1].Off) < p.pos.line(before.Off):
		return diag.Errorf(diag.Unexpected, p.behind(p.toks[i+1]), "`%s` has no value", p.toks[i].Text).WithHint("write `%s: VALUE`", p.toks[i].Text), true
	}
	return diag.Diagnostic{}, false
}

// comma knows what a comma behind a whole expression is meant for.
func (p *parser) comma(i, e, k int) (diag.Diagnostic, bool) {
	at, before := p.toks[k], p.toks[k-1]
	if !at.Is(",") || !operandEnd(before) || p.inside(i, k) {
		return diag.Diagnostic{}, false
	}
	d := diag.Errorf(diag.Unexpected, p.span(at), "a comma cannot stand here")
	if k+1 == e {
		return d.WithHint("remove it: a statement ends with its line"), true
	}
	next, first := p.toks[k+1], p.toks[i]
	if before.Kind == token.Number && next.Kind == token.Number && before.Stop() == at.Off && at.Stop() == next.Off {
		sign := "."
		if len(next.Text) == 3 {
			sign = "_"
		}
		return diag.Errorf(diag.BadNumber, p.pos.span(before.Off, next.Stop()), "a comma parts values, not digits").WithHint("write `%s%s%s`", before.Text, sign, next.Text), true
	}
	switch {
	case token.Clauses[next.Text]:
		return d.WithHint("remove it"), true
	case p.pos.line(next.Off) > p.pos.line(at.Off):
		return d.WithHint("remove it: a statement ends with its line"), true
	case first.Is("use"):
		return d.WithHint("start a new line: `use %s`", short(next)), true
	case checks[first.Text] && next.Kind == token.String:
		return d.WithHint("write `because \"…\"`"), true
	case checks[first.Text]:
		return d.WithHint("write `and`, or a second `%s` on a new line", first.Text), true
	case k > i+2 && p.toks[i+1].Is(":"): // an attribute
		return d.WithHint("write a list: `%s: [%s]`", first.Text, short(token.Token{Text: p.text(i+2, e)})), true
	case first.Is("param"):
		for j := i + 2; j < k; j++ {
			if p.toks[j].Is("in") {
				return d.WithHint("write a list: `in [%s]`", short(token.Token{Text: p.text(j+1, e)})), true
			}
		}
	case first.Kind == token.Name && !token.Reserved[first.Text]:
		return d.WithHint("start a new line for the next step"), true
	}
	return diag.Diagnostic{}, false
}

// inside tells that the token at k stands between brackets that open behind i.
func (p *parser) inside(i, k int) bool {
	for j := i; j < k; j++ {
		if p.partner[j] > k {
			return true
		}
	}
	return false
}

// judges tells a statement that holds an expression, rather than a call.
func (p *parser) judges(i int) bool {
	t := p.toks[i]
	return t.Kind == token.Name && (checks[t.Text] || t.Text == "abort" || t.Text == "when" || t.Text == "wait" || t.Text == "let")
}

var comparisons = map[string]bool{"<": true, "<=": true, ">": true, ">=": true, "==": true, "!=": true}

// callee is the index behind the name of a call that starts at i, where its bracket opens.
func (p *parser) callee(i int) int {
	j := i + 1
	for j+1 < len(p.toks) && p.toks[j].Is(".") {
		j += 2
	}
	return j
}

// left is the operand that ends in front of k: what stands there up to the word that joins it with another one.
func (p *parser) left(i, k int) string {
	j := k
	for j > i+1 && !slices.Contains([]string{"and", "or", "&&", "||", "not", "when", "until", "="}, p.toks[j-1].Text) && p.partner[j-1] < k {
		j--
	}
	return p.text(j, k)
}

// compared is the left side of the last comparison in front of k, "" for none.
func (p *parser) compared(i, k int) string {
	for j := k - 1; j > i+1; j-- {
		if comparisons[p.toks[j].Text] && p.toks[j].Kind == token.Op {
			return p.left(i, j)
		}
	}
	return ""
}

// nearWordOp is the operator that a misspelt word most likely means, "" for none.
func nearWordOp(word string) string {
	near, _ := diag.Nearest(strings.ReplaceAll(word, "_", ""), []string{"contains", "startsWith", "endsWith", "matches"})
	return near
}

// behindBlock reports what stands behind the block of a statement, where only `else` may.
func (p *parser) behindBlock(i, e int) (diag.Diagnostic, bool) {
	if !blocks[p.toks[i].Text] || p.toks[i].Kind != token.Name {
		return diag.Diagnostic{}, false
	}
	for k := i; k < e; k++ {
		j := p.partner[k]
		if j <= k {
			continue
		}
		if !p.toks[k].Is("{") || p.operandWanted(i, k) {
			k = j
			continue
		}
		if j+1 >= e || p.toks[j+1].Is("else") {
			return diag.Diagnostic{}, false
		}
		t := p.toks[j+1]
		d := diag.Errorf(diag.Unexpected, p.span(t), "%s cannot stand behind the block of `%s`", found(t), p.toks[i].Text)
		switch {
		case p.toks[i].Is("when") && t.Kind == token.Name && strings.HasPrefix(t.Text, "el"):
			d = d.WithHint("write `else when CONDITION { … }`")
		case p.toks[i].Is("when") && t.Is("otherwise"):
			d = d.WithHint("write `else { … }`")
		case token.Clauses[t.Text]:
			d = d.WithHint("`%s` trails a single step: write it behind the steps inside", t.Text)
		default:
			d = d.WithHint("start a new line behind the `}`")
		}
		return d, true
	}
	return diag.Diagnostic{}, false
}

// equals reports an assignment where a comparison is meant.
func (p *parser) equals(k int) diag.Diagnostic {
	at, op := p.span(p.toks[k]), "=="
	if k+1 < len(p.toks) && p.toks[k+1].Off == p.toks[k].Stop() {
		if o := map[string]string{"!": "!=", ">": ">=", "<": "<=", "~": "matches"}[p.toks[k+1].Text]; o != "" {
			op = o
			at = p.pos.span(p.toks[k].Off, p.toks[k+1].Stop())
			return diag.Errorf(diag.BadAssign, at, "`%s%s` is no operator", p.toks[k].Text, p.toks[k+1].Text).WithHint("write `%s`", op)
		}
	}
	return diag.Errorf(diag.BadAssign, at, "`=` binds a name; a condition compares with `==`").WithHint("write `%s`", op)
}
