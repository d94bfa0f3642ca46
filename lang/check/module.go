package check

import (
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/syntax"
	"chaos/lang/value"
)

// unit is one file: the script, or a module. What stands in a file is looked at with its unit in the checker, so that
// names and texts are those of that file.
type unit struct {
	file   *syntax.File
	src    *diag.Source
	std    bool   // of the standard library
	prefix string // what a run calls the values of the file: "slo." of a module, "" of the script

	imports []use
	modules map[string]*unit // by the name that they have here
	unknown map[string]bool  // callables of which nothing is known: what would have brought them is broken
	macros  map[string]*macro
	actions map[string]*composite

	base   *expr.Scope // names that broken statements would have declared
	global *expr.Scope
	own    []*Probe

	binders map[string]diag.Span // where names are bound in the text; nil until needed
}

// use is one `use` of a file. Its unit is nil where the module could not be read.
type use struct {
	syn  *syntax.Use
	name syntax.Name
	unit *unit
}

func newUnit(file *syntax.File) *unit {
	return &unit{file: file, src: file.Source, modules: map[string]*unit{}, unknown: map[string]bool{}, macros: map[string]*macro{}, actions: map[string]*composite{}}
}

// visit looks at another file.
func (c *checker) visit(u *unit, f func()) {
	outer := c.unit
	c.unit = u
	f()
	c.unit = outer
}

// trial runs a check whose diagnostics are for the caller to judge.
func (c *checker) trial(f func()) []diag.Diagnostic {
	diags, seen := c.diags, c.seen
	c.diags, c.seen = nil, map[diagKey]bool{}
	f()
	fresh := c.diags
	c.diags, c.seen = diags, seen
	return fresh
}

// load reads all modules, and names their values as the run will.
func (c *checker) load() {
	main := c.unit
	c.loadUses([]*unit{main})
	// A module that the script uses itself is called as there, any other by way of the file that uses it.
	for queue := []*unit{main}; len(queue) > 0; queue = queue[1:] {
		for _, s := range queue[0].imports {
			if u := s.unit; u != nil && u.prefix == "" && u != main {
				u.prefix = queue[0].prefix + s.name.Text + "."
				queue = append(queue, u)
			}
		}
	}
}

// loadUses reads what the last file of a trail uses, and so on.
func (c *checker) loadUses(trail []*unit) {
	u := trail[len(trail)-1]
	for _, item := range u.file.Items {
		s, ok := item.(*syntax.Use)
		if !ok {
			continue
		}
		one := use{syn: s, name: syntax.Name{Node: s.Path.Node, Text: lastSegment(s.Path.Value)}}
		if s.As != nil {
			one.name = *s.As
		}
		c.visit(u, func() { one.unit = c.open(s, trail) })
		u.imports = append(u.imports, one)
	}
}

// open is the module that a `use` names, nil where there is none.
func (c *checker) open(s *syntax.Use, trail []*unit) *unit {
	file, std, ok := c.locate(s)
	if !ok {
		return nil
	}
	for i, u := range trail {
		if u.src.File != file || u.std != std {
			continue
		}
		d := diag.Errorf(diag.Cycle, s.Path.Span, "`use` goes in a circle: %s", circle(trail[i:]))
		if i == len(trail)-1 {
			d = diag.Errorf(diag.Cycle, s.Path.Span, "this file uses itself")
		}
		for j := i; j+1 < len(trail); j++ {
			for _, n := range trail[j].file.Items {
				if n, ok := n.(*syntax.Use); ok && j+1 < len(trail) && c.leadsTo(trail[j], n, trail[j+1]) {
					d = d.WithNote(n.Path.Span, "by way of this one")
					break
				}
			}
		}
		c.report(d.WithHint("move what both need into a third file"))
		return nil
	}
	id := file
	if std {
		id = "std:" + file
	}
	if u, ok := c.units[id]; ok {
		return u
	}
	src := c.read(s, file, std)
	if src == nil {
		return nil
	}
	tree, ds := syntax.Parse(src)
	c.script.Sources = append(c.script.Sources, src)
	empty := false
	for _, d := range ds {
		if d.Code == diag.EmptyFile {
			d.Hint = "a module holds `param`, `let`, `probe` and `action`"
			empty = true
		}
		c.report(d)
	}
	if empty {
		return nil
	}
	u := newUnit(tree)
	u.std = std
	c.units[id] = u
	c.loadUses(append(slices.Clone(trail), u))
	c.order = append(c.order, u)
	return u
}

