package process_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/actions/process"
	"chaos/runtime/cgroup"
	"chaos/runtime/needtest"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

var faults = faulttest.Of(process.Register)

// places is where a process and everything below it is, how nice they are, and which cgroups faults of this test made: what has
// to be as before.
func places(t *testing.T, id target.Identity) string {
	t.Helper()
	below, err := target.Descendants(id.Pid())
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintln(faulttest.Cgroups())
	for _, pid := range append([]int{id.Pid()}, pids(below)...) {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		n, _ := unix.Getpriority(unix.PRIO_PROCESS, pid)
		out += fmt.Sprintf("%d nice %d\n%s", pid, 20-n, data)
	}
	return out
}

func pids(list []target.Process) []int {
	var out []int
	for _, p := range list {
		if !p.Zombie() {
			out = append(out, p.Pid)
		}
	}
	return out
}

// prey is a victim that is what it shall be: on a slow machine a process can be seen, for some milliseconds after its start,
// as what started it.
func prey(t *testing.T, script string, words ...string) target.Identity {
	t.Helper()
	id := faulttest.Victim(t, script, words...)
	faulttest.Within(t, 10*time.Second, "executed", func() bool {
		p, err := id.Process()
		return err == nil && strings.HasPrefix(p.Comm, "s") && p.CommandLine() != "["+p.Comm+"]" && target.NewOwn().Why(p) == ""
	})
	id, _ = target.ProcessIdentity(id.Pid())
	return id
}

func cgroupsOrSkip(t *testing.T) {
	t.Helper()
	needtest.Root(t)
	p, err := faults.Plan(t, faulttest.Env(t), "process.limit", faulttest.Args{"pid": prey(t, "exec sleep 1000").ID, "cpu": "50%"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Missing) > 0 {
		needtest.Lacks(t, p.Missing[0].Name+": "+p.Missing[0].Install)
	}
}

// family is a process with a child, both of which wait.
func family(t *testing.T) target.Identity {
	t.Helper()
	id := prey(t, "sleep 1000 & wait; exit 0", "family")
	faulttest.Within(t, 20*time.Second, "a child", func() bool { list, _ := target.Descendants(id.Pid()); return len(list) == 1 && list[0].Comm == "sleep" })
	list, _ := target.Descendants(id.Pid())
	child := list[0].Identity()
	t.Cleanup(func() { child.Signal(unix.SIGKILL) })
	return id
}

func TestLimitAndBack(t *testing.T) {
	cgroupsOrSkip(t)
	e := faulttest.Env(t)
	id := family(t)
	before := places(t, id)
	p, err := faults.Plan(t, e, "process.limit", faulttest.Args{"pid": id.ID, "cpu": "50%", "memory": "64MiB", "pids": "20", "io_read": "1MiB/s", "io_write": "2MiB/s"})
	if err != nil || p.Lifetime != actions.Guardian || p.Why == "" || len(p.Undo) != 2 || !strings.Contains(p.Does, "cpu 50% of a core, memory 64MiB, 20 processes") {
		t.Fatalf("%+v %v", p, err)
	}
	if now := places(t, id); now != before {
		t.Fatal("a plan did something:", now)
	}
	led := &faulttest.Ledger{OnIntend: func(actions.Undo) {
		if now := places(t, id); now != before {
			t.Error("something was done before the record was written")
		}
	}}
	f, err := p.Inject(t.Context(), led)
	if err != nil {
		t.Fatal(err)
	}
	detail := faulttest.Effect(t, f, actions.Yes)
	if !strings.Contains(detail, "for 2 processes") || len(led.Undos()) != 1 || !led.AllApplied() {
		t.Error(detail, led.Undos())
	}
	if s := faults.State(t, e, led.Undos()[0]); s != actions.Present {
		t.Error(s)
	}
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Gone)
	if now := places(t, id); now != before {
		t.Errorf("before\n%s\nafter\n%s", before, now)
	}
	if d, _ := f.Effect(t.Context()); d != actions.No {
		t.Error("the effect is said to be there after the undo:", d)
	}
}

