// Package process watches processes.
package process

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"chaos/lang/spec"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/oom"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{state(), count(), usage()} }

type stateArgs struct{ target.Selector }

// Sample is how a process is. What cannot be known of it is absent.
type Sample struct {
	Running  bool           `chaos:"running" help:"it exists and has not ended; true also while it is paused"`
	Paused   bool           `chaos:"paused" help:"it is stopped, by a signal or by a tracer such as process.pause"`
	Pid      *int           `chaos:"pid" help:"its present process id; absent while it does not run"`
	Restarts *int           `chaos:"restarts,kept" help:"how often it was started after the first time; only of a process that the script started"`
	ExitCode *int           `chaos:"exit_code" help:"of its latest end: its exit code, or 128 and the number of the signal that ended it; only of a process that the script started and that has ended"`
	Signal   *string        `chaos:"signal" help:"the signal of its latest end, such as KILL, also told from an exit code above 128; absent where it exited by itself"`
	OOM      *bool          `chaos:"oom_killed" help:"whether the kernel's OOM killer brought its latest end, by the kernel's log, which is root's, or else the counters of the machine and of its cgroup; false before an end; absent where they do not tell, and of a process that was never seen"`
	Uptime   *time.Duration `chaos:"uptime" help:"how long ago it was started, the latest time; absent while it does not run"`
}

func state() probes.Probe {
	return probes.DefineClosing(spec.Call{
		Name:    "process.state",
		Summary: "Tells whether a process runs, how it ended, and whether the OOM killer did it; that nothing matches is a sample too: it does not run.",
		Example: `probe db = process.state(port: 5432) every 500ms`,
	}, openState)
}

func openState(_ context.Context, _ env.Env, in stateArgs) (probes.Take[Sample], func() error, error) {
	w := &watch{selector: in.Selector}
	if _, ok := in.Process.(*hold.Process); ok {
		return w.take, nil, nil // its supervisor knows how it ended
	}
	w.ends = &ends{watch: oom.NewWatch()}
	return w.take, w.ends.close, nil
}

// watch takes samples of one selector.
type watch struct {
	selector target.Selector
	ends     *ends // of a process that the script did not start

	mu   sync.Mutex
	seen target.Identity // of `pid:`, at the first sample: a later bearer of the pid is another process
}

func (w *watch) take(context.Context) (Sample, error) {
	found, err := w.selector.Find(target.ToLook)
	if err != nil {
		return Sample{}, err
	}
	if len(found) > 1 {
		list := make([]string, len(found))
		for i, f := range found {
			list[i] = f.Text
		}
		return Sample{}, fmt.Errorf("%s matches %d processes: %s; narrow it to one", w.selector, len(found), strings.Join(list, ", "))
	}
	var out Sample
	var p target.Process
	runs := len(found) == 1 && !found[0].Down() && w.same(found[0].Identity)
	if runs {
		p, err = found[0].Identity.Process()
		runs = err == nil && !p.Zombie()
	}
	if h, ok := w.selector.Process.(*hold.Process); ok {
		s := h.State()
		if !runs {
			s = h.Settled() // else it would not run, and nothing or an end before would say how that came
		}
		out = supervised(s)
	}
	if w.ends != nil {
		out.OOM = w.ends.look(p, runs)
	}
	if !runs {
		return out, nil
	}
	uptime := p.Uptime()
	out.Running, out.Paused, out.Pid, out.Uptime = true, p.Paused(), &p.Pid, &uptime
	return out, nil
}

// same tells whether a process is the one that `pid:` meant first.
func (w *watch) same(id target.Identity) bool {
	if w.selector.Pid == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen.ID == "" {
		w.seen = id
	}
	return w.seen.Same(id)
}

// supervised is what the supervisor knows of a process, apart from its being there.
func supervised(s hold.State) Sample {
	out := Sample{Restarts: &s.Restarts, OOM: oom.No.Bool()}
	if !s.Exited {
		return out
	}
	out.ExitCode, out.OOM = &s.ExitCode, s.OOMKilled
	if name := signalOf(s); name != "" {
		out.Signal = &name
	}
	return out
}

// signalOf is the signal of an end. A shell whose command was killed exits with 128 and the number of the signal.
func signalOf(s hold.State) string {
	if s.Signal != "" || s.ExitCode <= 128 {
		return s.Signal
	}
	if sig := unix.Signal(s.ExitCode - 128); unix.SignalName(sig) != "" {
		return target.SignalName(sig)
	}
	return ""
}

type countArgs struct {
	Match string `chaos:"match,required,filled" help:"a part of the command line, the arguments joined by spaces; never matches chaos itself, what started it, or a zombie"`
}

func count() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "process.count",
		Summary: "Counts the processes whose command line contains a text.",
		Example: `probe workers = process.count(match: "fizzbuzz api")`,
	}, func(_ context.Context, _ env.Env, in countArgs) (probes.Take[int], error) {
		return func(context.Context) (int, error) { return target.Count(in.Match) }, nil
	})
}
