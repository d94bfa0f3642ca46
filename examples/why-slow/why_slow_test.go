package whyslow

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"chaos/cmd/families"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/syntax"
	engine "chaos/runtime"
	"chaos/runtime/event"
	"chaos/stdlib"

	"golang.org/x/sys/unix"
)

// answer runs the script and returns what it logged.
func answer(t *testing.T) string {
	t.Helper()
	reg := families.All(nil)
	src, broken := syntax.Load("why-slow.chaos")
	if src == nil {
		t.Fatal(broken)
	}
	file, found := syntax.Parse(src)
	script, more := check.File(file, reg, check.Options{Std: stdlib.FS(), Read: syntax.Load})
	if all := append(diag.List(found), more...); len(all) > 0 {
		t.Fatal(all)
	}
	bound, wrong := check.Bind(script, script.Params, check.Given{Flags: map[string]string{"watch": "3s", "resources.period": "1s"}})
	if len(wrong) > 0 {
		t.Fatal(diag.List(wrong))
	}
	dir := t.TempDir()
	var said []string
	res, err := engine.New(engine.Options{
		Script: script, Registries: reg, Params: bound.Params, Seed: 1, Dir: dir, RunsDir: dir,
		Sinks: []event.Sink{event.SinkFunc(func(e event.Event) {
			if n, ok := e.Data.(event.Log); ok {
				said = append(said, n.Text)
			}
		})},
	}).Execute(context.Background())
	if err != nil || res.Exit != 0 {
		t.Errorf("exit %d, %v", res.Exit, err)
	}
	return strings.Join(said, "\n")
}

// names demands the answer, for which others on this machine leave several tries.
func names(t *testing.T, resource, process string) {
	t.Helper()
	var last string
	for range 5 {
		last = answer(t)
		if strings.HasPrefix(last, "which resource? "+resource+"\n") && strings.Contains(last, process) {
			return
		}
	}
	t.Errorf("the answer is not %s:\n%s", resource, last)
}

func TestAHogOnTheCoresIsTheAnswer(t *testing.T) {
	for range 4 * runtime.NumCPU() {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	names(t, "cpu", "")
}

func TestWritersOnTheDiskAreTheAnswer(t *testing.T) {
	dir := t.TempDir()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	if s.Type == unix.TMPFS_MAGIC { // no disk: take the one that holds the project
		var err error
		if dir, err = os.MkdirTemp(".", "writers-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	const blocks, size = 64, 256 << 10
	done := make(chan struct{})
	var writers sync.WaitGroup
	for n := range 12 {
		path := filepath.Join(dir, strconv.Itoa(n))
		if err := os.WriteFile(path, make([]byte, blocks*size), 0o600); err != nil {
			t.Fatal(err)
		}
		// Past the page cache, so that every write waits for the disk and not for the file system's journal.
		f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
		if err != nil {
			t.Fatal(err)
		}
		block, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned, as that takes
		if err != nil {
			t.Fatal(err)
		}
		f.Sync()
		writers.Go(func() {
			defer f.Close()
			defer unix.Munmap(block)
			runtime.LockOSThread()                      // and not given back: its priority is its own
			unix.Setpriority(unix.PRIO_PROCESS, 0, -10) // what waits for a core writes nothing; without root it tries as it is
			for {
				select {
				case <-done:
					return
				default:
					f.WriteAt(block, rand.Int64N(blocks)*size)
				}
			}
		})
	}
	t.Cleanup(writers.Wait)
	t.Cleanup(func() { close(done) })
	names(t, "disk", "why-slow.test")
}
