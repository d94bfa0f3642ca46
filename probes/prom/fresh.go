package prom

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaos/lang/diag"
	"chaos/lang/value"

	"github.com/prometheus/common/model"
)

// Two things make a number look newer than it is. An instant selector gives the latest sample of the last five minutes, unless
// Prometheus marked the end of the series, which it does when a scrape fails, but cannot when it was restarted meanwhile, or
// when the samples carry times of their own. And a range selector gives what is in its window, however long ago that ended.
//
// So, for each selector of the query that does not ask for the past itself (`offset`, `@`):
//   - of each target that it gives a series of, the latest sample is at most one scrape interval and one scrape timeout old: the
//     next scrape may be under way. Of a series that belongs to no target nobody knows the interval, and it passes. A single
//     series may be older, as those of a container that is gone are: Prometheus goes on adding them up, everywhere.
//   - if the query reads ranges, and they hold samples, but no selector gives a series any more, and the jobs of those samples
//     no longer have the metric at all, then all of it has ended.
//
// Newer servers can be told how far to look back, but Prometheus 2.42 of Debian 12 ignores it, and ranges never heed it.

// limits are the greatest ages of fresh samples, by target. It is nil where the server does not tell.
type limits map[target]scrape

type target struct{ job, instance string }

// scrape is how often a target is asked, and how late a sample of it may be.
type scrape struct{ interval, latest time.Duration }

// The labels of the answer to the question for ages. They start like Prometheus' own for what passes by.
const (
	labelAge   = "__chaos_age__"   // seconds since the latest sample, a series for each target; the label numbers the selector
	labelHolds = "__chaos_holds__" // present if the range of the selector holds samples
	labelLives = "__chaos_lives__" // present if they have not ended
)

// readings is what one look at the samples behind a query found.
type readings struct {
	at    time.Time // by the server's clock
	ages  []age
	ended *selector // a range that holds samples, though all series have ended
}

type age struct {
	selector *selector
	target   target
	old      time.Duration
}

// look asks how old the samples are that a query would use at an instant; the zero time is the server's now.
func (c *client) look(ctx context.Context, at time.Time) (readings, error) {
	v, err := c.ask(ctx, c.ageQuery(), at)
	if err != nil {
		return readings{}, err
	}
	vector, ok := v.(model.Vector)
	if !ok || len(vector) == 0 {
		return readings{}, c.strange()
	}
	out := readings{at: vector[0].Timestamp.Time()}
	lives := false
	for _, s := range vector {
		if n, err := strconv.Atoi(string(s.Metric[labelAge])); err == nil && n < len(c.reads) {
			lives = true
			from := target{string(s.Metric["job"]), string(s.Metric["instance"])}
			out.ages = append(out.ages, age{&c.reads[n], from, time.Duration(float64(s.Value) * float64(time.Second))})
		}
		if n, err := strconv.Atoi(string(s.Metric[labelHolds])); err == nil && n < len(c.reads) {
			out.ended = &c.reads[n]
		}
		lives = lives || s.Metric[labelLives] != ""
	}
	if lives {
		out.ended = nil
	}
	return out, nil
}

// ageQuery asks for everything at once. Its first part gives the server's time, and always a series.
func (c *client) ageQuery() string {
	parts := []string{"vector(time())"}
	add := func(n int, label, query string) {
		parts = append(parts, fmt.Sprintf(`label_replace(%s, "%s", "%d", "", "")`, query, label, n))
	}
	for n, r := range c.reads {
		if r.past || r.name == "" { // timestamp() drops the names that would tell several metrics apart
			continue
		}
		add(n, labelAge, fmt.Sprintf("time() - max by (job, instance) (timestamp(%s))", r.text))
		if r.window == "" {
			continue
		}
		add(n, labelHolds, fmt.Sprintf("count(count_over_time(%s[%s]))", r.text, r.window))
		lives := fmt.Sprintf("%s and on (job) count_over_time(%s[%s])", r.name, r.text, r.window)
		if c.maxAge > 0 {
			lives = fmt.Sprintf("count_over_time(%s[%dms])", r.text, c.maxAge.Milliseconds())
		}
		add(n, labelLives, "count("+lives+")")
	}
	return strings.Join(parts, " or ")
}

// fresh tells of samples that are too old.
func (c *client) fresh(ctx context.Context, r readings) error {
	if r.ended != nil {
		return fmt.Errorf("the series of `%s` have ended: its last %s still hold samples, but there is no current one%s", r.ended.text, r.ended.window, c.down(ctx))
	}
	for _, a := range r.ages {
		limit, why := c.maxAge, "`max_age` is "+value.DurationOf(c.maxAge).String()
		if limit == 0 {
			s, ok := c.scrapeOf(ctx, a.target)
			if !ok {
				continue
			}
			limit, why = s.latest, fmt.Sprintf("it is scraped every %s, which may take up to %s", value.DurationOf(s.interval), value.DurationOf(s.latest-s.interval))
		}
		if a.old > limit {
			return fmt.Errorf("the latest sample of `%s` from %s is %s old, too old: %s%s", a.selector.text, a.target, short(a.old), why, c.down(ctx))
		}
	}
	return ctx.Err() // without an answer in time nothing was judged
}

