package value

import (
	"encoding/json"
	"math"
	"testing"
	"testing/quick"
	"time"
)

type named struct{ Handle }

func (named) HandleID() string   { return "7" }
func (named) HandleName() string { return "a <name>" }

func TestNumbersAndTextsAreWrittenAsTheStandardLibraryDoes(t *testing.T) {
	same := func(got []byte, x any) bool {
		want, err := json.Marshal(x)
		if err != nil || string(got) != string(want) {
			t.Errorf("%v is written as %s, want %s", x, got, want)
			return false
		}
		return true
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e-6, 9.99e-7, 1e-7, 1.25e-10, 1e-100, 1e20, 1e21, -1e21, 1e100, math.MaxFloat64, math.SmallestNonzeroFloat64, 1.0 / 3} {
		same(AppendNumber(nil, f), f)
	}
	for _, s := range []string{"", "plain", "a \"quote\"", `back\slash`, "<&>", "line\nfeed", "\x00", "\x7f", "é", "\u2028", "bad\xff"} {
		same(AppendString([]byte("x"), s)[1:], s)
	}
	if err := quick.Check(func(f float64, s string) bool { return same(AppendNumber(nil, f), f) && same(AppendString(nil, s), s) }, nil); err != nil {
		t.Error(err)
	}
}

func TestAValueIsJSONInBaseUnits(t *testing.T) {
	v := StructValue(StructOf("x"), map[string]Value{
		"b": DurationOf(1500 * time.Millisecond), "a": ListValue(TAny, BoolOf(true), StringOf("<"), Null, NoData("why"), NumberOf(math.NaN())),
		"c": RatioOf(0.25), "d": SizeOf(4096), "e": HandleOf(named{}), "f": {T: TNumber, Unknown: true}, "g": ListValue(TAny), "h": {T: MapOf(TAny), V: map[string]Value{}},
	})
	const want = `{"a":[true,"\u003c",null,null,null],"b":1.5,"c":0.25,"d":4096,"e":{"handle":"7","name":"a \u003cname\u003e"},"f":null,"g":[],"h":{}}`
	if got, err := json.Marshal(v); err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}
