package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"golang.org/x/sys/unix"
)

// kind is one of the three things that are watched.
type kind string

const (
	opens kind = "opens"
	execs kind = "execs"
	flows kind = "flows"
)

const (
	openTracepoint  = "syscalls:sys_exit_openat"
	execTracepoint  = "sched:sched_process_exec"
	sendTracepoint  = "sock:sock_send_length"
	recvTracepoint  = "sock:sock_recv_length"
	stateTracepoint = "sock:inet_sock_set_state"
)

// tracepoints are those that a kind cannot do without. The first one stands for them in what the probe needs.
var tracepoints = map[kind][]string{
	opens: {openTracepoint},
	execs: {execTracepoint},
	flows: {sendTracepoint, recvTracepoint, stateTracepoint},
}

// RefusedError says why this machine does not let chaos watch, and what to do.
type RefusedError struct {
	Why, Help string
	Privilege bool // for want of a capability, which is looked at first
}

func (e *RefusedError) Error() string { return e.Why + "; " + e.Help }

func refused(why, help string) error { return &RefusedError{Why: why, Help: help} }

// missingTracepoint is the name of one that this kernel does not have.
type missingTracepoint string

func (m missingTracepoint) Error() string { return "this kernel lacks the tracepoint " + string(m) }

// plain is the kernel's reason without the names of calls and files around it.
func plain(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// A table is bounded, in the kernel and in the runner: an entry stays for up to two periods, and what finds no room is
// counted as lost. 32768 paths take 12MB in the kernel, and there are two sides of a table.
func maxEntries(k kind) uint32 {
	if k == opens {
		return 32768
	}
	return 16384
}

// watch is a set of loaded programs. The kernel removes them with their descriptors, so with this process at the latest.
type watch struct {
	sides       [2]*ebpf.Map
	table, lost *ebpf.Map // table has one entry: the side that programs count into
	programs    []attachable
	events      []int // perf events, while attached
}

type attachable struct {
	name string // of the tracepoint
	id   uint64
	prog *ebpf.Program
}

// look finds out, by reading alone, what the kernel would be asked for in vain.
func look(k kind) error {
	if err := mayWatch(); err != nil {
		return err
	}
	there, err := isMounted()
	switch {
	case err != nil:
		return err
	case !there && !capable(unix.CAP_SYS_ADMIN):
		return notMounted(unix.EPERM)
	case there:
		for _, name := range tracepoints[k] {
			if _, err := readTracepoint(os.DirFS(traceDir), name); err != nil {
				return explain(err)
			}
		}
	}
	_, err = findOffsets(k)
	return err
}

// load looks around, and loads the programs of a kind without attaching them.
func load(k kind, trace tracefs, entries uint32) (_ *watch, err error) {
	if err := mayWatch(); err != nil {
		return nil, err
	}
	at, err := findOffsets(k)
	if err != nil {
		return nil, err
	}
	w := &watch{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	key := pathKeySize
	if k == flows {
		key = flowKeySize
	}
	for i := range w.sides {
		if w.sides[i], err = newMap(ebpf.Hash, uint32(key), uint32(countsSize), entries); err != nil {
			return nil, err
		}
	}
	if w.table, err = newTableOf(w.sides[0]); err != nil {
		return nil, err
	}
	if w.lost, err = newMap(ebpf.Array, 4, 8, 1); err != nil {
		return nil, err
	}
	self, err := ownInode(at)
	if err != nil {
		return nil, err
	}
	err = trace(func(root fs.FS) error { return w.assemble(k, root, at, self) })
	return w, err
}

// initialPidNamespace is the inode of the first process namespace, PROC_PID_INIT_INO of include/linux/proc_ns.h.
const initialPidNamespace = "pid:[4026531836]"

// mayWatch finds out what would make the answers wrong or the kernel say no, in the words that help.
func mayWatch() error {
	if !capable(unix.CAP_SYS_ADMIN) && !(capable(unix.CAP_BPF) && capable(unix.CAP_PERFMON)) {
		return &RefusedError{Why: "watching the kernel takes CAP_BPF and CAP_PERFMON, which this user lacks", Help: "run as root", Privilege: true}
	}
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != initialPidNamespace {
		return refused("chaos runs in a container whose process ids are not those of the kernel", "give it those of the host, as with docker run --pid host")
	}
	return nil
}

// capable tells whether this process has a capability. Where it cannot be found out, the kernel is asked for the thing itself.
func capable(bit int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return true
	}
	return data[bit/32].Effective&(1<<(bit%32)) != 0
}

func newMap(of ebpf.MapType, key, value, entries uint32) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "chaos", Type: of, KeySize: key, ValueSize: value, MaxEntries: entries})
	if err != nil {
		return nil, refusedMap(err)
	}
	return m, nil
}

func refusedMap(err error) error {
	return refused("the kernel refuses a BPF map: "+plain(err), "see kernel.unprivileged_bpf_disabled, and what a container or lockdown forbids")
}

// newTableOf makes what leads programs to the table that they count into.
func newTableOf(first *ebpf.Map) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "chaos", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1,
		InnerMap: &ebpf.MapSpec{Name: "chaos", Type: first.Type(), KeySize: first.KeySize(), ValueSize: first.ValueSize(), MaxEntries: first.MaxEntries()},
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: first}},
	})
	if err != nil {
		return nil, refusedMap(err)
	}
	return m, nil
}

// turn lets programs count into another side. To change a table of tables is the one update for which the kernel waits until
// no program uses what was there before (maybe_wait_bpf_programs of kernel/bpf/syscall.c).
func (w *watch) turn(to *ebpf.Map) error { return w.table.Put(uint32(0), to) }

