package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// ParamFile is a file of values for parameters: a map, where those of a module stand in a map of their own.
type ParamFile struct {
	Source *diag.Source

	// Ignore tells parameters that are none of the script and yet no mistake; nil for none.
	Ignore func(name string) bool

	root given
}

// Shown is the text of the file as messages may quote it: with stars for the values of secret parameters, and where there
// are any, of names that mean nothing, which may be one misspelt; those that Ignore knows may be anything. A file that was
// not given has none.
func (f *ParamFile) Shown(params []*Param) *diag.Source {
	if f == nil {
		return nil
	}
	known, secrets := map[string]bool{}, false // the value tells that the parameter is secret, in one of the scripts
	for _, p := range params {
		known[p.Name] = known[p.Name] || p.Secret
		secrets = secrets || p.Secret
	}
	const nextKey = -1
	hidden := map[diag.Pos]int{} // where stars begin, and the offset at which they end
	shown := map[diag.Pos]bool{} // where a key stands that may be seen
	var hide func(g given)
	hide = func(g given) {
		end := g.at.End.Offset
		if end == 0 { // YAML does not tell it, and a text may go on over lines
			end = nextKey
		}
		hidden[diag.Pos{Line: g.at.Start.Line, Col: g.at.Start.Col}] = end
		for _, inner := range slices.Concat(g.keys, g.items) {
			hide(inner)
		}
	}
	var walk func(prefix string, m given)
	walk = func(prefix string, m given) {
		for i, k := range m.keys {
			shown[diag.Pos{Line: k.at.Start.Line, Col: k.at.Start.Col}] = true
			item, name := m.items[i], prefix+k.text
			switch secret, ok := known[name]; {
			case secret:
				hide(item)
			case ok:
			case item.kind == value.Map:
				walk(name+".", item)
			case secrets || f.Ignore != nil && f.Ignore(name):
				hide(item)
			}
		}
	}
	walk("", f.root)
	var text strings.Builder
	at, end := diag.Pos{Line: 1, Col: 1}, 0
	for offset, r := range f.Source.Text { // one star for a character, so that the columns stay
		if to, ok := hidden[at]; ok {
			end = to
		} else if shown[at] {
			end = 0
		}
		at.Col++
		if r == '\n' {
			at = diag.Pos{Line: at.Line + 1, Col: 1}
		} else if end == nextKey || offset < end {
			r = '*'
		}
		text.WriteRune(r)
	}
	return diag.NewSource(f.Source.File, text.String())
}

// given is a value as a file writes it.
type given struct {
	kind  value.Kind // bool, string, number, list, map, nil
	text  string
	items []given
	keys  []given // of a map, as long as items
	at    diag.Span
}

// entry is a value for a parameter.
type entry struct {
	name  string
	file  string
	value given
}

// maxNesting bounds the recursion over a file.
const maxNesting = 100

// ReadParams reads a file of parameters: JSON when it is called so, else YAML.
func ReadParams(src *diag.Source) (*ParamFile, []diag.Diagnostic) {
	f := &ParamFile{Source: src}
	var d *diag.Diagnostic
	if strings.EqualFold(filepath.Ext(src.File), ".json") {
		f.root, d = readJSON(src)
	} else {
		f.root, d = readYAML(src)
	}
	if d == nil && f.root.kind != value.Map && f.root.kind != value.Nil {
		bad := diag.Errorf(diag.BadParam, f.root.at, "a file of parameters holds names and their values, and this is %s", f.root.what()).WithHint("write `name: value` on each line")
		d = &bad
	}
	if d != nil {
		return nil, []diag.Diagnostic{*d}
	}
	return f, nil
}

// entries finds the parameter of each value.
func (b *binder) entries() map[string]entry {
	out := map[string]entry{}
	names := map[string]bool{}
	for _, p := range b.params {
		names[p.Name] = true
	}
	var walk func(prefix string, m given)
	walk = func(prefix string, m given) {
		for i, k := range m.keys {
			name := prefix + k.text
			if first, ok := out[name]; ok && names[name] {
				b.diags = append(b.diags, diag.Errorf(diag.Duplicate, k.at, "`%s` is given twice", name).WithNote(first.value.at, "the first is here"))
				continue
			}
			switch {
			case names[name]:
				out[name] = entry{name: name, file: b.File.Source.File, value: m.items[i]}
			case m.items[i].kind == value.Map && b.module(name):
				walk(name+".", m.items[i])
			case b.File.Ignore == nil || !b.File.Ignore(name):
				d, _ := unknownParam(b.params, name)
				d.Span = k.at
				b.diags = append(b.diags, d)
			}
		}
	}
	walk("", b.File.root)
	return out
}

// module tells that parameters are called so and more.
func (b *binder) module(name string) bool {
	for _, p := range b.params {
		if strings.HasPrefix(p.Name, name+".") {
			return true
		}
	}
	return false
}

