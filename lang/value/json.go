package value

import (
	"encoding/json"
	"math"
	"strconv"
)

// MarshalJSON writes a value for people and programs: durations in seconds, sizes in bytes, ratios as fractions, absent
// as null. With the type at hand, FromJSON reads it back exactly.
func (v Value) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }

// AppendJSON is MarshalJSON behind what is there already, without reflection: a run writes many samples a second.
func (v Value) AppendJSON(b []byte) []byte {
	if v.IsMissing() || v.Unknown {
		return append(b, "null"...)
	}
	switch x := v.V.(type) {
	case bool:
		return strconv.AppendBool(b, x)
	case string:
		return AppendString(b, x)
	case float64:
		if v.T.Kind == Duration {
			x /= 1e9
		}
		return AppendNumber(b, x)
	case []Value:
		b = append(b, '[')
		for i, e := range x {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.AppendJSON(b)
		}
		return append(b, ']')
	case map[string]Value:
		b = append(b, '{')
		for i, k := range sortedKeys(x) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(AppendString(b, k), ':')
			b = x[k].AppendJSON(b)
		}
		return append(b, '}')
	case Handle:
		b = AppendString(append(b, `{"handle":`...), x.HandleID())
		return append(AppendString(append(b, `,"name":`...), x.HandleName()), '}')
	}
	return append(b, "null"...)
}

// AppendString writes a text as encoding/json does.
func AppendString(b []byte, s string) []byte {
	begin := len(b)
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~' || c == '<' || c == '>' || c == '&':
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(b[:begin], quoted...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// AppendNumber writes a finite number as encoding/json does.
func AppendNumber(b []byte, f float64) []byte {
	if abs := math.Abs(f); abs == 0 || abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); b[n-4] == 'e' && b[n-2] == '0' { // e-07 is e-7 there
		b = append(b[:n-2], b[n-1])
	}
	return b
}

// FromJSON reads what MarshalJSON wrote, given the type.
func FromJSON(data []byte, t *Type) (Value, error) {
	var x any
	if err := json.Unmarshal(data, &x); err != nil {
		return Value{}, err
	}
	return fromJSON(x, t), nil
}

func fromJSON(x any, t *Type) Value {
	if x == nil {
		return NoData("absent")
	}
	if f, ok := x.(float64); ok && t != nil && t.Kind == Duration {
		return Value{T: t, V: math.Round(f * 1e9)}
	}
	if l, ok := x.([]any); ok && t != nil && t.Kind == List {
		items := make([]Value, len(l))
		for i, e := range l {
			items[i] = fromJSON(e, t.ElemType())
		}
		return Value{T: t, V: items}
	}
	if m, ok := x.(map[string]any); ok && t != nil && (t.Kind == Struct || t.Kind == Map) {
		out := make(map[string]Value, len(m))
		for k, e := range m {
			ft := t.ElemType()
			if t.Kind == Struct {
				if ft, ok = t.Field(k); !ok {
					ft = TAny
				}
			}
			if e != nil {
				out[k] = fromJSON(e, ft)
			}
		}
		return Value{T: t, V: out}
	}
	return FromPlain(x, t)
}
