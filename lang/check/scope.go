package check

import (
	"slices"
	"sort"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/token"
	"chaos/lang/value"
)

// declare binds a name. Shadowing is an error; the first meaning stays, and declare returns false.
func (c *checker) declare(scope *expr.Scope, name syntax.Name, b *expr.Binding) bool {
	b.At = name.Span
	if later, ok := scope.Names[name.Text]; ok && later.At.File == name.Span.File && later.At.Start.Offset > name.Span.Start.Offset {
		// Kinds are declared one after the other, and it is the reader's order that counts.
		c.report(diag.Errorf(diag.Duplicate, later.At, "the name `%s` is taken", name.Text).WithHint("give this one another name").WithNote(name.Span, "the first is here"))
		later.At = name.Span
		c.setVague(later, true)
		return false
	}
	if first, ok := scope.Lookup(name.Text); ok && !(c.vague[first] && first.At == (diag.Span{})) {
		d := diag.Errorf(diag.Duplicate, name.Span, "the name `%s` is taken", name.Text).WithHint("give this one another name")
		if first.At != (diag.Span{}) {
			d = d.WithNote(first.At, "the first is here")
		}
		c.report(d)
		return false
	}
	scope.Names[name.Text] = b
	return true
}

// assume binds a name of which nothing is known, because what would have declared it is broken.
func (c *checker) assume(scope *expr.Scope, name string, at diag.Span) {
	if _, ok := scope.Lookup(name); ok {
		return
	}
	b := &expr.Binding{Type: value.TAny, At: at}
	c.setVague(b, true)
	scope.Names[name] = b
}

func (c *checker) setVague(b *expr.Binding, vague bool) {
	c.vague[b] = vague
	c.anyVague = c.anyVague || vague
}

func (c *checker) deny(scope *expr.Scope, name, why, hint string) {
	scope.Names[name] = &expr.Binding{Type: value.TBool, Denied: why, Hint: hint}
}

func (c *checker) declareParams(scope *expr.Scope, params []*syntax.Param, out *[]*Param) {
	for _, s := range params {
		p := &Param{Name: c.prefix + s.Name.Text, Help: s.Help, Span: s.Name.Span, Type: value.TAny}
		if s.Type != nil {
			p.Type = c.paramType(s.Type)
		}
		if s.Default != nil {
			p.Default = c.expression(&s.Default.Expr, scope, known(p.Type), place{kind: inConst, secret: true})
			p.Secret = p.Default.Tainted()
			if s.Type == nil {
				p.Type = typeOf(p.Default)
			} else if p.Type.Kind == value.List && typeOf(p.Default).Kind == value.List {
				p.Type = typeOf(p.Default)
			}
		}
		if s.Type == nil && p.Type.Kind == value.Nil {
			c.report(diag.Errorf(diag.BadParam, p.Default.Span(), "`nil` does not say what type `%s` has", s.Name.Text).
				WithHint("write `param %s: string`; without a default it must be given", s.Name.Text))
			p.Type = value.TAny
		}
		if s.Type == nil && s.Default == nil {
			c.report(diag.Errorf(diag.BadParam, s.Name.Span, "`param %s` has neither a type nor a default", s.Name.Text).
				WithHint("write `param %s: duration`, or `param %s = 10s`", s.Name.Text, s.Name.Text))
		}
		if s.In != nil {
			p.In = c.expression(s.In, scope, value.ListOf(known(p.Type)), place{kind: inConst})
			c.defaultAmong(p)
		}
		b := &expr.Binding{Type: p.Type, Key: c.key(s.Name.Text), Tainted: p.Secret}
		c.setVague(b, p.Type.Kind == value.Any)
		if c.declare(scope, s.Name, b) {
			*out = append(*out, p)
		}
	}
}

// known is the type to ask for, nil where nothing is known of it.
func known(t *value.Type) *value.Type {
	if t == nil || t.Kind == value.Any {
		return nil
	}
	return t
}

func (c *checker) paramType(w *syntax.Word, more ...value.Kind) *value.Type {
	kinds := append(slices.Clone(value.ParamKinds), more...)
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if names[i] = string(k); names[i] == w.Text {
			return value.Of(k)
		}
	}
	d := diag.Errorf(diag.WrongType, w.Span, "`%s` is no type of a parameter", w.Text).WithHint("%s", diag.DidYouMean(w.Text, names))
	if kind, ok := otherTypes[strings.ToLower(w.Text)]; ok {
		d = d.WithHint("write `%s`", kind)
	}
	c.report(d)
	return value.TAny
}

