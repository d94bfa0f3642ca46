// Package lineartest holds what reads a script to taking time in proportion to its length.
package lineartest

import (
	"syscall"
	"testing"
	"time"
)

// Linear compares a length with a sixteenth of it: what takes time with the square of the length takes 256 times as long, and
// between that and the sixteen of a straight line is room for what the garbage collector does. The whole length may take as
// much of the processors as most says. prepare makes what is timed.
func Linear(t *testing.T, length int, most time.Duration, prepare func(n int) (run func())) {
	t.Helper()
	short := Best(t, 0, prepare(length/16))
	bound := min(64*short+50*time.Millisecond, most)
	if long := Best(t, bound, prepare(length)); long > bound {
		t.Errorf("it takes %v, and a sixteenth of the length %v; %v is all there is", long, short, bound)
	}
}

// Best is the time of the processors that the best of three tries takes, so that a busy machine does not matter. A try that
// stays below enough is the last.
func Best(t *testing.T, enough time.Duration, run func()) time.Duration {
	t.Helper()
	least := time.Duration(-1)
	for range 3 {
		start := used(t)
		run()
		if took := used(t) - start; least < 0 || took < least {
			least = took
		}
		if least <= enough {
			break
		}
	}
	return least
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
