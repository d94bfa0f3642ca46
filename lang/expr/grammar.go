package expr

import (
	"errors"
	"strings"

	"github.com/expr-lang/expr/file"

	"chaos/lang/diag"
	"chaos/lang/token"
	"chaos/lang/value"
)

// role tells the rewriter what a word is.
type role byte

const (
	rolePlain role = iota
	roleName       // a member behind a dot or a map key: every word is legal there
)

// grammar checks that operands and operators alternate and brackets match, before the engine's parser sees the text. So
// nearly every mistake of syntax is met here, where it can be said in the language's own words.
type grammar struct {
	p      *parsed
	roles  []role
	frames []frame
	at     int // the present token
}

// frame is an open bracket, or the expression itself.
type frame struct {
	open     int  // the bracket's token, -1 for the expression itself
	kind     byte // '(' group, 'c' call, '[' list, 'i' index, '{' map, 'p' block of a predicate
	fn       string
	ternary  int  // how many `?` wait for their `:`
	start    int  // the first token of the present comparison
	compared int  // the comparison operator in it, -1
	key      bool // a map's key comes next
	colon    bool // an index has its `:`
}

// predicates are the functions whose second argument is judged once for each element.
var predicates = map[string]bool{"all": true, "any": true, "none": true, "one": true, "filter": true, "map": true, "count": true, "sum": true, "find": true, "findIndex": true, "findLast": true, "sortBy": true}

var comparisons = map[string]bool{"<": true, "<=": true, ">": true, ">=": true, "==": true, "!=": true}

// foreign are operators of other languages and ours.
var foreign = map[string]string{"AND": "and", "And": "and", "OR": "or", "Or": "or", "is": "==", "eq": "==", "equals": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "mod": "%", "like": "matches", "starts_with": "startsWith", "ends_with": "endsWith", "contain": "contains", "includes": "contains", "match": "matches", "IN": "in"}

func (g *grammar) check() *diag.Diagnostic {
	g.frames = []frame{{open: -1, compared: -1}}
	want := true // an operand comes next
	for g.at = 0; g.at < len(g.p.toks); g.at++ {
		var d *diag.Diagnostic
		if want {
			want, d = g.operand()
		} else {
			want, d = g.operator()
		}
		if d != nil {
			return d
		}
	}
	g.at = len(g.p.toks) - 1
	if n := len(g.frames); n > 1 {
		open := g.tok(g.frames[n-1].open)
		return g.fail(diag.Unclosed, open, open, "close it with `"+closing(open.Text)+"`", "this `%s` is never closed", open.Text)
	}
	last := g.tok(g.at)
	if want {
		return g.fail(diag.BadExpression, last, last, "", "something is missing behind `%s`", last.Text)
	}
	if g.top().ternary > 0 {
		return g.fail(diag.BadExpression, last, last, "write `condition ? a : b`", "the `: …` of a `?` is missing")
	}
	return nil
}

func closing(open string) string { return map[string]string{"(": ")", "[": "]", "{": "}"}[open] }

func (g *grammar) top() *frame { return &g.frames[len(g.frames)-1] }

func (g *grammar) tok(i int) token.Token {
	if i < 0 || i >= len(g.p.toks) {
		return token.Token{Kind: token.EOF, Off: g.p.to}
	}
	return g.p.toks[i]
}

func (g *grammar) fail(code diag.Code, a, b token.Token, hint, format string, args ...any) *diag.Diagnostic {
	for i, x := range args {
		if s, ok := x.(string); ok {
			args[i] = brief(s)
		}
	}
	d := diag.Errorf(code, g.p.span(a, b), format, args...)
	d.Hint = oneLine(hint)
	return &d
}

