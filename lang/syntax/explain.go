package syntax

import (
	"slices"
	"strings"
	"unicode/utf8"

	"chaos/lang/diag"
	"chaos/lang/token"
	"chaos/lang/value"
)

// usage is the form of each statement, shown as the hint where a statement cannot be read.
var usage = map[string]string{
	"use":        "use \"std/slo\" as NAME",
	"param":      "param NAME = VALUE",
	"let":        "let NAME = EXPRESSION",
	"probe":      "probe NAME = family.name(…) every 1s",
	"action":     "action NAME(…) { … }",
	"experiment": "experiment \"what must hold\" { … }",
	"setup":      "setup { … }",
	"steady":     "steady { … }",
	"hypothesis": "hypothesis { … }",
	"inject":     "inject { … }",
	"rollback":   "rollback { … }",
	"expect":     "expect CONDITION [because \"…\"]",
	"always":     "always CONDITION [tolerate 1%] [because \"…\"]",
	"never":      "never CONDITION [tolerate 1%] [because \"…\"]",
	"eventually": "eventually CONDITION within DURATION [because \"…\"]",
	"abort":      "abort when CONDITION [for DURATION] [because \"…\"]",
	"wait":       "wait DURATION` or `wait until CONDITION within DURATION",
	"repeat":     "repeat 3 { … }` or `repeat NAME in LIST { … }",
	"when":       "when CONDITION { … } else { … }",
	"parallel":   "parallel { … }",
	"do":         "do \"title\" { … }",
}

// Usage is the form of the statement that starts with a word.
func Usage(word string) (string, bool) {
	form, ok := usage[word]
	return form, ok
}

// words are what a statement can start with, for "did you mean".
var words = func() []string {
	var out []string
	for w := range usage {
		out = append(out, w)
	}
	return out
}()

// foreign are words of other languages, and what to write here.
var foreign = map[string]string{
	"if": "write `when CONDITION { … }`", "while": "write `repeat 3 { … }`, or `wait until CONDITION within 30s`",
	"for": "write `repeat NAME in LIST { … }` or `repeat 3 { … }`", "foreach": "write `repeat NAME in LIST { … }`",
	"loop": "write `repeat 3 { … }`", "var": "write `let NAME = EXPRESSION`", "const": "write `let NAME = EXPRESSION`",
	"set": "write `let NAME = EXPRESSION`", "import": "write `use \"std/slo\"`", "include": "write `use \"std/slo\"`",
	"assert": "write `expect CONDITION` in `steady` or `hypothesis`", "check": "write `expect CONDITION` in `steady` or `hypothesis`",
	"sleep": "write `wait 10s`", "pause": "write `wait 10s`, or `process.pause(…) for 10s`", "delay": "write `wait 10s`", "return": "there are no functions: a script says what happens in order",
	"func": "there are no functions: `let NAME = EXPRESSION` names an expression", "def": "there are no functions: `let NAME = EXPRESSION` names an expression",
	"function": "there are no functions: `let NAME = EXPRESSION` names an expression",
	"switch":   "write `when CONDITION { … } else when CONDITION { … }`", "try": "a failed step stops `inject` and everything is undone",
	"finally": "write `rollback { … }`", "given": "write `setup { … }` or `steady { … }`", "then": "write `hypothesis { … }`",
	"scenario": "write `experiment \"what must hold\" { … }`", "test": "write `experiment \"what must hold\" { … }`",
	"method": "write `inject { … }`", "teardown": "write `rollback { … }`", "cleanup": "write `rollback { … }`", "print": "write `log(VALUE)`",
	"echo": "write `log(VALUE)`", "unless": "write `when not (CONDITION) { … }`", "elif": "write `else when CONDITION { … }`",
	"break": "there is no way out of a `repeat`: say how often it runs", "continue": "write `when CONDITION { … }` around the rest",
	"concurrently": "write `parallel { … }`", "async": "write `parallel { … }`", "export": "write `param NAME = VALUE`",
	"verify": "write `expect CONDITION` in `steady` or `hypothesis`", "ensure": "write `expect CONDITION` in `steady` or `hypothesis`",
	"undo": "every fault is undone by itself: `rollback { … }` is for what else has to be done",
	"kill": "write `process.kill(match: \"…\")`", "pkill": "write `process.kill(match: \"…\")`", "killall": "write `process.kill(match: \"…\")`",
	"GET": "a request that is watched is a probe: `probe NAME = http.get(\"…\")`", "POST": "a request that acts is a step: `http.send(\"…\")`",
	"curl": shell("curl"), "wget": shell("wget"), "kubectl": shell("kubectl"), "docker": shell("docker"), "systemctl": shell("systemctl"),
	"ssh": shell("ssh"), "sudo": shell("sudo"), "tc": shell("tc"), "iptables": shell("iptables"), "rm": shell("rm"), "bash": shell("bash"), "sh": shell("sh"),
}

