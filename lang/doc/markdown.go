package doc

import (
	"fmt"
	"io"
	"strings"

	"chaos/lang/spec"
	"chaos/lang/value"
)

// Generated stands at the top of every page of the reference, and marks the pages that may be written over.
const Generated = "<!-- written by `make reference` from the registries: do not edit -->\n\n"

// Markdown writes a topic as a Markdown page.
func Markdown(w io.Writer, t Topic) error {
	var b strings.Builder
	switch {
	case t.Depth == Index:
		index(&b, t, nil)
	case t.Depth == Single && len(t.Calls) == 1:
		fmt.Fprintf(&b, "# %s\n\n", t.Name)
		callBody(&b, t.Calls[0], "##")
	case len(t.Calls) > 0:
		familyPage(&b, t)
	case t.Depth == Single && len(t.Modules) == 1:
		modulePage(&b, t.Modules[0], "#")
	case len(t.Modules) > 0:
		modulesPage(&b, t)
	default:
		functionPage(&b, t)
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

// Pages are the files of the reference by name: README.md, a page for each family, functions.md, std.md.
func (r *Reference) Pages() map[string]string {
	out := map[string]string{}
	page := func(name string, write func(b *strings.Builder)) {
		var b strings.Builder
		b.WriteString(Generated)
		write(&b)
		out[name] = strings.TrimRight(b.String(), "\n") + "\n"
	}
	all, _ := r.Find("")
	page("README.md", func(b *strings.Builder) {
		index(b, all, func(c *spec.Call) string { return FamilyOf(c.Name) + ".md#" + anchor(c.Name) })
	})
	for _, name := range r.Families() {
		t := Topic{Name: name, Depth: Family}
		for _, c := range r.calls {
			if FamilyOf(c.Name) == name {
				t.Calls = append(t.Calls, c)
			}
		}
		page(name+".md", func(b *strings.Builder) { familyPage(b, t) })
	}
	page(Functions+".md", func(b *strings.Builder) {
		functionPage(b, Topic{Name: Functions, Depth: Family, Functions: r.functions})
	})
	if t, ok := r.module(Std); ok {
		page(Std+".md", func(b *strings.Builder) { modulesPage(b, t) })
	}
	return out
}

// modulesPage describes all modules.
func modulesPage(b *strings.Builder, t Topic) {
	b.WriteString("# The standard library\n\nModules that come with the command, written in the language itself: `use \"std/web\"`.\n\n")
	for _, m := range t.Modules {
		modulePage(b, m, "##")
	}
}

// anchor is the fragment that GitHub gives a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// index lists everything; link is where a call is described, nil for nowhere.
func index(b *strings.Builder, t Topic, link func(*spec.Call) string) {
	actions, probes := kinds(t.Calls)
	b.WriteString("# Reference\n\n")
	b.WriteString("Actions change the world: they are the steps of `setup`, `inject` and `rollback`. Probes watch it. `chaos doc NAME` shows the same in a terminal.\n\n")
	name := func(c *spec.Call) string {
		if link == nil {
			return "`" + c.Name + "`"
		}
		return fmt.Sprintf("[%s](%s)", c.Name, link(c))
	}
	if len(actions) > 0 {
		b.WriteString("## Actions\n\n| action | does | lifetime |\n|---|---|---|\n")
		for _, c := range actions {
			fmt.Fprintf(b, "| %s | %s | %s |\n", name(c), cell(c.Summary), lifetime(c))
		}
		b.WriteString("\nThe lifetime says what ends the fault when chaos itself is killed:\n\n")
		for _, l := range []string{"kernel", "ttl", "guardian", "irreversible"} {
			fmt.Fprintf(b, "- *%s*: %s\n", l, lifetimes[l])
		}
		b.WriteString("\n")
	}
	if len(probes) > 0 {
		b.WriteString("## Probes\n\n| probe | shows |\n|---|---|\n")
		for _, c := range probes {
			fmt.Fprintf(b, "| %s | %s |\n", name(c), cell(c.Summary))
		}
		b.WriteString("\n")
	}
	if len(t.Functions) > 0 {
		b.WriteString("## Functions\n\nExpressions have ")
		for i, f := range t.Functions {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("`" + f.Name + "`")
		}
		if link != nil {
			b.WriteString(": see [functions](functions.md)")
		}
		b.WriteString(".\n\n")
	}
	if len(t.Modules) > 0 {
		b.WriteString("## Modules\n\n| module | has |\n|---|---|\n")
		for _, m := range t.Modules {
			name := "`" + m.Name + "`"
			if link != nil {
				name = fmt.Sprintf("[%s](%s)", m.Name, m.link())
			}
			fmt.Fprintf(b, "| %s | %s |\n", name, cell(m.Brief()))
		}
	}
}

func lifetime(c *spec.Call) string {
	switch {
	case c.Harmless:
		return ""
	case c.UndoArg != "":
		return c.Lifetime + ", irreversible without `" + c.UndoArg + "`"
	case c.Undo == "":
		return "irreversible"
	}
	return c.Lifetime
}

func familyPage(b *strings.Builder, t Topic) {
	fmt.Fprintf(b, "# %s\n\n", t.Name)
	actions, probes := kinds(t.Calls)
	for _, part := range []struct {
		title string
		calls []*spec.Call
	}{{"Actions", actions}, {"Probes", probes}} {
		if len(part.calls) == 0 {
			continue
		}
		fmt.Fprintf(b, "%s: ", part.title)
		for i, c := range part.calls {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(b, "[%s](#%s)", c.Name, anchor(c.Name))
		}
		b.WriteString("\n\n")
	}
	for _, c := range append(actions, probes...) {
		fmt.Fprintf(b, "## %s\n\n", c.Name)
		callBody(b, c, "###")
	}
}

func callBody(b *strings.Builder, c *spec.Call, level string) {
	kind := string(c.Kind)
	if c.Kind == spec.Action && c.Undo == "" && !c.Harmless {
		kind += ", irreversible"
	}
	if c.Streaming {
		kind += ", streaming"
	}
	fmt.Fprintf(b, "*%s*\n\n%s\n\n```\n%s\n```\n\n", kind, prose(c.Summary), c.Example)
	if len(c.Params) > 0 {
		fmt.Fprintf(b, "%s Arguments\n\n| argument | type | default | |\n|---|---|---|---|\n", level)
		for _, p := range c.Params {
			def := ""
			switch d := Default(p); {
			case p.Required:
				def = "**required**"
			case p.Group != "" && len(group(c, p.Group)) > 1:
				def = "one of these"
			case d != "":
				def = "`" + d + "`"
			}
			help := prose(p.Help)
			if limits := p.Limits.String(); limits != "" {
				help += "; " + prose(limits)
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, TypeName(p.Type), cell(def), cell(help))
		}
		b.WriteString("\n")
		for _, g := range groups(c) {
			fmt.Fprintf(b, "Exactly one of `%s` is given.\n\n", strings.Join(g, "`, `"))
		}
	}
	markdownResult(b, c, level)
	list := facts(c)
	for _, f := range list {
		fmt.Fprintf(b, "- **%s**: %s\n", f.name, prose(f.text))
	}
	if len(list) > 0 {
		b.WriteString("\n")
	}
}

func markdownResult(b *strings.Builder, c *spec.Call, level string) {
	if c.Result == nil {
		return
	}
	var parts []string
	if c.Result.Kind != value.Struct {
		parts = append(parts, "a "+TypeName(c.Result))
	}
	if c.Kind == spec.Action {
		parts = append(parts, "bound with `as`")
	}
	fmt.Fprintf(b, "%s %s\n\n", level, resultTitle(c))
	if len(parts) > 0 {
		text := strings.Join(parts, ", ")
		fmt.Fprintf(b, "%s.\n\n", strings.ToUpper(text[:1])+text[1:])
	}
	if list := fields(c.Result, ""); len(list) > 0 {
		b.WriteString("| field | type | |\n|---|---|---|\n")
		for _, f := range list {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.path, TypeName(f.typ), cell(prose(f.help)))
		}
		b.WriteString("\n")
	}
}

func functionPage(b *strings.Builder, t Topic) {
	b.WriteString("# Functions\n\nThe functions of expressions. They are pure: they read no clock, no file and no network.\n\n| function | |\n|---|---|\n")
	for _, f := range t.Functions {
		fmt.Fprintf(b, "| `%s` | %s |\n", cell(f.Usage), cell(prose(f.Help)))
	}
}

// prose keeps a help text from being read as markup; backticks are meant.
func prose(s string) string {
	parts := strings.Split(s, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.NewReplacer("*", `\*`, "_", `\_`, "<", "&lt;", ">", "&gt;").Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
