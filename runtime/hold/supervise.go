package hold

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"chaos/runtime/cgroup"
	"chaos/runtime/oom"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

const (
	sigKill = unix.SIGKILL
	// poll is how often what no signal announces is looked at: the end of grandchildren.
	poll = 10 * time.Millisecond
	// stubborn is how long a process may take to end after SIGKILL; one that waits for a dead disk can take for ever.
	stubborn = 10 * time.Second
)

// supervisor is the helper that owns what a run starts. Everything happens on one thread in one loop, so a child cannot
// be reaped before its start is known.
type supervisor struct {
	out      *sender
	self     target.Process
	services map[string]*service
	order    []*service
	closing  int64 // the request to answer when everything is down, 0 for none

	cage cgroup.Cage // of all that is started
	door *os.File    // its folder, open: what is forked is born into it
	oom  *oom.Watch
}

func newSupervisor(out *sender) *supervisor {
	// What a child leaves behind becomes ours instead of init's; see PR_SET_CHILD_SUBREAPER in prctl(2).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "daemons cannot be followed, as the kernel or a seccomp profile refuses prctl(PR_SET_CHILD_SUBREAPER):", err)
	}
	self, err := target.ReadProcess(os.Getpid())
	if err != nil {
		fmt.Fprintln(os.Stderr, "processes cannot be found without /proc (mount -t proc proc /proc):", err)
	}
	s := &supervisor{out: out, self: self, services: map[string]*service{}, oom: oom.NewWatch()}
	// Where none can be made, as by most users and in most containers, the environment and the session have to do.
	if s.cage, err = cgroup.NewCage(self.Identity()); err == nil {
		s.door, _ = os.Open(s.cage.Dir)
	}
	return s
}

// serve runs until the runner is gone or everything was closed.
func (s *supervisor) serve(in <-chan request, gone <-chan struct{}) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-gone: // whatever it still asked for
			s.endAll()
			return
		case r, ok := <-in:
			if ok {
				s.handle(r)
			}
		case <-children:
		case <-timer.C:
		}
		s.reap()
		now := time.Now()
		wake := now.Add(time.Minute) // a net below lost signals
		for _, v := range s.order {
			if at := v.step(now); !at.IsZero() && at.Before(wake) {
				wake = at
			}
		}
		if s.closing != 0 && s.down() {
			s.endAll()
			s.out.answer(s.closing, nil)
			return
		}
		timer.Reset(max(time.Millisecond, time.Until(wake)))
	}
}

func (s *supervisor) handle(r request) {
	if r.Op == opClose {
		s.closing = r.ID
		for _, v := range slices.Backward(s.order) {
			v.again = nil
			v.stop(0)
		}
		return
	}
	if s.closing != 0 {
		s.out.answer(r.ID, fmt.Errorf("the run is ending"))
		return
	}
	v := s.services[r.Service]
	switch {
	case r.Op == opStart && v == nil && r.Spec != nil:
		v = newService(s, r.Service, *r.Spec)
		if err := v.launch(); err != nil {
			s.out.answer(r.ID, err)
			return
		}
		s.services[r.Service] = v
		s.order = append(s.order, v)
		s.out.answer(r.ID, nil)
	case r.Op == opStop && v == nil:
		s.out.answer(r.ID, nil) // it never started
	case r.Op == opStop:
		v.again = nil
		v.stop(r.ID)
	case r.Op == opRestart && v != nil:
		v.restart(r.ID)
	default:
		s.out.answer(r.ID, fmt.Errorf("the helper does not know `%s` of %q", r.Op, r.Service))
	}
}

func (s *supervisor) down() bool {
	for _, v := range s.order {
		if v.phase != phaseDown {
			return false
		}
	}
	return true
}

// reap takes the status of every child that ended, the adopted ones too, so that no zombie stays.
func (s *supervisor) reap() {
	var bereaved []*service
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		for _, v := range s.order {
			if v.pid == pid || v.orphans[pid] != 0 {
				bereaved = append(bereaved, v)
			}
			delete(v.orphans, pid)
			if v.pid == pid {
				v.exited(status)
			}
		}
	}
	if len(bereaved) > 0 {
		s.adopt(bereaved)
	}
}

// adopt notes whose the processes are that a dead parent left to us. Most bear a mark or the group of their service; a
// daemon that has overwritten its environment and made a session of its own is attributed to the parent that just died.
func (s *supervisor) adopt(bereaved []*service) {
	all, err := target.Descendants(s.self.Pid)
	if err != nil {
		return
	}
	known := map[int]bool{}
	for _, v := range s.order {
		for _, p := range v.members(all) {
			known[p.Pid] = true
			if p.PPid == s.self.Pid && p.Pid != v.pid {
				v.orphans[p.Pid] = p.Start
			}
		}
	}
	for _, p := range all {
		if p.PPid == s.self.Pid && !known[p.Pid] && bereaved[0] == bereaved[len(bereaved)-1] {
			bereaved[0].orphans[p.Pid] = p.Start
		}
	}
}

// endAll kills every descendant, until none is left: forks that race with it are met by the next round.
func (s *supervisor) endAll() {
	deadline := time.Now().Add(3 * stubborn)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for time.Now().Before(deadline) {
		all, err := target.Descendants(s.self.Pid)
		if err == nil && len(all) == 0 {
			_ = s.cage.Remove()
			return
		}
		kill(all)
		timer.Reset(time.Millisecond)
		<-timer.C
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.EINTR && (err != nil || pid <= 0) {
				break
			}
		}
	}
}
