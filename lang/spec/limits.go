package spec

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// Limits are what an argument may be, beyond its type. Of a list they hold for each item.
type Limits struct {
	Enum   []string // the allowed strings, nil for any
	Low    *Bound   // nil for none
	High   *Bound
	Whole  bool // a number without a fraction
	Filled bool // a string that may not be empty
	Regexp bool // a string that is a regular expression
}

// Bound is one end of a range.
type Bound struct {
	Text      string // a literal of the language
	At        float64
	Exclusive bool // the end itself is outside
}

// limitsOf reads the tags of a field: `enum:"A B"`, `range:">0s"` or `range:">=1 <=65535"`, and the option `filled`.
func limitsOf(f reflect.StructField, options []string) Limits {
	l := Limits{Filled: slices.Contains(options, "filled"), Regexp: slices.Contains(options, "regexp"), Whole: whole(f.Type)}
	if e := f.Tag.Get("enum"); e != "" {
		l.Enum = strings.Fields(e)
	}
	for _, part := range strings.Fields(f.Tag.Get("range")) {
		text := strings.TrimLeft(part, "<>=")
		v, err := value.ParseNumber(strings.TrimPrefix(text, "-"))
		if err != nil {
			panic(fmt.Sprintf("spec: the range of %s: %v", f.Name, err))
		}
		b := &Bound{Text: text, At: v.Float()}
		if strings.HasPrefix(text, "-") {
			b.At = -b.At
		}
		switch strings.TrimSuffix(part, text) {
		case ">":
			b.Exclusive = true
			fallthrough
		case ">=":
			l.Low = b
		case "<":
			b.Exclusive = true
			fallthrough
		case "<=":
			l.High = b
		default:
			panic(fmt.Sprintf("spec: the range of %s: %q needs one of > >= < <=", f.Name, part))
		}
	}
	return l
}

// whole tells a field that holds whole numbers.
func whole(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t != reflect.TypeFor[time.Duration]() && (t.Kind() == reflect.Int || t.Kind() == reflect.Int64)
}

// String says what is allowed, behind "must be": "a whole number from 1 to 65535"; "" where everything of the type is.
func (l Limits) String() string {
	if len(l.Enum) > 0 {
		quoted := make([]string, len(l.Enum))
		for i, s := range l.Enum {
			quoted[i] = value.Quote(s)
		}
		return "one of " + strings.Join(quoted, ", ")
	}
	var parts []string
	if l.Whole {
		parts = append(parts, "a whole number")
	}
	if l.Filled {
		parts = append(parts, "not empty")
	}
	if l.Regexp {
		parts = append(parts, "a regular expression")
	}
	if low, high := l.Low, l.High; low != nil && high != nil && !low.Exclusive && !high.Exclusive {
		within := "from " + low.Text + " to " + high.Text
		if l.Whole {
			return "a whole number " + within
		}
		parts = append(parts, within)
	} else {
		var ends []string
		if low != nil {
			ends = append(ends, map[bool]string{true: "more than ", false: "at least "}[low.Exclusive]+low.Text)
		}
		if high != nil {
			ends = append(ends, map[bool]string{true: "less than ", false: "at most "}[high.Exclusive]+high.Text)
		}
		if len(ends) > 0 {
			parts = append(parts, strings.Join(ends, " and "))
		}
	}
	return strings.Join(parts, ", ")
}

// Judge tells what is wrong with a value of the right type: "must be at least 1". No data is judged elsewhere.
func (l Limits) Judge(v value.Value) error {
	if v.IsMissing() || v.T == nil {
		return nil
	}
	switch {
	case v.T.Kind == value.List:
		for _, item := range v.Items() {
			if err := l.Judge(item); err != nil {
				return err
			}
		}
	case v.T.Kind == value.String:
		if l.Filled && strings.TrimSpace(v.Text()) == "" {
			return errors.New("must not be empty")
		}
		if l.Regexp {
			if _, err := regexp.Compile(v.Text()); err != nil {
				return fmt.Errorf("must be a regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
		}
		if l.Enum == nil || slices.Contains(l.Enum, v.Text()) {
			return nil
		}
		if near, ok := diag.Nearest(v.Text(), l.Enum); ok {
			return fmt.Errorf("is none of its values: did you mean %s?", value.Quote(near))
		}
		return fmt.Errorf("must be %s", l)
	case v.T.Numeric():
		f := v.Float()
		low := l.Low == nil || f > l.Low.At || f == l.Low.At && !l.Low.Exclusive
		high := l.High == nil || f < l.High.At || f == l.High.At && !l.High.Exclusive
		if !low || !high || l.Whole && f != math.Trunc(f) || math.IsInf(f, 0) {
			return fmt.Errorf("must be %s", l)
		}
	}
	return nil
}
