package check

import (
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
}

// File checks a parsed file against the registries. The Script holds whatever is right, however broken the rest is; it may
// be run only if no diagnostic is an error. Diagnostics are sorted by position.
func File(file *syntax.File, cat spec.Catalogue, opts Options) (*Script, []diag.Diagnostic) {
	c := &checker{
		file: file, src: file.Source, cat: cat, seen: map[diagKey]bool{}, modules: map[string]bool{}, actions: map[string]*syntax.Action{},
		macros: map[string]*macro{}, titles: map[string]diag.Span{}, vague: map[*expr.Binding]bool{}, probes: map[*expr.Binding]*Probe{},
		handles: map[*expr.Binding]bool{}, late: map[*expr.Binding]bool{}, outside: map[string]diag.Span{}, uses: map[*expr.Expr][]*expr.Binding{},
	}
	c.script = &Script{Source: file.Source}
	c.run()
	c.checkGiven(opts.ParamNames)
	diag.List(c.diags).Sort()
	return c.script, c.diags
}

type diagKey struct {
	off  int
	code diag.Code
}

type checker struct {
	file   *syntax.File
	src    *diag.Source
	cat    spec.Catalogue
	script *Script
	diags  []diag.Diagnostic
	seen   map[diagKey]bool

	modules map[string]bool // what `use` would have brought
	actions map[string]*syntax.Action
	macros  map[string]*macro // probe definitions
	titles  map[string]diag.Span

	base   *expr.Scope // names that broken statements would have declared
	global *expr.Scope
	guards []*Guard
	decls  []*Probe // of the file

	vague   map[*expr.Binding]bool // names whose meaning a mistake hides
	probes  map[*expr.Binding]*Probe
	handles map[*expr.Binding]bool
	late    map[*expr.Binding]bool         // handles that inject binds
	outside map[string]diag.Span           // parameters of experiments
	uses    map[*expr.Expr][]*expr.Binding // what the names at the roots of an expression's operands mean

	binders   map[string]diag.Span // where names are bound in the text; nil until needed
	anyVague  bool                 // some name is vague
	mentioned map[string]bool      // probes that the present experiment names; nil outside
}

// mention notes the probe that an operand reads.
func (c *checker) mention(path []string) {
	switch path[0] {
	case "before", "during", "after":
		if len(path) > 1 {
			c.mentioned[path[1]] = true
		}
	default:
		c.mentioned[path[0]] = true
	}
}

// report adds a diagnostic; the same code at the same place is one mistake.
func (c *checker) report(d diag.Diagnostic) {
	k := diagKey{d.Span.Start.Offset, d.Code}
	if c.seen[k] {
		return
	}
	c.seen[k] = true
	c.diags = append(c.diags, d)
}

func (c *checker) text(at diag.Span) string { return syntax.OneLine(c.src, at) }

func (c *checker) run() {
	c.base = expr.NewScope(nil)
	for name := range c.file.Assumed {
		c.assume(c.base, name, diag.Span{})
		c.modules[name] = true
	}
	c.global = expr.NewScope(c.base)
	var lets []*syntax.Let
	var params []*syntax.Param
	var probes []*syntax.Probe
	var aborts []*syntax.Abort
	var experiments []*syntax.Experiment
	for _, s := range c.file.Items {
		switch s := s.(type) {
		case *syntax.Use:
			c.use(s)
		case *syntax.Action:
			c.report(unsupported(s.Name.Span, "a composite `action`").WithHint("write its steps where it is called, as `do { … }`"))
			c.actions[s.Name.Text] = s
			c.modules[s.Name.Text] = true
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
			aborts = append(aborts, s)
		case *syntax.Experiment:
			experiments = append(experiments, s)
		default:
			c.misplaced(s, inFile)
		}
	}
	c.declareParams(c.global, params, &c.script.Params)
	c.declareLets(c.global, lets)
	c.decls = c.declareProbes(c.global, probes)
	c.phases(c.global, c.decls)
	c.deny(c.global, "steady", "`steady` belongs to an experiment, and this stands outside", "move it into the experiment")
	c.checkMacros()
	c.checkLets(c.global, lets)
	c.checkProbes(c.global, probes, c.decls)
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

func (c *checker) use(s *syntax.Use) {
	c.report(unsupported(s.Path.Span, "`use`").WithHint("copy what you need of it into this file"))
	name := lastSegment(s.Path.Value)
	if s.As != nil {
		name = s.As.Text
	}
	c.modules[name] = true
	c.assume(c.base, name, s.Span)
}

func lastSegment(path string) string {
	start, end := 0, len(path)
	if n := len(path) - len(".chaos"); n > 0 && path[n:] == ".chaos" {
		end = n
	}
	for i := range end {
		if path[i] == '/' {
			start = i + 1
		}
	}
	return path[start:end]
}

func unsupported(at diag.Span, what string) diag.Diagnostic {
	return diag.Errorf(diag.Unsupported, at, "%s is not part of this version", what)
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
	}
	c.reportAll(ds)
	for _, o := range e.Operands() {
		if b, ok := scope.Lookup(o.Path[0]); ok {
			c.uses[e] = append(c.uses[e], b)
		}
		if c.mentioned != nil && p.kind != inLet {
			c.mention(o.Path)
		}
	}
	if len(ds) > 0 {
		c.uses[e] = append(c.uses[e], vagueBinding)
	} else {
		c.placed(e, scope, p)
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
	case d.Code == diag.UnknownName && !visible:
		d = c.elsewhere(d)
		if d.Hint == "" && len(d.Notes) == 0 && want != nil && want.Kind == value.String {
			d.Hint = "a text stands in quotes: " + value.Quote(text)
		}
	case d.Code == diag.BadExpression:
		if s, ok := c.cat.Call(text); ok && s.Kind == spec.Action {
			d.Hint = "an action is a step of its own, and `as` names what it returns: `" + text + "(…) as NAME`"
		}
	case d.Code == diag.WrongUnit && want != nil && want.Kind == value.Duration:
		if v, err := value.ParseNumber(text); err == nil && v.T.Kind == value.Number {
			d.Hint = "write `" + text + "s` or `" + text + "ms`"
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
			if next := all[i+1]; next.Kind == token.Name && (t.Is("as") || t.Is("let") || t.Is("repeat") || t.Is("probe") || t.Is("param")) {
				if _, ok := c.binders[next.Text]; !ok {
					c.binders[next.Text] = c.src.Span(next.Off, next.Stop())
				}
			}
		}
	}
	if at, ok := c.binders[name]; ok {
		d = d.WithNote(at, "`%s` is bound here", name).WithHint("a name is known from where it is bound to the end of its block")
	}
	return d
}

// readsVague tells that the text of an expression mentions a name whose meaning a mistake hides.
func (c *checker) readsVague(at diag.Span, scope *expr.Scope) bool {
	if !c.anyVague {
		return false
	}
	for _, n := range c.names(at, true) {
		if b, ok := scope.Lookup(n); ok && c.vague[b] {
			return true
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
