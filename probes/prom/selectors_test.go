package prom

import (
	"fmt"
	"strings"
	"testing"
)

func TestSelectorsAreFoundInAnyQuery(t *testing.T) {
	for query, want := range map[string]string{
		`up`:                     `up`,
		`1 + 2.5e3 - 0x1f * Inf`: ``,
		`sum(rate(http_requests_total{job="api",code=~"5.."}[1m]))`:  `http_requests_total{job="api",code=~"5.."}[1m]`,
		`sum by (job, instance) (a) / on (job) group_left (team) b`:  `a b`,
		`sum(a) by (job) + count without (code) (b)`:                 `a b`,
		`a and on() b unless ignoring(x) c or d`:                     `a b c d`,
		`a * on (x) group_left b`:                                    `a b`,
		`histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m])))`: `h_bucket[5m]`,
		`max_over_time(rate(a[1m])[10m:5s])`:                         `a[1m]`,
		`avg_over_time(a[10m : 5s])`:                                 `a[10m]`,
		`a offset 5m + b`:                                            `a! b`,
		`a @ 1609746000 + b @ end() + rate(c[5m] offset -1w)`:        `a! b! c[5m]!`,
		`{job="api"} + {"my.metric"} > bool 1`:                       `{job="api"} {"my.metric"}`,
		`job:errors:rate5m > 0.5 # errors{`:                          `job:errors:rate5m`,
		`a{x="}"} + b{x='\'}'} + c{x=` + "`\\`" + `}`:                `a{x="}"} b{x='\'}'} c{x=` + "`\\`" + `}`,
		"sum # a\n (b)": `b`,
		`label_replace(a, "x", "$1", "y", "(.*)")`: `a`,
		`topk(3, a) atan2 b`:                       `a b`,
		`SUM(a) BY (b)`:                            `a`,
		`up[5m:]`:                                  `up[5m]`,
		`time() - a`:                               `a`,
		`on{x="1"}`:                                `on{x="1"}`,
	} {
		found, err := selectors(query, whole)
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
		var got []string
		for _, s := range found {
			text := s.text
			if s.window != "" {
				text += "[" + s.window + "]"
			}
			if s.past {
				text += "!"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s reads %q, want %s", query, got, want)
		}
	}
}

func whole(text string) string { return text }

func TestWhatIsNeverClosedIsFoundWithoutAServer(t *testing.T) {
	for query, want := range map[string]string{
		`sum(rate(x[5m])`:      "`query`: nothing closes this: at \"(rate(x[5m])\", column 4",
		`sum(x))`:              "`query`: nothing is open that this closes: at \")\", column 7",
		`x{a="b"`:              "`query`: nothing closes this: at \"{a=\\\"b\\\"\", column 2",
		`x{a="b}`:              "`query`: this string never ends: at \"\\\"b}\", column 5",
		"x +\n rate(y[5m":      "`query`: nothing closes this: at \"[5m\", line 2, column 8",
		"sum by (a (b)\n + c{": "`query`: nothing closes this: at \"{\", line 2, column 5",
	} {
		if _, err := selectors(query, whole); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", query, err, want)
		}
	}
}

func FuzzSelectors(f *testing.F) {
	f.Add(`sum by (job) (rate(a{x="y"}[5m] offset 1m)) / on() group_left b > bool 0.5`)
	f.Add("a{`\\")
	f.Fuzz(func(t *testing.T, query string) {
		found, _ := selectors(query, whole)
		for _, s := range found {
			if !strings.Contains(query, s.text) || !strings.HasPrefix(s.text, s.name) {
				t.Errorf("%q reads %q, which it does not hold", query, s.text)
			}
		}
	})
}