// shell is the hint for what looks like a line of a shell.
func shell(command string) string {
	return "a command is a step: write `exec.run(\"" + command + "\", args: [\"…\"])`"
}

// explain reports a statement of the tokens i to e that got stuck at k; open is the brace of its block, or -1.
func (p *parser) explain(i, open, e, k int) {
	limit := e
	if open >= 0 {
		limit = open
	}
	if d, ok := p.behindBlock(i, e); ok {
		p.report(d)
		return
	}
	if d, ok := p.special(i, limit, k, open >= 0); ok {
		p.report(d)
		return
	}
	p.report(p.generic(i, limit, k))
}

// generic says what was found and shows the form of the statement.
func (p *parser) generic(i, e, k int) diag.Diagnostic {
	word := p.toks[i].Text
	form := usage[word]
	if form == "" {
		form = "family.name(value, key: value)"
	}
	what := "`" + word + "`"
	if usage[word] == "" {
		what = "a step"
	}
	if k >= e || p.toks[k].Kind == token.End {
		last := p.toks[e-1]
		d := diag.Errorf(diag.Unexpected, p.behind(last), "%s is not complete: %s is missing here", what, p.wanted(i, e))
		return d.WithHint("write `%s`", form)
	}
	return p.unexpected(k, e, "").WithHint("write `%s`", form)
}

// unexpected says that a token cannot stand where it does.
func (p *parser) unexpected(k, e int, why string) diag.Diagnostic {
	d := diag.Errorf(diag.Unexpected, p.span(p.toks[k]), "%s cannot stand here", found(p.toks[k]))
	if why != "" {
		d = d.WithHint("%s", why)
	}
	return d
}

// behind is the place right after a token.
func (p *parser) behind(t token.Token) diag.Span { return p.pos.span(t.Stop(), t.Stop()) }

// found names a token.
func found(t token.Token) string {
	switch t.Kind {
	case token.String:
		if first, _, more := strings.Cut(t.Text, "\n"); more || utf8.RuneCountInString(t.Text) > 30 {
			return "the string `" + string([]rune(first)[:min(utf8.RuneCountInString(first), 20)]) + "…`"
		}
		return "the string `" + t.Text + "`"
	case token.End, token.EOF:
		return "the end of the statement"
	}
	if t.Text == "`" {
		return "a backtick"
	}
	return "`" + t.Text + "`"
}

// wanted is what a statement that ends too early lacks.
func (p *parser) wanted(i, e int) string {
	last := p.toks[e-1]
	switch {
	case last.Is("as"):
		return "a name"
	case last.Is("for") || last.Is("within") || last.Is("every"):
		return "a duration"
	case last.Is("because"):
		return "a sentence in quotes"
	case last.Is("tolerate"):
		return "a ratio"
	case last.Is("abort"):
		return "`when`"
	case last.Is("."):
		return "a name"
	case last.Is("param") || last.Is("let") || last.Is("probe") || last.Is("action"):
		return "a name"
	case last.Is("use"):
		return "a path in quotes"
	case last.Is("until") || last.Is("when") || checks[last.Text]:
		return "a condition"
	case last.Is("experiment"):
		return "a title"
	case blocks[p.toks[i].Text] && e-1 > i:
		return "a block `{ … }`"
	case blocks[p.toks[i].Text]:
		return map[bool]string{true: "a block `{ … }`", false: "how often"}[p.toks[i].Text != "repeat"]
	case (p.toks[i].Is("let") || p.toks[i].Is("probe")) && e-i == 2:
		return "`= …`"
	case last.Is("=") && p.toks[i].Is("probe"):
		return "a call"
	}
	return "something"
}

