package hold

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

func TestStartAndStop(t *testing.T) {
	c := client(t)
	s := shell(t, `echo hello; echo "$GREETING" >&2; exec sleep 1000`)
	s.Env = map[string]string{"GREETING": "from the environment"}
	p := begin(t, c, s)
	within(t, slow, "the output is in its files", func() bool {
		return read(t, s.Stdout) == "hello\n" && read(t, s.Stderr) == "from the environment\n"
	})
	id, ok := p.Identity()
	if !ok || !id.Alive() || p.HandleField("pid").Float() != float64(id.Pid()) {
		t.Fatalf("identity %v %v, pid %v", id, ok, p.HandleField("pid"))
	}
	begun := time.Now()
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > s.Grace {
		t.Errorf("stopping took %s", took)
	}
	st := p.State()
	if st.Running || !st.Exited || st.Signal != "TERM" || !st.Stopped || st.ExitCode != 128+15 {
		t.Errorf("state %+v", st)
	}
	if id.Alive() || !p.HandleField("pid").IsMissing() {
		t.Error("it is still there")
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Error("stopped again:", err)
	}
}

func TestSignalsAreNotIgnoredInChildren(t *testing.T) {
	c := client(t)
	p := begin(t, c, shell(t, `exec sleep 1000`))
	text := read(t, "/proc/"+strconv.Itoa(p.State().Pid)+"/status")
	for line := range strings.Lines(text) {
		for _, name := range []string{"SigIgn:", "SigBlk:"} {
			text, ok := strings.CutPrefix(line, name)
			if !ok {
				continue
			}
			mask, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if mask &= 1<<31 - 1; mask != 0 { // the signals 1 to 31; what whoever started the test does to real-time ones is not ours
				t.Errorf("%s %x", name, mask)
			}
		}
	}
}

func TestStopEscalates(t *testing.T) {
	c := client(t)
	s := shell(t, `trap '' TERM; echo up; while :; do sleep 0.1; done`)
	s.Grace = 300 * time.Millisecond
	p := begin(t, c, s)
	within(t, slow, "trap set", func() bool { return read(t, s.Stdout) != "" })
	begun := time.Now()
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < s.Grace || took > s.Grace+slow {
		t.Errorf("it took %s", took)
	}
	if st := p.State(); st.Signal != "KILL" {
		t.Errorf("state %+v", st)
	}
}

func TestStopTakesDaemonsToo(t *testing.T) {
	c := client(t)
	s := shell(t, tree)
	p := begin(t, c, s)
	within(t, slow, "the daemon is up", func() bool { return read(t, filepath.Join(s.Dir, "up")) != "" })
	within(t, slow, "six processes", func() bool { return len(c.Pids()) >= 1+6 })
	other := begin(t, c, shell(t, `exec sleep 1000`))
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if left := c.Pids(); len(left) != 2 || !other.State().Running {
		t.Errorf("left: %v; the other process: %+v", left, other.State())
	}
}

