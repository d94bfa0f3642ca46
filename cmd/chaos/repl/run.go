package repl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/token"
	"chaos/lang/value"
	"chaos/runtime/event"
)

// hiddenName is what an expression is bound to while it is checked.
const hiddenName = "__value"

// isOperand tells that a token can begin an expression, so that `watch x` is no expression itself.
func isOperand(t token.Token) bool {
	return t.Kind == token.Name && !token.IsWordOp(t.Text) || t.Is("(") || t.Is("[") || t.Kind == token.Number || t.Kind == token.String
}

// typed checks an expression as it would be in inject.
func (r *REPL) typed(c chunk) (*expr.Expr, bool) {
	if ds := c.malformed(); r.show(ds, c.src) {
		return nil, false
	}
	p := &piece{src: c.src, from: c.from, to: c.to, prefix: "let " + hiddenName + " =\n", where: inject, hidden: true}
	ck := r.book.with(p).check()
	if r.show(ck.diags, ck.sources...) {
		return nil, false
	}
	return r.valueOf(ck, p)
}

// valueOf is the expression that a hidden piece became.
func (r *REPL) valueOf(ck *checked, p *piece) (*expr.Expr, bool) {
	for _, st := range ck.of(p) {
		if let, ok := st.(*check.LetStmt); ok {
			return let.Value, r.use(ck) // it may mention a probe that nothing did before
		}
	}
	return nil, false
}

func (r *REPL) expression(ctx context.Context, c chunk) bool {
	if name, called := r.registered(c); name != "" {
		if !called && len(c.tokens) == 2*strings.Count(name, ".")+1 { // nothing but a name: whoever types it wants to know
			return r.doc(ctx, name)
		}
		if called {
			r.view.say("bad", "✗ ", fmt.Sprintf("`%[1]s(…)` is no part of an expression: name it with `probe n = %[1]s(…)`, and read `n`", name))
			return false
		}
	}
	if readsWhole(c) && len(c.malformed()) == 0 {
		return r.summary(ctx, c)
	}
	e, ok := r.typed(c)
	if !ok {
		return false
	}
	v, err := r.session.Eval(ctx, e)
	if err != nil {
		return r.fails(ctx, err)
	}
	if e.Tainted() {
		r.view.say("dim", "", "a secret is not shown")
		return true
	}
	r.value(v)
	return true
}

// registered is the first action, probe or family that a chunk names, and whether it is called.
func (r *REPL) registered(c chunk) (name string, called bool) {
	reg := r.cfg.Options.Registries
	for i, t := range c.tokens {
		if t.Kind != token.Name || i > 0 && c.tokens[i-1].Is(".") || r.known(t.Text) {
			continue
		}
		end := i + 1
		for end+1 < len(c.tokens) && c.tokens[end].Is(".") {
			end += 2
		}
		name = dotted(c.tokens[:end])
		called = end < len(c.tokens) && c.tokens[end].Is("(")
		if _, is := reg.Call(name); is {
			return name, called
		}
		if !called && i == 0 && slices.ContainsFunc(reg.Names(), func(n string) bool { return strings.HasPrefix(n, t.Text+".") }) {
			return name, false
		}
	}
	return "", false
}

// known tells that a name is one of the session.
func (r *REPL) known(name string) bool {
	return slices.ContainsFunc(r.book.pieces, func(p *piece) bool { return p.name == name || p.as == name })
}

// readsWhole tells that an expression is about `during` or `after`.
func readsWhole(c chunk) bool {
	for i, t := range c.tokens {
		if (t.Is("during") || t.Is("after")) && i+1 < len(c.tokens) && c.tokens[i+1].Is(".") && (i == 0 || !c.tokens[i-1].Is(".")) {
			return true
		}
	}
	return false
}

