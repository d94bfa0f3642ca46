package runtime

import (
	"fmt"
	"time"

	"chaos/lang/check"
	"chaos/lang/expr"
	"chaos/lang/value"
	"chaos/runtime/event"
)

// result is what a check amounts to.
type result string

const (
	held         result = "held"
	refuted      result = "refuted"
	inconclusive result = "inconclusive"
)

// claim is a check while it is being judged. Its methods are called under the board's lock.
type claim struct {
	def      *check.Check
	section  string
	names    []string // the probes whose samples it reads directly
	text     string
	tolerate float64
	within   time.Duration // of eventually
	lasting  time.Duration // its `for`

	state, why            string // what it says at the latest moment; "" before the first
	evals, falses, noData int
	firstFalse, firstNo   *evidence

	// Of eventually: the excursion that is open, and what was seen of closed ones.
	open       time.Time // start of the first false sample; zero when true
	good       time.Time // start of the first true sample of a return that has not lasted yet
	blind      time.Time // start of a stretch without data
	excursions int
	longest    time.Duration
	late       bool
	lost       bool // a stretch without data was longer than within
}

// evidence is the moment that decided, with the values read at it.
type evidence struct {
	at       time.Time
	operands []event.Operand
	why      string
}

// observe judges one moment. all tells whether every probe has been sampled; if not, only what is certain anyway counts.
func (c *claim) observe(env expr.Env, at time.Time, all bool) {
	v := c.def.Cond.Eval(env)
	if !all && v.IsMissing() {
		return
	}
	c.evals++
	isTrue := v.Bool()
	if c.def.Kind == check.Never {
		isTrue = !isTrue
	}
	c.state, c.why = stateOf(v, isTrue), v.Why()
	if c.def.Kind == check.Eventually {
		c.observeEventually(v, env, at)
		return
	}
	switch {
	case v.IsMissing():
		c.noData++
		if c.firstNo == nil {
			c.firstNo = c.evidence(env, at, v.Why())
		}
	case !isTrue:
		c.falses++
		if c.firstFalse == nil {
			c.firstFalse = c.evidence(env, at, "")
		}
	}
}

func (c *claim) observeEventually(v value.Value, env expr.Env, at time.Time) {
	switch {
	case v.IsMissing():
		c.noData++
		if c.firstNo == nil {
			c.firstNo = c.evidence(env, at, v.Why())
		}
		if c.blind.IsZero() {
			c.blind = at
		}
		c.good = time.Time{}
	case v.Bool():
		c.seen(at)
		if c.open.IsZero() {
			return
		}
		if c.good.IsZero() {
			c.good = at
		}
		if at.Sub(c.good) >= c.lasting {
			took := c.good.Sub(c.open)
			c.longest = max(c.longest, took)
			c.late = c.late || took > c.within
			c.open, c.good = time.Time{}, time.Time{}
		}
	default:
		c.seen(at)
		c.falses++
		c.good = time.Time{}
		if c.open.IsZero() {
			c.open = at
			c.excursions++
			if c.firstFalse == nil || !c.late {
				c.firstFalse = c.evidence(env, at, "")
			}
		}
	}
	if !c.open.IsZero() && c.good.IsZero() && at.Sub(c.open) > c.within {
		c.late = true
	}
}

// seen ends a stretch without data.
func (c *claim) seen(at time.Time) {
	if !c.blind.IsZero() && at.Sub(c.blind) > c.within {
		c.lost = true
	}
	c.blind = time.Time{}
}

func (c *claim) evidence(env expr.Env, at time.Time, why string) *evidence {
	return &evidence{at: at, operands: operands(c.def.Cond, env), why: why}
}

// operands reads the value of everything that an expression is made of.
func operands(e *expr.Expr, env expr.Env) []event.Operand {
	var out []event.Operand
	for _, o := range e.Operands() {
		out = append(out, event.Operand{Text: o.Text, Value: o.Value(env).Short()})
	}
	return out
}

// stateOf is what a condition says, in the words of the events.
func stateOf(v value.Value, isTrue bool) string {
	switch {
	case v.IsMissing():
		return "no data"
	case isTrue:
		return "true"
	}
	return "false"
}

// failing tells that the claim cannot hold any more.
func (c *claim) failing() bool {
	if c.def.Kind == check.Eventually {
		return c.late
	}
	return c.tolerate == 0 && c.falses > 0
}

