package main

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chaos/runtime/needtest"
	"chaos/runtime/target"
)

var (
	draws = flag.Int("draws", 60, "how many draws of the crash matrix")
	seed  = flag.Uint64("seed", 0, "of the crash matrix; 0 draws one")
	only  = flag.String("faults", "", "a regular expression: the crash matrix draws from the faults whose names match")
)

// place is the small world of one draw: a folder and a process that the test owns. Its snapshot is everything that a fault
// of the matrix may change; after the catastrophe it must read as before.
type place struct {
	t    *testing.T
	dir  string
	pid  int
	port int
	disk string // a small tmpfs
	runs string // where the runs are recorded: a small tmpfs, or "" for the usual folder

	traced int    // a process that strace holds, so that we may not; 0 where the fault needs none
	ext4   string // a small disk

	hits     sync.Mutex
	switched bool // by requests to /on and /off
	server   string
}

func newPlace(t *testing.T, f matrixFault, c catastrophe) *place {
	p := &place{t: t, dir: t.TempDir(), pid: victim(t), port: freePort(t)}
	if err := os.WriteFile(filepath.Join(p.dir, "config"), []byte("before\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		p.disk = tmpfs(t, "64m")
		p.mount("mounted")
	}
	if c.small {
		p.runs = tmpfs(t, "256k")
	}
	if strings.Contains(f.inject, "TRACED") {
		p.traced = straced(t)
	}
	if strings.Contains(f.inject, "EXT4") {
		p.ext4 = ext4(t)
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p.hits.Lock()
		defer p.hits.Unlock()
		p.switched = r.URL.Path == "/on"
	}))
	t.Cleanup(server.Close)
	p.server = server.URL
	return p
}

// mount makes a file that is mounted by itself, as a container's /etc/hosts is.
func (p *place) mount(name string) {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte("before\n"), 0o640); err != nil {
		p.t.Fatal(err)
	}
	if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { syscall.Unmount(path, syscall.MNT_DETACH) })
}

func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// straced is a process that strace holds.
func straced(t *testing.T) int {
	t.Helper()
	pid := victim(t)
	cmd := exec.Command("strace", "-q", "-o", "/dev/null", "-p", fmt.Sprint(pid))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	waitFor(t, "strace to hold it", func() bool { by, err := target.Tracer(pid); return err == nil && by != 0 && procState(pid) == "S" })
	return pid
}

// fill writes to a file of the folder until nothing more fits.
func fill(dir string) {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return // it is full already
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
}

// ext4 mounts a disk of 64 MiB.
func ext4(t *testing.T) string {
	t.Helper()
	at := t.TempDir()
	image := filepath.Join(t.TempDir(), "image")
	script := `truncate -s 64M "$0" && mkfs.ext4 -q -O ^has_journal "$0" && mount -o loop "$0" "$1"` // detached at the unmount
	if out, err := exec.Command("sh", "-c", script, image, at).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { syscall.Unmount(at, syscall.MNT_DETACH) })
	return at
}

// snapshot reads the world.
func (p *place) snapshot() string {
	var b strings.Builder
	entries, _ := os.ReadDir(p.dir)
	var fs syscall.Statfs_t
	for _, disk := range []string{p.disk, p.ext4} {
		if disk != "" && syscall.Statfs(disk, &fs) == nil {
			names, _ := os.ReadDir(disk)
			fmt.Fprintf(&b, "free %d blocks, %d inodes, %v\n", fs.Bfree, fs.Ffree, names)
		}
	}
	limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.pid))
	fmt.Fprintf(&b, "limits %q\n", limits)
	if nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, p.pid); err == nil {
		fmt.Fprintf(&b, "nice %d\n", 20-nice) // the raw call returns 20-nice; see getpriority(2)
	}
	groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.pid))
	fmt.Fprintf(&b, "cgroups %q\n", groups)
	p.hits.Lock()
	fmt.Fprintf(&b, "switch %v\n", p.switched)
	p.hits.Unlock()
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".chaos") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		data, _ := os.ReadFile(filepath.Join(p.dir, e.Name()))
		fmt.Fprintf(&b, "file %s %s %q\n", e.Name(), info.Mode(), data)
	}
	for _, pid := range []int{p.pid, p.traced} {
		state := procState(pid)
		if strings.Contains("RSD", state) {
			state = "runs"
		}
		fmt.Fprintf(&b, "process %s\n", state)
	}
	if listening(p.port) {
		fmt.Fprintf(&b, "port in use\n")
	}
	return b.String()
}

