package prom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// maxPoints is what a Prometheus computes at most for one series.
const maxPoints = 11000

type rangeArgs struct {
	Query string        `chaos:"query,required,positional" help:"PromQL that gives a scalar or one series at each moment"`
	Over  time.Duration `chaos:"over" range:">0s" help:"how far back from now; without it since the phase began: before, during, after…"`
	Step  time.Duration `chaos:"step" range:">=1ms" help:"the time between two points; without it the shortest scrape interval of what the query reads"`
	options
}

// RangeSample is what became of one number over a stretch of time.
type RangeSample struct {
	Min    float64 `chaos:"min,anyunit" help:"the least of the points"`
	Max    float64 `chaos:"max,anyunit" help:"the greatest of the points"`
	Mean   float64 `chaos:"mean,anyunit" help:"the arithmetic mean of the points"`
	Last   float64 `chaos:"last,anyunit" help:"the latest point, which is now"`
	Points int     `chaos:"points" help:"how many points there are; moments without a series, or with NaN, are none"`
}

func queryRange() probes.Probe {
	return probes.Define(spec.Call{
		Name: "prom.range",
		Summary: "Asks a Prometheus how one number went over a stretch of time that ends now. What is no data for prom.query is no data here too, but for NaN in between: " +
			"only the last point must be a number. The first one may show a sample from one scrape interval before the stretch.",
		Example: `probe latency = prom.range('histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))', over: 5m) every 5s`,
	}, func(_ context.Context, e env.Env, in rangeArgs) (probes.Take[RangeSample], error) {
		c, err := connect("prom.range", in.Query, e, in.options)
		switch {
		case err != nil:
			return nil, err
		case in.Step%time.Millisecond != 0: // a server would round it
			return nil, errors.New("`step` must be a whole number of milliseconds")
		case in.Step > 0 && in.Over/in.Step > maxPoints:
			return nil, fmt.Errorf("`step`: %s in steps of %s are %d points, and a server computes at most %d", value.DurationOf(in.Over), value.DurationOf(in.Step), in.Over/in.Step, maxPoints)
		}
		return func(ctx context.Context) (RangeSample, error) {
			over := in.Over
			if over == 0 {
				began, ok := probes.PhaseBegan(ctx)
				if !ok {
					return RangeSample{}, errors.New("there is no phase outside of a run: say how far back, as in `over: 5m`")
				}
				over = time.Since(began)
			}
			return sampling(ctx, c, func(ctx context.Context) (RangeSample, error) { return c.stretch(ctx, over, in.Step) })
		}, nil
	})
}

func (c *client) stretch(ctx context.Context, over, step time.Duration) (RangeSample, error) {
	seen, err := c.lookFirst(ctx)
	if err != nil {
		return RangeSample{}, err
	}
	if step == 0 {
		step = c.stepFor(ctx, seen)
	}
	step = max(step, (over/maxPoints + time.Millisecond).Truncate(time.Millisecond)) // `over` grows with the phase
	// From now backwards, so that the last point is the present.
	r := v1.Range{Start: seen.at.Add(-over / step * step), End: seen.at, Step: step}
	v, warnings, infos, err := c.api.QueryRange(ctx, c.query, r, c.serverTimeout())
	c.warn(append(warnings, infos...)...)
	if err != nil {
		return RangeSample{}, err
	}
	matrix, ok := v.(model.Matrix)
	switch {
	case !ok:
		return RangeSample{}, c.strange()
	case len(matrix) == 0:
		return RangeSample{}, c.empty(ctx)
	case len(matrix) > 1:
		all := make([]model.Metric, len(matrix))
		for i := range matrix {
			all[i] = matrix[i].Metric
		}
		return RangeSample{}, severalSeries(all)
	case len(matrix[0].Histograms) > 0:
		return RangeSample{}, errHistogram
	case len(matrix[0].Values) == 0:
		return RangeSample{}, c.strange()
	}
	if err := c.fresh(ctx, seen); err != nil {
		return RangeSample{}, err
	}
	last := matrix[0].Values[len(matrix[0].Values)-1]
	if gone := seen.at.Sub(last.Timestamp.Time()); gone >= step {
		return RangeSample{}, fmt.Errorf("the series ended %s ago%s", short(gone), c.down(ctx))
	}
	return summarise(matrix[0].Values)
}

// summarise folds the points; the last one must be a number.
func summarise(points []model.SamplePair) (RangeSample, error) {
	s := RangeSample{Min: math.Inf(1), Max: math.Inf(-1), Last: float64(points[len(points)-1].Value)}
	if err := finite(s.Last); err != nil {
		return s, err
	}
	sum := 0.0
	for _, p := range points {
		x := float64(p.Value)
		if math.IsNaN(x) {
			continue
		}
		if err := finite(x); err != nil { // left out, it would be missing from the greatest
			return s, err
		}
		s.Min, s.Max, sum = math.Min(s.Min, x), math.Max(s.Max, x), sum+x
		s.Points++
	}
	s.Mean = sum / float64(s.Points)
	return s, nil
}

// stepFor is the shortest scrape interval of what the query reads: more points would say nothing new.
func (c *client) stepFor(ctx context.Context, seen readings) time.Duration {
	step := time.Duration(math.MaxInt64)
	for _, a := range seen.ages {
		if s, ok := c.scrapeOf(ctx, a.target); ok {
			step = min(step, s.interval)
		}
	}
	if step == math.MaxInt64 {
		return time.Second
	}
	return step
}
