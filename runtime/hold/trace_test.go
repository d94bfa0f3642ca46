package hold

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/runtime/needtest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// ptraceOrSkip skips where this machine forbids ptrace; a CI that does so is set up wrongly.
func ptraceOrSkip(t *testing.T) {
	t.Helper()
	if why := target.PtraceRefused(os.Getpid()); why != "" {
		needtest.Lacks(t, "ptrace is not permitted: "+why)
	}
}

// victim starts a process outside of any supervision.
func victim(t *testing.T, name string, args ...string) target.Identity {
	t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// counter is a program of many threads, some of which come and go, that writes a number again and again.
func counter(t *testing.T) (target.Identity, string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "count")
	src := `package main
import ("os"; "runtime"; "strconv"; "time")
func main() {
	for range 4 { go func() { runtime.LockOSThread(); for { time.Sleep(time.Millisecond) } }() }
	for range 2 { go func() { for { done := make(chan bool); go func() { runtime.LockOSThread(); time.Sleep(200*time.Microsecond); close(done) }(); <-done } }() }
	for i := 0; ; i++ { os.WriteFile(os.Args[1], []byte(strconv.Itoa(i)), 0o600); time.Sleep(time.Millisecond) }
}`
	os.WriteFile(filepath.Join(dir, "main.go"), []byte(src), 0o600)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "counter"), filepath.Join(dir, "main.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	id := victim(t, filepath.Join(dir, "counter"), file)
	within(t, slow, "it counts", func() bool { return read(t, file) != "" })
	return id, file
}

func stateOf(t *testing.T, id target.Identity) byte {
	t.Helper()
	p, err := id.Process()
	if err != nil {
		t.Fatal(err)
	}
	return p.State
}

// still tells whether the counter stands still.
func still(t *testing.T, file string) bool {
	t.Helper()
	before := read(t, file)
	time.Sleep(100 * time.Millisecond)
	return read(t, file) == before
}

