package prom

import (
	"context"
	"errors"
	"time"

	"chaos/lang/spec"
	"chaos/probes"
	"chaos/runtime/env"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

type queryArgs struct {
	Query string `chaos:"query,required,positional" help:"PromQL that gives a scalar or one series; best in backticks or single quotes, as it is full of double ones"`
	options
}

// Sample is one number.
type Sample struct {
	Value  float64           `chaos:"value,anyunit" help:"the number, which compares with any unit: seconds with durations, bytes with sizes, fractions with ratios"`
	Series map[string]string `chaos:"series" help:"the labels of the series, by name; empty for a scalar and after sum(…)"`
}

func query() probes.Probe {
	return probes.Define(spec.Call{
		Name: "prom.query",
		Summary: "Asks a Prometheus for one number. No series, several series, NaN, and samples older than a scrape interval and scrape timeout are no data. " +
			"What the server warns of is shown once.",
		Example: `probe errors = prom.query('sum(rate(http_requests_total{code=~"5.."}[1m]))', server: "http://127.0.0.1:9090") every 5s`,
	}, func(_ context.Context, e env.Env, in queryArgs) (probes.Take[Sample], error) {
		c, err := connect("prom.query", in.Query, e, in.options)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (Sample, error) { return sampling(ctx, c, c.number) }, nil
	})
}

// number looks at the ages first: the answer to that says which instant to ask about, so that both see the same samples.
func (c *client) number(ctx context.Context) (Sample, error) {
	seen, err := c.lookFirst(ctx)
	if err != nil {
		return Sample{}, err
	}
	v, err := c.ask(ctx, c.query, seen.at)
	if err != nil {
		return Sample{}, err
	}
	s := Sample{Series: map[string]string{}}
	switch v := v.(type) {
	case *model.Scalar:
		s.Value = float64(v.Value)
	case model.Vector:
		switch {
		case len(v) == 0:
			return s, c.empty(ctx)
		case len(v) > 1:
			all := make([]model.Metric, len(v))
			for i := range v {
				all[i] = v[i].Metric
			}
			return s, severalSeries(all)
		case v[0].Histogram != nil:
			return s, errHistogram
		}
		s.Value, s.Series = float64(v[0].Value), labels(v[0].Metric)
	case model.Matrix:
		return s, errors.New("the query gives a stretch of samples, not a number; put it into a function, as in rate(…) or max_over_time(…), or use prom.range")
	default:
		return s, c.strange()
	}
	if err := c.fresh(ctx, seen); err != nil {
		return s, err
	}
	return s, finite(s.Value)
}

var errHistogram = errors.New("the query gives a histogram, not a number; take one out of it, as with histogram_quantile(0.99, …)")

// lookFirst is look for the server's now. If the server cannot read the question, its words would be about that and not about
// the query, so the query goes alone, and if that is right, the ages are not known.
func (c *client) lookFirst(ctx context.Context) (readings, error) {
	seen, err := c.look(ctx, time.Time{})
	var answered *v1.Error
	if !errors.As(err, &answered) || answered.Type != v1.ErrBadData && answered.Type != v1.ErrExec {
		return seen, err
	}
	v, err := c.ask(ctx, "vector(time())", time.Time{})
	if err != nil {
		return seen, err
	}
	if vector, ok := v.(model.Vector); ok && len(vector) == 1 {
		seen.at = vector[0].Timestamp.Time()
	}
	if _, err := c.ask(ctx, c.query, seen.at); err != nil {
		return seen, err
	}
	c.warn("how old the samples are cannot be found out: " + answered.Msg)
	return seen, nil
}
