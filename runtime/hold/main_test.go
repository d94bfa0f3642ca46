package hold

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	MaybeServe()
	// The race detector makes a process linger for a second at its end, and the helpers here are built with it.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	if scene := os.Getenv("HOLD_TEST_RUNNER"); scene != "" {
		os.Unsetenv("HOLD_TEST_RUNNER")
		run(scene)
		return
	}
	if signal.Ignored(unix.SIGINT) { // by a shell that started the tests in the background; the runners here have to hear it
		signal.Notify(make(chan os.Signal, 1), unix.SIGINT)
	}
	// Whatever a test leaves behind becomes a child of this process instead of init's, so that it can be seen.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	code := m.Run()
	left := living(os.Getpid())
	for end := time.Now().Add(slow); len(left) > 0 && time.Now().Before(end); left = living(os.Getpid()) {
		time.Sleep(10 * time.Millisecond) // the helper of a runner that was just killed ends a moment later
	}
	if len(left) > 0 {
		fmt.Fprintln(os.Stderr, "left behind:", describe(left))
		kill(left)
		code = 1
	}
	os.Exit(code)
}

// living lists the descendants that have not ended.
func living(pid int) []target.Process {
	all, _ := target.Descendants(pid)
	var out []target.Process
	for _, p := range all {
		if !p.Zombie() {
			out = append(out, p)
		}
	}
	return out
}

// run is a runner of its own, for tests that kill it: it starts what the scene says, tells about it, and waits.
func run(scene string) {
	ctx := context.Background()
	c := NewClient(nil)
	var told struct {
		Pids []int
		Mark Mark
	}
	if how, pid, ok := strings.Cut(scene, " "); ok && (how == "pause" || how == "cycle") {
		n, _ := strconv.Atoi(pid)
		id, err := target.ProcessIdentity(n)
		if err == nil {
			err = c.Pause(ctx, id)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if how == "cycle" {
			told.Mark.Helper, _ = c.Tracer(ctx)
			json.NewEncoder(os.Stdout).Encode(told)
			for {
				c.Resume(ctx, id)
				c.Pause(ctx, id)
			}
		}
	} else {
		p, err := c.Start(ctx, Spec{Name: "scene", Command: "/bin/sh", Args: []string{"-c", scene}, Grace: time.Second, StopSignal: "TERM", Restart: true, RestartDelay: time.Millisecond})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		told.Mark = p.Mark()
	}
	told.Pids = c.Pids()
	json.NewEncoder(os.Stdout).Encode(told)
	select {}
}

// launch starts a runner of a scene.
func launch(t *testing.T, scene string) *exec.Cmd {
	t.Helper()
	cmd, _ := launchPiped(t, scene)
	return cmd
}

func launchPiped(t *testing.T, scene string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HOLD_TEST_RUNNER="+scene)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, out
}

// runner starts a scene and gives the runner's command, and its marks.
func runner(t *testing.T, scene string) (*exec.Cmd, Mark) {
	t.Helper()
	cmd, out := launchPiped(t, scene)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Pids []int
		Mark Mark
	}
	if err := json.Unmarshal([]byte(line), &told); err != nil {
		t.Fatalf("the runner says: %s", line)
	}
	return cmd, told.Mark
}

// client is a client that is closed with the test, and must then have left nothing.
func client(t *testing.T) *Client {
	t.Helper()
	c := NewClient(nil)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error("closed again:", err)
		}
		for _, pid := range c.Pids() {
			t.Errorf("pid %d is left", pid)
		}
	})
	return c
}

// shell is a spec that runs a shell script.
func shell(t *testing.T, script string) Spec {
	dir := t.TempDir()
	return Spec{
		Name: "test", Command: "/bin/sh", Args: []string{"-c", script}, Dir: dir,
		Stdout: filepath.Join(dir, "out"), Stderr: filepath.Join(dir, "err"), Grace: slow, StopSignal: "TERM",
	}
}

func begin(t *testing.T, c *Client, s Spec) *Process {
	t.Helper()
	p, err := c.Start(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// slow is the limit of what takes milliseconds on an idle machine, and must only end at all on a busy one.
const slow = 10 * time.Second

// within waits for something to become true.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !ok() {
		if time.Since(begun) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begun)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, _ := os.ReadFile(path)
	return string(data)
}

// tree is a process with children, and a daemon that has left its parent, group and session.
const tree = `sleep 1000 & sleep 1000 & setsid sh -c 'sleep 1001 & echo ready > up; wait' & sh -c '(setsid sleep 1002 &) ; exit 0'; wait`