func (t target) String() string {
	switch {
	case t == target{}:
		return "no target"
	case t.instance == "":
		return "job " + value.Quote(t.job)
	}
	return t.instance
}

func short(d time.Duration) string { return value.DurationOf(d.Round(time.Millisecond)).Short() }

// How long the intervals that the server told are believed, and how soon it is asked again about a target that it did not
// mention.
const (
	believed = 30 * time.Second
	unknown  = 5 * time.Second
)

// scrapeOf is how a target is scraped; false if nobody knows.
func (c *client) scrapeOf(ctx context.Context, t target) (scrape, bool) {
	c.mu.Lock()
	s, ok := c.limits[t]
	age := time.Since(c.learned)
	c.mu.Unlock()
	if age < unknown || ok && age < believed {
		return s, ok
	}
	active, err := c.targets(ctx)
	learned := limits{}
	for _, a := range active {
		interval, err1 := model.ParseDuration(a.Interval)
		timeout, err2 := model.ParseDuration(a.Timeout)
		if err1 != nil || err2 != nil { // before Prometheus 2.28
			continue
		}
		// Two endpoints of a program may share job and instance: the slower one counts.
		t := target{a.Labels["job"], a.Labels["instance"]}
		s := learned[t]
		learned[t] = scrape{max(s.interval, time.Duration(interval)), max(s.latest, time.Duration(interval+timeout))}
	}
	if err != nil {
		c.warn("the server does not say how often it scrapes, so that old samples are not found out; give `max_age`")
	}
	c.mu.Lock()
	c.limits, c.learned = learned, time.Now()
	c.mu.Unlock()
	s, ok = learned[t]
	return s, ok
}

// activeTarget is what /api/v1/targets says of one; the library leaves the intervals out.
type activeTarget struct {
	Labels    map[string]string `json:"labels"`
	Interval  string            `json:"scrapeInterval"`
	Timeout   string            `json:"scrapeTimeout"`
	Health    string            `json:"health"`
	LastError string            `json:"lastError"`
}

func (c *client) targets(ctx context.Context) ([]activeTarget, error) {
	var out struct {
		Active []activeTarget `json:"activeTargets"`
	}
	err := c.get(ctx, "/api/v1/targets", url.Values{"state": {"active"}}, &out)
	return out.Active, err
}

// down names targets that cannot be scraped, as the reason why there may be no data.
func (c *client) down(ctx context.Context) string {
	const most = 2
	var named []string
	more := 0
	active, _ := c.targets(ctx)
	for _, t := range active {
		if t.Health != "down" {
			continue
		}
		if len(named) == most {
			more++
			continue
		}
		named = append(named, fmt.Sprintf("%s of job %s (%s)", t.Labels["instance"], value.Quote(t.Labels["job"]), c.clip(t.LastError, 120)))
	}
	switch {
	case len(named) == 0:
		return ""
	case more > 0:
		named = append(named, fmt.Sprintf("%d more", more))
	}
	return "; down: " + strings.Join(named, ", ")
}

// empty says why a query gives no series, as far as the server knows.
func (c *client) empty(ctx context.Context) error {
	said := func(format string, args ...any) error {
		return fmt.Errorf("no series at %s: %s", c.peer, fmt.Sprintf(format, args...))
	}
	for _, r := range c.reads {
		if r.past || r.name == "" {
			continue
		}
		if n, err := c.count(ctx, r.text); err != nil || n > 0 {
			continue
		}
		if r.matchers != "" {
			n, err := c.count(ctx, r.name)
			if err != nil {
				return said("none of `%s`", r.text)
			}
			if n > 0 {
				return said("`%s` has %d, but none with %s", r.name, n, r.matchers)
			}
		}
		names, err := c.similar(ctx, r.name)
		switch {
		case err != nil: // who was not answered cannot say that there is no such metric
			return said("none of `%s`", r.text)
		case slices.Contains(names, r.name): // with whichever labels: those that match need never have been there
			return said("those of `%s` have ended, there is no current sample%s", r.name, c.down(ctx))
		}
		hint := diag.DidYouMean(r.name, names)
		if hint != "" {
			hint = "; " + hint
		}
		return said("it knows no metric `%s`%s%s", r.name, hint, c.down(ctx))
	}
	return said("there are series, but the query leaves none of them: a comparison filters, or labels of two sides do not match")
}

func (c *client) count(ctx context.Context, selector string) (int, error) {
	v, err := c.ask(ctx, "count("+selector+")", time.Time{})
	if vector, ok := v.(model.Vector); ok && err == nil && len(vector) == 1 {
		return int(vector[0].Value), nil
	}
	return 0, err
}

// similar lists the metrics whose names begin alike.
func (c *client) similar(ctx context.Context, name string) ([]string, error) {
	stem, _, _ := strings.Cut(name, "_")
	match := fmt.Sprintf(`{__name__=~"%s.*"}`, stem)
	values, _, _, err := c.api.LabelValues(ctx, model.MetricNameLabel, []string{match}, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out, nil
}
