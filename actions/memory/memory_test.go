package memory

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/cgroup"
	"chaos/runtime/needtest"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"
)

func TestMain(m *testing.M) { faulttest.Main(m, Register) }

var faults = faulttest.Of(Register)

func TestSpec(t *testing.T) { faults.Spec(t) }

func roomOrSkip(t *testing.T) (available, floor int64) {
	t.Helper()
	available, total, err := stress.Available()
	if err != nil {
		t.Fatal(err)
	}
	floor = stress.MemoryFloor(total)
	if available-floor < 1<<30 {
		needtest.Lacks(t, "the machine has too little memory for this test")
	}
	return available, floor
}

func TestStressAndBack(t *testing.T) {
	before, _ := roomOrSkip(t)
	e := faulttest.Env(t)
	p, err := faults.Plan(t, e, "memory.stress", faulttest.Args{"size": "300MiB"})
	if err != nil || p.Lifetime != actions.Kernel || !strings.HasPrefix(p.Does, "take 300MiB of memory; ") || len(e.Hold.Pids()) != 0 {
		t.Fatalf("%+v %v", p, err)
	}
	begun := time.Now()
	f, led := faults.Inject(t, e, "memory.stress", faulttest.Args{"size": "300MiB"})
	t.Logf("300MiB taken after %s", time.Since(begun).Round(time.Millisecond))
	t.Log(faulttest.Effect(t, f, actions.Yes))
	now, _, _ := stress.Available()
	t.Logf("available before: %d MiB, now %d MiB; others take and give too", before>>20, now>>20)
	faults.Revert(t, e, led.Undos(), actions.Gone)
	if got, _ := f.Effect(t.Context()); got != actions.No {
		t.Error(got)
	}
}

func TestGrowing(t *testing.T) {
	roomOrSkip(t)
	e := faulttest.Env(t)
	f, led := faults.Inject(t, e, "memory.stress", faulttest.Args{"size": "400MiB", "rate": "100MiB/s"})
	time.Sleep(700 * time.Millisecond)
	faulttest.Within(t, 10*time.Second, "it grows", func() bool {
		effect, detail := f.Effect(t.Context())
		return effect == actions.Yes && strings.Contains(detail, "grows as asked for")
	})
	faulttest.Within(t, 20*time.Second, "all is taken", func() bool {
		_, detail := f.Effect(t.Context())
		return !strings.Contains(detail, "grows")
	})
	faults.Revert(t, faulttest.Env(t), led.Undos()[:0], actions.Gone)
	faults.Revert(t, e, led.Undos(), actions.Gone)
}

