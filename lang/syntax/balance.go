package syntax

import (
	"strings"

	"chaos/lang/diag"
	"chaos/lang/token"
)

// closerOf maps an opening bracket to its partner.
var closerOf = map[string]string{"(": ")", "[": "]", "{": "}"}

// sections are the words that start a block directly inside an experiment.
var sections = map[string]bool{"setup": true, "steady": true, "hypothesis": true, "inject": true, "rollback": true}

// balance returns the tokens with every bracket paired: what is missing is put in, empty, and what is too much is left
// out. Each mistake is reported once, an unclosed bracket at the opening one.
func (p *parser) balance(tokens []token.Token) []token.Token {
	tokens = splitTitles(tokens)
	if out, ok := plain(tokens); ok {
		return out
	}
	tokens = p.heads(tokens)
	if out, ok := plain(tokens); ok {
		return out
	}
	b := &balancer{p: p}
	for i, t := range tokens {
		b.next(tokens, i, t)
	}
	last := tokens[len(tokens)-1].Off
	b.closeTo(0, last)
	if n := len(b.out); n > 0 && b.out[n-1].Kind != token.End {
		b.out = append(b.out, token.Token{Kind: token.End, Off: last})
	}
	return b.out
}

// plain returns the tokens without EOF if their brackets pair.
func plain(tokens []token.Token) ([]token.Token, bool) {
	var open []string
	for i, t := range tokens {
		switch {
		case t.Kind == token.EOF:
			return tokens[:i], len(open) == 0
		case t.Kind == token.End && len(open) > 0 && open[len(open)-1] != "}":
			return nil, false
		case t.Kind != token.Punct:
		case closerOf[t.Text] != "":
			open = append(open, closerOf[t.Text])
		case t.Text == ")" || t.Text == "]" || t.Text == "}":
			if len(open) == 0 || open[len(open)-1] != t.Text {
				return nil, false
			}
			open = open[:len(open)-1]
		}
	}
	return tokens, len(open) == 0
}

// splitTitles gives a block whose title is never closed its brace back, which the string swallowed.
func splitTitles(tokens []token.Token) []token.Token {
	out := make([]token.Token, 0, len(tokens))
	for i, t := range tokens {
		if t.Kind == token.End && len(out) > 0 && out[len(out)-1].Is("{") {
			continue
		}
		head := i > 0 && opens(tokens[i-1]) || i > 1 && tokens[i-1].Kind == token.Name && opens(tokens[i-2]) // a title that is never closed, or never opened
		if text := strings.TrimRight(t.Text, " \t\r"); head && t.Kind == token.Error && t.Text[0] == '"' && strings.HasSuffix(text, "{") {
			cut := len(text) - 1
			out = append(out, token.Token{Kind: token.Error, Text: t.Text[:cut], Off: t.Off}, token.Token{Kind: token.Punct, Text: "{", Off: t.Off + cut})
			continue
		}
		out = append(out, t)
	}
	return out
}

// opens tells the words of blocks that may have a title.
func opens(t token.Token) bool {
	return t.Kind == token.Name && (t.Is("experiment") || t.Is("do") || sections[t.Text])
}

// heads gives each block its one brace, as far as too few or too many of them stand in the file: a head without a brace at
// the end of its line gets one, and of two behind a head the second goes.
func (p *parser) heads(tokens []token.Token) []token.Token {
	missing := 0 // more that close than that open
	for _, t := range tokens {
		switch {
		case t.Is("{"):
			missing--
		case t.Is("}"):
			missing++
		}
	}
	out := make([]token.Token, 0, len(tokens))
	for i, t := range tokens {
		n := len(out)
		titled := n > 1 && out[n-1].Kind == token.String
		k := n - 1 // the word of a head that ends here
		if titled {
			k--
		}
		head := k >= 0 && opens(out[k]) && (k == 0 || out[k-1].Kind == token.End || out[k-1].Is("{"))
		switch {
		case head && missing > 0 && t.Kind == token.End && t.Text == "\n" && (titled || !out[k].Is("steady")) && !nextOpens(tokens[i:]):
			at := out[n-1].Stop()
			p.report(diag.Errorf(diag.Unclosed, p.pos.span(at, at), "a `{` is missing here").WithHint("write `%s {`", short(token.Token{Text: p.src.Text[out[k].Off:at]})))
			out = append(out, token.Token{Kind: token.Punct, Text: "{", Off: at})
			missing--
			continue
		case missing < 0 && t.Is("{") && n > 0 && out[n-1].Is("{") && p.pos.line(t.Off) == p.pos.line(out[n-1].Off):
			p.report(diag.Errorf(diag.Unclosed, p.span(t), "one `{` is too many").WithHint("remove it"))
			missing++
			continue
		}
		out = append(out, t)
	}
	return out
}

