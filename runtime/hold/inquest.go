package hold

import (
	"time"

	"chaos/runtime/oom"

	"golang.org/x/sys/unix"
)

// inquest is the open question whether the kernel's OOM killer ended a process.
type inquest struct {
	of      *oom.Case
	foreign bool      // nobody of us has sent a signal
	until   time.Time // when to wait no longer for what the kernel logs
}

// inquire begins when the main process has ended, by a signal or by none.
func (v *service) inquire(by unix.Signal) {
	v.inquest, v.state.OOMKilled = nil, oom.No.Bool()
	if by != sigKill { // the only one that it sends
		return
	}
	now := time.Now()
	v.inquest = &inquest{of: v.watch, foreign: v.phase == phaseRunning, until: now.Add(oom.Patience)}
	v.conclude(now)
}

// conclude takes the answer, if there is one yet.
func (v *service) conclude(now time.Time) bool {
	verdict := v.inquest.of.Ended(v.inquest.foreign, !now.Before(v.inquest.until))
	v.state.OOMKilled = verdict.Bool()
	if verdict != oom.Later {
		v.inquest = nil
	}
	return v.inquest == nil
}

// investigate goes on with an inquest, and looks after the process that runs where only that gives evidence. It says when to
// be called again, as step does.
func (v *service) investigate(now time.Time) time.Time {
	if v.inquest != nil {
		if !v.conclude(now) {
			return now.Add(poll)
		}
		v.push()
	}
	if v.pid == 0 || v.owner.oom.Logged() {
		return time.Time{}
	}
	v.watch.Look()
	return now.Add(oom.Every)
}
