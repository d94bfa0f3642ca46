package hold

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// What x/sys/unix lacks; see ptrace(2) and include/uapi/linux/wait.h.
const (
	waitAll  = 0x40000000 // __WALL: threads too
	patience = 5 * time.Second
)

// tracer is the helper that pauses processes. When it dies, however that happens, the kernel detaches from everything it
// traced, and those processes run on: no pause outlives it. It must not be their parent, which would get their stops mixed
// up with their ends; and every call comes from one thread, because the kernel ties a tracee to the thread that attached.
type tracer struct {
	out    *sender
	self   int
	paused map[int]*tracee // by pid
	owner  map[int]int     // thread → pid
	early  map[int]unix.WaitStatus
	gone   <-chan struct{} // closed when the runner is
}

// tracee is one paused process.
type tracee struct {
	id      target.Identity
	threads map[int]*thread
}

type thread struct {
	stopped bool
	deliver unix.Signal // a signal that it was about to get when it stopped
}

func newTracer(out *sender, gone <-chan struct{}) *tracer {
	return &tracer{out: out, self: os.Getpid(), paused: map[int]*tracee{}, owner: map[int]int{}, early: map[int]unix.WaitStatus{}, gone: gone}
}

// serve runs until the runner is gone. Then the end of this process is the quickest way to let everything go.
func (t *tracer) serve(in <-chan request) {
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGCHLD)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	tick.Stop()
	for {
		select {
		case <-t.gone:
			return
		case r, ok := <-in:
			switch {
			case !ok:
				return
			case r.Op == opClose:
				t.releaseAll()
				t.out.answer(r.ID, nil)
				return
			case r.Op == opPause && r.Target != nil:
				t.out.answer(r.ID, t.pause(*r.Target))
			case r.Op == opResume && r.Target != nil:
				t.out.answer(r.ID, t.resume(*r.Target))
			default:
				t.out.answer(r.ID, fmt.Errorf("the helper does not know `%s`", r.Op))
			}
		case <-stops:
		case <-tick.C:
		}
		// Someone else may kill what we hold. Its parent learns of the end only after us: a tracer that does not wait keeps a
		// zombie.
		t.collect()
		if len(t.paused) > 0 {
			tick.Reset(poll)
		} else {
			tick.Stop()
		}
	}
}

// pause stops every thread of a process.
func (t *tracer) pause(id target.Identity) error {
	pid := id.Pid()
	p, err := id.Process()
	if err == nil && p.Zombie() {
		err = fmt.Errorf("%s: %w", id, target.ErrGone)
	}
	if err != nil {
		return err
	}
	if why := target.NewOwn().Forbidden(p); why != "" {
		return fmt.Errorf("%s %s, so it cannot be paused", id, why)
	}
	if held, ok := t.paused[pid]; ok && held.id.Same(id) {
		return t.verify(held)
	}
	if by, err := target.Tracer(pid); err == nil && by > 0 {
		name := strconv.Itoa(by)
		if p, err := target.ReadProcess(by); err == nil {
			name = p.Describe()
		}
		return fmt.Errorf("%s is traced already, by process %s; end that (a debugger, strace, another pause) first", id, name)
	}
	v := &tracee{id: id, threads: map[int]*thread{}}
	t.paused[pid] = v
	if err := t.stopAll(v); err != nil {
		t.release(v)
		return err
	}
	return nil
}

// stopAll attaches to threads until no new one appears and all of them have stopped. Threads that a traced thread makes are
// attached by the kernel; those that one made before its turn came show up in the next listing.
func (t *tracer) stopAll(v *tracee) error {
	pid := v.id.Pid()
	deadline := time.Now().Add(patience)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		before := len(v.threads)
		if err := t.seize(v); err != nil {
			return err
		}
		t.collect()
		if t.paused[pid] != v || !v.id.Alive() {
			return fmt.Errorf("%s: %w", v.id, target.ErrGone)
		}
		if len(v.threads) == before && t.verify(v) == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s would not stop within %s: %w", v.id, patience, t.verify(v))
		}
		timer.Reset(time.Millisecond)
		select {
		case <-timer.C:
		case <-t.gone:
			return errHelper
		}
	}
}

// seize attaches to the threads that are not attached yet, and asks them to stop.
func (t *tracer) seize(v *tracee) error {
	pid := v.id.Pid()
	tids, err := target.Threads(pid)
	if err != nil {
		return fmt.Errorf("%s: %w", v.id, target.ErrGone)
	}
	for _, tid := range tids {
		if v.threads[tid] != nil {
			continue
		}
		err := ptrace(unix.PTRACE_SEIZE, tid, 0, unix.PTRACE_O_TRACECLONE)
		switch {
		case err == nil:
			// The pid may have changed hands between the look and the attaching.
			if !v.id.Alive() {
				_ = ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0)
				t.add(v, tid)
				return fmt.Errorf("%s: %w", v.id, target.ErrGone)
			}
			t.add(v, tid)
			if err := ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("stop thread %d of %s: %w", tid, v.id, err)
			}
		case errors.Is(err, unix.ESRCH):
			// It has ended since the listing.
		case errors.Is(err, unix.EPERM):
			if state := threadState(pid, tid); state == 'Z' || state == 'X' || state == 0 {
				continue
			}
			if by, _ := target.Tracer(tid); by == t.self {
				t.add(v, tid) // the kernel attached it, its first stop is under way
				continue
			}
			why := target.PtraceRefused(pid)
			if why == "" {
				why = "the system refuses ptrace here, as containers without that privilege do"
			}
			return fmt.Errorf("%s cannot be paused: %s; run as root or with CAP_SYS_PTRACE", v.id, why)
		default:
			return fmt.Errorf("trace thread %d of %s: %w", tid, v.id, err)
		}
	}
	return nil
}

