package hold

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"chaos/runtime/oom"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

type phase int

const (
	phaseDown     phase = iota
	phaseRunning        // the main process exists
	phaseWaiting        // died, to be started again
	phaseStopping       // signalled, to be gone
)

// service is one supervised process with what it started. Its methods run on the supervisor's loop.
type service struct {
	owner    *supervisor
	key      string
	spec     Spec
	signal   unix.Signal
	state    State
	phase    phase
	pid      int            // of the main process, 0 while there is none
	groups   map[int]bool   // process groups and sessions that its processes made
	orphans  map[int]uint64 // adopted processes of it, by pid, with their start times
	told     map[int]uint64 // stopping: who has got the stop signal, by pid, with their start times
	starts   []time.Time    // within the start limit's interval
	startAt  time.Time      // waiting: when the next start is due
	killAt   time.Time      // stopping: when the grace is over
	giveUpAt time.Time      // stopping: when SIGKILL has proved to be of no use
	stoppers []int64        // requests to answer once it is down
	again    []int64        // requests to answer once it is down and started again
	watch    *oom.Case      // of the main process
	inquest  *inquest       // into its latest end, while that is open
}

func newService(s *supervisor, key string, spec Spec) *service {
	sig, err := target.Signal(spec.StopSignal)
	if err != nil {
		sig = unix.SIGTERM
	}
	return &service{owner: s, key: key, spec: spec, signal: sig, groups: map[int]bool{}, orphans: map[int]uint64{}, told: map[int]uint64{}}
}

// launch starts the main process, if the start limit allows. It reports the new state.
func (v *service) launch() error {
	defer v.push()
	now := time.Now()
	v.starts = slices.DeleteFunc(v.starts, func(t time.Time) bool { return now.Sub(t) >= v.spec.StartLimitInterval })
	if v.spec.StartLimit > 0 && len(v.starts) >= v.spec.StartLimit {
		v.phase, v.state.GaveUp = phaseDown, true
		v.state.Problem = fmt.Sprintf("%s gave up: %d starts within %s", v.spec.Name, len(v.starts), v.spec.StartLimitInterval)
		return errors.New(v.state.Problem)
	}
	v.starts = append(v.starts, now)
	watch := v.owner.oom.Begin()
	pid, err := v.fork()
	if err != nil {
		v.state.Problem = err.Error()
		v.phase = phaseDown
		if v.spec.Restart && v.state.Since != (time.Time{}) {
			v.phase, v.startAt = phaseWaiting, now.Add(v.spec.RestartDelay)
		}
		return err
	}
	if v.state.Since != (time.Time{}) {
		v.state.Restarts++
	}
	watch.Pid = pid
	v.pid, v.phase, v.watch = pid, phaseRunning, watch
	v.groups[pid] = true
	v.state.Running, v.state.Pid, v.state.Since = true, pid, now
	v.state.Stopped, v.state.GaveUp, v.state.Problem = false, false, ""
	if p, err := target.ReadProcess(pid); err == nil {
		v.state.Start = p.Start
	}
	return nil
}

// fork executes the command in a process group of its own, to die with this thread; see Pdeathsig in prctl(2).
func (v *service) fork() (int, error) {
	if info, err := os.Stat(v.spec.Dir); err != nil || !info.IsDir() {
		return 0, fmt.Errorf("cannot start %s: there is no folder %s", v.spec.Command, v.spec.Dir)
	}
	files := make([]*os.File, 0, 3)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	open := func(name string, flag int) error {
		if name == "" {
			name = os.DevNull
		}
		f, err := os.OpenFile(name, flag, 0o600)
		if err != nil {
			return fmt.Errorf("cannot start %s: %w", v.spec.Command, err)
		}
		files = append(files, f)
		return nil
	}
	const appending = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if err := errors.Join(open(os.DevNull, os.O_RDONLY), open(v.spec.Stdout, appending), open(v.spec.Stderr, appending)); err != nil {
		return 0, err
	}
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	args := append([]string{cmp.Or(v.spec.Arg0, v.spec.Command)}, v.spec.Args...)
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	attr := &syscall.ProcAttr{Dir: v.spec.Dir, Env: v.environ(), Files: fds, Sys: sys}
	if v.owner.door != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, int(v.owner.door.Fd())
	}
	pid, err := syscall.ForkExec(v.spec.Command, args, attr)
	if err != nil && sys.UseCgroupFD { // a kernel or a seccomp profile without CLONE_INTO_CGROUP; see clone(2)
		sys.UseCgroupFD = false
		pid, err = syscall.ForkExec(v.spec.Command, args, attr)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot start %s: %s", v.spec.Command, execProblem(v.spec.Command, err))
	}
	return pid, nil
}

// execProblem puts execve(2)'s numbers in plain words.
func execProblem(command string, err error) string {
	_, missing := os.Stat(command)
	switch {
	case errors.Is(err, syscall.ENOENT) && missing == nil:
		return "the interpreter named in its first line, or its loader, does not exist"
	case errors.Is(err, syscall.ENOENT):
		return "no such file"
	case errors.Is(err, syscall.EACCES):
		return "permission denied; is it an executable file?"
	case errors.Is(err, syscall.ENOEXEC):
		return "it is no program of this machine; a script needs a first line such as #!/bin/sh"
	}
	return err.Error()
}

func (v *service) environ() []string {
	set := maps.Clone(v.spec.Env)
	if set == nil {
		set = map[string]string{}
	}
	set[markVar] = v.key
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		_, replaced := set[name]
		return replaced
	})
	for _, name := range slices.Sorted(maps.Keys(set)) {
		env = append(env, name+"="+set[name])
	}
	return env
}

