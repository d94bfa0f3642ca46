package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"chaos/actions/ask"
	"chaos/runtime/event"
	"chaos/runtime/needtest"

	"golang.org/x/sys/unix"
)

// pty makes a terminal: who types, and the path that a program opens. All that is shown is collected.
func pty(t *testing.T) (keys *os.File, path string, shown func() string) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		needtest.Lacks(t, err)
	}
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	path = fmt.Sprintf("/dev/pts/%d", n)
	hold, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0) // without it a read of the other end fails as soon as nobody has it open
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all strings.Builder
	var wg sync.WaitGroup
	wg.Go(func() {
		buffer := make([]byte, 1024)
		for {
			n, err := keys.Read(buffer)
			mu.Lock()
			all.Write(buffer[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { hold.Close(); wg.Wait(); keys.Close() })
	return keys, path, func() string { mu.Lock(); defer mu.Unlock(); return all.String() }
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("not in time: " + what)
		}
	}
}

func TestAskOnATerminal(t *testing.T) {
	keys, path, shown := pty(t)
	a := &ttyAsker{path: path}
	view := boardOn(t, path)
	askOver(a, view)
	fmt.Fprint(keys, "typed before it was asked\n")
	until(t, "the echo", func() bool { return strings.Contains(shown(), "asked") })
	until(t, "the board", func() bool { return strings.Contains(shown(), "watching") })
	const question = "? Is rack 7 off? "
	under := func() string { _, after, _ := strings.Cut(shown(), question); return after }
	go func() {
		until(t, "the question", func() bool { return strings.Contains(shown(), question) })
		view.Event(event.Event{Mono: time.Second, Data: event.Note{Text: "said meanwhile"}})
		fmt.Fprint(keys, "done, at ")
		time.Sleep(250 * time.Millisecond) // two frames
		if text := under(); strings.Contains(text, "watching") || strings.Contains(text, "meanwhile") {
			t.Errorf("written under the question: %q", text)
		}
		fmt.Fprint(keys, "noon\n")
	}()
	answer, err := a.Ask(context.Background(), "Is rack\n7 off?\x1b\x07")
	if err != nil || answer != "done, at noon" {
		t.Errorf("%q (%v)", answer, err)
	}
	until(t, "what was held back, and the board", func() bool {
		return strings.Contains(under(), "said meanwhile") && strings.Contains(under(), "watching")
	})
}

// boardOn is a view with a board on a terminal.
func boardOn(t *testing.T, path string) *terminal {
	t.Setenv("CI", "")
	t.Setenv("TERM", "xterm")
	tty, err := openTTY(path)
	if err != nil {
		t.Fatal(err)
	}
	control(tty, func(fd int) { _ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}) })
	view := newTerminal(tty, false)
	t.Cleanup(func() { view.Close(); tty.Close() })
	view.Event(event.Event{Data: event.ExperimentStarted{Title: "a test"}})
	view.Event(event.Event{Data: event.PhaseEntered{Phase: event.Before}})
	return view
}

func TestAskEnds(t *testing.T) {
	keys, path, shown := pty(t)
	a := &ttyAsker{path: path}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("a guard tripped")
	cancelled := make(chan time.Time, 1)
	go func() {
		until(t, "the question", func() bool { return strings.Contains(shown(), "? Go on?") })
		cancelled <- time.Now()
		cancel(stop)
	}()
	if _, err := a.Ask(ctx, "Go on?"); !errors.Is(err, stop) {
		t.Error(err)
	}
	if took := time.Since(<-cancelled); took > 10*time.Second { // it ends at once, as soon as the machine has time for it
		t.Errorf("it took %v", took)
	}
	go func() {
		until(t, "the second question", func() bool { return strings.Contains(shown(), "? Really?") })
		fmt.Fprint(keys, "\x04")
	}()
	if _, err := a.Ask(context.Background(), "Really?"); err == nil || !strings.Contains(err.Error(), "Ctrl-D") {
		t.Error(err)
	}
	if _, err := (&ttyAsker{path: "/dev/no-such-terminal"}).Ask(context.Background(), "?"); !errors.Is(err, errNoTerminal) {
		t.Error(err)
	}
}

func TestYesNeedsNoTerminal(t *testing.T) {
	askOver(nil, nil)
	if _, ok := newAsker(true).(ask.Yes); !ok {
		t.Error("--yes does not answer by itself")
	}
}
