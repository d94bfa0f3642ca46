package runtime

import (
	"context"
	"fmt"
	mrand "math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/hold"
	"chaos/runtime/recovery"
	"chaos/runtime/target"
)

// State says when it is known what a step acts on.
type State string

const (
	Resolved    State = "resolved"     // now
	AfterSetup  State = "after_setup"  // it is expected then, and looked up again
	WhenReached State = "when_reached" // right before the step
	Unfit       State = "unfit"        // never: the step does not fit
)

// The plan of an experiment, as `chaos plan --format json` writes it; docs/plan.md describes it. Fields may be added.
type (
	ExperimentPlan struct {
		Title    string           `json:"title"`
		At       event.Place      `json:"at"`
		Help     string           `json:"help,omitempty"`
		Owner    string           `json:"owner,omitempty"`
		Runbook  string           `json:"runbook,omitempty"`
		Tags     []string         `json:"tags,omitempty"`
		Probes   []PlannedProbe   `json:"probes"`
		Guards   []PlannedGuard   `json:"guards"`
		Sections []PlannedSection `json:"sections"` // in the order of a run
		Faults   PlannedFaults    `json:"faults"`
		Needs    []PlannedNeed    `json:"needs"`      // of all steps and probes
		Excluded []string         `json:"exclusions"` // what no step touches, though it may match
		Longest  PlannedTime      `json:"longest"`
	}
	PlannedProbe struct {
		Name      string        `json:"name"`
		Text      string        `json:"text"`
		At        event.Place   `json:"at"`
		Every     event.Seconds `json:"every_seconds"`
		Streaming bool          `json:"streaming,omitempty"` // it runs all the time; each period is one sample
		Later     string        `json:"later,omitempty"`     // why it cannot be looked at yet
		Problem   string        `json:"problem,omitempty"`
	}
	PlannedGuard struct {
		Text    string      `json:"text"`
		Because string      `json:"because,omitempty"`
		At      event.Place `json:"at"`
		File    bool        `json:"file,omitempty"` // no further experiment of the file starts after it
	}
	PlannedSection struct {
		Name   string         `json:"name"` // setup, steady, hypothesis, inject, rollback
		Title  string         `json:"title,omitempty"`
		At     event.Place    `json:"at"`
		Detail string         `json:"detail,omitempty"` // the window of steady
		Checks []PlannedCheck `json:"checks,omitempty"` // of steady and hypothesis
		Steps  []PlannedStep  `json:"steps,omitempty"`  // of the others, in order; depth is the nesting
	}
	PlannedCheck struct {
		Text    string      `json:"text"`
		Because string      `json:"because,omitempty"`
		At      event.Place `json:"at"`
	}
	// PlannedStep is a statement. Only those of the kind step act.
	PlannedStep struct {
		Kind        string           `json:"kind"` // step, wait, wait_until, expect, repeat, when, else, parallel, do, composite
		Depth       int              `json:"depth"`
		Text        string           `json:"text"`
		At          event.Place      `json:"at"`
		Because     string           `json:"because,omitempty"`
		Longest     event.Seconds    `json:"longest_seconds"`
		Passes      *int             `json:"passes,omitempty"`      // of a repeat, where it is known
		Conditional bool             `json:"conditional,omitempty"` // it may never run
		Action      string           `json:"action,omitempty"`
		As          string           `json:"as,omitempty"`
		Pick        string           `json:"pick,omitempty"`
		State       State            `json:"state,omitempty"`
		Why         string           `json:"why,omitempty"` // of the state
		Does        string           `json:"does,omitempty"`
		Targets     []PlannedTarget  `json:"targets,omitempty"`
		Lifetime    actions.Lifetime `json:"lifetime,omitempty"`
		LifetimeWhy string           `json:"lifetime_why,omitempty"`
		Undo        []string         `json:"undo,omitempty"`
		Ends        string           `json:"ends,omitempty"`  // when the run itself undoes it
		Final       bool             `json:"final,omitempty"` // of rollback: it is meant to stay
		Harmless    bool             `json:"harmless,omitempty"`
		Missing     []PlannedNeed    `json:"missing,omitempty"`
		call        *spec.Call       // of a step
	}
	PlannedTarget struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Name string `json:"name,omitempty"`
		Text string `json:"text"`
	}
	PlannedNeed struct {
		Kind    string   `json:"kind"`
		Name    string   `json:"name"`
		Install string   `json:"install,omitempty"`
		State   string   `json:"state"` // here, missing, unknown
		For     []string `json:"for,omitempty"`
	}
	PlannedFaults struct {
		Reversible   int  `json:"reversible"`   // that inject may leave, at most
		Irreversible int  `json:"irreversible"` // steps of inject that nothing undoes, at most
		More         bool `json:"more,omitempty"`
	}
	// PlannedTime is how long a run may take. Undoing and the acts themselves come on top: they have limits of their own.
	PlannedTime struct {
		Most     event.Seconds  `json:"most_seconds"`
		Deadline event.Seconds  `json:"deadline_seconds"` // of setup, before and inject together; then all is undone
		Cut      bool           `json:"cut,omitempty"`    // without the deadline it would be longer
		Phases   []PlannedPhase `json:"phases"`
		Unknown  []string       `json:"unknown,omitempty"` // the deadline stands for what cannot be known
	}
	PlannedPhase struct {
		Phase event.Phase   `json:"phase"`
		Most  event.Seconds `json:"most_seconds"`
	}
)

