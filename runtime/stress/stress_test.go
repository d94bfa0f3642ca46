package stress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	MaybeServe()
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// stressor starts one without a helper; it is killed at the end.
func stressor(t *testing.T, kind string, parameters any) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	text, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", Command, kind, string(text))
	cmd.Env = append(os.Environ(), inStress+"=1")
	said := &bytes.Buffer{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, said
}

// The load is measured from outside, over a time that a probe could use too. On a machine that is busy with other things a
// worker cannot get its share; that it wants it shows in how long it waits for a core.
func TestLoad(t *testing.T) {
	const tolerance = 5 // points
	for _, load := range []float64{0.1, 0.5, 0.9, 1} {
		c := CPU{Workers: min(2, len(Cores())), Load: load, Cores: Cores()[:min(2, len(Cores()))]}
		cmd, _ := stressor(t, "cpu", c)
		time.Sleep(200 * time.Millisecond)
		before, err := Used(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		begun, waited := time.Now(), waiting(cmd.Process.Pid)
		time.Sleep(3 * time.Second)
		after, _ := Used(cmd.Process.Pid)
		share := func(d time.Duration) float64 {
			return float64(d) / float64(time.Since(begun)) / float64(c.Workers) * 100
		}
		got, missed := share(after-before), share(waiting(cmd.Process.Pid)-waited)
		off := got - load*100
		t.Logf("load %3.0f%% on %d cores: %.2f%% got, error %+.2f points; %.1f%% waiting for others", load*100, c.Workers, got, off, missed)
		if off > tolerance || off < -tolerance-missed {
			t.Errorf("load %.0f%%: %.2f%%", load*100, got)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// waiting is how long the threads of a process could have run and had no core: the second number of
// /proc/PID/task/TID/schedstat, see Documentation/scheduler/sched-stats.rst.
func waiting(pid int) time.Duration {
	var sum time.Duration
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range list {
		data, _ := os.ReadFile(path)
		var ran, waited int64
		fmt.Sscan(string(data), &ran, &waited)
		sum += time.Duration(waited)
	}
	return sum
}

func TestPinned(t *testing.T) {
	last := Cores()[len(Cores())-1]
	cmd, _ := stressor(t, "cpu", CPU{Workers: 1, Load: 0.5, Cores: []int{last}})
	ok := false
	for begun := time.Now(); !ok && time.Since(begun) < 5*time.Second; time.Sleep(5 * time.Millisecond) {
		tasks, _ := os.ReadDir("/proc/" + pid(cmd) + "/task")
		for _, e := range tasks {
			data, _ := os.ReadFile("/proc/" + pid(cmd) + "/task/" + e.Name() + "/status")
			_, rest, _ := strings.Cut(string(data), "Cpus_allowed_list:")
			line, _, _ := strings.Cut(rest, "\n")
			ok = ok || strings.TrimSpace(line) == strings.TrimSpace(string(rune('0'+last)))
		}
	}
	if !ok && len(Cores()) > 1 {
		t.Error("no thread is pinned")
	}
}

func TestStressorsAreTheFirstToGo(t *testing.T) {
	cmd, _ := stressor(t, "cpu", CPU{Workers: 1, Load: 0.1})
	for begun := time.Now(); time.Since(begun) < 5*time.Second; time.Sleep(5 * time.Millisecond) {
		if adj, _ := os.ReadFile("/proc/" + pid(cmd) + "/oom_score_adj"); string(adj) == "1000\n" {
			break
		}
	}
	adj, _ := os.ReadFile("/proc/" + pid(cmd) + "/oom_score_adj")
	comm, _ := os.ReadFile("/proc/" + pid(cmd) + "/comm")
	if string(adj) != "1000\n" || string(comm) != "chaos-stress\n" {
		t.Errorf("oom_score_adj %s, name %s", adj, comm)
	}
}

func pid(cmd *exec.Cmd) string {
	text, _ := json.Marshal(cmd.Process.Pid)
	return string(text)
}

func TestBadOrders(t *testing.T) {
	for kind, parameters := range map[string]any{
		"cpu": CPU{Workers: 0, Load: 1}, "memory": Memory{}, "disk": Disk{Dir: "/no/such/folder", Size: 1}, "coffee": 1,
	} {
		cmd, said := stressor(t, kind, parameters)
		if err := cmd.Wait(); err == nil || said.Len() == 0 {
			t.Errorf("%s: %v, said %q", kind, err, said)
		}
	}
	// Without the variable nobody becomes a stressor.
	os.Args = []string{"x", Command, "cpu", "{}"}
	MaybeServe()
}

// What is available falls below the floor: the stressor gives back by itself, and keeps it so.
func TestGivesBack(t *testing.T) {
	available, _, err := Available()
	if err != nil {
		t.Fatal(err)
	}
	const size, step = 400 << 20, 50 << 20
	if available < 8*size {
		t.Skip("not enough memory for this test")
	}
	cmd, _ := stressor(t, "memory", Memory{Size: size, Floor: available - size - 200<<20})
	rss := func() int64 { n, _ := Resident(cmd.Process.Pid); return n }
	within(t, "the memory is taken", func() bool { return rss() >= size })
	// Somebody else takes memory until it hurts. How much that is depends on what the other tests do.
	var held [][]byte
	for taken := int64(0); rss() >= size-step && taken < available/2; taken += step {
		b, err := take(step)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, b)
		time.Sleep(2 * watch)
	}
	low := rss()
	if low >= size-step {
		t.Fatalf("nothing was given back of %d", low)
	}
	for _, b := range held {
		if err := unix.Munmap(b); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	if rss() > low+chunk {
		t.Errorf("taken again: %d, after %d", rss(), low)
	}
}

func TestGrowth(t *testing.T) {
	cmd, _ := stressor(t, "memory", Memory{Size: 200 << 20, Rate: 100 << 20})
	time.Sleep(time.Second)
	if n, _ := Resident(cmd.Process.Pid); n < 70<<20 || n > 140<<20 {
		t.Errorf("%d MiB after a second of 100MiB/s", n>>20)
	}
	within(t, "all is taken", func() bool { n, _ := Resident(cmd.Process.Pid); return n >= 200<<20 })
}

// The collector must not close the file that holds the space: it has no name, so that would be its end.
func TestFileIsKept(t *testing.T) {
	dir := t.TempDir()
	if ok, err := Unnamed(dir); !ok || err != nil {
		t.Skip("no files without a name here:", err)
	}
	full := make(chan bool)
	go (&Disk{Dir: dir, Size: 1 << 20}).run(func(string) { close(full) }) // it ends with the tests
	<-full
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // for the clean-up that a collection starts
	}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, dir+"/") {
			return
		}
	}
	t.Error("the file is closed")
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("not within 10s:", what)
		}
	}
}