// moves waits until the counter counts.
func moves(t *testing.T, id target.Identity, file string) {
	t.Helper()
	before := read(t, file)
	for range 5000 {
		if now := read(t, file); now != before && now != "" {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	tids, _ := target.Threads(id.Pid())
	for _, tid := range tids {
		th, _ := target.ReadThread(id.Pid(), tid)
		t.Logf("thread %d: %c", tid, th.State)
	}
	t.Error("it does not count")
}

// free checks that no thread is held any more.
func free(t *testing.T, id target.Identity) {
	t.Helper()
	tids, err := target.Threads(id.Pid())
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range tids {
		if th, err := target.ReadThread(id.Pid(), tid); err == nil && th.Paused() {
			t.Fatalf("thread %d is in state %c", tid, th.State)
		}
	}
}

func TestPauseAndResumeOfManyThreads(t *testing.T) {
	ptraceOrSkip(t)
	id, file := counter(t)
	c := client(t)
	for range 20 {
		if err := c.Pause(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		if err := c.Pause(context.Background(), id); err != nil {
			t.Fatal("paused again:", err)
		}
		if moving, err := target.Moving(id.Pid()); err != nil || len(moving) > 0 {
			t.Fatalf("threads run on: %v %v", moving, err)
		}
		if err := c.Resume(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		if err := c.Resume(context.Background(), id); err != nil {
			t.Fatal("resumed again:", err)
		}
		free(t, id)
		moves(t, id, file)
	}
	if err := c.Pause(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if !still(t, file) {
		t.Error("it counts while paused")
	}
	if err := c.Resume(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	moves(t, id, file)
}

func TestSignalsArriveAfterThePause(t *testing.T) {
	ptraceOrSkip(t)
	c := client(t)
	id := victim(t, "sleep", "1000")
	if err := c.Pause(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	id.Signal(unix.SIGTERM)
	time.Sleep(30 * time.Millisecond)
	if !id.Alive() {
		t.Fatal("a paused process handled a signal")
	}
	if err := c.Resume(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	within(t, slow, "the signal arrives", func() bool { return !id.Alive() })
}

func TestKilledRunnerLiftsThePause(t *testing.T) {
	ptraceOrSkip(t)
	id, file := counter(t)
	cmd, _ := runner(t, "pause "+strconv.Itoa(id.Pid()))
	if s := stateOf(t, id); s != 't' {
		t.Fatalf("state %c", s)
	}
	cmd.Process.Kill()
	took := within(t, slow, "it runs on", func() bool { s := stateOf(t, id); return s != 't' && s != 'T' })
	t.Logf("ran on after %s", took)
	moves(t, id, file)
}

// The same at any instant, also in the middle of attaching and of letting go.
func TestRunnerKilledAtAnyInstantOfAPause(t *testing.T) {
	ptraceOrSkip(t)
	id, file := counter(t)
	for range 20 {
		cmd, tracer := runner(t, "cycle "+strconv.Itoa(id.Pid()))
		time.Sleep(time.Duration(rand.IntN(int(20 * time.Millisecond))))
		cmd.Process.Kill()
		cmd.Wait()
		within(t, slow, "the tracer is gone", func() bool { return !tracer.Helper.Alive() })
		free(t, id)
		moves(t, id, file)
	}
}

func TestKilledTracerLiftsThePause(t *testing.T) {
	ptraceOrSkip(t)
	id, file := counter(t)
	c := NewClient(nil)
	defer c.Close()
	if err := c.Pause(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	tracer, _ := c.Tracer(context.Background())
	tracer.Signal(unix.SIGKILL)
	select {
	case <-c.Died():
	case <-time.After(slow):
		t.Error("nobody noticed")
	}
	within(t, slow, "it runs on", func() bool { s := stateOf(t, id); return s != 't' && s != 'T' })
	moves(t, id, file)
	if err := c.Resume(context.Background(), id); err != nil {
		t.Error("resume after the tracer's death:", err)
	}
}

func TestStoppedBySomebodyElseStaysSo(t *testing.T) {
	ptraceOrSkip(t)
	c := client(t)
	id := victim(t, "sleep", "1000")
	id.Signal(unix.SIGSTOP)
	within(t, slow, "stopped", func() bool { return stateOf(t, id) == 'T' })
	if err := c.Pause(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if s := stateOf(t, id); s != 'T' {
		t.Errorf("state %c, was T", s)
	}
	id.Signal(unix.SIGCONT)
	within(t, slow, "continued", func() bool { return stateOf(t, id) == 'S' })
}

// Its parent can only wait for a traced process that was killed once the tracer did.
func TestKilledWhilePaused(t *testing.T) {
	ptraceOrSkip(t)
	c := client(t)
	p := begin(t, c, shell(t, `exec sleep 1000`))
	id, _ := p.Identity()
	if err := c.Pause(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	id.Signal(unix.SIGKILL)
	within(t, slow, "the supervisor knows", func() bool { return p.State().Exited })
	if err := c.Resume(context.Background(), id); err != nil {
		t.Error("resume of what is gone:", err)
	}
	if err := c.Pause(context.Background(), id); !errors.Is(err, target.ErrGone) {
		t.Error("pause of what is gone:", err)
	}
}

func TestPauseRefuses(t *testing.T) {
	ptraceOrSkip(t)
	c := client(t)
	other := NewClient(nil)
	defer other.Close()
	held := victim(t, "sleep", "1000")
	if err := other.Pause(context.Background(), held); err != nil {
		t.Fatal(err)
	}
	wrong := victim(t, "sleep", "1000")
	wrong.Start++
	identity := func(pid int) target.Identity {
		id, err := target.ProcessIdentity(pid)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	tracer, err := c.Tracer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		id   target.Identity
		want string
	}{
		{identity(os.Getpid()), "what started chaos"},
		{identity(1), "init"},
		{tracer, "chaos itself"},
		{held, "traced already"},
		{wrong, "gone"},
	} {
		err := c.Pause(context.Background(), tt.id)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.id, err, tt.want)
		}
	}
	if wrong.Start--; stateOf(t, wrong) == 't' {
		t.Error("a process with another start time was paused")
	}
}
