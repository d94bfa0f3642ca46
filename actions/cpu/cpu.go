// Package cpu is the family of actions on the machine's processors.
package cpu

import (
	"context"
	"fmt"
	"runtime"
	"slices"
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
func Reverters() []actions.Reverter { return []actions.Reverter{stress.Reverter("cpu.stress")} }

// Register adds the family to a registry.
func Register(r *actions.Registry) {
	r.Add(All()...)
	r.AddReverters(Reverters()...)
}

type stressArgs struct {
	Workers *int         `chaos:"workers" range:">=1 <=4096" help:"how many threads are kept busy; as many as there are cores, or as cores lists"`
	Load    value.RatioV `chaos:"load" default:"100%" range:">0% <=100%" help:"how much of the time each of them is busy"`
	Cores   []int        `chaos:"cores" range:">=0" help:"the cores to which they are pinned, in turn, counted from 0; without it the scheduler decides"`
}

func stressAction() actions.Action {
	return actions.Define(spec.Call{
		Name:     "cpu.stress",
		Summary:  "Keeps cores busy for a share of the time, with a process of its own that ends with the run.",
		Example:  `cpu.stress(workers: 2, load: 80%) for 30s`,
		Undo:     "end the process that keeps them busy",
		Lifetime: string(actions.Kernel),
	}, plan)
}

func plan(_ context.Context, e env.Env, in stressArgs) (actions.Plan, error) {
	usable := stress.Cores()
	workers := runtime.NumCPU()
	if len(in.Cores) > 0 {
		workers = len(in.Cores)
	}
	if in.Workers != nil {
		workers = *in.Workers
	}
	for _, c := range in.Cores {
		if !slices.Contains(usable, c) {
			return actions.Plan{}, fmt.Errorf("`cores`: there is no core %d to run on; there are %s", c, list(usable))
		}
	}
	does := fmt.Sprintf("keep %d threads busy, each for %s of the time", workers, value.RatioOf(float64(in.Load)).Short())
	if workers == 1 {
		does = fmt.Sprintf("keep one thread busy for %s of the time", value.RatioOf(float64(in.Load)).Short())
	}
	if len(in.Cores) > 0 {
		does += ", pinned to " + list(in.Cores)
	}
	return actions.Plan{
		Lifetime: actions.Kernel,
		Why:      "the threads are those of a process under the helper `chaos hold`, which ends with the run",
		Does:     does,
		Undo:     []string{"end the process that keeps them busy"},
		Inject: func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
			s, err := stress.Start{Action: "cpu.stress", Kind: "cpu", Parameters: stress.CPU{Workers: workers, Load: float64(in.Load), Cores: in.Cores}}.Run(ctx, e, led)
			if err != nil {
				return actions.Fault{}, err
			}
			pid, _ := s.Pid()
			return actions.Fault{
				Note:   fmt.Sprintf("pid %d", pid),
				Effect: func(ctx context.Context) (actions.Effect, string) { return measure(ctx, s, workers, float64(in.Load)) },
				Last:   s.Last,
			}, nil
		},
	}, nil
}

func list(cores []int) string {
	if len(cores) == 1 {
		return fmt.Sprintf("core %d", cores[0])
	}
	return fmt.Sprintf("cores %s", fmt.Sprint(cores))
}

const (
	settle = 100 * time.Millisecond // until the threads run
	window = 500 * time.Millisecond
	near   = 0.1 // of the load wanted: the effect is seen, the exact load takes longer to see
)

// measure looks at what the process gets. Less than wanted is an effect as well if the cores have nothing left to give.
func measure(ctx context.Context, s *stress.Stressor, workers int, load float64) (actions.Effect, string) {
	if !wait(ctx, settle) {
		return actions.Unknown, "there was no time to measure it"
	}
	pid, alive := s.Pid()
	before, err := stress.Used(pid)
	begun, idle := time.Now(), stress.Idle()
	if !alive || err != nil {
		return actions.No, s.End()
	}
	for {
		if !wait(ctx, window) {
			return actions.Unknown, "there was no time to measure it"
		}
		after, err := stress.Used(pid)
		if err != nil {
			return actions.No, s.End()
		}
		took := time.Since(begun)
		got := float64(after-before) / float64(took) / float64(workers)
		free := float64(stress.Idle()-idle) / float64(took) / float64(runtime.NumCPU())
		if effect, text := judge(got, load, free); effect != "" {
			return effect, text
		}
		if took > 10*window {
			return actions.Unknown, "others keep the cores so busy that it has not run yet"
		}
	}
}

// judge says what the shares mean that it got of what it wanted, and that the cores had free; "" that it had no turn yet, on
// cores that others keep busy.
func judge(got, load, free float64) (actions.Effect, string) {
	text := fmt.Sprintf("%.0f%% of the time, of %s wanted", got*100, value.RatioOf(load).Short())
	busy := free < 0.05
	switch {
	case got >= load*(1-near):
		return actions.Yes, text
	case got <= 0 && busy:
		return "", ""
	case got <= 0:
		return actions.No, text
	case busy:
		return actions.Yes, text + "; the cores have no more to give"
	}
	return actions.Unknown, text
}

// wait waits; false when the context ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
