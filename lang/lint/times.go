package lint

import (
	"maps"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/value"
)

// fleeting looks for faults that end as they begin: the last of their scope, with no time of their own. at is where the
// composite action is called whose body this is, nil outside; follows tells that time goes by behind the list; top, that
// the scope is inject itself.
func (x *experiment) fleeting(list []check.Stmt, at *diag.Span, follows, top bool) {
	for i := len(list) - 1; i >= 0; i-- {
		switch s := list[i].(type) {
		case *check.Step:
			if !follows && s.For == nil && !s.Call.Spec.Harmless && !irreversible(s) && !makesHandle(s) {
				what, where := "it is undone as soon as it is there", s.Call.Span
				if top {
					what = "it lasts only until each probe has one more sample"
				}
				if at != nil {
					where = *at
				}
				x.once(diag.Warningf(diag.Unbounded, where, "nothing follows this fault in its block: %s", what).
					WithHint("write `for 30s` behind it, or `wait 30s` below"))
			}
		case *check.Composite:
			if s.For == nil {
				call := &s.Span
				if at != nil {
					call = at
				}
				x.fleeting(s.Body, call, follows, top)
			}
		case *check.Repeat:
			x.fleeting(s.Body, at, false, false)
		case *check.Do:
			x.fleeting(s.Body, at, false, false)
		case *check.When:
			x.fleeting(s.Then, at, follows, top)
			x.fleeting(s.Else, at, follows, top)
		case *check.Parallel:
			lasting := 0
			for _, b := range s.Branches {
				if x.takesTime(b) {
					lasting++
				}
			}
			for _, b := range s.Branches {
				others := lasting
				if x.takesTime(b) {
					others--
				}
				x.fleeting([]check.Stmt{b}, at, follows || others > 0, top)
			}
		}
		follows = follows || x.takesTime(list[i])
	}
}

// takesTime tells a statement that lets time go by, or may: a command runs as long as it runs. What it says is kept, as each
// statement is asked for once by every block that it stands in, and each `else when` stands in all before it.
func (x *experiment) takesTime(s check.Stmt) bool {
	takes, ok := x.timed[s]
	if !ok {
		takes = x.letsTimeGoBy(s)
		x.timed[s] = takes
	}
	return takes
}

func (x *experiment) letsTimeGoBy(s check.Stmt) bool {
	switch s := s.(type) {
	case *check.WaitFor, *check.WaitUntil:
		return true
	case *check.Composite:
		if s.For != nil {
			return true
		}
	case *check.Step:
		return s.For != nil || irreversible(s) || s.Call.Spec.UndoArg != "" || s.Call.Spec.Harmless && s.Call.Spec.Result != nil
	}
	for _, body := range bodies(s) {
		for _, in := range body {
			if x.takesTime(in) {
				return true
			}
		}
	}
	return false
}

// defaultDeadline ends an experiment that names none.
const defaultDeadline = 10 * time.Minute

// deadline looks for an inject that may take longer than its experiment may.
func (x *experiment) deadline() {
	limit, at, said := defaultDeadline, x.out.Inject.Span, false
	if x.out.Deadline != nil {
		v, ok := x.value(x.out.Deadline, nil)
		if !ok {
			return
		}
		limit, at, said = v.Duration(), x.out.Deadline.Span(), true
	}
	most := x.longest(x.out.Inject.Body, nil)
	if most <= limit {
		return
	}
	d := diag.Warningf(diag.Unbounded, at, "`inject` may take up to %s, and after %s the deadline ends everything", short(most), short(limit))
	if said {
		d = d.WithNote(x.out.Inject.Span, "`inject` is here").WithHint("make it longer, such as `deadline: %s`, or `inject` shorter", short(roomy(most)))
	} else {
		d = d.WithHint("write `deadline: %s` in the experiment", short(roomy(most)))
	}
	x.report(d)
}