// as gives a value the type of its parameter.
func (e entry) as(p *Param) (value.Value, diag.Diagnostic, bool) {
	v, wrong := e.value.as(p.Type)
	if wrong == nil {
		return as(v, p.Type), diag.Diagnostic{}, true
	}
	d := diag.Errorf(diag.BadParam, wrong.at, "the parameter `%s` wants a %s, and this is %s", p.Name, p.Type, wrong.what())
	want := p.Type
	if wrong.at != e.value.at && want.Elem != nil {
		d.Message = fmt.Sprintf("the parameter `%s` wants a %s, and one of its values is %s", p.Name, p.Type, wrong.what())
		want = want.Elem
	}
	switch {
	case p.Secret:
		d.Message = fmt.Sprintf("the parameter `%s` wants a %s, and this is none", p.Name, p.Type)
		if d = d.WithHint("such as %s", p.Type.Example()); p.Type.Kind == value.String {
			d.Hint = "write it in quotes"
		}
	case want.Kind == value.Number && wrong.kind == value.Number:
		d.Message = fmt.Sprintf("the parameter `%s` wants a %s, and `%s` is out of range", p.Name, p.Type, wrong.text)
	case want.Unit():
		d = d.WithHint("write a literal of the language in quotes, such as \"%s\"", want.Example())
	case want.Kind == value.String && wrong.kind != value.List && wrong.kind != value.Map && wrong.kind != value.Nil:
		d = d.WithHint("write it in quotes: %s", value.Quote(wrong.text))
	default:
		d = d.WithHint("such as %s", want.Example())
	}
	return value.Value{}, d, false
}

// as converts; wrong is what does not fit.
func (g given) as(t *value.Type) (v value.Value, wrong *given) {
	bad := func() (value.Value, *given) { return value.Value{}, &g }
	if t == nil || t.Kind == value.Any {
		t = value.Of(g.kind)
		if g.kind == value.Nil {
			return bad()
		}
	}
	switch {
	case g.kind == value.List && t.Kind == value.List:
		out := value.ListValue(t.ElemType())
		items := make([]value.Value, len(g.items))
		for i, item := range g.items {
			if items[i], wrong = item.as(t.ElemType()); wrong != nil {
				return value.Value{}, wrong
			}
		}
		out.V = items
		return out, nil
	case g.kind == value.Map && t.Kind == value.Map:
		m := map[string]value.Value{}
		for i, k := range g.keys {
			if m[k.text], wrong = g.items[i].as(t.ElemType()); wrong != nil {
				return value.Value{}, wrong
			}
		}
		return value.Value{T: t, V: m}, nil
	case g.kind == value.String && t.Kind == value.String:
		return value.StringOf(g.text), nil
	case g.kind == value.Bool && t.Kind == value.Bool:
		return value.BoolOf(g.text == "true"), nil
	case t.Numeric() && g.kind == value.String:
		if n, err := value.ParseNumber(g.text); err == nil {
			if n, ok := numeric(n, t); ok {
				return n, nil
			}
		}
	case t.Numeric() && g.kind == value.Number:
		if f, err := strconv.ParseFloat(g.text, 64); err == nil {
			if n, ok := numeric(value.NumberOf(f), t); ok && !n.IsMissing() {
				return n, nil
			}
		}
	}
	return bad()
}

// what names a value in a message.
func (g given) what() string {
	switch g.kind {
	case value.Nil:
		return "nothing"
	case value.Number:
		return "the number `" + g.text + "`"
	case value.Bool:
		return "`" + g.text + "`"
	case value.String:
		return "the text " + value.StringOf(g.text).Short()
	}
	return "a " + string(g.kind)
}

// readJSON reads with positions, which the decoder tells as offsets.
func readJSON(src *diag.Source) (given, *diag.Diagnostic) {
	dec := json.NewDecoder(strings.NewReader(src.Text))
	dec.UseNumber()
	fail := func(err error) *diag.Diagnostic {
		at := int(dec.InputOffset())
		var syn *json.SyntaxError
		message := "the JSON ends too early"
		if errors.As(err, &syn) {
			at, message = int(syn.Offset)-1, "this is not JSON: "+syn.Error()
		}
		at = max(min(at, len(src.Text)-1), 0)
		d := diag.Errorf(diag.BadParam, src.Span(at, min(at+1, len(src.Text))), "%s", message)
		return &d
	}
	at := func() diag.Span { // of the token just read
		end := int(dec.InputOffset())
		return src.Span(end-1, end)
	}
	var read func(depth int) (given, error)
	read = func(depth int) (given, error) {
		start := int(dec.InputOffset())
		start += len(src.Text[start:]) - len(strings.TrimLeft(src.Text[start:], " \t\r\n,:"))
		t, err := dec.Token()
		if err != nil || depth > maxNesting {
			return given{}, err
		}
		g := given{at: src.Span(start, int(dec.InputOffset()))}
		switch t := t.(type) {
		case json.Delim:
			g.kind, g.at = value.List, at()
			if t == '{' {
				g.kind = value.Map
			}
			for dec.More() {
				if t == '{' {
					k, err := read(depth + 1)
					if err != nil {
						return g, err
					}
					g.keys = append(g.keys, k)
				}
				item, err := read(depth + 1)
				if err != nil {
					return g, err
				}
				g.items = append(g.items, item)
			}
			_, err := dec.Token()
			return g, err
		case string:
			g.kind, g.text = value.String, t
		case json.Number:
			g.kind, g.text = value.Number, t.String()
		case bool:
			g.kind, g.text = value.Bool, strconv.FormatBool(t)
		default:
			g.kind = value.Nil
		}
		return g, nil
	}
	g, err := read(0)
	if err != nil {
		return g, fail(err)
	}
	if rest := bytes.TrimSpace([]byte(src.Text[dec.InputOffset():])); len(rest) > 0 {
		d := diag.Errorf(diag.BadParam, src.Span(int(dec.InputOffset()), len(src.Text)), "something stands behind the end of the JSON")
		return g, &d
	}
	return g, nil
}

