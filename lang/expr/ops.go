package expr

import (
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

// both reads two values of one type; what is wrong with the first is said first.
func both[T any](read func(any) (T, error), x, y any) (a, b T, err error) {
	if a, err = read(x); err == nil {
		b, err = read(y)
	}
	return a, b, err
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
		s, t, err := both(str, x, y)
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
	f, g, err := both(num, x, y)
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
	f, g, err := both(num, x, y)
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
	f, g, err := both(num, x, y)
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

// printed puts the parts of a string with holes together: strings as they are, other values as they print.
func printed(parts []value.Value) value.Value {
	var b strings.Builder
	for _, v := range parts {
		if absent(v) {
			v.T = value.TString
			return v
		}
		b.WriteString(v.InText())
		if b.Len() > maxText {
			return value.NoData("%s", errTextLong)
		}
	}
	return value.StringOf(b.String())
}
