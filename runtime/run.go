// Package runtime runs a checked script: it plans, sets up, watches, injects, undoes, judges, and says all of it in one
// stream of events. It knows the contracts of actions and probes, none of them by name.
package runtime

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/guardian"
	"chaos/runtime/hold"
	"chaos/runtime/recovery"
	"chaos/runtime/target"
)

// Options say what to run and how.
type Options struct {
	Script     *check.Script
	Registries Registries
	Params     map[string]value.Value
	Secrets    map[string]string   // what `secret("NAME")` stands for, by name
	Redact     func(string) string // hides secrets in a text; nil for none
	Hidden     map[string]string   // the secrets that Redact hides, by name, for those who undo when this process is gone
	Seed       uint64              // 0: drawn, and recorded
	Dir        string              // the script's folder
	RunsDir    string              // where the run's folder is made
	Version    string
	Helper     []string // how to start the helper; nil: this executable
	Guardian   []string // how to start the guardian; nil: this executable
	Sinks      []event.Sink
	Rehearse   bool // before and after, no inject

	// Lacks is what the machine lacks for a call, whoever its target will be; nil where nobody can tell.
	Lacks func(*spec.Call) []spec.Need
}

// Result is what a run came to.
type Result struct {
	Exit int
	Dir  string // the run's folder
}

// UnfitError lists why nothing was started: exit code 2.
type UnfitError struct{ Problems []diag.Diagnostic }

func (e *UnfitError) Error() string { return diag.List(e.Problems).Error() }

// InterruptedError says that a signal came before anything was started.
type InterruptedError struct{ Signal string }

func (e *InterruptedError) Error() string {
	return "interrupted by " + e.Signal + ": nothing was started"
}

// Run is one run of a script.
type Run struct {
	opts   Options
	id     string
	seed   uint64
	stream *event.Stream
	dir    string
	start  time.Time
	locks  *recovery.TargetLocks

	unguarded bool // of the tests in virtual time, where no process can be started

	guardMu  sync.Mutex
	guardian *guardian.Client

	mu       sync.Mutex
	steps    int
	undos    int
	current  *experiment
	ended    bool
	signals  int
	signal   string
	planning context.CancelFunc // ends what comes before the first experiment
	signaled chan struct{}      // closed and replaced at every signal
}

// New prepares a run. Nothing is written or started yet.
func New(o Options) *Run {
	r := &Run{opts: o, seed: o.Seed, signaled: make(chan struct{})}
	if r.seed == 0 {
		var b [8]byte
		rand.Read(b[:])
		r.seed = binary.LittleEndian.Uint64(b[:])>>33 + 1 // short enough to be typed again
	}
	r.id = freeID(o.RunsDir, time.Now(), rand.Reader)
	r.dir = filepath.Join(o.RunsDir, r.id)
	if abs, err := filepath.Abs(r.dir); err == nil { // the guardian and the helper live elsewhere
		r.dir = abs
	}
	self, _ := target.ProcessIdentity(os.Getpid())
	r.locks = recovery.NewTargetLocks(recovery.Holder{Run: r.id, RunsDir: filepath.Dir(r.dir), Runner: self})
	return r
}

// freeID is the time and a random number that is short enough to be typed. Of the runs that begin within one second, as those
// of a script that starts many, two draw the same number now and then, so one that has a folder already is drawn again.
func freeID(folder string, now time.Time, random io.Reader) (id string) {
	for range 100 {
		var b [2]byte
		io.ReadFull(random, b[:])
		id = now.UTC().Format("20060102-150405-") + hex.EncodeToString(b[:])
		if _, err := os.Lstat(filepath.Join(folder, id)); err != nil {
			break
		}
	}
	return id
}

// ID names the run, and its folder.
func (r *Run) ID() string { return r.id }

func (r *Run) nextStep() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	return r.steps
}

func (r *Run) nextUndo() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.undos++
	return fmt.Sprintf("u%d", r.undos)
}

