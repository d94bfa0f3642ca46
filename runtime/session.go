package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/hold"
	"chaos/runtime/secret"
)

// Session runs statements one at a time, as somebody enters them. It is a run like any other: the same journal, helper,
// guardian and locks, so that whatever ends the process, nothing that it injected outlives it.
//
// An experiment of a session is a round: it grows with each input, and a guard that trips ends it. Methods may be called
// by one goroutine at a time; faults end by themselves meanwhile.
type Session struct {
	opts     Options
	deadline time.Duration
	run      *Run
	shared   env.Env
	journal  *event.Journal
	lock     *os.File
	began    time.Time
	fit      bool // nothing of a dead run is left that we could stand on
	exit     int
	left     []event.Left

	busy    sync.Mutex // held while an input runs, and while a round ends
	x       *experiment
	vars    *vars  // what inject has bound
	open    *scope // the faults of inject
	setup   *scope
	round   int
	entered bool // the journal knows of the round
	phase   event.Phase
	armed   map[string]bool // guards

	implicit bool // the hypothesis is `always steady`, which nobody wrote
	live     context.CancelFunc

	hidden map[string]string // secrets
	redact atomic.Pointer[func(string) string]

	mu     sync.Mutex
	count  int
	faults map[*fault]*lasting
	undone map[int]time.Time
	timed  map[int]bool   // those whose `for` ended them
	ending sync.WaitGroup // faults whose time has come
}

// setupDeadline is when the guardian ends what setup started, should we hang: a session has no end of its own.
const setupDeadline = 24 * time.Hour

// NewSession prepares a session. Nothing is written or started yet. deadline is the longest that a fault may last for
// which no time was given; 0 means that of an experiment.
func NewSession(o Options, deadline time.Duration) *Session {
	if deadline <= 0 {
		deadline = defaultDeadline
	}
	o.Script = &check.Script{Source: diag.NewSource("session", "")}
	s := &Session{opts: o, deadline: deadline, run: New(o), setup: &scope{}, faults: map[*fault]*lasting{}, undone: map[int]time.Time{}, timed: map[int]bool{}, hidden: map[string]string{}}
	s.run.stream = event.NewStream(nil, o.Sinks...)
	s.shared = env.Env{Dir: o.Dir, RunDir: s.run.dir, Runs: o.RunsDir, Hide: s.Redact, Hold: hold.NewClient(o.Helper), Rand: mrand.New(&lockedSource{src: mrand.NewPCG(s.run.seed, s.run.seed)})}
	s.newRound(newVars(nil))
	return s
}

// Dir is the folder of the run, "" as long as there is none.
func (s *Session) Dir() string {
	if s.journal == nil {
		return ""
	}
	return s.run.dir
}

// newRound starts over with what is known already.
func (s *Session) newRound(known *vars) {
	s.round++
	def := &check.Experiment{Title: "session"}
	if s.x != nil {
		def = s.x.def
	}
	x := s.run.prepare(context.Background(), def, s.shared)
	if s.x != nil {
		x.vars = s.x.vars
	}
	x.began = time.Now()
	x.sampling, x.stopSampling = context.WithCancel(context.Background())
	s.x, s.open, s.armed, s.implicit = x, &scope{}, map[string]bool{}, false
	s.vars = newVars(x.vars)
	for name, v := range known.m {
		s.vars.set(name, v)
	}
	s.entered, s.phase = false, ""
}

// enterRound makes the round the one that a dead guardian or helper aborts, and that a guard's trip ends at once.
func (s *Session) enterRound() {
	x := s.x
	s.entered = true
	s.run.mu.Lock()
	s.run.current = x
	s.run.mu.Unlock()
	title := x.def.Title
	if s.round > 1 {
		title = fmt.Sprintf("%s, round %d", title, s.round)
	}
	x.stream, x.board.stream = s.run.stream, s.run.stream
	x.stream.Emit(event.ExperimentStarted{Title: title, Owner: x.def.Owner, Tags: x.def.Tags, At: place(x.def.Span)})
	x.board.enter(event.Before)
	over, cancel := context.WithCancel(context.Background())
	s.live = cancel
	go func() {
		select {
		case <-x.env.Hold.Died():
			x.cancel(&abort{by: "helper", text: "the helper process that owns what was started has died"})
		case <-x.ctx.Done():
		case <-over.Done():
			return
		}
		<-x.ctx.Done() // a guard, a helper: whoever runs is told by its context, and then all is undone
		s.busy.Lock()
		defer s.busy.Unlock()
		if over.Err() == nil { // nobody was quicker
			s.afterAbort()
		}
	}()
}

// begin makes the run's folder. It is not made before something happens that belongs into a journal.
func (s *Session) begin() error {
	if s.journal != nil {
		if !s.entered {
			s.enterRound()
		}
		return nil
	}
	journal, lock, err := s.run.createFolder()
	if err != nil {
		return fmt.Errorf("the run's folder cannot be written: %s; choose another with --runs DIR", plainPathError(err))
	}
	s.journal, s.lock = journal, lock
	s.run.start, s.began = time.Now(), time.Now()
	s.run.stream = event.NewStream(journal, s.opts.Sinks...)
	s.run.stream.Redact(s.run.opts.Redact)
	s.run.stream.Emit(event.RunStarted{Run: s.run.id, Script: "session", Folder: s.opts.Dir, Seed: s.run.seed, Version: s.opts.Version, Pid: os.Getpid(), Experiments: 1, Params: map[string]string{}})
	s.enterRound()
	return nil
}