func (c *checker) leadsTo(from *unit, s *syntax.Use, to *unit) (yes bool) {
	c.visit(from, func() {
		file, std, ok := c.place(s.Path.Value)
		yes = ok && file == to.src.File && std == to.std
	})
	return yes
}

func circle(trail []*unit) string {
	names := make([]string, 0, len(trail)+1)
	for _, u := range trail {
		names = append(names, "`"+path.Base(filepath.ToSlash(u.src.File))+"`")
	}
	return strings.Join(append(names, names[0]), " → ")
}

// place turns the path of a `use` into a file.
func (c *checker) place(name string) (file string, std, ok bool) {
	relative := strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../")
	switch {
	case strings.HasPrefix(name, "std/"):
		return name + ".chaos", true, true
	case relative && c.std:
		return path.Join(path.Dir(c.src.File), name), true, true
	case relative:
		return filepath.Join(filepath.Dir(c.src.File), filepath.FromSlash(name)), false, true
	}
	return "", false, false
}

func (c *checker) locate(s *syntax.Use) (file string, std, ok bool) {
	name := s.Path.Value
	if s.Path.Raw == "" || name == "" && !strings.Contains(s.Path.Raw, `""`) {
		return "", false, false // reported by the parser
	}
	if _, problem := syntax.Unquote(s.Path.Raw); problem.Text != "" { // so was this
		return "", false, false
	}
	if file, std, ok = c.place(name); ok {
		return file, std, ok
	}
	d := diag.Errorf(diag.UnknownModule, s.Path.Span, "`%s` is neither a file nor a module of the standard library", name)
	switch near, found := diag.Nearest(name, c.stdNames()); {
	case found:
		d = d.WithHint("did you mean `%s`?", near)
	case slices.Contains(c.stdNames(), "std/"+name):
		d = d.WithHint("did you mean `std/%s`?", name)
	case name == "":
		d.Message = "the path is empty"
		d = d.WithHint("write `./lib/ours.chaos`, or a module of the standard library such as `std/web`")
	case strings.Contains(name, "://"):
		d = d.WithHint("nothing is fetched: keep it beside this file, and write `./%s`", path.Base(name))
	case strings.HasPrefix(name, "/"):
		d = d.WithHint("write the path from this file on: `./lib/ours.chaos`")
	case strings.HasSuffix(name, ".chaos"):
		d = d.WithHint("write `./%s`", name)
	default:
		d = d.WithHint("write `./lib/ours.chaos`, or a module of the standard library such as `std/web`")
	}
	c.report(d)
	return "", false, false
}

// stdNames are the modules of the standard library.
func (c *checker) stdNames() []string {
	if c.opts.Std == nil {
		return nil
	}
	files, _ := fs.Glob(c.opts.Std, "*.chaos")
	for i, f := range files {
		files[i] = "std/" + strings.TrimSuffix(f, ".chaos")
	}
	return files
}

// read reads a module.
func (c *checker) read(s *syntax.Use, file string, std bool) *diag.Source {
	name := s.Path.Value
	if std {
		if c.opts.Std != nil {
			if text, err := fs.ReadFile(c.opts.Std, strings.TrimPrefix(file, "std/")); err == nil {
				return diag.NewSource(file, string(text))
			}
		}
		d := diag.Errorf(diag.UnknownModule, s.Path.Span, "there is no module `%s` in the standard library", name)
		if without, ok := strings.CutSuffix(name, ".chaos"); ok && slices.Contains(c.stdNames(), without) {
			d = d.WithHint("write `use \"%s\"`", without)
		} else {
			d.Hint = diag.DidYouMean(name, c.stdNames())
		}
		c.report(d)
		return nil
	}
	if c.opts.Read == nil {
		c.report(diag.Errorf(diag.UnknownModule, s.Path.Span, "the file `%s` cannot be read from here", file))
		return nil
	}
	src, ds := c.opts.Read(file)
	if src != nil && !diag.List(ds).HasErrors() {
		return src
	}
	d := diag.Errorf(diag.UnknownModule, s.Path.Span, "there is no module `%s`", name)
	for _, why := range ds {
		d.Message, d.Hint = why.Message, why.Hint
		if why.Code == diag.NotUTF8 { // the mistake is over there
			c.report(why)
			return nil
		}
	}
	if !strings.HasSuffix(name, ".chaos") {
		if src, _ := c.opts.Read(file + ".chaos"); src != nil {
			d = d.WithHint("write `use \"%s.chaos\"`", name)
		}
	} else if d.Hint == "" {
		d = d.WithHint("the path starts at the folder of this file")
	}
	c.report(d)
	return nil
}