// exited notes the end of the main process.
func (v *service) exited(status unix.WaitStatus) {
	v.pid = 0
	v.state.Running, v.state.Pid, v.state.Start, v.state.Exited = false, 0, 0, true
	v.state.ExitCode, v.state.Signal = status.ExitStatus(), ""
	if status.Signaled() {
		// As shells count, so that one number tells both.
		v.state.ExitCode, v.state.Signal = 128+int(status.Signal()), target.SignalName(status.Signal())
	}
	v.inquire(status.Signal())
	if v.phase == phaseRunning {
		v.phase = phaseDown
		if v.spec.Restart {
			v.phase, v.startAt = phaseWaiting, time.Now().Add(v.spec.RestartDelay)
			kill(v.left())
		}
	}
	v.push()
}

// members picks this service's processes from the descendants of the helper, which list parents before children.
func (v *service) members(all []target.Process) []target.Process {
	in := map[int]bool{}
	var out []target.Process
	// A second pass finds the siblings of what only the first one taught a group of.
	for range 2 {
		for _, p := range all {
			if in[p.Pid] || !v.owns(p, in) {
				continue
			}
			in[p.Pid] = true
			out = append(out, p)
			for _, g := range []int{p.Group, p.Session} {
				if g != v.owner.self.Session && g != v.owner.self.Group {
					v.groups[g] = true
				}
			}
		}
	}
	return out
}

func (v *service) owns(p target.Process, in map[int]bool) bool {
	if p.Pid == v.pid || in[p.PPid] || v.groups[p.Group] || v.groups[p.Session] || v.orphans[p.Pid] == p.Start {
		return true
	}
	env, err := p.Environ()
	return err == nil && slices.Contains(env, markVar+"="+v.key)
}

// left lists its processes now, those too that have ended and wait for their parents.
func (v *service) left() []target.Process {
	all, err := target.Descendants(v.owner.self.Pid)
	if err != nil {
		return nil
	}
	return v.members(all)
}

// stop signals everything that it runs; step sees to the rest.
func (v *service) stop(id int64) {
	if id != 0 {
		v.stoppers = append(v.stoppers, id)
	}
	if v.phase == phaseStopping {
		return
	}
	now := time.Now()
	v.phase, v.state.Stopped = phaseStopping, true
	v.killAt, v.giveUpAt = now.Add(v.spec.Grace), now.Add(v.spec.Grace+stubborn)
	for _, p := range v.left() {
		v.tell(p)
	}
}

// tell asks a process to end, once.
func (v *service) tell(p target.Process) {
	if p.Zombie() || v.told[p.Pid] == p.Start {
		return
	}
	v.told[p.Pid] = p.Start
	_ = p.Identity().Signal(v.signal)
	if p.Paused() {
		_ = p.Identity().Signal(unix.SIGCONT) // or it would never see the signal
	}
}

// tellOrphans asks those to end whom nobody has asked: what a parent forked between our look at it and its end knows
// nothing, and would stay for the whole grace. What a process starts in order to end in good order has a parent, and is
// left alone.
func (v *service) tellOrphans(left []target.Process) {
	fresh := map[int]bool{v.owner.self.Pid: true}
	for _, p := range left {
		if fresh[p.PPid] && v.told[p.Pid] != p.Start {
			fresh[p.Pid] = true // and so what it has started already
			v.tell(p)
		}
	}
}

// restart stops what runs and starts anew, with a fresh start limit.
func (v *service) restart(id int64) {
	v.again = append(v.again, id)
	v.stop(0)
}

// step goes on with what is under way, and says when to be called again at the latest; the zero time: not before something
// happens.
func (v *service) step(now time.Time) time.Time {
	at := v.proceed(now)
	if due := v.investigate(now); at.IsZero() || !due.IsZero() && due.Before(at) {
		at = due
	}
	return at
}

func (v *service) proceed(now time.Time) time.Time {
	switch v.phase {
	case phaseWaiting:
		// The old processes must not hold the port that the new ones need.
		if left := v.left(); len(left) > 0 && now.Before(v.startAt.Add(stubborn)) {
			kill(left)
			return now.Add(poll)
		}
		if now.Before(v.startAt) {
			return v.startAt
		}
		_ = v.launch() // it reports
		if v.phase == phaseWaiting {
			return v.startAt
		}
	case phaseStopping:
		left := v.left()
		switch {
		case len(left) == 0:
			v.stopped(nil)
		case now.After(v.giveUpAt):
			v.stopped(fmt.Errorf("%s: still there after SIGKILL: %s", v.spec.Name, describe(left)))
		default:
			if now.Before(v.killAt) {
				v.tellOrphans(left)
			} else {
				kill(left)
			}
			return now.Add(poll)
		}
	}
	return time.Time{}
}

// stopped answers those who waited for the end, and starts again if that was the point.
func (v *service) stopped(err error) {
	v.phase = phaseDown
	clear(v.groups)
	clear(v.orphans)
	clear(v.told)
	stoppers, again := v.stoppers, v.again
	v.stoppers, v.again = nil, nil
	v.push()
	if err == nil && len(again) > 0 {
		v.starts = nil
		err = v.launch()
	}
	for _, id := range stoppers {
		v.owner.out.answer(id, err)
	}
	for _, id := range again {
		v.owner.out.answer(id, err)
	}
}

func (v *service) push() {
	state := v.state
	v.owner.out.send(report{Event: eventState, Service: v.key, State: &state})
}

// absolute makes a path independent of the folder that the helper runs in.
func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
