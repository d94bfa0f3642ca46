package value

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// unit is one suffix of a number literal: the value is mantissa × mul × 10^exp in the kind's base unit.
type unit struct {
	suffix string
	kind   Kind
	mul    float64
	exp    int // decimal exponent kept apart, so that 0.1% is exactly the float nearest to 0.001
}

// units in the order in which a suffix is looked up and in which a value is printed (largest first within a kind).
var units = func() []unit {
	u := []unit{
		{"d", Duration, 24 * 3600e9, 0}, {"h", Duration, 3600e9, 0}, {"m", Duration, 60e9, 0}, {"s", Duration, 1, 9},
		{"ms", Duration, 1, 6}, {"us", Duration, 1, 3}, {"µs", Duration, 1, 3}, {"μs", Duration, 1, 3}, {"ns", Duration, 1, 0},
		{"%", Ratio, 1, -2},
		{"/s", Rate, 1, 0}, {"/m", Rate, 1.0 / 60, 0}, {"/h", Rate, 1.0 / 3600, 0},
		{"Gbit/s", Bandwidth, 0.125, 9}, {"Mbit/s", Bandwidth, 0.125, 6}, {"kbit/s", Bandwidth, 0.125, 3}, {"bit/s", Bandwidth, 0.125, 0},
	}
	sizes := []unit{
		{"TiB", Size, 1 << 40, 0}, {"TB", Size, 1, 12}, {"GiB", Size, 1 << 30, 0}, {"GB", Size, 1, 9},
		{"MiB", Size, 1 << 20, 0}, {"MB", Size, 1, 6}, {"KiB", Size, 1 << 10, 0}, {"kB", Size, 1, 3}, {"B", Size, 1, 0},
	}
	for _, s := range sizes {
		u = append(u, s, unit{s.suffix + "/s", Bandwidth, s.mul, s.exp})
	}
	return u
}()

// Suffixes lists every unit suffix, for hints.
func Suffixes() []string {
	out := make([]string, len(units))
	for i, u := range units {
		out[i] = u.suffix
	}
	return out
}

func findUnit(suffix string) (unit, bool) {
	for _, u := range units {
		if u.suffix == suffix {
			return u, true
		}
	}
	return unit{}, false
}

// mantissaEnd is the length of the leading decimal number of s: digits with `_` between them, a fraction, an exponent.
func mantissaEnd(s string) int {
	i := 0
	digits := func() bool {
		start := i
		for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '_' && i > start) {
			i++
		}
		return i > start
	}
	if !digits() {
		return 0
	}
	if i+1 < len(s) && s[i] == '.' && s[i+1] >= '0' && s[i+1] <= '9' {
		i++
		digits()
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if i >= len(s) || !digits() {
			i = j
		}
	}
	return i
}

// ParseNumber reads a whole numeric literal: `10`, `2.5`, `1_000`, `1e3`, `200ms`, `1m30s`, `20%`, `10MiB`, `200/s`.
// A leading minus is allowed, for parameters and JSON.
func ParseNumber(text string) (Value, error) {
	s, sign := text, 1.0
	if strings.HasPrefix(s, "-") {
		s, sign = s[1:], -1
	}
	total, kind, last := 0.0, Number, math.Inf(1)
	for first := true; ; first = false {
		n := mantissaEnd(s)
		if n == 0 {
			return Value{}, fmt.Errorf("`%s` is no number", text)
		}
		digits := strings.ReplaceAll(s[:n], "_", "")
		s = s[n:]
		end := strings.IndexFunc(s, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(s)
		}
		suffix := s[:end]
		s = s[end:]
		if suffix == "" {
			f, err := strconv.ParseFloat(digits, 64)
			if first && errors.Is(err, strconv.ErrRange) {
				return Value{}, fmt.Errorf("`%s` is out of range", text)
			}
			if err != nil || !first {
				return Value{}, fmt.Errorf("`%s` is no number", text)
			}
			return NumberOf(sign * f), nil
		}
		u, ok := findUnit(suffix)
		if !ok {
			return Value{}, fmt.Errorf("`%s` is no unit", suffix)
		}
		if !first && (u.kind != Duration || kind != Duration) {
			return Value{}, fmt.Errorf("only durations can be written in parts, as in `1m30s`")
		}
		scale := u.mul * math.Pow10(u.exp)
		if !first && scale >= last {
			return Value{}, fmt.Errorf("the parts of `%s` must go from the larger unit to the smaller", text)
		}
		last, kind = scale, u.kind
		f, err := scaled(digits, u)
		if err != nil || math.IsInf(f, 0) {
			return Value{}, fmt.Errorf("`%s` is out of range", text)
		}
		if u.kind == Duration {
			f = math.Round(f) // whole nanoseconds
		}
		total += f
		if kind == Duration && total >= math.MaxInt64 {
			return Value{}, fmt.Errorf("`%s` is out of range: no duration is longer than 292 years", text)
		}
		if s == "" {
			return Value{T: Of(kind), V: sign * total}, nil
		}
	}
}

