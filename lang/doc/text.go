package doc

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"chaos/lang/spec"
	"chaos/lang/value"
)

// Style colours a piece of text; kinds are head, name and dim. nil leaves it alone.
type Style func(kind, text string) string

// width of text output, in columns.
const width = 80

// Text writes a topic for a terminal, at most 80 columns wide: of what is longer in a list, the end is left out.
func Text(w io.Writer, t Topic, style Style) error {
	if style == nil {
		style = func(_, text string) string { return text }
	}
	return write(w, t, &printer{style: style})
}

// Plain is Text for a pipe: without colours, and in a list every entry is whole on its line.
func Plain(w io.Writer, t Topic) error {
	return write(w, t, &printer{style: func(_, text string) string { return text }, whole: true})
}

func write(w io.Writer, t Topic, p *printer) error {
	switch {
	case t.Depth == Single && len(t.Calls) == 1:
		p.call(t.Calls[0])
	case t.Depth == Single && len(t.Modules) == 1:
		p.module(t.Modules[0])
	case t.Depth == Single:
		p.function(t.Functions[0])
	default:
		actions, probes := kinds(t.Calls)
		p.list("Actions", "change the world; they are the steps of setup, inject and rollback", actions)
		p.list("Probes", "watch it; a name is given to them with `probe`", probes)
		if t.Depth == Family {
			p.functions(t.Functions)
		} else if len(t.Functions) > 0 {
			p.head("Functions", "of expressions")
			var names []string
			for _, f := range t.Functions {
				names = append(names, f.Name)
			}
			p.wrapped("  ", "  ", strings.Join(names, " "))
			p.line("")
		}
		p.modules(t.Modules)
	}
	_, err := io.WriteString(w, strings.TrimRight(p.b.String(), "\n")+"\n")
	return err
}

type printer struct {
	b     strings.Builder
	style Style
	whole bool // nothing is left out, however long its line
}

func (p *printer) line(text string) { p.b.WriteString(text + "\n") }

func (p *printer) head(title, rest string) {
	text := p.style("head", title)
	if rest != "" {
		text += " " + p.style("dim", rest)
	}
	p.line(text)
}

// list writes calls, one line each, families apart.
func (p *printer) list(title, rest string, calls []*spec.Call) {
	if len(calls) == 0 {
		return
	}
	p.head(title, rest)
	longest := 0
	for _, c := range calls {
		longest = max(longest, utf8.RuneCountInString(c.Name))
	}
	family := FamilyOf(calls[0].Name)
	for _, c := range calls {
		if f := FamilyOf(c.Name); f != family {
			p.line("")
			family = f
		}
		pad := strings.Repeat(" ", longest-utf8.RuneCountInString(c.Name))
		p.line("  " + p.style("name", c.Name) + pad + "  " + p.brief(c.Summary, width-longest-4))
	}
	p.line("")
}

func (p *printer) brief(s string, room int) string {
	if p.whole {
		return strings.TrimSuffix(s, ".")
	}
	return brief(s, room)
}

// brief fits a sentence into a room: whole, its first clause, or cut.
func brief(s string, room int) string {
	s = strings.TrimSuffix(s, ".")
	for _, end := range []string{"", "; ", ": "} {
		text := s
		if end != "" {
			text, _, _ = strings.Cut(s, end)
		}
		if utf8.RuneCountInString(text) <= room {
			return text
		}
	}
	r := []rune(s)[:max(room-2, 0)]
	text := string(r)
	if i := strings.LastIndexByte(text, ' '); i > 0 {
		text = text[:i]
	}
	return strings.TrimRight(text, ",;: ") + " …"
}

func (p *printer) functions(list []Function) {
	if len(list) == 0 {
		return
	}
	p.head("Functions", "of expressions")
	longest := 0
	for _, f := range list {
		longest = max(longest, utf8.RuneCountInString(f.Usage))
	}
	for _, f := range list {
		pad := strings.Repeat(" ", longest-utf8.RuneCountInString(f.Usage))
		lines := wrap(f.Help, width-longest-4)
		p.line("  " + p.style("name", f.Usage) + pad + "  " + lines[0])
		for _, l := range lines[1:] {
			p.line(strings.Repeat(" ", longest+4) + l)
		}
	}
	p.line("")
}

func (p *printer) function(f Function) {
	p.line(p.style("head", f.Usage) + "  " + p.style("dim", "function"))
	p.line("")
	p.wrapped("  ", "  ", f.Help)
}

