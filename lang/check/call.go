package check

import (
	"maps"
	"math"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/token"
	"chaos/lang/value"
)

// resultOf is the type of what a call returns, before its arguments are looked at; any where it is unknown.
func (c *checker) resultOf(call *syntax.Call) (t *value.Type, s *spec.Call) {
	if m, _, _ := c.callable(call); m != nil {
		if m.open {
			return value.TAny, nil
		}
		m.open = true
		c.visit(m.unit, func() { t, s = c.resultOf(&m.syn.Call) })
		m.open = false
		return t, s
	}
	s, ok := c.cat.Call(call.Name())
	if !ok || s.Result == nil {
		return value.TAny, nil
	}
	return s.Result, s
}

// probeCall checks what stands behind `probe name =`.
func (c *checker) probeCall(call *syntax.Call, scope *expr.Scope) *Call {
	m, a, _ := c.callable(call)
	if a != nil {
		c.wrongKind(call, &spec.Call{Kind: spec.Action, Name: call.Name()})
		c.looseArgs(call, scope, place{kind: inProbe})
		return nil
	}
	if m != nil {
		return c.expand(m, call, scope)
	}
	return c.call(call, spec.Probe, scope, place{kind: inProbe})
}

// call checks a call of an action or a probe of the registries. It is nil where the name means nothing.
func (c *checker) call(call *syntax.Call, want spec.Kind, scope *expr.Scope, p place) *Call {
	name := call.Name()
	if _, _, hidden := c.callable(call); hidden {
		c.looseArgs(call, scope, p)
		return nil
	}
	s, ok := c.cat.Call(name)
	if u := c.modules[call.First.Text]; u != nil && len(call.Rest) > 0 {
		c.unknownInModule(call, u)
		c.looseArgs(call, scope, p)
		return nil
	}
	if !ok {
		c.unknownCall(call, want)
		c.looseArgs(call, scope, p)
		return nil
	}
	if s.Kind != want {
		c.wrongKind(call, s)
		c.looseArgs(call, scope, p)
		return nil
	}
	out := &Call{Spec: s, Args: map[string]*expr.Expr{}, Text: c.text(call.Span), Span: call.Span}
	a := &arguments{checker: c, call: call, spec: s, out: out, at: map[string]diag.Span{}}
	a.check(scope, p)
	return out
}

// looseArgs checks the arguments of a call of which nothing is known.
func (c *checker) looseArgs(call *syntax.Call, scope *expr.Scope, p place) {
	p.secret = true
	for _, a := range call.Args {
		c.expression(&a.Value, scope, nil, p)
	}
}

func (c *checker) wrongKind(call *syntax.Call, s *spec.Call) {
	if s.Kind == spec.Probe {
		c.report(diag.Errorf(diag.NotAnAction, call.NameSpan(), "`%s` is a probe: it looks, and a step acts", s.Name).
			WithHint("write `probe name = %s(…)` in the experiment, and use `name` here", s.Name))
		return
	}
	c.report(diag.Errorf(diag.NotAProbe, call.NameSpan(), "`%s` is an action: it acts, and a probe only looks", s.Name).
		WithHint("call it as a step in `setup` or `inject`"))
}

func (c *checker) unknownCall(call *syntax.Call, want spec.Kind) {
	name := call.Name()
	var same, family, all []string
	prefix := call.First.Text + "."
	for n := range c.macros {
		if want == spec.Probe {
			same = append(same, n)
		}
	}
	for n := range c.actions {
		if want == spec.Action {
			same = append(same, n)
		}
	}
	all = append(all, same...)
	for _, n := range c.cat.Names() {
		all = append(all, n)
		if s, ok := c.cat.Call(n); ok && s.Kind == want {
			same = append(same, n)
			if strings.HasPrefix(n, prefix) {
				family = append(family, n)
			}
		}
	}
	d := diag.Errorf(diag.UnknownCall, call.NameSpan(), "there is no %s `%s`", want, name)
	last := name[strings.LastIndexByte(name, '.')+1:]
	near, ok := diag.Nearest(name, same)
	if !ok || !strings.HasPrefix(near, prefix) && len(family) > 0 {
		for _, n := range same { // the right word in the wrong family
			if strings.HasSuffix(n, "."+last) {
				near, ok = n, true
				break
			}
		}
	}
	switch {
	case ok && (len(family) == 0 || strings.HasPrefix(near, prefix)):
		d = d.WithHint("did you mean `%s`?", near)
	case len(family) > 0:
		if n, found := nearestLast(name, family); found {
			d = d.WithHint("did you mean `%s`?", n)
		} else {
			d = d.WithHint("`%s` has `%s`", call.First.Text, strings.Join(family, "`, `"))
		}
	case want == spec.Action && pauses[name]:
		d = d.WithHint("write `wait %s`", timeOf(c, call))
	case want == spec.Action && (name == "print" || name == "echo" || name == "say"):
		d = d.WithHint("write `log(VALUE)`")
	case c.offeredBy(name, want) != "":
		d = d.WithHint("write `%s`", c.offeredBy(name, want))
	default:
		if n, found := diag.Nearest(name, all); found {
			d = d.WithHint("did you mean `%s`?", n)
		} else {
			d = d.WithHint("`chaos doc` lists what there is")
		}
	}
	c.report(d)
}

