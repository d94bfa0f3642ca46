package spec

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
)

type limited struct {
	Timeout time.Duration `chaos:"timeout" default:"5s" range:">0s"`
	Port    *int          `chaos:"port" range:">=1 <=65535"`
	Nice    int           `chaos:"nice" range:">=-20 <=19"`
	Load    value.RatioV  `chaos:"load" default:"100%" range:">0% <=100%"`
	Allow   []int         `chaos:"allow" default:"[0]" range:">=0"`
	Signal  string        `chaos:"signal" default:"TERM" enum:"TERM KILL"`
	Match   string        `chaos:"match,filled" default:"x"`
	Line    string        `chaos:"line,regexp"`
	Free    string        `chaos:"free"`
}

// What the checker says of a constant and what a plan says of a computed value come from one place.
func TestLimitsAreHeldByTheSpecAndByDecoding(t *testing.T) {
	params := map[string]Param{}
	for _, p := range ParamsOf(reflect.TypeFor[limited]()) {
		params[p.Name] = p
	}
	list := func(f ...float64) value.Value {
		var items []value.Value
		for _, x := range f {
			items = append(items, value.NumberOf(x))
		}
		return value.ListValue(value.TNumber, items...)
	}
	for _, c := range []struct {
		name string
		v    value.Value
		want string // a part of the message; "" where it fits
	}{
		{"timeout", value.DurationOf(time.Second), ""},
		{"timeout", value.DurationOf(0), "must be more than 0s"},
		{"timeout", value.DurationOf(-time.Second), "must be more than 0s"},
		{"port", value.NumberOf(1), ""},
		{"port", value.NumberOf(65535), ""},
		{"port", value.NumberOf(0), "must be a whole number from 1 to 65535"},
		{"port", value.NumberOf(80.5), "must be a whole number from 1 to 65535"},
		{"nice", value.NumberOf(-20), ""},
		{"nice", value.NumberOf(-21), "must be a whole number from -20 to 19"},
		{"load", value.RatioOf(1), ""},
		{"load", value.RatioOf(0), "must be more than 0% and at most 100%"},
		{"load", value.RatioOf(1.01), "must be more than 0% and at most 100%"},
		{"allow", list(0, 255), ""},
		{"allow", list(0, -1), "must be a whole number, at least 0"},
		{"signal", value.StringOf("KILL"), ""},
		{"signal", value.StringOf("KILLL"), `did you mean "KILL"?`},
		{"signal", value.StringOf("FREEZE"), `must be one of "TERM", "KILL"`},
		{"match", value.StringOf(" "), "must not be empty"},
		{"line", value.StringOf("a+"), ""},
		{"line", value.StringOf("["), "must be a regular expression"},
		{"free", value.StringOf(""), ""},
	} {
		var in limited
		for what, err := range map[string]error{"Judge": params[c.name].Judge(c.v), "Decode": Decode(map[string]value.Value{c.name: c.v}, &in)} {
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s of %s = %s: %v", what, c.name, c.v, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s of %s = %s: %v, want %q", what, c.name, c.v, err, c.want)
			}
		}
	}
}

func TestNumbersThatAreMeasuredAreNotLimited(t *testing.T) {
	type plain struct {
		N float64       `chaos:"n"`
		D time.Duration `chaos:"d"`
	}
	for _, p := range ParamsOf(reflect.TypeFor[plain]()) {
		if p.Limits.String() != "" {
			t.Errorf("%s: %s", p.Name, p.Limits)
		}
	}
}

func TestAMalformedRangeIsFoundAtRegistration(t *testing.T) {
	type bad struct {
		N int `chaos:"n" range:"1..5"`
	}
	defer func() {
		if recover() == nil {
			t.Error("the range 1..5 was taken")
		}
	}()
	ParamsOf(reflect.TypeFor[bad]())
}
