package repl

import (
	"io/fs"
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
	text string // ( [ {, or map for the { of one
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
		case t.Kind == token.End && (len(open) == 0 || open[len(open)-1].text == "{"):
			line = nil
			continue
		case t.Kind == token.Punct && strings.Contains("([{", t.Text):
			f := frame{text: t.Text}
			switch {
			case t.Text == "(":
				f.call = dotted(list[:i])
			case t.Text == "{" && len(line) > 0 && (len(open) > 0 && open[len(open)-1].text != "{" || line[len(line)-1].Is("=")):
				f.text = "map"
			}
			open = append(open, f)
			if f.text == "{" {
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
	part := ""
	if n := len(list); n > 0 && list[n-1].Stop() == len(before) && (list[n-1].Kind == token.Name || list[n-1].Kind == token.Error && strings.HasPrefix(list[n-1].Text, `"`)) {
		part = list[n-1].Text
		list = list[:n-1]
		line = line[:max(len(line)-1, 0)]
		if k := len(open); k > 0 && len(open[k-1].args) > 0 {
			open[k-1].args = open[k-1].args[:len(open[k-1].args)-1]
		}
	}
	var inner frame
	if n := len(open); n > 0 {
		inner = open[n-1]
	}
	s, known := r.signature(inner.call)
	if text, is := strings.CutPrefix(part, `"`); is {
		return r.inString(text, line, s, inner.args)
	}
	if n := len(list); n > 0 && list[n-1].Is(".") {
		return matching(r.members(dotted(list[:n-1])), part)
	}
	var out []string
	switch {
	case known:
		out = r.arguments(s, inner.args)
	case inner.text == "map" || inner.text == "[":
		out = r.names()
	default:
		out = r.words(line)
	}
	if part != "" && (len(line) == 0 || !closed(line)) { // all of them at once would hide the rest
		out = append(out, functions()...)
	}
	return matching(out, part)
}

// inString completes an open string: a module, one of the values that an argument may have, else a file.
func (r *REPL) inString(text string, line []token.Token, s signature, given []token.Token) ([]string, int) {
	if len(line) > 0 && line[0].Is("use") {
		var out []string
		modules, _ := fs.Glob(r.cfg.Check.Std, "*.chaos")
		for _, m := range modules {
			out = append(out, "std/"+strings.TrimSuffix(m, ".chaos")+`"`)
		}
		if strings.HasPrefix(text, ".") {
			out, _ = files(filepath.Dir(r.book.path), text)
			out = slices.DeleteFunc(out, func(f string) bool { return !strings.HasSuffix(f, "/") && !strings.HasSuffix(f, ".chaos") })
		}
		return matching(out, text)
	}
	if p := s.present(given); p != nil && len(p.Enum) > 0 {
		var out []string
		for _, e := range p.Enum {
			out = append(out, e+`"`)
		}
		return matching(out, text)
	}
	return files(r.cfg.Options.Dir, text)
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
	if d := r.defines(name); d != nil {
		for _, m := range d.module {
			if m.call {
				out = append(out, m.name+"(")
			} else {
				out = append(out, m.name)
			}
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
func (r *REPL) arguments(s signature, given []token.Token) []string {
	if n := len(given); n > 0 && given[n-1].Is(":") { // a value
		p := s.present(given)
		switch {
		case p != nil && len(p.Enum) > 0:
			var out []string
			for _, e := range p.Enum {
				out = append(out, value.Quote(e))
			}
			return out
		case p != nil && p.Type != nil && p.Type.Kind == value.Bool:
			return []string{"true", "false"}
		}
		return r.names()
	}
	if n := len(given); n > 0 && !given[n-1].Is("(") && !given[n-1].Is(",") { // behind a value
		return nil
	}
	named, unnamed := map[string]bool{}, 0
	for i, t := range given {
		switch {
		case t.Is(":") && i > 0:
			named[given[i-1].Text] = true
		case t.Is(","):
			unnamed++
		}
	}
	unnamed -= len(named)
	var out []string
	for i, p := range s {
		if !named[p.Name] && i >= unnamed {
			out = append(out, p.Name+": ")
		}
	}
	return append(out, r.names()...)
}

// names are what an expression may use of the session.
func (r *REPL) names() []string {
	var out []string
	for _, p := range r.book.pieces {
		switch {
		case p.as != "" && p.done:
			out = append(out, p.as)
		case p.name != "" && !strings.HasSuffix(p.name, ":"):
			if d := r.defines(p.name); d == nil {
				out = append(out, p.name)
			} else if d.module != nil {
				out = append(out, p.name+".")
			}
		}
	}
	return out
}

// constants are the names that have had their value from the start: of a time, a share or a number.
func (r *REPL) constants() []string {
	var out []string
	for _, p := range r.book.pieces {
		if tokens := token.ScanRange(p.src, p.from, p.to).Tokens; len(tokens) > 0 && p.name != "" && (tokens[0].Is("let") || tokens[0].Is("param")) {
			out = append(out, p.name)
		}
	}
	return out
}

// functions are what an expression may call, and its words.
func functions() []string {
	out := []string{"before.", "during.", "true", "false", "not "}
	for _, f := range expr.Functions() {
		out = append(out, f.Name+"(")
	}
	return out
}

// closed tells that the tokens of a statement end with an operand, so that an operator or a clause may follow.
func closed(line []token.Token) bool {
	switch last := line[len(line)-1]; last.Kind {
	case token.Number, token.String:
		return true
	case token.Name:
		return len(line) > 1 && !token.Clauses[last.Text] && !token.IsWordOp(last.Text) && last.Text != "until" && !(last.Is("when") && line[0].Is("abort"))
	default:
		return last.Is(")") || last.Is("]") || last.Is("}")
	}
}

// words are what may stand next in a statement: its beginning, a clause, or an operand.
func (r *REPL) words(line []token.Token) []string {
	if len(line) == 0 {
		return r.beginnings()
	}
	first, last := line[0], line[len(line)-1]
	switch {
	case first.Is("use"):
		return map[bool][]string{true: {"as "}, false: {`"std/`, `"./`}}[len(line) > 1]
	case first.Is("abort") && len(line) == 1:
		return []string{"when "}
	case first.Is("wait") && len(line) == 1:
		return append(r.names(), "until ")
	case first.Is("probe") && last.Is("="):
		return r.families(spec.Probe)
	case (first.Is("probe") || first.Is("let")) && len(line) == 2:
		return []string{"= "}
	case last.Is("pick"):
		return append(r.constants(), "all")
	case last.Is("for") || last.Is("within") || last.Is("every") || last.Is("tolerate"):
		return r.constants()
	case !closed(line):
		return r.names()
	case first.Is("probe"):
		return []string{"every "}
	case first.Is("watch"):
		return []string{"every "}
	case first.Is("eventually"):
		return []string{"and ", "or ", "within ", "for ", "because "}
	case slices.Contains(checks, first.Text):
		return []string{"and ", "or ", "because ", "tolerate "}
	case first.Is("abort"):
		return []string{"and ", "or ", "for ", "because "}
	case first.Is("wait"):
		return []string{"and ", "or ", "within ", "for ", "because "}
	case last.Is(")"):
		return []string{"for ", "pick ", "as ", "because "}
	}
	return []string{"and ", "or "}
}

// beginnings are what a statement may begin with.
func (r *REPL) beginnings() []string {
	out := []string{"watch "}
	for _, w := range slices.Concat(declarers, checks, statements) {
		out = append(out, w+" ")
	}
	for _, s := range sections {
		out = append(out, string(s)+" {")
	}
	for _, p := range r.book.in(inFile) {
		if d := r.defines(p.name); d != nil && d.module == nil {
			out = append(out, p.name+"(")
		}
	}
	return append(append(out, r.families("")...), r.names()...)
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