// scaled multiplies decimal digits by a unit, through a decimal exponent where it can, so that rounding happens once.
func scaled(digits string, u unit) (float64, error) {
	if u.exp != 0 {
		mant, exp := digits, 0
		if i := strings.IndexAny(digits, "eE"); i >= 0 {
			e, err := strconv.Atoi(digits[i+1:])
			if err != nil {
				return 0, err
			}
			mant, exp = digits[:i], e
		}
		f, err := strconv.ParseFloat(mant+"e"+strconv.Itoa(exp+u.exp), 64)
		return f * u.mul, err
	}
	f, err := strconv.ParseFloat(digits, 64)
	return f * u.mul, err
}

// String is the shortest literal that reads back as the same value.
func (v Value) String() string {
	if v.Unknown {
		return "known after setup"
	}
	if v.IsMissing() {
		return "no data (" + v.Why() + ")"
	}
	switch x := v.V.(type) {
	case nil:
		return "nil"
	case bool:
		return strconv.FormatBool(x)
	case string:
		return Quote(x)
	case float64:
		return formatNumber(x, v.T.Kind)
	case []Value:
		parts := make([]string, len(x))
		for i, e := range x {
			parts[i] = e.String()
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]Value:
		return formatMap(v, Value.String)
	case Handle:
		return x.HandleName()
	}
	return "?"
}

// InText is how a value stands in a string with holes: a string as it is, anything else as the literal that reads back. A
// quantity of more digits than anybody writes was measured, and has three: 497MiB/s, not 497.0894570129109MiB/s.
func (v Value) InText() string {
	const written = 6
	switch x := v.V.(type) {
	case string:
		return x
	case float64:
		if v.T.Kind != Number && significant(v.String()) > written {
			return v.Short()
		}
	}
	return v.String()
}

// Short is for eyes: three significant digits, long strings cut.
func (v Value) Short() string {
	if v.Unknown || v.IsMissing() {
		return v.String()
	}
	switch x := v.V.(type) {
	case float64:
		if v.T.Kind == Size || v.T.Kind == Bandwidth {
			return shortBytes(x, v.T.Kind)
		}
		x = round3(x, v.T.Kind)
		return formatNumber(x, v.T.Kind)
	case string:
		const most = 60
		r := []rune(x)
		if len(r) > most {
			return Quote(string(r[:most])) + "…"
		}
	case []Value:
		parts := make([]string, 0, len(x))
		for i, e := range x {
			if i == 5 {
				parts = append(parts, fmt.Sprintf("… %d more", len(x)-5))
				break
			}
			parts = append(parts, e.Short())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]Value:
		return formatMap(v, Value.Short)
	}
	return v.String()
}

func formatMap(v Value, one func(Value) string) string {
	m := v.V.(map[string]Value)
	var keys []string
	if v.T != nil && v.T.Kind == Struct {
		for _, f := range v.T.Fields {
			if _, ok := m[f.Name]; ok {
				keys = append(keys, f.Name)
			}
		}
	} else {
		keys = sortedKeys(m)
	}
	parts := make([]string, len(keys))
	for i, k := range keys {
		name := k
		if !isName(k) {
			name = Quote(k)
		}
		parts[i] = name + ": " + one(m[k])
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// round3 keeps three significant digits in the unit in which the number is printed: 119.648s stays 2m (120s), not 1m59.6s.
func round3(f float64, k Kind) float64 {
	if f == 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return f
	}
	if k == Number && math.Abs(f) >= 1000 {
		return math.Round(f)
	}
	if k == Duration && math.Abs(f) >= float64(100*time.Second) {
		return math.Round(f/1e9) * 1e9
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(f))))
	if digits < 0 {
		p := math.Pow10(-digits)
		return math.Round(f/p) * p
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
	return r
}

