// Package doc renders the reference of actions, probes and functions from their specs: as text for a terminal or a REPL, as
// Markdown for docs/reference, as JSON for programs. What it prints is what the checker checks.
package doc

import (
	"fmt"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/value"
)

// Function is a function of expressions.
type Function struct {
	Name  string // "len"
	Usage string // "len(x)"
	Help  string // one sentence
}

// Reference is all that there is to look up.
type Reference struct {
	calls     []*spec.Call
	functions []Function
	modules   []Module
}

// New makes the reference of a catalogue.
func New(cat spec.Catalogue, functions []Function) *Reference {
	r := &Reference{functions: functions}
	for _, name := range cat.Names() {
		if c, ok := cat.Call(name); ok {
			r.calls = append(r.calls, c)
		}
	}
	slices.SortFunc(r.calls, func(a, b *spec.Call) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// Functions is the name of the topic that lists the functions.
const Functions = "functions"

// Depth is how closely a topic looks.
type Depth int

const (
	Index  Depth = iota // everything, one line each
	Family              // one family, all functions, or all modules
	Single              // one call, function or module, with all details
)

// Topic is what was asked for.
type Topic struct {
	Name      string
	Depth     Depth
	Calls     []*spec.Call
	Functions []Function
	Modules   []Module
}

// FamilyOf is the family of a call: what stands before the first dot, or the whole name.
func FamilyOf(call string) string {
	family, _, _ := strings.Cut(call, ".")
	return family
}

// Families lists the families, sorted.
func (r *Reference) Families() []string {
	var out []string
	for _, c := range r.calls {
		if f := FamilyOf(c.Name); !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// Entry is a name that Find knows, with a few words about it.
type Entry struct{ Name, Help string }

// Entries lists what Find knows, for completion: families, calls, functions, modules.
func (r *Reference) Entries() []Entry {
	var out []Entry
	for _, f := range r.Families() {
		if t, err := r.Find(f); err == nil && t.Depth == Family {
			out = append(out, Entry{f, "the family: " + plural(len(t.Calls), "call")})
		}
	}
	for _, c := range r.calls {
		out = append(out, Entry{c.Name, c.Summary})
	}
	out = append(out, Entry{Functions, "the functions of expressions"})
	for _, f := range r.functions {
		out = append(out, Entry{f.Name, f.Help})
	}
	for _, m := range r.modules {
		out = append(out, Entry{m.Name, m.Brief()})
	}
	return out
}

// Find looks up a name: "" is everything; a call, a family, "functions", a function, "std", a module or an export of one. An unknown name is an error with a
// hint.
func (r *Reference) Find(name string) (Topic, error) {
	name = strings.TrimSuffix(name, "()")
	if name == "" {
		return Topic{Depth: Index, Calls: r.calls, Functions: r.functions, Modules: r.modules}, nil
	}
	t := Topic{Name: name, Depth: Family}
	for _, c := range r.calls {
		if c.Name == name {
			return Topic{Name: name, Depth: Single, Calls: []*spec.Call{c}}, nil
		}
		if FamilyOf(c.Name) == name {
			t.Calls = append(t.Calls, c)
		}
	}
	if len(t.Calls) > 0 {
		return t, nil
	}
	if name == Functions {
		return Topic{Name: name, Depth: Family, Functions: r.functions}, nil
	}
	for _, f := range r.functions {
		if f.Name == name {
			return Topic{Name: name, Depth: Single, Functions: []Function{f}}, nil
		}
	}
	if t, ok := r.module(name); ok {
		return t, nil
	}
	return Topic{}, fmt.Errorf("there is no action, probe, family, function or module `%s`; %s", name, r.hint(name))
}

func (r *Reference) hint(name string) string {
	family := FamilyOf(name)
	if family != name && slices.Contains(r.Families(), family) { // the family is right: only its calls are meant
		var names []string
		for _, c := range r.calls {
			if FamilyOf(c.Name) == family {
				names = append(names, c.Name)
			}
		}
		if near, ok := diag.Nearest(name, names); ok {
			return "did you mean `" + near + "`?"
		}
		return "there are `" + strings.Join(names, "`, `") + "`"
	}
	var names []string
	for _, e := range r.Entries() {
		names = append(names, e.Name)
	}
	if near, ok := diag.Nearest(name, names); ok {
		return "did you mean `" + near + "`?"
	}
	return "without a name, all of them are listed"
}

// kinds splits calls into actions and probes.
func kinds(calls []*spec.Call) (actions, probes []*spec.Call) {
	for _, c := range calls {
		if c.Kind == spec.Action {
			actions = append(actions, c)
		} else {
			probes = append(probes, c)
		}
	}
	return actions, probes
}

// Default is an argument's default as a script writes it, "" without one.
func Default(p spec.Param) string {
	if p.Default == "" {
		return ""
	}
	v, err := spec.Default(p.Default, p.Type)
	if err != nil {
		return p.Default
	}
	return v.String()
}

// TypeName is a type for readers.
func TypeName(t *value.Type) string {
	if t == nil {
		return "nothing"
	}
	if t.AnyUnit {
		return t.String() + " of any unit"
	}
	if t.Kind == value.Struct {
		return "fields"
	}
	if t.Elem != nil && t.Elem.Kind == value.Struct {
		return string(t.Kind) + " of fields"
	}
	return t.String()
}

// Signature is a call with its arguments, in pieces between which a line may break: `url: string`, `timeout: duration = 5s`.
// One that may be left out and has no default bears a `?`; of those joined by `|` exactly one is given.
func Signature(c *spec.Call) (name string, args []string) {
	done := map[string]bool{}
	for _, p := range c.Params {
		if p.Group == "" {
			args = append(args, argument(p))
			continue
		}
		if done[p.Group] {
			continue
		}
		done[p.Group] = true
		var alternatives []string
		for _, name := range group(c, p.Group) {
			alt, _ := c.Param(name)
			alternatives = append(alternatives, alt.Name+": "+TypeName(alt.Type))
		}
		args = append(args, strings.Join(alternatives, " | "))
	}
	return c.Name, args
}

func argument(p spec.Param) string {
	switch d := Default(p); {
	case d != "":
		return p.Name + ": " + TypeName(p.Type) + " = " + d
	case p.Required:
		return p.Name + ": " + TypeName(p.Type)
	}
	return p.Name + "?: " + TypeName(p.Type)
}

// group lists the arguments of a group.
func group(c *spec.Call, name string) []string {
	var out []string
	for _, p := range c.Params {
		if p.Group == name {
			out = append(out, p.Name)
		}
	}
	return out
}

// groups lists the groups of a call with more than one argument, in order.
func groups(c *spec.Call) [][]string {
	var out [][]string
	seen := map[string]bool{}
	for _, p := range c.Params {
		if p.Group != "" && !seen[p.Group] {
			seen[p.Group] = true
			if g := group(c, p.Group); len(g) > 1 {
				out = append(out, g)
			}
		}
	}
	return out
}

// field is a field of a result with its path: `headers`, `rows[].name`.
type field struct {
	path string
	typ  *value.Type
	help string
}

// fields flattens a result type.
func fields(t *value.Type, prefix string) []field {
	if t == nil {
		return nil
	}
	var out []field
	for _, f := range t.Fields {
		out = append(out, field{prefix + f.Name, f.Type, f.Help})
		inner, p := f.Type, prefix+f.Name+"."
		if f.Type.Elem != nil {
			inner, p = f.Type.Elem, prefix+f.Name+"[]."
		}
		if inner.Kind == value.Struct {
			out = append(out, fields(inner, p)...)
		}
	}
	return out
}

// lifetimes say what ends a fault when chaos itself is killed; the words are those of the actions' specs.
var lifetimes = map[string]string{
	"kernel":       "the kernel ends it at once when chaos is killed",
	"ttl":          "the target itself ends it after a deadline when chaos is killed",
	"guardian":     "the guardian process undoes it when chaos is killed",
	"irreversible": "nothing ends it",
}

// fact is something to know about a call, with a heading.
type fact struct{ name, text string }

// facts lists what a call's spec says beside its arguments and its result.
func facts(c *spec.Call) []fact {
	var out []fact
	add := func(name, format string, args ...any) { out = append(out, fact{name, fmt.Sprintf(format, args...)}) }
	if c.Selects {
		add("selects", "exactly one, or the step refuses; `pick 2`, `pick 50%%` or `pick all` widen it")
	}
	if c.Spares != "" {
		add("spares", "%s", c.Spares)
	}
	if c.Kind == spec.Action {
		switch {
		case c.Harmless:
			add("undo", "not needed: it changes nothing")
		case c.UndoArg != "":
			add("undo", "%s, if `%s:` is given; without it nothing can, and the experiment needs a `steady` block to recover to", c.Undo, c.UndoArg)
		case c.Undo == "":
			add("undo", "none, it is irreversible: the experiment needs a `steady` block to recover to")
		default:
			add("undo", "%s: at the end of its block, or after the time of `for`", c.Undo)
		}
		if !c.Harmless && c.Undo != "" && c.Lifetime != "" {
			add("lifetime", "%s: %s", c.Lifetime, lifetimes[c.Lifetime])
		}
	}
	if c.Streaming {
		add("sampling", "it runs all the time; each period (`every`, default 1s) is one sample, and a summary such as `during.NAME.FIELD` is the exact merge of all periods of the phase")
	} else if c.Kind == spec.Probe {
		add("sampling", "one sample each period (`every`, default 1s)")
	}
	for _, n := range c.Needs {
		text := fmt.Sprintf("%s `%s`", n.Kind, n.Name)
		if n.Install != "" {
			text += ": " + n.Install
		}
		add("needs", "%s", text)
	}
	return out
}

// resultTitle is how a call's result is introduced.
func resultTitle(c *spec.Call) string {
	if c.Kind == spec.Probe {
		return "Sample"
	}
	return "Result"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
