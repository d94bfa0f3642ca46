package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"chaos/lang/check"
	"chaos/probes"
	"chaos/runtime/event"
)

// unsteadyError says that the steady state did not hold before the injection.
type unsteadyError struct{ text string }

func (e *unsteadyError) Error() string { return e.text }

// unfitGuard is a guard without data before the injection: nothing may be injected under it.
type unfitGuard struct{ text string }

func (e *unfitGuard) Error() string { return e.text }

// before waits until the steady state holds for a window, and looks at the guards once.
func (x *experiment) before() error {
	var retry time.Duration
	title := ""
	if s := x.def.Steady; s != nil {
		title = s.Title
		var err error
		if retry, err = x.duration(s.Settle, x.vars, 0); err != nil {
			return &stepError{text: "steady", err: err}
		}
	}
	x.stream.Emit(event.PhaseEntered{Phase: event.Before, Title: title, Detail: x.windowText()})
	if err := x.warm(); err != nil {
		return err
	}
	began := time.Now()
	held, err := x.window(x.ctx, event.Before, "steady", retry)
	if err != nil {
		return err
	}
	if x.def.Steady != nil {
		x.stream.Emit(event.PhaseEnded{Phase: event.Before, OK: held == "", Detail: held, Took: event.Seconds(time.Since(began))})
	}
	if held != "" {
		return &unsteadyError{text: "not steady before the injection: " + held}
	}
	return x.checkGuards()
}

// warm waits for the loads that warm up.
func (x *experiment) warm() error {
	x.board.mu.Lock()
	open := slices.Collect(maps.Values(x.board.probes))
	x.board.mu.Unlock()
	for _, p := range open {
		w, ok := p.opened.(probes.Warmer)
		if !ok {
			continue
		}
		select {
		case <-w.Warm():
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		}
	}
	return nil
}

// checkGuards looks at every guard at the end of before: one that is true already means unsteady, one that has no data
// could never protect anybody.
func (x *experiment) checkGuards() error {
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	env := x.board.env(x.vars, time.Time{})
	for _, g := range x.def.Guards {
		switch v := g.Cond.Eval(env); {
		case v.IsMissing():
			return &unfitGuard{text: fmt.Sprintf("the guard `%s` cannot be evaluated: %s", g.Text, v.Why())}
		case v.Bool():
			return &unsteadyError{text: fmt.Sprintf("the guard `%s` is true already, before anything was injected", g.Text)}
		}
	}
	return nil
}

func (x *experiment) windowText() string {
	if x.def.Steady == nil || x.def.Steady.Window == nil {
		return ""
	}
	d, err := x.duration(x.def.Steady.Window, x.vars, 0)
	if err != nil || d == 0 {
		return ""
	}
	return "for " + short(d)
}

// window judges the steady state over a window; it is tried again until it holds or a window would have to start later
// than retry after now. It returns "" when it held, else what did not.
func (x *experiment) window(ctx context.Context, phase event.Phase, section string, retry time.Duration) (string, error) {
	var length time.Duration
	var checks []*check.Check
	if s := x.def.Steady; s != nil {
		checks = s.Checks
		var err error
		if length, err = x.duration(s.Window, x.vars, 0); err != nil {
			return "", &stepError{text: "steady", err: err}
		}
	}
	latest := time.Now().Add(retry)
	for {
		claims, failed, ok := x.oneWindow(ctx, phase, checks, length)
		if !ok {
			return "", context.Cause(ctx)
		}
		if failed == "" || time.Now().After(latest) || retry == 0 {
			for _, k := range claims {
				res, detail := k.judge(time.Now(), false)
				k.section = section
				x.stream.Emit(k.event(res, detail, time.Time{}))
			}
			return failed, nil
		}
	}
}

