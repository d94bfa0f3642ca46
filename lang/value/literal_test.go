package value

import (
	"math"
	"testing"
)

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		in   string
		kind Kind
		want float64
	}{
		{"10", Number, 10}, {"2.5", Number, 2.5}, {"1_000", Number, 1000}, {"1e3", Number, 1000}, {"-3", Number, -3},
		{"100ms", Duration, 100e6}, {"1m30s", Duration, 90e9}, {"1.5s", Duration, 1.5e9}, {"3µs", Duration, 3e3}, {"3μs", Duration, 3e3}, {"1d", Duration, 86400e9},
		{"20%", Ratio, 0.2}, {"0.1%", Ratio, 0.001}, {"0.5%", Ratio, 0.005},
		{"200/s", Rate, 200}, {"30/m", Rate, 0.5}, {"10MiB", Size, 10 << 20}, {"1.5kB", Size, 1500},
		{"8Mbit/s", Bandwidth, 1e6}, {"200MB/s", Bandwidth, 200e6}, {"1KiB/s", Bandwidth, 1024},
	} {
		v, err := ParseNumber(c.in)
		if err != nil || v.T.Kind != c.kind || v.Float() != c.want {
			t.Errorf("ParseNumber(%q) = %v %s, %v; want %v %s", c.in, v.Float(), v.T, err, c.want, c.kind)
		}
	}
	for _, in := range []string{"", "x", "10x", "1s1m", "1s1s", "1m30", "1%2%", "5q", "--1", "1__s0", "9e999", "1B1kB"} {
		if v, err := ParseNumber(in); err == nil {
			t.Errorf("ParseNumber(%q) = %v, want an error", in, v)
		}
	}
}

func TestPrintedValuesReadBack(t *testing.T) {
	for _, v := range []Value{
		NumberOf(0), NumberOf(1.25), NumberOf(-7), NumberOf(1e21), NumberOf(1e-9),
		RatioOf(0.07), RatioOf(1.0 / 3), RatioOf(0.005), RatioOf(1), RateOf(200), RateOf(0.5), RateOf(1.0 / 3600),
		SizeOf(1 << 20), SizeOf(1500), SizeOf(1), SizeOf(0.5), BandwidthOf(1e6), BandwidthOf(125), BandwidthOf(1 << 30),
		DurationOf(1), DurationOf(123456789), DurationOf(90e9), DurationOf(3600e9), DurationOf(100e6), DurationOf(90.5e9),
	} {
		s := v.String()
		back, err := ParseNumber(s)
		if err != nil || back.T.Kind != v.T.Kind || back.Float() != v.Float() {
			t.Errorf("%v %s prints as %q, which reads back as %v (%v)", v.Float(), v.T, s, back.Float(), err)
		}
	}
}

func FuzzNumbersReadBack(f *testing.F) {
	f.Add(0.1, uint8(0))
	f.Add(1e9, uint8(2))
	kinds := []Kind{Number, Ratio, Duration, Size, Rate, Bandwidth}
	f.Fuzz(func(t *testing.T, x float64, k uint8) {
		if math.IsNaN(x) || math.IsInf(x, 0) || math.Abs(x) > 1e18 || math.Abs(x) < 1e-9 {
			return
		}
		kind := kinds[int(k)%len(kinds)]
		if kind == Duration {
			x = math.Round(x)
		}
		v := Value{T: Of(kind), V: x}
		back, err := ParseNumber(v.String())
		if err != nil || back.T.Kind != kind {
			t.Fatalf("%v %s prints as %q: %v", x, kind, v.String(), err)
		}
		if diff := math.Abs(back.Float() - x); diff > math.Abs(x)*1e-15 {
			t.Fatalf("%v %s prints as %q, which is %v", x, kind, v.String(), back.Float())
		}
	})
}

func TestShortIsForEyes(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{DurationOf(183248123), "183ms"}, {DurationOf(41e6), "41ms"}, {DurationOf(500e6), "500ms"}, {DurationOf(3593542), "3.59ms"}, {DurationOf(1234567890), "1.23s"}, {RatioOf(0.123456), "12.3%"},
		{NumberOf(123456.7), "123457"}, {NumberOf(0.0012345), "0.00123"}, {DurationOf(119.648e9), "2m"}, {DurationOf(0), "0s"},
		{SizeOf(1010 << 20), "1010MiB"}, {SizeOf(1010 << 30), "1010GiB"}, {SizeOf(1059142345), "1010MiB"}, {SizeOf(1000 << 10), "1000KiB"}, {SizeOf(1023.2 * (1 << 10)), "1023KiB"},
		{SizeOf(1e9), "1GB"}, {SizeOf(1023.6 * (1 << 20)), "1GiB"}, {BandwidthOf(521236000.5), "497MiB/s"}, {BandwidthOf(250e3), "2Mbit/s"}, {BandwidthOf(50 << 20), "50MiB/s"}, {SizeOf(1.601e9), "1.49GiB"}, {SizeOf(5e6), "5MB"}, {SizeOf(1000), "1kB"}, {SizeOf(-1010 << 20), "-1010MiB"},
	} {
		if got := c.v.Short(); got != c.want {
			t.Errorf("Short(%s) = %s, want %s", c.v, got, c.want)
		}
	}
}