// otherTypes are the names that types have in other languages.
var otherTypes = map[string]value.Kind{
	"int": value.Number, "integer": value.Number, "float": value.Number, "double": value.Number, "num": value.Number, "str": value.String,
	"text": value.String, "url": value.String, "boolean": value.Bool, "time": value.Duration, "seconds": value.Duration, "milliseconds": value.Duration,
	"percent": value.Ratio, "percentage": value.Ratio, "bytes": value.Size, "array": value.List, "object": value.Map, "dict": value.Map,
}

func (c *checker) defaultAmong(p *Param) {
	if p.Default == nil {
		return
	}
	list, ok := p.In.Const()
	v, ok2 := p.Default.Const()
	if ok && ok2 && list.T.Kind == value.List && !among(v, list.Items()) {
		c.report(diag.Errorf(diag.BadChoice, p.Default.Span(), "the default of `%s` is none of the values behind `in`", p.Name).WithHint("one of %s", list.Short()))
	}
}

func among(v value.Value, list []value.Value) bool {
	for _, x := range list {
		if x.String() == v.String() {
			return true
		}
	}
	return false
}

// declareLets binds the names of abbreviations, so that they may be used above.
func (c *checker) declareLets(scope *expr.Scope, lets []*syntax.Let) {
	for _, s := range lets {
		c.declare(scope, s.Name, &expr.Binding{Type: value.TAny})
	}
}

// checkLets checks abbreviations, each after those that it uses.
func (c *checker) checkLets(scope *expr.Scope, lets []*syntax.Let) {
	byName := map[string]*syntax.Let{}
	for _, s := range lets {
		if b := scope.Names[s.Name.Text]; b != nil && b.At == s.Name.Span {
			byName[s.Name.Text] = s
		}
	}
	const (
		fresh = iota
		busy
		done
	)
	state := map[string]int{}
	var visit func(s *syntax.Let, path []string)
	visit = func(s *syntax.Let, path []string) {
		name := s.Name.Text
		b := scope.Names[name]
		switch state[name] {
		case done:
			return
		case busy:
			c.cycle(scope, s, path, byName)
			return
		}
		state[name] = busy
		names := c.names(s.Value.Span, false)
		for _, n := range names {
			if d, ok := byName[n]; ok && len(path) <= token.MaxDepth {
				visit(d, append(path, name))
			}
		}
		if c.depths[b] = c.letDepth(scope, names); c.depths[b] > token.MaxDepth || len(path) > token.MaxDepth {
			if !c.chained { // one message for a chain, however long
				c.chained = true
				c.report(diag.Errorf(diag.TooDeep, s.Name.Span, "more than %d abbreviations stand behind `%s`", token.MaxDepth, name).WithHint("compute it in fewer steps"))
			}
			c.depths[b] = 0
			c.setVague(b, true)
		}
		if !c.vague[b] {
			e := c.expression(&s.Value, scope, nil, place{kind: inLet})
			b.Let, b.Type, b.Tainted = e, typeOf(e), e.Tainted()
			if c.isVague(e) {
				b.Let = nil
				c.setVague(b, true)
			}
		}
		state[name] = done
	}
	for _, s := range lets {
		if byName[s.Name.Text] == s {
			visit(s, nil)
		}
	}
}

// letDepth is how many abbreviations stand behind those that an expression names; each is followed wherever it is used.
func (c *checker) letDepth(scope *expr.Scope, names []string) int {
	deepest := 0
	for _, n := range names {
		if b, ok := scope.Lookup(n); ok {
			deepest = max(deepest, c.depths[b])
		}
	}
	return deepest + 1
}

func (c *checker) cycle(scope *expr.Scope, s *syntax.Let, path []string, byName map[string]*syntax.Let) {
	from := len(path) - 1
	for from > 0 && path[from] != s.Name.Text {
		from--
	}
	d := diag.Errorf(diag.Cycle, s.Name.Span, "`%s` is defined by itself", s.Name.Text).WithHint("break the circle: give one of them a value of its own")
	for _, n := range path[from:] {
		c.setVague(scope.Names[n], true)
		if n != s.Name.Text {
			d = d.WithNote(byName[n].Name.Span, "by way of `%s`", n)
		}
	}
	c.report(d)
}

