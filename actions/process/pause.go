package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

type pauseArgs struct{ target.Selector }

// paused is what the record of a pause says besides its target.
type paused struct {
	Tracer target.Identity `json:"tracer"` // the pause ends with it
}

func pause() actions.Action {
	return actions.Define(spec.Call{
		Name:     "process.pause",
		Summary:  "Stops every thread of a process, as SIGSTOP would, but by ptrace: whatever becomes of the run, the kernel lets it run on.",
		Example:  `process.pause(port: 5432) for 10s`,
		Selects:  true,
		Spares:   target.Spared,
		Undo:     "let it run on",
		Lifetime: string(actions.Kernel),
		Needs:    []spec.Need{{Kind: "privilege", Name: "CAP_SYS_PTRACE", Install: "run as root; for processes of the same user kernel.yama.ptrace_scope=0 is enough"}},
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
	for _, f := range found {
		if f.Down() {
			continue
		}
		if why := target.PtraceRefused(f.Identity.Pid()); why != "" {
			plan.Missing = append(plan.Missing, spec.Need{Kind: "privilege", Name: "CAP_SYS_PTRACE", Install: why + "; run as root"})
			break
		}
	}
	plan.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		found, err := in.Refresh(found, e.Pick, e.Rand)
		if err != nil {
			return actions.Fault{}, err
		}
		return pauseAll(ctx, e, led, found)
	}
	return plan, nil
}

func pauseAll(ctx context.Context, e env.Env, led actions.Ledger, found []target.Found) (actions.Fault, error) {
	if e.Hold == nil {
		return actions.Fault{}, errNoHelper
	}
	for _, f := range found {
		if f.Down() {
			return actions.Fault{}, fmt.Errorf("%s is not running, so there is nothing to pause", f.Name())
		}
	}
	tracer, err := e.Hold.Tracer(ctx)
	if err != nil {
		return actions.Fault{}, err
	}
	var held []target.Identity
	for _, f := range found {
		id, err := intend(led, actions.Undo{
			Kind: "process.pause", Target: f.Identity, Lifetime: actions.Kernel,
			Manual: fmt.Sprintf("kill -KILL %s", tracer.ID), // the tracer: the kernel then lets the process run on
		}, paused{Tracer: tracer}, nil)
		if err != nil {
			return actions.Fault{}, err
		}
		if err := e.Hold.Pause(ctx, f.Identity); err != nil {
			return actions.Fault{}, err
		}
		held = append(held, f.Identity)
		if err := led.Applied(id); err != nil {
			return actions.Fault{}, err
		}
	}
	return actions.Fault{
		Note: "paused " + names(found),
		Effect: func(context.Context) (actions.Effect, string) {
			for _, id := range held {
				if !id.Alive() {
					return actions.No, id.String() + " is gone"
				}
				moving, err := target.Moving(id.Pid())
				if err != nil {
					return actions.No, id.String() + " is gone"
				}
				if len(moving) > 0 {
					return actions.No, fmt.Sprintf("threads of %s run on: %s", id, strings.Join(moving, ", "))
				}
			}
			return actions.Yes, "every thread is stopped"
		},
	}, nil
}

// pauseReverter lets a paused process run on.
type pauseReverter struct{}

func (pauseReverter) Kind() string { return "process.pause" }

func (r pauseReverter) Revert(ctx context.Context, e env.Env, u actions.Undo) error {
	var in paused
	if err := decode(u, &in); err != nil {
		return err
	}
	if e.Hold != nil && e.Hold.Traces(in.Tracer) {
		return e.Hold.Resume(ctx, u.Target)
	}
	// Another process' pause. Its tracer ends as soon as its run does, and the kernel then detaches.
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := r.State(ctx, e, u)
		if err != nil || state != actions.Present {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the run that paused it is alive: its tracer has pid " + in.Tracer.ID + "; end that run first")
		}
	}
}

// State is present while the tracer of the record traces the target.
func (pauseReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	var in paused
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
