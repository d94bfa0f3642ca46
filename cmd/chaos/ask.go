package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"chaos/actions/ask"

	"golang.org/x/sys/unix"
)

const ttyPath = "/dev/tty"

// newAsker is who answers the questions of a script: --yes, else the terminal that the command was started from, else
// nobody (nil).
func newAsker(yes bool) ask.Asker {
	if yes {
		return ask.Yes{}
	}
	tty, err := openTTY(ttyPath)
	if err != nil {
		return nil
	}
	tty.Close()
	return &ttyAsker{path: ttyPath}
}

// openTTY opens a terminal so that a read can be given up: see ttyAsker.
func openTTY(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
}

// ttyAsker asks on the controlling terminal, also where standard input and output are redirected.
//
// The file is opened for each question, without blocking, so that the end of the context can end the read through a
// deadline; closing it would not: a read that hangs in the kernel goes on.
type ttyAsker struct {
	path string
	mu   sync.Mutex // one question at a time

	viewMu sync.Mutex
	view   *terminal
}

// over tells the asker of a view that may draw on the same terminal. nil takes it back.
func (a *ttyAsker) over(view *terminal) {
	a.viewMu.Lock()
	defer a.viewMu.Unlock()
	a.view = view
}

// askOver makes a view leave the terminal alone while a question stands, whoever answers it.
func askOver(asker ask.Asker, view *terminal) {
	if a, ok := asker.(*ttyAsker); ok {
		a.over(view)
	}
}

// quiet takes the board away, if there is one, and holds lines back until the answer is there.
func (a *ttyAsker) quiet() (resume func()) {
	a.viewMu.Lock()
	view := a.view
	a.viewMu.Unlock()
	if view == nil {
		return func() {}
	}
	return view.screen.Hush()
}

var errNoTerminal = errors.New("the terminal is gone, so nobody can answer")

// maxAnswer is more than a terminal's own limit for a line, 4096 bytes; see termios(3).
const maxAnswer = 64 << 10

// Ask prints the question on a line of its own and reads one line.
func (a *ttyAsker) Ask(ctx context.Context, question string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	tty, err := openTTY(a.path)
	if err != nil {
		return "", errNoTerminal
	}
	defer tty.Close()
	if inBackground(tty) {
		return "", errors.New("chaos runs in the background of its terminal, where it cannot read an answer; bring it to the foreground, or answer with --yes")
	}
	// Should it be sent to the background while it waits, a read must fail instead of stopping a run that holds faults.
	for _, s := range []os.Signal{syscall.SIGTTIN, syscall.SIGTTOU} {
		if !signal.Ignored(s) {
			signal.Ignore(s)
			defer signal.Reset(s)
		}
	}
	defer a.quiet()()
	// What was typed before the question was there is no answer to it.
	control(tty, func(fd int) { _ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) })
	if _, err := fmt.Fprintf(tty, "\r\x1b[K? %s ", printable(question)); err != nil {
		return "", errNoTerminal
	}
	stop := context.AfterFunc(ctx, func() { tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, err := readLine(tty)
	if err == nil {
		return answer, nil
	}
	fmt.Fprintln(tty) // the question's line is still open
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		return "", errors.New("the answer was Ctrl-D: no answer")
	}
	return "", errNoTerminal
}

func readLine(r io.Reader) (string, error) {
	var line []byte
	buffer := make([]byte, 4096)
	for {
		n, err := r.Read(buffer)
		line = append(line, buffer[:n]...)
		if text, _, ok := strings.Cut(string(line), "\n"); ok {
			return text, nil
		}
		if err != nil {
			return "", err
		}
		if len(line) > maxAnswer {
			return "", errNoTerminal
		}
	}
}

// inBackground tells whether another group of processes has the terminal.
func inBackground(tty *os.File) bool {
	front := unix.Getpgrp()
	control(tty, func(fd int) {
		if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil {
			front = group
		}
	})
	return front != unix.Getpgrp()
}

// control calls f with the file's descriptor. Unlike File.Fd it does not make the file block.
func control(file *os.File, f func(fd int)) {
	if raw, err := file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// printable takes what could move the cursor out of a text that comes from a script and its samples.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, text)
}
