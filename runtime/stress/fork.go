package stress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"chaos/runtime/cgroup"

	"golang.org/x/sys/unix"
)

// Fork keeps many processes, and may replace them one after the other. All are in a cgroup that limits how many there can be,
// and in a PID namespace of their own: when its first process ends, the kernel ends all of them. See pid_namespaces(7).
type Fork struct {
	Count int      `json:"count"`
	Rate  float64  `json:"rate,omitempty"` // how many a second end and are forked anew
	Join  []string `json:"join"`           // the folders of the cgroup
	Keep  int      `json:"keep"`           // how many more processes can be started in any case; below, all end
}

// Room is how many more processes and threads the kernel would start now in these cgroups, and how many there can be in all;
// see pid_max and threads-max in proc_sys_kernel(5), and pids.max, by which a container is kept small, in cgroup-v2.rst.
func Room(cgroups ...string) (room, most int, err error) {
	most, err = sysctl("kernel/pid_max")
	if err != nil {
		return 0, 0, err
	}
	if threads, err := sysctl("kernel/threads-max"); err == nil {
		most = min(most, threads)
	}
	data, err := os.ReadFile("/proc/loadavg") // the fourth is "running/existing", threads and all
	if err != nil {
		return 0, 0, err
	}
	col := strings.Fields(string(data))
	if len(col) < 4 {
		return 0, 0, errors.New("/proc/loadavg cannot be read")
	}
	_, existing, _ := strings.Cut(col[3], "/")
	n, err := strconv.Atoi(existing)
	room = most - n
	for _, dir := range cgroups {
		limit, err := number(filepath.Join(dir, "pids.max"))
		if err != nil {
			continue // "max", or the root, which has none
		}
		now, err := number(filepath.Join(dir, "pids.current"))
		if err != nil {
			return 0, 0, err
		}
		room, most = min(room, limit-now), min(most, limit)
	}
	return room, most, err
}

func sysctl(name string) (int, error) { return number(filepath.Join("/proc/sys", name)) }

func number(file string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.Fields(string(data) + " -")[0])
}

func (f *Fork) run(say func(string)) error {
	if f.Count < 1 || len(f.Join) == 0 {
		return errors.New("the stressor got an order that makes no sense")
	}
	var above []string
	for _, dir := range f.Join {
		if err := cgroup.Join(dir); err != nil {
			return err
		}
		above = append(above, filepath.Dir(dir))
	}
	// The first process of the namespace is to end with this thread; see PR_SET_PDEATHSIG in prctl(2).
	runtime.LockOSThread()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	pause := int64(0)
	if f.Rate > 0 {
		pause = int64(float64(time.Second) / f.Rate)
	}
	first, e := crowd(make([]int, f.Count), pair[0], pair[1], pause)
	if e != 0 {
		return fmt.Errorf("a PID namespace: %w", e)
	}
	unix.Close(pair[1])
	var told [16]byte
	if n, err := unix.Read(pair[0], told[:]); err != nil || n != len(told) {
		return errors.Join(errors.New("the processes ended before they were all there"), err)
	}
	started, e := binary.NativeEndian.Uint64(told[:8]), syscall.Errno(binary.NativeEndian.Uint64(told[8:]))
	if e != 0 {
		return fmt.Errorf("the kernel starts no more than %d processes: %w", started, e)
	}
	say(fmt.Sprintf("%s %d", saidFull, started))
	for range time.Tick(watch) {
		if pid, err := unix.Wait4(first, nil, unix.WNOHANG, nil); err == nil && pid == first {
			return errors.New("somebody has ended the processes")
		}
		room, _, err := Room(above...)
		if err == nil && room < f.Keep {
			return fmt.Errorf("it ended by itself: the kernel would start no more than %d processes, and the floor is %d", room, f.Keep)
		}
	}
	return nil
}

// crowd forks the first process of a new PID namespace, and that forks the others. Forks without exec are not for Go: a
// child has one thread and no working runtime. So what children do is system calls and nothing else, without growing the
// stack (nosplit), as between fork and exec in Go's own syscall package. Only the caller returns.
//
//go:norace
//go:nosplit
func crowd(pids []int, mine, theirs int, pause int64) (first int, e syscall.Errno) {
	pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_NEWPID|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if pid != 0 || e != 0 {
		return int(pid), e
	}
	syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(mine), 0, 0)
	told := [2]uint64{}
	for i := range pids {
		pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if e != 0 {
			told[1] = uint64(e)
			break
		}
		if pid == 0 {
			idle()
		}
		pids[i] = int(pid)
		told[0]++
	}
	// A parent that died before the prctl above is noticed here; MSG_NOSIGNAL, as a signal would want Go's handler.
	_, _, e = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(theirs), uintptr(unsafe.Pointer(&told)), unsafe.Sizeof(told), unix.MSG_NOSIGNAL, 0, 0)
	if e != 0 || told[1] != 0 {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
	if pause == 0 {
		idle()
	}
	ts := unix.Timespec{Sec: pause / 1e9, Nsec: pause % 1e9}
	for i := 0; ; i = (i + 1) % len(pids) {
		syscall.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		syscall.RawSyscall(unix.SYS_KILL, uintptr(pids[i]), uintptr(unix.SIGKILL), 0)
		syscall.RawSyscall6(unix.SYS_WAIT4, uintptr(pids[i]), 0, 0, 0, 0, 0)
		pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if e != 0 {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
		}
		if pid == 0 {
			idle()
		}
		pids[i] = int(pid)
	}
}

// idle waits for the end.
//
//go:norace
//go:nosplit
func idle() {
	for {
		syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