// roomy is a deadline with room for what comes before and after.
func roomy(d time.Duration) time.Duration { return (d + d/4).Truncate(time.Minute) + time.Minute }

func short(d time.Duration) string { return value.DurationOf(d).Short() }

// maxPasses is how many passes of a `repeat` are counted one by one.
const maxPasses = 1000

// longest is how long statements may take, as far as that is known before a run. Waits count with all the time they have.
func (x *experiment) longest(list []check.Stmt, loop map[string]value.Value) time.Duration {
	var sum time.Duration
	for _, s := range list {
		sum = plus(sum, x.longestOf(s, loop))
	}
	return sum
}

func (x *experiment) longestOf(s check.Stmt, loop map[string]value.Value) time.Duration {
	switch s := s.(type) {
	case *check.Step:
		v, _ := x.value(s.For, loop)
		return v.Duration()
	case *check.WaitFor:
		v, _ := x.value(s.Duration, loop)
		return v.Duration()
	case *check.WaitUntil:
		v, _ := x.value(s.Within, loop)
		return v.Duration()
	case *check.When:
		return max(x.longest(s.Then, loop), x.longest(s.Else, loop))
	case *check.Parallel:
		var most time.Duration
		for _, b := range s.Branches {
			most = max(most, x.longestOf(b, loop))
		}
		return most
	case *check.Do:
		return x.longest(s.Body, loop)
	case *check.Composite:
		inner := map[string]value.Value{}
		for _, a := range s.Args {
			if v, ok := x.value(a.Value, loop); ok {
				inner[a.Name] = v
			}
		}
		held, _ := x.value(s.For, loop)
		return plus(x.longest(s.Body, inner), held.Duration())
	case *check.Repeat:
		return x.passes(s, loop)
	}
	return 0
}

func (x *experiment) passes(s *check.Repeat, loop map[string]value.Value) time.Duration {
	if s.In == nil {
		n, _ := x.value(s.Times, loop)
		one := x.longest(s.Body, loop)
		if total := n.Float() * float64(one); total < float64(forEver) {
			return time.Duration(total)
		}
		return forEver
	}
	list, _ := x.value(s.In, loop)
	var sum time.Duration
	for i, item := range list.Items() {
		if i == maxPasses {
			break
		}
		inner := maps.Clone(loop)
		if inner == nil {
			inner = map[string]value.Value{}
		}
		inner[s.Name] = item
		sum = plus(sum, x.longest(s.Body, inner))
	}
	return sum
}

// forEver keeps sums from running over.
const forEver = 1000 * 24 * time.Hour

func plus(a, b time.Duration) time.Duration { return min(min(a, forEver)+min(b, forEver), forEver) }

// defaultEvery is the period of a probe that names none.
const defaultEvery = time.Second

// window looks for a steady window that is shorter than the period of a probe in it.
func (x *experiment) window() {
	if x.out.Steady == nil || x.out.Steady.Window == nil {
		return
	}
	window, ok := x.value(x.out.Steady.Window, nil)
	if !ok {
		return
	}
	for _, p := range x.out.Probes {
		every, at := defaultEvery, p.Span
		if p.Every != nil {
			v, ok := x.value(p.Every, nil)
			if !ok {
				continue
			}
			every, at = v.Duration(), p.Every.Span()
		}
		if every > window.Duration() && x.steadyNames(p.Name) {
			x.report(diag.Warningf(diag.ShortWindow, x.out.Steady.Window.Span(), "a window of %s has one sample of `%s` at most, which comes every %s", window.Short(), p.Name, short(every)).
				WithNote(at, "`%s` is declared here", p.Name).WithHint("make the window some periods long, such as `window: %s`", short(5*every)))
			return
		}
	}
}

func (x *experiment) steadyNames(probe string) bool {
	for _, c := range x.out.Steady.Checks {
		for _, o := range c.Cond.Operands() {
			if o.Path[0] == probe {
				return true
			}
		}
	}
	return false
}