// The limit bites: a busy loop gets what it may, and what takes too much memory is killed, and nobody else.
func TestLimitBites(t *testing.T) {
	cgroupsOrSkip(t)
	e := faulttest.Env(t)
	id := prey(t, "while :; do :; done")
	f, led := faults.Inject(t, e, "process.limit", faulttest.Args{"pid": id.ID, "cpu": "20%"})
	faulttest.Effect(t, f, actions.Yes)
	idle, earliest := stress.Idle(), time.Now()
	before, _ := stress.Used(id.Pid())
	begun := time.Now()
	time.Sleep(1500 * time.Millisecond)
	ended := time.Now()
	after, _ := stress.Used(id.Pid())
	latest := time.Now()
	// This test may itself stand still between two of these lines: what was used was used in the longer time.
	got, least := float64(after-before)/float64(ended.Sub(begun)), float64(after-before)/float64(latest.Sub(earliest))
	spare := stress.Idle()-idle > latest.Sub(earliest)/10 // else it had less for another reason than its limit
	t.Logf("cpu: 20%% asked, %.1f%% got", got*100)
	if got < 0.10 && spare || got <= 0 || least > 0.27 {
		t.Errorf("cpu: from %.1f%% to %.1f%% of 20%%", least*100, got*100)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)

	eater := prey(t, `read go; exec python3 -c 'x = bytearray(300 << 20); import time; time.sleep(1000)'`)
	f, led = faults.Inject(t, e, "process.limit", faulttest.Args{"pid": eater.ID, "memory": "50MiB"})
	faulttest.Effect(t, f, actions.Yes)
	if err := os.WriteFile("/proc/"+eater.ID+"/fd/0", []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	faulttest.Within(t, time.Minute, "killed for its memory", func() bool { return !eater.Alive() })
	faulttest.Effect(t, f, actions.No)
	if effect, detail := f.Last(); effect != actions.Yes || !strings.Contains(detail, "the kernel's OOM killer ended 1 in the cgroup of") {
		t.Error(effect, detail)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone) // the target is gone: undone, and nothing is left of the cgroup

	forker := prey(t, `read go; for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done 2>/dev/null; wait`)
	_, led = faults.Inject(t, e, "process.limit", faulttest.Args{"pid": forker.ID, "pids": "4"})
	os.WriteFile("/proc/"+forker.ID+"/fd/0", []byte("\n"), 0)
	faulttest.Within(t, 20*time.Second, "it has started what it may", func() bool { return !forker.Alive() })
	var group cgroup.Group
	if err := json.Unmarshal(led.Undos()[0].Args, &group); err != nil || len(group.Parts) != 1 {
		t.Fatal(group, err)
	}
	data, _ := os.ReadFile(filepath.Join(group.Dirs()[0], "cgroup.procs"))
	members := strings.Fields(string(data)) // the shell itself gives up when it cannot fork
	if len(members) < 2 || len(members) > 4 {
		t.Errorf("%d processes, of 4 that may be", len(members))
	}
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Gone)
	for _, m := range members {
		if pid, err := strconv.Atoi(m); err == nil {
			if id, err := target.ProcessIdentity(pid); err == nil {
				id.Signal(unix.SIGKILL)
			}
		}
	}
}

// What the target starts meanwhile is limited too, and goes back with it, also when its parent has died.
func TestLimitOfTheNewborn(t *testing.T) {
	cgroupsOrSkip(t)
	e := faulttest.Env(t)
	id := prey(t, "read go; (sleep 1000 & echo $! >$0; sleep 0.1); sleep 1000 & wait", filepath.Join(e.Dir, "orphan"))
	_, led := faults.Inject(t, e, "process.limit", faulttest.Args{"pid": id.ID, "cpu": "50%", "pids": "50"})
	os.WriteFile("/proc/"+id.ID+"/fd/0", []byte("\n"), 0)
	var orphan target.Identity
	faulttest.Within(t, 20*time.Second, "an orphan", func() bool {
		data, _ := os.ReadFile(filepath.Join(e.Dir, "orphan"))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		p, err := target.ReadProcess(pid)
		orphan = p.Identity()
		return err == nil && p.PPid == os.Getpid() && p.Comm == "sleep"
	})
	t.Cleanup(func() {
		list, _ := target.Descendants(id.Pid())
		for _, p := range list {
			p.Identity().Signal(unix.SIGKILL)
		}
		orphan.Signal(unix.SIGKILL)
	})
	in, _ := os.ReadFile("/proc/" + orphan.ID + "/cgroup")
	if !strings.Contains(string(in), "/chaos-") {
		t.Fatalf("the newborn is outside:\n%s", in)
	}
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Gone)
	want, _ := os.ReadFile("/proc/" + id.ID + "/cgroup")
	if in, _ := os.ReadFile("/proc/" + orphan.ID + "/cgroup"); string(in) != string(want) {
		t.Errorf("the orphan is in\n%s", in)
	}
}

