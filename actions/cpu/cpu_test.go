package cpu

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"chaos/actions"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"
)

func TestMain(m *testing.M) { faulttest.Main(m, Register) }

var faults = faulttest.Of(Register)

func TestSpec(t *testing.T) { faults.Spec(t) }

func TestStressAndBack(t *testing.T) {
	e := faulttest.Env(t)
	p, err := faults.Plan(t, e, "cpu.stress", faulttest.Args{"workers": "1", "load": "30%", "cores": "[0]"})
	if err != nil || p.Lifetime != actions.Kernel || p.Does != "keep one thread busy for 30% of the time, pinned to core 0" || len(e.Hold.Pids()) != 0 {
		t.Fatalf("%+v %v", p, err)
	}
	f, led := faults.Inject(t, e, "cpu.stress", faulttest.Args{"workers": "1", "load": "30%"})
	// Other tests run at the same time, and may take the cores for a moment.
	faulttest.Within(t, 20*time.Second, "it takes what it shall", func() bool {
		got, detail := f.Effect(t.Context())
		t.Log(got, detail)
		return got == actions.Yes
	})
	if s := faults.State(t, faulttest.Elsewhere(e), led.Undos()[0]); s != actions.Present {
		t.Error(s)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
	if got, detail := f.Effect(t.Context()); got != actions.No || !strings.Contains(detail, "SIGKILL") {
		t.Error(got, detail)
	}
}

// That a stressor is dead shows before its supervisor, who alone learns how it died, has said so: here he is late by 100 ms.
func TestSaysHowItEndedAndNotOnlyThat(t *testing.T) {
	e := faulttest.Env(t)
	f, led := faults.Inject(t, e, "cpu.stress", faulttest.Args{"workers": "1", "load": "1%"})
	var pid int
	if _, err := fmt.Sscanf(f.Note, "pid %d", &pid); err != nil {
		t.Fatal(f.Note)
	}
	stressor, err := target.ProcessIdentity(pid)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := proc.Stat()
	if err != nil || !slices.Contains(e.Hold.Pids(), stat.PPID) {
		t.Fatal(stat.PPID, e.Hold.Pids(), err)
	}
	if err := syscall.Kill(stat.PPID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := func() { syscall.Kill(stat.PPID, syscall.SIGCONT) }
	defer goOn()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	faulttest.Within(t, 5*time.Second, "it is dead", func() bool { return !stressor.Alive() })
	time.AfterFunc(100*time.Millisecond, goOn)
	if effect, detail := f.Last(); effect != actions.No || !strings.Contains(detail, "SIGKILL") {
		t.Error(effect, detail)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
}

func TestIntendedOnly(t *testing.T) {
	faults.Intended(t, faulttest.Env(t), "cpu.stress", faulttest.Args{"workers": "1"})
}

func TestRefuses(t *testing.T) {
	e := faulttest.Env(t)
	for want, args := range map[string]faulttest.Args{
		"`workers: 0` must be a whole": {"workers": "0"},
		"must be more than 0%":         {"load": "0%"},
		"`load: 150%`":                 {"load": "150%"},
		"there is no core 4000":        {"cores": "[0, 4000]"},
	} {
		faults.Refused(t, e, "cpu.stress", args, want)
	}
}

// Whenever the runner is killed, the load is gone within a second, with nobody's help.
func TestRunnerKilled(t *testing.T) {
	e := faulttest.Elsewhere(faulttest.Env(t))
	var slowest time.Duration
	active := 0
	faulttest.KillAnyTime(t, 8, 200*time.Millisecond, func() *faulttest.Runner {
		return faulttest.NewRunner(t, "cpu.stress", faulttest.Args{"workers": "2"})
	}, func(r *faulttest.Runner) {
		undos := r.Undos(t)
		if len(undos) == 0 {
			return
		}
		if faults.State(t, e, undos[0]) == actions.Present {
			active++
		}
		slowest = max(slowest, faulttest.WithinSecond(t, "the load is gone", func() bool { return faults.State(t, e, undos[0]) == actions.Gone }))
		faults.Revert(t, e, undos, actions.Gone)
	})
	t.Logf("killed 8 times, %d of them while it was active; gone after %s at most", active, slowest.Round(time.Millisecond))
}

// Who got nothing had no turn yet where others keep the cores busy; it is no effect only where a core was free for it.
func TestWhatTheSharesMean(t *testing.T) {
	for _, c := range []struct {
		got, load, free float64
		want            actions.Effect
	}{
		{0.48, 0.5, 0.9, actions.Yes},
		{0.2, 0.5, 0.01, actions.Yes},
		{0.2, 0.5, 0.9, actions.Unknown},
		{0, 0.05, 0.9, actions.No},
		{0, 0.05, 0, ""},
	} {
		if got, text := judge(c.got, c.load, c.free); got != c.want {
			t.Errorf("%+v: %q, %s", c, got, text)
		}
	}
}
