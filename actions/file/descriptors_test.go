package file

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

var faults = faulttest.Of(Register)

// opener is a process that opens a file for each line that it reads, and says whether it could. With "child" it goes on
// as a child of itself that inherits its limit.
func opener() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "child" {
			cmd := exec.Command("sleep", "1000")
			cmd.Stdout = nil
			if err := cmd.Start(); err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Println(cmd.Process.Pid)
			continue
		}
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("opened")
	}
}

// startOpener starts one; the function asks it for something.
func startOpener(t *testing.T) (target.Identity, func(string) string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `exec "$0"`, os.Args[0]) // not this very program's link, which is one of ours
	cmd.Env = append(os.Environ(), "FILE_TEST_AS=opener")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	ask := func(what string) string {
		fmt.Fprintln(in, what)
		lines.Scan()
		return lines.Text()
	}
	ask("open") // it runs
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id, ask
}

// A process can open as many files as are left to it, then no more, and after the undo again.
func TestDescriptorsOfAProcess(t *testing.T) {
	id, ask := startOpener(t)
	before, err := limit(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, elsewhere := range []bool{false, true} {
		e := faulttest.Env(t)
		led := &faulttest.Ledger{}
		f, err := exhaust(led, []target.Found{{Identity: id}}, 2)
		if err != nil {
			t.Fatal(err)
		}
		faulttest.Effect(t, f, actions.Yes)
		got := []string{ask("open"), ask("open"), ask("open")}
		if got[0] != "opened" || got[1] != "opened" || !strings.Contains(got[2], "too many open files") {
			t.Error(got)
		}
		if elsewhere {
			e = faulttest.Elsewhere(e)
		}
		faults.Revert(t, e, led.Undos(), actions.Gone)
		if got := ask("open"); got != "opened" {
			t.Error("after the undo:", got)
		}
		if now, _ := limit(id); now != before {
			t.Errorf("limit %+v, before %+v", now, before)
		}
	}
}

// What the process forked meanwhile gets its limit back too; what somebody else has set stays, and is named as foreign.
func TestDescriptorsOfChildrenAndOthers(t *testing.T) {
	id, ask := startOpener(t)
	led := &faulttest.Ledger{}
	before, _ := limit(id)
	if _, err := exhaust(led, []target.Found{{Identity: id}}, 20); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(ask("child"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := target.ProcessIdentity(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer child.Signal(unix.SIGKILL)
	// Go gives what it starts the limit that it had itself at its own start; so the child is given ours by hand.
	ours, _ := limit(id)
	if err := setSoft(child, ours.Cur); err != nil {
		t.Fatal(err)
	}
	faults.Revert(t, faulttest.Env(t), led.Undos(), actions.Gone)
	if now, _ := limit(child); now.Cur != before.Cur {
		t.Errorf("the child's limit is %d, want %d", now.Cur, before.Cur)
	}
	led = &faulttest.Ledger{}
	if _, err := exhaust(led, []target.Found{{Identity: id}}, 20); err != nil {
		t.Fatal(err)
	}
	if err := setSoft(id, 777); err != nil {
		t.Fatal(err)
	}
	faults.Revert(t, faulttest.Env(t), led.Undos(), actions.Foreign)
	if now, _ := limit(id); now.Cur != 777 {
		t.Error("somebody else's limit is gone:", now.Cur)
	}
}

// A daemon that the process starts meanwhile gets its limit back too, and so does what lives on without it.
func TestDescriptorsOfADaemon(t *testing.T) {
	file := filepath.Join(t.TempDir(), "daemon")
	cmd := exec.Command("sh", "-c", `read go; (setsid sleep 1000 & echo $! >"$0.new"); mv "$0.new" "$0"; read end`, file)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := limit(id)
	led := &faulttest.Ledger{}
	if _, err := exhaust(led, []target.Found{{Identity: id}}, 20); err != nil {
		t.Fatal(err)
	}
	ours, _ := limit(id)
	fmt.Fprintln(in)
	var daemon target.Identity
	for begun := time.Now(); ; {
		data, _ := os.ReadFile(file)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
		p, err := target.ReadProcess(pid)
		if daemon = p.Identity(); err == nil && p.Comm == "sleep" && p.PPid != id.Pid() {
			break
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatal("there is no daemon")
		}
	}
	t.Cleanup(func() { daemon.Signal(unix.SIGKILL) })
	if now, _ := limit(daemon); now != ours {
		t.Fatalf("the daemon has %+v, want ours %+v", now, ours)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if s := faults.State(t, faulttest.Env(t), led.Undos()[0]); s != actions.Present {
		t.Error(s)
	}
	faults.Revert(t, faulttest.Env(t), led.Undos(), actions.Gone)
	if now, _ := limit(daemon); now != before {
		t.Errorf("the daemon has %+v, want %+v", now, before)
	}
}

func TestDescriptorsOfTheMachine(t *testing.T) {
	e := faulttest.Env(t)
	var own unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &own)
	count := int(own.Max) + 500 // more than one process may have
	if _, err := room(count); err != nil {
		count = 1000
	}
	p, err := faults.Plan(t, e, "file.descriptors", faulttest.Args{"count": fmt.Sprint(count)})
	if err != nil || p.Lifetime != actions.Kernel {
		t.Fatal(p, err)
	}
	before, _, _ := stress.OpenFiles()
	f, led := faults.Inject(t, e, "file.descriptors", faulttest.Args{"count": fmt.Sprint(count)})
	faulttest.Effect(t, f, actions.Yes)
	now, _, _ := stress.OpenFiles()
	// The kernel counts in batches on each core, and other tests close files too.
	if now-before < count-2000 {
		t.Errorf("%d files are open, before %d", now, before)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
	faulttest.Within(t, 20*time.Second, "the files are closed", func() bool { now, _, _ := stress.OpenFiles(); return now < before+count/2 })
	if effect, detail := f.Last(); effect != actions.No {
		t.Error(effect, detail)
	}
}

func TestDescriptorsRunnerKilled(t *testing.T) {
	e := faulttest.Elsewhere(faulttest.Env(t))
	faulttest.KillAnyTime(t, 4, 200*time.Millisecond, func() *faulttest.Runner {
		return faulttest.NewRunner(t, "file.descriptors", faulttest.Args{"count": "30000"})
	}, func(r *faulttest.Runner) {
		if undos := r.Undos(t); len(undos) > 0 {
			faulttest.WithinSecond(t, "the files are closed", func() bool { return faults.State(t, e, undos[0]) == actions.Gone })
			faults.Revert(t, e, undos, actions.Gone)
		}
	})
}

func TestDescriptorsRefuses(t *testing.T) {
	e := faulttest.Env(t)
	id, _ := startOpener(t)
	for want, args := range map[string]faulttest.Args{
		"`count: 0` must be":                 {"count": "0"},
		"`count: 1000000000000` is too many": {"count": "1000000000000"},
		"`leave` is for a process":           {"count": "10", "leave": "2"},
		"`leave: -1` must be":                {"pid": id.ID, "leave": "-1"},
		"selects no process that may be":     {"pid": "1"},
	} {
		faults.Refused(t, e, "file.descriptors", args, want)
	}
	if _, _, err := squeeze(id, 1<<40); err == nil || !strings.Contains(err.Error(), "can open no more than") {
		t.Error(err)
	}
}

func TestSpecs(t *testing.T) { faults.Spec(t) }
