package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

type usageArgs struct{ target.Selector }

// Usage is what a process takes of the machine. Rates are counted since the sample before, of the same process; so the
// first one has none, nor has the first after a restart.
type Usage struct {
	CPU     *value.RatioV     `chaos:"cpu" help:"processor time per time since the sample before: 100% is one core; absent in the first sample and after a restart"`
	RSS     value.SizeV       `chaos:"rss" help:"memory that it has in RAM, what it shares with others included"`
	Threads int               `chaos:"threads" help:"its threads"`
	FDs     *int              `chaos:"fds" help:"its open file descriptors; absent where only root may look"`
	Read    *value.BandwidthV `chaos:"read" help:"what storage had to read for it and for its children that have ended, since the sample before; absent like cpu, and where only root may look"`
	Write   *value.BandwidthV `chaos:"write" help:"what it, and its children that have ended, gave to storage to write, since the sample before; absent like cpu, and where only root may look"`
}

func usage() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "process.usage",
		Summary: "Measures the processor time, memory, threads, descriptors and storage traffic of one process, without its children.",
		Example: `probe db = process.usage(port: 5432) every 1s`,
		Needs:   []spec.Need{{Kind: "privilege", Name: "CAP_SYS_PTRACE", Install: "for the descriptors and the storage traffic of other users' processes: run as root"}},
	}, openUsage)
}

func openUsage(_ context.Context, _ env.Env, in usageArgs) (probes.Take[Usage], error) {
	m := &meter{selector: in.Selector}
	return m.take, nil
}

// meter remembers the counters of the sample before.
type meter struct {
	selector target.Selector

	mu     sync.Mutex
	seen   target.Identity // of `pid:`, at the first sample: a later bearer of the pid is another process
	before reading
}

// reading is what the kernel has counted of a process so far.
type reading struct {
	id          target.Identity
	at          time.Time
	cpu         *time.Duration
	read, write uint64 // bytes
	io          bool   // whether the two could be read
}

func (m *meter) take(context.Context) (Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, err := m.find()
	if err != nil {
		return Usage{}, err
	}
	now, out, err := measure(id)
	// Whoever bears the pid by now, what was read must be of the one that was found.
	if _, gone := id.Process(); gone != nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Usage{}, fmt.Errorf("process %s ended while it was measured", id.ID)
	}
	if err != nil {
		return Usage{}, err
	}
	if span := now.at.Sub(m.before.at); m.before.id.Same(id) && span > 0 {
		if now.cpu != nil && m.before.cpu != nil {
			cpu := value.RatioV(float64(*now.cpu-*m.before.cpu) / float64(span))
			out.CPU = &cpu
		}
		if now.io && m.before.io {
			read := value.BandwidthV(float64(now.read-m.before.read) / span.Seconds())
			write := value.BandwidthV(float64(now.write-m.before.write) / span.Seconds())
			out.Read, out.Write = &read, &write
		}
	}
	m.before = now
	return out, nil
}

// find gives the one process; unlike for process.state, none is no data.
func (m *meter) find() (target.Identity, error) {
	found, err := m.selector.Find(target.ToLook)
	if err != nil {
		return target.Identity{}, err
	}
	if len(found) > 1 {
		list := make([]string, len(found))
		for i, f := range found {
			list[i] = f.Text
		}
		return target.Identity{}, fmt.Errorf("%s matches %d processes: %s; narrow it to one", m.selector, len(found), strings.Join(list, ", "))
	}
	none := len(found) == 0 || found[0].Down()
	if !none {
		p, err := found[0].Identity.Process()
		none = err != nil || p.Zombie()
	}
	if !none && m.selector.Pid != nil {
		if m.seen.ID == "" {
			m.seen = found[0].Identity
		}
		none = !m.seen.Same(found[0].Identity)
	}
	switch {
	case !none:
		return found[0].Identity, nil
	case m.selector.Process != nil:
		return target.Identity{}, fmt.Errorf("%s does not run", m.selector)
	}
	return target.Identity{}, fmt.Errorf("no such process: %s matches nothing", m.selector)
}

func measure(id target.Identity) (reading, Usage, error) {
	pid := id.Pid()
	now := reading{id: id}
	var out Usage
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return now, out, err
	}
	out.RSS = value.SizeV(1024 * number(status, "VmRSS:")) // absent, so 0, of a kernel thread; see proc(5)
	out.Threads = int(number(status, "Threads:"))
	if names, err := os.ReadDir(dir + "/fd"); err == nil {
		n := len(names)
		out.FDs = &n
	}
	if counters, err := os.ReadFile(dir + "/io"); err == nil {
		now.read, now.write, now.io = number(counters, "read_bytes:"), number(counters, "write_bytes:"), true
	}
	// The clock last: the time of a sample is that of its processor time.
	now.cpu = processorTime(pid)
	now.at = time.Now()
	return now, out, nil
}

// processorTime is what all threads of a process used so far, also those that have ended, by its CPU clock: exact, where
// /proc/PID/stat counts in ticks of 10 ms. The id of that clock is in clock_getcpuclockid(3). nil where there is none.
func processorTime(pid int) *time.Duration {
	const sched = 2 // CPUCLOCK_SCHED of include/linux/posix-timers_types.h
	var t unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|sched), &t) != nil {
		return nil
	}
	used := time.Duration(t.Nano())
	return &used
}

// number is the value behind a name in a file of lines such as "Threads: 4".
func number(file []byte, name string) uint64 {
	for line := range strings.Lines(string(file)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}