func (t *tracer) add(v *tracee, tid int) {
	v.threads[tid] = &thread{}
	t.owner[tid] = v.id.Pid()
	if status, ok := t.early[tid]; ok {
		delete(t.early, tid)
		t.note(tid, status)
	}
}

// collect takes what is to be waited for, without ever blocking.
func (t *tracer) collect() {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WNOHANG|waitAll, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || tid <= 0 {
			break
		}
		t.note(tid, status)
	}
	for pid, v := range t.paused {
		if !v.id.Alive() {
			for tid := range v.threads {
				delete(t.owner, tid)
			}
			delete(t.paused, pid)
		}
	}
}

// note records a stop or an end of a thread.
func (t *tracer) note(tid int, status unix.WaitStatus) {
	v := t.paused[t.owner[tid]]
	if v == nil {
		if !status.Stopped() {
			return
		}
		// The first stop of a thread that the kernel attached can come before the news of its making.
		if leader := leaderOf(tid); t.paused[leader] != nil {
			v = t.paused[leader]
			v.threads[tid] = &thread{}
			t.owner[tid] = leader
		} else if leader > 0 {
			// A process made by clone without the thread flag is no part of the target.
			_ = ptrace(unix.PTRACE_DETACH, tid, 0, 0)
			return
		} else {
			t.early[tid] = status
			return
		}
	}
	if !status.Stopped() {
		delete(v.threads, tid)
		delete(t.owner, tid)
		return
	}
	th := v.threads[tid]
	th.stopped, th.deliver = true, 0
	if status>>16 == 0 {
		// Stopped on its way to a signal, which it gets when it is let go. All else are stops of our asking or of a group
		// stop, which the kernel itself restores.
		th.deliver = status.StopSignal()
	}
}

// verify tells whether every thread is stopped, by its own word and by the kernel's.
func (t *tracer) verify(v *tracee) error {
	pid := v.id.Pid()
	tids, err := target.Threads(pid)
	if err != nil {
		return fmt.Errorf("%s: %w", v.id, target.ErrGone)
	}
	var loose []string
	for _, tid := range tids {
		state := threadState(pid, tid)
		if state == 'Z' || state == 'X' || state == 0 {
			continue
		}
		if th := v.threads[tid]; th == nil || !th.stopped || state != 't' {
			loose = append(loose, fmt.Sprintf("%d (state %c)", tid, state))
		}
	}
	if len(loose) > 0 {
		return fmt.Errorf("threads that run on: %s", strings.Join(loose, ", "))
	}
	return nil
}

// resume lets a process run on. One that is not paused, or gone, is fine.
func (t *tracer) resume(id target.Identity) error {
	v := t.paused[id.Pid()]
	if v == nil || !v.id.Same(id) {
		return nil
	}
	t.release(v)
	if by, err := target.Tracer(id.Pid()); err == nil && by == t.self && id.Alive() {
		return fmt.Errorf("%s could not be let go of", id)
	}
	return nil
}

// release detaches from every thread. One that is stopped is let go as it is: a further interrupt and a wait for it would
// hang. One that has not stopped yet (of a pause that failed) has to stop first, as only then it can be detached from.
func (t *tracer) release(v *tracee) {
	pid := v.id.Pid()
	deadline := time.Now().Add(time.Second)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t.collect()
		for tid, th := range v.threads {
			if !th.stopped {
				continue
			}
			if err := ptrace(unix.PTRACE_DETACH, tid, 0, uintptr(th.deliver)); err == nil || errors.Is(err, unix.ESRCH) {
				delete(v.threads, tid)
				delete(t.owner, tid)
			}
		}
		if len(v.threads) == 0 || t.paused[pid] != v || time.Now().After(deadline) {
			break
		}
		timer.Reset(time.Millisecond)
		select {
		case <-timer.C:
		case <-t.gone:
			return
		}
	}
	if t.paused[pid] == v {
		delete(t.paused, pid)
	}
}

func (t *tracer) releaseAll() {
	for _, v := range t.paused {
		t.release(v)
	}
}

// ptrace is the raw call; data is a number, not an address, in every request that is used here.
func ptrace(op, tid int, addr, data uintptr) error {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(op), uintptr(tid), addr, data, 0, 0); e != 0 {
		return e
	}
	return nil
}

// threadState is a thread's state letter, 0 where it is gone. /proc/TID answers too, though it is not listed.
func threadState(pid, tid int) byte {
	if leaderOf(tid) != pid {
		return 0
	}
	p, err := target.ReadThread(pid, tid)
	if err != nil {
		return 0
	}
	return p.State
}

func leaderOf(tid int) int {
	pid, err := target.Leader(tid)
	if err != nil {
		return 0
	}
	return pid
}
