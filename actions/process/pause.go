package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

type pauseArgs struct{ target.Selector }

func pause() actions.Action {
	return actions.Define(spec.Call{
		Name: "process.pause",
		Summary: "Stops every thread of a process, as SIGSTOP would, but by ptrace: whatever becomes of the run, the kernel lets it run on. " +
			"Where ptrace is refused it is SIGSTOP indeed, and the guardian lets it run on.",
		Example:  `process.pause(port: 5432) for 10s`,
		Selects:  true,
		Result:   value.THandle,
		Spares:   target.Spared,
		Undo:     "let it run on",
		Lifetime: string(actions.Kernel),
		Needs: []spec.Need{
			{Kind: "privilege", Name: "CAP_KILL", Install: "for processes of other users: run as root"},
			{Kind: "kernel", Name: "ptrace", Install: "run as root, or set kernel.yama.ptrace_scope=0; without it by SIGSTOP"},
		},
	}, planPause)
}

func planPause(_ context.Context, e env.Env, in pauseArgs) (actions.Plan, error) {
	found, err := in.Resolve(e.Pick, e.Rand)
	if err != nil {
		return actions.Plan{}, err
	}
	plan := actions.Plan{
		Targets:  identities(found),
		Lifetime: actions.Kernel,
		Why:      "the helper `chaos hold` traces it, and the kernel ends a trace with its tracer",
		Does:     "pause " + names(found),
		Undo:     []string{"let " + names(found) + " run on"},
	}
	var signalled []string
	for _, id := range plan.Targets {
		why := traceRefused(id)
		if why == "" {
			continue
		}
		if err := stoppable(id); err != nil {
			var busy *target.BusyError
			switch {
			case errors.As(err, &busy):
				return actions.Plan{}, err
			case errors.Is(err, target.ErrGone):
				continue // asked again right before the act
			}
			plan.Missing = append(plan.Missing, spec.Need{Kind: "privilege", Name: "CAP_KILL", Install: err.Error()})
			break
		}
		signalled = append(signalled, fmt.Sprintf("%s (pid %s): %s", id.Name, id.ID, why))
	}
	if len(signalled) > 0 {
		plan.Lifetime = actions.Guardian
		plan.Does += " by SIGSTOP"
		plan.Why = "a process that got SIGSTOP stays stopped, so the guardian sends SIGCONT when the run is gone; ptrace, which ends with the run, is refused: " + strings.Join(signalled, "; ")
	}
	plan.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		found, err := in.Refresh(found, e.Pick, e.Rand)
		if err != nil {
			return actions.Fault{}, err
		}
		fault, err := pauseAll(ctx, e, led, found)
		fault.Result = target.Handles(found, e.Pick)
		return fault, err
	}
	return plan, nil
}

// traceRefused tells in plain words why a process cannot be paused by ptrace; "" where it can.
func traceRefused(id target.Identity) string {
	by, err := target.Tracer(id.Pid())
	if err != nil || by == 0 {
		return target.PtraceRefused(id.Pid())
	}
	tracer, err := target.ReadProcess(by)
	switch {
	case err != nil:
		return "another process traces it"
	case target.NewOwn().Why(tracer) != "", tracer.Comm == hold.Comm:
		return "" // a pause of ours, or of another run, perhaps another user's, which has locked it
	}
	return "process " + tracer.Describe() + " traces it already"
}

// pauseAll pauses each in the best way that there is for it.
func pauseAll(ctx context.Context, e env.Env, led actions.Ledger, found []target.Found) (actions.Fault, error) {
	if e.Hold == nil {
		return actions.Fault{}, errNoHelper
	}
	for _, f := range found {
		if f.Down() {
			return actions.Fault{}, fmt.Errorf("%s is not running, so there is nothing to pause", f.Name())
		}
	}
	var held, stopped []target.Identity // stopped by SIGSTOP: of a pause by ptrace, nobody but us is the tracer
	for _, f := range found {
		way := trace
		if traceRefused(f.Identity) != "" {
			way = signalStop
			stopped = append(stopped, f.Identity)
		}
		if err := way(ctx, e, led, f.Identity); err != nil {
			return actions.Fault{}, err
		}
		held = append(held, f.Identity)
	}
	return actions.Fault{
		Note:   "paused " + names(found),
		Effect: func(context.Context) (actions.Effect, string) { return paused(held) },
		Last:   func() (actions.Effect, string) { return lasted(stopped) },
	}, nil
}

// lasted looks whether somebody has ended a pause before its time, as SIGCONT does to SIGSTOP. One that is gone was ended with
// it, perhaps by a step of the script.
func lasted(stopped []target.Identity) (actions.Effect, string) {
	for _, id := range stopped {
		if id.Alive() && !still(id) {
			return actions.No, id.String() + " ran on before its time: somebody has let it"
		}
	}
	return actions.Yes, ""
}

// paused looks whether every thread stands still.
func paused(held []target.Identity) (actions.Effect, string) {
	for _, id := range held {
		if !id.Alive() {
			return actions.No, id.String() + " is gone"
		}
		moving, err := target.Moving(id.Pid())
		if err != nil {
			return actions.No, id.String() + " is gone"
		}
		if len(moving) > 0 && !still(id) { // once more: its tracer may have had a look at it
			return actions.No, fmt.Sprintf("threads of %s run on: %s", id, strings.Join(moving, ", "))
		}
	}
	return actions.Yes, "every thread is stopped"
}

