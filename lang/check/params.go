package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
	"chaos/lang/token"
	"chaos/lang/value"
)

// AllParams are the parameters of the file and of its experiments.
func (s *Script) AllParams() []*Param {
	out := append([]*Param(nil), s.Params...)
	for _, e := range s.Experiments {
		out = append(out, e.Params...)
	}
	return out
}

// checkGiven reports names given from outside that no parameter has.
func (c *checker) checkGiven(names []string) {
	for _, n := range names {
		if d, bad := unknownParam(c.script.AllParams(), n); bad {
			c.report(d)
		}
	}
}

func unknownParam(params []*Param, name string) (diag.Diagnostic, bool) {
	var names []string
	for _, p := range params {
		if p.Name == name {
			return diag.Diagnostic{}, false
		}
		names = append(names, p.Name)
	}
	d := diag.Errorf(diag.BadParam, commandLine("--param "+name), "the script has no parameter `%s`", name)
	d.Hint = diag.DidYouMean(name, names)
	if len(names) == 0 {
		d.Hint = "it has none at all"
	}
	return d, true
}

// commandLine is a place outside of every file, which has no lines.
func commandLine(what string) diag.Span { return diag.Span{File: what} }

// EnvName is the environment variable that sets a parameter. A dot may not stand in one.
func EnvName(param string) string {
	return "CHAOS_PARAM_" + strings.ReplaceAll(param, ".", "__")
}

// BindParams gives parameters their values: what was given, over the environment, over the default.
func BindParams(params []*Param, given map[string]string, env func(string) (string, bool)) (map[string]value.Value, []diag.Diagnostic) {
	b, ds := Bind(&Script{}, params, Given{Flags: given, Env: env})
	return b.Params, ds
}

// Given is what a run is given from outside.
type Given struct {
	Flags  map[string]string                // of `--param`, over
	File   *ParamFile                       // of `--params`, over
	Env    func(name string) (string, bool) // the environment, over the defaults; nil for none
	Secret func(name string) (string, bool) // nil for none
}

// Bound is what came of it.
type Bound struct {
	Params  map[string]value.Value
	Secrets map[string]string // by name: all that the script reads
	Hidden  map[string]string // what must be shown nowhere, by what may be shown instead
}

// Bind gives parameters their values, and finds the secrets of a script. Text from a flag or the environment is taken
// verbatim for a string, and is one literal of the declared type for anything else.
func Bind(script *Script, params []*Param, g Given) (Bound, []diag.Diagnostic) {
	b := &binder{Given: g, params: params, Bound: Bound{Params: map[string]value.Value{}, Secrets: map[string]string{}, Hidden: map[string]string{}}}
	for _, n := range slices.Sorted(maps.Keys(g.Flags)) {
		if d, bad := unknownParam(params, n); bad {
			b.diags = append(b.diags, d)
		}
	}
	var file map[string]entry
	if g.File != nil {
		file = b.entries()
	}
	for _, p := range params {
		v, at, ok := b.value(p, file)
		if !ok || !b.allowed(p, v, at) {
			continue
		}
		b.Params[p.Name] = v
		switch {
		case p.Secret && v.T.Kind == value.String:
			b.hide(p.Name, v.Text(), at)
		case p.Secret && at != p.Span: // those of its default are found by their names
			b.hideAll(p.Name, v, marked(p), at)
		}
	}
	for _, s := range script.Secrets {
		b.secret(s.Name, s.Span)
	}
	return b.Bound, b.diags
}

type binder struct {
	Given
	Bound
	params []*Param
	diags  []diag.Diagnostic
}