func newProgram(of ebpf.ProgramType, code asm.Instructions) (*ebpf.Program, error) {
	// The helpers that read the kernel's memory are for programs under the GPL only.
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "chaos", Type: of, Instructions: code, License: "Dual MIT/GPL"})
	var rejected *ebpf.VerifierError
	if errors.As(err, &rejected) && !errors.Is(err, unix.EPERM) {
		reason := rejected.Cause.Error()
		if n := len(rejected.Log); n > 0 {
			reason = strings.TrimSpace(rejected.Log[max(0, n-2)])
		}
		return nil, refused("the kernel refuses the BPF program: "+reason, "run a newer kernel")
	}
	if err != nil {
		return nil, refused("the kernel refuses the BPF program: "+plain(err), "see what a container or lockdown forbids (/sys/kernel/security/lockdown)")
	}
	return p, nil
}

// ownInode asks the kernel where it keeps the inode of the program that runs here.
func ownInode(at offsets) (uint64, error) {
	cell, err := newMap(ebpf.Array, 4, 8, 1)
	if err != nil {
		return 0, err
	}
	defer cell.Close()
	prog, err := newProgram(ebpf.RawTracepoint, selfProgram(at, cell))
	if err != nil {
		return 0, err
	}
	defer prog.Close()
	var inode uint64
	if _, err = prog.Run(nil); err == nil {
		err = cell.Lookup(uint32(0), &inode)
	}
	if err != nil || inode == 0 {
		return 0, refused("the kernel does not tell which program chaos is, so chaos could not be left out", "run Linux 5.10 or newer")
	}
	return inode, nil
}

// assemble reads the tracepoints of a kind and loads a program for each.
func (w *watch) assemble(k kind, root fs.FS, at offsets, self uint64) error {
	add := func(name string, assemble func(t tracepoint) (asm.Instructions, error)) error {
		t, err := readTracepoint(root, name)
		if err != nil {
			return err
		}
		code, err := assemble(t)
		if err != nil {
			return err
		}
		p, err := newProgram(ebpf.TracePoint, code)
		if err != nil {
			return err
		}
		w.programs = append(w.programs, attachable{name, t.id, p})
		return nil
	}
	switch k {
	case opens:
		for _, call := range []struct {
			name     string
			nth      int
			optional bool // some architectures and kernels do without it
		}{{openTracepoint, 1, false}, {"syscalls:sys_exit_openat2", 1, true}, {"syscalls:sys_exit_open", 0, true}, {"syscalls:sys_exit_creat", 0, true}} {
			if _, ok := at.argument(call.nth); !ok {
				continue
			}
			err := add(call.name, func(t tracepoint) (asm.Instructions, error) {
				return openProgram(at, self, t, call.nth, w.table, w.lost)
			})
			if errors.As(err, new(missingTracepoint)) && call.optional {
				continue
			}
			if err != nil {
				return explain(err)
			}
		}
		return nil
	case execs:
		return explain(add(execTracepoint, func(t tracepoint) (asm.Instructions, error) {
			return execProgram(at, self, t, w.table, w.lost)
		}))
	}
	for which, name := range []string{sent: sendTracepoint, received: recvTracepoint} {
		err := add(name, func(t tracepoint) (asm.Instructions, error) {
			return lengthProgram(at, self, name, t, which, w.table, w.lost)
		})
		if err != nil {
			return explain(err)
		}
	}
	return explain(add(stateTracepoint, func(t tracepoint) (asm.Instructions, error) {
		return connectProgram(at, self, t, w.table, w.lost)
	}))
}

// explain says what to do about a tracepoint that is not there.
func explain(err error) error {
	var missing missingTracepoint
	switch {
	case !errors.As(err, &missing):
		return err
	case missing == sendTracepoint, missing == recvTracepoint:
		return refused(err.Error(), "run Linux 6.3 or newer")
	}
	return refused(err.Error(), "run a kernel with CONFIG_FTRACE_SYSCALLS")
}

// attach lets the programs count from now on.
func (w *watch) attach() error {
	for _, p := range w.programs {
		// On whatever processor: a program at a tracepoint runs on all of them.
		event, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: p.id, Size: unix.PERF_ATTR_SIZE_VER1}, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err == nil {
			w.events = append(w.events, event)
			if err = unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_SET_BPF, p.prog.FD()); err == nil {
				err = unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_ENABLE, 0)
			}
		}
		if err != nil {
			return refused(fmt.Sprintf("the kernel refuses to attach to tracepoint %s: %s", p.name, plain(err)), "see what a container or kernel.perf_event_paranoid forbids")
		}
	}
	return nil
}

func (w *watch) close() {
	for _, e := range w.events {
		unix.Close(e)
	}
	for _, p := range w.programs {
		p.prog.Close()
	}
	w.events, w.programs = nil, nil
	for _, m := range []*ebpf.Map{w.sides[0], w.sides[1], w.table, w.lost} {
		m.Close()
	}
}

// needPrefix begins the name of what the probes need of the kernel; behind it stands a tracepoint.
const needPrefix = "BPF on "

// Refused watches for a moment what a need of a probe names, and tells why this machine refuses. It is nil where it does
// not; ok tells whether the need is one of this package.
func Refused(need string) (err error, ok bool) {
	tracepoint, ok := strings.CutPrefix(need, needPrefix)
	if !ok {
		return nil, false
	}
	for k, of := range tracepoints {
		if of[0] == tracepoint {
			w, err := load(k, mountedTracefs, 16)
			if err != nil {
				return err, true
			}
			defer w.close()
			return w.attach(), true
		}
	}
	return nil, false
}
