package command

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// input is what a command reads: the text of the script, or nothing.
type input struct {
	theirs  int           // the end that it reads, -1 when closed
	ours    *os.File      // nil where there is no text
	written chan struct{} // closed when it has all of the text, or wants no more
}

// openInput opens the null device where there is no text: a lock on it is the command's own (flock(2)), so each has its own.
func openInput(text string) (*input, error) {
	if text == "" {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return &input{theirs: fd}, err
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(ends[1], true); err != nil { // so that to close it ends a write
		unix.Close(ends[0])
		unix.Close(ends[1])
		return nil, err
	}
	return &input{theirs: ends[0], ours: os.NewFile(uintptr(ends[1]), "|0"), written: make(chan struct{})}, nil
}

// write hands the text over, beside the command.
func (i *input) write(text string) {
	closeFD(&i.theirs)
	if i.ours == nil {
		return
	}
	go func() {
		defer close(i.written)
		_, _ = io.WriteString(i.ours, text) // it may leave the rest unread
		i.ours.Close()
	}()
}

// waitFor lets what the command has left in the background read on.
func (i *input) waitFor(most time.Duration) {
	if i.ours == nil {
		return
	}
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-i.written:
	case <-t.C:
	}
}

func (i *input) close() {
	closeFD(&i.theirs)
	if i.ours != nil {
		i.ours.Close()
	}
}