// Somebody else moves the target meanwhile: it is left there.
func TestLimitForeign(t *testing.T) {
	cgroupsOrSkip(t)
	e := faulttest.Env(t)
	id := prey(t, "exec sleep 1000")
	f, led := faults.Inject(t, e, "process.limit", faulttest.Args{"pid": id.ID, "pids": "50"})
	ours := faulttest.Cgroups()
	if len(ours) != 1 {
		t.Fatal(ours)
	}
	foreign := filepath.Join(filepath.Dir(ours[0]), fmt.Sprintf("foreign-%d", os.Getpid()))
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		id.Signal(unix.SIGKILL)
		faulttest.Within(t, 5*time.Second, "the foreign cgroup is removed", func() bool { return os.Remove(foreign) == nil })
	})
	if err := os.WriteFile(filepath.Join(foreign, "cgroup.procs"), []byte(id.ID), 0); err != nil {
		t.Fatal(err)
	}
	faulttest.Effect(t, f, actions.No)
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Foreign)
	if in, _ := os.ReadFile("/proc/" + id.ID + "/cgroup"); !strings.Contains(string(in), "/foreign-") {
		t.Errorf("it was taken away:\n%s", in)
	}
	if left := faulttest.Cgroups(); len(left) != 0 {
		t.Error(left)
	}
}

func TestLimitRefuses(t *testing.T) {
	e := faulttest.Env(t)
	id := prey(t, "exec sleep 1000").ID
	for want, args := range map[string]faulttest.Args{
		"no limit is given":      {},
		"at least 0.1%":          {"cpu": "0.01%"},
		"is no limit on this":    {"cpu": "100000%"},
		"at least 1MiB":          {"memory": "1kB"},
		"`pids: 0` must be":      {"pids": "0"},
		"must be at least 1B/s":  {"io_read": "0.1B/s"},
		"what started chaos":     {"pids": "5", "pid": fmt.Sprint(os.Getppid())},
		"chaos itself":           {"pids": "5", "pid": fmt.Sprint(os.Getpid())},
		"selects no process tha": {"pids": "5", "pid": "1"},
	} {
		if args["pid"] == "" {
			args["pid"] = id
		}
		faults.Refused(t, e, "process.limit", args, want)
	}
}

// An undo record whose pid was reused must not move the process that has it now. The cgroup of the record is removed.
func TestLimitOfAReusedPid(t *testing.T) {
	cgroupsOrSkip(t)
	e := faulttest.Env(t)
	id := prey(t, "exec sleep 1000")
	_, led := faults.Inject(t, e, "process.limit", faulttest.Args{"pid": id.ID, "pids": "50"})
	id.Signal(unix.SIGKILL)
	faulttest.Within(t, 5*time.Second, "dead", func() bool { return !id.Alive() })
	u := led.Undos()[0]
	other := prey(t, "exec sleep 1000")
	u.Prior = []byte(strings.ReplaceAll(string(u.Prior), `"id":"`+id.ID+`"`, `"id":"`+other.ID+`"`))
	before := places(t, other)
	faults.Revert(t, faulttest.Elsewhere(e), []actions.Undo{u}, actions.Gone)
	if now := places(t, other); strings.Split(now, "\n")[1] != strings.Split(before, "\n")[1] {
		t.Error("another process was touched")
	}
	u.Target.Boot = "another"
	faults.Revert(t, faulttest.Elsewhere(e), []actions.Undo{u}, actions.Gone)
}