// offeredBy is how a definition of a module is called, where its name stands without the module's.
func (c *checker) offeredBy(name string, want spec.Kind) string {
	for _, module := range slices.Sorted(maps.Keys(c.modules)) {
		u := c.modules[module]
		if want == spec.Probe && u.macros[name] != nil || want == spec.Action && u.actions[name] != nil {
			return module + "." + name
		}
	}
	return ""
}

// pauses are names that other tools have for `wait`.
var pauses = map[string]bool{"sleep": true, "wait": true, "delay": true, "pause": true}

// timeOf is the first argument of a call if that is a time, else an example of one.
func timeOf(c *checker, call *syntax.Call) string {
	if len(call.Args) > 0 {
		if text := c.text(call.Args[0].Value.Span); isDuration(text) {
			return text
		}
	}
	return value.TDuration.Example()
}

func nearestLast(name string, family []string) (string, bool) {
	last := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	lasts := map[string]string{}
	var names []string
	for _, n := range family {
		lasts[last(n)] = n
		names = append(names, last(n))
	}
	n, ok := diag.Nearest(last(name), names)
	return lasts[n], ok
}

// arguments matches the arguments of one call with its spec.
type arguments struct {
	*checker
	call  *syntax.Call
	spec  *spec.Call
	out   *Call
	at    map[string]diag.Span // of the arguments given
	lost  bool                 // an argument could not be matched, so that none is missing
	extra bool                 // more values without a name than it takes: reported
}

func (a *arguments) check(scope *expr.Scope, p place) {
	p.secret, p.shown = !a.spec.Harmless, a.spec.Name
	named := map[string]bool{}
	for _, arg := range a.call.Args {
		if arg.Name != nil {
			named[arg.Name.Text] = true
		}
	}
	var free []*spec.Param
	for _, p := range a.positional() {
		if !named[p.Name] {
			free = append(free, p)
		}
	}
	for _, arg := range a.call.Args {
		param := a.param(arg, &free)
		if param == nil {
			a.lost = true
			a.expression(&arg.Value, scope, nil, p)
			continue
		}
		at := arg.Value.Span
		if arg.Name != nil {
			at = arg.Name.Span
		}
		if first, ok := a.at[param.Name]; ok {
			a.report(diag.Errorf(diag.Duplicate, at, "`%s` is given twice", param.Name).WithNote(first, "the first is here"))
			continue
		}
		a.at[param.Name] = at
		want := known(param.Type)
		if param.Type.Kind == value.Bool {
			want = nil // the words for a condition do not fit a switch
		}
		if param.Type.Kind == value.HandleK {
			want = nil // what to write instead depends on the call
		}
		number := false
		if len(param.Enum) > 0 {
			_, err := value.ParseNumber(a.text(arg.Value.Span))
			if number = err == nil; number {
				want = nil // `signal: 9`: quotes around it would not do
			}
		}
		e := a.expression(&arg.Value, scope, want, p)
		switch param.Type.Kind {
		case value.Bool:
			a.flag(e, param.Name)
		case value.HandleK:
			a.handle(e, param)
		}
		if number {
			a.report(diag.Errorf(diag.WrongType, e.Span(), "`%s` takes a word, and this is a number", param.Name).
				WithHint("such as %s; `chaos doc %s` lists them", value.Quote(param.Enum[0]), a.spec.Name))
		}
		a.out.Args[param.Name] = e
		a.limits(param, e)
	}
	if !a.lost {
		a.missing()
		a.groups()
	}
}

// flag demands true or false.
func (c *checker) flag(e *expr.Expr, name string) {
	if t := typeOf(e); t.Kind != value.Bool && t.Kind != value.Any && !c.isVague(e) {
		c.report(diag.Errorf(diag.WrongType, e.Span(), "`%s` is true or false, and this is a %s", name, t).WithHint("write `%s: true`", name))
	}
}