// oneWindow judges one window. It ends early at the first failure, once every check has been evaluated, so that all of
// them can be reported.
func (x *experiment) oneWindow(ctx context.Context, phase event.Phase, checks []*check.Check, length time.Duration) (claims []*claim, failed string, ok bool) {
	start := x.board.enter(phase)
	end := start.Add(length)
	var watchers []*watcher
	for _, c := range checks {
		k := x.newClaim(c, "")
		claims = append(claims, k)
		w := &watcher{names: k.names, since: start, fire: func(at time.Time, all bool) {
			// Without a window one evaluation decides: "one sample of each probe".
			if length > 0 && at.After(end) && k.evals > 0 || length == 0 && k.evals > 0 {
				return
			}
			was := k.state
			k.observe(x.board.env(x.vars, start), at, all)
			if k.state != was {
				x.stream.Emit(event.CheckState{Section: "steady", Text: k.text, At: place(c.Span), State: k.state, Why: k.why})
			}
		}}
		watchers = append(watchers, x.board.watch(w))
	}
	defer x.board.unwatch(watchers...)
	all := x.probeNames()
	if phase == event.After {
		all = nil // only what steady names has to be seen again
	}
	evaluated := func() bool {
		for _, k := range claims {
			if k.evals == 0 && len(k.names) > 0 {
				return false
			}
		}
		return true
	}
	failing := func() bool {
		for _, k := range claims {
			if k.tolerate == 0 && (k.falses > 0 || k.noData > 0) {
				return true
			}
		}
		return false
	}
	early := false
	wctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if length > 0 {
		early = x.board.until(wctx.Done(), func() bool { return evaluated() && failing() })
	}
	if ctx.Err() != nil {
		return claims, "", false
	}
	if !early {
		named := x.named(claims)
		if !x.board.until(ctx.Done(), func() bool {
			return evaluated() && (failing() || x.board.have(all, start) && x.board.idle(named, end))
		}) {
			return claims, "", false
		}
	}
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	for _, k := range claims {
		if k.evals == 0 { // it reads no probe at all
			k.observe(x.board.env(x.vars, start), time.Now(), true)
		}
		if res, detail := k.judge(time.Now(), false); res != held {
			failed = k.text + " (" + detail + ")"
			break
		}
	}
	return claims, failed, true
}

func (x *experiment) named(claims []*claim) []string {
	var out []string
	for _, k := range claims {
		out = append(out, k.names...)
	}
	return out
}

// beginDuring marks the first injection: windows are cut, the hypothesis is watched, the guards are armed.
func (x *experiment) beginDuring() {
	x.during.Do(func() {
		x.injectAt = x.board.enter(event.During)
		for _, k := range x.hypothesis() {
			x.claims = append(x.claims, k)
			if k.def.Kind == check.Expect {
				continue
			}
			x.watching[k] = x.board.watch(&watcher{names: k.names, since: x.injectAt, fire: func(at time.Time, all bool) { x.look(k, at, all) }})
		}
		for _, def := range x.def.Guards {
			g := &guard{def: def, names: x.direct(def.Cond)}
			g.hold, _ = x.duration(def.For, x.vars, 0)
			x.guards = append(x.guards, x.board.watch(&watcher{names: g.names, fire: func(at time.Time, _ bool) { x.guard(g, at) }}))
		}
	})
}

// hypothesis lists the claims; no hypothesis block means `always steady`.
func (x *experiment) hypothesis() []*claim {
	var out []*claim
	steady := func(because string) {
		if x.def.Steady == nil {
			return
		}
		for _, c := range x.def.Steady.Checks {
			copied := *c
			copied.Kind = check.Always
			copied.Because = because
			if because == "" {
				copied.Because = c.Because
			}
			k := x.newClaim(&copied, "hypothesis")
			k.text = "always " + c.Cond.Text()
			out = append(out, k)
		}
	}
	if x.def.Hypothesis == nil {
		steady("")
		return out
	}
	for _, c := range x.def.Hypothesis.Checks {
		if c.Kind == check.AlwaysSteady {
			steady(c.Because)
			continue
		}
		out = append(out, x.newClaim(c, "hypothesis"))
	}
	return out
}

// look evaluates one claim at a sample; called under the board's lock.
func (x *experiment) look(k *claim, at time.Time, all bool) {
	was, state := k.falses, k.state
	wasOpen := !k.open.IsZero()
	env := x.board.env(x.vars, x.injectAt)
	k.observe(env, at, all)
	if k.state != state {
		x.stream.Emit(event.CheckState{Section: k.section, Text: k.text, At: place(k.def.Span), State: k.state, Why: k.why})
	}
	switch {
	case k.def.Kind == check.Eventually && wasOpen != !k.open.IsZero():
		to := "true"
		if !wasOpen {
			to = "false"
		}
		x.stream.Emit(event.Turned{Text: k.text, At: place(k.def.Span), To: to, Operands: operands(k.def.Cond, env)})
	case k.def.Kind != check.Eventually && was == 0 && k.falses == 1:
		x.stream.Emit(event.Turned{Text: k.text, At: place(k.def.Span), To: "false", Operands: operands(k.def.Cond, env)})
	}
	if h := x.def.Hypothesis; h != nil && h.StopWhenRefuted && k.failing() {
		x.cancel(&abort{by: "refuted", text: "the hypothesis is refuted: " + k.text})
	}
}