// value is the value of a parameter, and where it was given.
func (b *binder) value(p *Param, file map[string]entry) (v value.Value, at diag.Span, ok bool) {
	from := "--param " + p.Name
	text, ok := b.Flags[p.Name]
	if e, inFile := file[p.Name]; !ok && inFile {
		v, d, ok := e.as(p)
		if !ok {
			b.diags = append(b.diags, d)
		}
		return v, e.value.at, ok
	}
	if !ok && b.Env != nil {
		from = EnvName(p.Name)
		text, ok = b.Env(from)
	}
	switch {
	case ok:
		v, d, ok := literal(from, text, p)
		if !ok {
			b.diags = append(b.diags, d)
		}
		return v, commandLine(from), ok
	case p.Default == nil:
		b.diags = append(b.diags, diag.Errorf(diag.BadParam, p.Span, "the parameter `%s` has no value", p.Name).
			WithHint("give it one: `--param %s=%s`", p.Name, shell(p.Type)))
		return v, at, false
	}
	known := true
	v = p.Default.Eval(expr.EnvFunc(func(path []string) value.Value {
		for _, o := range p.Default.Operands() {
			if o.Path[0] == path[0] && o.Binding.Secret != "" {
				s, found := b.secret(o.Binding.Secret, o.At)
				known = known && found
				return value.StringOf(s)
			}
		}
		return value.NoData("`%s` is not known", path[0])
	}))
	return as(v, p.Type), p.Span, known && !v.IsMissing()
}

// allowed holds a value to the list behind `in`.
func (b *binder) allowed(p *Param, v value.Value, at diag.Span) bool {
	if p.In == nil {
		return true
	}
	list, ok := p.In.Const()
	if !ok || among(v, list.Items()) {
		return true
	}
	shown := v.Short()
	if p.Secret {
		shown = "this secret"
	}
	b.diags = append(b.diags, diag.Errorf(diag.BadParam, at, "`%s` may not be %s", p.Name, shown).
		WithHint("one of %s", list.Short()).WithNote(p.In.Span(), "the values are listed here"))
	return false
}

// secret finds a secret, once.
func (b *binder) secret(name string, at diag.Span) (string, bool) {
	if v, ok := b.Secrets[name]; ok {
		return v, v != ""
	}
	v, ok := "", false
	if b.Secret != nil {
		v, ok = b.Secret(name)
	}
	switch {
	case !ok:
		b.diags = append(b.diags, diag.Errorf(diag.NoSecret, at, "the secret `%s` is not set", name).
			WithHint("set `CHAOS_SECRET_%s`, or write `%s=…` into the file of `--secrets`", name, name))
	case v == "":
		ok = false
		b.diags = append(b.diags, diag.Errorf(diag.NoSecret, at, "the secret `%s` is empty", name).WithHint("give it %d characters or more", leastSecret))
	default:
		ok = b.hide(name, v, at)
	}
	if !ok {
		v = ""
	}
	b.Secrets[name] = v
	return v, ok
}

// leastSecret is the length from which a text can be hidden: a shorter one would be found in every other word.
const leastSecret = 4

func (b *binder) hide(name, v string, at diag.Span) bool {
	if len(v) < leastSecret {
		b.diags = append(b.diags, diag.Errorf(diag.NoSecret, at, "the secret `%s` is too short to be hidden", name).WithHint("give it %d characters or more", leastSecret))
		return false
	}
	b.Hidden[name] = v
	return true
}

// mark stands for any secret in a default, where only its place matters.
const mark = "\x00secret"

// marked is the default of a parameter with a mark in the place of each secret.
func marked(p *Param) value.Value {
	return p.Default.Eval(expr.EnvFunc(func(path []string) value.Value {
		for _, o := range p.Default.Operands() {
			if o.Path[0] == path[0] && o.Binding.Secret != "" {
				return value.StringOf(mark)
			}
		}
		return value.NoData("`%s` is not known", path[0])
	}))
}

// marksAll tells that a value of a default holds a secret, in each of its elements if it has some.
func marksAll(v value.Value) bool {
	switch x := v.V.(type) {
	case string:
		return strings.Contains(x, mark)
	case []value.Value:
		return len(x) > 0 && !slices.ContainsFunc(x, func(e value.Value) bool { return !marksAll(e) })
	case map[string]value.Value:
		return len(x) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(x)), func(e value.Value) bool { return !marksAll(e) })
	}
	return false
}

