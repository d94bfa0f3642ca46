// Package value holds the types and values of the language: what an argument, a sample or an expression can be.
//
// Every numeric kind is a float64 in a base unit while a run computes with it; the Kind says which unit:
//
//	number     as it is          ratio      1 = 100 %
//	duration   nanoseconds       size       bytes
//	rate       per second        bandwidth  bytes per second
//
// So an expression engine that knows only float64 can evaluate it, and the checker alone knows units.
package value

import (
	"reflect"
	"strings"
	"time"
)

// Kind names a type as the user writes it.
type Kind string

const (
	Any       Kind = "any" // JSON and the like: known only at run time
	Bool      Kind = "bool"
	String    Kind = "string"
	Number    Kind = "number"
	Ratio     Kind = "ratio"
	Duration  Kind = "duration"
	Size      Kind = "size"
	Rate      Kind = "rate"
	Bandwidth Kind = "bandwidth"
	List      Kind = "list"
	Map       Kind = "map"
	HandleK   Kind = "handle"
	Struct    Kind = "struct"
	Nil       Kind = "nil"
)

// ParamKinds are the names that may stand behind `param name:`.
var ParamKinds = []Kind{Bool, String, Number, Ratio, Duration, Size, Rate, Bandwidth, List, Map}

// Type is a type. Two types are the same when they print the same.
type Type struct {
	Kind    Kind
	Elem    *Type   // of list and map; nil means any
	Fields  []Field // of struct and handle, in declaration order
	AnyUnit bool    // a number that compares with any unit (`prom.query`'s `.value`)
	Name    string  // of a struct, for messages: "http.get"

	made reflect.Type // of what TypeOf made of a Go struct: that one
}

// Field is one field of a struct.
type Field struct {
	Name string
	Help string
	Type *Type
	Kept bool // it tells of all since the probe began, so that it shows a fault that is gone

	index []int // in the Go struct, see reflect.StructField
}

var (
	TAny       = &Type{Kind: Any}
	TBool      = &Type{Kind: Bool}
	TString    = &Type{Kind: String}
	TNumber    = &Type{Kind: Number}
	TRatio     = &Type{Kind: Ratio}
	TDuration  = &Type{Kind: Duration}
	TSize      = &Type{Kind: Size}
	TRate      = &Type{Kind: Rate}
	TBandwidth = &Type{Kind: Bandwidth}
	TNil       = &Type{Kind: Nil}
	THandle    = &Type{Kind: HandleK, Fields: []Field{{Name: "pid", Help: "the process' current pid; absent while it does not run", Type: TNumber}}}
)

// Of returns the plain type of a kind without structure.
func Of(k Kind) *Type {
	for _, t := range []*Type{TAny, TBool, TString, TNumber, TRatio, TDuration, TSize, TRate, TBandwidth, TNil, THandle} {
		if t.Kind == k {
			return t
		}
	}
	return &Type{Kind: k}
}

// ListOf is the type of a list.
func ListOf(elem *Type) *Type { return &Type{Kind: List, Elem: elem} }

// MapOf is the type of a map with string keys.
func MapOf(elem *Type) *Type { return &Type{Kind: Map, Elem: elem} }

// StructOf is the type of a struct.
func StructOf(name string, fields ...Field) *Type {
	return &Type{Kind: Struct, Name: name, Fields: fields}
}

// Field finds a field by name.
func (t *Type) Field(name string) (*Type, bool) {
	for _, f := range t.Fields {
		if f.Name == name {
			return f.Type, true
		}
	}
	return nil, false
}

// FieldNames lists the fields in declaration order.
func (t *Type) FieldNames() []string {
	names := make([]string, len(t.Fields))
	for i, f := range t.Fields {
		names[i] = f.Name
	}
	return names
}

// ElemType is the element type of a list or map, any where unknown.
func (t *Type) ElemType() *Type {
	if t.Elem == nil {
		return TAny
	}
	return t.Elem
}

// Numeric tells a float64 kind.
func (t *Type) Numeric() bool { return t.Kind == Number || t.Unit() }

// Unit tells a numeric kind with a unit; a ratio counts as one, since it compares only with its like.
func (t *Type) Unit() bool {
	switch t.Kind {
	case Ratio, Duration, Size, Rate, Bandwidth:
		return true
	}
	return false
}

// String is the type as messages print it.
func (t *Type) String() string {
	if t == nil {
		return "any"
	}
	switch t.Kind {
	case List:
		if t.Elem != nil && t.Elem.Kind != Any {
			return "list of " + t.Elem.String()
		}
	case Map:
		if t.Elem != nil && t.Elem.Kind != Any {
			return "map of " + t.Elem.String()
		}
	case Struct:
		names := t.FieldNames()
		if len(names) > 0 {
			return "{" + strings.Join(names, " ") + "}"
		}
	}
	return string(t.Kind)
}

// Example is a literal of the kind, for hints: "write `100ms`".
func (t *Type) Example() string {
	switch t.Kind {
	case Bool:
		return "true"
	case String:
		return `"text"`
	case Number:
		return "10"
	case Ratio:
		return "20%"
	case Duration:
		return "100ms"
	case Size:
		return "10MiB"
	case Rate:
		return "200/s"
	case Bandwidth:
		return "10Mbit/s"
	case List:
		return "[" + t.ElemType().Example() + "]"
	case Map:
		if t.Elem != nil && t.Elem.Kind != Any {
			return "{name: " + t.Elem.Example() + "}"
		}
		return `{name: "text"}`
	case HandleK:
		return "worker"
	}
	return "…"
}

// Go types whose kind a bare float64 would not tell. Struct fields of arguments and samples use them.
type (
	// RatioV is a ratio, 1 = 100 %.
	RatioV float64
	// SizeV is a size in bytes.
	SizeV float64
	// RateV is a rate per second.
	RateV float64
	// BandwidthV is a bandwidth in bytes per second.
	BandwidthV float64
)

// Handle is a thing that a step returned and that other calls may name: a supervised process, a container.
// Implementations are safe for concurrent use; Field reads the present state.
type Handle interface {
	HandleKind() string // "process"
	HandleID() string   // unique in the run
	HandleName() string // as the report shows it
	HandleField(name string) Value
}

// FromDuration is the base-unit number of a duration.
func FromDuration(d time.Duration) float64 { return float64(d) }
