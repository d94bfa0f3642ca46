package runtime

import (
	"slices"

	"chaos/lang/check"
	"chaos/lang/expr"
	"chaos/lang/value"
	"chaos/runtime/event"
)

// started is the event that begins an experiment: what it is, and what is going to be watched, in the order of the script.
func (x *experiment) started() event.ExperimentStarted {
	out := event.ExperimentStarted{Title: x.def.Title, Owner: x.def.Owner, Tags: x.def.Tags, At: place(x.def.Span)}
	if x.def.Hypothesis != nil {
		out.Hypothesis = x.def.Hypothesis.Title
	}
	for _, p := range x.expected.Phases {
		out.Longest = append(out.Longest, event.PhaseTime(p))
	}
	out.Deadline = x.expected.Deadline

	values := map[string][]event.Watched{} // of each probe, in order of appearance
	reads := func(e *expr.Expr) (texts []string) {
		for _, o := range x.readsOf(e) {
			if !slices.ContainsFunc(values[o.Probe], func(w event.Watched) bool { return w.Text == o.Text }) {
				values[o.Probe] = append(values[o.Probe], o)
			}
			if !slices.Contains(texts, o.Text) {
				texts = append(texts, o.Text)
			}
		}
		return texts
	}
	add := func(k *claim) {
		out.Checks = append(out.Checks, event.Claim{Section: k.section, Kind: string(k.def.Kind), Text: k.text, At: place(k.def.Span),
			Within: event.Seconds(k.within), For: event.Seconds(k.lasting), Tolerate: k.tolerate, Reads: reads(k.def.Cond)})
	}
	if s := x.def.Steady; s != nil {
		for _, c := range s.Checks {
			add(x.newClaim(c, "steady"))
		}
	}
	if x.def.Inject != nil {
		for _, k := range x.hypothesis() {
			add(k)
		}
		for _, g := range x.def.Guards {
			lasts, _ := x.duration(g.For, x.vars, 0)
			out.Checks = append(out.Checks, event.Claim{Section: "guard", Kind: "abort", Text: g.Text, At: place(g.Span), For: event.Seconds(lasts), Reads: reads(g.Cond)})
		}
	}
	for _, p := range x.def.Probes {
		list := values[p.Name]
		if len(list) == 0 {
			list = []event.Watched{headline(p)}
		}
		every, _ := x.duration(p.Every, x.vars, defaultPeriod)
		for _, w := range list {
			w.Every = event.Seconds(every)
			out.Watched = append(out.Watched, w)
		}
	}
	return out
}

// readsOf lists what an expression reads of probes and can be drawn: numbers, yes and no. What it reads of a whole phase
// (`during.load.p99`) stands for the same of the latest sample.
func (x *experiment) readsOf(e *expr.Expr) []event.Watched {
	var out []event.Watched
	for _, o := range e.Operands() {
		path := o.Path
		if slices.Contains([]string{"before", "during", "after"}, path[0]) {
			path = path[1:]
		}
		for _, p := range x.def.Probes {
			if len(path) == 0 || p.Name != path[0] {
				continue
			}
			if t, ok := fieldType(p.Type, path[1:]); ok && drawable(t) {
				w := watched(p.Name, path[1:], t)
				w.Read = true
				out = append(out, w)
			}
		}
	}
	return out
}

func watched(probe string, path []string, t *value.Type) event.Watched {
	text := probe
	for _, f := range path {
		text += "." + f
	}
	out := event.Watched{Probe: probe, Path: path, Text: text}
	if t != nil && drawable(t) {
		out.Type = t.Kind
	}
	return out
}

func fieldType(t *value.Type, path []string) (*value.Type, bool) {
	for _, name := range path {
		var ok bool
		if t, ok = t.Field(name); !ok {
			return nil, false
		}
	}
	return t, t != nil
}

func drawable(t *value.Type) bool { return t.Kind == value.Bool || t.Numeric() }

// headline is what to look at of a probe that no check reads: its first number with a unit, else its first number, else
// the first that is true or false.
func headline(p *check.Probe) event.Watched {
	if p.Type == nil || p.Type.Kind != value.Struct {
		return watched(p.Name, nil, p.Type)
	}
	for _, fits := range []func(*value.Type) bool{(*value.Type).Unit, (*value.Type).Numeric, drawable} {
		for _, f := range p.Type.Fields {
			if fits(f.Type) {
				return watched(p.Name, []string{f.Name}, f.Type)
			}
		}
	}
	return watched(p.Name, nil, nil)
}