// hideAll hides the texts in a list or a map that was given for a secret one. Any of them may be a secret. One that is too
// short to be hidden is refused where the default has a secret in its place, or nothing but secrets; else it may be plain.
func (b *binder) hideAll(name string, v, usual value.Value, at diag.Span) {
	inner := func(name string, v, usual value.Value, there, all bool) {
		if !there && all {
			usual = value.StringOf(mark)
		}
		b.hideAll(name, v, usual, at)
	}
	switch x := v.V.(type) {
	case string:
		if len(x) >= leastSecret {
			b.Hidden[name] = x
		} else if marksAll(usual) {
			b.hide(name, x, at)
		}
	case []value.Value:
		list, _ := usual.V.([]value.Value)
		for i, e := range x {
			u, there := value.Value{}, i < len(list)
			if there {
				u = list[i]
			}
			inner(fmt.Sprintf("%s[%d]", name, i), e, u, there, marksAll(usual))
		}
	case map[string]value.Value:
		fields, _ := usual.V.(map[string]value.Value)
		for _, k := range slices.Sorted(maps.Keys(x)) {
			u, there := fields[k]
			inner(name+"."+k, x[k], u, there, marksAll(usual))
		}
	}
}

// shell is an example value as one types it on the command line.
func shell(t *value.Type) string {
	if t.Kind == value.String {
		return "text"
	}
	return t.Example()
}

// literal reads a value given from outside.
func literal(from, text string, p *Param) (value.Value, diag.Diagnostic, bool) {
	if p.Type.Kind == value.String {
		return value.StringOf(text), diag.Diagnostic{}, true
	}
	fail := func() (value.Value, diag.Diagnostic, bool) {
		kind := p.Type.String()
		if p.Secret {
			text = "…"
		}
		d := diag.Errorf(diag.BadParam, commandLine(from), "`%s` is no %s, which the parameter `%s` wants", text, kind, p.Name).
			WithHint("such as `%s=%s`", from, p.Type.Example())
		if text == "" {
			d.Message = fmt.Sprintf("the parameter `%s` wants a %s, and nothing stands behind the `=`", p.Name, kind)
		}
		return value.Value{}, d, false
	}
	src := diag.NewSource(from, text)
	for _, t := range token.Scan(src).Tokens {
		if t.Kind == token.Error {
			return fail()
		}
	}
	if p.Type.Numeric() {
		v, err := value.ParseNumber(text)
		v, ok := numeric(v, p.Type)
		if err != nil || !ok {
			return fail()
		}
		return v, diag.Diagnostic{}, true
	}
	file, ds := syntax.Parse(diag.NewSource(from, "let v = "+text))
	if len(ds) > 0 || len(file.Items) != 1 {
		return fail()
	}
	let, ok := file.Items[0].(*syntax.Let)
	if !ok {
		return fail()
	}
	e, ds := expr.Parse(file.Source, let.Value.Span)
	if len(ds) > 0 || len(e.Check(expr.NewScope(nil), known(p.Type))) > 0 {
		return fail()
	}
	v, ok := e.Const()
	if !ok || p.Type.Kind != value.Any && v.T.Kind != p.Type.Kind {
		return fail()
	}
	return as(v, p.Type), diag.Diagnostic{}, true
}

// numeric gives a number the unit of a type where it may have it: 0 fits every unit, a whole ratio may be 0 or 1.
func numeric(v value.Value, t *value.Type) (value.Value, bool) {
	if v.T == nil {
		return v, false
	}
	if v.T.Kind == t.Kind {
		return v, true
	}
	if v.T.Kind == value.Number && (v.Float() == 0 || t.Kind == value.Ratio && v.Float() == 1) {
		return value.Value{T: t, V: v.Float()}, true
	}
	return v, false
}

// as gives a value the type of its parameter.
func as(v value.Value, t *value.Type) value.Value {
	if t == nil || t.Kind == value.Any || v.T == nil {
		return v
	}
	if n, ok := numeric(v, t); ok && t.Numeric() {
		return n
	}
	if t.Kind == v.T.Kind {
		v.T = t
	}
	return v
}
