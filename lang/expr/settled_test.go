package expr

import (
	"testing"

	"chaos/lang/value"
)

func TestSettled(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // the parts that are settled, each with its truth
	}{
		{"home.status == 200", ""},
		{"true", "true=T"},
		{"home.ok or 1 < 2", "1 < 2=T"},
		{"not (2 < 1) and home.ok", "2 < 1=F"},
		{"home.status == home.status", "home.status == home.status=T"},
		{"home.status < home.status", "home.status < home.status=F"},
		{"home.latency >= 0", "home.latency >= 0=T"},
		{"0s <= home.latency", "0s <= home.latency=T"},
		{"home.latency > 0s", ""},
		{"home.latency < 0", "home.latency < 0=F"},
		{"load.error_ratio >= 0%", "load.error_ratio >= 0%=T"},
		{"load.error_ratio > 100%", "load.error_ratio > 100%=F"},
		{"load.error_ratio <= 1", "load.error_ratio <= 1=T"},
		{"load.error_ratio < 1", ""},
		{"load.errors >= 0", "load.errors >= 0=T"},
		{"n >= 0", ""},                 // a parameter may be negative
		{"d >= 0", ""},                 // so may this
		{"p95.value >= 0", ""},         // and whatever Prometheus says
		{"home.latency - d >= 0s", ""}, // and a difference
		{"home.json.n >= 0", ""},
		{"len(home.body) >= 0", "len(home.body) >= 0=T"},
		{"all(ns, # > 0)", ""},
	} {
		e, ds := newWorld().compile(c.text, value.TBool)
		if len(ds) > 0 {
			t.Fatalf("%s: %v", c.text, ds)
		}
		got := ""
		for _, s := range e.Settled() {
			if got != "" {
				got += " "
			}
			got += e.src.Slice(s.At) + map[bool]string{true: "=T", false: "=F"}[s.True]
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}
