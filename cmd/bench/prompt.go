package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// promptRow is what somebody at the prompt waits for: that it is there, and that Tab answers. Both are measured through a
// terminal, as a person has it; the peer of the first is the prompt of Python.
func promptRow(b *bench) ([]line, error) {
	chaos, err := filepath.Abs(b.chaos)
	if err != nil {
		return nil, err
	}
	start := func(shows, name string, args ...string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			t, took, err := openPrompt(b, shows, name, args...)
			if err == nil {
				t.close()
			}
			return took, err
		}
	}
	candidates := []func() (time.Duration, error){start("chaos> ", chaos, "repl")}
	python, err := exec.LookPath("/usr/bin/python3")
	if err == nil {
		candidates = append(candidates, start(">>> ", python, "-I", "-q"))
	}
	runs, err := alternate(b, 15, candidates...)
	if err != nil {
		return nil, err
	}
	d := median(runs[0])
	first := line{what: "start of `chaos repl`, up to the prompt", ours: ms(d), peer: "-", ratio: "-", target: "under 50 ms", ok: d < 50*time.Millisecond}
	if len(runs) > 1 {
		peer := median(runs[1])
		first.peer, first.ratio = ms(peer)+" python3", ratio(float64(d), float64(peer))
	}
	t, _, err := openPrompt(b, "chaos> ", chaos, "repl")
	if err != nil {
		return []line{first}, err
	}
	defer t.close()
	if _, err := t.press("probe home = http.get(\"http://127.0.0.1:1/\")\n", "chaos> "); err != nil {
		return []line{first}, err
	}
	tabs, err := alternate(b, 30, func() (time.Duration, error) {
		if _, err := t.press("expect before.home.lat", "lat"); err != nil {
			return 0, err
		}
		took, err := t.press("\t", "latency")
		if err == nil {
			_, err = t.press("\x03", "^C")
		}
		return took, err
	})
	if err != nil {
		return []line{first}, err
	}
	d = median(tabs[0])
	return []line{first, {what: "Tab at the prompt, from key to word", ours: ms(d), peer: "-", ratio: "-", target: "under 10 ms", ok: d < 10*time.Millisecond}}, nil
}

// prompt is a command on a terminal of its own.
type prompt struct {
	cmd  *exec.Cmd
	keys *os.File
}

// openPrompt starts a command and waits until it shows its prompt.
func openPrompt(b *bench, shows, name string, args ...string) (*prompt, time.Duration, error) {
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, err
	}
	t := &prompt{keys: keys, cmd: exec.CommandContext(b.ctx, name, args...)}
	number := 0
	if err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err == nil {
		number, err = unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	}
	if err != nil {
		keys.Close()
		return nil, 0, err
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		keys.Close()
		return nil, 0, err
	}
	defer tty.Close()
	t.cmd.Env = append(os.Environ(), "TERM=xterm", "XDG_STATE_HOME="+b.dir)
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = tty, tty, tty
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	begun := time.Now()
	if err := t.cmd.Start(); err != nil {
		keys.Close()
		return nil, 0, err
	}
	if err := t.wait(shows); err != nil {
		t.close()
		return nil, 0, err
	}
	return t, time.Since(begun), nil
}

// press types keys and says how long it took until a text was shown.
func (t *prompt) press(keys, shows string) (time.Duration, error) {
	begun := time.Now()
	if _, err := t.keys.WriteString(keys); err != nil {
		return 0, err
	}
	err := t.wait(shows)
	return time.Since(begun), err
}

func (t *prompt) wait(shows string) error {
	watchdog := time.AfterFunc(10*time.Second, func() { t.cmd.Process.Kill() }) // which ends the read
	defer watchdog.Stop()
	var seen strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(seen.String(), shows) {
		n, err := t.keys.Read(buffer)
		if seen.Write(buffer[:n]); err != nil {
			return fmt.Errorf("%s never showed %q: %w", filepath.Base(t.cmd.Path), shows, err)
		}
	}
	return nil
}

// close ends the command as Ctrl-D does, or else at once.
func (t *prompt) close() {
	t.keys.WriteString("\x04")
	watchdog := time.AfterFunc(2*time.Second, func() { t.cmd.Process.Kill() })
	defer watchdog.Stop()
	go func() { // what it still says must not hold it up
		for buffer := make([]byte, 4096); ; {
			if _, err := t.keys.Read(buffer); err != nil {
				return
			}
		}
	}()
	t.cmd.Wait()
	t.keys.Close()
}
