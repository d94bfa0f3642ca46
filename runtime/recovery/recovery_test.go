package recovery

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/runtime/event"
	"chaos/runtime/needtest"

	"golang.org/x/sys/unix"
)

// folder is a run's, with a journal of these lines behind its beginning, by the runner with a pid.
func folder(t *testing.T, pid int, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	for i, l := range append([]string{fmt.Sprintf(`"kind":"run_started","data":{"pid":%d}`, pid)}, lines...) {
		fmt.Fprintf(&b, "{\"seq\":%d,%s}\n", i+1, l)
	}
	if err := os.WriteFile(filepath.Join(dir, event.JournalName), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const intended = `"kind":"undo_intended","data":{"id":"u1","record":{"kind":"a","version":1}}`

func moved(state string) string {
	return `"kind":"undo_state","data":{"id":"u1","state":"` + state + `"}`
}

// What was seen to be gone stays so, whatever the guardian, which tried at the same time, says later; but not what was done
// again since.
func TestWhatOneUndidIsNotOpenSinceAnotherFailedAtIt(t *testing.T) {
	for want, states := range map[int][]string{
		0: {"applied", "reverting", "reverted", "reverting", "failed"},
		1: {"reverting", "reverted", "applied"},
	} {
		lines := []string{intended}
		for _, s := range states {
			lines = append(lines, moved(s))
		}
		r, err := Read(folder(t, 1, lines...))
		if err != nil || len(r.Open) != want || r.Damaged != "" {
			t.Errorf("%v: %+v %v, want %d open", states, r, err, want)
		}
	}
}

// A runner that was killed holds its lock until the kernel is through with it. Here it is a process whose first thread has
// ended, and whose second one ends when it is told to: /proc shows the same.
func TestARunnerOnItsWayToItsEndIsWaitedForAndNotTakenForAlive(t *testing.T) {
	needtest.Tools(t, "python3")
	lock := filepath.Join(t.TempDir(), RunnerLock)
	cmd := exec.Command("python3", "-c", `
import ctypes, fcntl, os, sys, threading
f = open(sys.argv[1], "w")
fcntl.flock(f, fcntl.LOCK_EX)
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0))).start()
ctypes.CDLL(None).pthread_exit(0)
`, lock)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	dir := folder(t, cmd.Process.Pid, intended, moved("applied"))
	if err := os.Symlink(lock, filepath.Join(dir, RunnerLock)); err != nil {
		t.Fatal(err)
	}
	var r *Run
	for begun := time.Now(); r == nil || !r.Dying(); {
		if r, err = Read(dir); err != nil || time.Since(begun) > 20*time.Second {
			t.Fatal("it is not dying", r, err)
		}
	}
	r = Settle(t.Context(), r, 50*time.Millisecond)
	if why := r.Unsettled(); r.Unrecovered() || !strings.Contains(why, "was killed and has not come to its end") {
		t.Errorf("%+v %q", r, why)
	}
	in.Close()
	if r = Settle(t.Context(), r, time.Minute); !r.Unrecovered() || r.Unsettled() != "" {
		t.Errorf("%+v %q, want it dead, with a fault open", r, r.Unsettled())
	}
}

// Who lives is not waited for.
func TestALivingRunnerIsSettled(t *testing.T) {
	dir := folder(t, os.Getpid(), intended)
	lock, err := Lock(dir, RunnerLock)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	r, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r = Settle(t.Context(), r, time.Minute); !r.Alive || r.Dying() || r.Unsettled() != "" {
		t.Errorf("%+v %q", r, r.Unsettled())
	}
}

// Each start of a run looks at all others, which must not keep one of them from beginning.
func TestWhoLooksDoesNotRefuseALock(t *testing.T) {
	dir := t.TempDir()
	looker, err := os.Create(filepath.Join(dir, GuardianLock))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(looker.Fd()), unix.LOCK_SH); err != nil { // as a look does, on a machine that is too busy to end it
		t.Fatal(err)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		looker.Close()
	}()
	lock, err := Lock(dir, GuardianLock)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := Lock(dir, GuardianLock); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Error("it is locked twice", err)
	}
}
