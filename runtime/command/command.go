// Package command runs one command to its end, in a process group of its own, and never leaves it behind: at the end of
// its time, or of the run, the whole group is ended, and when the runner is killed the kernel kills the command.
package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"chaos/lang/value"
)

const (
	maxOutput = 1 << 20                // bytes of each stream that a result keeps, from its start
	tailSize  = 4 << 10                // bytes of standard error kept from its end, for messages
	grace     = 200 * time.Millisecond // from SIGTERM to SIGKILL
	drain     = 500 * time.Millisecond // how long output is read after a plain end, when a child of the command holds the pipe
	drainCut  = 50 * time.Millisecond  // the same after the command was killed
)

// Spec is a command, ready to run.
type Spec struct {
	Command string            // as the script wrote it, for messages
	Path    string            // what Find found
	Args    []string          // without the command itself
	Dir     string            // where it runs
	Env     map[string]string // on top of the runner's own
	Stdin   string
	Timeout time.Duration
	// Sweep kills what the command left in its process group when it ends by itself. A probe must not collect litter; an
	// action may start something on purpose.
	Sweep bool
	// Run is the folder of the run whose probe it is, "" for none: EndLitter finds by it what hid from the sweep.
	Run string
}

// Result is how a command ended.
type Result struct {
	Code    int    // as a shell shows it: 128 plus the number of the signal that killed it
	Signal  string // "KILL", "" for a plain exit
	Stdout  string // valid UTF-8, the first MiB
	Stderr  string
	Tail    string // the last lines of standard error
	Elapsed time.Duration
	Left    bool // something that it started may run on; false says that nothing does, but in a session of its own
}

// TimeoutError tells that a command was ended because its time was up.
type TimeoutError struct {
	Command string
	Within  time.Duration
	Tail    string
}

func (e *TimeoutError) Error() string {
	text := fmt.Sprintf("`%s` did not end within %s and was killed", e.Command, value.DurationOf(e.Within))
	if e.Tail != "" {
		text += ": " + e.Tail
	}
	return text
}

// MissingError tells that there is no such command.
type MissingError struct {
	Command string
	Why     string // "is not in the PATH"
	Hint    string
}

func (e *MissingError) Error() string {
	text := fmt.Sprintf("`%s` %s", e.Command, e.Why)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Remedy is what would help, for a plan that lists what is missing.
func (e *MissingError) Remedy() string {
	if e.Hint != "" {
		return e.Hint
	}
	if strings.Contains(e.Command, "/") {
		return fmt.Sprintf("it %s; a relative path starts at the script's folder", e.Why)
	}
	return "install it, or add its folder to the PATH"
}

// Environment reads the variables that a script sets: strings as they are, everything else as the language prints it.
func Environment(given map[string]value.Value) (map[string]string, error) {
	out := make(map[string]string, len(given))
	for name, v := range given {
		text, ok := v.V.(string)
		if !ok && v.V != nil {
			text = v.String()
		}
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, fmt.Errorf("`env`: %s is no name of a variable", value.Quote(name))
		}
		if strings.Contains(text, "\x00") {
			return nil, fmt.Errorf("`env`: the value of %s holds a zero byte", name)
		}
		out[name] = text
	}
	return out, nil
}

// Find resolves a command as a script names it: one with a slash starts at the script's folder, a bare name is looked up
// in the PATH. The error is a *MissingError.
func Find(scriptDir, command string) (string, error) {
	missing := func(why, hint string) error {
		if first, rest, ok := strings.Cut(strings.TrimSpace(command), " "); ok && hint == "" {
			hint = fmt.Sprintf("a command takes its arguments as `args`: %s, args: [%s]", value.Quote(first), quoteAll(strings.Fields(rest)))
		}
		return &MissingError{Command: command, Why: why, Hint: hint}
	}
	if command == "" {
		return "", missing("is no command", "it is empty")
	}
	if !strings.Contains(command, "/") {
		path, err := exec.LookPath(command)
		if err != nil {
			hint := ""
			if _, err := os.Stat(filepath.Join(scriptDir, command)); err == nil && !strings.Contains(command, " ") {
				hint = fmt.Sprintf("the file beside the script is `./%s`", command)
			}
			return "", missing("is not in the PATH", hint)
		}
		return filepath.Abs(path)
	}
	path := Resolve(scriptDir, command)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", missing("does not exist", "")
	case err != nil:
		return "", missing("cannot be looked at", "")
	case info.IsDir():
		return "", missing("is a folder", "")
	case unix.Access(path, unix.X_OK) != nil:
		return "", missing("is not executable", "`chmod +x` makes it so")
	}
	return path, nil
}