func TestStopsADaemonWhoseParentLeft(t *testing.T) {
	c := client(t)
	// An empty environment, a session of its own, and a parent that is gone: as nginx does.
	s := shell(t, `setsid env -i sleep 1000 & sleep 0.2`)
	p := begin(t, c, s)
	within(t, slow, "the parent left", func() bool { return p.State().Exited })
	if len(c.Pids()) != 2 {
		t.Fatalf("helper and daemon: %v", c.Pids())
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(c.Pids()) != 1 {
		t.Errorf("left: %v", c.Pids())
	}
}

// What is forked while the stop signals go out is told to end as well, instead of staying for the whole grace.
func TestStopAsksWhatWasForkedMeanwhile(t *testing.T) {
	c := client(t)
	s := shell(t, `trap 'sleep 1000 & exit 0' TERM; echo up; while :; do sleep 0.01; done`)
	s.Grace = time.Minute
	p := begin(t, c, s)
	within(t, slow, "trap set", func() bool { return read(t, s.Stdout) != "" })
	begun := time.Now()
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took >= s.Grace {
		t.Errorf("it took %s", took)
	}
	if left := c.Pids(); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// What a process starts in order to end in good order comes to its end.
func TestStopLeavesACleanUpAlone(t *testing.T) {
	c := client(t)
	s := shell(t, `trap 'sh -c "sleep 0.3; echo bye"; exit 0' TERM; echo up; while :; do sleep 0.01; done`)
	p := begin(t, c, s)
	within(t, slow, "trap set", func() bool { return read(t, s.Stdout) != "" })
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if out := read(t, s.Stdout); out != "up\nbye\n" {
		t.Errorf("output %q", out)
	}
}

func TestStopOfAPausedProcess(t *testing.T) {
	c := client(t)
	p := begin(t, c, shell(t, `exec sleep 1000`))
	id, _ := p.Identity()
	if err := id.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if time.Since(begun) > slow || p.State().Signal != "TERM" {
		t.Errorf("after %s: %+v", time.Since(begun), p.State())
	}
}

func TestRestartWithDelay(t *testing.T) {
	c := client(t)
	s := shell(t, `echo started; exec sleep 1000`)
	s.Restart, s.RestartDelay, s.StartLimit, s.StartLimitInterval = true, time.Second, 5, time.Minute
	p := begin(t, c, s)
	within(t, slow, "up", func() bool { return read(t, s.Stdout) != "" })
	first, _ := p.Identity()
	killed := time.Now()
	if err := first.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Who looks late may find it started again already.
	within(t, slow, "seen dead", func() bool { return !p.State().Running || p.State().Restarts > 0 })
	within(t, slow, "started again", func() bool { return p.State().Running })
	if up := time.Since(killed); up < s.RestartDelay {
		t.Errorf("started again after %s", up)
	}
	second, _ := p.Identity()
	if st := p.State(); st.Restarts != 1 || st.Signal != "KILL" || st.ExitCode != 137 || second.Same(first) {
		t.Errorf("state %+v", st)
	}
	within(t, slow, "output appended", func() bool { return read(t, s.Stdout) == "started\nstarted\n" })
}

func TestRestartClearsLeftovers(t *testing.T) {
	c := client(t)
	s := shell(t, `sleep 1000 & echo $! >> kids; wait`)
	s.Restart, s.RestartDelay = true, 10*time.Millisecond
	p := begin(t, c, s)
	within(t, slow, "child", func() bool { return read(t, filepath.Join(s.Dir, "kids")) != "" })
	kid, _ := strconv.Atoi(strings.TrimSpace(read(t, filepath.Join(s.Dir, "kids"))))
	kidID, err := target.ProcessIdentity(kid)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := p.Identity()
	id.Signal(unix.SIGKILL)
	within(t, slow, "started again", func() bool { return p.State().Running && p.State().Restarts == 1 })
	if kidID.Alive() {
		t.Error("the child of the former start lives")
	}
}

func TestStartLimit(t *testing.T) {
	c := client(t)
	s := shell(t, `echo started; exit 3`)
	s.Restart, s.RestartDelay, s.StartLimit, s.StartLimitInterval = true, 5*time.Millisecond, 3, 10*time.Second
	p := begin(t, c, s)
	within(t, slow, "gave up", func() bool { return p.State().GaveUp })
	if out := read(t, s.Stdout); strings.Count(out, "started") != 3 {
		t.Errorf("starts: %q", out)
	}
	if st := p.State(); st.Running || st.ExitCode != 3 || st.Restarts != 2 {
		t.Errorf("state %+v", st)
	}
	if err := p.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	within(t, slow, "gave up again", func() bool { return p.State().GaveUp })
	if out := read(t, s.Stdout); strings.Count(out, "started") != 6 {
		t.Errorf("a restart must reset the limit: %q", out)
	}
}

func TestStartLimitForgets(t *testing.T) {
	c := client(t)
	s := shell(t, `echo started; exit 3`)
	s.Restart, s.RestartDelay, s.StartLimit, s.StartLimitInterval = true, 60*time.Millisecond, 2, 100*time.Millisecond
	p := begin(t, c, s)
	within(t, slow, "more starts than the limit", func() bool { return strings.Count(read(t, s.Stdout), "started") > 4 })
	if p.State().GaveUp {
		t.Error("gave up")
	}
}

func TestRestartOfARunningProcess(t *testing.T) {
	c := client(t)
	p := begin(t, c, shell(t, `exec sleep 1000`))
	first, _ := p.Identity()
	if err := p.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	second, ok := p.Identity()
	if !ok || second.Same(first) || first.Alive() || !second.Alive() || p.State().Stopped {
		t.Errorf("from %v to %v: %+v", first, second, p.State())
	}
}

func TestCannotStart(t *testing.T) {
	c := client(t)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	os.WriteFile(plain, []byte("x"), 0o600)
	script := filepath.Join(dir, "script")
	os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o700)
	for _, tt := range []struct{ command, dir, want string }{
		{"/no/such/command", dir, "cannot start /no/such/command: no such file"},
		{plain, dir, "permission denied"},
		{script, dir, "interpreter"},
		{"/bin/sh", "/no/such/folder", "no folder /no/such/folder"},
	} {
		_, err := c.Start(context.Background(), Spec{Name: "x", Command: tt.command, Dir: tt.dir})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.command, err, tt.want)
		}
	}
	if len(c.Pids()) != 1 {
		t.Errorf("left: %v", c.Pids())
	}
}

func TestNoZombies(t *testing.T) {
	c := client(t)
	s := shell(t, `for i in 1 2 3 4 5; do sh -c '(sleep 0.0$0 &) ; exit 0' $i; done; echo done; exec sleep 1000`)
	begin(t, c, s)
	within(t, slow, "all orphans were made", func() bool { return read(t, s.Stdout) != "" })
	within(t, slow, "helper and sleep alone", func() bool { return len(c.Pids()) == 2 })
}

