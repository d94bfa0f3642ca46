package expr

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"chaos/lang/value"
)

// noData is why an operation has no result. The engine hands it back as the cause of its own error.
type noData string

func (e noData) Error() string { return string(e) }

const (
	maxText  = 16 << 20 // bytes of a string that an expression may build
	maxItems = 100_000  // elements of a list that an expression may build
	maxTicks = 1_000_000
)

const (
	errTextLong = noData("the text would be too long")
	errListLong = noData("the list would be too long")
	errTicks    = noData("the lists are too long to look at every element")
)

// show names a plain value in a reason.
func show(x any) string { return value.FromPlain(x, nil).Short() }

func num(x any) (float64, error) {
	switch x := x.(type) {
	case float64:
		return x, nil
	case int:
		return float64(x), nil
	case nil:
		return 0, noData("nil is no number")
	}
	return 0, noData(show(x) + " is no number")
}

func str(x any) (string, error) {
	if s, ok := x.(string); ok {
		return s, nil
	}
	return "", noData(show(x) + " is no string")
}

func truth(x any) (any, error) {
	if b, ok := x.(bool); ok {
		return b, nil
	}
	return nil, noData(show(x) + " is neither true nor false")
}

// items is a list as []any; ranges of the engine are []int.
func items(x any) ([]any, error) {
	switch x := x.(type) {
	case []any:
		return x, nil
	case []int:
		out := make([]any, len(x))
		for i, n := range x {
			out[i] = float64(n)
		}
		return out, nil
	}
	return nil, noData(show(x) + " is no list")
}

// finite turns what is no finite number into no data.
func finite(f float64) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, noData("the value is not a finite number")
	}
	return f, nil
}

// operate does an operator on two plain values of any kinds.
func operate(op string, x, y any) (any, error) {
	switch op {
	case "==":
		return equal(x, y), nil
	case "!=":
		return !equal(x, y), nil
	case "in":
		return isIn(x, y)
	case "..":
		return span(x, y)
	case "<", "<=", ">", ">=":
		n, err := compare(x, y)
		return map[string]bool{"<": n < 0, "<=": n <= 0, ">": n > 0, ">=": n >= 0}[op], err
	case "contains", "startsWith", "endsWith", "matches":
		s, err := str(x)
		if err != nil {
			return nil, err
		}
		t, err := str(y)
		if err != nil {
			return nil, err
		}
		switch op {
		case "contains":
			return strings.Contains(s, t), nil
		case "startsWith":
			return strings.HasPrefix(s, t), nil
		case "endsWith":
			return strings.HasSuffix(s, t), nil
		}
		re, err := regexp.Compile(t)
		if err != nil {
			return nil, noData(show(t) + " is no regular expression")
		}
		return re.MatchString(s), nil
	}
	if s, ok := x.(string); ok && op == "+" {
		t, err := str(y)
		if err == nil && len(s)+len(t) > maxText {
			err = errTextLong
		}
		return s + t, err
	}
	f, err := num(x)
	if err != nil {
		return nil, err
	}
	g, err := num(y)
	if err != nil {
		return nil, err
	}
	switch op {
	case "+":
		return finite(f + g)
	case "-":
		return finite(f - g)
	case "*":
		return finite(f * g)
	case "/", "%":
		if g == 0 {
			return nil, noData("division by zero")
		}
		if op == "%" {
			return finite(math.Mod(f, g))
		}
		return finite(f / g)
	}
	return finite(math.Pow(f, g))
}

func equal(x, y any) bool {
	switch x := x.(type) {
	case value.Handle:
		h, ok := y.(value.Handle)
		return ok && x.HandleID() == h.HandleID()
	case map[string]any:
		m, ok := y.(map[string]any)
		if !ok || len(m) != len(x) {
			return false
		}
		for k, e := range x {
			if f, ok := m[k]; !ok || !equal(e, f) {
				return false
			}
		}
		return true
	}
	if l, err := items(x); err == nil {
		m, err := items(y)
		return err == nil && slices.EqualFunc(l, m, equal)
	}
	if f, err := num(x); err == nil {
		g, err := num(y)
		return err == nil && f == g
	}
	return reflect.TypeOf(x) == reflect.TypeOf(y) && reflect.DeepEqual(x, y)
}

