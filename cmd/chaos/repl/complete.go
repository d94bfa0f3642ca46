package repl

import (
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/token"
	"chaos/lang/value"
)

// complete lists what may stand behind before, and how many characters of it each candidate repeats.
func (r *REPL) complete(before string) ([]string, int) {
	if strings.HasPrefix(strings.TrimSpace(before), ":") {
		name, arg, ok := strings.Cut(strings.TrimLeft(before, " "), " ")
		if !ok {
			var out []string
			for _, c := range commands {
				out = append(out, ":"+c.name+space(c.args != ""))
			}
			return matching(out, name)
		}
		return r.completeCommand(strings.TrimPrefix(name, ":"), strings.TrimLeft(arg, " "))
	}
	return r.completeScript(before)
}

func space(yes bool) string {
	if yes {
		return " "
	}
	return ""
}

// matching keeps the candidates that begin with part.
func matching(list []string, part string) ([]string, int) {
	sort.Strings(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, part) }), len([]rune(part))
}

func (r *REPL) completeCommand(name, arg string) ([]string, int) {
	var out []string
	switch name {
	case "doc":
		for _, e := range r.cfg.Reference().Entries() {
			out = append(out, e.Name)
		}
	case "plan":
		return r.completeScript(arg)
	case "undo":
		out = append(out, "all")
		for _, f := range r.session.Faults() {
			n, _, _ := strings.Cut(faultLine(f), " ")
			out = append(out, n)
		}
	case "run":
		for _, w := range stages {
			out = append(out, string(w))
		}
	case "load", "save", "save!":
		return files(r.cfg.Options.Dir, arg)
	}
	return matching(out, arg)
}

// files lists what begins with a path; folders end in a slash.
func files(dir, part string) ([]string, int) {
	folder, _ := filepath.Split(part)
	look := folder
	if !filepath.IsAbs(look) {
		look = filepath.Join(dir, look)
	}
	entries, err := os.ReadDir(look)
	if err != nil {
		return nil, 0
	}
	var out []string
	for _, e := range entries {
		name := folder + e.Name()
		if e.IsDir() {
			name += "/"
		}
		if !strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(filepath.Base(part), ".") {
			out = append(out, name)
		}
	}
	return matching(out, part)
}

// frame is an open bracket around the cursor.
type frame struct {
	text string // ( [ {
	call string // what is called, of a (
	args []token.Token
}