// summary shows what a phase amounts to so far. A script may ask for that at its end only, so it is checked as there:
// as a condition, or compared with nothing.
func (r *REPL) summary(ctx context.Context, c chunk) bool {
	var first *checked
	for _, nothing := range []string{"", " != 0", ` != ""`} {
		src := diag.NewSource(c.src.File, c.src.Text[:c.to]+nothing)
		p := &piece{src: src, from: c.from, to: len(src.Text), prefix: "expect ", where: hypothesis, hidden: true}
		ck := r.book.with(p).check()
		if first == nil {
			first = ck
		}
		list := ck.claims(p)
		if ck.diags.HasErrors() || len(list) != 1 || !r.use(ck) {
			continue
		}
		ops, err := r.session.Operands(ctx, list[0].Cond)
		if err != nil {
			return r.fails(ctx, err)
		}
		for _, o := range ops {
			r.view.say("", "", o.Text+" = "+o.Value)
		}
		if nothing == "" {
			v, err := r.session.Eval(ctx, list[0].Cond)
			if err != nil {
				return r.fails(ctx, err)
			}
			r.value(v)
		}
		return true
	}
	return !r.show(first.diags, first.sources...)
}

// declare keeps a declaration, at the top of the script if it can stand there, else in the experiment.
func (r *REPL) declare(c chunk) bool {
	file, ds := c.syntaxOf()
	if r.show(ds, c.src) {
		return false
	}
	p := &piece{src: c.src, from: c.from, to: c.to}
	places := []where{inFile}
	for _, item := range file.Items {
		switch s := item.(type) {
		case *syntax.Use:
			p.name = moduleName(s)
		case *syntax.Param:
			p.name = s.Name.Text
		case *syntax.Action:
			p.name = s.Name.Text
		case *syntax.Let:
			p.name, places = s.Name.Text, []where{inFile, inMember, inject}
		case *syntax.Probe:
			p.name = s.Name.Text
			if s.Formals == nil {
				places = []where{inFile, inMember}
			}
		case *syntax.Abort:
			places = []where{inMember}
		case *syntax.Attr:
			p.name, places = s.Name.Text, []where{inMember}
			p.name += ":" // no name of a value
		}
	}
	if r.session.Open(p.name) {
		r.view.say("bad", "✗ ", fmt.Sprintf("`%s` is being sampled, and what was seen belongs to it: give this one another name", p.name))
		return false
	}
	return r.place(p, places)
}

func moduleName(s *syntax.Use) string {
	if s.As != nil {
		return s.As.Text
	}
	name := s.Path.Value[strings.LastIndexByte(s.Path.Value, '/')+1:]
	return strings.TrimSuffix(name, ".chaos")
}

// place puts a declaration where it checks.
func (r *REPL) place(p *piece, places []where) bool {
	var last *checked
	for _, w := range places {
		p.where = w
		b := r.book.with(p)
		c := b.check()
		if !c.diags.HasErrors() {
			if !r.adopt(b, c) {
				return false
			}
			return r.declared(p)
		}
		last = c
		if w == inMember && !slices.Contains(places, inject) { // a probe: a `let` can stand behind its step
			if b, c, names := r.promoted(p); c != nil {
				if !r.adopt(b, c) {
					return false
				}
				for _, n := range names {
					r.session.Promote(n)
					r.view.say("dim", "", fmt.Sprintf("`%s` is part of setup now: it lasts until the session ends", n))
				}
				return r.declared(p)
			}
		}
	}
	r.show(last.diags, last.sources...)
	return false
}

// promoted is the book with the steps moved to setup whose results a declaration needs, nil when that does not help.
func (r *REPL) promoted(p *piece) (*book, *checked, []string) {
	b := r.book.with(p)
	used := map[string]bool{}
	for _, t := range token.ScanRange(p.src, p.from, p.to).Tokens {
		used[t.Text] = t.Kind == token.Name
	}
	var names []string
	pieces := make([]*piece, len(b.pieces))
	for i, q := range b.pieces {
		pieces[i] = q
		if end, _ := b.endOf(q); q.where == inject && q.done && q.as != "" && used[q.as] && end.IsZero() {
			moved := *q
			moved.where = setup
			pieces[i] = &moved
			names = append(names, q.as)
		}
	}
	if len(names) == 0 {
		return nil, nil, nil
	}
	b.pieces = pieces
	c := b.check()
	if c.diags.HasErrors() {
		return nil, nil, nil
	}
	return b, c, names
}

