package live

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// enters counts the lines that are typed below the board. The terminal echoes each Enter and so moves the cursor off the line
// from which the board is drawn over itself.
//
// It only watches. What is typed stays for whoever reads it next, and no setting of the terminal is touched: one without echo
// would stay so behind a process that is killed.
type enters struct {
	tty *os.File // nil where it cannot be watched

	mu     sync.Mutex
	queued int // bytes of whole lines that nobody has read
	rows   int
	wg     sync.WaitGroup
}

// watchEnters watches the terminal behind a file. It is opened anew, as what a process is given is often not opened in a way
// that lets one wait for it.
func watchEnters(terminal *os.File) *enters {
	e := &enters{}
	tty, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", terminal.Fd()), os.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return e // another user's, after su
	}
	conn, err := tty.SyscallConn()
	if err != nil {
		tty.Close()
		return e
	}
	e.tty = tty
	e.queued, _ = unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCINQ)
	e.wg.Go(func() {
		conn.Read(func(fd uintptr) bool { // each whole line wakes it, also where one waits to be read already
			e.mu.Lock()
			defer e.mu.Unlock()
			e.look(int(fd))
			return false
		})
	})
	return e
}

// look notes a line that came since the last look. Several that come at once, out of a paste, count as one: moving up too far
// would draw over what must stay.
func (e *enters) look(fd int) {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return
	}
	if n > e.queued && echoes(fd) {
		e.rows++
	}
	e.queued = n
}

// echoes tells whether the terminal shows what is typed on it.
func echoes(fd int) bool {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil && t.Lflag&unix.ICANON != 0 && t.Lflag&(unix.ECHO|unix.ECHONL) != 0
}

// take is how many lines were typed since it was asked last.
func (e *enters) take() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tty != nil {
		if conn, err := e.tty.SyscallConn(); err == nil {
			conn.Control(func(fd uintptr) { e.look(int(fd)) })
		}
	}
	rows := e.rows
	e.rows = 0
	return rows
}

func (e *enters) close() {
	if e.tty != nil {
		e.tty.Close()
		e.wg.Wait()
	}
}