func (r *REPL) completeScript(before string) ([]string, int) {
	src := diag.NewSource("input", before)
	list := token.Scan(src).All
	var open []frame
	var line []token.Token // of the present statement
	for i, t := range list {
		switch {
		case t.Kind == token.Comment:
		case t.Kind == token.End && len(open) == 0, t.Kind == token.End && open[len(open)-1].text == "{":
			line = nil
			continue
		case t.Kind == token.Punct && strings.Contains("([{", t.Text):
			f := frame{text: t.Text}
			if t.Text == "(" {
				f.call = dotted(list[:i])
			}
			open = append(open, f)
			if t.Text == "{" {
				line = nil
				continue
			}
		case t.Kind == token.Punct && strings.Contains(")]}", t.Text):
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
		line = append(line, t)
		if n := len(open); n > 0 {
			open[n-1].args = append(open[n-1].args, t)
		}
	}
	if n := len(list); n > 0 && list[n-1].Kind == token.Error && strings.HasPrefix(list[n-1].Text, `"`) { // an open string: a file
		text := list[n-1].Text[1:]
		return files(r.cfg.Options.Dir, text)
	}
	part := ""
	if n := len(list); n > 0 && list[n-1].Kind == token.Name && list[n-1].Stop() == len(before) {
		part = list[n-1].Text
		list = list[:n-1]
		if len(line) > 0 {
			line = line[:len(line)-1]
		}
		if k := len(open); k > 0 && len(open[k-1].args) > 0 {
			open[k-1].args = open[k-1].args[:len(open[k-1].args)-1]
		}
	}
	if n := len(list); n > 0 && list[n-1].Is(".") {
		return matching(r.members(dotted(list[:n-1])), part)
	}
	if n := len(open); n > 0 && open[n-1].call != "" {
		if s, ok := r.cfg.Options.Registries.Call(open[n-1].call); ok {
			return matching(r.arguments(s, open[n-1].args), part)
		}
	}
	return matching(r.words(line), part)
}

// dotted is the name with dots that ends a list of tokens.
func dotted(list []token.Token) string {
	i := len(list)
	if i == 0 || list[i-1].Kind != token.Name {
		return ""
	}
	name := list[i-1].Text
	for i -= 2; i >= 1 && list[i].Is(".") && list[i-1].Kind == token.Name; i -= 2 {
		name = list[i-1].Text + "." + name
	}
	return name
}

// members are what may stand behind `name.`: calls of a family, fields of a value, probes of a phase.
func (r *REPL) members(name string) []string {
	var out []string
	for _, n := range r.cfg.Options.Registries.Names() {
		if rest, ok := strings.CutPrefix(n, name+"."); ok {
			out = append(out, rest+"(")
		}
	}
	first, rest, _ := strings.Cut(name, ".")
	t := r.typeOf(first)
	for _, f := range strings.Split(rest, ".") {
		if f == "" || t == nil {
			break
		}
		t, _ = t.Field(f)
	}
	if t != nil {
		out = append(out, t.FieldNames()...)
	}
	return out
}

// typeOf is the type of a name of the session, nil where it has none.
func (r *REPL) typeOf(name string) *value.Type {
	if name == "before" || name == "during" || name == "after" {
		t := &value.Type{Kind: value.Struct}
		for n, pt := range r.probes(true) {
			t.Fields = append(t.Fields, value.Field{Name: n, Type: pt})
		}
		return t
	}
	if t, ok := r.probes(false)[name]; ok {
		return t
	}
	for _, p := range r.state.script.AllParams() {
		if p.Name == name {
			return p.Type
		}
	}
	for _, st := range slices.Concat(body(r.state.def.Setup), body(r.state.def.Inject)) {
		if step, ok := st.(*check.Step); ok && step.As == name {
			return step.Call.Spec.Result
		}
	}
	return nil
}

func body(s *check.Section) []check.Stmt {
	if s == nil {
		return nil
	}
	return s.Body
}

// probes are the types of the session's probes, or of their summaries. The checked script holds those that are mentioned
// already; of the others the call tells.
func (r *REPL) probes(summaries bool) map[string]*value.Type {
	out := map[string]*value.Type{}
	for _, p := range r.book.pieces {
		if p.where != inFile && p.where != inMember || p.name == "" {
			continue
		}
		tokens := token.ScanRange(p.src, p.from, p.to).Tokens
		if len(tokens) < 4 || !tokens[0].Is("probe") || !tokens[2].Is("=") {
			continue
		}
		end := 4
		for end+1 < len(tokens) && tokens[end].Is(".") {
			end += 2
		}
		s, ok := r.cfg.Options.Registries.Call(dotted(tokens[:end]))
		if !ok || s.Kind != spec.Probe {
			continue
		}
		out[p.name] = s.Result
		if summaries {
			out[p.name] = check.SummaryType(&check.Probe{Name: p.name, Type: s.Result, Call: &check.Call{Spec: s}})
		}
	}
	return out
}

// arguments are what may stand inside the brackets of a call.
func (r *REPL) arguments(s *spec.Call, given []token.Token) []string {
	var out []string
	named := map[string]bool{}
	for i, t := range given {
		if t.Is(":") && i > 0 {
			named[given[i-1].Text] = true
		}
	}
	if n := len(given); n > 1 && given[n-1].Is(":") { // a value
		p, ok := s.Param(given[n-2].Text)
		switch {
		case ok && len(p.Enum) > 0:
			for _, e := range p.Enum {
				out = append(out, value.Quote(e))
			}
			return out
		case ok && p.Type.Kind == value.Bool:
			return []string{"true", "false"}
		}
		return r.values()
	}
	for _, p := range s.Params {
		if !named[p.Name] {
			out = append(out, p.Name+": ")
		}
	}
	return append(out, r.values()...)
}

// values are the names that an expression may use, and the functions.
func (r *REPL) values() []string {
	var out []string
	for _, p := range r.book.pieces {
		switch {
		case p.as != "" && p.done:
			out = append(out, p.as)
		case p.name != "" && !strings.HasSuffix(p.name, ":") && !r.callable(p.name):
			out = append(out, p.name)
		}
	}
	for _, f := range expr.Functions() {
		out = append(out, f.Name+"(")
	}
	return append(out, "before", "during", "true", "false")
}

// words are what may stand next in a statement: its beginning, a clause, or an operand.
func (r *REPL) words(line []token.Token) []string {
	if n := len(line); n > 0 {
		switch last := line[n-1]; {
		case last.Is(")"):
			return []string{"for ", "pick ", "as ", "because ", "every ", "within "}
		case last.Is("use"):
			return []string{`"std/`, `"./`}
		case last.Is("=") && line[0].Is("probe"):
			return r.families(spec.Probe)
		}
		return r.values()
	}
	out := []string{"watch "}
	for _, w := range slices.Concat(declarers, checks, statements) {
		out = append(out, w+" ")
	}
	for _, s := range sections {
		out = append(out, string(s)+" {")
	}
	out = append(out, r.families("")...)
	for _, p := range r.book.in(inFile) {
		if p.name != "" && r.callable(p.name) {
			out = append(out, p.name)
		}
	}
	return append(out, r.values()...)
}

// families are the first words of calls.
func (r *REPL) families(kind spec.Kind) []string {
	var out []string
	for _, n := range r.cfg.Options.Registries.Names() {
		if s, ok := r.cfg.Options.Registries.Call(n); ok && (kind == "" || s.Kind == kind) {
			family, _, dot := strings.Cut(n, ".")
			if dot {
				family += "."
			} else {
				family += "("
			}
			out = append(out, family)
		}
	}
	return out
}