// special knows the common mistakes.
func (p *parser) special(i, e, k int, block bool) (diag.Diagnostic, bool) {
	first := p.toks[i]
	at := token.Token{Kind: token.EOF}
	if k < e {
		at = p.toks[k]
	}
	none := diag.Diagnostic{}
	if first.Kind != token.Name {
		return p.noStatement(i, e), true
	}
	if first.Is("for") && e > i+1 && p.toks[i+1].Kind == token.Number {
		return diag.Errorf(diag.Unexpected, p.span(first), "`for` stands behind what it holds").WithHint("write `family.name(…) for %s`", p.toks[i+1].Text), true
	}
	if hint, ok := foreign[first.Text]; ok && usage[first.Text] == "" && (k == i+1 || k == i) && !at.Is(":") && !at.Is("=") && !at.Is("(") && !at.Is(".") && !p.defines(first.Text) {
		if (first.Is("import") || first.Is("include")) && at.Kind == token.String {
			hint = "write `use " + short(at) + "`"
		}
		return diag.Errorf(diag.UnknownBlock, p.span(first), "there is no statement `%s`", first.Text).WithHint("%s", hint), true
	}
	if hint, ok := foreign[first.Text]; ok && usage[first.Text] == "" && e-i > 1 && p.toks[i+1].Is("(") && (block || k > p.partner[i+1]) {
		return diag.Errorf(diag.UnknownBlock, p.span(first), "there is no statement `%s`", first.Text).WithHint("%s", hint), true
	}
	if d, ok := p.declaration(i, e, k); ok {
		return d, true
	}
	if d, ok := p.habit(i, e, k); ok {
		return d, true
	}
	if d, ok := p.slip(i, e, k); ok {
		return d, true
	}
	if d, ok := p.percent(i, e, k); ok {
		return d, true
	}
	switch {
	case first.Is("abort") && (e == i+1 || !p.toks[i+1].Is("when")):
		at := p.behind(first)
		if e > i+1 {
			at = p.span(p.toks[i+1])
		}
		return diag.Errorf(diag.Unexpected, at, "`abort` needs `when`: what makes it abort?").WithHint("write `%s`", usage["abort"]), true
	case first.Is("experiment") && (e == i+1 || !p.toks[i+1].Is(":")) && (e == i+1 || p.toks[i+1].Kind != token.String):
		return diag.Errorf(diag.Unexpected, p.span(first), "an experiment needs a title").WithHint("say in a sentence what must hold: `%s`", usage["experiment"]), true
	case (sections[first.Text] || first.Is("do")) && e > i+1 && p.toks[i+1].Kind == token.Name && block:
		return diag.Errorf(diag.Unexpected, p.span(p.toks[i+1]), "the title of `%s` is a sentence in quotes", first.Text).WithHint("write `%s \"…\" { … }`", first.Text), true
	case first.Is("steady") && !block && k > i && !at.Is(":"):
		return diag.Errorf(diag.Unexpected, p.span(first), "`steady` alone says nothing here").WithHint("write `always steady` to claim it, or `steady { … }` for the block"), true
	case blocks[first.Text] && !block && first.Text != "when" && first.Text != "repeat":
		return diag.Errorf(diag.Unexpected, p.behind(p.toks[max(k, i+1)-1]), "`%s` needs a block", first.Text).WithHint("write `%s`, with the `{` on the same line", usage[first.Text]), true
	case at.Is("=") && (checks[first.Text] || first.Is("abort") || first.Is("when") || first.Is("wait")):
		return p.equals(k), true
	case at.Is("=") && first.Is("repeat"):
		return diag.Errorf(diag.BadAssign, p.span(at), "`repeat` goes through a list with `in`").WithHint("write `repeat NAME in LIST { … }`"), true
	case at.Is("else"):
		return diag.Errorf(diag.Unexpected, p.span(at), "`else` belongs behind the block of a `when`").WithHint("write `%s`", usage["when"]), true
	case first.Is("until"):
		return diag.Errorf(diag.Unexpected, p.span(first), "`until` belongs to `wait`").WithHint("write `wait until CONDITION within DURATION`"), true
	case token.Clauses[first.Text] && !block:
		return diag.Errorf(diag.Unexpected, p.span(first), "`%s` trails a statement and cannot start one", first.Text).WithHint("write it behind the statement that it belongs to"), true
	}
	if d, ok := p.inCall(i, e, k); ok {
		return d, true
	}
	if d, ok := p.clause(i, e, k); ok {
		return d, true
	}
	if usage[first.Text] == "" {
		return p.unknownStatement(i, e, k, block), true
	}
	if k > i && k < e && (at.Is("&") || at.Is("|")) {
		return none, false
	}
	return p.operand(i, e, k)
}

// percent knows the `20 %` of typographers, which is a remainder here.
func (p *parser) percent(i, e, k int) (diag.Diagnostic, bool) {
	if k < i+3 || !p.toks[k-1].Is("%") || p.toks[k-2].Kind != token.Number {
		return diag.Diagnostic{}, false
	}
	at := p.pos.span(p.toks[k-2].Off, p.toks[k-1].Stop())
	if ratio := p.toks[k-2].Text + "%"; p.src.Slice(at) == ratio && k < e { // tolerate 5%because
		return diag.Errorf(diag.BadNumber, at, "a blank is missing behind `%s`", ratio).WithHint("write `%s %s`", ratio, short(p.toks[k])), true
	}
	return diag.Errorf(diag.BadNumber, at, "a unit stands directly behind its number").WithHint("write `%s%%`", p.toks[k-2].Text), true
}