// Interrupt is what a signal does: the first aborts the run; while it undoes, further ones only tell what is left.
func (r *Run) Interrupt(signal string) {
	r.mu.Lock()
	r.signals++
	first := r.signals == 1
	if first {
		r.signal = signal
	}
	x := r.current
	close(r.signaled)
	r.signaled = make(chan struct{})
	if r.planning != nil {
		r.planning()
	}
	r.mu.Unlock()
	if x == nil {
		return
	}
	if first {
		x.cancel(&abort{by: "signal", text: "interrupted by " + signal})
		return
	}
	if x.waiting.Load() {
		r.stream.Emit(event.Note{Text: signal + ": no longer waiting for the steady state"})
	} else if left := x.undoing.texts(); len(left) > 0 {
		r.stream.Emit(event.Note{Text: signal + ": still undoing " + strings.Join(left, ", ") + "; nothing cuts that short"})
	} else {
		r.stream.Emit(event.Note{Text: signal + ": already winding down; nothing cuts that short"})
	}
}

// interrupted is an *InterruptedError once a signal came.
func (r *Run) interrupted() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.signals == 0 {
		return nil
	}
	return &InterruptedError{Signal: r.signal}
}

// untilSignal returns a context that the next signal ends, but never the first: that one aborts, and still gets its look
// at the steady state.
func (r *Run) untilSignal(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	r.mu.Lock()
	enough := max(r.signals+1, 2)
	r.mu.Unlock()
	go func() {
		for {
			r.mu.Lock()
			next, now := r.signaled, r.signals
			r.mu.Unlock()
			if now >= enough {
				cancel()
				return
			}
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

// Execute runs everything. An *UnfitError means that nothing was started.
func (r *Run) Execute(ctx context.Context) (res Result, err error) {
	shared := env.Env{Dir: r.opts.Dir, RunDir: r.dir, Runs: r.opts.RunsDir, Hide: r.opts.Redact, Hold: hold.NewClient(r.opts.Helper), Rand: mrand.New(&lockedSource{src: mrand.NewPCG(r.seed, r.seed)})}
	defer func() {
		if cerr := shared.Hold.Close(); cerr != nil && err == nil {
			r.stream.Emit(event.Note{Text: "the helper process: " + cerr.Error()})
			res.Exit = worse(res.Exit, exitNotRestored)
		}
	}()
	defer r.locks.Close()
	looking, enough := context.WithCancel(ctx)
	defer enough()
	r.mu.Lock()
	r.planning = enough
	if r.signals > 0 {
		enough()
	}
	r.mu.Unlock()
	if problems := r.leftBehind(looking); r.interrupted() != nil {
		return Result{Exit: exitAborted}, r.interrupted()
	} else if len(problems) > 0 {
		return Result{Exit: exitUnfit}, &UnfitError{Problems: problems}
	}
	plans := make([]*experiment, len(r.opts.Script.Experiments))
	r.stream = event.NewStream(nil)
	r.stream.Redact(r.opts.Redact)
	var problems []diag.Diagnostic
	for i, def := range r.opts.Script.Experiments {
		plans[i] = r.prepare(ctx, def, shared)
		problems = append(problems, plans[i].plan(looking)...)
		if err := r.interrupted(); err != nil {
			return Result{Exit: exitAborted}, err
		}
	}
	if hide := r.opts.Redact; hide != nil {
		for i, d := range problems {
			problems[i].Message, problems[i].Hint = hide(d.Message), hide(d.Hint)
		}
	}
	if len(problems) > 0 {
		return Result{Exit: exitUnfit}, &UnfitError{Problems: problems}
	}
	journal, lock, err := r.createFolder()
	if err != nil {
		return Result{Exit: exitUnfit}, &UnfitError{Problems: []diag.Diagnostic{
			diag.Errorf(diag.BadFile, diag.Span{File: r.dir, Start: diag.Pos{Line: 1, Col: 1}}, "the run's folder cannot be written: %s", plainPathError(err)).
				WithHint("choose another with `--runs DIR`"),
		}}
	}
	defer lock.Close()
	defer journal.Close()
	defer r.farewell()
	r.start = time.Now()
	r.stream = event.NewStream(journal, r.opts.Sinks...)
	r.stream.Redact(r.opts.Redact)
	began := time.Now()
	started := event.RunStarted{Run: r.id, Script: r.opts.Script.Source.File, Folder: r.opts.Dir, Seed: r.seed, Version: r.opts.Version, Pid: os.Getpid(), Experiments: len(plans), Params: map[string]string{}}
	for name, v := range r.opts.Params {
		started.Params[name] = v.String()
	}
	r.stream.Emit(started)
	res = Result{Dir: r.dir}
	skipped := 0
	for i, x := range plans {
		r.mu.Lock()
		stop := r.signals > 0
		if !stop {
			r.current = x
		}
		r.mu.Unlock()
		if stop {
			skipped = len(plans) - i
			break
		}
		exit, goOn := x.report()
		res.Exit = worse(res.Exit, exit)
		if !goOn {
			skipped = len(plans) - i - 1
			break
		}
	}
	r.mu.Lock()
	r.current = nil
	if skipped > 0 && r.signals > 0 {
		res.Exit = worse(res.Exit, exitAborted)
	}
	r.mu.Unlock()
	r.stream.EmitSync(event.RunEnded{Exit: res.Exit, Took: event.Seconds(time.Since(began)), Skipped: skipped, Dir: r.dir})
	if jerr := r.stream.Err(); jerr != nil {
		res.Exit = worse(res.Exit, exitInconclusive) // what cannot be read again cannot be trusted
		return res, fmt.Errorf("the journal could not be written to the end: %w", jerr)
	}
	return res, nil
}

func (r *Run) createFolder() (*event.Journal, *os.File, error) {
	journal, err := event.CreateJournal(r.dir)
	if err != nil {
		return nil, nil, err
	}
	if err = saveTexts(r.dir, r.opts.Script); err == nil {
		var lock *os.File
		if lock, err = recovery.Lock(r.dir, recovery.RunnerLock); err == nil {
			return journal, lock, nil
		}
	}
	journal.Close()
	return nil, nil, err
}

// plainPathError drops the operation's name, which says nothing to a user.
func plainPathError(err error) string {
	if p, ok := err.(*os.PathError); ok {
		return fmt.Sprintf("%s: %s", p.Path, p.Err)
	}
	return err.Error()
}

// prepare makes an experiment ready to be planned and executed.
func (r *Run) prepare(ctx context.Context, def *check.Experiment, shared env.Env) *experiment {
	var steady []*check.Check
	if def.Steady != nil {
		steady = def.Steady.Checks
	}
	x := &experiment{run: r, def: def, reg: r.opts.Registries, env: shared, vars: newVars(nil), judged: map[*claim]judgement{}, watching: map[*claim]*watcher{}}
	x.ctx, x.abort = context.WithCancelCause(ctx) // now, since a signal may come as soon as it is the current one
	for name, v := range r.opts.Params {
		x.vars.set(name, v)
	}
	for name, v := range r.opts.Secrets {
		x.vars.set(expr.SecretKey(name), value.StringOf(v))
	}
	x.env.Log = func(text string) { x.stream.Emit(event.Log{Text: text}) }
	x.stream = r.stream
	x.board = newBoard(r.stream, steady)
	return x
}

// report executes one experiment and says what came of it.
func (x *experiment) report() (exit int, goOn bool) {
	x.stream = x.run.stream
	x.board.stream = x.run.stream
	x.stream.Emit(x.started())
	out := x.execute()
	exit = exitCode(out, len(x.fruitless) > 0)
	for _, f := range x.fruitless {
		if out.reason == "" {
			out.reason = "no effect: " + f
		}
	}
	x.stream.Emit(event.ExperimentEnded{Title: x.def.Title, Verdict: out.verdict, Outcome: out.outcome, Reason: out.reason, Restoration: out.restoration,
		Left: out.left, Exit: exit, Took: event.Seconds(time.Since(x.began))})
	return exit, !(exit == exitNotRestored || out.by == "signal" || out.fileGuard)
}

// lockedSource makes a random source safe for the branches of `parallel`.
type lockedSource struct {
	mu  sync.Mutex
	src mrand.Source
}

func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src.Uint64()
}
