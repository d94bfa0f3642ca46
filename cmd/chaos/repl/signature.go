package repl

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/token"
)

// signature is what a call takes, in order.
type signature []spec.Param

// signature finds what a call of the registries, of a definition of the session or of a module takes.
func (r *REPL) signature(call string) (signature, bool) {
	if call == "" {
		return nil, false
	}
	if s, ok := r.cfg.Options.Registries.Call(call); ok {
		return s.Params, true
	}
	name, member, _ := strings.Cut(call, ".")
	d := r.defines(name)
	if d != nil && member != "" {
		i := slices.IndexFunc(d.module, func(m definition) bool { return m.name == member })
		if i < 0 {
			return nil, false
		}
		d = &d.module[i]
	}
	if d == nil || !d.call {
		return nil, false
	}
	return d.takes, true
}

// present is the argument whose value stands at the cursor, nil where that is not known. given is what stands before it.
func (s signature) present(given []token.Token) *spec.Param {
	n := len(given)
	if n > 1 && given[n-1].Is(":") {
		if i := slices.IndexFunc(s, func(p spec.Param) bool { return p.Name == given[n-2].Text }); i >= 0 {
			return &s[i]
		}
		return nil
	}
	at := 0
	for _, t := range given {
		switch {
		case t.Is(":"):
			return nil
		case t.Is(","):
			at++
		}
	}
	if at < len(s) && s[at].Positional {
		return &s[at]
	}
	return nil
}

// definition is a name that a text declares.
type definition struct {
	name   string
	call   bool // an action, or a probe with parameters
	takes  signature
	module []definition // of a `use`
}

// defines is the definition or the module of a name, nil for a value.
func (r *REPL) defines(name string) *definition {
	for _, p := range r.book.in(inFile) {
		if p.name != name {
			continue
		}
		tokens := token.ScanRange(p.src, p.from, p.to).Tokens
		if len(tokens) > 1 && tokens[0].Is("use") {
			return &definition{name: name, module: r.module(strings.Trim(tokens[1].Text, `"`))}
		}
		if list := definitions(tokens); len(list) == 1 && list[0].call {
			return &list[0]
		}
	}
	return nil
}

// module lists what a module exports; nothing where it cannot be read.
func (r *REPL) module(path string) []definition {
	list := []definition{}
	if name, std := strings.CutPrefix(path, "std/"); std {
		if text, err := fs.ReadFile(r.cfg.Check.Std, name+".chaos"); err == nil {
			list = definitions(token.Scan(diag.NewSource(path, string(text))).Tokens)
		}
	} else if src, _ := syntax.Load(filepath.Join(filepath.Dir(r.book.path), path)); src != nil {
		list = definitions(token.Scan(src).Tokens)
	}
	return list
}

// definitions finds the declarations at the top of a text.
func definitions(tokens []token.Token) []definition {
	var out []definition
	depth, begins := 0, true
	for i, t := range tokens {
		if begins && depth == 0 && i+1 < len(tokens) && (t.Is("action") || t.Is("probe") || t.Is("let") || t.Is("param")) {
			d := definition{name: tokens[i+1].Text}
			if i+2 < len(tokens) && tokens[i+2].Is("(") && !t.Is("let") {
				d.call, d.takes = true, formals(tokens[i+3:])
			}
			out = append(out, d)
		}
		switch {
		case t.Kind == token.Punct && strings.Contains("([{", t.Text):
			depth++
		case t.Kind == token.Punct && strings.Contains(")]}", t.Text):
			depth--
		}
		begins = t.Kind == token.End
	}
	return out
}

// formals reads the names up to the closing bracket: `what, d: duration = 2s)`.
func formals(tokens []token.Token) signature {
	var out signature
	depth, begins := 0, true
	for _, t := range tokens {
		if begins && depth == 0 && t.Kind == token.Name {
			out = append(out, spec.Param{Name: t.Text, Positional: true})
		}
		switch {
		case t.Kind == token.Punct && strings.Contains("([{", t.Text):
			depth++
		case t.Kind == token.Punct && strings.Contains(")]}", t.Text):
			if depth--; depth < 0 {
				return out
			}
		}
		begins = t.Is(",") || t.Kind == token.End && begins
	}
	return out
}