// declared tells what a declaration amounts to, and evaluates a `let` of inject.
func (r *REPL) declared(p *piece) bool {
	if p.where == inject {
		for _, st := range r.state.of(p) {
			if let, ok := st.(*check.LetStmt); ok {
				ctx, done := r.start()
				v, err := r.session.Eval(ctx, let.Value)
				done()
				if err == nil && v.IsMissing() {
					err = fmt.Errorf("`%s` has no value: %s", let.Name, v.Why())
				}
				if err != nil {
					return r.fails(ctx, err)
				}
				r.session.Bind(let.Name, v)
				p.done, p.at, p.begun = true, time.Now(), time.Now()
				r.view.say("dim", "", let.Name+" = "+v.Short())
			}
		}
		return true
	}
	for _, q := range r.state.script.Params {
		if q.Name == p.name && q.Default != nil && !q.Secret {
			r.view.say("dim", "", q.Name+": "+q.Type.String())
		}
	}
	return true
}

// call runs what is either a step or a call of a probe.
func (r *REPL) call(ctx context.Context, c chunk) bool {
	file, ds := c.syntaxOf()
	if r.show(ds, c.src) {
		return false
	}
	step, ok := file.Items[0].(*syntax.Step)
	if !ok {
		return r.do(ctx, c, inject)
	}
	s, known := r.cfg.Options.Registries.Call(step.Call.Name())
	if !known && r.definesProbe(step.Call.Name(), c) {
		return r.sample(ctx, c)
	}
	if known && s.Kind == spec.Probe {
		return r.sample(ctx, c)
	}
	return r.do(ctx, c, inject)
}

// definesProbe tells whether a definition of the script is one of a probe.
func (r *REPL) definesProbe(name string, c chunk) bool {
	if !r.callable(name) && !strings.Contains(name, ".") {
		return false
	}
	ck := r.book.with(&piece{src: c.src, from: c.from, to: c.to, where: inject, hidden: true}).check()
	for _, d := range ck.diags {
		if d.Code == diag.NotAnAction {
			return true
		}
	}
	return false
}

// sample calls a probe once and shows what it saw.
func (r *REPL) sample(ctx context.Context, c chunk) bool {
	probe, ok := r.called(c)
	if !ok {
		return false
	}
	v, err := r.session.Sample(ctx, probe)
	if err != nil {
		return r.fails(ctx, err)
	}
	r.value(v)
	return true
}

// called is the probe that a call amounts to, which has no name.
func (r *REPL) called(c chunk) (*check.Probe, bool) {
	p := &piece{src: c.src, from: c.from, to: c.to, prefix: "probe " + hiddenName + " =\n", where: inMember, hidden: true}
	mention := &piece{src: diag.NewSource("mention", hiddenName), to: len(hiddenName), prefix: "let " + hiddenName + "_ =\n", where: inject, hidden: true}
	ck := r.book.with(p).with(mention).check()
	if ck.diags.HasErrors() {
		if b, again, _ := r.promoted(p); again != nil {
			ck = b.with(mention).check()
		}
	}
	if r.show(ck.diags, ck.sources...) || !r.use(ck) {
		return nil, false
	}
	i := slices.IndexFunc(ck.def.Probes, func(p *check.Probe) bool { return p.Name == hiddenName })
	if i < 0 {
		return nil, false
	}
	return ck.def.Probes[i], true
}

// statement reads what the book has to know of a step: the name of its result, and where its `for` stands.
func statement(p *piece, st syntax.Stmt) {
	step, ok := st.(*syntax.Step)
	if !ok {
		return
	}
	for _, cl := range step.Clauses {
		switch cl.Kind() {
		case "as":
			p.as = cl.Name.Text
		case "for":
			p.lasts = [2]int{cl.Span.Start.Offset, cl.Span.End.Offset}
		}
	}
}

// do runs a statement of inject, setup or rollback.
func (r *REPL) do(ctx context.Context, c chunk, w where) bool {
	file, ds := c.syntaxOf()
	if r.show(ds, c.src) {
		return false
	}
	p := &piece{src: c.src, from: c.from, to: c.to, where: w}
	for _, st := range file.Items {
		statement(p, st)
	}
	b := r.book.with(p)
	ck := b.check()
	if r.show(ck.diags, ck.sources...) {
		return false
	}
	return r.perform(ctx, p, b, ck)
}