// pending is how long an open excursion may still last, 0 when none is open.
func (c *claim) pending(now time.Time) time.Duration {
	if c.def.Kind != check.Eventually || c.open.IsZero() || c.late {
		return 0
	}
	if !c.good.IsZero() { // back in time, and only has to last
		return c.lasting
	}
	return max(c.within-now.Sub(c.open), 0)
}

// judge is the result at the end. now closes what is still open; cut tells that the run was aborted before its time.
func (c *claim) judge(now time.Time, cut bool) (result, string) {
	if c.evals == 0 {
		return inconclusive, "never evaluated: " + c.silence()
	}
	if c.def.Kind == check.Eventually {
		return c.judgeEventually(now, cut)
	}
	n := float64(c.evals)
	count := fmt.Sprintf("%d of %s", c.falses, plural(c.evals, "evaluation"))
	switch {
	case float64(c.falses) > c.tolerate*n:
		return refuted, "false in " + count
	case float64(c.falses+c.noData) > c.tolerate*n:
		return inconclusive, fmt.Sprintf("no data in %d of %s: %s", c.noData, plural(c.evals, "evaluation"), c.firstNo.why)
	case c.falses > 0:
		return held, fmt.Sprintf("false in %s, tolerated", count)
	}
	return held, plural(c.evals, "evaluation")
}

func (c *claim) judgeEventually(now time.Time, cut bool) (result, string) {
	within := value.DurationOf(c.within).Short()
	open := !c.open.IsZero()
	if open && c.good.IsZero() && now.Sub(c.open) >= c.within {
		c.late = true
	}
	if !c.blind.IsZero() && now.Sub(c.blind) > c.within {
		c.lost = true
	}
	switch {
	case c.late && open:
		return refuted, fmt.Sprintf("still false after %s, longer than %s", short(now.Sub(c.open)), within)
	case c.late:
		return refuted, fmt.Sprintf("false for %s, longer than %s", short(c.longest), within)
	case open && cut:
		return inconclusive, fmt.Sprintf("false for %s of %s when the run was aborted", short(now.Sub(c.open)), within)
	case open:
		return inconclusive, "it was true again, but not for long enough to count"
	case c.lost, c.noData == c.evals:
		return inconclusive, fmt.Sprintf("no data in %d of %s: %s", c.noData, plural(c.evals, "evaluation"), c.firstNo.why)
	case c.excursions == 0:
		return held, "never exercised: it was true all the time"
	}
	return held, fmt.Sprintf("false %s, back within %s", times(c.excursions), short(c.longest))
}

func (c *claim) silence() string {
	if len(c.names) == 0 {
		return "the phase was not reached"
	}
	return "no sample of " + quoteAll(c.names)
}

// event is the claim's line in the journal. since is the instant that moments are counted from.
func (c *claim) event(res result, detail string, since time.Time) event.CheckJudged {
	ev := event.CheckJudged{
		Section: c.section, Kind: string(c.def.Kind), Text: c.text, Because: c.def.Because, At: place(c.def.Span),
		Result: string(res), Detail: detail, Evaluations: c.evals, False: c.falses, NoData: c.noData,
	}
	e := c.firstFalse
	if res == inconclusive && c.firstNo != nil {
		e = c.firstNo
	}
	if e != nil && res != held {
		ev.Operands = e.operands
		if !since.IsZero() {
			m := event.Seconds(e.at.Sub(since))
			ev.Moment = &m
		}
	}
	return ev
}

// guard is an armed `abort when`.
type guard struct {
	def   *check.Guard
	names []string
	hold  time.Duration
	since time.Time // start of the first sample of the stretch in which it is true (or has no data)
	state string    // what it says at the latest moment
}

// observe tells whether the guard trips: its condition is true, or has no data, and has been for its `for`.
func (g *guard) observe(env expr.Env, at time.Time) (trips bool, why string) {
	v := g.def.Cond.Eval(env)
	g.state = stateOf(v, v.Bool())
	if !v.IsMissing() && !v.Bool() {
		g.since = time.Time{}
		return false, ""
	}
	if g.since.IsZero() {
		g.since = at
	}
	return at.Sub(g.since) >= g.hold, v.Why()
}
