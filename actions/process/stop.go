package process

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
)

type handleArgs struct {
	Process value.Handle `chaos:"process,required,positional" help:"the process, as bound with as"`
}

// before is how a process was before process.stop.
type before struct {
	Running bool `json:"running"`
}

func stop() actions.Action {
	return actions.Define(spec.Call{
		Name:     "process.stop",
		Summary:  "Stops a process that the script started, with everything it started, and keeps it down.",
		Example:  "process.start(\"./server\") as server\nprocess.stop(server) for 5s",
		Undo:     "start it again, if it ran before",
		Lifetime: string(actions.Kernel),
	}, planStop)
}

func planStop(_ context.Context, e env.Env, in handleArgs) (actions.Plan, error) {
	p, err := supervised(in.Process, "process.stop")
	if err != nil {
		return actions.Plan{}, err
	}
	plan := actions.Plan{
		Lifetime: actions.Kernel,
		Why:      "the process is part of the run, and ends with it",
		Does:     fmt.Sprintf("stop %s (%s), SIGKILL after %s", p.HandleName(), note(p.State()), p.Spec().Grace),
		Undo:     []string{"start " + p.HandleName() + " again, if it ran before"},
	}
	if id, ok := p.Identity(); ok {
		plan.Targets = append(plan.Targets, id)
	}
	plan.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		s := p.State()
		// One that is between two starts counts as running: it would be again in a moment.
		was := s.Running || p.Spec().Restart && !s.Stopped && !s.GaveUp
		about := service{Name: p.HandleName(), Mark: p.Mark()}
		id, err := intend(led, actions.Undo{Kind: "process.stop", Target: about.identity(), Lifetime: actions.Kernel, Limit: 30 * time.Second}, about, before{Running: was})
		if err != nil {
			return actions.Fault{}, err
		}
		if err := p.Stop(ctx); err != nil {
			return actions.Fault{}, err
		}
		if err := led.Applied(id); err != nil {
			return actions.Fault{}, err
		}
		text := "stopped, it had pid " + fmt.Sprint(s.Pid)
		if !s.Running {
			text = p.HandleName() + " was not running"
		}
		return actions.Fault{Note: text, Effect: func(context.Context) (actions.Effect, string) {
			if s := p.State(); s.Running {
				return actions.No, fmt.Sprintf("it runs, with pid %d", s.Pid)
			}
			return actions.Yes, "it is down"
		}}, nil
	}
	return plan, nil
}

func restart() actions.Action {
	return actions.Define(spec.Call{
		Name:     "process.restart",
		Summary:  "Stops a process that the script started, if it runs, and starts it again with a fresh start limit.",
		Example:  "process.start(\"./server\") as server\nprocess.restart(server)",
		Lifetime: string(actions.Irreversible),
	}, planRestart)
}

func planRestart(_ context.Context, e env.Env, in handleArgs) (actions.Plan, error) {
	p, err := supervised(in.Process, "process.restart")
	if err != nil {
		return actions.Plan{}, err
	}
	plan := actions.Plan{
		Lifetime: actions.Irreversible,
		Does:     fmt.Sprintf("restart %s (%s)", p.HandleName(), note(p.State())),
	}
	if id, ok := p.Identity(); ok {
		plan.Targets = append(plan.Targets, id)
	}
	plan.Inject = func(ctx context.Context, _ actions.Ledger) (actions.Fault, error) {
		old := p.State()
		if err := p.Restart(ctx); err != nil {
			return actions.Fault{}, err
		}
		return actions.Fault{Note: note(p.State()), Effect: func(context.Context) (actions.Effect, string) {
			s := p.Settled()
			switch {
			case s.Running && (s.Pid != old.Pid || s.Start != old.Start):
				return actions.Yes, note(s)
			case s.Running:
				return actions.No, "it is the same process as before"
			}
			return actions.Unknown, ended(s)
		}}, nil
	}
	return plan, nil
}

// stopReverter starts again what process.stop stopped.
type stopReverter struct{}

func (stopReverter) Kind() string { return "process.stop" }

func (r stopReverter) Revert(ctx context.Context, e env.Env, u actions.Undo) error {
	var s service
	if err := decode(u, &s); err != nil {
		return err
	}
	state, err := r.State(ctx, e, u)
	if err != nil || state != actions.Present {
		return err
	}
	p, ok := s.ours(e)
	if !ok {
		return nil
	}
	return p.Restart(ctx)
}

// State is present while it is down on purpose and ran before. With its run gone, or the helper that would start it, so is
// the process: nothing to restore.
func (stopReverter) State(_ context.Context, e env.Env, u actions.Undo) (actions.State, error) {
	var s service
	if err := decode(u, &s); err != nil {
		return "", err
	}
	var prior before
	if err := json.Unmarshal(u.Prior, &prior); err != nil {
		return "", fmt.Errorf("the record process.stop cannot be read: %w", err)
	}
	p, ok := s.ours(e)
	if !ok || !prior.Running || !p.State().Stopped || !s.Mark.Helper.Alive() {
		return actions.Gone, nil
	}
	return actions.Present, nil
}