// phases in which the statements of sections run.
var phases = map[where]event.Phase{setup: event.Setup, inject: event.During, rollback: event.Rollback}

// perform runs a checked statement and keeps it if it went well.
func (r *REPL) perform(ctx context.Context, p *piece, b *book, ck *checked) bool {
	before, state := r.book, r.state
	if !r.adopt(b, ck) {
		return false
	}
	back := func(err error) bool {
		r.book, r.state = before, state
		r.session.Use(state.def, nil)
		return r.fails(ctx, err)
	}
	list := ck.of(p)
	if p.where != rollback && !r.announce(ctx, list) { // what rollback does is meant to stay
		return back(nil)
	}
	p.begun = time.Now()
	r.view.begin()
	faults, err := r.session.Do(ctx, phases[p.where], list)
	if shown := r.view.end(); err != nil {
		if shown && ctx.Err() == nil { // the step said so itself
			err = nil
		}
		return back(err)
	}
	p.done, p.at, p.faults = true, time.Now(), faults
	for _, f := range r.session.Faults() {
		for _, n := range faults {
			if f.Number == n {
				r.view.say("dim", "  ", faultLine(f))
			}
		}
	}
	return true
}

// announce prints the plan of a step in a line, and asks before what nothing can undo.
func (r *REPL) announce(ctx context.Context, list []check.Stmt) bool {
	if r.shown { // and confirmed
		return true
	}
	var once []string // a step that is repeated is announced once
	for _, plan := range r.session.Plan(ctx, list) {
		what := plan.Does
		if what == "" {
			what = plan.Step.Text
		}
		if plan.Err != nil && !plan.Irreversible || slices.Contains(once, what) { // the step itself says it, with all its words
			continue
		}
		once = append(once, what)
		if plan.Irreversible {
			r.view.say("warn", "! ", what+": nothing can undo this")
			if r.cfg.Terminal && !slices.Contains(yes, r.ask("do it? [y/N] ")) {
				r.view.say("dim", "", "not done")
				return false
			}
			continue
		}
		if !plan.Harmless {
			r.view.say("dim", "→ ", joined(what, plan.Lifetime, strings.Join(plan.Undo, ", ")))
		}
	}
	return true
}

// yes is what counts as one.
var yes = []string{"y", "yes"}

// joined parts a line's facts.
func joined(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " · ")
}

// rewritten is a piece of other words than were entered.
func rewritten(c chunk, text string, w where) *piece {
	src := diag.NewSource(c.src.File, text)
	return &piece{src: src, to: len(text), where: w, done: true, begun: time.Now(), at: time.Now()}
}

// claim judges an `expect` now, and keeps it where a script would have it: in steady before anything is broken; behind
// that a true one as a wait, a false one as what it refutes. The others are watched.
func (r *REPL) claim(ctx context.Context, c chunk) bool {
	w := hypothesis
	if c.tokens[0].Text == "expect" && !r.session.Injected() {
		w = steady
	}
	p := &piece{src: c.src, from: c.from, to: c.to, where: w}
	b := r.book.with(p)
	ck := b.check()
	if r.show(ck.diags, ck.sources...) {
		return false
	}
	list := ck.claims(p)
	if len(list) != 1 {
		return false
	}
	k := list[0]
	if k.Kind != check.Expect || readsPhase(k) {
		if !r.adopt(b, ck) {
			return false
		}
		if err := r.session.Claim(ctx, k); err != nil {
			return r.fails(ctx, err)
		}
		when := "watched from the first injection on"
		switch {
		case k.Kind == check.Expect:
			when = "judged at the end"
		case r.session.Injected():
			when = "watched from now on"
		}
		r.view.say("dim", "", when)
		return true
	}
	if !r.use(ck) {
		return false
	}
	held, err := r.session.Expect(ctx, k)
	if err != nil {
		r.session.Use(r.state.def, nil)
		return r.fails(ctx, err)
	}
	cond := strings.TrimSpace(strings.TrimPrefix(stripComments(c.text()), "expect"))
	switch {
	case w == steady && !held:
		r.session.Use(r.state.def, nil)
		r.view.say("dim", "  ", "not kept: the steady state of a script holds before anything is broken")
		return r.cfg.Terminal
	case w == steady:
		return r.adopt(b, ck)
	case held:
		p = rewritten(c, "wait until "+cond+" within 30s", inject)
	default:
		p = rewritten(c, "always "+cond, hypothesis)
	}
	if len(k.Cond.Operands()) == 0 {
		return true
	}
	if b = r.book.with(p); !b.check().diags.HasErrors() {
		return r.adopt(b, b.check())
	}
	return true
}