// guard evaluates one guard at a sample; called under the board's lock. It fails closed.
func (x *experiment) guard(g *guard, at time.Time) {
	if x.tripped != nil {
		return
	}
	env := x.board.env(x.vars, time.Time{})
	was := g.state
	trips, why := g.observe(env, at)
	if g.state != was {
		x.stream.Emit(event.CheckState{Section: "guard", Text: g.def.Text, At: place(g.def.Span), State: g.state, Why: why})
	}
	if !trips || x.ctx.Err() != nil {
		return
	}
	x.tripped = g.def
	x.stream.Emit(event.GuardTripped{Text: g.def.Text, Because: g.def.Because, At: place(g.def.Span), NoData: why, Operands: operands(g.def.Cond, env)})
	text := "guard: " + g.def.Text
	if why != "" {
		text += " (no data counts as true: " + why + ")"
	}
	x.cancel(&abort{by: "guard", text: text})
}

// inject runs the section and undoes everything that it left.
func (x *experiment) inject() (err error) {
	x.stream.Emit(event.PhaseEntered{Phase: event.During, Title: x.def.Inject.Title})
	s := &scope{}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a defect of chaos itself: %v", r)
		}
		if n := len(s.faults); n > 0 {
			x.stream.Emit(event.PhaseEntered{Phase: event.Undo, Detail: plural(n, "fault")})
		}
		if uerr := x.undoScope(s, event.Undo); err == nil {
			err = uerr
		}
		x.beginDuring() // an inject that never reached a step still has a during, if an empty one
		if err == nil && x.ctx.Err() != nil {
			err = context.Cause(x.ctx) // a guard or a signal while the last faults were undone
		}
	}()
	if err := x.strand(x.ctx, event.During, func(on *strand) error {
		return x.statements(x.ctx, block{strand: on, scope: s, vars: newVars(x.vars)}, x.def.Inject.Body)
	}); err != nil {
		return err
	}
	x.beginDuring()
	// Every probe that the hypothesis names gets to see the world after the last step, with the faults in place.
	last := x.injectAt
	x.mu.Lock()
	if x.lastStep.After(last) {
		last = x.lastStep
	}
	x.mu.Unlock()
	names := x.named(x.claims)
	for _, k := range x.claims {
		names = append(names, x.summarised(k)...)
	}
	for _, def := range x.def.Probes {
		if every, _ := x.duration(def.Every, x.vars, defaultPeriod); every > 2*time.Second && slices.Contains(names, def.Name) {
			x.stream.Emit(event.Waiting{Step: x.run.nextStep(), Phase: event.During, Text: fmt.Sprintf("wait for a sample of `%s`, so that it sees the world after the last step", def.Name),
				Most: event.Seconds(every), At: place(def.Span)})
		}
	}
	if !x.board.until(x.ctx.Done(), func() bool { return x.board.have(names, last) }) {
		return context.Cause(x.ctx)
	}
	return nil
}

// summarised lists the probes that a claim reads through `during.`.
func (x *experiment) summarised(k *claim) []string {
	var out []string
	for _, o := range k.def.Cond.Operands() {
		if o.Path[0] == "during" && len(o.Path) > 1 {
			out = append(out, o.Path[1])
		}
	}
	return out
}