// slip knows what is right in another language, or right but for a blank.
func (p *parser) slip(i, e, k int) (diag.Diagnostic, bool) {
	if k <= i || k >= e {
		return diag.Diagnostic{}, false
	}
	at, before := p.toks[k], p.toks[k-1]
	both := p.pos.span(before.Off, at.Stop())
	touch := before.Stop() == at.Off
	switch {
	case k > i+1 && p.toks[k-2].Is("because") && before.Kind == token.Name && at.Kind == token.Name:
		return diag.Errorf(diag.Unexpected, p.span(before), "`because` takes a sentence in quotes").WithHint("write `because \"%s …\"`", before.Text), true
	case at.Is("then") && p.toks[i].Is("when"):
		return diag.Errorf(diag.Unexpected, p.span(at), "`when` takes no `then`").WithHint("remove it: `%s`", usage["when"]), true
	case before.Kind == token.Number && at.Kind == token.Name && !token.Reserved[at.Text]:
		unit, ok := token.UnitWord(at.Text)
		if !ok {
			unit = at.Text
		}
		if _, err := value.ParseNumber(before.Text + unit); err == nil {
			return diag.Errorf(diag.BadNumber, both, "a unit stands directly behind its number").WithHint("write `%s%s`", before.Text, unit), true
		}
	case before.Is("==") && at.Is("=") && touch:
		return diag.Errorf(diag.BadAssign, both, "`===` is no operator").WithHint("write `==`"), true
	case before.Is("<") && at.Is(">") && touch:
		return diag.Errorf(diag.Unexpected, both, "`<>` is no operator").WithHint("write `!=`"), true
	case (at.Is("is") || at.Is("equals") || at.Is("eq")) && operandEnd(before) && (checks[p.toks[i].Text] || p.toks[i].Is("abort") || p.toks[i].Is("when") || p.toks[i].Is("wait")):
		return diag.Errorf(diag.Unexpected, p.span(at), "`%s` is no operator", at.Text).WithHint("write `==`"), true
	case (at.Is("if") || at.Is("unless")) && before.Is(")"):
		return diag.Errorf(diag.Unexpected, p.span(at), "a condition does not trail a step").WithHint("write `when CONDITION { … }` around it"), true
	case p.toks[i].Is("wait") && at.Is("for") && k == i+1:
		return diag.Errorf(diag.Unexpected, p.span(at), "`wait` takes no `for` here").WithHint("write `wait until CONDITION within 30s`, or `wait 10s`"), true
	case before.Is("as") && k > i+1, p.toks[i].Kind != token.Name || usage[p.toks[i].Text] != "":
		return diag.Diagnostic{}, false
	case at.Kind == token.Name && before.Kind == token.Name && k > i+2 && p.toks[i+1].Is(".") && k%2 == (i+1)%2 && !p.hasCall(i, e):
		return diag.Errorf(diag.Unexpected, p.span(at), "a call needs brackets").WithHint("write `%s(%s)`", p.text(i, k), argument(at, p.toks, k)), true
	}
	return diag.Diagnostic{}, false
}

// declaration knows the mistakes of param, let, probe, action and use.
func (p *parser) declaration(i, e, k int) (diag.Diagnostic, bool) {
	first := p.toks[i]
	named := first.Is("let") || first.Is("param") || first.Is("probe") || first.Is("action")
	if first.Is("repeat") && k == i+1 && k+1 < e && p.toks[k+1].Is("in") && token.Reserved[p.toks[k].Text] {
		return p.reserved(k), true
	}
	switch {
	case first.Is("use") && e > i+1 && p.toks[i+1].Kind != token.String:
		path := p.toks[i+1]
		for j := i + 2; j < e && p.toks[j].Off == path.Stop(); j++ { // std/web, ./lib/ours.chaos
			path.Text += p.toks[j].Text
		}
		d, form := diag.Errorf(diag.Unexpected, p.pos.span(path.Off, path.Stop()), "`use` takes a path in quotes"), usage["use"]
		if last := p.toks[e-1]; last.Kind == token.String && path.Kind == token.Name { // use web from "std/web"
			form = "use " + short(last) + " as " + path.Text
		} else if strings.Contains(path.Text, "/") {
			form = "use \"" + short(path) + "\""
		}
		return d.WithHint("write `%s`", form), true
	case !named || e == i+1:
		return diag.Diagnostic{}, false
	case p.toks[i+1].Kind == token.Name && token.Reserved[p.toks[i+1].Text]:
		return p.reserved(i + 1), true
	case first.Is("probe") && k == i+2 && p.hasCall(i+1, e) && p.toks[k].Is("."):
		return diag.Errorf(diag.Unexpected, p.pos.span(p.toks[i+1].Off, p.toks[p.callee(i+1)-1].Stop()), "this probe has no name").
			WithHint("write `probe NAME = %s(…)`: conditions read it by its name", p.text(i+1, p.callee(i+1))), true
	case p.toks[i+1].Kind != token.Name:
		return diag.Errorf(diag.Unexpected, p.span(p.toks[i+1]), "`%s` needs a name, not %s", first.Text, found(p.toks[i+1])).WithHint("write `%s`", usage[first.Text]), true
	case first.Is("param") && k == i+3 && p.toks[i+2].Is(":") && (k >= e || p.toks[k].Kind != token.Name):
		name := p.toks[i+1].Text
		if k < e && (p.toks[k].Is("[") || p.toks[k].Is("{")) {
			kind := map[bool]string{true: "list", false: "map"}[p.toks[k].Is("[")]
			return diag.Errorf(diag.BadAssign, p.span(p.toks[k]), "the type of a parameter is a word").WithHint("write `param %s: %s`, or `param %s = %s` for a default", name, kind, name, short(token.Token{Text: p.text(k, p.partner[k]+1)})), true
		}
		return diag.Errorf(diag.BadAssign, p.span(p.toks[i+2]), "`:` gives a parameter its type, `=` its default").WithHint("write `param %s = …` or `param %s: duration`", name, name), true
	case k == i+2 && k < e && (p.toks[k].Is(":") || p.toks[k].Is("==")):
		return diag.Errorf(diag.BadAssign, p.span(p.toks[k]), "`=` binds a name, not `%s`", p.toks[k].Text).WithHint("write `%s %s = …`", first.Text, p.toks[i+1].Text), true
	case first.Is("param") && k == i+2 && k < e && slices.Contains(value.ParamKinds, value.Kind(p.toks[k].Text)):
		return diag.Errorf(diag.Unexpected, p.behind(p.toks[i+1]), "`:` is missing between `%s` and its type", p.toks[i+1].Text).WithHint("write `param %s: %s`", p.toks[i+1].Text, p.toks[k].Text), true
	case k == i+2 && k < e && p.toks[k].Kind == token.Name && !token.Clauses[p.toks[k].Text]:
		return diag.Errorf(diag.Unexpected, p.behind(p.toks[i+1]), "`=` is missing behind `%s`", p.toks[i+1].Text).WithHint("write `%s`", usage[first.Text]), true
	case k == i+2 && k < e && p.toks[k].Is("-") && k+1 < e && p.toks[k+1].Kind == token.Name:
		whole := p.toks[i+1].Text
		for d := k; d+1 < e && p.toks[d].Is("-") && p.toks[d+1].Kind == token.Name; d += 2 {
			whole += "_" + p.toks[d+1].Text
		}
		return diag.Errorf(diag.BadCharacter, p.span(p.toks[k]), "a name has no `-` in it").WithHint("write `%s`", whole), true
	case first.Is("probe") && k > i+4 && k < e && (p.toks[k].Is(".") || p.toks[k].Is("[")) && p.toks[k-1].Is(")"):
		return diag.Errorf(diag.Unexpected, p.span(p.toks[k]), "a probe takes whole samples: no field can be picked here").WithHint("write the field where it is used: `%s.…`", p.toks[i+1].Text), true
	case first.Is("probe") && e > i+3 && p.toks[i+2].Is("=") && k > i+2 && !p.hasCall(i+3, e):
		return diag.Errorf(diag.Unexpected, p.pos.span(p.toks[i+3].Off, p.toks[e-1].Stop()), "a probe is a call, and this is none").WithHint("write `%s`; `let` names an expression", usage["probe"]), true
	}
	return diag.Diagnostic{}, false
}

