package value

import (
	"encoding/json"
	"math"
)

// MarshalJSON writes a value for people and programs: durations in seconds, sizes in bytes, ratios as fractions, absent
// as null. With the type at hand, FromJSON reads it back exactly.
func (v Value) MarshalJSON() ([]byte, error) { return json.Marshal(jsonable(v)) }

func jsonable(v Value) any {
	if v.IsMissing() || v.Unknown {
		return nil
	}
	switch x := v.V.(type) {
	case float64:
		if v.T.Kind == Duration {
			return x / 1e9
		}
		return x
	case []Value:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = jsonable(e)
		}
		return out
	case map[string]Value:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = jsonable(e)
		}
		return out
	case Handle:
		return map[string]any{"handle": x.HandleID(), "name": x.HandleName()}
	}
	return v.V
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
