package http

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pacer sleeps precisely. The timers of the Go runtime wake an idle program up to a millisecond late, which an open model
// would show as latency of the server; a timerfd (timerfd_create(2)) wakes it through the poller within microseconds.
type pacer struct {
	file *os.File
	conn interface {
		Control(func(fd uintptr)) error
	}
}

func newPacer() (*pacer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, errors.New("the kernel has no timer for the load generator")
	}
	file := os.NewFile(uintptr(fd), "timer")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, errors.New("the kernel has no timer for the load generator")
	}
	return &pacer{file: file, conn: conn}, nil
}

// sleep waits for d; false when the pacer was closed meanwhile.
func (p *pacer) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	err := p.conn.Control(func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), 0, &spec, nil) })
	if err != nil {
		return false
	}
	var expirations [8]byte
	_, err = p.file.Read(expirations[:])
	return err == nil
}

// close wakes a sleeper for good.
func (p *pacer) close() { p.file.Close() }