// readYAML reads a YAML file of one document.
func readYAML(src *diag.Source) (given, *diag.Diagnostic) {
	y := &yamlReader{src: src}
	file, err := parser.ParseBytes([]byte(src.Text), 0)
	if err != nil {
		d := diag.Errorf(diag.BadParam, src.Span(0, 0), "this is not YAML")
		var syn *yaml.SyntaxError
		if errors.As(err, &syn) {
			d.Message = "this is not YAML: " + syn.Message
			if syn.Token != nil {
				d.Span = y.span(syn.Token.Position.Line, syn.Token.Position.Column, syn.Token.Value)
				if strings.HasPrefix(strings.TrimLeft(src.Line(max(syn.Token.Position.Line, 1)), " "), "\t") {
					d.Message = "this is not YAML: the line starts with a tab"
					d = d.WithHint("YAML is indented with blanks only")
				}
			}
		}
		return given{}, &d
	}
	g := given{kind: value.Nil}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case g.kind == value.Nil:
			g = y.read(doc.Body, 0)
		default:
			t := doc.Body.GetToken()
			d := diag.Errorf(diag.BadParam, y.span(t.Position.Line, 1, src.Line(t.Position.Line)), "a second YAML document starts here").WithHint("put all parameters into one: remove the `---` between them")
			return given{}, &d
		}
	}
	return g, y.bad
}

type yamlReader struct {
	src *diag.Source
	bad *diag.Diagnostic // the first mistake
}

func (y *yamlReader) span(line, col int, text string) diag.Span {
	start := diag.Pos{Line: max(line, 1), Col: max(col, 1)}
	end := start
	text, _, _ = strings.Cut(text, "\n")
	end.Col += max(utf8.RuneCountInString(text), 1)
	return diag.Span{File: y.src.File, Start: start, End: end}
}

func (y *yamlReader) fail(at diag.Span, format string, args ...any) {
	if y.bad == nil {
		d := diag.Errorf(diag.BadParam, at, format, args...)
		y.bad = &d
	}
}

func (y *yamlReader) read(n ast.Node, depth int) given {
	t := n.GetToken()
	g := given{kind: value.Nil, at: y.span(t.Position.Line, t.Position.Column, t.Value)}
	if depth > maxNesting {
		y.fail(g.at, "this is nested more than %d deep", maxNesting)
		return g
	}
	pair := func(p *ast.MappingValueNode) {
		k := y.read(p.Key, depth+1)
		if k.kind != value.String && k.kind != value.Number && k.kind != value.Bool {
			y.fail(k.at, "a key is a name, and this is %s", k.what())
		}
		g.keys = append(g.keys, k)
		g.items = append(g.items, y.read(p.Value, depth+1))
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		g.kind = value.Map
		for _, p := range n.Values {
			pair(p)
		}
	case *ast.MappingValueNode:
		g.kind = value.Map
		pair(n)
	case *ast.SequenceNode:
		g.kind = value.List
		for _, item := range n.Values {
			g.items = append(g.items, y.read(item, depth+1))
		}
	case *ast.StringNode:
		g.kind, g.text = value.String, n.Value
	case *ast.LiteralNode:
		g.kind, g.text = value.String, n.Value.Value
	case *ast.IntegerNode:
		g.kind, g.text = value.Number, fmt.Sprint(n.Value)
		if plain := strings.TrimLeft(t.Value, "+-0"); strings.HasPrefix(strings.TrimLeft(t.Value, "+-"), "0") && plain != "" && strings.Trim(plain, "0123456789_") == "" {
			y.fail(g.at, "`%s` is octal in YAML, the number %s: write `%s` or `%s`", t.Value, g.text, g.text, plain)
		}
	case *ast.FloatNode:
		g.kind, g.text = value.Number, strconv.FormatFloat(n.Value, 'g', -1, 64)
	case *ast.BoolNode:
		g.kind, g.text = value.Bool, strconv.FormatBool(n.Value)
	case *ast.NullNode:
	default:
		y.fail(g.at, "`%s` is more than plain values, lists and maps", t.Value)
	}
	return g
}
