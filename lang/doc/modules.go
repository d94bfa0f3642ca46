package doc

import (
	"fmt"
	"io/fs"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/lang/token"
)

// Module is a module of the standard library, as its own text tells it.
type Module struct {
	Name    string // "std/web", as `use` names it
	Help    string // the comment that it starts with
	Exports []Export
}

// Export is what a module gives to those that use it.
type Export struct {
	Kind  string // param, let, probe, action
	Name  string // "web.url", as they write it
	Usage string // "probe page(address: string, timeout: duration = 5s)"
	Help  string
}

// Brief is the first sentence of a module's help.
func (m Module) Brief() string {
	text, _, _ := strings.Cut(strings.ReplaceAll(m.Help, "\n", " "), ". ")
	return strings.TrimSuffix(text, ".")
}

// Modules reads the library: each file NAME.chaos is `std/NAME`.
func Modules(library fs.FS) ([]Module, error) {
	paths, err := fs.Glob(library, "*.chaos")
	if err != nil {
		return nil, err
	}
	var out []Module
	for _, path := range paths {
		data, err := fs.ReadFile(library, path)
		if err != nil {
			return nil, err
		}
		file, diags := syntax.Parse(diag.NewSource(path, string(data)))
		if diag.List(diags).HasErrors() {
			return nil, fmt.Errorf("%s: %w", path, diag.List(diags))
		}
		name := strings.TrimSuffix(path, ".chaos")
		out = append(out, Module{Name: Std + "/" + name, Help: opening(file.Source), Exports: exports(name, file)})
	}
	return out, nil
}

// opening is the comment with which a file starts, up to the first empty line.
func opening(src *diag.Source) string {
	var lines []string
	ended := false
	for _, t := range token.Scan(src).All {
		switch {
		case t.Kind == token.Comment:
			lines, ended = append(lines, strings.TrimRight(strings.TrimPrefix(strings.TrimPrefix(t.Text, "//"), " "), " ")), false
			continue
		case t.Kind == token.End && !ended:
			ended = true
			continue
		}
		break
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func exports(module string, file *syntax.File) []Export {
	var out []Export
	add := func(kind, name, usage, help string) {
		out = append(out, Export{Kind: kind, Name: module + "." + name, Usage: kind + " " + usage, Help: help})
	}
	head := func(kind string, from, to diag.Span) string {
		return strings.TrimPrefix(file.Text(from.To(to)), kind+" ")
	}
	for _, item := range file.Items {
		switch s := item.(type) {
		case *syntax.Param:
			add("param", s.Name.Text, head("param", s.Span, s.Span), s.Help)
		case *syntax.Let:
			add("let", s.Name.Text, head("let", s.Span, s.Span), s.Help)
		case *syntax.Probe:
			to := s.Span
			if s.Formals != nil {
				to = s.Formals.Span
			}
			add("probe", s.Name.Text, head("probe", s.Span, to), s.Help)
		case *syntax.Action:
			add("action", s.Name.Text, head("action", s.Span, s.Formals.Span), s.Help)
		}
	}
	return out
}

// With returns the reference with the modules of a library.
func (r *Reference) With(modules []Module) *Reference {
	out := *r
	out.modules = modules
	return &out
}

// module finds a module, or an export of one, by name.
func (r *Reference) module(name string) (Topic, bool) {
	if name == Std {
		return Topic{Name: name, Depth: Family, Modules: r.modules}, len(r.modules) > 0
	}
	for _, m := range r.modules {
		if m.Name == name || m.Name == Std+"/"+name {
			return Topic{Name: name, Depth: Single, Modules: []Module{m}}, true
		}
		for _, e := range m.Exports {
			if e.Name == name {
				return Topic{Name: name, Depth: Single, Modules: []Module{{Name: m.Name, Exports: []Export{e}}}}, true
			}
		}
	}
	return Topic{}, false
}

// Std is the name of the topic that lists the modules.
const Std = "std"

// modules lists modules, one line each.
func (p *printer) modules(list []Module) {
	if len(list) == 0 {
		return
	}
	p.head("Modules", "of the standard library, written in the language itself")
	longest := 0
	for _, m := range list {
		longest = max(longest, len(m.Name))
	}
	for _, m := range list {
		p.line("  " + p.style("name", m.Name) + strings.Repeat(" ", longest-len(m.Name)) + "  " + p.brief(m.Brief(), width-longest-4))
	}
	p.line("")
}

// module writes one, with all that it exports; or one export of it.
func (p *printer) module(m Module) {
	p.line(p.style("head", m.Name) + "  " + p.style("dim", "module"))
	p.line("")
	for _, l := range strings.Split(m.Help, "\n") {
		if m.Help != "" {
			p.line(strings.TrimRight("  "+l, " "))
		}
	}
	if m.Help != "" {
		p.line("")
	}
	for _, e := range m.Exports {
		for i, l := range breakStatement(e.Usage, width-6) {
			if i == 0 {
				l = p.style("name", l)
			}
			p.line(strings.Repeat("    ", min(i, 1)) + l)
		}
		p.wrapped("      ", "      ", e.Help)
	}
}

// modulePage writes modules as Markdown, each under a heading of this level.
func modulePage(b *strings.Builder, m Module, level string) {
	fmt.Fprintf(b, "%s %s\n\n", level, m.Name)
	if m.Help != "" {
		fmt.Fprintf(b, "%s\n\n", m.Help) // what is indented is code in Markdown too
	}
	b.WriteString("| export | |\n|---|---|\n")
	for _, e := range m.Exports {
		fmt.Fprintf(b, "| `%s` | %s |\n", cell(e.Usage), cell(prose(strings.ReplaceAll(e.Help, "\n", " "))))
	}
	b.WriteString("\n")
}

// link is where a module is described in the reference.
func (m Module) link() string { return Std + ".md#" + anchor(m.Name) }