// defines tells that the file has an action called so.
func (p *parser) defines(name string) bool {
	if p.actions == nil {
		p.actions = map[string]bool{}
		for j, t := range p.toks[:max(len(p.toks)-1, 0)] {
			if t.Is("action") {
				p.actions[p.toks[j+1].Text] = true
			}
		}
	}
	return p.actions[name]
}

func (p *parser) hasCall(i, e int) bool {
	if p.toks[i].Kind != token.Name {
		return false
	}
	for i++; i+1 < e && p.toks[i].Is("."); i += 2 {
	}
	return i < e && p.toks[i].Is("(")
}

func (p *parser) reserved(k int) diag.Diagnostic {
	w := p.toks[k].Text
	return diag.Errorf(diag.ReservedName, p.span(p.toks[k]), "`%s` is a word of the language and cannot be a name", w).WithHint("choose another, such as `my_%s`", w)
}

// inCall knows the mistakes between the brackets of a call.
func (p *parser) inCall(i, e, k int) (diag.Diagnostic, bool) {
	open := -1
	for j := i; j < k && j < e; j++ {
		if p.toks[j].Is("(") && p.partner[j] > j && p.partner[j] >= k {
			open = j // the innermost that holds k
		} else if p.partner[j] > j && p.partner[j] < k {
			j = p.partner[j]
		}
	}
	if open < 0 || k >= e {
		return diag.Diagnostic{}, false
	}
	at, before := p.toks[k], p.toks[k-1]
	if open == i+2 && (p.toks[i].Is("probe") || p.toks[i].Is("action")) {
		if at.Kind == token.Name && token.Reserved[at.Text] {
			return p.reserved(k), true
		}
		return diag.Errorf(diag.Unexpected, p.span(at), "%s cannot stand here, among the parameters", found(at)).WithHint("write `%s %s(first, second: duration = 5s)`", p.toks[i].Text, p.toks[i+1].Text), true
	}
	switch {
	case at.Is("=") && (before.Kind == token.Name) && (k-2 == open || p.toks[k-2].Is(",")):
		return diag.Errorf(diag.BadAssign, p.span(at), "`:` gives an argument its value, not `=`").WithHint("write `%s: …`", before.Text), true
	case at.Is("="):
		return p.equals(k), true
	case at.Is(","):
		return diag.Errorf(diag.Unexpected, p.span(at), "there is no argument before this comma").WithHint("remove the comma"), true
	case at.Is(";"):
		return diag.Errorf(diag.Unexpected, p.span(at), "`;` cannot stand between arguments").WithHint("write `,`"), true
	case at.Is(")"):
		return diag.Errorf(diag.Unexpected, p.span(at), "an expression is missing before this `)`"), true
	case at.Kind == token.String || at.Kind == token.Number || at.Kind == token.Name && !token.IsWordOp(at.Text) || at.Is("[") || at.Is("{") || at.Is("("):
		if before.Kind == token.Name && (k-2 == open || k >= 2 && p.toks[k-2].Is(",")) && (at.Kind == token.String || at.Kind == token.Number) {
			return diag.Errorf(diag.Unexpected, p.behind(before), "`:` is missing behind `%s`", before.Text).WithHint("write `%s: %s`", before.Text, short(at)), true
		}
		if operandEnd(before) && !(token.Clauses[at.Text] && !nextIs(p.toks, k, ":")) {
			return diag.Errorf(diag.Unexpected, p.behind(before), "a comma is missing between two arguments").WithHint("write `%s, %s`", short(before), short(at)), true
		}
		if token.Clauses[at.Text] {
			return diag.Errorf(diag.Unexpected, p.span(at), "`%s` cannot stand between the brackets of a call", at.Text).WithHint("close the bracket with `)` before `%s`", at.Text), true
		}
	}
	return diag.Errorf(diag.Unexpected, p.span(at), "%s cannot stand here, among the arguments", found(at)).WithHint("write `family.name(value, key: value)`"), true
}