// nextOpens tells that the brace stands on the next line, which is another mistake.
func nextOpens(rest []token.Token) bool {
	for _, t := range rest {
		if t.Kind != token.End {
			return t.Is("{")
		}
	}
	return false
}

type balancer struct {
	p    *parser
	out  []token.Token
	open []int // indices in out of the brackets around the next token
	head []int // for each of them, the index in out of its line's first token
}

func (b *balancer) top() string {
	if n := len(b.open); n > 0 {
		return b.out[b.open[n-1]].Text
	}
	return ""
}

func (b *balancer) next(tokens []token.Token, i int, t token.Token) {
	switch {
	case t.Kind == token.EOF:
		return
	case t.Kind == token.End && t.Text == ";" && b.closedOnLine(tokens, i):
		return
	case t.Kind == token.End:
		// The lexer ends no statement inside ( and [, unless a statement word follows or a `;` stands there.
		b.closeRound(t.Off)
	case t.Kind == token.Name && b.lineStart(t):
		b.word(tokens, i, t)
	case t.Kind != token.Punct:
	case closerOf[t.Text] != "":
		b.open = append(b.open, len(b.out))
		b.head = append(b.head, b.first(t))
	case t.Text == ")" || t.Text == "]":
		if !b.closes(t) {
			b.p.report(diag.Errorf(diag.Unclosed, b.p.span(t), "`%s` closes nothing", t.Text).WithHint("remove it, or open it before with `%s`", opener(t.Text)))
			return
		}
	case t.Text == "}":
		b.closeRound(t.Off)
		// A brace further left than the line that opened the innermost block closes an outer one.
		if b.lineStart(t) {
			col := b.column(t.Off)
			for n := len(b.open); n > 1 && b.column(b.out[b.head[n-1]].Off) > col && b.column(b.out[b.head[n-2]].Off) >= col; n = len(b.open) {
				b.closeTo(n-1, t.Off)
			}
		}
		if len(b.open) == 0 {
			b.p.report(diag.Errorf(diag.Unclosed, b.p.span(t), "`}` closes nothing").WithHint("remove it, or look for a `{` that is missing above"))
			return
		}
		b.pop()
	}
	b.out = append(b.out, t)
}

// closedOnLine tells that a `;` stands between brackets that are closed further on: it is reported there and left out.
func (b *balancer) closedOnLine(tokens []token.Token, i int) bool {
	n := len(b.open)
	if b.top() == "{" || n == 0 {
		return false
	}
	depth := 0
	for _, t := range tokens[i+1:] {
		switch {
		case t.Kind == token.End && t.Text != ";" || t.Is("{") || t.Is("}"):
			return false
		case t.Is("(") || t.Is("["):
			depth++
		case t.Is(")") || t.Is("]"):
			if depth--; depth < 0 {
				if k := b.open[n-1]; !b.p.reported[k] && (k == 0 || foreign[b.out[k-1].Text] == "" || k > 1 && b.out[k-2].Is(".")) {
					b.p.reported[k] = true
					b.p.report(diag.Errorf(diag.Unexpected, b.p.span(tokens[i]), "`;` cannot stand between brackets").WithHint("part arguments with `,`"))
				}
				return true
			}
		}
	}
	return false
}

// word closes the blocks that a section or an experiment cannot stand in.
func (b *balancer) word(tokens []token.Token, i int, t token.Token) {
	if !startsBlock(tokens, i) {
		return
	}
	keep := len(b.open)
	switch {
	case t.Text == "experiment":
		keep = 0
	case sections[t.Text]:
		for keep > 0 && b.out[b.head[keep-1]].Text != "experiment" {
			keep--
		}
		if keep == 0 { // a section outside of every experiment: the checker says so
			return
		}
	}
	if keep < len(b.open) {
		b.closeTo(keep, t.Off)
	}
}