func compare(x, y any) (int, error) {
	if s, ok := x.(string); ok {
		t, err := str(y)
		return strings.Compare(s, t), err
	}
	f, err := num(x)
	if err != nil {
		return 0, err
	}
	g, err := num(y)
	switch {
	case err != nil:
		return 0, err
	case f < g:
		return -1, nil
	case f > g:
		return 1, nil
	}
	return 0, nil
}

func isIn(x, y any) (any, error) {
	if m, ok := y.(map[string]any); ok {
		s, err := str(x)
		if err != nil {
			return nil, err
		}
		v, ok := m[s]
		return ok && v != nil, nil
	}
	l, err := items(y)
	if err != nil {
		return nil, err
	}
	return slices.ContainsFunc(l, func(e any) bool { return equal(e, x) }), nil
}

func span(x, y any) (any, error) {
	f, err := num(x)
	if err != nil {
		return nil, err
	}
	g, err := num(y)
	if err != nil {
		return nil, err
	}
	f, g = math.Trunc(f), math.Trunc(g)
	if g-f >= maxItems {
		return nil, errListLong
	}
	out := []any{}
	for i := 0.0; f+i <= g; i++ {
		out = append(out, f+i)
	}
	return out, nil
}

// get is a field or an element of a plain value.
func get(x, key any) (any, error) {
	switch x := x.(type) {
	case map[string]any:
		k, err := str(key)
		if err != nil {
			return nil, err
		}
		if v, ok := x[k]; ok && v != nil {
			return v, nil
		}
		return nil, noData("there is no `" + k + "`")
	case value.Handle:
		k, err := str(key)
		if err != nil {
			return nil, err
		}
		v := x.HandleField(k)
		if v.IsMissing() {
			return nil, noData(v.Why())
		}
		return v.Plain(), nil
	case string:
		i, err := index(key)
		if err != nil {
			return nil, err
		}
		return char(x, i)
	case nil:
		return nil, noData("nil has no " + show(key))
	}
	l, err := items(x)
	if err != nil {
		return nil, noData(show(x) + " has no " + show(key))
	}
	i, err := index(key)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		i += len(l)
	}
	if i < 0 || i >= len(l) {
		return nil, noData("there is no element " + show(key) + ": the list has " + strconv.Itoa(len(l)))
	}
	if l[i] == nil {
		return nil, noData("element " + show(key) + " has no value")
	}
	return l[i], nil
}

func index(x any) (int, error) {
	f, err := num(x)
	if err == nil && (f != math.Trunc(f) || math.Abs(f) > 1e15) {
		err = noData(show(x) + " is no position")
	}
	return int(f), err
}

// char is one character of a string, counted from the end where the index is negative.
func char(s string, i int) (string, error) {
	n := utf8.RuneCountInString(s)
	at := i
	if at < 0 {
		at += n
	}
	if at < 0 || at >= n {
		return "", noData("there is no character " + strconv.Itoa(i) + ": the string has " + strconv.Itoa(n))
	}
	return string([]rune(s)[at]), nil
}

// cut is `x[from:to]`; what lies outside is cut off.
func cut(x, from, to any) (any, error) {
	bounds := func(n int) (int, int, error) {
		ends := [2]int{0, n}
		for i, b := range []any{from, to} {
			if b == nil {
				continue
			}
			at, err := index(b)
			if err != nil {
				return 0, 0, err
			}
			if at < 0 {
				at += n
			}
			ends[i] = min(max(at, 0), n)
		}
		return ends[0], max(ends[0], ends[1]), nil
	}
	if s, ok := x.(string); ok {
		r := []rune(s)
		i, j, err := bounds(len(r))
		return string(r[i:j]), err
	}
	l, err := items(x)
	if err != nil {
		return nil, err
	}
	i, j, err := bounds(len(l))
	return l[i:j:j], err
}

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
		s, err := str(args[0])
		if err != nil {
			return nil, err
		}
		t, err := str(args[1])
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

// printed puts the parts of a string with holes together: strings as they are, other values as they print.
func printed(parts []value.Value) value.Value {
	var b strings.Builder
	for _, v := range parts {
		if absent(v) {
			v.T = value.TString
			return v
		}
		if s, ok := v.V.(string); ok {
			b.WriteString(s)
		} else {
			b.WriteString(v.String())
		}
		if b.Len() > maxText {
			return value.NoData("%s", errTextLong)
		}
	}
	return value.StringOf(b.String())
}