// readsPhase tells that a check is about a whole phase, which is not over.
func readsPhase(k *check.Check) bool {
	if k.Cond == nil {
		return true
	}
	for _, o := range k.Cond.Operands() {
		if root := o.Path[0]; root == "during" || root == "after" {
			return true
		}
	}
	return false
}

// section takes a whole block: its statements one after the other.
func (r *REPL) section(ctx context.Context, c chunk) bool {
	file, ds := c.syntaxOf()
	if r.show(ds, c.src) {
		return false
	}
	s, ok := file.Items[0].(*syntax.Section)
	if !ok {
		return false
	}
	w := where(s.Kind)
	if s.Title != nil {
		r.book.titles[w] = s.Title.Raw
	}
	for _, st := range s.Body.Stmts {
		at := st.At()
		part := chunk{src: c.src, from: at.Start.Offset, to: at.End.Offset, tokens: token.ScanRange(c.src, at.Start.Offset, at.End.Offset).Tokens}
		ok := false
		switch st := st.(type) {
		case *syntax.Attr, *syntax.Let:
			p := &piece{src: c.src, from: part.from, to: part.to, where: w}
			if attr, is := st.(*syntax.Attr); is {
				p.name = attr.Name.Text + ":" // entered anew, it replaces the one before
			}
			if w == inject || w == setup || w == rollback {
				ok = r.do(ctx, part, w)
				break
			}
			b := r.book.with(p)
			ck := b.check()
			ok = !r.show(ck.diags, ck.sources...) && r.adopt(b, ck)
		case *syntax.Check:
			if w == setup {
				ok = r.do(ctx, part, w)
				break
			}
			if w == steady && r.session.Injected() {
				p := &piece{src: c.src, from: part.from, to: part.to, where: w}
				b := r.book.with(p)
				ck := b.check()
				ok = !r.show(ck.diags, ck.sources...) && r.adopt(b, ck)
				break
			}
			ok = r.claim(ctx, part)
		default:
			ok = r.do(ctx, part, w)
		}
		if !ok {
			return false
		}
	}
	return true
}

// end is where the call of a chunk ends, before its clauses.
func (c chunk) end() int {
	for i, t := range c.tokens {
		if i > 0 && t.Kind == token.Name && token.Clauses[t.Text] && c.tokens[i-1].Is(")") {
			return c.tokens[i-1].Stop()
		}
	}
	return c.to
}

// watch draws a live line of values: of an expression at each new sample of its probes, or of a call of a probe.
func (r *REPL) watch(ctx context.Context, c chunk) bool {
	if !r.cfg.Terminal {
		r.view.say("bad", "✗ ", "`watch` draws until Ctrl-C, and nobody sits there to press it; write the expression alone, or `wait until` it")
		return false
	}
	from := c.tokens[1].Off
	part := chunk{src: c.src, from: from, to: c.to, tokens: c.tokens[1:]}
	var follow func(see func(value.Value)) error
	if part.classify(r.cfg.Options.Registries, r.callable) == kCall {
		probe, ok := r.called(part)
		if !ok {
			return false
		}
		follow = func(see func(value.Value)) error {
			return r.session.Follow(ctx, probe, func(v value.Value) bool { see(v); return true })
		}
	} else {
		e, ok := r.typed(part)
		if !ok {
			return false
		}
		follow = func(see func(value.Value)) error { return r.session.Watch(ctx, e, see) }
	}
	s := &spark{view: r.view, name: c.src.Text[from:part.end()]}
	seen := make(chan value.Value, 64)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for v := range seen {
			s.add(v)
		}
	}()
	err := follow(func(v value.Value) {
		select {
		case seen <- v: // never block the board
		default:
		}
	})
	close(seen)
	<-finished
	s.end()
	if err != nil && ctx.Err() == nil {
		return r.fails(ctx, err)
	}
	return true
}
