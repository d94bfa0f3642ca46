package target

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	// Whatever a test leaves behind becomes a child of this process instead of init's, so that it can be seen.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	code := m.Run()
	all, _ := Descendants(os.Getpid())
	for _, p := range all {
		if !p.Zombie() {
			fmt.Fprintln(os.Stderr, "left behind:", p.Describe())
			p.Identity().Signal(unix.SIGKILL)
			code = 1
		}
	}
	os.Exit(code)
}

func victim(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	// A pipe that nobody writes to, so that `read` waits without a child.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	// A program that is just being executed has no command line for a moment, and nobody finds it by that.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if p, err := ReadProcess(cmd.Process.Pid); err != nil || p.Zombie() || p.CommandLine() != "["+p.Comm+"]" {
			break
		}
	}
	return cmd
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) b (c) S 1 40 39 0 -1 2097216 1 0 0 0 1 2 0 0 20 0 3 0 123456 1 2 3"
	p, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	want := Process{Pid: 42, PPid: 1, Group: 40, Session: 39, State: 'S', Comm: "a) b (c", Start: 123456, Threads: 3, Kernel: true}
	if p != want {
		t.Errorf("%+v, want %+v", p, want)
	}
	for _, bad := range []string{"", "42", "42 (x", "42 (x) S 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestIdentityNeverHitsAnother(t *testing.T) {
	cmd := victim(t, "sleep", "1000")
	id, err := ProcessIdentity(cmd.Process.Pid)
	if err != nil || !id.Alive() || id.Pid() != cmd.Process.Pid {
		t.Fatalf("%v %v", id, err)
	}
	for what, change := range map[string]func(*Identity){
		"start": func(i *Identity) { i.Start++ },
		"boot":  func(i *Identity) { i.Boot = "another" },
	} {
		other := id
		change(&other)
		if other.Alive() || other.Same(id) {
			t.Errorf("%s: taken for the same", what)
		}
		if err := other.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, pid := range []string{"1", "0", "-1", "x", ""} {
		other := id
		other.ID = pid
		if err := other.Signal(unix.SIGCONT); err == nil {
			t.Errorf("pid %q was signalled", pid)
		}
	}
	container := id
	container.Kind = "container"
	if container.Pid() != 0 || container.Signal(unix.SIGKILL) == nil {
		t.Error("a container was taken for a process")
	}
	if !id.Alive() {
		t.Fatal("it was hit")
	}
	if err := id.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "a zombie is not alive", func() bool { return !id.Alive() })
	if err := id.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signal to a zombie: %v", err)
	}
}