func nextIs(toks []token.Token, k int, text string) bool {
	return k+1 < len(toks) && toks[k+1].Is(text)
}

// argument is what would stand between the brackets of a call.
func argument(t token.Token, toks []token.Token, k int) string {
	if nextIs(toks, k, ":") {
		return t.Text + ": …"
	}
	return short(t)
}

func short(t token.Token) string {
	r := []rune(t.Text)
	if len(r) > 20 {
		return string(r[:20]) + "…"
	}
	return t.Text
}

func operandEnd(t token.Token) bool {
	switch t.Kind {
	case token.Number, token.String:
		return true
	case token.Name:
		return !token.IsWordOp(t.Text)
	}
	return t.Is(")") || t.Is("]") || t.Is("}")
}

// clause knows the mistakes of what trails a statement.
func (p *parser) clause(i, e, k int) (diag.Diagnostic, bool) {
	if k == i {
		return diag.Diagnostic{}, false
	}
	before := p.toks[k-1]
	if before.Is("as") && k-1 > i {
		if k >= e {
			return diag.Errorf(diag.Unexpected, p.behind(before), "`as` needs a name").WithHint("write `as worker`"), true
		}
		if p.toks[k].Kind == token.Name {
			return p.reserved(k), true
		}
		return diag.Errorf(diag.Unexpected, p.span(p.toks[k]), "`as` needs a name, not %s", found(p.toks[k])).WithHint("write `as worker`"), true
	}
	if token.Clauses[before.Text] && before.Kind == token.Name && k-1 > i && !p.toks[k-2].Is(".") {
		example := map[string]string{"for": "10s", "within": "10s", "every": "1s", "tolerate": "1%", "because": "\"…\"", "pick": "1"}[before.Text]
		at, what := p.behind(before), "nothing"
		if k < e {
			at, what = p.span(p.toks[k]), found(p.toks[k])
		}
		if what == "nothing" {
			return diag.Errorf(diag.Unexpected, at, "`%s` needs a value", before.Text).WithHint("write `%s %s`", before.Text, example), true
		}
		if p.toks[k].Is(":") && k+1 < e && operandEnd(p.toks[k+1]) { // `for: 5s`
			return diag.Errorf(diag.Unexpected, at, "`%s` takes no `:`", before.Text).WithHint("write `%s %s`", before.Text, short(p.toks[k+1])), true
		}
		return diag.Errorf(diag.Unexpected, at, "`%s` needs a value, not %s", before.Text, what).WithHint("write `%s %s`", before.Text, example), true
	}
	if k < e && p.toks[k].Kind == token.Name && !token.Reserved[p.toks[k].Text] && operandEnd(before) && usage[p.toks[i].Text] != "" || k < e && p.toks[k].Kind == token.Name && before.Is(")") {
		var list []string
		for w := range token.Clauses {
			list = append(list, w)
		}
		if near, ok := diag.Nearest(p.toks[k].Text, list); ok && len(p.toks[k].Text) > 1 {
			return diag.Errorf(diag.Unexpected, p.span(p.toks[k]), "`%s` cannot stand here", p.toks[k].Text).WithHint("did you mean `%s`?", near), true
		}
	}
	return diag.Diagnostic{}, false
}

