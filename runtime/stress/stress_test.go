package stress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/runtime/cgroup"
	"chaos/runtime/needtest"

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
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, said
}

// The load is held within two points. It is measured from outside, by the processor time that the kernel says the process
// got. Where the test may, it gives the stressor the core before anybody else; where not, a worker on a busy machine cannot
// get its share, and that it wants it shows in how long it waits for the core.
func TestLoad(t *testing.T) {
	const tolerance = 2 // points
	for _, load := range []float64{0.1, 0.5, 0.9} {
		c := CPU{Workers: 1, Load: load, Cores: Cores()[:1]}
		cmd, _ := stressor(t, "cpu", c)
		time.Sleep(200 * time.Millisecond)
		favour(cmd.Process.Pid)
		time.Sleep(300 * time.Millisecond) // what it missed at its start is made good, or forgiven
		before, waited, begun := measured(t, cmd.Process.Pid)
		time.Sleep(5 * time.Second)
		after, waits, ended := measured(t, cmd.Process.Pid)
		share := func(d time.Duration) float64 { return float64(d) / float64(ended.Sub(begun)) * 100 }
		got, missed := share(after-before), share(waits-waited)
		off := got - load*100
		t.Logf("load %2.0f%%: %.2f%% got, error %+.2f points; %.1f%% waiting for others", load*100, got, off, missed)
		if off > tolerance || off < -tolerance-missed {
			t.Errorf("load %.0f%%: %.2f%%", load*100, got)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// measured reads the processor time of a process and its waiting, at one moment: on a busy machine a look may take a while,
// and is then repeated.
func measured(t *testing.T, pid int) (used, waited time.Duration, at time.Time) {
	t.Helper()
	for range 100 {
		at = time.Now()
		var err error
		if used, err = Used(pid); err != nil {
			t.Fatal(err)
		}
		if waited = waiting(pid); time.Since(at) < 5*time.Millisecond {
			break
		}
	}
	return used, waited, at
}

// favour gives all threads of a process a real-time schedule; see sched(7). Without the right to, it does nothing.
func favour(pid int) {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, e := range list {
		tid, _ := strconv.Atoi(e.Name())
		_ = unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
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
		needtest.Lacks(t, "not enough memory for this test")
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
	const size, rate, others = 200 << 20, 100 << 20, 48 << 20 // others: what the program has besides, more with the race detector
	begun := time.Now()
	cmd, _ := stressor(t, "memory", Memory{Size: size, Rate: rate})
	// Never more than is due, whenever it began; and at the latest it is all there soon after it is due.
	within(t, "all is taken", func() bool {
		n, _ := Resident(cmd.Process.Pid)
		if due := int64(time.Since(begun).Seconds() * rate); n > due+others {
			t.Fatalf("%d MiB of %d that are due", n>>20, due>>20)
		}
		return n >= size
	})
	if took := time.Since(begun); took < (size-others)*time.Second/rate {
		t.Errorf("all is taken after %s", took)
	}
}

// The collector must not close the file that holds the space: it has no name, so that would be its end.
func TestFileIsKept(t *testing.T) {
	dir := t.TempDir()
	if ok, err := Unnamed(dir); !ok || err != nil {
		needtest.Lacks(t, "no files without a name here:", err)
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

// Where the machine has less than the floor, files and processes end by themselves, all of them, and say why.
func TestEndsAtTheFloor(t *testing.T) {
	open, most, err := OpenFiles()
	if err != nil {
		t.Fatal(err)
	}
	cmd, said := stressor(t, "files", Files{Count: 100, Keep: most - open + 1_000})
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "it ended by itself: no more than ") {
		t.Errorf("%v, said %q", err, said)
	}

	g := group(t, cgroup.Limits{Pids: 200})
	room, _, err := Room()
	if err != nil {
		t.Fatal(err)
	}
	cmd, said = stressor(t, "fork", Fork{Count: 100, Join: g.Dirs(), Keep: room + 10_000})
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "it ended by itself: the kernel would start no more than ") {
		t.Errorf("%v, said %q", err, said)
	}
	within(t, "all processes are gone", func() bool { return len(g.Members()) == 0 })
}

// A container may start no more than its cgroup allows, however much the machine could.
func TestRoomForProcessesInAContainer(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"pids.max": "200\n", "pids.current": "9\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if room, most, err := Room(t.TempDir(), dir); room != 191 || most != 200 || err != nil {
		t.Error(room, most, err)
	}
}

// Processes are never started outside of the cgroup, and never more of them than it allows.
func TestForksAreConfined(t *testing.T) {
	cmd, said := stressor(t, "fork", Fork{Count: 10, Join: []string{filepath.Join(t.TempDir(), "no-cgroup")}})
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "cannot enter the cgroup") {
		t.Errorf("%v, said %q", err, said)
	}
	g := group(t, cgroup.Limits{Pids: 100})
	cmd, said = stressor(t, "fork", Fork{Count: 500, Join: g.Dirs()})
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "the kernel starts no more than ") {
		t.Errorf("%v, said %q", err, said)
	}
	within(t, "all processes are gone", func() bool { return len(g.Members()) == 0 })
}

// group makes a cgroup, for the time of the test.
func group(t *testing.T, l cgroup.Limits) cgroup.Group {
	t.Helper()
	g, missing, err := cgroup.Design(fmt.Sprintf("chaos-test-%d-%d", os.Getpid(), time.Now().UnixNano()), l)
	if err == nil && len(missing) == 0 {
		err = g.Make()
	} else if err == nil {
		err = missing[0]
	}
	if err != nil {
		needtest.Lacks(t, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := g.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

// A file system that knows no direct I/O is written and read through the file cache, which is said.
func TestThroughTheFileCache(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("chaos-test", dir, "ramfs", 0, ""); err != nil {
		needtest.Lacks(t, err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	for _, reads := range []bool{false, true} {
		g, err := NewGauge()
		if err != nil {
			t.Fatal(err)
		}
		cmd, said := stressor(t, "io", IO{Dir: dir, Read: reads, Size: 4 << 20, Block: 1 << 20, Workers: 2, Gauge: g.Path()})
		within(t, "something is done", func() bool { _, ok := g.Read().Rate(); return ok && g.Read().Bytes > 8<<20 })
		cmd.Process.Kill()
		cmd.Wait()
		if !strings.HasPrefix(said.String(), saidCached+"\n") {
			t.Errorf("said %q", said)
		}
		if g.Close(); g.Read().Bytes == 0 {
			t.Error("what was done is forgotten")
		}
		if rate, ok := g.Read().Rate(); !ok || rate <= 0 {
			t.Error(rate, ok)
		}
	}
}
