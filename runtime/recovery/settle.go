package recovery

import (
	"context"
	"fmt"
	"time"

	"chaos/runtime/target"
)

// Dying tells that the runner has been killed and only has not come to its end yet: until the kernel has taken back its memory
// and files, it holds its lock.
func (r *Run) Dying() bool { return r.Alive && target.Ending(r.Pid) }

// Settle waits while a run is about to be dead, or its guardian undoes it, and reads it again.
func Settle(ctx context.Context, r *Run, limit time.Duration) *Run {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for r.Dying() || !r.Alive && r.Guarded {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r
		}
		again, err := Read(r.Dir)
		if err != nil {
			return r
		}
		r = again
	}
	return r
}

// Unsettled says why nobody can undo a run yet that is neither alive nor dead; "" where there is nothing to wait for.
func (r *Run) Unsettled() string {
	switch {
	case len(r.Open) == 0:
		return ""
	case r.Dying():
		return fmt.Sprintf("its process (pid %d) was killed and has not come to its end; `ps -o stat,wchan -p %[1]d` shows what holds it", r.Pid)
	case !r.Alive && r.Guarded:
		return fmt.Sprintf("its guardian is undoing %s and not done yet; `fuser %s/%s` names it", faults(len(r.Open)), r.Dir, GuardianLock)
	}
	return ""
}

func faults(n int) string {
	if n == 1 {
		return "1 fault"
	}
	return fmt.Sprintf("%d faults", n)
}
