package target

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is one line of /proc/PID/stat, as of when it was read; see proc(5).
type Process struct {
	Pid     int
	PPid    int
	Group   int // process group
	Session int
	State   byte   // R S D T t Z X I
	Comm    string // at most 15 bytes, set by the program
	Start   uint64 // clock ticks since boot
	Threads int
	Kernel  bool // a kernel thread
	Exiting bool // on its way to its end
}

// ErrGone says that a process does not exist (any more), or that its pid belongs to another one by now.
var ErrGone = errors.New("the process is gone")

// kernelThread is PF_KTHREAD of include/linux/sched.h, in field 9 of /proc/PID/stat.
const kernelThread = 0x00200000

// exiting is PF_EXITING, of the same file and field.
const exiting = 0x00000004

// Ending tells that a process is on its way to its end, but there still: a zombie, exiting, or yet to take a SIGKILL.
func Ending(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	data, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return false
	}
	p, err := parseStat(data)
	if err != nil {
		return false
	}
	if p.Zombie() || p.Exiting {
		return true
	}
	status, _ := os.ReadFile(dir + "/status")
	for line := range strings.Lines(string(status)) {
		name, bits, _ := strings.Cut(line, ":")
		pending, err := strconv.ParseUint(strings.TrimSpace(bits), 16, 64)
		if (name == "SigPnd" || name == "ShdPnd") && err == nil && pending&(1<<(unix.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}

// ReadProcess reads one process. The error is ErrGone where there is none.
func ReadProcess(pid int) (Process, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, fmt.Errorf("pid %d: %w", pid, ErrGone)
	}
	return parseStat(data)
}

// parseStat reads a line of /proc/PID/stat. The second field may itself hold spaces and parentheses, so the last closing
// one ends it.
func parseStat(data []byte) (Process, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Process{}, errors.New("/proc/PID/stat: unexpected format")
	}
	f := strings.Fields(string(data[end+1:]))
	if len(f) < 20 {
		return Process{}, errors.New("/proc/PID/stat: unexpected format")
	}
	num := func(s string) int { n, _ := strconv.Atoi(s); return n }
	start, _ := strconv.ParseUint(f[19], 10, 64)
	return Process{
		Pid: num(strings.TrimSpace(string(data[:open]))), PPid: num(f[1]), Group: num(f[2]), Session: num(f[3]),
		State: f[0][0], Comm: string(data[open+1 : end]), Start: start, Threads: num(f[17]), Kernel: num(f[6])&kernelThread != 0,
		Exiting: num(f[6])&exiting != 0,
	}, nil
}

// Processes lists all processes, in the order of their pids.
func Processes() ([]Process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]Process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := ReadProcess(pid); err == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Process) int { return a.Pid - b.Pid })
	return out, nil
}

// Zombie tells a process that has ended. A leader that left while other threads run on shows as Z as well, but its
// process lives.
func (p Process) Zombie() bool {
	return (p.State == 'Z' || p.State == 'X' || p.State == 'x') && p.Threads <= 1
}

// Paused tells a process that is stopped by a signal (T) or by a tracer (t).
func (p Process) Paused() bool { return p.State == 'T' || p.State == 't' }

// CommandLine is the arguments joined by spaces; a process without any (a kernel thread, a zombie) has its name in brackets.
func (p Process) CommandLine() string {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(p.Pid) + "/cmdline")
	line := strings.TrimSpace(strings.ReplaceAll(strings.TrimRight(string(data), "\x00"), "\x00", " "))
	if line == "" {
		return "[" + p.Comm + "]"
	}
	return line
}

// Describe is for people: the pid and the beginning of the command line.
func (p Process) Describe() string {
	const most = 60
	line := []rune(p.CommandLine())
	if len(line) > most {
		return fmt.Sprintf("%d (%s…)", p.Pid, string(line[:most]))
	}
	return fmt.Sprintf("%d (%s)", p.Pid, string(line))
}

// Identity is who this process is.
func (p Process) Identity() Identity {
	return Identity{Kind: "process", ID: strconv.Itoa(p.Pid), Name: p.Comm, Boot: Boot(), Start: p.Start}
}

// Environ reads /proc/PID/environ: the environment at the time of exec, where the program has not overwritten it.
func (p Process) Environ() ([]string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid) + "/environ")
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == 0 }), nil
}

// Descendants lists the processes below pid, parents before their children, zombies too.
func Descendants(pid int) ([]Process, error) {
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	return Below(all, pid), nil
}

// Below picks the descendants of pid from a listing, parents before their children.
func Below(all []Process, pid int) []Process {
	children := map[int][]Process{}
	for _, p := range all {
		children[p.PPid] = append(children[p.PPid], p)
	}
	out := slices.Clone(children[pid])
	seen := map[int]bool{pid: true}
	for i := 0; i < len(out); i++ {
		// A listing is no snapshot: with pids reused meanwhile it could hold a cycle.
		if seen[out[i].Pid] {
			continue
		}
		seen[out[i].Pid] = true
		out = append(out, children[out[i].Pid]...)
	}
	return out
}

// ReadThread reads one thread of a process; its Pid is the thread's id.
func ReadThread(pid, tid int) (Process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
	if err != nil {
		return Process{}, fmt.Errorf("thread %d: %w", tid, ErrGone)
	}
	return parseStat(data)
}

// Leader is the pid of the process that a thread belongs to.
func Leader(tid int) (int, error) {
	text, err := statusField(tid, "Tgid:")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// Threads lists the ids of a process' threads.
func Threads(pid int) ([]int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, fmt.Errorf("pid %d: %w", pid, ErrGone)
	}
	tids := make([]int, 0, len(entries))
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	slices.Sort(tids)
	return tids, nil
}

// Moving lists the threads of a process that are not stopped, with their states; a thread that has ended does not count.
func Moving(pid int) ([]string, error) {
	tids, err := Threads(pid)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, tid := range tids {
		if t, err := ReadThread(pid, tid); err == nil && !t.Paused() && t.State != 'Z' && t.State != 'X' {
			out = append(out, fmt.Sprintf("%d (state %c)", tid, t.State))
		}
	}
	return out, nil
}