func TestProcesses(t *testing.T) {
	sh := victim(t, "sh", "-c", "sleep 1000 & sleep 1001 & wait")
	within(t, 10*time.Second, "two children", func() bool {
		l, _ := Descendants(sh.Process.Pid)
		return len(l) == 2 && l[0].Comm == "sleep" && l[1].Comm == "sleep" // they are told by it below
	})
	list, err := Descendants(os.Getpid())
	if err != nil || len(list) < 3 || list[0].PPid != os.Getpid() {
		t.Errorf("%v %v", list, err)
	}
	for _, p := range list {
		if p.Comm == "sleep" {
			p.Identity().Signal(unix.SIGKILL)
		}
	}
	self, err := ReadProcess(os.Getpid())
	if err != nil || self.Kernel || self.Uptime() <= 0 || self.Uptime() > time.Hour {
		t.Errorf("%+v, up %s, %v", self, self.Uptime(), err)
	}
	if _, err := ReadProcess(1 << 30); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestBelowWithACycle(t *testing.T) {
	list := []Process{{Pid: 2, PPid: 1}, {Pid: 3, PPid: 2}, {Pid: 1, PPid: 3}, {Pid: 9, PPid: 8}}
	if got := Below(list, 1); len(got) > 4 {
		t.Errorf("%v", got)
	}
}

// master is a server of three processes that hold one listening socket.
const master = `import os, socket, sys, time
s = socket.socket(socket.AF_INET6 if sys.argv[1] == "::1" else socket.AF_INET); s.bind((sys.argv[1], 0)); s.listen()
for _ in range(2):
    if os.fork() == 0:
        while os.getppid() != 1: time.sleep(0.02)
        os._exit(0)
print(s.getsockname()[1], flush=True)
time.sleep(1000)`

func TestListeners(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		cmd := exec.Command("python3", "-c", master, address)
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var port int
		_, err := fmt.Fscan(out, &port)
		workers, _ := Descendants(cmd.Process.Pid)
		if err == nil {
			found, hidden, lerr := Listeners(port)
			if lerr != nil || hidden || len(found) != 1 || found[0].Pid != cmd.Process.Pid || len(workers) != 2 {
				t.Errorf("%s: found %v, want the master %d alone; %v", address, found, cmd.Process.Pid, lerr)
			}
			sel, serr := Selector{Port: &port}.Resolve(Pick{}, nil)
			if serr != nil || sel[0].Identity.Pid() != cmd.Process.Pid {
				t.Errorf("%v %v", sel, serr)
			}
		} else if address == "127.0.0.1" {
			t.Error(err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		for _, w := range workers {
			w.Identity().Signal(unix.SIGKILL)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if found, _, err := Listeners(port); err != nil || len(found) != 1 || found[0].Pid != os.Getpid() {
		t.Errorf("%v %v", found, err)
	}
	_, err = Selector{Port: &port}.Resolve(Pick{}, nil)
	if err == nil || !strings.Contains(err.Error(), "is chaos itself") {
		t.Errorf("an action may select this process: %v", err)
	}
	l.Close()
	if found, _, err := Listeners(port); err != nil || len(found) != 0 {
		t.Errorf("after the close: %v %v", found, err)
	}
}

func TestSelectorLeavesOutAncestorsZombiesAndItself(t *testing.T) {
	word := fmt.Sprintf("needle-%d", os.Getpid())
	const wait = "read nothing"
	victim(t, "sh", "-c", wait, word)
	dead := victim(t, "sh", "-c", "exit 0", word)
	id, _ := ProcessIdentity(dead.Process.Pid)
	within(t, 10*time.Second, "a zombie", func() bool { return !id.Alive() })
	if n, err := Count(word); err != nil || n != 1 {
		t.Errorf("%d %v, want 1", n, err)
	}
	own := NewOwn()
	for pid := os.Getppid(); pid > 0; {
		p, err := ReadProcess(pid)
		if err != nil {
			break
		}
		if own.Why(p) == "" {
			t.Errorf("%s is an ancestor", p.Describe())
		}
		pid = p.PPid
	}
	all, _ := Processes()
	for _, p := range all {
		if p.Kernel && own.Forbidden(p) == "" || p.Pid == 1 && own.Forbidden(p) == "" {
			t.Errorf("%s may be touched", p.Describe())
		}
	}
}

func TestRefresh(t *testing.T) {
	word := fmt.Sprintf("needle-%d", os.Getpid())
	const wait = "read nothing"
	r := rand.New(rand.NewPCG(1, 1))
	first := victim(t, "sh", "-c", wait, word)
	s := Selector{Match: &word}
	planned, err := s.Resolve(Pick{}, r)
	if err != nil || len(planned) != 1 {
		t.Fatal(planned, err)
	}
	second := victim(t, "sh", "-c", wait, word)
	if again, err := s.Refresh(planned, Pick{}, r); err != nil || again[0].Identity.Pid() != first.Process.Pid {
		t.Errorf("what was planned is alive: %v %v", again, err)
	}
	first.Process.Kill()
	first.Wait()
	if again, err := s.Refresh(planned, Pick{}, r); err != nil || again[0].Identity.Pid() != second.Process.Pid {
		t.Errorf("what was planned is gone: %v %v", again, err)
	}
}

type fakeHandle struct{ pid value.Value }

func (fakeHandle) HandleKind() string               { return "process" }
func (fakeHandle) HandleID() string                 { return "1" }
func (fakeHandle) HandleName() string               { return "thing" }
func (h fakeHandle) HandleField(string) value.Value { return h.pid }

func TestSelectorByHandle(t *testing.T) {
	cmd := victim(t, "sleep", "1000")
	f, err := Selector{Process: fakeHandle{value.NumberOf(float64(cmd.Process.Pid))}}.Resolve(Pick{}, nil)
	if err != nil || len(f) != 1 || f[0].Identity.Pid() != cmd.Process.Pid || f[0].Name() != fmt.Sprintf("thing (pid %d)", cmd.Process.Pid) {
		t.Errorf("%v %v", f, err)
	}
	f, err = Selector{Process: fakeHandle{value.NoData("down")}}.Resolve(Pick{}, nil)
	if err != nil || !f[0].Down() || f[0].Name() != "thing" {
		t.Errorf("%v %v", f, err)
	}
	_, err = Selector{Process: fakeHandle{value.NumberOf(float64(os.Getppid()))}}.Resolve(Pick{}, nil)
	if err == nil || !strings.Contains(err.Error(), "what started chaos") {
		t.Error(err)
	}
}

func TestSignals(t *testing.T) {
	for _, name := range []string{"TERM", "SIGTERM", "term"} {
		if s, err := Signal(name); err != nil || s != unix.SIGTERM || SignalName(s) != "TERM" {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
	if _, err := Signal("NOPE"); err == nil {
		t.Error("NOPE is no signal")
	}
}
