// Package kmsg reads what the kernel logs.
package kmsg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

// Log is what the kernel logs after Open. The form is in Documentation/ABI/testing/dev-kmsg of the kernel: each read
// gives one message, "6,339,5140900,-;NET: Registered protocol family 10", then lines of " KEY=value".
type Log struct {
	read  func([]byte) (int, error)
	close func() error

	buffer []byte // kept from sample to sample
	next   uint64 // the number of the message that follows the latest one; 0 before the first
	lost   int    // messages that were overwritten before they were read
}

// Path is where the log is.
const Path = "/dev/kmsg"

// Open starts at the end: what is in the log now is the past. An error says what to do.
func Open(path string) (*Log, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("%s, the kernel's log, is for root or CAP_SYSLOG only: run as root, or set kernel.dmesg_restrict=0", path)
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("there is no %s, the kernel's log: in a container, hand it in", path)
	case err != nil:
		return nil, fmt.Errorf("%s, the kernel's log, cannot be read: %s", path, filefail.Why(err))
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s, the kernel's log, has no end to begin at: %s", path, filefail.Why(err))
	}
	return &Log{read: func(b []byte) (int, error) { return unix.Read(fd, b) }, close: func() error { return unix.Close(fd) }}, nil
}

// Of is a log of what read gives, in the form and with the errors of the device.
func Of(read func([]byte) (int, error)) *Log {
	return &Log{read: read, close: func() error { return nil }}
}

// Close closes it.
func (k *Log) Close() error { return k.close() }

// Lost counts the messages that were overwritten before they could be read.
func (k *Log) Lost() int { return k.lost }

// largest is more than any message has: the kernel refuses to give a part of one.
const largest = 16 << 10

// Drain hands over the texts of all messages that have come. It returns early, in a state to go on from, when the context
// ends: a kernel that logs in a loop is no reason to hang.
func (k *Log) Drain(ctx context.Context, each func(text string)) error {
	if k.buffer == nil {
		k.buffer = make([]byte, largest)
	}
	for ctx.Err() == nil {
		n, err := k.read(k.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EPIPE):
			// Overwritten before it was read: the next read gives the oldest there is, whose number tells how many, but for the
			// first one, which follows on none.
			if k.next == 0 {
				k.lost++
			}
			continue
		case err != nil:
			return fmt.Errorf("the kernel's log cannot be read: %s", filefail.Why(err))
		case n == 0:
			return nil
		}
		head, text, ok := bytes.Cut(k.buffer[:n], []byte(";"))
		fields := bytes.SplitN(head, []byte(","), 4)
		if !ok || len(fields) < 3 {
			return errors.New("the kernel's log has another form than its documentation says")
		}
		if number, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
			if k.next > 0 && number > k.next {
				k.lost += int(number - k.next)
			}
			k.next = number + 1
		}
		text, _, _ = bytes.Cut(text, []byte("\n"))
		each(string(text))
	}
	return ctx.Err()
}
