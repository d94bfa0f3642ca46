package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/runtime/needtest"
)

func sh(t *testing.T, script string) Spec {
	t.Helper()
	path, err := Find(t.TempDir(), "sh")
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Command: "sh", Path: path, Args: []string{"-c", script}, Dir: t.TempDir(), Timeout: time.Minute}
}

func mustRun(t *testing.T, s Spec) Result {
	t.Helper()
	r, err := Run(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHowACommandEnds(t *testing.T) {
	for script, want := range map[string]struct {
		code   int
		signal string
	}{
		"exit 0": {0, ""}, "exit 3": {3, ""}, "exit 200": {200, ""},
		"kill -KILL $$": {137, "KILL"}, "kill -TERM $$": {143, "TERM"}, "kill -USR1 $$": {138, "USR1"},
	} {
		if r := mustRun(t, sh(t, script)); r.Code != want.code || r.Signal != want.signal {
			t.Errorf("%s: code %d, signal %q", script, r.Code, r.Signal)
		}
	}
}

func TestWhatItReadsAndWrites(t *testing.T) {
	s := sh(t, `cat; echo "$GREETING"; pwd; echo oops >&2; printf '\377'`)
	s.Stdin, s.Env = "in\n", map[string]string{"GREETING": "hello"}
	real, err := filepath.EvalSymlinks(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, s)
	if want := "in\nhello\n" + real + "\n\uFFFD"; r.Stdout != want || r.Stderr != "oops\n" || r.Elapsed <= 0 {
		t.Errorf("stdout %q, stderr %q", r.Stdout, r.Stderr)
	}
}

func TestOutputIsCapped(t *testing.T) {
	r := mustRun(t, sh(t, `head -c 3000000 /dev/zero | tr '\0' x; i=0; while [ $i -lt 2000 ]; do echo "line $i of what went wrong"; i=$((i+1)); done >&2; head -c 2000000 /dev/zero >&2; printf '\nfirst\n\nsecond\nlast\n' >&2`))
	if len(r.Stdout) != maxOutput || len(r.Stderr) != maxOutput {
		t.Errorf("%d bytes and %d bytes are kept", len(r.Stdout), len(r.Stderr))
	}
	if !strings.HasSuffix(r.Tail, "first | second | last") && r.Tail != "first | second | last" {
		t.Errorf("the tail reads %q", r.Tail[max(0, len(r.Tail)-60):])
	}
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func eventuallyGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); alive(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		data, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && strings.HasSuffix(string(data), "\n") {
			return pid
		}
		if time.Now().After(deadline) {
			t.Fatalf("no pid in %s", file)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestATimeoutKillsTheWholeGroup(t *testing.T) {
	// The leader and its grandchild ignore SIGTERM, and the grandchild holds the pipes.
	s := sh(t, `trap '' TERM; (trap '' TERM; sh -c 'echo $$ > pid; while :; do sleep 1; done') & echo before >&2; wait`)
	s.Timeout = 1500 * time.Millisecond // until all of them are there
	start := time.Now()
	_, err := Run(context.Background(), s)
	took := time.Since(start)
	var timeout *TimeoutError
	if !errors.As(err, &timeout) || err.Error() != "`sh` did not end within "+value.DurationOf(s.Timeout).String()+" and was killed: before" {
		t.Errorf("the error reads %v", err)
	}
	if took < s.Timeout || took > s.Timeout+10*time.Second {
		t.Errorf("it took %v", took)
	}
	eventuallyGone(t, pidIn(t, filepath.Join(s.Dir, "pid")))
}

func TestCancellingKillsTheWholeGroup(t *testing.T) {
	s := sh(t, `sh -c 'echo $$ > pid; exec sleep 100' & wait`)
	stop := errors.New("the guard tripped")
	ctx, cancel := context.WithCancelCause(context.Background())
	var cancelled time.Time
	go func() {
		pidIn(t, filepath.Join(s.Dir, "pid"))
		cancelled = time.Now()
		cancel(stop)
	}()
	_, err := Run(ctx, s)
	if !errors.Is(err, stop) {
		t.Errorf("the error reads %v", err)
	}
	if took := time.Since(cancelled); took > 10*time.Second { // it would sleep for 100 s
		t.Errorf("cancelling took %v", took)
	}
	eventuallyGone(t, pidIn(t, filepath.Join(s.Dir, "pid")))
	if _, err := Run(ctx, s); !errors.Is(err, stop) {
		t.Errorf("a cancelled context starts nothing, and says %v", err)
	}
}

func TestSIGTERMLetsItCleanUp(t *testing.T) {
	// The shell gets its trap at once, as it waits for nothing in the foreground. On a busy machine it may not get a core within
	// the grace all the same, so it has several attempts.
	s := sh(t, `trap 'echo clean > cleaned; exit 0' TERM; sleep 100 & wait`)
	for n := range 10 {
		s.Timeout = time.Duration(n+1) * 500 * time.Millisecond // until the trap is set
		if _, err := Run(context.Background(), s); err == nil {
			t.Fatal("a command that ends gently at its timeout has still timed out")
		}
		if data, _ := os.ReadFile(filepath.Join(s.Dir, "cleaned")); string(data) == "clean\n" {
			return
		}
	}
	t.Error("it had no time to clean up")
}

func TestWhatItLeavesBehind(t *testing.T) {
	for _, sweep := range []bool{true, false} {
		s := sh(t, `sh -c 'echo $$ > pid; exec sleep 100' & while [ ! -s pid ]; do sleep 0.01; done; echo done`)
		s.Sweep = sweep
		start := time.Now()
		r := mustRun(t, s)
		if took := time.Since(start); took > 20*time.Second { // what it leaves would sleep for 100 s
			t.Errorf("it took %v although the command had ended", took)
		}
		if r.Code != 0 || r.Stdout != "done\n" {
			t.Errorf("code %d, output %q", r.Code, r.Stdout)
		}
		pid := pidIn(t, filepath.Join(s.Dir, "pid"))
		if sweep {
			eventuallyGone(t, pid)
			continue
		}
		if !alive(pid) {
			t.Error("what an action starts on purpose must live on")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

func TestACommandThatReadsNothing(t *testing.T) {
	s := sh(t, "exit 0")
	s.Stdin = strings.Repeat("x", 1<<20)
	if r := mustRun(t, s); r.Code != 0 {
		t.Errorf("code %d", r.Code)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("tool", 0o755, "#!/bin/sh\necho tool\n")
	write("plain", 0o644, "text")
	write("broken", 0o755, "no program\n")
	write("lost", 0o755, "#!/no/such/interpreter\n")
	if path, err := Find(dir, "./tool"); err != nil || path != filepath.Join(dir, "tool") {
		t.Errorf("./tool is %s, %v", path, err)
	}
	if path, err := Find(dir, "sh"); err != nil || !filepath.IsAbs(path) {
		t.Errorf("sh is %s, %v", path, err)
	}
	for command, want := range map[string]string{
		"":                   "`` is no command; it is empty",
		"no-such-tool":       "`no-such-tool` is not in the PATH",
		"tool":               "`tool` is not in the PATH; the file beside the script is `./tool`",
		"sleep 10":           "`sleep 10` is not in the PATH; a command takes its arguments as `args`: \"sleep\", args: [\"10\"]",
		"./missing":          "`./missing` does not exist",
		"./missing --port 1": "`./missing --port 1` does not exist; a command takes its arguments as `args`: \"./missing\", args: [\"--port\", \"1\"]",
		"./":                 "`./` is a folder",
		"./plain/x":          "`./plain/x` does not exist",
	} {
		_, err := Find(dir, command)
		var missing *MissingError
		if !errors.As(err, &missing) || err.Error() != want || missing.Remedy() == "" {
			t.Errorf("Find(%q): %v, want %s", command, err, want)
		}
	}
	if _, err := Find(dir, "./plain"); os.Geteuid() != 0 && err == nil {
		t.Error("a file that is not executable is no command")
	}
	for name, want := range map[string]string{
		"broken": "`./x` is neither a program nor a script that starts with `#!`",
		"lost":   "`./x` does not exist, or the interpreter that its first line names does not",
	} {
		_, err := Run(context.Background(), Spec{Command: "./x", Path: filepath.Join(dir, name), Dir: dir, Timeout: time.Second})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	_, err := Run(context.Background(), Spec{Command: "./tool", Path: filepath.Join(dir, "tool"), Dir: "/no/such/folder", Timeout: time.Second})
	if err == nil || err.Error() != "`./tool` cannot be started in /no/such/folder: there is no such folder" {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestLine(t *testing.T) {
	if got := Line("./x", []string{"a", "b c", "it's", ""}); got != `./x a 'b c' 'it'\''s' ''` {
		t.Error(got)
	}
}

// When the runner is killed, the kernel kills the command. The runner is this test binary, started a second time.
func TestTheCommandDiesWithTheRunner(t *testing.T) {
	if dir := os.Getenv("CHAOS_TEST_RUNNER"); dir != "" {
		_, _ = Run(context.Background(), Spec{Command: "sh", Path: "/bin/sh", Args: []string{"-c", "echo $$ > pid; exec sleep 100"}, Dir: dir, Timeout: time.Minute})
		return
	}
	dir := t.TempDir()
	runner := exec.Command(os.Args[0], "-test.run=^TestTheCommandDiesWithTheRunner$")
	runner.Env = append(os.Environ(), "CHAOS_TEST_RUNNER="+dir)
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	pid := pidIn(t, filepath.Join(dir, "pid"))
	time.Sleep(100 * time.Millisecond) // long enough for an idle thread of the runner to have gone
	if !alive(pid) {
		t.Error("the command died while its runner lives")
	}
	if err := runner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = runner.Wait()
	eventuallyGone(t, pid)
}

// A spared guardian does not spare what it runs: such a server would outlive everything else on the machine.
func TestACommandIsNotSparedFromTheOOMKillerAsWeAre(t *testing.T) {
	t.Setenv(oomBefore, "700") // raising needs no privilege
	sh, err := Find("", "sh")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(context.Background(), Spec{Command: "sh", Path: sh, Args: []string{"-c", `until [ "$(cat /proc/self/oom_score_adj)" = 700 ]; do sleep 0.01; done; env`}, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.Stdout, oomBefore) {
		t.Error("it is told in its environment")
	}
}

// A lock on a file belongs to whoever opened it (flock(2)): one that a command takes on its standard input ends with it.
func TestWhatACommandDoesToItsInputEndsWithIt(t *testing.T) {
	needtest.Tools(t, "flock")
	if r := mustRun(t, sh(t, "flock -s -w 5 0 && echo locked")); r.Stdout != "locked\n" {
		t.Fatal(r)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for end := time.Now().Add(5 * time.Second); syscall.Flock(int(null.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lock is held beyond the command's end")
		}
	}
}
