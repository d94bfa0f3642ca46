package value

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

var (
	rDuration = reflect.TypeFor[time.Duration]()
	rHandle   = reflect.TypeFor[Handle]()
	rValue    = reflect.TypeFor[Value]()
	goKinds   = map[reflect.Type]*Type{
		rDuration:                         TDuration,
		reflect.TypeFor[RatioV]():         TRatio,
		reflect.TypeFor[SizeV]():          TSize,
		reflect.TypeFor[RateV]():          TRate,
		reflect.TypeFor[BandwidthV]():     TBandwidth,
		rHandle:                           THandle,
		rValue:                            TAny,
		reflect.TypeFor[map[string]any](): MapOf(TAny),
	}
)

// TypeOf derives a type from a Go type, once, at registration. A struct's fields carry `chaos:"name"` and `help:"…"`;
// a pointer is a field that may be absent; `chaos:"…,anyunit"` marks a number that compares with any unit. It panics on
// what the language cannot say, which is a mistake of the family's author that any test finds.
func TypeOf(t reflect.Type) *Type {
	if t.Kind() == reflect.Pointer {
		return TypeOf(t.Elem())
	}
	if k, ok := goKinds[t]; ok {
		return k
	}
	switch t.Kind() {
	case reflect.Bool:
		return TBool
	case reflect.String:
		return TString
	case reflect.Int, reflect.Int64, reflect.Float64:
		return TNumber
	case reflect.Interface:
		return TAny
	case reflect.Slice:
		return ListOf(TypeOf(t.Elem()))
	case reflect.Map:
		return MapOf(TypeOf(t.Elem()))
	case reflect.Struct:
		st := &Type{Kind: Struct, made: t}
		for _, f := range reflect.VisibleFields(t) {
			name, opts := fieldName(f)
			if name == "" {
				continue
			}
			ft := TypeOf(f.Type)
			if opts == "anyunit" {
				copied := *ft
				copied.AnyUnit = true
				ft = &copied
			}
			st.Fields = append(st.Fields, Field{Name: name, Help: f.Tag.Get("help"), Type: ft, Kept: opts == "kept", index: f.Index})
		}
		return st
	}
	panic(fmt.Sprintf("value: no type of the language for %v", t))
}

func fieldName(f reflect.StructField) (name, opts string) {
	name, opts, _ = strings.Cut(f.Tag.Get("chaos"), ",")
	return name, opts
}

// Encode converts a Go value of a type that TypeOf accepts. Nil pointers and nil interfaces are absent.
func Encode(x any) Value { return encode(reflect.ValueOf(x), nil) }

// EncodeAs is Encode with the type computed before, which saves a walk per sample.
func EncodeAs(t *Type, x any) Value { return encode(reflect.ValueOf(x), t) }

func encode(v reflect.Value, t *Type) Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface && v.Type() != rHandle {
		if v.IsNil() {
			return NoData("absent")
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return NoData("absent")
	}
	if v.Type() == rValue {
		return v.Interface().(Value)
	}
	if k := v.Kind(); k == reflect.Struct || k == reflect.Interface {
		if h, ok := v.Interface().(Handle); ok {
			return HandleOf(h)
		}
	}
	if t == nil || t.Kind == Any {
		t = TypeOf(v.Type())
	}
	switch v.Kind() {
	case reflect.Bool:
		return Value{T: t, V: v.Bool()}
	case reflect.String:
		return Value{T: t, V: v.String()}
	case reflect.Int, reflect.Int64:
		return Value{T: t, V: float64(v.Int())}
	case reflect.Float64:
		return Value{T: t, V: v.Float()}
	case reflect.Slice:
		items := make([]Value, v.Len())
		for i := range items {
			items[i] = encode(v.Index(i), t.Elem)
		}
		return Value{T: t, V: items}
	case reflect.Map:
		m := make(map[string]Value, v.Len())
		for _, k := range v.MapKeys() {
			m[k.String()] = encode(v.MapIndex(k), t.Elem)
		}
		return Value{T: t, V: m}
	case reflect.Struct:
		from := t
		if t.made != v.Type() {
			from = TypeOf(v.Type())
		}
		m := make(map[string]Value, len(from.Fields))
		for _, f := range from.Fields {
			if fv := encode(v.FieldByIndex(f.index), f.Type); fv.Missing != "absent" {
				m[f.Name] = fv
			}
		}
		return Value{T: t, V: m}
	}
	return NoData("absent")
}

// Decode fills the Go value that target points to. The value's type was checked before; what it cannot hold (a number
// out of an int's range, a list element of the wrong kind inside any) is an error that names no Go type.
func Decode(v Value, target any) error { return decode(v, reflect.ValueOf(target).Elem()) }

func decode(v Value, out reflect.Value) error {
	if v.IsMissing() {
		return fmt.Errorf("no data: %s", v.Why())
	}
	switch out.Type() {
	case rValue:
		out.Set(reflect.ValueOf(v))
		return nil
	case rDuration:
		if v.T.Kind != Duration && !(v.T.Kind == Number && v.Float() == 0) {
			return mismatch(v, TDuration)
		}
		out.SetInt(int64(v.Duration()))
		return nil
	case rHandle:
		h, ok := v.V.(Handle)
		if !ok {
			return mismatch(v, THandle)
		}
		out.Set(reflect.ValueOf(h))
		return nil
	}
	switch out.Kind() {
	case reflect.Pointer:
		p := reflect.New(out.Type().Elem())
		if err := decode(v, p.Elem()); err != nil {
			return err
		}
		out.Set(p)
	case reflect.Interface:
		if p := v.Plain(); p != nil {
			out.Set(reflect.ValueOf(p))
		}
	case reflect.Bool:
		b, ok := v.V.(bool)
		if !ok {
			return mismatch(v, TBool)
		}
		out.SetBool(b)
	case reflect.String:
		s, ok := v.V.(string)
		if !ok {
			return mismatch(v, TString)
		}
		out.SetString(s)
	case reflect.Int, reflect.Int64:
		f, ok := v.V.(float64)
		if !ok {
			return mismatch(v, TNumber)
		}
		if f != float64(int64(f)) {
			return fmt.Errorf("%s is not a whole number", v)
		}
		out.SetInt(int64(f))
	case reflect.Float64:
		f, ok := v.V.(float64)
		if !ok {
			return mismatch(v, TypeOf(out.Type()))
		}
		out.SetFloat(f)
	case reflect.Slice:
		items, ok := v.V.([]Value)
		if !ok {
			return mismatch(v, TypeOf(out.Type()))
		}
		s := reflect.MakeSlice(out.Type(), len(items), len(items))
		for i, e := range items {
			if err := decode(e, s.Index(i)); err != nil {
				return err
			}
		}
		out.Set(s)
	case reflect.Map:
		fields, ok := v.V.(map[string]Value)
		if !ok {
			return mismatch(v, TypeOf(out.Type()))
		}
		m := reflect.MakeMapWithSize(out.Type(), len(fields))
		for k, e := range fields {
			ev := reflect.New(out.Type().Elem()).Elem()
			if e.V != nil {
				if err := decode(e, ev); err != nil {
					return fmt.Errorf("%s: %w", k, err)
				}
			}
			m.SetMapIndex(reflect.ValueOf(k), ev)
		}
		out.Set(m)
	default:
		return mismatch(v, TAny)
	}
	return nil
}

func mismatch(v Value, want *Type) error {
	return fmt.Errorf("%s is a %s, not a %s", v.Short(), v.T, want)
}

func sortedKeys(m map[string]Value) []string { return slices.Sorted(maps.Keys(m)) }