// handle demands what a step returned.
func (a *arguments) handle(e *expr.Expr, param *spec.Param) {
	t := typeOf(e)
	if t.Kind == value.HandleK || t.Kind == value.Any || a.isVague(e) {
		return
	}
	what := "a " + t.String()
	if t.Kind == value.Struct {
		what = "a sample"
	}
	d := diag.Errorf(diag.WrongType, e.Span(), "`%s` takes a handle here, and this is %s", a.spec.Name, what)
	if t.Kind == value.List {
		a.report(d.WithHint("take one after the other: `repeat one in %s { … }`", a.text(e.Span())))
		return
	}
	d.Hint = "write a name that a step bound with `as`"
	for _, q := range a.spec.Params {
		if q.Group == param.Group && q.Group != "" && q.Type.Kind == t.Kind {
			d.Hint += ", or `" + q.Name + ": " + a.text(e.Span()) + "`"
			break
		}
	}
	for _, q := range a.spec.Params {
		if q.Name == "match" && t.Kind == value.String {
			d.Hint = "write a name that a step bound with `as`, or `match: " + a.text(e.Span()) + "`"
		}
	}
	a.report(d)
}

// lasting and interval are names that other tools have for what stands in a clause here.
var (
	lasting  = map[string]bool{"duration": true, "seconds": true, "time": true, "length": true}
	interval = map[string]bool{"interval": true, "period": true, "frequency": true}
)

func (a *arguments) positional() []*spec.Param {
	var out []*spec.Param
	for i := range a.spec.Params {
		if a.spec.Params[i].Positional {
			out = append(out, &a.spec.Params[i])
		}
	}
	return out
}

func (a *arguments) param(arg *syntax.Arg, free *[]*spec.Param) *spec.Param {
	name := a.spec.Name
	if arg.Name != nil {
		if p, ok := a.spec.Param(arg.Name.Text); ok {
			return p
		}
		d := diag.Errorf(diag.UnknownArgument, arg.Name.Span, "`%s` has no argument `%s`", name, arg.Name.Text)
		d.Hint = diag.DidYouMean(arg.Name.Text, a.spec.ParamNames())
		switch {
		case token.Clauses[arg.Name.Text]:
			d.Hint = "write it behind the bracket: `" + name + "(…) " + arg.Name.Text + " " + a.text(arg.Value.Span) + "`"
		case lasting[arg.Name.Text] && a.spec.Kind == spec.Action && a.spec.Undo != "":
			d.Hint = "how long it lasts stands behind the bracket: `" + name + "(…) for " + a.text(arg.Value.Span) + "`"
		case interval[arg.Name.Text] && a.spec.Kind == spec.Probe:
			d.Hint = "how often stands behind the bracket: `" + name + "(…) every " + a.text(arg.Value.Span) + "`"
		case len(a.spec.Params) == 0:
			d.Hint = "it takes none"
		case d.Hint == "":
			d.Hint = "it takes `" + strings.Join(a.spec.ParamNames(), "`, `") + "`"
		}
		a.report(d)
		return nil
	}
	if len(*free) > 0 {
		p := (*free)[0]
		*free = (*free)[1:]
		return p
	}
	all := a.positional()
	if a.lost && a.extra {
		return nil // said at the first one too many
	}
	a.extra = true
	d := diag.Errorf(diag.TooManyArgs, arg.Value.Span, "`%s` takes %s without a name", name, count(len(all), "value"))
	var rest, fitting []string
	text := a.text(arg.Value.Span)
	for _, n := range a.spec.ParamNames() {
		if p, _ := a.spec.Param(n); !p.Positional {
			rest = append(rest, n)
			if v, err := value.ParseNumber(text); err == nil && v.T.Kind == p.Type.Kind {
				fitting = append(fitting, n)
			}
		}
	}
	if p, ok := a.spec.Param("args"); ok && p.Type.Kind == value.List {
		d = d.WithHint("its arguments are one list: `args: [%s]`", a.unnamed(len(all)))
	} else if port, err := value.ParseNumber(text); err == nil && port.T.Kind == value.Number && len(all) == 1 && all[0].Name == "address" {
		d = d.WithHint("the port is a part of the address: `\"HOST:%s\"`", text)
	} else if len(fitting) > 0 {
		d = d.WithHint("name it: `%s: %s`", strings.Join(fitting, ": "+text+"`, `"), text)
	} else if len(rest) > 0 {
		d = d.WithHint("name it: `%s: …`", strings.Join(rest, ": …`, `"))
	} else {
		d = d.WithHint("remove it")
	}
	a.report(d)
	return nil
}

// unnamed are the arguments without a name behind the first n, as they are written.
func (a *arguments) unnamed(n int) string {
	var out []string
	for _, arg := range a.call.Args {
		if arg.Name == nil {
			out = append(out, a.text(arg.Value.Span))
		}
	}
	return strings.Join(out[min(n, len(out)):], ", ")
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "only one " + what
	}
	return "only " + value.NumberOf(float64(n)).String() + " " + what + "s"
}

