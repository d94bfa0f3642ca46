package process

import (
	"context"
	"fmt"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/cgroup"
	"chaos/runtime/env"
	"chaos/runtime/stress"
)

type forkArgs struct {
	Count int          `chaos:"count,required,positional" range:">=1" help:"how many processes; they do nothing but exist"`
	Rate  *value.RateV `chaos:"rate" range:">0/s <=1000/s" help:"how many of them end and are forked anew each second; without it all stay"`
}

func fork() actions.Action {
	return actions.Define(spec.Call{
		Name: "process.fork",
		Summary: "Fills the machine's table of processes, in a cgroup that allows no more of them than that. 10% of what the kernel allows, at least 1024, " +
			"stay available in any case: below, all end.",
		Example:  `process.fork(2000, rate: 100/s) for 30s`,
		Undo:     "end the processes, and remove their cgroup",
		Lifetime: string(actions.Kernel),
		Needs: []spec.Need{
			{Kind: "privilege", Name: "root", Install: "run as root: a cgroup is made under the root of the controller, and a PID namespace"},
			{Kind: "kernel", Name: "cgroup pids", Install: "version 1 or 2, mounted"},
		},
	}, planFork)
}

const (
	// crew is how many threads the process that forks them has at most, on top of the count.
	crew = 64
	// eachTakes is what one process takes of the kernel's memory, at most: its stack, its tables, its copy of a few pages.
	eachTakes = 256 << 10
)

// room works out how many processes have to remain possible, and refuses a count that does not fit. above are the cgroups in
// which that of the processes is made: a container's has a limit of its own.
func (in forkArgs) room(above []string) (keep int, err error) {
	room, most, err := stress.Room(above...)
	if err != nil {
		return 0, err
	}
	available, total, err := stress.Available()
	if err != nil {
		return 0, err
	}
	keep = max(1024, most/10)
	fits := max(0, room-keep-crew)
	memory := int(max(0, available-stress.MemoryFloor(total)) / eachTakes)
	switch {
	case fits == 0:
		return 0, fmt.Errorf("`count: %d` is too many: the kernel would start %d more processes and threads, and %d have to stay; free some, or raise the limit of the container (pids.max)", in.Count, room, keep)
	case in.Count > fits:
		return 0, fmt.Errorf("`count: %d` is too many: the kernel would start %d more processes and threads, of which %d have to stay; write at most %d", in.Count, room, keep, fits)
	case memory == 0:
		return 0, fmt.Errorf("`count: %d` is too many: there is no memory to spare for any, of the %s that are available", in.Count, value.SizeOf(float64(available)).Short())
	case in.Count > memory:
		return 0, fmt.Errorf("`count: %d` is too many for the memory that is available; write at most %d", in.Count, memory)
	}
	return keep, nil
}

func planFork(_ context.Context, e env.Env, in forkArgs) (actions.Plan, error) {
	limits := cgroup.Limits{Pids: int64(in.Count + crew)}
	above, missing, err := cgroup.Design("", limits)
	if err != nil {
		return actions.Plan{}, err
	}
	if _, err := in.room(above.Dirs()); err != nil {
		return actions.Plan{}, err
	}
	plan := actions.Plan{
		Lifetime: actions.Kernel,
		Why:      "the processes are a PID namespace that ends with the helper `chaos hold`; the guardian removes their empty cgroup",
		Does:     fmt.Sprintf("keep %d processes, in a cgroup that allows %d", in.Count, limits.Pids),
		Undo:     []string{"end the processes", "remove the cgroup made for them"},
	}
	if in.Rate != nil {
		plan.Does += fmt.Sprintf("; %s of them end and are forked anew", value.RateOf(float64(*in.Rate)).Short())
	}
	for _, m := range missing {
		// Never without: nothing else would stop them from taking the machine's last process.
		plan.Missing = append(plan.Missing, spec.Need{Kind: "cgroup controller", Name: m.Controller, Install: "it " + m.Why + "; " + m.Help})
	}
	plan.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		keep, err := in.room(above.Dirs()) // again: the plan may be old
		if err != nil {
			return actions.Fault{}, err
		}
		group, missing, err := cgroup.Design(groupName(e), limits)
		if err == nil && len(missing) > 0 {
			err = missing[0]
		}
		if err != nil {
			return actions.Fault{}, err
		}
		return in.inject(ctx, e, led, group, keep)
	}
	return plan, nil
}

func (in forkArgs) inject(ctx context.Context, e env.Env, led actions.Ledger, group cgroup.Group, keep int) (actions.Fault, error) {
	job := stress.Fork{Count: in.Count, Join: group.Dirs(), Keep: keep}
	if in.Rate != nil {
		job.Rate = float64(*in.Rate)
	}
	s, err := stress.Start{Action: "process.fork", Kind: "fork", Parameters: job, Group: &group}.Run(ctx, e, led)
	if err == nil {
		err = s.Full(ctx)
	}
	if err != nil {
		return actions.Fault{}, err
	}
	pid, _ := s.Pid()
	return actions.Fault{
		Note: fmt.Sprintf("below pid %d", pid),
		Effect: func(context.Context) (actions.Effect, string) {
			if _, alive := s.Pid(); !alive {
				return actions.No, s.End()
			}
			said := fmt.Sprintf("%d processes in %s", len(group.Members()), group.Describe())
			if why := group.Check(); why != "" {
				return actions.No, why
			}
			if len(group.Members()) < in.Count {
				return actions.No, said
			}
			return actions.Yes, said
		},
		Last: s.Last,
	}, nil
}

// forkReverter ends the processes and removes their cgroup.
var forkReverter = stress.Reverter("process.fork")
