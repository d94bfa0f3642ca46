package value

import (
	"fmt"
	"math"
	"time"
)

// Value is a value of the language.
//
// V holds bool, string, float64 (every numeric kind, in its base unit), []Value, map[string]Value (map and struct) or
// Handle. Missing, when not empty, says why there is no data, and V is nil. Unknown means known only after setup.
type Value struct {
	T       *Type
	V       any
	Missing string
	Unknown bool
}

// NoData is a value that is not there, and why.
func NoData(format string, args ...any) Value {
	return Value{T: TAny, Missing: fmt.Sprintf(format, args...)}
}

// Null is JSON's null and the language's nil.
var Null = Value{T: TNil}

func BoolOf(b bool) Value              { return Value{T: TBool, V: b} }
func StringOf(s string) Value          { return Value{T: TString, V: s} }
func NumberOf(f float64) Value         { return Value{T: TNumber, V: f} }
func RatioOf(f float64) Value          { return Value{T: TRatio, V: f} }
func DurationOf(d time.Duration) Value { return Value{T: TDuration, V: float64(d)} }
func SizeOf(bytes float64) Value       { return Value{T: TSize, V: bytes} }
func RateOf(perSecond float64) Value   { return Value{T: TRate, V: perSecond} }
func BandwidthOf(bytesPerSecond float64) Value {
	return Value{T: TBandwidth, V: bytesPerSecond}
}
func HandleOf(h Handle) Value { return Value{T: THandle, V: h} }
func ListValue(elem *Type, items ...Value) Value {
	if items == nil {
		items = []Value{}
	}
	return Value{T: ListOf(elem), V: items}
}

// StructValue makes a struct sample; fields that are not in the map are absent, which reads as no data.
func StructValue(t *Type, fields map[string]Value) Value { return Value{T: t, V: fields} }

// IsMissing tells no data; a NaN or an infinity is no data too.
func (v Value) IsMissing() bool {
	if v.Missing != "" {
		return true
	}
	f, ok := v.V.(float64)
	return ok && (math.IsNaN(f) || math.IsInf(f, 0))
}

// Why says why there is no data.
func (v Value) Why() string {
	if v.Missing != "" {
		return v.Missing
	}
	if v.IsMissing() {
		return "the value is not a finite number"
	}
	return ""
}

// Float is the base-unit number of a numeric value, 0 otherwise.
func (v Value) Float() float64 { f, _ := v.V.(float64); return f }

// Duration is a duration value's time.Duration, saturating.
func (v Value) Duration() time.Duration {
	f := v.Float()
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Round(f))
}

// Bool is a bool value's bool, false otherwise.
func (v Value) Bool() bool { b, _ := v.V.(bool); return b }

// Text is a string value's string, "" otherwise.
func (v Value) Text() string { s, _ := v.V.(string); return s }

// Items is a list value's elements.
func (v Value) Items() []Value { l, _ := v.V.([]Value); return l }

// Get is a field of a struct, handle or map, no data where it is absent.
func (v Value) Get(name string) Value {
	if v.IsMissing() {
		return v
	}
	switch m := v.V.(type) {
	case map[string]Value:
		if f, ok := m[name]; ok {
			return f
		}
		return NoData("there is no `%s`", name)
	case Handle:
		return m.HandleField(name)
	case []Value:
		return NoData("a list has no `%s`", name)
	}
	return NoData("there is no `%s`", name)
}

// Plain converts to Go values as an expression engine knows them: float64, string, bool, []any, map[string]any, nil.
// A missing element is nil.
func (v Value) Plain() any {
	if v.IsMissing() {
		return nil
	}
	switch x := v.V.(type) {
	case []Value:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = e.Plain()
		}
		return out
	case map[string]Value:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = e.Plain()
		}
		return out
	default:
		return x
	}
}

// FromPlain is the inverse of Plain for JSON-like data, typed by what it finds; want, when not nil and not any,
// gives a number its unit.
func FromPlain(x any, want *Type) Value {
	if want == nil {
		want = TAny
	}
	switch x := x.(type) {
	case nil:
		return Null
	case bool:
		return BoolOf(x)
	case string:
		return StringOf(x)
	case Handle:
		return HandleOf(x)
	case Value:
		return x
	case float64:
		if want.Numeric() {
			return Value{T: want, V: x}
		}
		return NumberOf(x)
	case int:
		return FromPlain(float64(x), want)
	case int64:
		return FromPlain(float64(x), want)
	case time.Duration:
		return DurationOf(x)
	case []any:
		items := make([]Value, len(x))
		elem := TAny
		if want.Kind == List {
			elem = want.ElemType()
		}
		for i, e := range x {
			items[i] = FromPlain(e, elem)
		}
		return ListValue(elem, items...)
	case map[string]any:
		m := make(map[string]Value, len(x))
		for k, e := range x {
			ft := TAny
			if want.Kind == Map {
				ft = want.ElemType()
			} else if f, ok := want.Field(k); ok {
				ft = f
			}
			m[k] = FromPlain(e, ft)
		}
		if want.Kind == Struct {
			return Value{T: want, V: m}
		}
		return Value{T: MapOf(TAny), V: m}
	}
	return NoData("a value of an unknown kind")
}