// Record keeps the session's script beside its journal.
func (s *Session) Record(script string) error {
	if s.journal == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(s.run.dir, "script.chaos"), []byte(script), 0o600)
}

// start takes the session for one input; ctx ends with the round too.
func (s *Session) start(ctx context.Context) (context.Context, func(), error) {
	s.busy.Lock()
	s.afterAbort()
	if err := s.begin(); err != nil {
		s.busy.Unlock()
		return nil, nil, err
	}
	x := s.x
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(x.ctx, func() { cancel(context.Cause(x.ctx)) })
	return ctx, func() {
		stop()
		cancel(nil)
		if x.ctx.Err() != nil { // the round ended under this input: undo now, and do not wait for the next
			s.afterAbort()
		}
		s.busy.Unlock()
	}, nil
}

// Use takes over what the script is by now, with the values of its parameters and its secrets; nil for no new ones.
func (s *Session) Use(def *check.Experiment, bound *check.Bound) {
	s.busy.Lock()
	defer s.busy.Unlock()
	s.afterAbort()
	x := s.x
	x.board.mu.Lock()
	x.def, x.board.steady = def, nil
	if def.Steady != nil {
		x.board.steady = def.Steady.Checks
	}
	x.board.mu.Unlock()
	if bound != nil {
		for name, v := range bound.Params {
			x.vars.set(name, v)
		}
		for name, v := range bound.Secrets {
			x.vars.set(expr.SecretKey(name), value.StringOf(v))
		}
		s.hide(bound.Hidden)
	}
	s.arm()
}

// hide keeps what is secret out of everything that is written from now on.
func (s *Session) hide(hidden map[string]string) {
	fresh := false
	for name, v := range hidden {
		fresh = fresh || s.hidden[name] != v
		s.hidden[name] = v
	}
	if fresh {
		f := secret.Redactor(s.hidden)
		s.run.opts.Redact, s.run.opts.Hidden = f, maps.Clone(s.hidden)
		s.run.stream.Redact(f)
		s.redact.Store(&f)
	}
}

// Redact hides secrets in a text.
func (s *Session) Redact(text string) string {
	if f := s.redact.Load(); f != nil && *f != nil {
		return (*f)(text)
	}
	return text
}

// arm sets the guards that came after the first injection.
func (s *Session) arm() {
	x := s.x
	if x.injectAt.IsZero() {
		return
	}
	for _, def := range x.def.Guards {
		if s.armed[def.Text] {
			continue
		}
		s.armed[def.Text] = true
		g := &guard{def: def, names: x.direct(def.Cond)}
		g.hold, _ = x.duration(def.For, x.vars, 0)
		if err := x.open(x.ctx, g.names); err != nil {
			x.stream.Emit(event.Note{Text: fmt.Sprintf("`%s` cannot be watched: %s", def.Text, err)})
			continue
		}
		x.guards = append(x.guards, x.board.watch(&watcher{names: g.names, fire: func(at time.Time, _ bool) { x.guard(g, at) }}))
	}
}

// present is the round and what it has bound. Somebody else may end it at any moment; then what is asked of it is void.
func (s *Session) present() (*experiment, *vars) {
	s.busy.Lock()
	defer s.busy.Unlock()
	return s.x, s.vars
}

// Open tells whether a probe is being sampled, so that it cannot be declared anew.
func (s *Session) Open(probe string) bool {
	x, _ := s.present()
	x.board.mu.Lock()
	defer x.board.mu.Unlock()
	_, ok := x.board.probes[probe]
	return ok
}

// Bind gives a name a value, as a `let` that was reached.
func (s *Session) Bind(name string, v value.Value) {
	_, vars := s.present()
	vars.set(name, v)
}

// Eval evaluates an expression on samples that started after the latest step.
func (s *Session) Eval(ctx context.Context, e *expr.Expr) (value.Value, error) {
	if x, vars := s.present(); len(x.probesIn(e, vars)) == 0 { // nothing is looked at, so nothing has to begin
		return x.eval(e, vars, time.Time{}), nil
	}
	ctx, done, err := s.start(ctx)
	if err != nil {
		return value.Value{}, err
	}
	defer done()
	since, err := s.fresh(ctx, e)
	if err != nil {
		return value.Value{}, err
	}
	return s.x.eval(e, s.vars, since), nil
}

// fresh waits until every probe that an expression reads has a sample that started after the latest step.
func (s *Session) fresh(ctx context.Context, e *expr.Expr) (since time.Time, err error) {
	x := s.x
	names := x.probesIn(e, s.vars)
	if err := x.open(ctx, names); err != nil {
		return since, err
	}
	x.mu.Lock()
	since = x.lastStep
	x.mu.Unlock()
	if !x.board.until(ctx.Done(), func() bool { return x.board.have(names, since) }) {
		return since, context.Cause(ctx)
	}
	return since, nil
}

