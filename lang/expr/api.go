// Package expr is the bridge to the expression engine: it parses and checks an expression with the language's literals
// and units, evaluates it with three-valued logic, and says what its operands were. Expressions are pure.
package expr

import (
	"strconv"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// Binding is what a name means in a scope.
type Binding struct {
	Type   *value.Type
	Denied string       // not empty: the name exists but may not be used here, and this says why (a full clause)
	Hint   string       // the hint that goes with Denied
	Let    *Expr        // the expression that the name abbreviates, evaluated where it is used; nil for a plain value
	Const  *value.Value // the value where it is known before a run, for constant folding and checks; nil otherwise
	At     diag.Span    // where it was declared

	// Key is what an Env calls the value where that is not the name: `slo.window`, which two files may both call `window`.
	Key string
	// Members are the values of a module, which is no value itself; nil for everything else.
	Members map[string]*Binding
	// Tainted tells that a secret is in the value, Secret which one, where it is nothing else.
	Tainted bool
	Secret  string
}

// Scope maps the names that an expression may use. A lookup goes outwards.
type Scope struct {
	Parent *Scope
	Names  map[string]*Binding
}

// NewScope makes an empty scope inside parent.
func NewScope(parent *Scope) *Scope { return &Scope{Parent: parent, Names: map[string]*Binding{}} }

// Lookup finds a name.
func (s *Scope) Lookup(name string) (*Binding, bool) {
	for ; s != nil; s = s.Parent {
		if b, ok := s.Names[name]; ok {
			return b, true
		}
	}
	return nil, false
}

// All lists every visible name that may be used, for "did you mean".
func (s *Scope) All() []string {
	var out []string
	seen := map[string]bool{}
	for ; s != nil; s = s.Parent {
		for n, b := range s.Names {
			if !seen[n] && b.Denied == "" {
				out = append(out, n)
			}
			seen[n] = true
		}
	}
	return out
}

// Operand is something outside that an expression reads: a probe's field, a parameter, a summary.
type Operand struct {
	Path []string  // "during", "load", "p99"
	Text string    // as it stands in the script
	At   diag.Span // where
	Type *value.Type

	// Binding is what the name at the root means.
	Binding *Binding

	rest []step // constant indexes and what follows them, which Path leaves out
}

// Value is what the operand reads: Path looked up in env, then the constant indexes that stand behind it in Text.
func (o Operand) Value(env Env) value.Value {
	v := env.Lookup(o.Path)
	for _, s := range o.rest {
		v = s.of(v)
	}
	return v
}

// key tells operands apart.
func (o Operand) key() string {
	var b strings.Builder
	b.WriteString(strings.Join(o.Path, "."))
	for _, s := range o.rest {
		if s.isIndex {
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		} else {
			b.WriteString("." + s.key)
		}
	}
	return b.String()
}

// Env gives operands their values. A path's first element is a name of the scope; the rest are fields. It returns a
// Missing value, never an error, for what has no data.
type Env interface {
	Lookup(path []string) value.Value
}

// EnvFunc is a function as an Env.
type EnvFunc func(path []string) value.Value

// Lookup calls f.
func (f EnvFunc) Lookup(path []string) value.Value { return f(path) }