func TestIntendedOnly(t *testing.T) {
	cgroupsOrSkip(t)
	id := family(t)
	before := places(t, id)
	faults.Intended(t, faulttest.Env(t), "process.limit", faulttest.Args{"pid": id.ID, "cpu": "50%"})
	faults.Intended(t, faulttest.Env(t), "process.nice", faulttest.Args{"pid": id.ID, "value": "5"})
	if now := places(t, id); now != before {
		t.Errorf("before\n%s\nafter\n%s", before, now)
	}
}

// survivesNothing kills the runner of a fault within a time: the records on disk are enough for another process to restore
// everything.
func survivesNothing(t *testing.T, limit time.Duration, action string, more faulttest.Args) {
	t.Helper()
	id := family(t)
	before := places(t, id)
	more["pid"] = id.ID
	active := 0
	faulttest.KillAnyTime(t, 12, limit, func() *faulttest.Runner {
		return faulttest.NewRunner(t, action, more)
	}, func(r *faulttest.Runner) {
		if places(t, id) != before {
			active++
		}
		faults.Revert(t, faulttest.Elsewhere(faulttest.Env(t)), r.Undos(t), actions.Gone)
		if now := places(t, id); now != before {
			t.Fatalf("before\n%s\nafter\n%s", before, now)
		}
	})
	t.Logf("killed 12 times, %d of them with the fault or a part of it in place", active)
}

func TestLimitSurvivesNothing(t *testing.T) {
	cgroupsOrSkip(t)
	survivesNothing(t, 30*time.Millisecond, "process.limit", faulttest.Args{"cpu": "50%", "memory": "64MiB", "pids": "50"})
}

func TestNice(t *testing.T) {
	needtest.Root(t)
	e := faulttest.Env(t)
	// Several threads, one of which is nicer than the others before.
	cmd := exec.Command("python3", "-c", "import threading, time, os\nfor i in range(3): threading.Thread(target=time.sleep, args=(1000,)).start()\ninput()\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nos.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '1000')\ntime.sleep(1000)")
	in, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		list, _ := target.Descendants(cmd.Process.Pid)
		cmd.Process.Kill()
		cmd.Wait()
		for _, p := range list {
			p.Identity().Signal(unix.SIGKILL)
		}
	})
	pid := cmd.Process.Pid
	faulttest.Within(t, 10*time.Second, "4 threads", func() bool { l, _ := target.Threads(pid); return len(l) == 4 })
	tids, _ := target.Threads(pid)
	unix.Setpriority(unix.PRIO_PROCESS, tids[2], 3)
	values := func() string {
		l, _ := target.Threads(pid)
		var out []int
		for _, tid := range l {
			n, _ := unix.Getpriority(unix.PRIO_PROCESS, tid)
			out = append(out, 20-n)
		}
		return fmt.Sprint(out)
	}
	args := faulttest.Args{"pid": fmt.Sprint(pid), "value": "7"}
	p, err := faults.Plan(t, e, "process.nice", args)
	if err != nil || p.Lifetime != actions.Guardian || values() != "[0 0 3 0]" || !strings.Contains(p.Undo[0], "what each of its 4 threads has now") {
		t.Fatal(p, err, values())
	}
	f, led := faults.Inject(t, e, "process.nice", args)
	faulttest.Effect(t, f, actions.Yes)
	if values() != "[7 7 7 7]" {
		t.Error(values())
	}
	// What is started meanwhile inherits the value, and must lose it too.
	in.Write([]byte("\n"))
	faulttest.Within(t, 10*time.Second, "a thread and a child", func() bool { l, _ := target.Descendants(pid); return len(l) == 1 && values() == "[7 7 7 7 7]" })
	if s := faults.State(t, e, led.Undos()[0]); s != actions.Present {
		t.Error(s)
	}
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Gone)
	child, _ := target.Descendants(pid)
	n, _ := unix.Getpriority(unix.PRIO_PROCESS, child[0].Pid)
	if values() != "[0 0 3 0 0]" || 20-n != 0 {
		t.Error(values(), "the child has", 20-n)
	}

	// Lowered and back; a value that somebody else sets meanwhile stays.
	args["value"] = "-5"
	f, led = faults.Inject(t, e, "process.nice", args)
	faulttest.Effect(t, f, actions.Yes)
	unix.Setpriority(unix.PRIO_PROCESS, tids[1], 12)
	faulttest.Effect(t, f, actions.No)
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Foreign)
	if values() != "[0 12 3 0 0]" {
		t.Error(values())
	}

	// The identity of another process with this pid.
	_, led = faults.Inject(t, e, "process.nice", args)
	u := led.Undos()[0]
	u.Target.Start++
	faults.Revert(t, e, []actions.Undo{u}, actions.Gone)
	if values() != "[-5 -5 -5 -5 -5]" {
		t.Error("touched:", values())
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
	faults.Refused(t, e, "process.nice", faulttest.Args{"pid": fmt.Sprint(pid), "value": "20"}, "from -20 to 19")
}

