package target

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Boot is this boot's id: pids and start times mean nothing in another one. See random(4).
var Boot = sync.OnceValue(func() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
})

// ProcessIdentity tells who bears a pid now. The error is ErrGone where nobody does.
func ProcessIdentity(pid int) (Identity, error) {
	p, err := ReadProcess(pid)
	if err != nil {
		return Identity{}, err
	}
	return p.Identity(), nil
}

// Pid is the pid of a process' identity, 0 for anything else.
func (i Identity) Pid() int {
	if i.Kind != "process" {
		return 0
	}
	pid, err := strconv.Atoi(i.ID)
	if err != nil {
		return 0
	}
	return pid
}

// Same tells whether two identities are of one process; the names may differ.
func (i Identity) Same(o Identity) bool {
	return i.Kind == o.Kind && i.ID == o.ID && i.Boot == o.Boot && i.Start == o.Start
}

// Process reads the process anew. The error is ErrGone where it does not exist any more, whoever has its pid now.
func (i Identity) Process() (Process, error) {
	pid := i.Pid()
	if pid <= 0 || i.Boot != Boot() {
		return Process{}, fmt.Errorf("%s: %w", i, ErrGone)
	}
	p, err := ReadProcess(pid)
	if err != nil || p.Start != i.Start {
		return Process{}, fmt.Errorf("%s: %w", i, ErrGone)
	}
	return p, nil
}

// Alive tells whether the very process exists and is no zombie.
func (i Identity) Alive() bool {
	p, err := i.Process()
	return err == nil && !p.Zombie()
}

// Signal sends a signal to the very process, and to nobody else: a pidfd keeps naming the process that it was opened on,
// so with the start time checked after the opening a reused pid cannot be hit; see pidfd_open(2). The error is ErrGone
// where the process has ended.
func (i Identity) Signal(sig unix.Signal) error {
	pid := i.Pid()
	if pid <= 1 {
		return fmt.Errorf("%s is never signalled", i)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("%s: %w", i, ErrGone)
		}
		return fmt.Errorf("pidfd of %s: %w", i, err)
	}
	defer unix.Close(fd)
	if p, err := i.Process(); err != nil || p.Zombie() {
		return fmt.Errorf("%s: %w", i, ErrGone)
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("%s: %w", i, ErrGone)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s belongs to another user: run as root, or with CAP_KILL", i)
	case err != nil:
		return fmt.Errorf("signal %s to %s: %w", SignalName(sig), i, err)
	}
	return nil
}

// Uptime is how long ago the process started. The kernel counts in ticks of 1/100 s, on every architecture that Go runs
// on (USER_HZ, see time(7)), from boot and through suspend.
func (p Process) Uptime() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return max(0, time.Duration(now.Nano())-time.Duration(p.Start)*10*time.Millisecond)
}