// matrixFault is a reversible fault: the statements that inject it, with PID, DIR and PORT filled in.
type matrixFault struct {
	name   string
	inject string
	needs  []string
	root   bool
}

// matrixFaults are all reversible actions that there are.
var matrixFaults = []matrixFault{
	{name: "test.mark", inject: `test.mark("DIR/mark")`},
	{name: "process.start", inject: `process.start("python3", args: ["-c", "import socket,time; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', PORT)); s.listen(); time.sleep(300)"], ready: "127.0.0.1:PORT")`, needs: []string{"python3"}},
	{name: "process.pause", inject: `process.pause(pid: PID)`},
	{name: "process.pause by SIGSTOP", inject: `process.pause(pid: TRACED)`, needs: []string{"strace"}},
	{name: "process.stop", inject: "process.start(\"sleep\", args: [\"300\"]) as other\n    process.stop(other)"},
	{name: "process.nice", inject: `process.nice(pid: PID, value: 10)`, root: true},
	{name: "process.limit", inject: `process.limit(pid: PID, cpu: 50%, memory: 256MiB, pids: 50)`, root: true},
	{name: "file.put over a file", inject: `file.put("DIR/config", "during")`},
	{name: "file.put over a mounted file", inject: `file.put("DIR/mounted", "during")`, root: true},
	{name: "file.put of a new file", inject: `file.put("DIR/new", "during")`},
	{name: "exec.run with undo", inject: `exec.run("touch", args: ["DIR/touched"], undo: ["rm", "-f", "DIR/touched"])`},
	{name: "exec.run that leaves a child", inject: `exec.run("sh", args: ["-c", "sleep 300 & sleep 0.02"])`},
	{name: "http.send with undo", inject: `http.send("URL/on", undo: {url: "URL/off"})`},
	{name: "cpu.stress", inject: `cpu.stress(workers: 1, load: 20%)`},
	{name: "memory.stress", inject: `memory.stress(64MiB)`},
	{name: "disk.fill", inject: `disk.fill("DISK", size: 16MiB)`, root: true},
	{name: "disk.write", inject: `disk.write("EXT4", size: 8MiB, rate: 4MiB/s)`, needs: []string{"mkfs.ext4"}, root: true},
	{name: "disk.read", inject: `disk.read("EXT4", size: 8MiB, workers: 2)`, needs: []string{"mkfs.ext4"}, root: true},
	{name: "file.descriptors of a process", inject: `file.descriptors(pid: PID, leave: 3)`},
	{name: "file.descriptors of the machine", inject: `file.descriptors(count: 25000)`},
	{name: "process.fork", inject: `process.fork(100, rate: 50/s)`, root: true},
	{name: "network.occupy", inject: `network.occupy(PORT)`},
	{name: "pause and mark", inject: "process.pause(pid: PID)\n    test.mark(\"DIR/mark\")"},
	{name: "two marks, timed", inject: "parallel {\n      test.mark(\"DIR/mark1\") for 100ms\n      test.mark(\"DIR/mark2\") for 150ms\n    }"},
}

// catastrophe is what happens to a run at a random instant. It returns when nothing more is to come.
type catastrophe struct {
	name  string
	codes []int  // with which the runner may end; nil: it is killed
	extra string // a member of the experiment
	after string // statements behind the fault
	small bool   // the runs are recorded on a small disk
	do    func(*chaosProcess)
}

