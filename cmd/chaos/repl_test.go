package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/cmd/chaos/live"

	"golang.org/x/sys/unix"
)

// promptProcess is `chaos repl` on a terminal of its own, and somebody who types.
type promptProcess struct {
	*chaosProcess
	keys  *os.File
	shown func() string
	read  int // how much of what is shown was waited for
}

// escapes are what moves the cursor and colours.
var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|\r`)

// startPrompt starts the command on a terminal and waits for its prompt.
func startPrompt(t *testing.T, args ...string) *promptProcess {
	t.Helper()
	p, keys, shown := startOnTerminal(t, live.Size{Width: 100, Height: 40}, nil, args...)
	out := &promptProcess{chaosProcess: p, keys: keys, shown: func() string { return escapes.ReplaceAllString(shown(), "") }}
	out.see("chaos> ")
	return out
}

// startOnTerminal starts the command on a terminal of its own: what is typed there, and all that it has shown.
func startOnTerminal(t *testing.T, size live.Size, env []string, args ...string) (p *chaosProcess, keys *os.File, shown func() string) {
	t.Helper()
	keys, path, shown := pty(t)
	resize(t, keys, size)
	tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	marks++
	p = &chaosProcess{t: t, mark: fmt.Sprintf("CHAOS_TEST_MARK=%d-%d", os.Getpid(), marks), runs: t.TempDir(), seen: map[int]string{}, exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "XDG_STATE_HOME=") || strings.HasPrefix(s, "TERM=")
	}), asChaos+"=1", p.mark, "XDG_STATE_HOME="+p.runs, "TERM=xterm", "CHAOS_SECRET_KEY=a-secret-of-the-test")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.cmd.Dir = t.TempDir()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() {
		for _, pid := range p.living() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		<-p.exited
		if t.Failed() {
			text := shown()
			t.Logf("shown at last:\n%s", escapes.ReplaceAllString(text[max(len(text)-3000, 0):], ""))
		}
	})
	return p, keys, shown
}

func resize(t *testing.T, terminal *os.File, size live.Size) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}); err != nil {
		t.Fatal(err)
	}
}

// see waits for a text behind what was seen before.
func (p *promptProcess) see(text string) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		shown := p.shown()
		if i := strings.Index(shown[min(p.read, len(shown)):], text); i >= 0 {
			p.read += i + len(text)
			return
		}
	}
	p.t.Fatalf("waited in vain for %q", text)
}

func (p *promptProcess) press(keys string) {
	p.t.Helper()
	if _, err := p.keys.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// enter types a line and waits for what it shows.
func (p *promptProcess) enter(line string, shows ...string) {
	p.t.Helper()
	p.press(line + "\n")
	for _, s := range shows {
		p.see(s)
	}
}

func (p *promptProcess) wantCode(want int) {
	p.t.Helper()
	if got := p.code(); got != want {
		p.t.Errorf("exit %d, want %d", got, want)
	}
	waitFor(p.t, "all processes to end", func() bool { return len(p.living()) == 0 })
}

func TestCtrlCAtThePromptCancelsWhatRunsAndNotTheSession(t *testing.T) {
	pid := victim(t)
	mark := filepath.Join(t.TempDir(), "mark")
	p := startPrompt(t) // plain `chaos` on a terminal
	p.press("abandoned\x03")
	p.see("^C")
	p.enter(fmt.Sprintf("process.pause(pid: %d)", pid), "⚡", "1  pause", "chaos> ")
	p.enter(fmt.Sprintf("do { test.mark(%q); wait 1h }", mark), "⚡", "wait 1h")
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	p.press("\x03")
	p.see("↶ undone: mark")
	p.see("cancelled")
	if _, err := os.Stat(mark); err == nil {
		t.Error("what was cancelled is not undone")
	}
	if s := procState(pid); s != "t" {
		t.Errorf("Ctrl-C undid what it did not interrupt: state %q", s)
	}
	p.enter(":faults", "1  pause", "  9m", "chaos> ")
	p.press("\x04")
	p.see("↶ undone: pause")
	p.wantCode(0)
	if s := procState(pid); !runs(s) {
		t.Errorf("the target is in state %q", s)
	}
}

func TestEverySignalThatEndsThePromptUndoes(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGQUIT} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, busy %v", sig, busy), func(t *testing.T) {
				pid := victim(t)
				mark := filepath.Join(t.TempDir(), "mark")
				p := startPrompt(t, "repl")
				p.enter(fmt.Sprintf("test.mark(%q)", mark), "⚡", "chaos> ")
				p.enter(fmt.Sprintf("process.pause(pid: %d)", pid), "⚡", "chaos> ")
				if busy {
					p.enter("wait 1h", "· wait 1h")
				}
				p.cmd.Process.Signal(sig)
				p.see("↶ undone: pause")
				p.see("↶ undone: mark")
				p.wantCode(0)
				if _, err := os.Stat(mark); err == nil || !runs(procState(pid)) {
					t.Error("something is left")
				}
			})
		}
	}
}

// What is piped in is a script, so it ends as a run does: in the code of the process, in the journal, and for `chaos stop`.
func TestAPipedSessionThatIsStoppedExits4(t *testing.T) {
	pid := victim(t)
	p := startPiped(t, strings.NewReader(fmt.Sprintf("process.pause(pid: %d)\nwait 1h\n", pid)), "repl")
	p.until("waiting", "1h")
	if out, code := p.chaos("recover"); code != 0 || !strings.Contains(out, "with 1 fault in place: left alone") || procState(pid) != "t" {
		t.Errorf("recover meddles with a run that lives, or does not say so: %d %s", code, out)
	}
	if out, code := p.chaos("stop"); code != 4 {
		t.Errorf("stop ends with %d: %s", code, out)
	}
	if code := p.code(); code != 4 || !runs(procState(pid)) || !strings.Contains(p.output.String(), "ABORTED") {
		t.Errorf("exit %d, the target is in state %q\n%s", code, procState(pid), p.output.String())
	}
	waitFor(t, "all processes to end", func() bool { return len(p.living()) == 0 })
}

func TestSIGKILLOfThePromptLeavesNothing(t *testing.T) {
	for _, busy := range []bool{false, true} {
		pid := victim(t)
		mark := filepath.Join(t.TempDir(), "mark")
		p := startPrompt(t, "repl")
		p.enter(`process.start("sleep", args: ["300"])`, "⚡", "chaos> ")
		p.enter(fmt.Sprintf("process.pause(pid: %d)", pid), "⚡", "chaos> ")
		p.enter(fmt.Sprintf("test.mark(%q)", mark), "⚡", "chaos> ")
		if busy {
			p.enter("wait 1h", "· wait 1h")
		}
		p.cmd.Process.Kill()
		begun := time.Now()
		waitFor(t, "everything to be undone", func() bool {
			_, err := os.Stat(mark)
			return os.IsNotExist(err) && runs(procState(pid)) && len(p.living()) == 0
		})
		t.Logf("all gone %s after SIGKILL", time.Since(begun).Round(time.Millisecond))
		if out, code := p.chaos("recover"); code != 0 {
			t.Errorf("recover: %d %s", code, out)
		}
	}
}

func TestSIGKILLAtAnyInstantOfASession(t *testing.T) {
	for i := range 12 {
		pid := victim(t)
		mark := filepath.Join(t.TempDir(), "mark")
		instant := time.Duration(rand.IntN(150)) * time.Millisecond
		p := startPrompt(t, "repl")
		p.press(fmt.Sprintf("process.start(\"sleep\", args: [\"300\"]) as w\nprocess.pause(pid: %d)\ntest.mark(%q)\nprocess.pause(w) for 20ms\n:undo\nprobe st = process.state(w) every 10ms\nst\n:judge\n:quit\n", pid, mark))
		time.Sleep(instant)
		p.cmd.Process.Kill()
		waitFor(t, fmt.Sprintf("draw %d, %s: everything to be undone", i, instant), func() bool {
			_, err := os.Stat(mark)
			return os.IsNotExist(err) && runs(procState(pid)) && len(p.living()) == 0
		})
		if out, code := p.chaos("recover"); code != 0 {
			t.Errorf("recover: %d %s", code, out)
		}
	}
}

func TestThePromptEndsWith6WhenSomethingIsLeft(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	p := startPrompt(t, "repl")
	p.enter(fmt.Sprintf(`test.mark(%q, undo: "fail")`, mark), "⚡", "chaos> ")
	p.press("\x04")
	p.see("NOT UNDONE")
	p.see("left:")
	p.see("by hand: rm ")
	p.wantCode(6)
}

func TestAGuardAtThePromptUndoesAtOnce(t *testing.T) {
	pid := victim(t)
	p := startPrompt(t, "repl")
	p.enter(fmt.Sprintf("probe st = process.state(pid: %d) every 50ms", pid), "chaos> ")
	p.enter("abort when st.paused for 100ms", "chaos> ")
	p.enter(fmt.Sprintf("process.pause(pid: %d)", pid), "⚡")
	p.see("guard tripped")
	p.see("↶ undone: pause")
	p.see("ABORTED")
	if s := procState(pid); !runs(s) {
		t.Errorf("the target is in state %q", s)
	}
	p.enter("1 + 1", "2", "chaos> ")
	p.enter(fmt.Sprintf("process.pause(pid: %d) for 50ms", pid), "⚡", "↶ undone")
	p.press("\x04")
	p.wantCode(0)
}

func TestWatchDrawsUntilCtrlC(t *testing.T) {
	pid := victim(t)
	p := startPrompt(t, "repl")
	p.enter(fmt.Sprintf("probe st = process.state(pid: %d) every 20ms", pid), "chaos> ")
	p.enter("watch st.uptime", "▇")
	p.press("\x03")
	p.see("chaos> ")
	p.enter("watch st", "▇")
	p.press("\x03")
	p.see("chaos> ")
	p.enter(fmt.Sprintf("watch process.usage(pid: %d) every 20ms", pid), ".cpu", "▁")
	p.press("\x03")
	p.see("chaos> ")
	p.enter(`watch process.count(match: "`+"no such process"+`") every 20ms`, "▁▁", "0")
	p.press("\x03")
	p.see("chaos> ")
	p.enter("watch process.pause(pid: 1)", "error[")
	p.enter("2 * 21", "42")
	p.press("\x04")
	p.wantCode(0)
}

func TestAskedBeforeWhatNothingCanUndo(t *testing.T) {
	pid := victim(t)
	p := startPrompt(t, "repl")
	p.enter(fmt.Sprintf("process.kill(pid: %d)", pid), "nothing can undo this", "do it? [y/N] ")
	p.enter("n", "not done", "chaos> ")
	if procState(pid) == "" {
		t.Fatal("it was done")
	}
	p.enter(fmt.Sprintf("process.kill(pid: %d)", pid), "do it? [y/N] ")
	p.enter("y", "⚡", "chaos> ")
	p.press("\x04")
	p.wantCode(0)
}

func TestTabCompletesAtThePrompt(t *testing.T) {
	p := startPrompt(t, "repl")
	p.press("proc\t")
	p.see("process.")
	p.press("pau\t")
	p.see("pause(")
	p.press("pi\t")
	p.see("pid: ")
	p.press("\x03:fau\t")
	p.see(":faults")
	p.press("\n")
	p.see("nothing is in place")
	p.press("\x04")
	p.wantCode(0)
}

func TestTheHistoryIsPrivate(t *testing.T) {
	p := startPrompt(t, "repl")
	p.enter("1 + 1", "2", "chaos> ")
	p.enter("do {", "  ...> ")
	p.enter("  wait 1ms // a moment", "  ...> ")
	p.enter("  wait 2ms", "  ...> ")
	p.enter("}", "· wait 2ms", "chaos> ")
	p.enter(`let key = secret("KEY")`, "chaos> ")
	p.enter("key", "a secret is not shown", "chaos> ")
	p.enter(`log("${key}")`, "E409", "chaos> ")
	p.enter(`"a-secret-of-the-test"`, "[secret KEY]", "chaos> ")
	p.press("\x1b[A\x1b[A\x1b[A\n") // past `log` and `key`: the block is one entry
	p.see("· wait 2ms")
	p.press("\x04")
	p.wantCode(0)
	path := filepath.Join(p.runs, "chaos", "history")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	text := readAll(t, path)
	if strings.Contains(text, "secret") {
		t.Errorf("a secret is in the history:\n%s", text)
	}
	if !strings.Contains(text, "\ndo { wait 1ms; wait 2ms }\nkey\n") {
		t.Errorf("the block is no entry of its own:\n%s", text)
	}
}

// TestThePromptIsThereAtOnce measures the command itself, without the weight of the test binary.
func TestThePromptIsThereAtOnce(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "chaos")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var took []time.Duration
	const most = 50 * time.Millisecond
	for len(took) < 9 || len(took) < 50 && slices.Min(took) > most { // the quickest: others use the machine too
		keys, path, shown := pty(t)
		tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(bin, "repl")
		c.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir(), "TERM=xterm")
		c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		begun := time.Now()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for !strings.Contains(shown(), "chaos> ") && time.Since(begun) < 10*time.Second {
			time.Sleep(200 * time.Microsecond)
		}
		took = append(took, time.Since(begun))
		keys.WriteString("\x04")
		c.Wait()
		tty.Close()
	}
	slices.Sort(took)
	t.Logf("from exec to prompt: median %v, all %v", took[len(took)/2], took)
	if took[0] > most {
		t.Errorf("the quickest of %d starts took %v, more than %v", len(took), took[0], most)
	}
}