// settle ends `during`. An excursion of `eventually` that is still open gets the rest of its time, so that rollback cannot
// heal it; not after an abort or a failure, when waiting would only make it worse.
func (x *experiment) settle(err error) {
	x.board.unwatch(x.guards...) // armed until all is undone
	x.board.mu.Lock()
	now := time.Now()
	for k, w := range x.watching { // samples that started in `during` still count when they come in
		if k.open.IsZero() {
			w.until = now
		}
	}
	x.board.mu.Unlock()
	entered := x.board.enter(event.Settle)
	x.mu.Lock()
	x.undone = entered
	x.mu.Unlock()
	defer func() {
		for _, w := range x.watching {
			x.board.unwatch(w)
		}
	}()
	names := x.named(x.claims)
	if err != nil || !x.board.until(x.ctx.Done(), func() bool { return x.board.idle(names, entered) }) {
		return
	}
	for shown := false; ; shown = true {
		var most time.Duration
		x.board.mu.Lock()
		for k, w := range x.watching {
			left := k.pending(time.Now())
			if left == 0 && w.until.IsZero() { // closed: what comes later is no longer its business
				w.until = time.Now()
			}
			most = max(most, left)
		}
		changed := x.board.changed
		x.board.mu.Unlock()
		if most <= 0 {
			return
		}
		if !shown {
			x.stream.Emit(event.PhaseEntered{Phase: event.Settle, Detail: "up to " + short(most)})
		}
		t := time.NewTimer(most)
		select {
		case <-changed:
		case <-t.C:
		case <-x.ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// judgement is a claim's result, kept until all can be reported in the order of the script.
type judgement struct {
	result result
	event  event.CheckJudged
}

// judge decides the claims: first, before rollback, those about the time up to now; at last those that read `after.`, and
// then all are reported.
func (x *experiment) judge(cut, last bool) {
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	for _, k := range x.claims {
		if _, done := x.judged[k]; done || k.def.After && !last {
			continue
		}
		if k.evals == 0 && (k.def.Kind == check.Expect || len(k.names) == 0) && !x.injectAt.IsZero() {
			k.observe(x.board.env(x.vars, x.injectAt), time.Now(), true)
		}
		res, detail := k.judge(time.Now(), cut)
		if k.def.Kind == check.Expect && res == held {
			detail = ""
		}
		x.judged[k] = judgement{res, k.event(res, detail, x.injectAt)}
	}
	if last {
		for _, k := range x.claims {
			x.stream.Emit(x.judged[k].event)
		}
	}
}

// verdict is the hypothesis as a whole.
func (x *experiment) verdict(err error) event.Verdict {
	if len(x.judged) == 0 { // nothing was claimed
		return event.NotJudged
	}
	worst := event.Held
	for _, j := range x.judged {
		switch {
		case j.result == refuted:
			return event.Refuted
		case j.result == inconclusive:
			worst = event.Inconclusive
		}
	}
	var a *abort
	if err != nil && !(errors.As(err, &a) && a.by == "refuted") || len(x.fruitless) > 0 {
		worst = event.Inconclusive
	}
	return worst
}

// rollback runs the script's own repair. Signals do not cut it short; each statement goes on after one that failed.
func (x *experiment) rollback() {
	if x.def.Rollback == nil {
		return
	}
	x.board.enter(event.Rollback)
	x.stream.Emit(event.PhaseEntered{Phase: event.Rollback, Title: x.def.Rollback.Title})
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(x.ctx), rollbackLimit, errors.New("rollback took longer than "+short(rollbackLimit)))
	defer cancel()
	b := block{scope: &scope{}, vars: newVars(x.vars)}
	for _, s := range x.def.Rollback.Body {
		err := x.strand(ctx, event.Rollback, func(on *strand) error {
			b.strand = on
			return x.statement(ctx, b, s)
		})
		if err != nil {
			x.left(event.Left{Text: "rollback", Error: err.Error()})
		}
	}
}

// after waits for the steady state to come back. A signal while it waits ends the waiting, and then nobody knows.
func (x *experiment) after() {
	if x.def.Steady == nil || len(x.def.Steady.Checks) == 0 {
		if !x.readsAfter() {
			return
		}
	}
	recovery, err := x.duration(x.def.Recovery, x.vars, defaultRecovery)
	if err != nil {
		recovery = defaultRecovery
	}
	ctx, cancel := x.run.untilSignal(context.WithoutCancel(x.ctx))
	defer cancel()
	x.waiting.Store(true)
	defer x.waiting.Store(false)
	x.stream.Emit(event.PhaseEntered{Phase: event.After, Detail: x.windowText()})
	began := time.Now()
	failed, err := x.window(ctx, event.After, "after", recovery)
	left := fmt.Sprintf("it did not come back within %s: %s", short(recovery), failed)
	if err != nil {
		failed = "interrupted"
		left = fmt.Sprintf("nobody knows whether it came back: the wait for it was interrupted after %s", short(time.Since(began)))
	}
	x.stream.Emit(event.PhaseEnded{Phase: event.After, OK: failed == "", Detail: failed, Took: event.Seconds(time.Since(began))})
	if failed != "" {
		x.left(event.Left{Text: "the steady state", Error: left})
	}
}

func (x *experiment) readsAfter() bool {
	for _, k := range x.claims {
		if k.def.After {
			return true
		}
	}
	return false
}
