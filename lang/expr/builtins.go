package expr

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"chaos/lang/value"
)

// What the functions of expressions do with plain values; funcs.go says how they are called and typed.

func length(args []any) (any, error) {
	switch x := args[0].(type) {
	case string:
		return float64(utf8.RuneCountInString(x)), nil
	case map[string]any:
		return float64(len(x)), nil
	}
	l, err := items(args[0])
	if err != nil {
		return nil, noData(show(args[0]) + " has no length")
	}
	return float64(len(l)), nil
}

func abs(f float64) float64     { return math.Abs(f) }
func ceil(f float64) float64    { return math.Ceil(f) }
func floor(f float64) float64   { return math.Floor(f) }
func nearest(f float64) float64 { return math.Round(f) }

func round(f func(float64) float64) func([]any) (any, error) {
	return func(args []any) (any, error) {
		x, err := num(args[0])
		if err != nil {
			return nil, err
		}
		return finite(f(x))
	}
}

// reduce applies an aggregate to its arguments, or to the elements of the only one.
func reduce(f func([]float64) float64) func([]any) (any, error) {
	return func(args []any) (any, error) {
		if len(args) == 1 {
			if l, err := items(args[0]); err == nil {
				args = l
			}
		}
		if len(args) == 0 {
			return nil, noData("the list is empty")
		}
		fs := make([]float64, len(args))
		for i, a := range args {
			x, err := num(a)
			if err != nil {
				return nil, err
			}
			fs[i] = x
		}
		return finite(f(fs))
	}
}

func least(fs []float64) float64    { return slices.Min(fs) }
func greatest(fs []float64) float64 { return slices.Max(fs) }

func mean(fs []float64) float64 {
	sum := 0.0
	for _, f := range fs {
		sum += f
	}
	return sum / float64(len(fs))
}

func median(fs []float64) float64 {
	slices.Sort(fs)
	n := len(fs)
	if n%2 == 1 {
		return fs[n/2]
	}
	return (fs[n/2-1] + fs[n/2]) / 2
}

func toFloat(args []any) (any, error) {
	if s, ok := args[0].(string); ok {
		v, err := value.ParseNumber(strings.TrimSpace(s))
		if err != nil || v.T.Kind != value.Number {
			return nil, noData(show(s) + " is no number")
		}
		return v.Float(), nil
	}
	f, err := num(args[0])
	return f, err
}

func toInt(args []any) (any, error) {
	f, err := toFloat(args)
	if err != nil {
		return nil, err
	}
	return math.Trunc(f.(float64)), nil
}

func text1[T any](f func(string) T) func([]any) (any, error) {
	return func(args []any) (any, error) {
		s, err := str(args[0])
		if err != nil {
			return nil, err
		}
		return f(s), nil
	}
}

func text2[T any](f func(string, string) T) func([]any) (any, error) {
	return func(args []any) (any, error) {
		s, t, err := both(str, args[0], args[1])
		if err != nil {
			return nil, err
		}
		return f(s, t), nil
	}
}

func trim(args []any) (any, error) {
	if len(args) == 1 {
		return text1(strings.TrimSpace)(args)
	}
	return text2(strings.Trim)(args)
}

func split(args []any) (any, error) {
	parts, err := text2(strings.Split)(args)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, s := range parts.([]string) {
		out = append(out, s)
	}
	if len(out) > maxItems {
		return nil, errListLong
	}
	return out, nil
}

func join2(args []any) (any, error) {
	l, err := items(args[0])
	if err != nil {
		return nil, err
	}
	sep := ""
	if len(args) == 2 {
		if sep, err = str(args[1]); err != nil {
			return nil, err
		}
	}
	total, parts := 0, make([]string, len(l))
	for i, e := range l {
		if parts[i], err = str(e); err != nil {
			return nil, err
		}
		if total += len(parts[i]) + len(sep); total > maxText {
			return nil, errTextLong
		}
	}
	return strings.Join(parts, sep), nil
}

func replace(args []any) (any, error) {
	var s [3]string
	for i := range s {
		var err error
		if s[i], err = str(args[i]); err != nil {
			return nil, err
		}
	}
	if strings.Count(s[0], s[1])*len(s[2])+len(s[0]) > maxText {
		return nil, errTextLong
	}
	return strings.ReplaceAll(s[0], s[1], s[2]), nil
}

func indexOf(args []any) (any, error) {
	return text2(func(s, t string) float64 {
		i := strings.Index(s, t)
		if i < 0 {
			return -1
		}
		return float64(utf8.RuneCountInString(s[:i]))
	})(args)
}

func sortedKeys(x any) ([]string, map[string]any, error) {
	m, ok := x.(map[string]any)
	if !ok {
		return nil, nil, noData(show(x) + " is no map")
	}
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names, m, nil
}

func keys(args []any) (any, error) {
	names, _, err := sortedKeys(args[0])
	out := make([]any, len(names))
	for i, k := range names {
		out[i] = k
	}
	return out, err
}

func mapItems(args []any) (any, error) {
	names, m, err := sortedKeys(args[0])
	out := make([]any, len(names))
	for i, k := range names {
		out[i] = m[k]
	}
	return out, err
}

func pick(i int) func([]any) (any, error) {
	return func(args []any) (any, error) {
		l, err := items(args[0])
		if err == nil && len(l) == 0 {
			err = noData("the list is empty")
		}
		if err != nil {
			return nil, err
		}
		return get(l, float64(i))
	}
}

func take(args []any) (any, error) { return cut(args[0], nil, args[1]) }

func reverse(args []any) (any, error) {
	l, err := items(args[0])
	out := slices.Clone(l)
	slices.Reverse(out)
	return out, err
}

func sortList(args []any) (any, error) {
	l, err := items(args[0])
	out := slices.Clone(l)
	slices.SortStableFunc(out, func(x, y any) int {
		n, e := compare(x, y)
		if e != nil {
			err = e
		}
		return n
	})
	return out, err
}

func uniq(args []any) (any, error) {
	l, err := items(args[0])
	out := []any{}
	for i, e := range l {
		if i > 10_000 { // every element is compared with every other
			return nil, errListLong
		}
		if !slices.ContainsFunc(out, func(x any) bool { return equal(x, e) }) {
			out = append(out, e)
		}
	}
	return out, err
}

func concat(args []any) (any, error) {
	out := []any{}
	for _, a := range args {
		l, err := items(a)
		if err != nil {
			return nil, err
		}
		if out = append(out, l...); len(out) > maxItems {
			return nil, errListLong
		}
	}
	return out, nil
}

func flatten(args []any) (any, error) {
	l, err := items(args[0])
	out := []any{}
	for _, e := range l {
		if inner, err := items(e); err == nil {
			out = append(out, inner...)
		} else {
			out = append(out, e)
		}
		if len(out) > maxItems {
			return nil, errListLong
		}
	}
	return out, err
}

func fromJSON(args []any) (any, error) {
	s, err := str(args[0])
	if err != nil {
		return nil, err
	}
	var x any
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	if err := d.Decode(&x); err != nil || d.More() {
		return nil, noData(show(s) + " is no JSON")
	}
	return x, nil
}