var catastrophes = []catastrophe{
	{name: "nothing", codes: []int{0}, after: "wait 200ms"},
	{name: "SIGKILL of the runner", do: func(p *chaosProcess) { p.cmd.Process.Kill() }},
	{name: "SIGKILL of the guardian", codes: []int{0, 5}, do: func(p *chaosProcess) {
		if pid := p.find("guard"); pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}, after: "wait 300ms"},
	{name: "SIGKILL of both, then recover", do: func(p *chaosProcess) {
		guard := p.find("guard")
		if guard > 0 {
			syscall.Kill(guard, syscall.SIGSTOP)
		}
		p.cmd.Process.Kill()
		if guard > 0 {
			syscall.Kill(guard, syscall.SIGKILL)
		}
	}},
	{name: "SIGKILL of the helper", codes: []int{0, 5}, do: func(p *chaosProcess) {
		if pid := p.find("hold"); pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}, after: "wait 300ms"},
	{name: "SIGTERM", codes: []int{0, 4}, do: signalWith(syscall.SIGTERM), after: "wait 300ms"},
	{name: "SIGINT", codes: []int{0, 4}, do: signalWith(syscall.SIGINT), after: "wait 300ms"},
	{name: "SIGHUP", codes: []int{0, 4}, do: signalWith(syscall.SIGHUP), after: "wait 300ms"},
	{name: "SIGINT, three times", codes: []int{0, 4, 6}, do: func(p *chaosProcess) {
		for range 3 {
			p.cmd.Process.Signal(syscall.SIGINT)
			time.Sleep(5 * time.Millisecond)
		}
	}, after: "wait 300ms"},
	{name: "panic in a probe", codes: []int{5}, extra: "probe bad = test.panic() every 40ms\n  probe bad2 = test.panic() every 40ms", after: "wait 300ms"},
	{name: "panic in an action", codes: []int{5}, after: "test.mark(\"DIR/panicked\", act: \"panic\")"},
	{name: "a failing step", codes: []int{5}, after: "exec.run(\"false\")"},
	{name: "the runs' folder fills up", codes: []int{0, 2, 5}, small: true, do: func(p *chaosProcess) { fill(p.runs) }, after: "wait 300ms\n    test.mark(\"DIR/second\")"},
	{name: "the runs' folder fills up, then SIGKILL of the runner", small: true, do: func(p *chaosProcess) {
		fill(p.runs)
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		p.cmd.Process.Kill()
	}},
	{name: "the deadline", codes: []int{4}, extra: "deadline: 400ms", after: "wait 5m"},
	{name: "an undo that fails", codes: []int{6}, after: "test.mark(\"DIR/left\", undo: \"fail\")"},
	{name: "an undo that hangs", codes: []int{6}, after: "test.mark(\"DIR/left\", undo: \"hang\")"},
	{name: "SIGKILL of the runner while it undoes", do: func(p *chaosProcess) {
		p.cmd.Process.Signal(syscall.SIGINT)
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		p.cmd.Process.Kill()
	}},
}

func signalWith(s syscall.Signal) func(*chaosProcess) {
	return func(p *chaosProcess) { p.cmd.Process.Signal(s) }
}

// find is pidOf that may find nothing.
func (p *chaosProcess) find(arg string) int {
	for _, pid := range p.living() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args := strings.Split(string(line), "\x00"); len(args) > 1 && args[1] == arg {
			return pid
		}
	}
	return 0
}

// TestCrashMatrix draws a fault, a catastrophe and an instant, and looks whether the world is as it was before.
func TestCrashMatrix(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()>>32 + 1
	}
	t.Logf("seed %d: repeat with -run TestCrashMatrix -seed=%d -draws=%d", s, s, *draws)
	r := rand.New(rand.NewPCG(s, s))
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	faults := slices.DeleteFunc(slices.Clone(matrixFaults), func(f matrixFault) bool { return !wanted.MatchString(f.name) })
	if len(faults) == 0 {
		t.Fatalf("-faults=%s matches none", *only)
	}
	for i := range *draws {
		f, c := faults[r.IntN(len(faults))], catastrophes[r.IntN(len(catastrophes))]
		if i < len(faults)*2 { // each fault meets the two worst catastrophes, whatever is drawn
			f = faults[i/2]
			c = catastrophes[1+2*(i%2)]
		}
		instant := time.Duration(r.IntN(120)) * time.Millisecond
		early := r.IntN(4) == 0
		t.Run(fmt.Sprintf("%d %s, %s", i, f.name, c.name), func(t *testing.T) {
			needtest.Tools(t, f.needs...)
			if f.root || c.small {
				needtest.Root(t)
			}
			drawOne(t, f, c, instant, early)
		})
	}
}

