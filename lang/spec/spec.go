// Package spec describes actions and probes as data. The struct of a call's arguments is its spec; the checker, the
// reference, completion, doctor and plan render it and know nothing else of a family.
package spec

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"chaos/lang/value"
)

// Kind tells the two sorts of call.
type Kind string

const (
	Action Kind = "action"
	Probe  Kind = "probe"
)

// Param is one argument.
type Param struct {
	Name       string
	Help       string
	Type       *value.Type
	Default    string // a literal of the language, "" for none
	Required   bool   // must be given
	Positional bool   // may be given without its name; positional ones come first, in order
	Group      string // of all arguments of one group exactly one must be given
	Limits            // what it may be, beyond its type
}

// Need is something that the machine must have.
type Need struct {
	Kind    string // "tool", "privilege", "kernel"
	Name    string // "nginx", "CAP_SYS_PTRACE"
	Install string // how to get it
}

// Call is an action or a probe.
type Call struct {
	Kind    Kind
	Name    string // "process.kill"
	Summary string // one sentence
	Example string // a statement that checks
	Params  []Param
	Result  *value.Type // what `as` binds, or the sample; nil for nothing
	Needs   []Need

	// Of actions.
	Selects  bool   // resolves a selector, so `pick` may widen it
	Undo     string // what the undo does, in words; "" means irreversible
	UndoArg  string // the argument without which the action is irreversible ("undo" of exec.run)
	Harmless bool   // changes nothing that could need an undo (`log`): neither reversible nor irreversible
	Lifetime string // the class promised in the reference: "kernel", "guardian", …
	Spares   string // what it leaves alone although it could touch it: "init and kernel threads"

	// Of probes.
	Streaming bool // runs all the time and yields one sample a period
}

// Irreversible tells whether a call with these arguments leaves something that nothing can undo.
func (c *Call) Irreversible(given func(arg string) bool) bool {
	if c.Kind != Action || c.Harmless {
		return false
	}
	if c.UndoArg != "" {
		return !given(c.UndoArg)
	}
	return c.Undo == ""
}

// Param finds an argument by name.
func (c *Call) Param(name string) (*Param, bool) {
	for i := range c.Params {
		if c.Params[i].Name == name {
			return &c.Params[i], true
		}
	}
	return nil, false
}

// ParamNames lists the arguments in order.
func (c *Call) ParamNames() []string {
	out := make([]string, len(c.Params))
	for i, p := range c.Params {
		out[i] = p.Name
	}
	return out
}

// Catalogue is what the checker sees of the registries.
type Catalogue interface {
	Call(name string) (*Call, bool)
	Names() []string // of all actions and probes, sorted
}

// ParamsOf derives the arguments from a struct type:
//
//	Within time.Duration `chaos:"ready_within" default:"10s" help:"how long readiness may take"`
//
// Tag options behind the name: `required`, `positional`, `group=NAME`, `filled` (a string that may not be empty), `regexp`.
// `enum:"TERM KILL"` lists allowed strings, `range:">=1 <=65535"` or `range:">0s"` bounds numbers. A field without required, default, group or pointer type is optional and decodes as its zero value. Embedded structs add their
// fields. It panics on a malformed tag, which any test that registers the family finds.
func ParamsOf(t reflect.Type) []Param {
	var out []Param
	for _, f := range fieldsOf(t) {
		out = append(out, f.Param)
	}
	return out
}

// field is an argument and where it goes.
type field struct {
	Param
	index     []int
	otherwise value.Value // its default; the zero value for none
}

// known holds the fields of each type that was asked for: to read the tags takes longer than the rest of a short step.
var known sync.Map // by reflect.Type

func fieldsOf(t reflect.Type) []field {
	if list, ok := known.Load(t); ok {
		return list.([]field)
	}
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("chaos")
		if !ok {
			continue
		}
		opts := strings.Split(tag, ",")
		p := Param{Name: opts[0], Help: f.Tag.Get("help"), Default: f.Tag.Get("default"), Type: value.TypeOf(f.Type), Limits: limitsOf(f, opts[1:])}
		for _, o := range opts[1:] {
			switch k, v, _ := strings.Cut(o, "="); k {
			case "required":
				p.Required = true
			case "positional":
				p.Positional = true
			case "filled", "regexp": // see limitsOf
			case "group":
				p.Group = v
			default:
				panic(fmt.Sprintf("spec: unknown tag option %q on %v.%s", o, t, f.Name))
			}
		}
		to := field{Param: p, index: f.Index}
		if p.Default != "" {
			var err error
			if to.otherwise, err = Default(p.Default, p.Type); err != nil {
				panic(fmt.Sprintf("spec: default of %s: %v", p.Name, err))
			}
		}
		out = append(out, to)
	}
	known.Store(t, out)
	return out
}

// Decode fills the argument struct that target points to from the values given; a default is read as a literal. A value
// beyond the limits of its argument is an error: the checker sees only those that are constant.
func Decode(args map[string]value.Value, target any) error {
	v := reflect.ValueOf(target).Elem()
	for _, f := range fieldsOf(v.Type()) {
		given, ok := args[f.Name]
		if !ok {
			if f.Default == "" {
				continue
			}
			given = f.otherwise
		}
		if err := f.Judge(given); err != nil {
			name := f.Name
			if given.T.Numeric() { // a string may be a secret
				name += ": " + given.Short()
			}
			return fmt.Errorf("`%s` %w", name, err)
		}
		if err := value.Decode(given, v.FieldByIndex(f.index).Addr().Interface()); err != nil {
			return fmt.Errorf("`%s`: %w", f.Name, err)
		}
	}
	return nil
}

// Default reads a default: a number with its unit, true or false, a list of whole numbers as `[0]`, or else a string as it is.
func Default(text string, t *value.Type) (value.Value, error) {
	switch {
	case t.Kind == value.Bool:
		return value.BoolOf(text == "true"), nil
	case t.Numeric():
		return value.ParseNumber(text)
	case t.Kind == value.List:
		var items []value.Value
		for _, s := range strings.Split(strings.Trim(text, "[]"), ",") {
			item, err := Default(strings.TrimSpace(s), t.ElemType())
			if err != nil {
				return value.Value{}, err
			}
			items = append(items, item)
		}
		return value.ListValue(t.ElemType(), items...), nil
	}
	return value.StringOf(text), nil
}
