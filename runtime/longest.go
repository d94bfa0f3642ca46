package runtime

import (
	"math"
	"slices"
	"strings"
	"time"

	"chaos/lang/check"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/runtime/event"
)

// extent is how long something takes at most, and what it leaves.
type extent struct {
	most   time.Duration
	open   []string // what cannot be known yet
	faults int
	final  int  // irreversible steps
	more   bool // it may be more of them
}

// sum and product end at the longest time there is: 292 years twice must not be less than nothing.
func sum(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func product(a time.Duration, n int) time.Duration {
	if n > 0 && a > math.MaxInt64/time.Duration(n) {
		return math.MaxInt64
	}
	return a * time.Duration(n)
}

func (a extent) merged(b extent) extent {
	a.open, a.more = append(slices.Clone(a.open), b.open...), a.more || b.more
	return a
}

func (a extent) then(b extent) extent {
	out := a.merged(b)
	out.most, out.faults, out.final = sum(a.most, b.most), a.faults+b.faults, a.final+b.final
	return out
}

func (a extent) beside(b extent) extent {
	out := a.then(b)
	out.most = max(a.most, b.most)
	return out
}

func (a extent) or(b extent) extent {
	out := a.merged(b)
	out.most, out.faults, out.final = max(a.most, b.most), max(a.faults, b.faults), max(a.final, b.final)
	return out
}

func (a extent) times(n int) extent {
	a.most, a.faults, a.final = product(a.most, n), a.faults*n, a.final*n
	return a
}

func (a extent) after() string {
	if len(a.open) > 0 {
		return "after its `for`"
	}
	return "after " + short(a.most)
}

// limit is how long an expression says that something lasts.
func (x *experiment) limit(e *expr.Expr, v *vars) extent {
	d, err := x.duration(e, v, 0)
	if err != nil {
		return extent{open: []string{"how long `" + e.Text() + "` is"}}
	}
	return extent{most: d}
}

// extentOf is how long a step lasts: its `for`, and what its own arguments allow the act to take. An argument that ends in
// _within bounds what another one asks for.
func (x *experiment) extentOf(s *check.Step, row PlannedStep, v *vars) extent {
	out := x.limit(s.For, v)
	c := s.Call.Spec
	for _, p := range c.Params {
		about, within := strings.CutSuffix(p.Name, "_within")
		if p.Name != "timeout" && !within {
			continue
		}
		if _, asked := s.Call.Args[about]; within && !asked {
			continue
		}
		e, given := s.Call.Args[p.Name]
		if given {
			out = out.then(x.limit(e, v))
		} else if d, err := spec.Default(p.Default, p.Type); err == nil && p.Default != "" {
			out.most = sum(out.most, d.Duration())
		}
	}
	switch {
	case row.Harmless:
	case row.Irreversible():
		out.final = 1
	default:
		out.faults = 1
	}
	return out
}

// longest adds up the phases. Setup, before, inject and settle end with the deadline; rollback and after come behind it.
func (x *experiment) longest(steps map[event.Phase]extent) PlannedTime {
	sample := time.Duration(0) // one of each probe
	for _, def := range x.def.Probes {
		if every, err := x.duration(def.Every, x.vars, defaultPeriod); err == nil {
			sample = max(sample, every)
		}
	}
	var out PlannedTime
	var total, tail extent
	phase := func(sum *extent, p event.Phase, e extent) {
		*sum = sum.then(e)
		if e.most > 0 {
			out.Phases = append(out.Phases, PlannedPhase{p, event.Seconds(e.most)})
		}
	}
	window := extent{most: sample}
	settle := extent{}
	if s := x.def.Steady; s != nil {
		if s.Window != nil {
			window = x.limit(s.Window, x.vars)
		}
		settle = x.limit(s.Settle, x.vars)
	}
	phase(&total, event.Setup, steps[event.Setup])
	phase(&total, event.Before, window.then(settle))
	if x.def.Inject != nil {
		phase(&total, event.During, steps[event.During])
		var open extent
		if x.def.Hypothesis != nil {
			for _, c := range x.def.Hypothesis.Checks {
				open = open.beside(x.limit(c.Within, x.vars))
			}
		}
		phase(&total, event.Settle, open)
	}
	deadline, err := x.duration(x.def.Deadline, x.vars, defaultDeadline)
	if err != nil {
		total.open = append(total.open, "the deadline")
	}
	if total.most > deadline || len(total.open) > 0 {
		out.Cut = total.most > deadline
		total.most = deadline
	}
	if x.def.Inject != nil {
		back := steps[event.Rollback]
		if back.most = min(back.most, rollbackLimit); len(back.open) > 0 {
			back.most = rollbackLimit
		}
		phase(&tail, event.Rollback, back)
		if x.def.Steady != nil && len(x.def.Steady.Checks) > 0 {
			recovery, err := x.duration(x.def.Recovery, x.vars, defaultRecovery)
			if err != nil {
				recovery = defaultRecovery
			}
			phase(&tail, event.After, extent{most: recovery}.then(window))
		}
	}
	out.Most, out.Deadline = event.Seconds(sum(total.most, tail.most)), event.Seconds(deadline)
	out.Unknown = append(total.open, tail.open...)
	return out
}