// brief is a piece of source in a message: on one line, and not a whole page of it.
func brief(s string) string {
	s = oneLine(s)
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func oneLine(s string) string {
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace(s)
}

// fresh starts a new comparison behind a comma, a logical operator or a bracket.
func (g *grammar) fresh() { f := g.top(); f.start, f.compared = g.at+1, -1 }

func (g *grammar) push(kind byte, fn string) {
	g.frames = append(g.frames, frame{open: g.at, kind: kind, fn: fn, start: g.at + 1, compared: -1, key: kind == '{'})
}

// operand reads a token where an operand, or an operator before one, must stand. It tells whether one is still wanted.
func (g *grammar) operand() (bool, *diag.Diagnostic) {
	t, prev, next := g.tok(g.at), g.tok(g.at-1), g.tok(g.at+1)
	f := g.top()
	if f.kind == '{' && f.key && !t.Is("}") {
		return g.mapKey()
	}
	switch {
	case t.Kind == token.Number:
		return false, nil
	case t.Kind == token.String:
		return false, nil
	case t.Is("not") || t.Is("!") || t.Is("-") || t.Is("+"):
		return true, nil
	case t.Is("let"):
		return true, g.fail(diag.BadExpression, t, t, "make it a statement of its own: `let name = …`", "`let` is no part of an expression")
	case (t.Is("if") || t.Is("else")) && !next.Is("(") && !(next.Kind == token.EOF || next.Kind == token.Op || next.Is(".") || next.Is(")") || next.Is(",")):
		return true, g.fail(diag.BadExpression, t, t, "write `condition ? a : b`", "`%s` is no part of an expression", t.Text)
	case t.Kind == token.Name && !token.IsWordOp(t.Text):
		return false, nil
	case t.Is("#"):
		if next.Kind == token.Name && next.Off == t.Stop() {
			if next.Text != "index" {
				return true, g.fail(diag.BadExpression, t, next, "there are `#` and `#index`", "`#%s` means nothing", next.Text)
			}
			g.at++
		}
		return false, nil
	case t.Is(".") && g.elements() > 0:
		return false, g.member()
	case t.Is("("):
		g.push('(', "")
		return true, nil
	case t.Is("["):
		g.push('[', "")
		return true, nil
	case t.Is("{"):
		kind := byte('{')
		if f.kind == 'c' && predicates[f.fn] && (prev.Is(",") || prev.Is("(") && g.piped(f.open)) {
			kind = 'p'
		}
		g.push(kind, "")
		return true, nil
	case t.Is(")") || t.Is("]") || t.Is("}"):
		empty := prev.Is("(") && f.kind == 'c' || prev.Is("[") && f.kind == '[' || prev.Is("{") && f.kind == '{'
		if empty || prev.Is(",") && (f.kind == 'c' || f.kind == '[' || f.kind == '{') || prev.Is(":") && f.kind == 'i' {
			return false, g.pop()
		}
		if prev.Is("(") || prev.Is("[") || prev.Is("{") {
			return true, g.fail(diag.BadExpression, prev, t, "", "nothing stands between `%s` and `%s`", prev.Text, t.Text)
		}
	case t.Is(":") && prev.Is("[") && f.kind == 'i':
		f.colon = true
		return true, nil
	case t.Is(":") && prev.Is("?"):
		return true, g.fail(diag.BadExpression, prev, t, "write `a ?? b` for a default", "`?:` is no operator")
	}
	if t.Kind == token.End {
		return true, g.semicolon(t)
	}
	if d := g.runTogether(prev, t); d != nil {
		return true, d
	}
	if t.Is("=") {
		return true, g.assign(t)
	}
	if prev.Kind == token.EOF || prev.Is("(") || prev.Is("[") || prev.Is("{") {
		return true, g.fail(diag.BadExpression, t, t, "", "something is missing before `%s`", t.Text)
	}
	return true, g.fail(diag.BadExpression, prev, t, "", "something is missing between `%s` and `%s`", prev.Text, t.Text)
}

// elements counts the open calls whose argument is a predicate.
func (g *grammar) elements() int {
	n := 0
	for _, f := range g.frames {
		if f.kind == 'c' && predicates[f.fn] {
			n++
		}
	}
	return n
}

// piped tells that the call whose `(` is at i has its first argument before a `|`.
func (g *grammar) piped(i int) bool { return g.tok(i - 2).Is("|") }

// dashed is the word that names joined by `-` make, such as the header `content-type`, and the index of its last token.
func dashed(toks []token.Token, i int) (last int, word string) {
	last, word = i, toks[i].Text
	for last+2 < len(toks) && toks[last].Kind == token.Name && toks[last+1].Is("-") && toks[last+2].Kind == token.Name &&
		toks[last].Stop() == toks[last+1].Off && toks[last+1].Stop() == toks[last+2].Off {
		word += "-" + toks[last+2].Text
		last += 2
	}
	return last, word
}

func (g *grammar) mapKey() (bool, *diag.Diagnostic) {
	t := g.tok(g.at)
	if !g.tok(g.at + 1).Is(":") {
		if t.Is(",") || t.Kind == token.End {
			return true, g.fail(diag.BadExpression, t, t, "a map is written `{name: value}`", "a key is missing here")
		}
		if last, key := dashed(g.p.toks, g.at); last > g.at && g.tok(last+1).Is(":") {
			return true, g.fail(diag.BadExpression, t, g.tok(last), "write `"+value.Quote(key)+": …`", "a key with `-` in it stands in quotes")
		}
		return true, g.fail(diag.BadExpression, t, t, "a map is written `{name: value}`", "a `:` is missing behind `%s`", t.Text)
	}
	switch t.Kind {
	case token.Name:
		g.roles[g.at] = roleName
	case token.String, token.Number:
	default:
		return true, g.fail(diag.BadExpression, t, t, "a map is written `{name: value}`", "`%s` is no key", t.Text)
	}
	g.at++
	g.fresh()
	g.top().key = false
	return true, nil
}

// operator reads a token behind a complete operand. It tells whether another operand is wanted now.
func (g *grammar) operator() (bool, *diag.Diagnostic) {
	t, prev, next := g.tok(g.at), g.tok(g.at-1), g.tok(g.at+1)
	f := g.top()
	switch {
	case t.Kind == token.End:
		return true, g.semicolon(t)
	case t.Is("="):
		return true, g.assign(t)
	case t.Is(".") || t.Is("?."):
		if t.Is("?.") && next.Is("[") {
			return false, nil
		}
		return false, g.member()
	case t.Is("not"):
		if !(next.Is("in") || next.Is("contains") || next.Is("matches") || next.Is("startsWith") || next.Is("endsWith")) {
			return true, g.fail(diag.BadExpression, t, t, "write `!=`, `not in` or `not contains`", "`not` cannot stand behind `%s`", prev.Text)
		}
		g.at++
		return true, nil
	case comparisons[t.Text] && t.Kind == token.Op:
		if f.compared >= 0 {
			return true, g.chained()
		}
		f.compared = g.at
		return true, nil
	case t.Is("and") || t.Is("or") || t.Is("&&") || t.Is("||"):
		g.fresh()
		return true, nil
	case t.Is("?"):
		f.ternary++
		g.fresh()
		return true, nil
	case t.Is(":"):
		if f.ternary > 0 {
			f.ternary--
			g.fresh()
			return true, nil
		}
		if f.kind == 'i' && !f.colon {
			f.colon = true
			g.fresh()
			return true, nil
		}
		if f.kind == 'c' {
			return true, g.fail(diag.BadExpression, t, t, "functions take their arguments in order", "`%s:` names no argument of a function", prev.Text)
		}
		return true, g.fail(diag.Unexpected, t, t, "", "`:` cannot stand behind `%s`", prev.Text)
	case t.Is(","):
		if f.ternary > 0 {
			return true, g.fail(diag.BadExpression, t, t, "write `condition ? a : b`", "the `: …` of a `?` is missing")
		}
		if f.kind == 'c' || f.kind == '[' || f.kind == '{' {
			f.key = f.kind == '{'
			g.fresh()
			return true, nil
		}
		hint := ""
		if f.kind == '(' && g.tok(f.open-1).Is("in") {
			hint = "a list stands between square brackets: `in [a, b]`"
		}
		return true, g.fail(diag.Unexpected, t, t, hint, "`,` cannot stand here")
	case t.Is("("):
		if prev.Kind == token.Name && g.roles[g.at-1] == rolePlain && !isLiteralWord(prev.Text) && !g.tok(g.at-2).Is("#") {
			g.push('c', prev.Text)
			return true, nil
		}
		return true, g.fail(diag.BadExpression, t, t, "", "what stands before this `(` cannot be called")
	case t.Is("["):
		g.push('i', "")
		return true, nil
	case t.Is(")") || t.Is("]") || t.Is("}"):
		return false, g.pop()
	case t.Is("|"):
		if next.Kind != token.Name || !g.tok(g.at+2).Is("(") {
			return true, g.fail(diag.BadExpression, t, t, "write `list | filter(…)`; `or` joins conditions", "behind `|` a function must stand")
		}
		return true, nil
	case t.Is("!") || t.Is("#"):
		return true, g.fail(diag.BadExpression, t, t, "`not` stands before a condition; `!=` compares", "`%s` cannot stand behind `%s`", t.Text, prev.Text)
	case t.Kind == token.Op, t.Kind == token.Name && token.IsWordOp(t.Text):
		return true, nil
	}
	if prev.Is("#") && foreign[t.Text] == "" { // the element of a list here, and a comment in other languages
		return true, g.fail(diag.BadExpression, t, t, "comments start with `//`", "an operator is missing between `#` and `%s`", t.Text)
	}
	if ours, ok := foreign[t.Text]; ok && t.Kind == token.Name {
		return true, g.fail(diag.BadExpression, t, t, "write `"+ours+"`", "`%s` is no operator", t.Text)
	}
	if ours, ok := foreign[prev.Text]; ok && prev.Kind == token.Name && g.at > 1 {
		return true, g.fail(diag.BadExpression, prev, prev, "write `"+ours+"`", "`%s` is no operator", prev.Text)
	}
	if near, ok := diag.Nearest(t.Text, []string{"and", "or", "not", "contains", "matches", "startsWith", "endsWith"}); ok && t.Kind == token.Name && next.Kind != token.EOF {
		return true, g.fail(diag.BadExpression, t, t, "did you mean `"+near+"`?", "`%s` is no operator", t.Text)
	}
	if prev.Kind == token.String && prev.Stop() == t.Off { // "say "yes""
		end := prev
		end.Off, end.Text = prev.Stop()-1, prev.Text[len(prev.Text)-1:]
		return true, g.fail(diag.BadString, end, end, token.QuoteHint(prev), "this quote ends the string")
	}
	if prev.Kind == token.Number && t.Kind == token.Name { // the habits of the parser know it in a script; here for --param and the REPL
		if v, err := value.ParseNumber(prev.Text + t.Text); err == nil {
			return true, g.fail(diag.BadNumber, prev, t, "write `"+v.String()+"`", "a unit stands directly behind its number")
		}
	}
	operator := t.Kind == token.Name && (next.Kind == token.Name || next.Kind == token.Number || next.Kind == token.String) // max(a plus b)
	if f := g.top(); (f.kind == '[' || f.kind == '{' || f.kind == 'c') && !operator {
		hint, both := "write `, ` between them", prev.Text+", "+t.Text
		if brief(both) == both {
			hint = "write `" + both + "`"
		}
		return true, g.fail(diag.BadExpression, t, t, hint, "a comma is missing between `%s` and `%s`", prev.Text, t.Text)
	}
	return true, g.fail(diag.BadExpression, t, t, "", "an operator is missing between `%s` and `%s`", prev.Text, t.Text)
}

func isLiteralWord(s string) bool { return s == "true" || s == "false" || s == "nil" }

// member reads the name behind a dot.
func (g *grammar) member() *diag.Diagnostic {
	dot, name := g.tok(g.at), g.tok(g.at+1)
	if name.Kind != token.Name {
		if name.Kind == token.Number {
			return g.fail(diag.BadExpression, name, name, "write `["+name.Text+"]` for an element of a list", "behind a dot stands a name, not `%s`", name.Text)
		}
		if before := g.tok(g.at - 1); before.Kind == token.Number && before.Stop() == dot.Off { // `5.`
			return g.fail(diag.BadNumber, before, dot, "write `"+before.Text+"`", "a number does not end with a dot")
		}
		return g.fail(diag.BadExpression, dot, dot, "", "a name is missing behind `%s`", dot.Text)
	}
	g.at++
	g.roles[g.at] = roleName
	if !g.tok(g.at + 1).Is("(") {
		return nil
	}
	first := g.at
	for first >= 2 && (g.tok(first-1).Is(".") || g.tok(first-1).Is("?.")) && g.tok(first-2).Kind == token.Name {
		first -= 2
	}
	path := g.p.line(g.tok(first).Off, name.Stop())
	named := g.tok(g.at+2).Kind == token.Name && g.tok(g.at+3).Is(":") // only calls of actions and probes name arguments
	if _, ok := functions[name.Text]; ok && !named {
		object := g.p.line(g.tok(first).Off, g.tok(g.at-2).Stop())
		return g.fail(diag.BadExpression, g.tok(first), name, "write `"+name.Text+"("+object+")`", "values have no functions of their own")
	}
	if token.IsWordOp(name.Text) && name.Text != "and" && name.Text != "or" && name.Text != "not" {
		object := g.p.line(g.tok(first).Off, g.tok(g.at-2).Stop())
		return g.fail(diag.BadExpression, g.tok(first), name, "write `"+object+" "+name.Text+" …`", "values have no functions of their own")
	}
	return g.fail(diag.BadExpression, g.tok(first), name, "declare `probe name = "+path+"(…)` and read the fields of `name`", "`%s` cannot be called here: actions and probes are no expressions", path)
}

// pop closes a bracket.
func (g *grammar) pop() *diag.Diagnostic {
	t := g.tok(g.at)
	f := *g.top()
	if f.open < 0 {
		return g.fail(diag.Unexpected, t, t, "", "nothing is open that this `%s` could close", t.Text)
	}
	open := g.tok(f.open)
	if closing(open.Text) != t.Text {
		return g.fail(diag.Unclosed, open, open, "close it with `"+closing(open.Text)+"`", "this `%s` is never closed", open.Text)
	}
	if f.ternary > 0 {
		return g.fail(diag.BadExpression, t, t, "write `condition ? a : b`", "the `: …` of a `?` is missing before `%s`", t.Text)
	}
	if f.kind == '{' && f.key && !g.tok(g.at-1).Is("{") && !g.tok(g.at-1).Is(",") {
		return g.fail(diag.BadExpression, t, t, "a map is written `{name: value}`", "a value is missing before `}`")
	}
	g.frames = g.frames[:len(g.frames)-1]
	return nil
}

// chained explains `1 < n < 5`.
func (g *grammar) chained() *diag.Diagnostic {
	f := g.top()
	start := f.start
	if g.tok(start).Is("not") || g.tok(start).Is("!") {
		start++
	}
	end, depth := g.at+1, 0
	for ; end < len(g.p.toks); end++ {
		t := g.tok(end)
		if t.Is("(") || t.Is("[") || t.Is("{") {
			depth++
		}
		if t.Is(")") || t.Is("]") || t.Is("}") {
			depth--
		}
		if depth < 0 || depth == 0 && (t.Is("and") || t.Is("or") || t.Is("&&") || t.Is("||") || t.Is(",") || t.Is("?") || t.Is(":") || t.Kind == token.End || t.Kind == token.Op && comparisons[t.Text]) {
			break
		}
	}
	a, b := g.tok(start), g.tok(end-1)
	left := g.p.line(a.Off, g.tok(g.at-1).Stop())
	middle := g.p.line(g.tok(f.compared+1).Off, g.tok(g.at-1).Stop())
	right := g.p.line(g.tok(g.at).Off, b.Stop())
	return g.fail(diag.BadExpression, a, b, "write `"+left+" and "+middle+" "+right+"`", "comparisons cannot be chained")
}

func (g *grammar) assign(t token.Token) *diag.Diagnostic {
	next, prev := g.tok(g.at+1), g.tok(g.at-1)
	if next.Off == t.Stop() && next.Is(">") && prev.Kind == token.Name && (g.tok(g.at-2).Is(",") || g.tok(g.at-2).Is("(")) { // all(list, x => x.ok)
		return g.fail(diag.BadExpression, t, next, "`#` is the element: write `# > 1` or `.field`", "`=>` is no operator")
	}
	if next.Off == t.Stop() && (next.Is(">") || next.Is("<")) {
		return g.fail(diag.BadExpression, t, next, "write `"+next.Text+"=`", "`=%s` is no operator", next.Text)
	}
	if d := g.runTogether(prev, t); d != nil {
		return d
	}
	return g.fail(diag.BadAssign, t, t, "write `==` to compare", "`=` binds a name, it does not compare")
}

func (g *grammar) semicolon(t token.Token) *diag.Diagnostic {
	return g.fail(diag.BadExpression, t, t, "", "`;` ends a statement and cannot stand inside an expression")
}

// runTogether knows operators of other languages that the scanner sees as two.
func (g *grammar) runTogether(a, b token.Token) *diag.Diagnostic {
	if a.Kind == token.EOF || a.Stop() != b.Off {
		return nil
	}
	hints := map[string]string{"->": "", "<>": "write `!=`", "===": "write `==`", "!==": "write `!=`", "++": "", "--": "", "+=": "", "-=": "", "&&&": "write `and`", "|||": "write `or`", ":=": "", "<<": "", ">>": "", "=>": "write `>=`"}
	hint, ok := hints[a.Text+b.Text]
	if !ok {
		return nil
	}
	return g.fail(diag.BadExpression, a, b, hint, "`%s` is no operator", a.Text+b.Text)
}

// translate puts the few mistakes that only the engine's parser finds into words of the language.
func (p *parsed) translate(err error) diag.Diagnostic {
	at := len(p.toks) - 1
	var fe *file.Error
	message := ""
	if errors.As(err, &fe) {
		at = min(p.tokenAt(p.offset(fe.Location)), len(p.toks)-1)
		message = fe.Message
	}
	t := p.toks[at]
	switch {
	case t.Is("."):
		return diag.Errorf(diag.BadExpression, p.span(t, t), "`.field` of an element stands only behind the list of `all(list, …)` and its like")
	case strings.Contains(message, "coalesce"):
		return diag.Errorf(diag.BadExpression, p.span(t, t), "`??` and `%s` need brackets to tell which comes first", t.Text).WithHint("write `(a ?? b) %s c`", t.Text)
	case strings.HasPrefix(message, "expected at least"):
		for i := at; i >= 0; i-- {
			if predicates[p.toks[i].Text] && i+1 < len(p.toks) && p.toks[i+1].Is("(") {
				return diag.Errorf(diag.MissingArgument, p.span(p.toks[i], t), "`%s` takes a list and what to ask of each element", p.toks[i].Text).WithHint("write `%s(list, # > 1)`", p.toks[i].Text)
			}
		}
	}
	for i := at; i >= 0; i-- { // a predicate takes a fixed number of arguments
		if predicates[p.toks[i].Text] && i+1 < len(p.toks) && p.toks[i+1].Is("(") && p.toks[at].Is(",") {
			return diag.Errorf(diag.TooManyArgs, p.span(t, t), "`%s` takes a list and what to ask of each element, no more", p.toks[i].Text)
		}
	}
	return diag.Errorf(diag.BadExpression, p.span(t, t), "the expression cannot be read from `%s` on", t.Text)
}
