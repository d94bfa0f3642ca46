package check

import (
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
	"chaos/lang/value"
)

// clauses are the checked clauses of one statement.
type clauses struct {
	hold, within, every, tolerate, pick *expr.Expr
	pickAll                             bool
	because                             string
	as                                  *syntax.Name
	at                                  map[string]*syntax.Clause
}

// clauseRule says which clauses a statement takes, and how to name the statement in a message.
type clauseRule struct {
	name     string
	allowed  string // "within! for because": `!` is required
	why      map[string]string
	fixed    bool   // the times are fixed before the run
	required string // the hint where the required one is missing
}

// clauses checks the clauses of a statement that stands in p.
func (c *checker) clauses(s syntax.Stmt, list []*syntax.Clause, scope *expr.Scope, p place) clauses {
	rule := ruleOf(s, p)
	out := clauses{at: map[string]*syntax.Clause{}}
	allowed := map[string]bool{}
	for _, w := range strings.Fields(rule.allowed) {
		allowed[strings.TrimSuffix(w, "!")] = true
	}
	times := p
	if rule.fixed {
		times = place{kind: inAttr}
	}
	for _, cl := range list {
		kind := cl.Kind()
		at := c.wordSpan(cl.Span, kind)
		if first, ok := out.at[kind]; ok {
			c.report(diag.Errorf(diag.Duplicate, at, "`%s` is given twice", kind).WithNote(c.wordSpan(first.Span, kind), "the first is here").WithHint("keep one of them"))
			continue
		}
		out.at[kind] = cl
		if !allowed[kind] {
			c.wrongClause(rule, kind, at)
			if kind == "as" {
				c.assume(c.base, cl.Name.Text, cl.Name.Span)
			}
			continue
		}
		switch kind {
		case "for":
			out.hold = c.duration(cl, scope, times)
		case "within":
			out.within = c.duration(cl, scope, times)
		case "every":
			out.every = c.duration(cl, scope, place{kind: inAttr})
		case "tolerate":
			out.tolerate = c.expression(cl.Value, scope, value.TRatio, place{kind: inAttr})
			c.ratio(out.tolerate, "tolerate")
		case "because":
			out.because = c.plainString(cl.Value, "`because` takes a plain sentence")
		case "pick":
			out.pick, out.pickAll = c.pick(cl.Value, scope, p)
		case "as":
			out.as = cl.Name
		}
	}
	for _, w := range strings.Fields(rule.allowed) {
		word, required := strings.CutSuffix(w, "!")
		if required && out.at[word] == nil {
			c.report(diag.Errorf(diag.MissingClause, c.headSpan(s), "%s needs `%s`: how long may it take?", rule.name, word).WithHint("write `%s`", rule.required))
		}
	}
	return out
}

// headSpan is the place of the first word of a statement, or of its call.
func (c *checker) headSpan(s syntax.Stmt) diag.Span {
	switch s := s.(type) {
	case *syntax.Check:
		return c.wordSpan(s.Span, s.Kind)
	case *syntax.Wait:
		return c.wordSpan(s.Span, "wait")
	case *syntax.Step:
		return s.Call.NameSpan()
	}
	return s.At()
}

func ruleOf(s syntax.Stmt, p place) clauseRule {
	switch s := s.(type) {
	case *syntax.Check:
		why := map[string]string{
			"every":  "how often is said behind the probe: `probe name = … every 1s`",
			"pick":   "`pick` belongs to a step",
			"as":     "`as` names what a step returns",
			"within": "only `eventually` has time to come true: write `eventually … within 5s`",
			"for":    "write `abort when … for 3s` for a guard, or `eventually … within 5s for 3s`",
		}
		switch {
		case s.Kind == "eventually":
			why["tolerate"] = "`within` already says how long it may be false"
			return clauseRule{name: "`eventually`", allowed: "within! for because", why: why, fixed: true, required: "eventually … within 5s"}
		case s.Kind == "expect" && p.kind == inSteady:
			why["for"] = "`window: 5s` says how long all of `steady` must hold"
			return clauseRule{name: "`expect`", allowed: "because tolerate", why: why, fixed: true}
		case s.Kind == "expect":
			why["tolerate"] = "it is judged once, so there is nothing to tolerate: write `always … tolerate 1%`"
			if p.kind == inSetup {
				why["within"] = "a precondition is judged once: write `wait until … within 5s`"
				why["tolerate"] = "a precondition is judged once, so there is nothing to tolerate"
			}
			return clauseRule{name: "`expect`", allowed: "because", why: why}
		}
		why["for"] = "it must hold all the time as it is"
		return clauseRule{name: "`" + s.Kind + "`", allowed: "tolerate because", why: why, fixed: true}
	case *syntax.Abort:
		return clauseRule{name: "`abort when`", allowed: "for because", fixed: true, why: map[string]string{
			"within":   "write `for 3s`: how long it must last to trip",
			"tolerate": "write `for 3s`: how long it must last to trip",
			"every":    "how often is said behind the probe: `probe name = … every 1s`",
		}}
	case *syntax.Wait:
		if s.Until != nil {
			return clauseRule{name: "`wait until`", allowed: "within! for because", required: "wait until … within 30s", why: map[string]string{
				"tolerate": "it waits until the condition is true once; `for 3s` makes it stay true",
				"every":    "how often is said behind the probe: `probe name = … every 1s`",
			}}
		}
		return clauseRule{name: "`wait`", allowed: "because", why: map[string]string{
			"for":    "write `wait 10s`",
			"within": "write `wait until … within 10s` to wait for a condition",
		}}
	case *syntax.Probe:
		return clauseRule{name: "a probe", allowed: "every", why: map[string]string{
			"within":  "write `timeout: 2s` among its arguments",
			"for":     "write `every 1s`: it is sampled as long as the experiment runs",
			"because": "a probe looks and claims nothing: put `because` behind the check",
			"as":      "it has its name in front: `probe name = …`",
			"pick":    "`pick` belongs to a step",
		}}
	}
	if p.composite {
		return clauseRule{name: "an action of your own", allowed: "for because", why: map[string]string{
			"pick":     "write it behind the step that selects, in the definition",
			"as":       "it returns nothing: what its steps return is known inside of it only",
			"within":   "write `timeout:` among the arguments of its steps, or `wait until … within 5s` behind it",
			"every":    "write `repeat 3 { … }` to do it more than once",
			"tolerate": "a failed step skips the rest of `inject`",
		}}
	}
	return clauseRule{name: "a step", allowed: "for pick as because", why: map[string]string{
		"within":   "write `timeout:` among its arguments, or `wait until … within 5s` behind it",
		"every":    "write `repeat 3 { … }` to do it more than once",
		"tolerate": "a failed step skips the rest of `inject`",
	}}
}

