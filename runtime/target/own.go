package target

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Own knows the processes that an experiment must not hit, or it would saw off the branch that it sits on: this process,
// its ancestors (sudo, make, the shell that typed it), and everything that runs this very program: helpers, guardians,
// other runs. Processes that a script started are not among them.
type Own struct {
	self      int
	ancestors map[int]bool
	exe       os.FileInfo
}

// Spared says in words what Forbidden keeps actions from.
const Spared = "init, kernel threads, chaos itself with its helpers, and what chaos was started by"

// NewOwn looks around once; it is good for one selection.
func NewOwn() *Own {
	o := &Own{self: os.Getpid(), ancestors: map[int]bool{}}
	// Through the link, not by its text: the file may have been replaced or deleted since.
	o.exe, _ = os.Stat("/proc/self/exe")
	for pid := os.Getppid(); pid > 0 && !o.ancestors[pid]; {
		o.ancestors[pid] = true
		p, err := ReadProcess(pid)
		if err != nil {
			break
		}
		pid = p.PPid
	}
	return o
}

// Why tells in plain words why a process is one of ours; "" for any other.
func (o *Own) Why(p Process) string {
	switch {
	case p.Pid == o.self:
		return "is chaos itself"
	case o.ancestors[p.Pid]:
		return "is what started chaos"
	}
	if o.exe == nil || p.Kernel {
		return ""
	}
	if exe, err := os.Stat("/proc/" + strconv.Itoa(p.Pid) + "/exe"); err == nil && os.SameFile(exe, o.exe) {
		return "is chaos itself or a helper of it"
	}
	return ""
}

// Forbidden tells in plain words why no action may touch a process; "" where it may.
func (o *Own) Forbidden(p Process) string {
	switch {
	case p.Pid <= 1:
		return "is the init process: the whole machine or container hangs on it"
	case p.Kernel:
		return "is a kernel thread"
	}
	return o.Why(p)
}

// Tracer is the pid of the process that traces another, 0 for none. TracerPid of proc_pid_status(5) names the thread that
// attached.
func Tracer(pid int) (int, error) {
	text, err := statusField(pid, "TracerPid:")
	if err != nil {
		return 0, err
	}
	thread, err := strconv.Atoi(text)
	if err != nil || thread == 0 {
		return 0, err
	}
	if leader, err := Leader(thread); err == nil {
		return leader, nil
	}
	return thread, nil
}

func statusField(pid int, name string) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return "", ErrGone
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(text), nil
		}
	}
	return "", errors.New("/proc/PID/status has no " + name)
}

// PtraceRefused tells in plain words why this process may not trace another, as far as can be seen without trying; ""
// where it may. See "Ptrace access mode checking" and ptrace_scope in ptrace(2).
func PtraceRefused(pid int) string {
	scope := yamaScope()
	if scope == 3 {
		return "kernel.yama.ptrace_scope is 3, which forbids ptrace until the next boot"
	}
	// Asked of a process that cannot be: a system that knows the call says ESRCH, a container's filter something else.
	if _, _, err := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, 0, 0, 0, 0, 0); err != unix.ESRCH {
		return "ptrace is switched off here, as by a container's seccomp profile"
	}
	if caps, err := statusField(os.Getpid(), "CapEff:"); err == nil {
		if bits, err := strconv.ParseUint(caps, 16, 64); err == nil && bits&(1<<unix.CAP_SYS_PTRACE) != 0 {
			return ""
		}
	}
	if scope >= 1 {
		return "kernel.yama.ptrace_scope is " + strconv.Itoa(scope) + " and this user lacks CAP_SYS_PTRACE"
	}
	uids, err := statusField(pid, "Uid:")
	if err != nil {
		return ""
	}
	for _, uid := range strings.Fields(uids)[:3] {
		if uid != strconv.Itoa(os.Getuid()) {
			return "the process belongs to another user and this one lacks CAP_SYS_PTRACE"
		}
	}
	// The kernel asks the same for this link, nearly: it also knows of processes that made themselves undumpable, such as
	// ssh-agent, and of those with capabilities that this one lacks.
	if _, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); errors.Is(err, unix.EACCES) {
		return "the process keeps others of its user out (see PR_SET_DUMPABLE in prctl(2)), and this one lacks CAP_SYS_PTRACE"
	}
	return ""
}

func yamaScope() int {
	data, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return 0 // a kernel without yama
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}
