package process

import (
	"sync"
	"time"

	"chaos/runtime/oom"
	"chaos/runtime/target"
)

// ends tells of a process that nobody supervises for us whether the OOM killer ended it. By which signal it ended is for its
// parent to know.
type ends struct {
	watch *oom.Watch

	mu    sync.Mutex
	of    target.Identity
	alive *oom.Case // of the process that runs
	open  *oom.Case // of the latest that ended, until it is known how
	until time.Time
	oom   *bool // of the latest end; nil before anybody was seen
}

// look takes note of who runs now, if anybody does, and gives the answer for the latest that ended.
func (e *ends) look(p target.Process, runs bool) *bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if e.alive != nil && !e.of.Alive() {
		e.open, e.alive, e.until, e.oom = e.alive, nil, now.Add(oom.Patience), nil
	}
	if runs && (e.alive == nil || !e.of.Same(p.Identity())) { // a port can change hands between two that live
		if e.of.ID == "" {
			e.oom = oom.No.Bool()
		}
		e.of, e.alive = p.Identity(), e.watch.Begin()
		e.alive.Pid = p.Pid
	}
	if e.alive != nil {
		e.alive.Look()
	}
	if e.open != nil {
		if verdict := e.open.Ended(false, !now.Before(e.until)); verdict != oom.Later {
			e.open = nil
			e.oom = verdict.Bool()
		}
	}
	return e.oom
}

func (e *ends) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.watch.Close()
}