// operand knows the mistakes of expressions.
func (p *parser) operand(i, e, k int) (diag.Diagnostic, bool) {
	if k >= e || k == i {
		if k == e && e > i+1 && (p.toks[e-1].Kind == token.Op || token.IsWordOp(p.toks[e-1].Text)) {
			return diag.Errorf(diag.Unexpected, p.behind(p.toks[e-1]), "something is missing behind %s", found(p.toks[e-1])).WithHint("write `%s`", p.form(i)), true
		}
		return diag.Diagnostic{}, false
	}
	at, before := p.toks[k], p.toks[k-1]
	switch {
	case at.Is("/") && before.Is("matches"):
		return diag.Errorf(diag.Unexpected, p.span(at), "a regular expression stands in quotes, not between slashes").WithHint("write `matches '…'`"), true
	case at.Is("=") && k+1 < e && p.toks[k+1].Is("="):
		return diag.Errorf(diag.BadAssign, p.span(at), "`= =` is no operator").WithHint("write `==`"), true
	case at.Is("=") && p.toks[i].Is("let"):
		return p.equals(k), true
	case at.Is(":") && operandEnd(before) && checks[p.toks[i].Text]:
		return diag.Errorf(diag.BadAssign, p.span(at), "`:` gives an argument its value; a condition compares with `==`").WithHint("write `==`"), true
	case at.Kind == token.Op && before.Kind == token.Op:
		return diag.Errorf(diag.Unexpected, p.span(at), "`%s` cannot follow `%s`", at.Text, before.Text).WithHint("write `%s`", p.form(i)), true
	}
	return diag.Diagnostic{}, false
}

func (p *parser) form(i int) string {
	if f := usage[p.toks[i].Text]; f != "" {
		return f
	}
	return "family.name(value, key: value)"
}

// noStatement reports a statement that starts with what is no word.
func (p *parser) noStatement(i, e int) diag.Diagnostic {
	t := p.toks[i]
	at := p.pos.span(t.Off, p.toks[e-1].Stop())
	if p.pos.line(at.End.Offset) != p.pos.line(at.Start.Offset) {
		at = p.span(t)
	}
	switch {
	case t.Is("{"):
		return diag.Errorf(diag.Unexpected, p.span(t), "this block has no name").WithHint("blocks start with a word: `steady {`, `inject {`, `do {`")
	case (t.Is("-") || t.Is("<")) && i+1 < e && p.toks[i+1].Off == t.Stop() && p.toks[i+1].Kind == token.Op:
		return diag.Errorf(diag.BadCharacter, p.pos.span(t.Off, p.toks[i+1].Stop()), "this starts no comment").WithHint("comments start with `//` and end with their line")
	case t.Kind == token.String:
		return diag.Errorf(diag.Unexpected, at, "a string alone says nothing").WithHint("comments start with `//`")
	}
	return diag.Errorf(diag.Unexpected, at, "a value alone says nothing").WithHint("write `expect CONDITION` to claim something, or `let NAME = EXPRESSION` to name it")
}