// limits judges a constant against what the argument may be. What is no constant is judged when it is planned.
func (a *arguments) limits(param *spec.Param, e *expr.Expr) {
	if a.isVague(e) {
		return
	}
	v, ok := e.Const()
	if !ok || v.T.Kind != param.Type.Kind && !(v.T.Numeric() && (param.Type.Numeric() || param.Type.Kind == value.Any)) {
		return
	}
	switch err := param.Judge(v); {
	case err == nil:
	case param.Enum != nil:
		a.choice(param, e, v)
	case param.Regexp && v.Text() != "":
		a.report(diag.Errorf(diag.BadChoice, e.Span(), "`%s` %s", param.Name, err).
			WithHint("the syntax is that of RE2; a literal character such as `.` is written `\\.` in single quotes"))
	default:
		a.report(diag.Errorf(diag.BadChoice, e.Span(), "`%s` %s", param.Name, err).WithHint("%s", suggestion(param, v)))
	}
}

// suggestion is a value that would do: the nearest whole number, or else the default.
func suggestion(param *spec.Param, v value.Value) string {
	if f := math.Round(v.Float()); v.T.Kind == value.Number && param.Whole && !math.IsInf(f, 0) && param.Judge(value.NumberOf(f)) == nil {
		return "write `" + value.NumberOf(f).String() + "`"
	}
	if param.Default != "" && param.Type.Kind != value.List {
		return "without it, it is `" + param.Default + "`"
	}
	return ""
}

// choice reports a string that is none of those allowed.
func (a *arguments) choice(param *spec.Param, e *expr.Expr, v value.Value) {
	d := diag.Errorf(diag.BadChoice, e.Span(), "`%s` is none of the values of `%s`", v.Text(), param.Name)
	without := strings.TrimPrefix(strings.ToUpper(v.Text()), "SIG") // as in SIGTERM
	if slices.Contains(param.Enum, without) {
		d = d.WithHint("did you mean %s?", value.Quote(without))
	} else if near, found := diag.Nearest(v.Text(), param.Enum); found {
		d = d.WithHint("did you mean %s?", value.Quote(near))
	} else {
		d = d.WithHint("one of `%s`", strings.Join(param.Enum, "`, `"))
	}
	a.report(d)
}

func (a *arguments) missing() {
	var names []string
	example := ""
	for _, p := range a.spec.Params {
		if _, given := a.at[p.Name]; given || !p.Required {
			continue
		}
		names = append(names, p.Name)
		if p.Positional {
			example = p.Type.Example()
			if len(p.Enum) > 0 {
				example = value.Quote(p.Enum[0])
			}
		} else {
			example = p.Name + ": " + p.Type.Example()
		}
	}
	if len(names) == 0 {
		return
	}
	d := diag.Errorf(diag.MissingArgument, a.call.NameSpan(), "`%s` needs `%s`", a.spec.Name, strings.Join(names, "` and `"))
	if a.spec.Example != "" {
		d = d.WithHint("such as `%s`", a.spec.Example)
	} else if len(names) == 1 {
		d = d.WithHint("such as `%s(%s)`", a.spec.Name, example)
	}
	a.report(d)
}

// groups demands exactly one argument of each group.
func (a *arguments) groups() {
	done := map[string]bool{}
	for _, p := range a.spec.Params {
		if p.Group == "" || done[p.Group] {
			continue
		}
		done[p.Group] = true
		var members, given, said []string
		for _, q := range a.spec.Params {
			if q.Group != p.Group {
				continue
			}
			name := "`" + q.Name + "`"
			if q.Positional && q.Type.Kind == value.HandleK {
				name = "a handle"
			}
			members = append(members, name)
			if _, ok := a.at[q.Name]; ok {
				given, said = append(given, q.Name), append(said, name)
			}
		}
		what := "does not say how much"
		for _, q := range a.spec.Params {
			if q.Group == p.Group && q.Type.Kind == value.HandleK {
				what = "does not say which one"
			}
		}
		list := strings.Join(members[:len(members)-1], ", ") + " or " + members[len(members)-1]
		if len(members) == 1 {
			list = members[0]
		}
		switch {
		case len(given) == 0:
			a.report(diag.Errorf(diag.ExactlyOne, a.call.NameSpan(), "`%s` %s", a.spec.Name, what).WithHint("give exactly one of %s", list))
		case len(given) > 1:
			a.report(diag.Errorf(diag.ExactlyOne, a.at[given[1]], "%s and %s exclude each other", said[0], said[1]).
				WithNote(a.at[given[0]], "the other is here").WithHint("give exactly one of %s", list))
		}
	}
}
