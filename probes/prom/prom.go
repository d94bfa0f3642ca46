// Package prom asks a Prometheus, and what speaks its API: for one number now (`prom.query`) and for one number over a
// stretch of time (`prom.range`).
//
// What a judge must not be told is an old number. Prometheus answers with samples that are up to five minutes old, and a
// window of a query goes on answering for as long as it is wide after its target is gone. So each sample here also asks how
// old the data is, see fresh.go.
package prom

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/probes"

	"github.com/prometheus/common/model"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{query(), queryRange()} }

// options are the arguments that both probes share.
type options struct {
	Server   string        `chaos:"server" default:"http://127.0.0.1:9090" help:"the URL of the Prometheus, with its path prefix if it has one"`
	User     string        `chaos:"user" help:"the user for HTTP basic authentication"`
	Password string        `chaos:"password" help:"the password of user, best from secret()"`
	Bearer   string        `chaos:"bearer" help:"the token for bearer authentication, best from secret()"`
	CA       string        `chaos:"ca" help:"a PEM file with the certificates to trust instead of this machine's; a relative path starts at the script's folder"`
	Insecure bool          `chaos:"insecure" default:"false" help:"accept any TLS certificate"`
	MaxAge   time.Duration `chaos:"max_age" default:"0s" range:">=0s" help:"how old the samples may be that the number is made of; 0s: one scrape interval and scrape timeout of their target"`
	Timeout  time.Duration `chaos:"timeout" default:"5s" range:">0s" help:"how long the server may take to answer"`
}

// severalSeries names what tells the series of an answer apart, of which there should be one.
func severalSeries(list []model.Metric) error {
	values := map[string]map[string]bool{}
	for _, m := range list {
		for name := range m {
			values[string(name)] = map[string]bool{}
		}
	}
	for name := range values {
		for _, m := range list {
			values[name][string(m[model.LabelName(name)])] = true
		}
	}
	const most = 4 // of labels, and of values of each
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) < 2 {
			continue
		}
		shown := slices.Sorted(maps.Keys(values[name]))
		rest := ""
		if n := len(shown) - most; n > 0 {
			shown, rest = shown[:most], fmt.Sprintf(" and %d more", n)
		}
		for i := range shown {
			shown[i] = value.Quote(clip(shown[i], 60))
		}
		differ = append(differ, fmt.Sprintf("`%s` (%s%s)", name, strings.Join(shown, ", "), rest))
	}
	if n := len(differ) - most; n > 0 {
		differ = append(differ[:most], fmt.Sprintf("%d more labels", n))
	}
	return fmt.Errorf("the query gives %d series, which differ in %s; make them one, as with sum(…), or pick one by its labels", len(list), strings.Join(differ, ", "))
}

// finite tells of what no comparison could be made with: what a division by zero gives.
func finite(f float64) error {
	switch {
	case math.IsNaN(f):
		return fmt.Errorf("the query gives NaN: 0/0, or a quantile of nothing, as when there was no traffic")
	case math.IsInf(f, 0):
		return fmt.Errorf("the query gives %v: a division by zero", model.SampleValue(f))
	}
	return nil
}

func labels(m model.Metric) map[string]string {
	out := make(map[string]string, len(m))
	for name, v := range m {
		out[string(name)] = string(v)
	}
	return out
}