func (c *checker) wrongClause(rule clauseRule, kind string, at diag.Span) {
	d := diag.Errorf(diag.WrongClause, at, "%s takes no `%s`", rule.name, kind)
	if why := rule.why[kind]; why != "" {
		d = d.WithHint("%s", why)
	} else {
		d = d.WithHint("it takes `%s`", strings.Join(strings.Fields(strings.ReplaceAll(rule.allowed, "!", "")), "`, `"))
	}
	c.report(d)
}

func (c *checker) duration(cl *syntax.Clause, scope *expr.Scope, p place) *expr.Expr {
	e := c.expression(cl.Value, scope, value.TDuration, p)
	c.positive(e, cl.Kind())
	return e
}

// positive demands that a constant time is more than nothing.
func (c *checker) positive(e *expr.Expr, word string) {
	if e == nil || c.isVague(e) {
		return
	}
	if v, ok := e.Const(); ok && v.T.Numeric() && v.Float() <= 0 {
		c.report(diag.Errorf(diag.BadChoice, e.Span(), "`%s` must be more than 0", word).WithHint("such as `%s`", value.TDuration.Example()))
	}
}

func (c *checker) ratio(e *expr.Expr, word string) {
	if c.isVague(e) {
		return
	}
	if v, ok := e.Const(); ok && v.T.Numeric() && (v.Float() < 0 || v.Float() > 1) {
		c.report(diag.Errorf(diag.BadChoice, e.Span(), "`%s` must lie between 0%% and 100%%", word))
	}
}

// plainString is the text of an expression that must be one string without interpolation.
func (c *checker) plainString(s *syntax.Expr, what string) string {
	if s.Bad {
		return ""
	}
	raw := c.src.Slice(s.Span)
	text, problem := syntax.Unquote(raw)
	if problem.Text == "" && raw[0] != '\'' && strings.ContainsRune(raw[1:len(raw)-1], rune(raw[0])) && !isOneString(c, s.Span) {
		problem = syntax.Problem{Len: len(raw), Text: what}
	}
	switch {
	case problem.Text == "":
		return text
	case problem.Hole:
		from := s.Span.Start.Offset + problem.Off
		c.report(diag.Errorf(diag.InterpolatedLit, c.src.Span(from, from+problem.Len), "%s, without `${…}`", what).WithHint("the report shows the value of every operand anyway"))
	case problem.Off > 0:
		from := s.Span.Start.Offset + problem.Off
		c.report(diag.Errorf(diag.BadString, c.src.Span(from, from+problem.Len), "%s", problem.Text).WithHint("%s", problem.Hint))
	default:
		c.report(diag.Errorf(diag.WrongType, s.Span, "%s", what).WithHint("write it in quotes: \"…\""))
	}
	return ""
}

func isOneString(c *checker, at diag.Span) bool {
	return len(tokensOf(c, at)) == 1
}

// pickWords are what people write for a number behind `pick`.
var pickWords = map[string]bool{"one": true, "two": true, "half": true, "any": true, "random": true, "some": true, "every": true, "each": true, "first": true}

// pick checks what stands behind `pick`: a number, a ratio, or `all`.
func (c *checker) pick(s *syntax.Expr, scope *expr.Scope, p place) (*expr.Expr, bool) {
	if c.src.Slice(s.Span) == "all" {
		return nil, true
	}
	if word := c.src.Slice(s.Span); pickWords[word] {
		if _, ok := scope.Lookup(word); !ok {
			c.report(diag.Errorf(diag.UnknownName, s.Span, "`%s` is no number", word).WithHint("write `pick 2`, `pick 50%%` or `pick all`"))
			return nil, false
		}
	}
	e := c.expression(s, scope, nil, p)
	if c.isVague(e) {
		return e, false
	}
	t := typeOf(e)
	if t.Kind != value.Number && t.Kind != value.Ratio && t.Kind != value.Any {
		c.report(diag.Errorf(diag.WrongType, s.Span, "`pick` takes a number, a ratio or `all`, and this is a %s", t).WithHint("write `pick 2`, `pick 50%%` or `pick all`"))
		return e, false
	}
	if v, ok := e.Const(); ok && (v.Float() <= 0 || v.T.Kind == value.Ratio && v.Float() > 1 || v.T.Kind == value.Number && v.Float() != float64(int(v.Float()))) {
		c.report(diag.Errorf(diag.BadChoice, s.Span, "`pick %s` picks nothing that can be counted", v).WithHint("write `pick 2`, `pick 50%%` or `pick all`"))
	}
	return e, false
}
