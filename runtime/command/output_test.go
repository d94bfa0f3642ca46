package command

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where the kernel has no pidfd, the end of a process is seen by looking, and looking reaps nobody.
func TestAnExitIsSeenWithoutAPidfd(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if hasExited(cmd.Process.Pid) {
		t.Error("it has not ended yet")
	}
	stdin.Close()
	for end := time.Now().Add(10 * time.Second); !hasExited(cmd.Process.Pid); {
		if time.Now().After(end) {
			t.Fatal("it ended, and this is not seen")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it was reaped before: %v", err)
	}
}

func TestOutputIsReadWithoutAPidfd(t *testing.T) {
	ready, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	for name, pidfd := range map[string]int{"none": -1, "one that is always ready": int(ready.Fd())} {
		t.Run(name, func(t *testing.T) {
			out, err := openOutput()
			if err != nil {
				t.Fatal(err)
			}
			defer out.close()
			pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "echo a; sleep 0.05; echo b >&2"},
				&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, uintptr(out.theirs[0]), uintptr(out.theirs[1])}})
			if err != nil {
				t.Fatal(err)
			}
			out.readUntilExit(pid, pidfd)
			if !hasExited(pid) {
				t.Error("it runs still")
			}
			out.readFor(drain)
			if status, err := reap(pid); err != nil || status != 0 || out.stdout.text() != "a\n" || out.stderr.text() != "b\n" || out.open() {
				t.Errorf("%v, %v, %q, %q", status, err, out.stdout.text(), out.stderr.text())
			}
		})
	}
}

// What was written before the end is there, however full the pipe was when the process ended.
func TestNoOutputIsLostAtTheEnd(t *testing.T) {
	for range 20 {
		r := mustRun(t, sh(t, "head -c 60000 /dev/zero | tr '\\0' x; head -c 60000 /dev/zero | tr '\\0' y >&2"))
		if strings.Count(r.Stdout, "x") != 60000 || strings.Count(r.Stderr, "y") != 60000 {
			t.Fatalf("%d of 60000 bytes of stdout, %d of stderr", len(r.Stdout), len(r.Stderr))
		}
	}
}