// startsBlock tells that a word, perhaps a title, and a brace follow each other.
func startsBlock(tokens []token.Token, i int) bool {
	if i+1 < len(tokens) && tokens[i+1].Kind == token.String {
		i++
	}
	return i+1 < len(tokens) && tokens[i+1].Is("{")
}

// closes pops up to the bracket that t closes, and tells whether there is one in this block.
func (b *balancer) closes(t token.Token) bool {
	for n := len(b.open) - 1; n >= 0; n-- {
		switch text := b.out[b.open[n]].Text; {
		case closerOf[text] == t.Text:
			b.closeTo(n+1, t.Off)
			b.pop()
			return true
		case text == "{" && (n == 0 || b.out[b.open[n-1]].Text == "{"):
			return false
		}
	}
	return false
}

// closeRound closes the ( and [ that are open in the present block: one message, at the outermost.
func (b *balancer) closeRound(off int) {
	n := len(b.open)
	for n > 0 && b.out[b.open[n-1]].Text != "{" {
		n--
	}
	if n < len(b.open) {
		b.unclosed(b.open[n])
		for len(b.open) > n {
			b.insert(off)
		}
	}
}

// closeTo closes all brackets but the outer n, with one message for each statement that they stand in.
func (b *balancer) closeTo(n, off int) {
	for len(b.open) > n {
		k := len(b.open) - 1
		if b.out[b.open[k]].Text != "{" {
			for k > n && b.out[b.open[k-1]].Text != "{" {
				k--
			}
		}
		b.unclosed(b.open[k])
		for len(b.open) > k {
			b.insert(off)
		}
	}
}

func (b *balancer) unclosed(i int) {
	t := b.out[i]
	b.p.reported[i] = true
	for _, e := range b.out[i:] {
		if (t.Text != "{" || e.Stop() >= len(b.p.src.Text)) && e.Kind == token.Error && strings.IndexByte("\"'`", e.Text[0]) >= 0 {
			return // a string that is never closed swallowed it, and was reported
		}
	}
	b.p.report(diag.Errorf(diag.Unclosed, b.p.span(t), "this `%s` is never closed", t.Text).WithHint("close it with `%s`", closerOf[t.Text]))
}

// insert puts in the partner of the innermost bracket.
func (b *balancer) insert(off int) {
	closer := closerOf[b.top()]
	if n := len(b.out); closer == "}" && n > 0 && b.out[n-1].Kind != token.End && !b.out[n-1].Is("{") {
		b.out = append(b.out, token.Token{Kind: token.End, Off: off})
	}
	if closer != "}" { // the end of the statement stands behind its brackets
		for n := len(b.out); n > 0 && b.out[n-1].Kind == token.End; n = len(b.out) {
			b.out = b.out[:n-1]
		}
	}
	b.pop()
	b.out = append(b.out, token.Token{Kind: token.Punct, Text: closer, Off: off - 1}) // ends where it was missed
	if closer == "}" {
		b.out = append(b.out, token.Token{Kind: token.End, Off: off})
	}
}

func (b *balancer) pop() {
	b.open, b.head = b.open[:len(b.open)-1], b.head[:len(b.head)-1]
}

func opener(closer string) string {
	for o, c := range closerOf {
		if c == closer {
			return o
		}
	}
	return ""
}

func (b *balancer) lineStart(t token.Token) bool {
	if n := len(b.out); n > 0 && b.out[n-1].Kind != token.End && b.out[n-1].Off >= b.p.pos.lineStart(t.Off) {
		return false
	}
	return true
}

func (b *balancer) column(off int) int {
	return b.p.pos.at(off).Col
}

// first is the index in out of the first token on the line of t, which is about to be appended.
func (b *balancer) first(t token.Token) int {
	start := b.p.pos.lineStart(t.Off)
	i := len(b.out)
	for i > 0 && b.out[i-1].Off >= start && b.out[i-1].Kind != token.End {
		i--
	}
	return i
}