func (p *printer) call(c *spec.Call) {
	kind := string(c.Kind)
	if c.Kind == spec.Action && c.Undo == "" && !c.Harmless {
		kind += ", irreversible"
	}
	if c.Streaming {
		kind += ", streaming"
	}
	p.line(p.style("head", c.Name) + "  " + p.style("dim", kind))
	p.line("")
	p.wrapped("  ", "  ", c.Summary)
	p.line("")
	p.head("Usage", "")
	p.usage(c)
	p.line("")
	if len(c.Params) > 0 {
		p.head("Arguments", "")
		for _, a := range c.Params {
			p.argument(a)
		}
		for _, g := range groups(c) {
			p.wrapped("  ", "  ", "Exactly one of "+strings.Join(g, ", ")+" is given.")
		}
		p.line("")
	}
	p.result(c)
	for _, f := range facts(c) {
		name := fmt.Sprintf("%-9s", strings.ToUpper(f.name[:1])+f.name[1:])
		p.fact(name, f.text)
	}
	if len(facts(c)) > 0 {
		p.line("")
	}
	p.head("Example", "")
	for _, l := range strings.Split(c.Example, "\n") {
		for i, part := range breakStatement(l, width-6) {
			p.line("  " + strings.Repeat("    ", min(i, 1)) + part)
		}
	}
}

// breakStatement breaks a statement after commas between its brackets, where the language lets a line end.
func breakStatement(s string, room int) []string {
	var pieces []string
	depth, start := 0, 0
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == '\\' && quote == '"':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			depth--
		case c == ',' && depth > 0:
			pieces = append(pieces, strings.TrimSpace(s[start:i+1]))
			start = i + 1
		}
	}
	pieces = append(pieces, strings.TrimSpace(s[start:]))
	var out []string
	for _, piece := range pieces {
		if n := len(out) - 1; n >= 0 && utf8.RuneCountInString(out[n])+1+utf8.RuneCountInString(piece) <= room {
			out[n] += " " + piece
		} else {
			out = append(out, piece)
		}
	}
	return out
}

// usage writes the signature, an argument a line where it does not fit one.
func (p *printer) usage(c *spec.Call) {
	name, args := Signature(c)
	one := name + "(" + strings.Join(args, ", ") + ")"
	if utf8.RuneCountInString(one) <= width-2 {
		p.line("  " + one)
		return
	}
	p.line("  " + name + "(")
	for i, a := range args {
		end := ","
		if i == len(args)-1 {
			end = ""
		}
		p.wrapped("    ", "      ", a+end)
	}
	p.line("  )")
}

func (p *printer) argument(a spec.Param) {
	detail := TypeName(a.Type)
	switch d := Default(a); {
	case a.Required:
		detail += ", required"
	case d != "":
		detail += ", default " + d
	}
	p.line("  " + p.style("name", a.Name) + "  " + p.style("dim", detail))
	p.wrapped("      ", "      ", a.Help)
	if limits := a.Limits.String(); limits != "" {
		p.wrapped("      ", "      ", limits)
	}
}

func (p *printer) result(c *spec.Call) {
	if c.Result == nil {
		return
	}
	rest := ""
	if c.Kind == spec.Action {
		rest = "bound with `as`"
	}
	list := fields(c.Result, "")
	if c.Result.Kind != value.Struct {
		text := TypeName(c.Result)
		if rest != "" {
			text += ", " + rest
		}
		rest = text
	}
	p.head(resultTitle(c), rest)
	for _, f := range list {
		p.line("  " + p.style("name", f.path) + "  " + p.style("dim", TypeName(f.typ)))
		p.wrapped("      ", "      ", f.help)
	}
	p.line("")
}

func (p *printer) fact(name, text string) {
	lines := wrap(text, width-len(name)-2)
	p.line(p.style("head", name) + "  " + lines[0])
	for _, l := range lines[1:] {
		p.line(strings.Repeat(" ", len(name)+2) + l)
	}
}

// wrapped writes text with one lead on the first line and another on the others.
func (p *printer) wrapped(first, next, text string) {
	if text == "" {
		return
	}
	for i, l := range wrap(text, width-max(len(first), len(next))) {
		if i == 0 {
			p.line(first + l)
		} else {
			p.line(next + l)
		}
	}
}

// wrap breaks text between words.
func wrap(text string, room int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > room {
			out = append(out, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(out, line)
}