// unknownStatement reports a statement whose first word means nothing.
func (p *parser) unknownStatement(i, e, k int, block bool) diag.Diagnostic {
	first := p.toks[i]
	var next token.Token
	if i+1 < e {
		next = p.toks[i+1]
	}
	near, close := diag.Nearest(first.Text, words)
	switch {
	case i+2 < e && (next.Is("+") || next.Is("-") || next.Is("*") || next.Is("/")) && (p.toks[i+2].Is("=") || p.toks[i+2].Is(next.Text)) && p.toks[i+2].Off == next.Stop():
		return diag.Errorf(diag.BadAssign, p.pos.span(next.Off, p.toks[i+2].Stop()), "`%s%s` is no operator: a name keeps its value", next.Text, p.toks[i+2].Text).WithHint("bind another: `let NAME = %s %s …`", first.Text, next.Text)
	case next.Is("="):
		if k+1 < e && i+2 < e && p.hasCall(i+2, e) && !close {
			return diag.Errorf(diag.BadAssign, p.span(next), "a name is bound with a word in front").WithHint("write `probe %s = …` for a probe, or `… as %s` behind an action", first.Text, first.Text)
		}
		return diag.Errorf(diag.BadAssign, p.span(next), "`=` cannot stand here").WithHint("write `%s: …` for an attribute, or `let %s = …` to bind a name", first.Text, first.Text)
	case next.Is(":") && k < e && k == i+3 && p.toks[k].Kind == token.Name && p.toks[k-1].Kind == token.Name:
		return p.unexpected(k, e, "a text stands in quotes: `"+first.Text+": \"…\"`")
	case next.Is(":"): // an attribute whose value is broken
		if k >= e {
			return diag.Errorf(diag.Unexpected, p.behind(p.toks[e-1]), "`%s` has no value", first.Text).WithHint("write `%s: VALUE`", first.Text)
		}
		return p.unexpected(k, e, "").WithHint("write `%s: VALUE`", first.Text)
	case close && !next.Is("(") && !next.Is("."):
		return diag.Errorf(diag.UnknownBlock, p.span(first), "there is no statement `%s`", first.Text).WithHint("did you mean `%s`?", near)
	case next.Is("(") || next.Is("."):
		j := i + 1
		for j+1 < e && p.toks[j].Is(".") {
			j += 2
		}
		if j < e && p.toks[j].Is("(") {
			if k >= e {
				return p.generic(i, e, k)
			}
			if k > p.partner[j] && p.toks[k].Kind == token.Op {
				return p.bareExpression(i, e)
			}
			return p.generic(i, e, k)
		}
		if j < e && (p.toks[j].Is("[") || p.toks[j].Is("{")) && p.toks[j].Off == p.toks[j-1].Stop() && j+1 < p.partner[j] && (p.toks[j+1].Kind == token.String || nextIs(p.toks, j+1, ":")) {
			return diag.Errorf(diag.Unexpected, p.span(p.toks[j]), "the arguments of a call stand between round brackets").WithHint("write `%s(…)`", p.text(i, j))
		}
		if j >= e && next.Is(".") {
			d := diag.Errorf(diag.Unexpected, p.pos.span(first.Off, p.toks[e-1].Stop()), "this statement does nothing")
			return d.WithHint("write `%s(…)` to call it, or `expect %s` to claim it", p.text(i, e), p.text(i, e))
		}
		return p.bareExpression(i, e)
	case p.defines(first.Text) && next.Kind != token.Op && !next.Is(":"):
		list := "…"
		if i+1 < e && !token.Clauses[next.Text] {
			list = argument(next, p.toks, i+1)
		}
		return diag.Errorf(diag.Unexpected, p.behind(first), "a call needs brackets").WithHint("write `%s(%s)`", first.Text, list)
	case i+1 == e:
		return diag.Errorf(diag.UnknownBlock, p.span(first), "`%s` alone says nothing", first.Text).WithHint("a statement starts with a word such as `expect`, `wait` or `inject`, or calls an action: `family.name(…)`")
	case next.Kind == token.Op || token.IsWordOp(next.Text):
		return p.bareExpression(i, e)
	case i+2 == e && (next.Kind == token.String || next.Kind == token.Number):
		return diag.Errorf(diag.UnknownBlock, p.span(first), "there is no statement `%s`", first.Text).WithHint("write `%s: %s` for an attribute, or `%s(%s)` to call it", first.Text, short(next), first.Text, short(next))
	}
	return diag.Errorf(diag.UnknownBlock, p.span(first), "there is no statement `%s`", first.Text).WithHint("a statement starts with a word such as `expect`, `wait` or `inject`, or calls an action: `family.name(…)`")
}

func (p *parser) text(i, e int) string {
	return OneLine(p.src, p.pos.span(p.toks[i].Off, p.toks[e-1].Stop()))
}

func (p *parser) bareExpression(i, e int) diag.Diagnostic {
	at := p.pos.span(p.toks[i].Off, p.toks[e-1].Stop())
	return diag.Errorf(diag.Unexpected, at, "an expression alone says nothing").WithHint("write `expect %s` to claim it", short(token.Token{Text: p.text(i, e)}))
}

// unknownBlock reports a block whose first word means nothing; what stands in it is not judged.
func (p *parser) unknownBlock(i, open, e int) {
	defer p.lose(i, e)
	first := p.toks[i]
	if p.quiet(i, open) {
		return
	}
	if first.Kind != token.Name {
		p.report(p.noStatement(i, e))
		return
	}
	d := diag.Errorf(diag.UnknownBlock, p.span(first), "there is no block `%s`", first.Text)
	var names []string
	for w := range blocks {
		if w != "else" {
			names = append(names, w)
		}
	}
	if first.Is("before") || first.Is("during") || first.Is("after") {
		p.report(diag.Errorf(diag.UnknownBlock, p.span(first), "`%s` is a phase of the run and no block", first.Text).
			WithHint("judge it in `hypothesis`: `expect %s.…`", first.Text))
		return
	}
	if usage[first.Text] != "" || token.Reserved[first.Text] && foreign[first.Text] == "" {
		k := open
		d = diag.Errorf(diag.Unexpected, p.span(p.toks[k]), "`%s` has no block", first.Text)
		if f := usage[first.Text]; f != "" {
			d = d.WithHint("write `%s`", f)
		}
		p.report(d)
		return
	}
	if hint, ok := foreign[first.Text]; ok {
		d = diag.Errorf(diag.UnknownBlock, p.span(first), "there is no statement `%s`", first.Text).WithHint("%s", hint)
	} else if near, ok := diag.Nearest(first.Text, names); ok {
		d = d.WithHint("did you mean `%s`?", near)
	} else if open > i+1 && (p.toks[i+1].Is("(") || p.toks[i+1].Is(".")) {
		d = diag.Errorf(diag.Unexpected, p.span(p.toks[open]), "a call has no block").WithHint("write `action NAME(…) { … }` to define an action")
	} else {
		d = d.WithHint("an experiment has `setup`, `steady`, `hypothesis`, `inject` and `rollback`")
	}
	p.report(d)
}
