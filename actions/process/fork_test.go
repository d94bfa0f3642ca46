package process_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/needtest"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// forkable skips where there is no cgroup to confine the processes; there the plan must say so.
func forkable(t *testing.T) {
	t.Helper()
	needtest.Root(t)
	p, err := faults.Plan(t, faulttest.Env(t), "process.fork", faulttest.Args{"count": "10"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Missing) > 0 {
		needtest.Lacks(t, fmt.Sprint(p.Missing))
	}
}

// cgroupOf is the folder that the record of a process.fork names.
func cgroupOf(t *testing.T, u actions.Undo) string {
	t.Helper()
	var h stress.Held
	if err := json.Unmarshal(u.Args, &h); err != nil || h.Group == nil {
		t.Fatal(err, h)
	}
	return h.Group.Dirs()[0]
}

func inFile(t *testing.T, parts ...string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// All processes are there, the kernel would allow no more of them, and afterwards neither they nor their cgroup are left.
func TestForkAndBack(t *testing.T) {
	forkable(t)
	for _, elsewhere := range []bool{false, true} {
		for _, a := range []faulttest.Args{{"count": "300"}, {"count": "100", "rate": "200/s"}} {
			e := faulttest.Env(t)
			f, led := faults.Inject(t, e, "process.fork", a)
			t.Log(faulttest.Effect(t, f, actions.Yes))
			count, _ := strconv.Atoi(a["count"])
			dir := cgroupOf(t, led.Undos()[0])
			if now, most := inFile(t, dir, "pids.current"), inFile(t, dir, "pids.max"); now < count || most > count+100 || now > most {
				t.Errorf("%d processes of %d allowed, want %d", now, most, count)
			}
			if a["rate"] != "" {
				first := members(t, dir)
				faulttest.Within(t, 20*time.Second, "20 processes are forked anew", func() bool {
					born := 0
					for pid := range members(t, dir) {
						if !first[pid] {
							born++
						}
					}
					return born >= 20
				})
			}
			if elsewhere {
				e.Hold.Close()
				e = faulttest.Elsewhere(e)
			}
			faults.Revert(t, e, led.Undos(), actions.Gone)
			if _, err := os.Stat(dir); err == nil {
				t.Error("the cgroup is left")
			}
		}
	}
}

func members(t *testing.T, dir string) map[int]bool {
	t.Helper()
	data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	out := map[int]bool{}
	for _, w := range strings.Fields(string(data)) {
		pid, _ := strconv.Atoi(w)
		out[pid] = true
	}
	return out
}

// When one in the chain runner, helper, stressor, first process is killed, the kernel ends all processes: nobody has to.
func TestForkEndsWithWhoeverOwnsIt(t *testing.T) {
	forkable(t)
	for name, level := range map[string]int{"the helper": 0, "the stressor": 1, "the first process of the namespace": 2} {
		t.Run(name, func(t *testing.T) {
			e := faulttest.Env(t)
			f, led := faults.Inject(t, e, "process.fork", faulttest.Args{"count": "200"})
			dir := cgroupOf(t, led.Undos()[0])
			all, err := target.Descendants(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			var stressor target.Process
			for _, p := range all {
				if p.Comm == "chaos-stress" && members(t, dir)[p.Pid] {
					stressor = p
					break
				}
			}
			victim := []int{stressor.PPid, stressor.Pid, 0}[level]
			if level == 2 {
				below, _ := target.Descendants(stressor.Pid)
				victim = below[0].Pid
			}
			if victim <= 1 {
				t.Fatal("no such process")
			}
			unix.Kill(victim, unix.SIGKILL)
			faulttest.Within(t, 10*time.Second, "all processes are gone", func() bool { return len(members(t, dir)) == 0 })
			faulttest.Within(t, 10*time.Second, "it is known", func() bool { effect, _ := f.Last(); return effect == actions.No })
			e.Hold.Close()
			faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Gone)
		})
	}
}

func TestForkRunnerKilled(t *testing.T) {
	forkable(t)
	e := faulttest.Elsewhere(faulttest.Env(t))
	faulttest.KillAnyTime(t, 5, 200*time.Millisecond, func() *faulttest.Runner {
		return faulttest.NewRunner(t, "process.fork", faulttest.Args{"count": "300", "rate": "50/s"})
	}, func(r *faulttest.Runner) {
		undos := r.Undos(t)
		if len(undos) == 0 {
			return
		}
		faulttest.WithinSecond(t, "the processes are gone", func() bool {
			return len(members(t, cgroupOf(t, undos[0]))) == 0
		})
		faults.Revert(t, e, undos, actions.Gone) // the empty cgroup
	})
}

func TestForkRefuses(t *testing.T) {
	e := faulttest.Env(t)
	for want, args := range map[string]faulttest.Args{
		"`count: 0` must be":                {"count": "0"},
		"`count: 1000000000` is too many":   {"count": "1000000000"},
		"`rate: 0/s` must be more than 0/s": {"count": "10", "rate": "0/s"},
		"at most 1000/s":                    {"count": "10", "rate": "1000000/s"},
	} {
		faults.Refused(t, e, "process.fork", args, want)
	}
}
