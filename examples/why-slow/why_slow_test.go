package whyslow

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chaos/cmd/families"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/syntax"
	engine "chaos/runtime"
	"chaos/runtime/event"
	"chaos/stdlib"

	"golang.org/x/sys/unix"
)

// answer runs the script and returns what it logged, and what the kernel had counted when it answered.
func answer(t *testing.T) (text string, at moment) {
	t.Helper()
	past := []moment{look(t)}
	done := make(chan struct{})
	var looking sync.WaitGroup
	defer looking.Wait()
	defer close(done)
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
	bound, wrong := check.Bind(script, script.Params, check.Given{Flags: map[string]string{"watch": "3s", "resources.period": period.String()}})
	if len(wrong) > 0 {
		t.Fatal(diag.List(wrong))
	}
	dir := t.TempDir()
	var said []string
	var mu sync.Mutex
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
				mu.Lock()
				past = append(past, look(t))
				mu.Unlock()
			}
		}
	})
	res, err := engine.New(engine.Options{
		Script: script, Registries: reg, Params: bound.Params, Seed: 1, Dir: dir, RunsDir: dir,
		Sinks: []event.Sink{event.SinkFunc(func(e event.Event) {
			n, ok := e.Data.(event.Log)
			if !ok {
				return
			}
			if len(said) == 0 {
				// The sample that it is about began two periods ago at the most.
				mu.Lock()
				now := look(t)
				i := slices.IndexFunc(past, func(m moment) bool { return now.at.Sub(m.at) < 2*period })
				at = now.since(past[max(i, 1)-1])
				mu.Unlock()
			}
			said = append(said, n.Text)
		})},
	}).Execute(context.Background())
	if err != nil || res.Exit != 0 {
		t.Errorf("exit %d, %v", res.Exit, err)
	}
	return strings.Join(said, "\n"), at
}

// period is over how long the script takes each share.
const period = time.Second

// moment is how long something has waited for each resource, as the kernel counts it; see Documentation/accounting/psi.rst.
type moment struct {
	at    time.Time
	waits map[string]time.Duration
}

func look(t *testing.T) moment {
	m := moment{time.Now(), map[string]time.Duration{}}
	for resource, file := range map[string]string{"cpu": "cpu", "memory": "memory", "disk": "io"} {
		text, err := os.ReadFile("/proc/pressure/" + file)
		if err != nil {
			t.Error(err)
			return m
		}
		first, _, _ := strings.Cut(string(text), "\n")
		_, total, _ := strings.Cut(first, "total=")
		n, err := strconv.ParseInt(total, 10, 64)
		if err != nil {
			t.Error(err)
		}
		m.waits[resource] = time.Duration(n) * time.Microsecond
	}
	return m
}

func (m moment) since(begin moment) moment {
	waits := map[string]time.Duration{}
	for r, d := range m.waits {
		waits[r] = d - begin.waits[r]
	}
	return moment{m.at, waits}
}

// names demands the answer, in one of five tries. The machine is not ours alone: a try in which others were short of something
// else, by the kernel's own count, and the answer was that, is no try. One must name it all the same.
func names(t *testing.T, resource, process string) {
	t.Helper()
	var last string
	for wrong, others := 0, 0; wrong < 5 && others < 15; {
		said, at := answer(t)
		first, _, _ := strings.Cut(said, "\n")
		it := strings.TrimPrefix(first, "which resource? ")
		if it == resource && strings.Contains(said, process) {
			return
		}
		last = said
		slack := period / 5 // what it took its sample of is not quite what we did
		if waited, ok := at.waits[it]; ok && it != resource && (it == "memory" && waited > slack || waited > at.waits[resource]-slack) {
			t.Logf("tasks waited for %v: %s", at.waits, first)
			others++
			continue
		}
		wrong++
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