func drawOne(t *testing.T, f matrixFault, c catastrophe, instant time.Duration, early bool) {
	place := newPlace(t, f, c)
	before := place.snapshot()
	after := c.after
	if after == "" {
		after = "wait 5m"
	}
	steady := "state.running"
	if strings.Contains(c.extra, "bad") {
		steady += " and bad"
	}
	text := strings.NewReplacer("PID", fmt.Sprint(place.pid), "TRACED", fmt.Sprint(place.traced), "DIR", place.dir, "PORT", fmt.Sprint(place.port), "DISK", place.disk, "EXT4", place.ext4, "URL", place.server).Replace(fmt.Sprintf(`experiment "matrix" {
  recovery: 2s
  probe state = process.state(pid: PID) every 30ms
  %s
  steady { expect state.running }
  hypothesis { always %s }
  inject {
    %s
    %s
  }
}
`, c.extra, steady, f.inject, after))
	path := filepath.Join(place.dir, "test.chaos")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startChaosIn(t, cmp.Or(place.runs, t.TempDir()), "script", path)
	if c.do != nil {
		if !early {
			waitFor(t, "the injection", func() bool {
				return slices.ContainsFunc(p.journal(), func(l journalLine) bool {
					return l.Kind == "phase_entered" && strings.Contains(string(l.Data), `"during"`)
				})
			})
		}
		time.Sleep(instant)
		c.do(p)
	}
	code := p.code()
	if c.codes != nil && !slices.Contains(c.codes, code) && !(early && code == -1) {
		t.Errorf("exit %d, want one of %v", code, c.codes)
	}
	if strings.Contains(c.name, "then recover") {
		if out, rc := p.chaos("recover"); rc != 0 {
			t.Errorf("recover: %d %s", rc, out)
		}
	}
	// A guardian may have to finish its work, and the helper its own.
	waitFor(t, "all processes of the run to end", func() bool { return len(p.living()) == 0 })
	if c.small {
		if got := place.snapshot(); got != before {
			t.Errorf("while the disk is full, before:\n%safter:\n%s", before, got)
		}
		os.Remove(filepath.Join(place.runs, "filler")) // somebody makes room
	}
	if out, rc := p.chaos("recover"); rc != 0 && !strings.Contains(c.name, "an undo that") {
		t.Errorf("recover: %d %s", rc, out)
	}
	got := place.snapshot()
	if strings.Contains(c.name, "an undo that") {
		got = strings.Replace(got, fmt.Sprintf("file left -rw------- %q\n", ""), "", 1)
	}
	if got != before {
		t.Errorf("before:\n%safter:\n%s", before, got)
	}
	ran, _ := os.ReadDir(filepath.Join(p.runs, "chaos", "runs"))
	for _, r := range ran {
		if left := cgroupsOf(r.Name()); len(left) > 0 {
			t.Errorf("cgroups are left: %v", left)
		}
	}
	if out, _ := p.chaos("runs"); strings.Contains(out, "unrecovered") != strings.Contains(c.name, "an undo that") {
		t.Errorf("the journal does not tell the truth:\n%s", out)
	}
	if t.Failed() {
		t.Logf("instant %s, early %v\n%s\n%s", instant, early, text, p.output.String())
		for _, l := range p.journal() {
			if !slices.Contains([]string{"sample", "step_started", "check_judged"}, l.Kind) {
				t.Logf("%s %s", l.Kind, l.Data)
			}
		}
	}
}

// cgroupsOf lists the cgroups that the faults of a run have made.
func cgroupsOf(run string) (out []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*"} {
		found, _ := filepath.Glob(pattern + run + "*")
		out = append(out, found...)
	}
	return out
}