func TestLeave(t *testing.T) {
	available, _ := roomOrSkip(t)
	e := faulttest.Env(t)
	f, led := faults.Inject(t, e, "memory.stress", faulttest.Args{"leave": fmt.Sprintf("%dB", available-300<<20)})
	got, detail := f.Effect(t.Context())
	t.Log(got, detail)
	// Others take and give too, so how much it is may differ from what was available a moment before.
	if got == actions.No || !strings.Contains(detail, "it holds ") {
		t.Error(got, detail)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
}

func TestIntendedOnly(t *testing.T) {
	faults.Intended(t, faulttest.Env(t), "memory.stress", faulttest.Args{"size": "10MiB"})
}

func TestRefuses(t *testing.T) {
	e := faulttest.Env(t)
	for want, args := range map[string]faulttest.Args{
		"does not fit":              {"size": "1000TiB"},
		"less than the floor":       {"leave": "1MiB"},
		"leaves nothing to do":      {"leave": "1000TiB"},
		"`size: 0B` must be":        {"size": "0B"},
		"`rate: 0B/s` must be":      {"size": "1MiB", "rate": "0B/s"},
		"either `size` or `leave`":  {},
		"either `size` or `leave` ": {"size": "1MiB", "leave": "1GiB"},
	} {
		faults.Refused(t, e, "memory.stress", args, strings.TrimSpace(want))
	}
}

// confined makes a cgroup with little memory.
func confined(t *testing.T, memory int64) cgroup.Group {
	t.Helper()
	needtest.Root(t)
	g, missing, err := cgroup.Design(fmt.Sprintf("chaos-test-%d-%d", os.Getpid(), time.Now().UnixNano()), cgroup.Limits{Memory: memory})
	if err != nil || len(missing) > 0 {
		needtest.Lacks(t, fmt.Sprint("no cgroup for memory: ", err, missing))
	}
	if err := g.Make(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

// Its cgroup has less than the floor: the stressor gives back what it took, by itself, and is not killed.
func TestGivesBackInACgroup(t *testing.T) {
	roomOrSkip(t)
	g, e := confined(t, 96<<20), faulttest.Env(t)
	f, led := faults.Inject(t, e, "memory.stress", faulttest.Args{"size": "300MiB", "rate": "60MiB/s"})
	pid := pidOf(t, f.Note)
	faulttest.Within(t, 10*time.Second, "it has taken some", func() bool { n, _ := stress.Resident(pid); return n > 50<<20 })
	enter(t, g, pid)
	faulttest.Within(t, 10*time.Second, "it has given back", func() bool { _, detail := f.Effect(t.Context()); return strings.Contains(detail, "it gave back") })
	if effect, detail := f.Last(); effect != actions.Yes || !strings.HasPrefix(detail, "it gave back ") {
		t.Error(effect, detail)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
}

// Another process in its cgroup wants memory faster than it is given back: the kernel kills the stressor first, and what is
// said names the killer.
func TestOutOfMemoryInACgroup(t *testing.T) {
	roomOrSkip(t)
	g, e, led := confined(t, 96<<20), faulttest.Env(t), &faulttest.Ledger{}
	s, err := stress.Start{Action: "memory.stress", Kind: "memory", Parameters: stress.Memory{Size: 64 << 20, Rate: 32 << 20}}.Run(t.Context(), e, led)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { faults.Revert(t, e, led.Undos(), actions.Gone) })
	pid, _ := s.Pid()
	enter(t, g, pid)
	if err := s.Full(t.Context()); err != nil {
		t.Fatal(err)
	}
	hog := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec tail /dev/zero`, g.Dirs()[0])
	out, err := hog.CombinedOutput() // it is killed too: nothing else could stop it
	t.Log(string(out), err)
	faulttest.Within(t, 10*time.Second, "it has ended", func() bool { effect, _ := s.Last(); return effect == actions.No })
	if _, detail := s.Last(); !strings.Contains(detail, "the kernel's OOM killer") || g.OOMKills() < 2 {
		t.Error(detail, g.OOMKills())
	}
}

func enter(t *testing.T, g cgroup.Group, pid int) {
	t.Helper()
	id, err := target.ProcessIdentity(pid)
	if err == nil {
		err = g.Enter(id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func pidOf(t *testing.T, note string) (pid int) {
	t.Helper()
	if _, err := fmt.Sscanf(note, "pid %d", &pid); err != nil {
		t.Fatal(note)
	}
	return pid
}

// Whenever the runner is killed, the memory is free within a second, with nobody's help.
func TestRunnerKilled(t *testing.T) {
	roomOrSkip(t)
	e := faulttest.Elsewhere(faulttest.Env(t))
	var slowest time.Duration
	active := 0
	faulttest.KillAnyTime(t, 8, 250*time.Millisecond, func() *faulttest.Runner {
		return faulttest.NewRunner(t, "memory.stress", faulttest.Args{"size": "400MiB"})
	}, func(r *faulttest.Runner) {
		undos := r.Undos(t)
		if len(undos) == 0 {
			return
		}
		if faults.State(t, e, undos[0]) == actions.Present {
			active++
		}
		slowest = max(slowest, faulttest.WithinSecond(t, "the memory is free", func() bool { return faults.State(t, e, undos[0]) == actions.Gone }))
		faults.Revert(t, e, undos, actions.Gone)
	})
	t.Logf("killed 8 times, %d of them while it was active; gone after %s at most", active, slowest.Round(time.Millisecond))
}