// names are the names that the text of an expression mentions, those in `${…}` too; with fields, the names behind dots too.
func (c *checker) names(at diag.Span, fields bool) []string {
	var out []string
	var scan func(from, to int)
	scan = func(from, to int) {
		all := token.ScanRange(c.src, from, to).Tokens
		choices := 0
		for i, t := range all {
			switch {
			case t.Is("?"):
				choices++
			case t.Kind == token.String && t.Text[0] != '\'':
				for j := 1; j+1 < len(t.Text); j++ {
					if t.Text[j] == '$' && t.Text[j+1] == '{' {
						scan(t.Off+j+2, t.Stop()-1)
						break
					}
				}
			case t.Kind == token.Name:
				if !fields && i > 0 && (all[i-1].Is(".") || all[i-1].Is("?.")) || !fields && all[i+1].Is(":") && choices == 0 {
					continue
				}
				out = append(out, t.Text)
			}
		}
	}
	scan(at.Start.Offset, at.End.Offset)
	return out
}

func (c *checker) declareProbes(scope *expr.Scope, probes []*syntax.Probe) []*Probe {
	out := make([]*Probe, len(probes))
	for i, s := range probes {
		t, call := c.resultOf(&s.Call)
		if call != nil && call.Kind == spec.Action { // which is the mistake, and not what is read of its samples
			t = value.TAny
		}
		p := &Probe{Name: c.prefix + s.Name.Text, local: s.Name.Text, Span: s.Name.Span, Type: t, streams: call != nil && call.Streaming}
		b := &expr.Binding{Type: p.Type, Key: c.key(s.Name.Text)}
		c.setVague(b, p.Type.Kind == value.Any)
		if c.declare(scope, s.Name, b) {
			c.probes[b] = p
		}
		out[i] = p
	}
	return out
}

func (c *checker) checkProbes(scope *expr.Scope, probes []*syntax.Probe, decls []*Probe) {
	for i, s := range probes {
		decls[i].Call = c.probeCall(&s.Call, scope)
		cl := c.clauses(s, s.Clauses, scope, place{kind: inProbe})
		decls[i].Every = cl.every
	}
}

// phases binds before, during and after to the summaries of these probes and of those of the modules.
func (c *checker) phases(scope *expr.Scope, probes []*Probe) {
	for _, phase := range []string{"before", "during", "after"} {
		t := &value.Type{Kind: value.Struct, Name: phase}
		seen := map[string]bool{}
		for _, p := range probes {
			if !seen[p.local] {
				seen[p.local] = true
				t.Fields = append(t.Fields, value.Field{Name: p.local, Type: SummaryType(p)})
			}
		}
		for name, u := range c.modules {
			if m := (&value.Type{Kind: value.Struct, Name: phase + "." + name}); len(u.own) > 0 && !seen[name] {
				for _, p := range u.own {
					m.Fields = append(m.Fields, value.Field{Name: p.local, Type: SummaryType(p)})
				}
				t.Fields = append(t.Fields, value.Field{Name: name, Type: m})
			}
		}
		for name := range c.file.Assumed {
			if !seen[name] {
				t.Fields = append(t.Fields, value.Field{Name: name, Type: value.TAny})
			}
		}
		sort.SliceStable(t.Fields, func(i, j int) bool { return t.Fields[i].Name < t.Fields[j].Name })
		scope.Names[phase] = &expr.Binding{Type: t}
	}
}

// SummaryType is the type of `before.NAME`: what summarises the samples of a probe over a phase.
func SummaryType(p *Probe) *value.Type {
	if p.Call != nil && p.Call.Spec.Streaming || p.streams {
		return p.Type
	}
	if p.Type.Kind != value.Struct {
		return summaryOf(p.Type)
	}
	t := &value.Type{Kind: value.Struct, Name: p.Type.Name}
	for _, f := range p.Type.Fields {
		t.Fields = append(t.Fields, value.Field{Name: f.Name, Help: f.Help, Type: summaryOf(f.Type)})
	}
	return t
}

func summaryOf(t *value.Type) *value.Type {
	field := func(name string, t *value.Type) value.Field { return value.Field{Name: name, Type: t} }
	count, last := field("count", value.TNumber), field("last", t)
	switch {
	case t.Numeric():
		out := &value.Type{Kind: value.Struct, Name: "summary"}
		for _, n := range []string{"mean", "min", "max", "p50", "p90", "p95", "p99"} {
			out.Fields = append(out.Fields, field(n, t))
		}
		out.Fields = append(out.Fields, count, last)
		return out
	case t.Kind == value.Bool:
		return value.StructOf("summary", field("ratio", value.TRatio), count, last)
	case t.Kind == value.Any:
		return value.TAny
	}
	return value.StructOf("summary", count, last)
}