// Resolve is a path of a script, absolute: a relative one starts at the script's folder.
func Resolve(scriptDir, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(scriptDir, path)
	}
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

// Line is the command as a person would type it.
func Line(command string, args []string) string {
	words := []string{command}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`|&;<>()*?") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func quoteAll(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = value.Quote(w)
	}
	return strings.Join(out, ", ")
}

// Run runs the command. A plain end, whatever its code, is a result. The error is a *TimeoutError, the context's cause when
// it ended first, or says why the command could not be started.
func Run(ctx context.Context, s Spec) (Result, error) {
	if err := context.Cause(ctx); err != nil {
		return Result{}, err
	}
	// Pdeathsig follows the thread that forked, not the process (prctl(2)): this thread must live as long as the command. It is
	// the caller's, as handing over to a goroutine and back costs a tenth of a step.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return run(ctx, s)
}

func run(ctx context.Context, s Spec) (Result, error) {
	out, err := openOutput()
	if err != nil {
		return Result{}, fmt.Errorf("`%s` cannot be started: %w", s.Command, err)
	}
	defer out.close()
	in, err := openInput(s.Stdin)
	if err != nil {
		return Result{}, fmt.Errorf("`%s` cannot be started: %w", s.Command, err)
	}
	defer in.close()
	// With the system call instead of os/exec, which reads an environment into a map first and asks of each file what can be
	// done with it. See noPidfd.
	pidfd := -1
	start := time.Now()
	pid, _, err := syscall.StartProcess(s.Path, append([]string{s.Command}, s.Args...), &syscall.ProcAttr{
		Dir: s.Dir, Env: s.environ(), Files: []uintptr{uintptr(in.theirs), uintptr(out.theirs[0]), uintptr(out.theirs[1])},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd},
	})
	if err != nil {
		return Result{}, startError(s, err)
	}
	if pidfd >= 0 {
		defer unix.Close(pidfd)
	}
	if was, ok := os.LookupEnv(oomBefore); ok {
		os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(was), 0)
	}
	// From here on, the child's pid is also its group's.
	g := &group{pid: pid}
	e := &ender{group: g}
	limit := time.AfterFunc(s.Timeout, func() { e.end(&TimeoutError{Command: s.Command, Within: s.Timeout}) })
	unwatch := context.AfterFunc(ctx, func() { e.end(context.Cause(ctx)) })
	in.write(s.Stdin)
	out.readUntilExit(pid, pidfd)
	elapsed := time.Since(start)
	limit.Stop()
	unwatch()
	cause := e.stop()
	// The leader is dead but not reaped: its pid, and with it the group's number, cannot belong to anybody else yet.
	if cause != nil || s.Sweep {
		g.signal(unix.SIGKILL)
	}
	if cause != nil {
		out.readFor(drainCut)
	} else {
		out.readFor(drain)
	}
	in.waitFor(drainCut)
	status, err := reap(pid)
	if err != nil {
		return Result{}, fmt.Errorf("`%s` was lost: the machine does not tell how it ended", s.Command)
	}
	left := out.open() || !errors.Is(unix.Kill(-g.pid, 0), unix.ESRCH) || mayHaveLeft(pid, elapsed) // reaped, so the leader itself counts no more
	r := Result{Stdout: out.stdout.text(), Stderr: out.stderr.text(), Tail: out.stderr.lastLines(), Elapsed: elapsed, Left: left}
	if status.Signaled() {
		r.Code = 128 + int(status.Signal())
		r.Signal = strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
	} else {
		r.Code = status.ExitStatus()
	}
	var timeout *TimeoutError
	if errors.As(cause, &timeout) {
		timeout.Tail = r.Tail
	}
	return r, cause
}

// environ is the environment of the command: the runner's own, and on top what the script sets.
func (s Spec) environ() []string {
	more := make([]string, 0, len(s.Env)+1)
	for name, v := range s.Env {
		more = append(more, name+"="+v)
	}
	if s.Run != "" {
		more = append(more, litter(s.Run))
	}
	// Of a name that is there twice, some programs see the first and some the last.
	replaced := func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == oomBefore || slices.ContainsFunc(more, func(m string) bool { return strings.HasPrefix(m, name) && m[len(name)] == '=' })
	}
	return slices.Concat(slices.DeleteFunc(os.Environ(), replaced), more)
}

// reap waits for a child that has ended.
func reap(pid int) (status unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			return status, err
		}
	}
}

// mayHaveLeft tells whether a process lives that may be a child of a command which was reaped: one can be in a process group of
// its own, as timeout(1) and what a shell with `set -m` starts are. Pids are given in order, so only those behind the command's
// are asked for, which is much cheaper than a look at all.
func mayHaveLeft(pid int, elapsed time.Duration) bool {
	const few, short = 1000, time.Second // too few and too short for pids to begin anew and come up to this one again

	fd, err := unix.Open("/proc/sys/kernel/ns_last_pid", unix.O_RDONLY|unix.O_CLOEXEC, 0) // os.ReadFile takes three times as long
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	var text [16]byte
	n, _ := unix.Read(fd, text[:])
	last, err := strconv.Atoi(strings.TrimSpace(string(text[:max(n, 0)])))
	if err != nil || elapsed > short || last < pid || last-pid > few {
		return true
	}
	ours, _ := unix.Getsid(0)
	for p := pid + 1; p <= last; p++ {
		if session, err := unix.Getsid(p); err == nil && session == ours {
			return true
		}
	}
	return false
}

func startError(s Spec, err error) error {
	why := "cannot be started"
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		why = "is neither a program nor a script that starts with `#!`"
	case errors.Is(err, syscall.EACCES):
		why = "may not be executed"
	case errors.Is(err, syscall.E2BIG):
		why = "has too many arguments"
	case errors.Is(err, syscall.EAGAIN):
		why = "cannot be started: too many processes"
	case errors.Is(err, syscall.ETXTBSY):
		why = "is being written to"
	case errors.Is(err, fs.ErrNotExist):
		if info, statErr := os.Stat(s.Dir); statErr != nil || !info.IsDir() {
			return fmt.Errorf("`%s` cannot be started in %s: there is no such folder", s.Command, s.Dir)
		}
		why = "does not exist, or the interpreter that its first line names does not"
	case errors.Is(err, syscall.EINVAL):
		why = "has an argument that no command can take: it holds a zero byte"
	}
	return fmt.Errorf("`%s` %s", s.Command, why)
}

// group is a process group whose leader is not yet reaped.
type group struct{ pid int }

func (g *group) signal(s syscall.Signal) { _ = unix.Kill(-g.pid, s) }

// ender ends a group early, once, for the first cause that is given. There is no goroutine that waits for one: waking it
// at the end of each command costs 50 µs, a twentieth of a step (`go test -bench . ./runtime/command`).
type ender struct {
	group *group
	mu    sync.Mutex
	over  bool        // the leader has ended: nobody may be signalled any more
	cause error       // why it was ended, nil while it was not
	kill  *time.Timer // SIGKILL, after the grace
}

// end asks the group to end, and makes it some time later.
func (e *ender) end(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.cause != nil {
		return
	}
	e.cause = cause
	e.group.signal(unix.SIGTERM)
	e.kill = time.AfterFunc(grace, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.over {
			e.group.signal(unix.SIGKILL)
		}
	})
}

// stop says that the leader has ended, and returns why it had to, or nil.
func (e *ender) stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	if e.kill != nil {
		e.kill.Stop()
	}
	return e.cause
}
