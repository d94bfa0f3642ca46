package check

import (
	"io/fs"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/token"
	"chaos/lang/value"
)

// Options change what a check looks at.
type Options struct {
	// ParamNames are parameters given from outside; a name that no parameter has is an error. nil: not checked.
	ParamNames []string

	// Std holds the standard library, Read the files that `use` names; without one there are no such modules.
	Std  fs.FS
	Read func(path string) (*diag.Source, []diag.Diagnostic)
}

// File checks a parsed file against the registries. The Script holds whatever is right, however broken the rest is; it may
// be run only if no diagnostic is an error. Diagnostics are sorted by position.
func File(file *syntax.File, cat spec.Catalogue, opts Options) (*Script, []diag.Diagnostic) {
	c := &checker{
		unit: newUnit(file), opts: opts, cat: cat, seen: map[diagKey]bool{}, units: map[string]*unit{}, titles: map[string]diag.Span{},
		vague: map[*expr.Binding]bool{}, depths: map[*expr.Binding]int{}, probes: map[*expr.Binding]*Probe{}, handles: map[*expr.Binding]bool{}, late: map[*expr.Binding]bool{},
		outside: map[string]diag.Span{}, uses: map[*expr.Expr][]*expr.Binding{}, secrets: map[string]bool{},
	}
	c.script = &Script{Source: file.Source}
	c.run()
	c.checkGiven(opts.ParamNames)
	diag.List(c.diags).Sort()
	return c.script, c.diags
}

type diagKey struct {
	file string
	off  int
	code diag.Code
}

type checker struct {
	*unit  // the file that is looked at
	opts   Options
	cat    spec.Catalogue
	script *Script
	diags  []diag.Diagnostic
	seen   map[diagKey]bool

	units  map[string]*unit // modules, by what they are
	order  []*unit          // modules, each after those that it uses
	titles map[string]diag.Span
	guards []*Guard
	decls  []*Probe // of all files

	vague   map[*expr.Binding]bool // names whose meaning a mistake hides
	depths  map[*expr.Binding]int  // of abbreviations, how many stand behind each other
	probes  map[*expr.Binding]*Probe
	handles map[*expr.Binding]bool
	late    map[*expr.Binding]bool         // handles that inject binds
	outside map[string]diag.Span           // parameters of experiments
	uses    map[*expr.Expr][]*expr.Binding // what the names at the roots of an expression's operands mean
	secrets map[string]bool                // those named so far

	anyVague   bool            // some name is vague
	chained    bool            // a chain of abbreviations that is too long was reported
	mentioned  map[string]bool // probes that the present experiment names; nil outside
	expansions int             // of composite actions, so far
	defining   bool            // the body of a definition is being looked at
}

// mention notes the probe that an operand reads.
func (c *checker) mention(o expr.Operand) {
	switch o.Path[0] {
	case "before", "during", "after":
		if len(o.Path) > 1 {
			c.mentioned[o.Path[1]] = true
		}
	default:
		if p := c.probes[o.Binding]; p != nil {
			c.mentioned[p.Name] = true
		}
	}
}

// report adds a diagnostic; the same code at the same place is one mistake.
func (c *checker) report(d diag.Diagnostic) {
	if len(c.diags) >= diag.Most {
		return
	}
	k := diagKey{d.Span.File, d.Span.Start.Offset, d.Code}
	if c.seen[k] {
		return
	}
	c.seen[k] = true
	c.diags = append(c.diags, d)
}

func (c *checker) text(at diag.Span) string { return syntax.OneLine(c.src, at) }

func (c *checker) run() {
	c.script.Sources = []*diag.Source{c.src}
	c.load()
	for _, u := range c.order {
		c.visit(u, func() { c.declarations(inModule) })
	}
	aborts, experiments := c.declarations(inFile)
	for _, a := range aborts {
		if g := c.guard(c.global, a); g != nil {
			g.File = true
			c.guards = append(c.guards, g)
		}
	}
	for _, e := range experiments {
		c.experiment(e)
	}
}