// shortBytes is a size or a bandwidth in three digits: as somebody wrote it (5MB, 2Mbit/s), else in powers of 1024.
func shortBytes(f float64, k Kind) string {
	if exact := formatNumber(f, k); significant(exact) <= 3 {
		return exact
	}
	unit := ""
	for _, u := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if math.Abs(f) < 1023.5 { // more would be rounded to 1024
			break
		}
		f, unit = f/1024, u
	}
	return trimFloat(round3(f, Number)) + unit + map[Kind]string{Size: "B", Bandwidth: "B/s"}[k]
}

// significant counts the digits of a number without the zeros at both ends.
func significant(s string) int {
	return len(strings.Trim(strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s), "0"))
}

// formatNumber picks, among all units of the kind, a spelling that reads back exactly: with a mantissa from 1 up to 1000
// where there is one (300ms, not 0.3s), and the shortest of those.
func formatNumber(f float64, k Kind) string {
	if k == Number {
		return trimFloat(f)
	}
	if f == 0 {
		return map[Kind]string{Duration: "0s", Ratio: "0%", Size: "0B", Rate: "0/s", Bandwidth: "0B/s"}[k]
	}
	if f < 0 {
		return "-" + formatNumber(-f, k)
	}
	if k == Duration {
		if d := f; d >= 60e9 && d == math.Trunc(d) && d < math.MaxInt64 {
			return compound(time.Duration(d))
		}
	}
	best, bestRank := "", 0
	for _, u := range units {
		if u.kind != k || u.suffix == "μs" || u.suffix == "us" || (k == Duration && u.mul != 1) {
			continue
		}
		m := f / u.mul
		if u.exp != 0 {
			m = shiftDecimal(m, -u.exp)
		}
		s := trimFloat(m) + u.suffix
		back, err := ParseNumber(s)
		if err != nil || back.Float() != f {
			continue
		}
		rank := utf8.RuneCountInString(s)
		if m < 1 || m >= 1000 {
			rank += 100
		}
		if best == "" || rank < bestRank {
			best, bestRank = s, rank
		}
	}
	if best == "" { // no spelling is exact: the base unit is the most honest
		base := map[Kind]string{Duration: "ns", Ratio: "%", Size: "B", Rate: "/s", Bandwidth: "B/s"}[k]
		if k == Ratio {
			f *= 100
		}
		return trimFloat(f) + base
	}
	return best
}

// shiftDecimal multiplies by a power of ten through the decimal digits, so that 0.07 becomes exactly 7 and not 7.000000000000001.
func shiftDecimal(f float64, exp int) float64 {
	s := strconv.FormatFloat(f, 'e', -1, 64)
	i := strings.IndexByte(s, 'e')
	e, _ := strconv.Atoi(s[i+1:])
	r, _ := strconv.ParseFloat(s[:i]+"e"+strconv.Itoa(e+exp), 64)
	return r
}

func trimFloat(f float64) string {
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if len(plain) > 17 {
		if e := strconv.FormatFloat(f, 'e', -1, 64); len(e) < len(plain) {
			return strings.Replace(e, "e+", "e", 1)
		}
	}
	return plain
}

// compound writes a duration of a minute and more in parts: 1m30s.
func compound(d time.Duration) string {
	var b strings.Builder
	for _, p := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := d / p.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, p.name)
			d -= n * p.size
		}
	}
	if d > 0 {
		b.WriteString(formatNumber(float64(d), Duration))
	}
	return b.String()
}

// Quote writes a string literal of the language.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '$' && strings.HasPrefix(s[i:], "${"):
			b.WriteString("$$")
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func isName(s string) bool {
	for i, r := range s {
		if !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return s != ""
}