// Irreversible tells a step that nothing undoes; those of rollback are meant to stay.
func (s *PlannedStep) Irreversible() bool { return s.Lifetime == actions.Irreversible }

// Plan says what a run would do, without doing any of it: nothing is written, locked, started or signalled. The problems
// are those for which Execute would refuse.
func (r *Run) Plan(ctx context.Context) ([]*ExperimentPlan, []diag.Diagnostic) {
	shared := env.Env{Dir: r.opts.Dir, Runs: r.opts.RunsDir, Hide: r.opts.Redact, Hold: hold.NewClient(r.opts.Helper), Rand: mrand.New(&lockedSource{src: mrand.NewPCG(r.seed, r.seed)})}
	r.stream = event.NewStream(nil)
	r.stream.Redact(r.opts.Redact)
	problems := r.unrecovered(ctx)
	var out []*ExperimentPlan
	for _, def := range r.opts.Script.Experiments {
		x := r.prepare(ctx, def, shared)
		plan, found := x.survey(ctx, r.free)
		x.abort(nil)
		out, problems = append(out, plan), append(problems, found...)
	}
	if hide := r.opts.Redact; hide != nil {
		redact(reflect.ValueOf(out), hide)
		for i, d := range problems {
			problems[i].Message, problems[i].Hint = hide(d.Message), hide(d.Hint)
		}
	}
	return out, problems
}

// redact passes every text through hide.
func redact(v reflect.Value, hide func(string) string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			redact(v.Elem(), hide)
		}
	case reflect.Slice:
		for i := range v.Len() {
			redact(v.Index(i), hide)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				redact(v.Field(i), hide)
			}
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() && v.CanSet() {
			v.SetString(hide(v.String()))
		}
	}
}

// unrecovered is leftBehind for somebody who only looks: nobody is waited for and no journal is written.
func (r *Run) unrecovered(ctx context.Context) []diag.Diagnostic {
	var out []diag.Diagnostic
	list, err := recovery.List(r.opts.RunsDir)
	if err != nil {
		return nil
	}
	for _, old := range list {
		if !old.Unrecovered() {
			continue
		}
		old.Open = slices.DeleteFunc(old.Open, func(o recovery.Open) bool { return old.Gone(ctx, r.opts.Registries.Actions, o) })
		if len(old.Open) > 0 {
			out = append(out, leftOver(old))
		}
	}
	return out
}

func leftOver(old *recovery.Run) diag.Diagnostic {
	at := diag.Span{File: filepath.Join(old.Dir, event.JournalName), Start: diag.Pos{Line: 1, Col: 1}}
	if old.Damaged != "" {
		return diag.Errorf(diag.Unfit, at, "run %s died, and nobody knows what it left: %s", old.ID, old.Damaged).
			WithHint("`%s` undoes what can still be read", old.Command("recover"))
	}
	if why := old.Unsettled(); why != "" {
		return diag.Errorf(diag.Unfit, at, "run %s died, and nothing can start on top of what it left: %s", old.ID, why).
			WithHint("try again in a moment; `%s` says how it is", old.Command("recover"))
	}
	return diag.Errorf(diag.Unfit, at, "run %s died, and %s of it may still be there", old.ID, plural(len(old.Open), "fault")).
		WithHint("undo it with `%s`", old.Command("recover"))
}

