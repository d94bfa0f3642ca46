package command

import (
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// output is what a command writes, read by the thread that waits for its end: one poll(2) on the process and both pipes.
// A goroutine that reads, as in os/exec, has to be woken, which costs a tenth of a short command.
type output struct {
	ours, theirs   [2]int // the ends that are read and written, -1 when closed
	stdout, stderr capture
}

// buffers are for reading: a new one for each command would be most of the memory that a command costs.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func openOutput() (*output, error) {
	o := &output{ours: [2]int{-1, -1}, theirs: [2]int{-1, -1}}
	for i := range o.ours {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			o.close()
			return nil, err
		}
		o.ours[i], o.theirs[i] = ends[0], ends[1]
	}
	return o, nil
}

func (o *output) close() {
	o.closeTheirs()
	for i := range o.ours {
		closeFD(&o.ours[i])
	}
}

func (o *output) closeTheirs() {
	for i := range o.theirs {
		closeFD(&o.theirs[i])
	}
}

func closeFD(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
		*fd = -1
	}
}

// open tells that somebody may still write.
func (o *output) open() bool { return o.ours != [2]int{-1, -1} }

// noPidfd is how often a process is looked at whose pidfd does not tell: before Linux 5.2 there is none, and before 5.3 it is
// always ready (pidfd_open(2)).
const noPidfd = 5 * time.Millisecond

// readUntilExit returns when the child has ended, and leaves it to be reaped. Until then we can write, too: a child that
// exits closes its ends a moment before it is dead, and to be woken for that as well costs a twentieth of a short command.
func (o *output) readUntilExit(pid, pidfd int) {
	defer o.closeTheirs()
	for pidfd >= 0 && !o.read(pidfd, -1) {
	}
	for !hasExited(pid) {
		o.read(-1, noPidfd)
	}
}

// hasExited looks without waiting, and without reaping.
func hasExited(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0 || errors.Is(err, unix.ECHILD)
}

// readFor reads on until both pipes have ended, at most for some time: somebody else may hold them.
func (o *output) readFor(most time.Duration) {
	end := time.Now().Add(most)
	for o.open() {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		o.read(-1, left)
	}
}

// read waits until there is something to read, the process has ended, or the time is up; a negative one is none. It
// says whether the process has ended.
func (o *output) read(process int, most time.Duration) (exited bool) {
	fds := [3]unix.PollFd{
		{Fd: int32(process), Events: unix.POLLIN}, // poll(2) passes over a negative one
		{Fd: int32(o.ours[0]), Events: unix.POLLIN},
		{Fd: int32(o.ours[1]), Events: unix.POLLIN},
	}
	timeout := -1
	if most >= 0 {
		timeout = int((most + time.Millisecond - 1) / time.Millisecond)
	}
	if _, err := unix.Poll(fds[:], timeout); err != nil {
		return false // EINTR; ENOMEM is tried again as well
	}
	for i, to := range []*capture{&o.stdout, &o.stderr} {
		if fds[i+1].Revents == 0 {
			continue
		}
		// POLLHUP alone is not the end: the kernel looks first for data, then for writers, and in between one can write and go.
		n, err := to.read(o.ours[i])
		if n <= 0 && !errors.Is(err, unix.EINTR) {
			closeFD(&o.ours[i])
		}
	}
	return fds[0].Revents != 0
}

// capture keeps the start and the end of a stream, and reads the rest away so that the writer never blocks.
type capture struct {
	head []byte
	tail []byte
}

func (c *capture) read(fd int) (int, error) {
	buffer := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buffer)
	n, err := unix.Read(fd, buffer[:])
	c.add(buffer[:max(n, 0)])
	return n, err
}

func (c *capture) add(p []byte) {
	if room := maxOutput - len(c.head); room > 0 {
		c.head = append(c.head, p[:min(room, len(p))]...)
	}
	c.tail = append(c.tail, p[max(0, len(p)-tailSize):]...)
	if over := len(c.tail) - tailSize; over > 0 {
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
}

func (c *capture) text() string {
	return strings.ToValidUTF8(string(c.head), "\uFFFD")
}

// lastLines are the last three lines that say something, as one line.
func (c *capture) lastLines() string {
	var lines []string
	for _, l := range strings.Split(string(c.tail), "\n") {
		if l = strings.TrimSpace(strings.ToValidUTF8(l, "\uFFFD")); l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}
