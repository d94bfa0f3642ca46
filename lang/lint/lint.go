// Package lint finds what is right and yet looks wrong: scripts that check and would not do what their author thinks. Every
// warning has a name and can be silenced where it stands, with a reason. It knows the language, no family by name.
package lint

import (
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
	"chaos/lang/value"
)

// Lint looks at a script that checks without errors. Warnings are sorted by position.
func Lint(file *syntax.File, script *check.Script) []diag.Diagnostic {
	l := &linter{file: file, src: file.Source, script: script, said: map[mistake]bool{}}
	var written []*syntax.Experiment
	for _, s := range file.Items {
		if e, ok := s.(*syntax.Experiment); ok {
			written = append(written, e)
		}
	}
	if len(written) == len(script.Experiments) { // otherwise something is broken, and this is not the time
		for i, e := range written {
			x := &experiment{linter: l, syn: e, out: script.Experiments[i], timed: map[check.Stmt]bool{}}
			x.lint()
		}
	}
	if len(written) > 0 { // a file without experiments is a module: others use its names
		l.unused()
	}
	list := diag.List(l.silence(l.diags))
	list.Sort()
	return list
}

type linter struct {
	file   *syntax.File
	src    *diag.Source
	script *check.Script
	diags  []diag.Diagnostic
	said   map[mistake]bool
}

// mistake is what tells warnings apart.
type mistake struct {
	code diag.Code
	at   diag.Span
}

// report keeps a warning about this file; what is amiss in a module is said where that file is checked.
func (l *linter) report(d diag.Diagnostic) {
	if d.Span.File == l.src.File {
		l.diags = append(l.diags, d)
		l.said[mistake{d.Code, d.Span}] = true
	}
}

// once reports what may be found more than once, such as in a guard of the file or a body that is called twice.
func (l *linter) once(d diag.Diagnostic) {
	if !l.said[mistake{d.Code, d.Span}] {
		l.report(d)
	}
}

// experiment is the look at one experiment, as written and as checked.
type experiment struct {
	*linter
	syn *syntax.Experiment
	out *check.Experiment

	timed map[check.Stmt]bool // what takesTime said
}

func (x *experiment) lint() {
	x.sections()
	x.order()
	x.guards()
	x.rollback()
	x.conditions()
	x.late()
	x.window()
	if x.out.Inject != nil {
		x.fleeting(x.out.Inject.Body, nil, false, true)
		x.deadline()
	}
}

// value is what an expression says if every parameter has its default.
func (x *experiment) value(e *expr.Expr, loop map[string]value.Value) (value.Value, bool) {
	if e == nil {
		return value.Value{}, false
	}
	v := e.Eval(expr.EnvFunc(func(path []string) value.Value {
		v, ok := loop[path[0]]
		if !ok {
			v, ok = x.param(path[0])
		}
		if !ok {
			return value.NoData("`%s` is known only in a run", path[0])
		}
		for _, f := range path[1:] {
			v = v.Get(f)
		}
		return v
	}))
	return v, !v.Unknown && !v.IsMissing()
}

// param is the default of a parameter.
func (x *experiment) param(name string) (value.Value, bool) {
	for _, list := range [][]*check.Param{x.out.Params, x.script.Params} {
		for _, p := range list {
			if p.Name == name && p.Default != nil {
				return p.Default.Const()
			}
		}
	}
	return value.Value{}, false
}

// steps calls f for every step below a list of statements, in order; at is where the script has it: a step of a composite
// action stands where that is called.
func steps(list []check.Stmt, f func(s *check.Step, at diag.Span)) {
	for _, s := range list {
		g := f
		switch s := s.(type) {
		case *check.Step:
			f(s, s.Call.Span)
		case *check.Composite:
			g = func(inner *check.Step, _ diag.Span) { f(inner, s.Span) }
		}
		for _, body := range bodies(s) {
			steps(body, g)
		}
	}
}

// each calls f for every statement below a list of statements, in order.
func each(list []check.Stmt, f func(check.Stmt)) {
	for _, s := range list {
		f(s)
		for _, body := range bodies(s) {
			each(body, f)
		}
	}
}

// bodies are the statements inside of a statement.
func bodies(s check.Stmt) [][]check.Stmt {
	switch s := s.(type) {
	case *check.Repeat:
		return [][]check.Stmt{s.Body}
	case *check.When:
		return [][]check.Stmt{s.Then, s.Else}
	case *check.Parallel:
		return [][]check.Stmt{s.Branches}
	case *check.Do:
		return [][]check.Stmt{s.Body}
	case *check.Composite:
		return [][]check.Stmt{s.Body}
	}
	return nil
}

// irreversible tells a step that nothing can undo.
func irreversible(s *check.Step) bool {
	return s.Call.Spec.Irreversible(func(arg string) bool { return s.Call.Args[arg] != nil })
}

// sections of an experiment that have been written.
func (x *experiment) written() []*syntax.Section {
	var out []*syntax.Section
	for _, s := range x.syn.Body.Stmts {
		if sec, ok := s.(*syntax.Section); ok {
			out = append(out, sec)
		}
	}
	return out
}

// word is the place of the word that a section starts with.
func (l *linter) word(s *syntax.Section) diag.Span {
	return l.src.Span(s.Span.Start.Offset, s.Span.Start.Offset+len(s.Kind))
}
