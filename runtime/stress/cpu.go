package stress

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CPU keeps workers busy for a share of the time.
type CPU struct {
	Workers int     `json:"workers"`
	Load    float64 `json:"load"`            // of each worker: 1 is all the time
	Cores   []int   `json:"cores,omitempty"` // each worker is pinned to one of these, in turn
}

const (
	// duty is the period of a partial load: short enough that nobody sees it as waves, long enough that waking up is cheap.
	duty = 20 * time.Millisecond
	// slack is how far a worker that got too little may fall back before it gives up catching up: others had the core, and
	// making up for more than that would overshoot: it is one point of five seconds.
	slack = 50 * time.Millisecond
)

func (c *CPU) run(func(string)) error {
	if c.Workers < 1 || c.Load <= 0 || c.Load > 1 {
		return errors.New("the stressor got a load that makes no sense")
	}
	// Nothing but the workers is to run: neither a collector, nor threads that look for something to do.
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(c.Workers)
	failed := make(chan error, c.Workers)
	for i := range c.Workers {
		go func() {
			runtime.LockOSThread()
			if len(c.Cores) > 0 {
				var set unix.CPUSet
				set.Set(c.Cores[i%len(c.Cores)])
				if err := unix.SchedSetaffinity(0, &set); err != nil {
					failed <- fmt.Errorf("cannot pin to core %d: %w", c.Cores[i%len(c.Cores)], err)
					return
				}
			}
			// The workers start one after the other within a period, so that they do not all pause at once.
			burn(c.Load, time.Duration(i)*duty/time.Duration(c.Workers))
		}()
	}
	return <-failed
}

// burn uses up a share of this thread's time, for ever. It compares what the thread has got with what it should have had by
// the end of the period, so errors of one period (waking up late, being preempted) are made good in the next.
func burn(load float64, offset time.Duration) {
	spin(1000)
	if load >= 1 {
		for {
			spin(1 << 20)
		}
	}
	start, used := clock(unix.CLOCK_MONOTONIC)+offset, clock(unix.CLOCK_THREAD_CPUTIME_ID)
	sleepUntil(start)
	for n := int64(1); ; n++ {
		end := start + time.Duration(n)*duty
		want := used + time.Duration(load*float64(end-start))
		for clock(unix.CLOCK_THREAD_CPUTIME_ID) < want {
			spin(10_000)
		}
		now := clock(unix.CLOCK_MONOTONIC)
		if now > end+slack {
			start, used, n = now, clock(unix.CLOCK_THREAD_CPUTIME_ID), 0
			continue
		}
		sleepUntil(end)
	}
}

var sink uint64 // keeps the loop from being optimised away

//go:noinline
func spin(n int) {
	x := uint64(n)
	for range n {
		x = x*6364136223846793005 + 1442695040888963407
	}
	if x == 0 {
		sink = x
	}
}

// clock and sleepUntil pass by Go's scheduler. It would give the processor of a worker that sleeps to another thread, and
// poll for its return: measured, that costs 5 % of a core.
func clock(id uintptr) time.Duration {
	var ts unix.Timespec
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

// sleepUntil waits for an instant of CLOCK_MONOTONIC; see TIMER_ABSTIME in clock_nanosleep(2).
func sleepUntil(at time.Duration) {
	ts := unix.NsecToTimespec(int64(at))
	for {
		if _, _, e := unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&ts)), 0, 0, 0); e != unix.EINTR {
			return
		}
	}
}

// Used is the processor time that a process has had. The clock of another process has the number that
// clock_getcpuclockid(3) computes: the complement of the pid, and CPUCLOCK_SCHED.
func Used(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^uint32(pid)<<3|2), &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}

// Idle is how long the cores of the machine have been idle, all together; see proc_stat(5).
func Idle() time.Duration {
	data, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(data), "\n")
	col := strings.Fields(line)
	if len(col) < 6 {
		return 0
	}
	idle, _ := strconv.ParseInt(col[4], 10, 64)
	wait, _ := strconv.ParseInt(col[5], 10, 64)
	return time.Duration(idle+wait) * 10 * time.Millisecond
}

// Cores lists the cores that this process may run on.
func Cores() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var out []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			out = append(out, i)
		}
	}
	return out
}