func TestNiceSurvivesNothing(t *testing.T) {
	needtest.Root(t)
	survivesNothing(t, 10*time.Millisecond, "process.nice", faulttest.Args{"value": "5"})
}

// A daemon that the target starts meanwhile loses the value too, as does what lives on without the target.
func TestNiceOfADaemon(t *testing.T) {
	needtest.Root(t)
	e := faulttest.Env(t)
	file := filepath.Join(e.Dir, "daemon")
	id := prey(t, `read go; (setsid sleep 1000 & echo $! >"$0.new"); mv "$0.new" "$0"; read end`, file)
	_, led := faults.Inject(t, e, "process.nice", faulttest.Args{"pid": id.ID, "value": "7"})
	older := prey(t, "exec sleep 1000") // of the same parent and cgroup, but with a value of its own
	os.WriteFile("/proc/"+id.ID+"/fd/0", []byte("\n"), 0)
	var daemon target.Identity
	faulttest.Within(t, 10*time.Second, "a daemon", func() bool {
		data, _ := os.ReadFile(file)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		p, err := target.ReadProcess(pid)
		daemon = p.Identity()
		return err == nil && p.Comm == "sleep" && p.PPid != id.Pid()
	})
	t.Cleanup(func() { daemon.Signal(unix.SIGKILL) })
	nice := func(id target.Identity) int { n, _ := unix.Getpriority(unix.PRIO_PROCESS, id.Pid()); return 20 - n }
	if nice(daemon) != 7 || nice(older) != 0 {
		t.Fatal(nice(daemon), nice(older))
	}
	id.Signal(unix.SIGKILL)
	faulttest.Within(t, 10*time.Second, "the target's end", func() bool { return !id.Alive() })
	if s := faults.State(t, e, led.Undos()[0]); s != actions.Present {
		t.Error(s)
	}
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Gone)
	if nice(daemon) != 0 || nice(older) != 0 {
		t.Error(nice(daemon), nice(older))
	}
}

// A user without the right to lower a value again is refused before anything is raised.
func TestNiceWithoutPrivilege(t *testing.T) {
	needtest.Root(t)
	dir := t.TempDir()
	exe, _ := os.ReadFile("/proc/self/exe")
	binary := filepath.Join("/tmp", fmt.Sprintf("chaos-nice-%d.test", os.Getpid()))
	if err := os.WriteFile(binary, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(binary) })
	cmd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "-test.run=^TestNiceAsNobody$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "CHAOS_NOBODY=1", "TMPDIR="+dir)
	os.Chmod(dir, 0o777)
	os.Chmod(filepath.Dir(dir), 0o755)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestNiceAsNobody") {
		t.Fatalf("%s\n%s", err, out)
	}
}

func TestNiceAsNobody(t *testing.T) {
	if os.Getenv("CHAOS_NOBODY") == "" {
		return
	}
	id := prey(t, "exec sleep 1000")
	for value, want := range map[string]string{"5": "could be raised to 5, but not lowered to 0 again", "-5": "lowering it needs"} {
		p, err := faults.Plan(t, faulttest.Env(t), "process.nice", faulttest.Args{"pid": id.ID, "value": value})
		if err != nil || len(p.Missing) != 1 || !strings.Contains(p.Missing[0].Install, want) {
			t.Errorf("%+v %v", p.Missing, err)
		}
	}
	p, err := faults.Plan(t, faulttest.Env(t), "process.limit", faulttest.Args{"pid": id.ID, "pids": "5"})
	if err != nil || len(p.Missing) != 1 || !strings.Contains(p.Missing[0].Install, "run as root") {
		t.Errorf("%+v %v", p.Missing, err)
	}
}
