// Package memory is the family of actions on the machine's memory.
package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/stress"
)

// All lists the actions of this family.
func All() []actions.Action { return []actions.Action{stressAction()} }

// Reverters lists what undoes their records.
func Reverters() []actions.Reverter { return []actions.Reverter{stress.Reverter("memory.stress")} }

// Register adds the family to a registry.
func Register(r *actions.Registry) {
	r.Add(All()...)
	r.AddReverters(Reverters()...)
}

type stressArgs struct {
	Size  *value.SizeV      `chaos:"size,positional,group=amount" range:">=1B" help:"how much to take"`
	Leave *value.SizeV      `chaos:"leave,group=amount" range:">=0B" help:"take everything but this, by what is available when the step begins"`
	Rate  *value.BandwidthV `chaos:"rate" range:">=1B/s" help:"how fast it grows; as fast as the machine can by default, and then the step waits until all is taken"`
}

func stressAction() actions.Action {
	return actions.Define(spec.Call{
		Name: "memory.stress",
		Summary: "Takes memory and writes to every page of it, in a process of its own that ends with the run and that the kernel kills first. " +
			"A floor of 5% of the memory, at least 64MiB, stays available: what others need of it is given back.",
		Example:  `memory.stress(size: 256MiB, rate: 64MiB/s) for 20s`,
		Undo:     "end the process that holds it",
		Lifetime: string(actions.Kernel),
		Spares:   "5% of the memory, at least 64MiB, stays available",
	}, plan)
}

// amount works out how much to take, from what is available now.
func (in stressArgs) amount() (size, floor int64, err error) {
	available, total, err := stress.Available()
	if err != nil {
		return 0, 0, err
	}
	floor = stress.MemoryFloor(total)
	fits := available - floor
	switch {
	case (in.Size == nil) == (in.Leave == nil):
		return 0, 0, errors.New("write either `size` or `leave`")
	case in.Size != nil && int64(*in.Size) > fits:
		return 0, 0, fmt.Errorf("`size: %s` does not fit: %s is available, of which %s has to stay; write at most %s", text(int64(*in.Size)), text(available), text(floor), text(max(0, fits)))
	case in.Leave != nil && int64(*in.Leave) < floor:
		return 0, 0, fmt.Errorf("`leave: %s` is less than the floor of this machine; write at least %s", text(int64(*in.Leave)), text(floor))
	case in.Leave != nil && int64(*in.Leave) >= available:
		return 0, 0, fmt.Errorf("`leave: %s` leaves nothing to do: no more than %s is available", text(int64(*in.Leave)), text(available))
	case in.Leave != nil:
		return available - int64(*in.Leave), floor, nil
	}
	return int64(*in.Size), floor, nil
}

func text(n int64) string { return value.SizeOf(float64(n)).Short() }

func plan(_ context.Context, e env.Env, in stressArgs) (actions.Plan, error) {
	size, floor, err := in.amount()
	if err != nil {
		return actions.Plan{}, err
	}
	does := fmt.Sprintf("take %s of memory", text(size))
	if in.Rate != nil {
		does += ", growing by " + value.BandwidthOf(float64(*in.Rate)).Short()
	}
	return actions.Plan{
		Lifetime: actions.Kernel,
		Why:      "the memory is that of a process under the helper `chaos hold`, which ends with the run",
		Does:     does + fmt.Sprintf("; %s stays available in any case", text(floor)),
		Undo:     []string{"end the process that holds it"},
		Inject: func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
			size, floor, err := in.amount() // again: the plan may be old
			if err != nil {
				return actions.Fault{}, err
			}
			return in.inject(ctx, e, led, size, floor)
		},
	}, nil
}

func (in stressArgs) inject(ctx context.Context, e env.Env, led actions.Ledger, size, floor int64) (actions.Fault, error) {
	rate := 0.0
	if in.Rate != nil {
		rate = float64(*in.Rate)
	}
	s, err := stress.Start{Action: "memory.stress", Kind: "memory", Parameters: stress.Memory{Size: size, Floor: floor, Rate: rate}}.Run(ctx, e, led)
	if err != nil {
		return actions.Fault{}, err
	}
	begun := time.Now() // it grows from its own start on, and the helper before it may have had to be started too
	if rate == 0 {
		if err := s.Full(ctx); err != nil {
			return actions.Fault{}, err
		}
	}
	pid, _ := s.Pid()
	return actions.Fault{
		Note: fmt.Sprintf("pid %d", pid),
		Effect: func(context.Context) (actions.Effect, string) {
			due := float64(size)
			if rate > 0 {
				due = min(due, rate*max(0, (time.Since(begun)-late).Seconds()))
			}
			return effect(s, size, int64(due), floor)
		},
		Last: func() (actions.Effect, string) {
			effect, detail := s.Last()
			if _, gave := s.Said(); gave > 0 && effect == actions.Yes {
				detail = gaveBack(gave, floor)
			}
			return effect, detail
		},
	}, nil
}

func gaveBack(n, floor int64) string {
	return fmt.Sprintf("it gave back %s, so that %s stays available", text(n), text(floor))
}

const (
	late = 500 * time.Millisecond // how far the growth may lag: the process has to start
	near = 0.95                   // of what is due
)

func effect(s *stress.Stressor, size, due, floor int64) (actions.Effect, string) {
	pid, alive := s.Pid()
	if !alive {
		return actions.No, s.End()
	}
	got, err := stress.Resident(pid)
	if err != nil {
		return actions.No, s.End()
	}
	said := fmt.Sprintf("it holds %s of %s", text(got), text(size))
	if _, gave := s.Said(); gave > 0 {
		return actions.Unknown, said + "; " + gaveBack(gave, floor)
	}
	switch {
	case float64(got) >= near*float64(size):
		return actions.Yes, said
	case float64(got) >= near*float64(due):
		return actions.Yes, said + " and grows as asked for"
	}
	return actions.Unknown, said + "; there may be no more to take above the floor of " + text(floor)
}