// outline is a plan without its steps.
func (x *experiment) outline() *ExperimentPlan {
	d := x.def
	p := &ExperimentPlan{Title: d.Title, At: place(d.Span), Help: d.Help, Owner: d.Owner, Runbook: d.Runbook, Tags: d.Tags,
		Probes: []PlannedProbe{}, Guards: []PlannedGuard{}, Sections: []PlannedSection{}, Needs: []PlannedNeed{}, Excluded: []string{}}
	for _, def := range d.Probes {
		every, _ := x.duration(def.Every, x.vars, defaultPeriod)
		row := PlannedProbe{Name: def.Name, Text: def.Call.Text, At: place(def.Span), Every: event.Seconds(every), Streaming: def.Call.Spec.Streaming}
		if _, missing := x.arguments(def.Call, x.vars); missing != "" {
			row.Later = x.origin(def.Call, inside{names: x.boundIn(d.Setup, fromSetup)}, x.vars).why
		}
		p.Probes = append(p.Probes, row)
	}
	for _, g := range d.Guards {
		p.Guards = append(p.Guards, PlannedGuard{Text: g.Text, Because: g.Because, At: place(g.Span), File: g.File})
	}
	for _, s := range []struct {
		name string
		def  *check.Section
	}{{"setup", d.Setup}, {"steady", d.Steady}, {"hypothesis", d.Hypothesis}, {"inject", d.Inject}, {"rollback", d.Rollback}} {
		if s.def == nil {
			continue
		}
		row := PlannedSection{Name: s.name, Title: s.def.Title, At: place(s.def.Span)}
		if s.name == "steady" {
			row.Detail = x.windowText()
		}
		for _, c := range s.def.Checks {
			row.Checks = append(row.Checks, PlannedCheck{Text: c.Text, Because: c.Because, At: place(c.Span)})
		}
		p.Sections = append(p.Sections, row)
	}
	return p
}

func (p *ExperimentPlan) section(phase event.Phase) *PlannedSection {
	name := map[event.Phase]string{event.Setup: "setup", event.During: "inject", event.Rollback: "rollback"}[phase]
	return &p.Sections[slices.IndexFunc(p.Sections, func(s PlannedSection) bool { return s.Name == name })]
}

// Steps lists what acts, of all sections or of some.
func (p *ExperimentPlan) Steps(sections ...string) []PlannedStep {
	var out []PlannedStep
	for _, s := range p.Sections {
		if len(sections) > 0 && !slices.Contains(sections, s.Name) {
			continue
		}
		for _, row := range s.Steps {
			if row.Kind == "step" {
				out = append(out, row)
			}
		}
	}
	return out
}

// add sums up what the steps need and leave.
func (p *ExperimentPlan) add(steps map[event.Phase]extent) {
	during := steps[event.During]
	p.Faults = PlannedFaults{Reversible: during.faults, Irreversible: during.final, More: during.more}
	spared := map[string][]string{} // who spares it
	for _, s := range p.Steps() {
		if by := spared[s.call.Spares]; s.call.Spares != "" && !slices.Contains(by, s.Action) {
			spared[s.call.Spares] = append(by, s.Action)
		}
		for _, n := range s.call.Needs {
			state := "unknown"
			if s.State == Resolved {
				state = "here"
			}
			p.need(PlannedNeed{Kind: n.Kind, Name: n.Name, Install: n.Install, State: state}, s.Text)
		}
		for _, n := range s.Missing {
			p.need(n, s.Text)
		}
	}
	for what, by := range spared {
		p.Excluded = append(p.Excluded, strings.Join(by, ", ")+": "+what)
	}
	slices.Sort(p.Excluded)
}

// need adds one; the worst that is known of it counts.
func (p *ExperimentPlan) need(n PlannedNeed, by string) {
	rank := []string{"here", "unknown", "missing"}
	i := slices.IndexFunc(p.Needs, func(o PlannedNeed) bool { return o.Kind == n.Kind && o.Name == n.Name })
	if i < 0 {
		p.Needs = append(p.Needs, n)
		i = len(p.Needs) - 1
	}
	have := &p.Needs[i]
	if slices.Index(rank, n.State) > slices.Index(rank, have.State) {
		have.State, have.Install = n.State, n.Install
	}
	if !slices.Contains(have.For, by) {
		have.For = append(slices.Clone(have.For), by)
	}
}