func lastSegment(name string) string {
	return strings.TrimSuffix(path.Base(name), ".chaos")
}

// bindModules gives the modules of a file their names in it.
func (c *checker) bindModules() {
	at := map[string]syntax.Name{}
	from := map[*unit]use{}
	for _, s := range c.imports {
		name := s.name.Text
		if s.unit == nil {
			c.unknown[name] = true
			c.assume(c.base, name, s.name.Span)
			continue
		}
		if first, ok := from[s.unit]; ok {
			c.report(diag.Errorf(diag.Duplicate, s.syn.Path.Span, "this module is used already, as `%s`", first.name.Text).WithNote(first.syn.Span, "the first is here").WithHint("keep one of them"))
			c.unknown[name] = true
			c.assume(c.base, name, s.name.Span)
			continue
		}
		if first, ok := at[name]; ok {
			c.report(diag.Errorf(diag.Duplicate, s.name.Span, "the name `%s` is taken", name).WithNote(first.Span, "the first is here").WithHint("give this one another: `use %s as other_%s`", s.syn.Path.Raw, name))
			continue
		}
		if !isName(name) {
			c.report(diag.Errorf(diag.BadChoice, s.name.Span, "`%s` cannot be the name of a module", name).WithHint("give it one: `use %s as ours`", s.syn.Path.Raw))
			continue
		}
		at[name] = s.name
		if c.familyName(s.name, "the module", "give it another: `use "+s.syn.Path.Raw+" as other_"+name+"`") {
			c.unknown[name] = true
			c.assume(c.base, name, s.name.Span)
			continue
		}
		b := &expr.Binding{Type: value.TAny, Members: s.unit.exports()}
		if c.declare(c.global, s.name, b) {
			c.modules[name], from[s.unit] = s.unit, s
		}
	}
}

func isName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// familyName reports a definition or module that is called like a family of actions and probes, or like one of them.
func (c *checker) familyName(name syntax.Name, what, hint string) bool {
	for _, n := range c.cat.Names() {
		family, _, dotted := strings.Cut(n, ".")
		if family != name.Text {
			continue
		}
		is := "an action or a probe"
		if dotted {
			is = "a family of actions and probes"
		}
		c.report(diag.Errorf(diag.Duplicate, name.Span, "%s cannot be called `%s`: that is %s", what, name.Text, is).WithHint("%s", hint))
		return true
	}
	return false
}

// exports are the values of a module, by their names in it.
func (u *unit) exports() map[string]*expr.Binding {
	out := map[string]*expr.Binding{}
	for name, b := range u.global.Names {
		if b.Members == nil && b.Denied == "" && name != "before" && name != "during" && name != "after" {
			out[name] = b
		}
	}
	for name := range u.file.Assumed { // what could not be parsed may have been it
		if b, ok := u.base.Names[name]; ok && out[name] == nil {
			out[name] = b
		}
	}
	return out
}

// key is what a run calls a value of the present file.
func (u *unit) key(name string) string {
	if u.prefix == "" {
		return ""
	}
	return u.prefix + name
}

// callable is a definition that a call names: of this file or of a module. hidden tells that a mistake hides what it is.
func (c *checker) callable(call *syntax.Call) (m *macro, a *composite, hidden bool) {
	first := call.First.Text
	if c.unknown[first] {
		return nil, nil, true
	}
	u, name := c.unit, first
	switch len(call.Rest) {
	case 0:
	case 1:
		if u, name = c.modules[first], call.Rest[0].Text; u == nil {
			return nil, nil, false
		}
	default:
		return nil, nil, false
	}
	return u.macros[name], u.actions[name], u != c.unit && u.unknown[name]
}

// callables are the names of the definitions of a file.
func (u *unit) callables() []string {
	var out []string
	for n := range u.macros {
		out = append(out, n)
	}
	for n := range u.actions {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// unknownInModule reports a call of what a module does not have.
func (c *checker) unknownInModule(call *syntax.Call, u *unit) {
	name := call.Name()
	_, rest, _ := strings.Cut(name, ".")
	d := diag.Errorf(diag.UnknownCall, call.NameSpan(), "there is nothing to call `%s` in the module `%s`", rest, call.First.Text)
	if _, ok := u.modules[call.Rest[0].Text]; ok {
		d = d.WithHint("a module is not handed on: write `use` for it in this file too")
	} else {
		d.Hint = diag.DidYouMean(rest, u.callables())
	}
	c.report(d)
}