// traced is what the record of a pause by ptrace says besides its target.
type traced struct {
	Tracer target.Identity `json:"tracer"` // the pause ends with it
}

// trace pauses by ptrace.
func trace(ctx context.Context, e env.Env, led actions.Ledger, it target.Identity) error {
	tracer, err := e.Hold.Tracer(ctx)
	if err != nil {
		return err
	}
	id, err := intend(led, actions.Undo{
		Kind: "process.pause", Target: it, Lifetime: actions.Kernel,
		Manual: fmt.Sprintf("kill -KILL %s", tracer.ID), // the tracer: the kernel then lets the process run on
	}, traced{Tracer: tracer}, nil)
	if err != nil {
		return err
	}
	if err := e.Hold.Pause(ctx, it); err != nil {
		return err
	}
	return led.Applied(id)
}

// pauseReverter lets a process run on that is paused by ptrace.
type pauseReverter struct{}

func (pauseReverter) Kind() string { return "process.pause" }

func (r pauseReverter) Revert(ctx context.Context, e env.Env, u actions.Undo) error {
	var in traced
	if err := decode(u, &in); err != nil {
		return err
	}
	if e.Hold != nil && e.Hold.Traces(in.Tracer) {
		return e.Hold.Resume(ctx, u.Target)
	}
	// Another process' pause. Its tracer ends as soon as its run does, and the kernel then detaches.
	var state actions.State
	over, err := await(ctx, 3*time.Second, func() (bool, error) {
		var err error
		state, err = r.State(ctx, e, u)
		return state != actions.Present, err
	})
	if err == nil && !over {
		err = errors.New("the run that paused it is alive: its tracer has pid " + in.Tracer.ID + "; end that run first")
	}
	return err
}

// State is present while the tracer of the record traces the target.
func (pauseReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	var in traced
	if err := decode(u, &in); err != nil {
		return "", err
	}
	if !u.Target.Alive() || !in.Tracer.Alive() {
		return actions.Gone, nil
	}
	by, err := target.Tracer(u.Target.Pid())
	if err != nil || by != in.Tracer.Pid() {
		return actions.Gone, nil
	}
	return actions.Present, nil
}

// signalled is what the record of a pause by SIGSTOP says besides its target. That it was not stopped before need not be
// said: one that was is refused.
type signalled struct{}

// stoppable tells why a process cannot be paused by SIGSTOP: nil where it can. One that stands still already would be set
// free by our undo, and that is not ours to do.
func stoppable(id target.Identity) error {
	if still(id) {
		return &target.BusyError{Text: fmt.Sprintf("%s is stopped already, by somebody else: a pause would change nothing, and its end would set it free", id)}
	}
	return id.Signal(0) // no signal is sent, but whether we may is looked at: kill(2)
}

// still tells whether every thread stands still, and goes on doing so: a process under strace does at each system call, for
// a moment.
func still(id target.Identity) bool {
	by, err := target.Tracer(id.Pid())
	looks := 1
	if err != nil || by != 0 {
		looks = 10
	}
	for range looks {
		if moving, err := target.Moving(id.Pid()); err != nil || len(moving) > 0 {
			return false
		}
		if looks > 1 {
			<-time.After(3 * time.Millisecond)
		}
	}
	return true
}

// signalStop pauses by SIGSTOP. Unlike a pause by ptrace, its parent is told, as a shell tells that a job was stopped.
func signalStop(ctx context.Context, _ env.Env, led actions.Ledger, it target.Identity) error {
	if err := stoppable(it); err != nil {
		return err
	}
	id, err := intend(led, actions.Undo{
		Kind: signalKind, Target: it, Lifetime: actions.Guardian, Manual: "kill -CONT " + it.ID,
	}, signalled{}, nil)
	if err != nil {
		return err
	}
	if err := it.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	// Each thread stops on its way back to user space. One that is deep in the kernel may take its time: the effect says so.
	if _, err := await(ctx, time.Second, func() (bool, error) { return still(it), nil }); err != nil {
		return err
	}
	return led.Applied(id)
}

// signalKind is that of the records of pauses by SIGSTOP.
const signalKind = "process.pause.signal"

// signalReverter lets a process run on that got SIGSTOP.
type signalReverter struct{}

func (signalReverter) Kind() string { return signalKind }

// Revert sends SIGCONT also where nothing seems to be stopped: a SIGSTOP may be under way, and SIGCONT takes it back.
func (r signalReverter) Revert(ctx context.Context, e env.Env, u actions.Undo) error {
	if err := decode(u, &signalled{}); err != nil {
		return err
	}
	if err := u.Target.Signal(unix.SIGCONT); err != nil {
		if errors.Is(err, target.ErrGone) {
			return nil
		}
		return err
	}
	_, err := await(ctx, time.Second, func() (bool, error) {
		state, err := r.State(ctx, e, u)
		return state == actions.Gone, err
	})
	return err // whether it runs is asked next
}

// State is present while every thread is stopped; foreign while a tracer of somebody else, such as a debugger, holds it.
func (signalReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	if err := decode(u, &signalled{}); err != nil {
		return "", err
	}
	if !u.Target.Alive() || !still(u.Target) {
		return actions.Gone, nil
	}
	if by, err := target.Tracer(u.Target.Pid()); err == nil && by != 0 {
		return actions.Foreign, nil
	}
	return actions.Present, nil
}

// await asks until the answer is yes, or the time is over, or the context ends.
func await(ctx context.Context, limit time.Duration, ask func() (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return yes, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}
