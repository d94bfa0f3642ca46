package kmsg

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAKernelThatLogsInALoopIsNoReasonToHang(t *testing.T) {
	n := 0
	log := Of(func(b []byte) (int, error) {
		n++
		return copy(b, fmt.Sprintf("6,%d,1,-;again\n", n)), nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := log.Drain(ctx, func(string) {}); err != context.DeadlineExceeded || log.Lost() != 0 {
		t.Error(err, log.Lost())
	}
}

// How many were lost before the first message nobody knows, but that some were.
func TestWhatWasLostBeforeTheFirstMessageCounts(t *testing.T) {
	reads := []error{unix.EPIPE, unix.EINTR, nil, unix.EAGAIN}
	log := Of(func(b []byte) (int, error) {
		err := reads[0]
		reads = reads[1:]
		if err != nil {
			return 0, err
		}
		return copy(b, "6,7,1,-;there\n"), nil
	})
	said := 0
	if err := log.Drain(t.Context(), func(text string) { said++ }); err != nil || said != 1 || log.Lost() != 1 {
		t.Error(err, said, log.Lost())
	}
}