// declarations checks what a file declares, and returns the rest.
func (c *checker) declarations(in placeKind) (aborts []*syntax.Abort, experiments []*syntax.Experiment) {
	c.base = expr.NewScope(nil)
	for name := range c.file.Assumed {
		c.assume(c.base, name, diag.Span{})
		c.unknown[name] = true
	}
	c.global = expr.NewScope(c.base)
	var lets []*syntax.Let
	var params []*syntax.Param
	var probes []*syntax.Probe
	c.bindModules()
	for _, s := range c.file.Items {
		switch s := s.(type) {
		case *syntax.Use:
		case *syntax.Action:
			c.defineAction(s)
		case *syntax.Param:
			params = append(params, s)
		case *syntax.Let:
			lets = append(lets, s)
		case *syntax.Probe:
			if s.Formals != nil {
				c.define(s)
				continue
			}
			probes = append(probes, s)
		case *syntax.Abort:
			if in == inModule {
				c.misplaced(s, in)
				continue
			}
			aborts = append(aborts, s)
		case *syntax.Experiment:
			if in == inModule {
				c.misplaced(s, in)
				continue
			}
			experiments = append(experiments, s)
		default:
			c.misplaced(s, in)
		}
	}
	c.declareParams(c.global, params, &c.script.Params)
	c.declareLets(c.global, lets)
	own := c.declareProbes(c.global, probes)
	c.decls = append(c.decls, own...)
	c.own = own
	c.phases(c.global, own)
	c.deny(c.global, "steady", "`steady` belongs to an experiment, and this stands outside", "move it into the experiment")
	c.checkMacros()
	c.checkLets(c.global, lets)
	c.checkProbes(c.global, probes, own)
	c.checkActions()
	return aborts, experiments
}

// experiment checks one experiment.
func (c *checker) experiment(s *syntax.Experiment) {
	x := &experiment{checker: c, syn: s, out: &Experiment{Title: s.Title.Value, Span: s.Title.Span, Help: s.Help}}
	if first, ok := c.titles[s.Title.Value]; ok && s.Title.Value != "" {
		c.report(diag.Errorf(diag.Duplicate, s.Title.Span, "there is another experiment with this title").WithNote(first, "the first is here").
			WithHint("titles name experiments in reports and in `--only`: make them differ"))
	} else if s.Title.Raw != "" {
		c.titles[s.Title.Value] = s.Title.Span
		if s.Title.Value == "" {
			c.report(diag.Errorf(diag.Unexpected, s.Title.Span, "an experiment needs a title").WithHint("say in a sentence what must hold"))
		}
	}
	c.script.Experiments = append(c.script.Experiments, x.out)
	x.run()
}

// expression parses and checks an expression. Its type is any where it is broken.
func (c *checker) expression(s *syntax.Expr, scope *expr.Scope, want *value.Type, p place) *expr.Expr {
	if s == nil {
		return nil
	}
	e, ds := expr.Parse(c.src, s.Span)
	if s.Bad || len(ds) > 0 {
		if !s.Bad {
			for _, d := range ds {
				c.report(c.refine(d, want, scope))
			}
		}
		c.uses[e] = []*expr.Binding{vagueBinding}
		return e
	}
	ds = e.Check(scope, want)
	if c.readsVague(s.Span, scope) { // what it may mean is hidden by another mistake: types and fields are not judged
		c.uses[e] = append(c.uses[e], vagueBinding)
		kept := ds[:0]
		for _, d := range ds {
			if d.Code <= diag.UnknownName || d.Code == diag.UnknownFunction {
				kept = append(kept, d)
			}
		}
		ds = kept
	}
	for i, d := range ds {
		ds[i] = c.refine(d, want, scope)
		if p.kind == inConst && d.Code == diag.UnknownName && len(ds[i].Notes) > 0 { // where it is bound does not matter
			ds[i] = constant(d.Span, c.src.Slice(d.Span))
		}
	}
	c.reportAll(ds)
	for _, o := range e.Operands() {
		c.uses[e] = append(c.uses[e], o.Binding)
		if c.mentioned != nil && p.kind != inLet {
			c.mention(o)
		}
		if n := o.Binding.Secret; n != "" && p.kind != inConst && !c.secrets[n] { // a default may not be needed
			c.secrets[n] = true
			c.script.Secrets = append(c.script.Secrets, Secret{Name: n, Span: o.At})
		}
	}
	if len(ds) > 0 {
		c.uses[e] = append(c.uses[e], vagueBinding)
	} else {
		if c.placed(e, p) {
			c.uses[e] = append(c.uses[e], vagueBinding)
		}
	}
	return e
}

func (c *checker) reportAll(ds []diag.Diagnostic) {
	for _, d := range ds {
		c.report(d)
	}
}

func typeOf(e *expr.Expr) *value.Type {
	if t := e.Type(); t != nil {
		return t
	}
	return value.TAny
}

// vagueBinding stands for whatever a broken expression may have meant.
var vagueBinding = &expr.Binding{Type: value.TAny}

