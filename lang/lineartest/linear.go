// Package lineartest holds what reads a script to taking time in proportion to its length.
package lineartest

import (
	"syscall"
	"testing"
	"time"
)

// Linear compares two lengths, of which one is sixteen times the other: what takes time with the square of the length takes
// 256 times as long, and between that and the sixteen of a straight line is room for what the garbage collector does. It
// counts time of the processor, the best of three, so that a busy machine does not matter. prepare makes what is timed.
func Linear(t *testing.T, prepare func(n int) (run func())) {
	t.Helper()
	best := func(n int) time.Duration {
		run, least := prepare(n), time.Hour
		for range 3 {
			start := used(t)
			run()
			least = min(least, used(t)-start)
		}
		return least
	}
	if short, long := best(500), best(8000); long > 64*short+50*time.Millisecond {
		t.Errorf("sixteen times the length takes %v, and the length itself %v", long, short)
	}
}

// used is what this process took of the processors.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