// Watch calls see with the value of an expression at each new sample of its probes, until ctx ends.
func (s *Session) Watch(ctx context.Context, e *expr.Expr, see func(value.Value)) error {
	ctx, done, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer done()
	x := s.x
	names := x.probesIn(e, s.vars)
	if err := x.open(ctx, names); err != nil {
		return err
	}
	w := x.board.watch(&watcher{names: names, fire: func(_ time.Time, all bool) {
		if all {
			see(e.Eval(x.board.env(s.vars, time.Time{})))
		}
	}})
	defer x.board.unwatch(w)
	<-ctx.Done()
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return nil
}

// Sample calls a probe once. A streaming one runs for a period.
func (s *Session) Sample(ctx context.Context, p *check.Probe) (out value.Value, err error) {
	err = s.Follow(ctx, p, func(v value.Value) bool { out = v; return false })
	return out, err
}

// Follow calls a probe once a period and shows what it saw, as long as see wants more of it. None of it is journalled, and
// nothing goes on behind it. A sample that fails is no data, and an error when it was the first.
func (s *Session) Follow(ctx context.Context, p *check.Probe, see func(value.Value) (more bool)) error {
	x, vars := s.present()
	args, missing := x.arguments(p.Call, vars)
	if missing != "" {
		return errors.New(missing)
	}
	every, err := x.duration(p.Every, vars, defaultPeriod)
	if err != nil {
		return err
	}
	factory, ok := x.reg.Probes.Probe(p.Call.Spec.Name)
	if !ok {
		return fmt.Errorf("there is no probe `%s`", p.Call.Spec.Name)
	}
	return guardPanic(p.Call.Spec.Name, func() error {
		opened, err := factory.Open(ctx, x.env, args)
		if err != nil {
			return err
		}
		defer opened.Close()
		streamer, streams := opened.(probes.Streamer)
		if streams {
			if err := streamer.Start(ctx); err != nil {
				return err
			}
		}
		for first := true; ; first = false {
			var v value.Value
			var err error
			due := time.Now().Add(every)
			if streams {
				if err = pause(ctx, every); err == nil {
					v, _ = streamer.Next()
				}
			} else {
				v, err = sampleOnce(ctx, opened)
			}
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && first:
				return err
			case err != nil:
				v = value.NoData("%s", err)
			}
			if !see(v) {
				return nil
			}
			if err := pause(ctx, time.Until(due)); err != nil {
				return err
			}
		}
	})
}

// sampleOnce takes a sample within the probe's own timeout.
func sampleOnce(ctx context.Context, opened probes.Opened) (value.Value, error) {
	o, ok := opened.(probes.Sampler)
	if !ok {
		return value.Value{}, errors.New("it neither samples nor streams")
	}
	timeout := defaultTimeout
	if t := o.Timeout(); t > 0 {
		timeout = t
	}
	within, cancel := context.WithTimeout(ctx, timeout+hangGrace)
	defer cancel()
	v, err := o.Sample(within)
	if err != nil && ctx.Err() == nil {
		err = errors.New(plainError(err, timeout))
	}
	return v, err
}

// fitToAct refuses to act on top of what a dead run left.
func (s *Session) fitToAct(ctx context.Context) error {
	if s.fit {
		return nil
	}
	if problems := s.run.leftBehind(ctx); len(problems) > 0 {
		return &UnfitError{Problems: problems}
	}
	s.fit = true
	return nil
}

// Close undoes everything, newest first, and ends the run. With hurry nothing is waited for that is no undo.
func (s *Session) Close(ctx context.Context, hurry bool) (exit int, left []event.Left) {
	s.busy.Lock()
	defer s.busy.Unlock()
	s.afterAbort()
	if s.journal == nil {
		s.x.stopSampling()
		command.EndLitter(s.run.dir)
		return exitHeld, nil
	}
	if !s.entered && len(s.setup.faults) > 0 {
		s.enterRound()
	}
	if s.entered {
		s.endRound(ctx, hurry, true)
	} else {
		s.x.stopSampling()
	}
	if err := s.shared.Hold.Close(); err != nil {
		s.run.stream.Emit(event.Note{Text: "the helper process: " + err.Error()})
		s.exit = worse(s.exit, exitNotRestored)
	}
	s.run.locks.Close()
	s.run.mu.Lock()
	s.run.current = nil
	s.run.mu.Unlock()
	s.run.stream.EmitSync(event.RunEnded{Exit: s.exit, Took: event.Seconds(time.Since(s.began)), Dir: s.run.dir})
	s.run.farewell()
	s.journal.Close()
	s.lock.Close()
	return s.exit, s.left
}

// SetFolder changes where relative paths start. It can be done as long as nothing has begun.
func (s *Session) SetFolder(dir string) bool {
	if s.journal != nil {
		return false
	}
	s.opts.Dir, s.shared.Dir, s.x.env.Dir = dir, dir, dir
	s.run.opts.Dir = dir
	return true
}