// refine adds to a message about an expression what only the place of the expression tells.
func (c *checker) refine(d diag.Diagnostic, want *value.Type, scope *expr.Scope) diag.Diagnostic {
	text := c.src.Slice(d.Span)
	_, visible := scope.Lookup(text)
	switch {
	case d.Code == diag.UnknownName && !visible && c.macros[text] != nil:
		d.Message = "`" + text + "` is a probe with parameters, and has no samples itself"
		d = d.WithHint("declare `probe name = %s(…)` and read the fields of `name`", text).WithNote(c.macros[text].syn.Name.Span, "it is defined here")
	case d.Code == diag.UnknownName && !visible:
		d = c.elsewhere(d)
		if d.Hint == "" && strings.HasPrefix(c.src.Text[d.Span.End.Offset:], ".") {
			d = d.WithHint("declare it: `probe %s = family.name(…)`", text)
		}
		if (d.Hint == "" || strings.HasPrefix(d.Hint, "one of")) && !strings.HasSuffix(c.src.Text[:d.Span.Start.Offset], "${") && len(d.Notes) == 0 && want != nil && (want.Kind == value.String || want.Kind == value.List && want.Elem != nil && want.Elem.Kind == value.String) {
			d.Hint = "a text stands in quotes: " + value.Quote(text)
		}
	case d.Code == diag.UnknownFunction && c.macros[text] != nil:
		d.Code, d.Message = diag.BadExpression, "`"+text+"` cannot be called here: it is a probe with parameters, and probes are no expressions"
		d = d.WithHint("declare `probe name = %s(…)` and read the fields of `name`", text).WithNote(c.macros[text].syn.Name.Span, "it is defined here")
	case d.Code == diag.UnknownFunction && c.actions[text] != nil:
		d.Code, d.Message = diag.BadExpression, "`"+text+"` cannot be called here: it is an action, and actions are no expressions"
		d = d.WithHint("an action is a step of its own: `%s(…)`", text).WithNote(c.actions[text].syn.Name.Span, "it is defined here")
	case d.Code == diag.BadExpression:
		if s, ok := c.cat.Call(text); ok && s.Kind == spec.Action {
			d.Hint = "an action is a step of its own, and `as` names what it returns: `" + text + "(…) as NAME`"
		} else if module, name, _ := strings.Cut(text, "."); c.modules[module] != nil && c.modules[module].actions[name] != nil {
			d.Hint = "an action is a step of its own: `" + text + "(…)`"
		}
	}
	return d
}

// elsewhere notes where an unknown name is bound after all, in a block that ends before it or starts behind it.
func (c *checker) elsewhere(d diag.Diagnostic) diag.Diagnostic {
	name := c.src.Slice(d.Span)
	if c.binders == nil {
		c.binders = map[string]diag.Span{}
		all := token.Scan(c.src).Tokens
		for i, t := range all[:len(all)-1] {
			loop := t.Is("repeat") && i+2 < len(all) && all[i+2].Is("in")
			if next := all[i+1]; next.Kind == token.Name && (t.Is("as") || t.Is("let") || loop || t.Is("probe") || t.Is("param")) {
				if _, ok := c.binders[next.Text]; !ok {
					c.binders[next.Text] = c.src.Span(next.Off, next.Stop())
				}
			}
		}
	}
	if at, ok := c.binders[name]; ok && c.defining {
		return d.WithNote(at, "`%s` is bound here", name).WithHint("a definition sees its parameters and the top of its file: hand `%s` over as an argument", name)
	} else if ok {
		d = d.WithNote(at, "`%s` is bound here", name).WithHint("a name is known from where it is bound to the end of its block")
	}
	return d
}

// readsVague tells that the text of an expression mentions a name whose meaning a mistake hides.
func (c *checker) readsVague(at diag.Span, scope *expr.Scope) bool {
	if !c.anyVague {
		return false
	}
	var modules []*expr.Binding
	for _, n := range c.names(at, true) {
		b, ok := scope.Lookup(n)
		if ok && c.vague[b] {
			return true
		}
		if ok && b.Members != nil {
			modules = append(modules, b)
		}
		for _, m := range modules {
			if member := m.Members[n]; member != nil && c.vague[member] {
				return true
			}
		}
	}
	return false
}

// isVague tells that a mistake hides what the expression reads, so that what it lacks is not judged.
func (c *checker) isVague(e *expr.Expr) bool {
	for _, b := range c.uses[e] {
		if b == vagueBinding || c.vague[b] {
			return true
		}
	}
	return false
}

// changes tells whether an expression reads a sample: what it says can change while nothing but time goes by, and each new
// sample is a moment to look again.
func (c *checker) changes(e *expr.Expr) bool {
	for _, o := range e.Operands() {
		switch o.Path[0] {
		case "steady", "before", "during", "after":
			return true
		}
	}
	for _, b := range c.uses[e] {
		if c.probes[b] != nil || b == vagueBinding || c.vague[b] {
			return true
		}
	}
	return false
}
