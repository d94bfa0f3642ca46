package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

// file is one of /proc or /sys that is read at each sample, with the room for it. The library, which host.top is made of, opens
// each anew through the poller, parses all of it and often with fmt, which shows at ten samples a second.
type file struct {
	path   string
	buffer []byte
}

// read gives the content, valid until the next read. A file of /proc tells no size, so the room grows until all is in. It goes
// by system calls: package os would offer each file to the poller.
func (f *file) read() ([]byte, error) {
	if f.buffer == nil {
		f.buffer = make([]byte, 8<<10)
	}
	fd, err := retried(func() (int, error) { return unix.Open(f.path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, unreadable(f.path, err)
	}
	defer unix.Close(fd)
	for n := 0; ; {
		more, err := retried(func() (int, error) { return unix.Read(fd, f.buffer[n:]) })
		if err != nil {
			return nil, unreadable(f.path, err)
		}
		if more == 0 {
			return f.buffer[:n], nil
		}
		if n += more; n == len(f.buffer) {
			f.buffer = append(f.buffer, make([]byte, n)...)
		}
	}
}

// retried makes a system call again when a signal interrupts it, as package os does.
func retried(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}

// numbers reads some of a file of lines such as "MemFree:  123 kB" or "oom_kill 7"; one that is not there is left out.
func (f *file) numbers(names ...string) (map[string]uint64, error) {
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(names))
	for line := range bytes.Lines(text) {
		name, rest, _ := bytes.Cut(line, []byte(" "))
		for _, wanted := range names {
			if string(name) != wanted {
				continue
			}
			digits, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
			if out[wanted], err = strconv.ParseUint(string(digits), 10, 64); err != nil {
				return nil, f.strange()
			}
		}
	}
	return out, nil
}

// row is the numbers in some columns of a line.
func (f *file) row(fields [][]byte, columns ...int) ([]uint64, error) {
	out := make([]uint64, len(columns))
	for i, c := range columns {
		if c >= len(fields) {
			return nil, f.strange()
		}
		var err error
		if out[i], err = strconv.ParseUint(string(fields[c]), 10, 64); err != nil {
			return nil, f.strange()
		}
	}
	return out, nil
}

func (f *file) strange() error {
	return fmt.Errorf("%s has another form than proc(5) says", f.path)
}

// unreadable is the failure of a reading, in words.
func unreadable(what string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		what = p.Path
	}
	return &unreadableError{fmt.Sprintf("%s cannot be read: %s", what, filefail.Why(err)), err}
}

type unreadableError struct {
	text  string
	cause error
}

func (e *unreadableError) Error() string { return e.text }
func (e *unreadableError) Unwrap() error { return e.cause }