// describe is what can be said of a step before it is planned: what its action promises.
func describe(s *check.Step, in inside) PlannedStep {
	c := s.Call.Spec
	row := rowOf(s, in, "step", s.Text, s.Because, extent{})
	row.call, row.Action, row.As, row.Harmless, row.Final = c, c.Name, s.As, c.Harmless, in.ends == endsNever
	switch {
	case s.PickAll:
		row.Pick = "all"
	case s.Pick != nil:
		row.Pick = s.Pick.Text()
	}
	if c.Harmless {
		return row
	}
	row.Lifetime = actions.Lifetime(c.Lifetime)
	if c.Irreversible(func(arg string) bool { _, ok := s.Call.Args[arg]; return ok }) {
		row.Lifetime = actions.Irreversible
		return row
	}
	if row.Final {
		return row
	}
	row.Undo, row.Ends = []string{c.Undo}, in.ends
	if s.For != nil {
		row.Ends = "after " + s.For.Text()
	}
	return row
}

// fill takes over what a step's plan says.
func (s *PlannedStep) fill(def *check.Step, plan actions.Plan) {
	s.State, s.Does = Resolved, plan.Does
	for _, t := range plan.Targets {
		s.Targets = append(s.Targets, PlannedTarget{Kind: t.Kind, ID: t.ID, Name: t.Name, Text: targetText(t)})
	}
	if !s.Harmless {
		s.Lifetime, s.LifetimeWhy = plan.Lifetime, plan.Why
		if (len(plan.Undo) > 0 || plan.Lifetime == actions.Irreversible) && !s.Final {
			s.Undo = plan.Undo
		}
		if plan.Lifetime == actions.Irreversible {
			s.Ends = ""
		}
	}
	if plan.Later != "" {
		s.later(origin{AfterSetup, plan.Later}, "")
	}
	for _, n := range plan.Missing {
		s.Missing = append(s.Missing, PlannedNeed{Kind: n.Kind, Name: n.Name, Install: n.Install, State: "missing"})
	}
	if def.Pick != nil && len(plan.Targets) > 0 {
		s.Why = "drawn at random; the run draws again"
	}
}

func targetText(t target.Identity) string {
	switch {
	case t.Kind == "process" && t.Name != "":
		return fmt.Sprintf("%s (pid %s)", t.Name, t.ID)
	case t.Name != "" && t.Name != t.ID:
		return fmt.Sprintf("%s (%s %s)", t.Name, t.Kind, t.ID)
	case t.Kind == "port" || t.Kind == "file":
		return t.ID
	}
	return t.String()
}

// later says that a step is planned again, and why.
func (s *PlannedStep) later(o origin, otherwise string) {
	s.State, s.Why = o.when, o.why
	if s.Why == "" {
		s.Why = otherwise
	}
}

func rowOf(s check.Stmt, in inside, kind, text, because string, e extent) PlannedStep {
	return PlannedStep{Kind: kind, Depth: in.depth, Text: text, At: place(s.At()), Because: because, Longest: event.Seconds(e.most), Conditional: in.maybe}
}

// boundIn lists the names that the steps of a section bind.
func (x *experiment) boundIn(section *check.Section, from func(string) origin) map[string]origin {
	out := map[string]origin{}
	var visit func([]check.Stmt)
	visit = func(list []check.Stmt) {
		for _, s := range list {
			switch s := s.(type) {
			case *check.Step:
				if s.As != "" {
					out[s.As] = from(s.As)
				}
			case *check.Do:
				visit(s.Body)
			case *check.When:
				visit(s.Then)
				visit(s.Else)
			case *check.Parallel:
				visit(s.Branches)
			}
		}
	}
	if section != nil {
		visit(section.Body)
	}
	return out
}

// origin says when the arguments of a call are known: with the last of them.
func (x *experiment) origin(c *check.Call, in inside, v *vars) origin {
	var out origin
	for _, p := range c.Spec.Params {
		e, ok := c.Args[p.Name]
		if !ok || !x.eval(e, v, time.Time{}).IsMissing() {
			continue
		}
		if o := x.originOf(e, in, v); out.when == "" || o.when == WhenReached && out.when == AfterSetup {
			out = o
		}
	}
	if out.when == "" {
		out.when = WhenReached
	}
	return out
}

func (x *experiment) originOf(e *expr.Expr, in inside, v *vars) origin {
	out := origin{when: WhenReached}
	for _, o := range e.Operands() {
		name := o.Path[0]
		if val, known := v.get(name); known && !val.IsMissing() {
			continue
		}
		from, ok := in.names[name]
		switch {
		case !ok && (x.isProbe(name) || name == "steady" || name == "before" || name == "during"):
			return origin{WhenReached, "what it reads is measured"}
		case !ok:
			return origin{when: WhenReached}
		case from.when == WhenReached || out.why == "":
			out = from
		}
	}
	return out
}