func TestCloseEndsEverythingGracefully(t *testing.T) {
	c := NewClient(nil)
	var specs []Spec
	for range 3 {
		s := shell(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done`)
		specs = append(specs, s)
		begin(t, c, s)
	}
	for _, s := range specs {
		within(t, slow, "up", func() bool { return read(t, s.Stdout) != "" })
	}
	helper := c.helper["supervise"].id
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		if out := read(t, s.Stdout); out != "up\nbye\n" {
			t.Errorf("output %q", out)
		}
	}
	if helper.Alive() || len(c.Pids()) != 0 {
		t.Errorf("left: helper %v, %v", helper.Alive(), c.Pids())
	}
	select {
	case <-c.Died():
		t.Error("a close is no death")
	default:
	}
	if _, err := c.Start(context.Background(), specs[0]); err == nil {
		t.Error("started after the close")
	}
}

// The promise: a runner that is killed leaves nothing, not even what tries to get away.
func TestKilledRunnerLeavesNothing(t *testing.T) {
	fastest := slow
	for range 5 {
		cmd, mark := runner(t, `cd `+t.TempDir()+`; `+tree)
		within(t, slow, "the tree is up", func() bool { return len(living(mark.Helper.Pid())) >= 6 })
		all := living(mark.Helper.Pid())
		cmd.Process.Kill()
		took := within(t, slow, "everything is gone", func() bool {
			for _, p := range all {
				if p.Identity().Alive() {
					return false
				}
			}
			return !mark.Helper.Alive()
		})
		fastest = min(fastest, took)
		if left, _ := mark.Left(); len(left) > 0 {
			t.Errorf("left: %s", describe(left))
		}
	}
	t.Logf("gone after %s", fastest)
	if fastest > 500*time.Millisecond {
		t.Errorf("it took %s at best", fastest)
	}
}

// The same at any instant, also in the middle of a start.
func TestRunnerKilledAtAnyInstant(t *testing.T) {
	for i := range 20 {
		word := fmt.Sprintf("needle-%d-%d", os.Getpid(), i)
		cmd := launch(t, "sleep 1000 & setsid sh -c 'sleep 1000; : "+word+"' & wait")
		time.Sleep(time.Duration(rand.IntN(int(60 * time.Millisecond))))
		cmd.Process.Kill()
		cmd.Wait()
		// The test's own environment holds the word, its command line does not.
		within(t, slow, "gone", func() bool { n, err := target.Count(word); return n == 0 && err == nil })
		within(t, slow, "and the helper", func() bool { return len(living(os.Getpid())) == 0 })
	}
}

// When the helper is killed the kernel ends its children, and the runner what those leave.
func TestKilledHelper(t *testing.T) {
	c := NewClient(nil)
	s := shell(t, tree)
	p := begin(t, c, s)
	within(t, slow, "the tree is up", func() bool { return len(c.Pids()) >= 7 })
	all := living(p.Mark().Helper.Pid())
	p.Mark().Helper.Signal(unix.SIGKILL)
	select {
	case <-c.Died():
	case <-time.After(slow):
		t.Fatal("nobody noticed")
	}
	for _, q := range all {
		if q.Identity().Alive() {
			t.Errorf("%s is alive", q.Describe())
		}
	}
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "SIGKILL") {
		t.Errorf("the reason: %v", err)
	}
	if p.State().Running {
		t.Error("the state says it runs")
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Error("stop of what is gone:", err)
	}
	if _, err := c.Start(context.Background(), s); err == nil {
		t.Error("started without a helper")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Runner and helper killed together: another process finds what is left by its mark.
func TestEndFromAnotherProcess(t *testing.T) {
	cmd, mark := runner(t, `cd `+t.TempDir()+`; `+tree)
	within(t, slow, "the tree is up", func() bool { return len(living(mark.Helper.Pid())) >= 6 })
	all := living(mark.Helper.Pid())
	if err := mark.Helper.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err := mark.End(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.Identity().Alive() {
			t.Errorf("%s is alive", q.Describe())
		}
	}
	if err := mark.End(context.Background()); err != nil {
		t.Error("ended again:", err)
	}
}

func TestInterruptOfTheTerminal(t *testing.T) {
	cmd, mark := runner(t, `exec sleep 1000`)
	all := living(mark.Helper.Pid())
	if len(all) != 1 {
		t.Fatalf("%v", all)
	}
	// What a Ctrl-C does: every process of the foreground group gets the signal. The runner here dies of it, the others
	// must not, until its pipe ends.
	if g := all[0].Group; g == cmd.Process.Pid || all[0].Session == sessionOf(t, cmd.Process.Pid) {
		t.Errorf("the child is in the runner's group or session")
	}
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		mark.Helper.Signal(sig)
	}
	time.Sleep(50 * time.Millisecond)
	if !mark.Helper.Alive() || !all[0].Identity().Alive() {
		t.Fatal("a signal ended the helper or its child")
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	cmd.Wait()
	within(t, slow, "gone with the runner", func() bool { return !mark.Helper.Alive() && !all[0].Identity().Alive() })
}

func sessionOf(t *testing.T, pid int) int {
	p, err := target.ReadProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p.Session
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	c := client(t)
	if _, err := c.Reserve(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	_, err := c.Start(ctx, shell(t, `exec sleep 1000`))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		within(t, slow, "stopped again", func() bool { return len(c.Pids()) == 1 })
	}
}
