package check

import (
	"sort"

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

// commandLine is a place outside of every file.
func commandLine(what string) diag.Span {
	start := diag.Pos{Line: 1, Col: 1}
	return diag.Span{File: what, Start: start, End: start}
}

// EnvName is the environment variable that sets a parameter.
func EnvName(param string) string { return "CHAOS_PARAM_" + param }

// BindParams gives the parameters their values: what was given (the flag over the file, merged by the caller), over the
// environment, over the default. A string is taken verbatim, anything else is one literal of the declared type.
func BindParams(params []*Param, given map[string]string, env func(string) (string, bool)) (map[string]value.Value, []diag.Diagnostic) {
	out := map[string]value.Value{}
	var ds []diag.Diagnostic
	names := make([]string, 0, len(given))
	for n := range given {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		if d, bad := unknownParam(params, n); bad {
			ds = append(ds, d)
		}
	}
	for _, p := range params {
		from := "--param " + p.Name
		text, ok := given[p.Name]
		if !ok && env != nil {
			from = EnvName(p.Name)
			text, ok = env(from)
		}
		var v value.Value
		switch {
		case ok:
			var d diag.Diagnostic
			if v, d, ok = literal(from, text, p); !ok {
				ds = append(ds, d)
				continue
			}
		case p.Default != nil:
			v, _ = p.Default.Const()
			v = as(v, p.Type)
		default:
			ds = append(ds, diag.Errorf(diag.BadParam, p.Span, "the parameter `%s` has no value", p.Name).
				WithHint("give it one: `--param %s=%s`", p.Name, shell(p.Type)))
			continue
		}
		if p.In != nil {
			if list, ok := p.In.Const(); ok && !among(v, list.Items()) {
				at := p.Span
				if _, ok := given[p.Name]; ok {
					at = commandLine(from)
				}
				ds = append(ds, diag.Errorf(diag.BadParam, at, "`%s` may not be %s", p.Name, v.Short()).
					WithHint("one of %s", list.Short()).WithNote(p.In.Span(), "the values are listed here"))
				continue
			}
		}
		out[p.Name] = v
	}
	return out, ds
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
		d := diag.Errorf(diag.BadParam, commandLine(from), "`%s` is no %s, which the parameter `%s` wants", text, kind, p.Name).
			WithHint("such as `--param %s=%s`", p.Name, p.Type.Example())
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
