package bpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
	"unsafe"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// openAs opens by a system call of the caller's choice.
func openAs(call uintptr, path []byte, flags uintptr) (int, syscall.Errno) {
	fd, _, errno := syscall.Syscall(call, uintptr(unsafe.Pointer(&path[0])), flags, 0)
	return int(fd), errno
}

// watchRole watches everything, and prints the ids of its programs.
func watchRole([]string) error {
	var ids []string
	for _, s := range []kind{opens, execs, flows} {
		w, err := load(s, mountedTracefs, 16)
		if err != nil {
			return err
		}
		if err := w.attach(); err != nil {
			return err
		}
		defer w.close()
		more, err := w.ids()
		if err != nil {
			return err
		}
		ids = append(ids, more...)
	}
	fmt.Println(strings.Join(ids, " "))
	return await()
}

// tryRole prints why each kind is refused, before anything is asked of the kernel and then.
func tryRole([]string) error {
	for _, s := range []kind{opens, execs, flows} {
		fmt.Println(look(s))
		w, err := load(s, mountedTracefs, 16)
		if err == nil {
			w.close()
		}
		fmt.Println(err)
	}
	return nil
}

// programs lists the ids of all programs in the kernel.
func programs(t *testing.T) []string {
	t.Helper()
	var out []string
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, fs.ErrNotExist) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strconv.Itoa(int(next)))
		id = next
	}
}

func left(t *testing.T, ids []string) (out []string) {
	t.Helper()
	all := programs(t)
	for _, id := range ids {
		if slices.Contains(all, id) {
			out = append(out, id)
		}
	}
	return out
}

func TestSIGKILLLeavesNoProgramInTheKernel(t *testing.T) {
	needBPF(t)
	p := play(t, "/proc/self/exe", "watch")
	ids := strings.Fields(p.said())
	if len(ids) < 5 || len(left(t, ids)) != len(ids) {
		t.Fatalf("of the programs %v there are %v", ids, left(t, ids))
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	gone(t, ids)
}

// ids are those of the programs of a watch.
func (w *watch) ids() (out []string, err error) {
	for _, p := range w.programs {
		info, err := p.prog.Info()
		if err != nil {
			return nil, err
		}
		id, _ := info.ID()
		out = append(out, strconv.Itoa(int(id)))
	}
	return out, nil
}

// gone waits until none of the programs is in the kernel.
func gone(t *testing.T, ids []string) {
	t.Helper()
	if len(ids) == 0 {
		t.Fatal("there were no programs")
	}
	for end := time.Now().Add(10 * time.Second); len(left(t, ids)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still in the kernel: %v of %v", left(t, ids), ids)
		}
	}
}

func TestClosingRemovesThePrograms(t *testing.T) {
	needBPF(t)
	w, err := load(flows, mountedTracefs, 16)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := w.ids()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.attach(); err != nil {
		t.Fatal(err)
	}
	w.close()
	gone(t, ids)
}

func TestWhatCannotStartLeavesNothing(t *testing.T) {
	needBPF(t)
	f, err := newFilter(who{Count: 5}, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(flows, f, mountedTracefs, 16)
	if err != nil {
		t.Fatal(err)
	}
	w, err := load(flows, mountedTracefs, 16)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := w.ids()
	if err != nil {
		t.Fatal(err)
	}
	w.programs[2].id = 1 << 40 // no tracepoint has it
	if err := s.begin(w); err == nil || !strings.HasPrefix(err.Error(), "the kernel refuses to attach to tracepoint sock:inet_sock_set_state: ") {
		t.Errorf("it starts: %v", err)
	}
	gone(t, ids) // though nobody closed it
}

// mounts is what each thread of this process sees mounted.
func mounts(t *testing.T) map[string]bool {
	t.Helper()
	threads, err := filepath.Glob("/proc/self/task/*/ns/mnt")
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	out := map[string]bool{}
	for _, path := range threads {
		if ns, err := os.Readlink(path); err == nil {
			out[ns] = true
		}
	}
	return out
}

func TestNothingStaysMounted(t *testing.T) {
	needBPF(t)
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	err = mountedTracefs(func(root fs.FS) error {
		_, err := readTracepoint(root, execTracepoint)
		seen = err == nil
		return err
	})
	if err != nil || !seen {
		t.Fatal(err)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("mounted before:\n%s\nafter:\n%s", before, after)
	}
	for end := time.Now().Add(10 * time.Second); len(mounts(t)) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a thread with other mounts still runs")
		}
	}
}

func TestOnTheFirstThreadNothingIsMounted(t *testing.T) {
	// Where a function runs on the first thread cannot be chosen here; many tries come by it.
	for range 200 {
		var tid int
		if err := onOwnThread(func() error { tid = unix.Gettid(); return nil }); err != nil {
			t.Fatal(err)
		}
		if tid == os.Getpid() {
			t.Fatal("it ran on the thread that lasts as long as the process")
		}
	}
}

func TestWithoutPrivilegeOneMessageSaysWhy(t *testing.T) {
	needBPF(t)
	path := program(t, "nobody")
	try := func(caps ...uintptr) string {
		cmd := exec.Command(path)
		cmd.Env = append(os.Environ(), roleVar+"=try")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: caps}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	for line := range strings.Lines(try()) {
		if line != "watching the kernel takes CAP_BPF and CAP_PERFMON, which this user lacks; run as root\n" {
			t.Errorf("without any: %s", line)
		}
	}
	var at unix.Statfs_t
	if unix.Statfs(traceDir, &at) == nil && at.Type == unix.TRACEFS_MAGIC {
		return // it is mounted here, so nothing has to be mounted
	}
	for line := range strings.Lines(try(unix.CAP_BPF, unix.CAP_PERFMON)) {
		if !strings.HasPrefix(line, "tracefs is not mounted, and mounting it for chaos alone is refused: operation not permitted") {
			t.Errorf("with the two: %s", line)
		}
	}
}

func TestInAProcessNamespaceOfItsOwnItRefuses(t *testing.T) {
	needBPF(t)
	cmd := exec.Command(program(t, "inside"))
	cmd.Env = append(os.Environ(), roleVar+"=try")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "process ids are not those of the kernel") != 6 {
		t.Errorf("%v: %s", err, out)
	}
}

// traced is a tracefs of the test's own.
func traced(files map[string]string) tracefs {
	root := fstest.MapFS{}
	for name, data := range files {
		root["events/"+name] = &fstest.MapFile{Data: []byte(data)}
	}
	return func(use func(fs.FS) error) error { return use(root) }
}

// starting opens a probe and starts it, which is when the kernel is asked.
func starting(t *testing.T, name string, trace tracefs) error {
	t.Helper()
	o, err := probeNamed(t, name, trace).Open(context.Background(), env.Env{}, map[string]value.Value{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	return o.(probes.Streamer).Start(context.Background())
}

func TestAMissingTracepointIsNamed(t *testing.T) {
	needBPF(t)
	const head = "name: x\nID: 9\nformat:\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
	for _, c := range []struct {
		probe string
		files map[string]string
		want  string
	}{
		{"host.opens", nil, "this kernel lacks the tracepoint syscalls:sys_exit_openat; run a kernel with CONFIG_FTRACE_SYSCALLS"},
		{"host.flows", nil, "this kernel lacks the tracepoint sock:sock_send_length; run Linux 6.3 or newer"},
		{"host.execs", map[string]string{"sched/sched_process_exec/format": head}, "tracepoint sched:sched_process_exec has no field `filename` in this kernel; run a newer kernel"},
		{"host.execs", map[string]string{"sched/sched_process_exec/format": "ID: 9\n\tfield:int filename;\tsize:4;\n"}, "cannot be understood"},
	} {
		err := starting(t, c.probe, traced(c.files))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.probe, err, c.want)
		}
	}
	refusing := func(func(fs.FS) error) error { return refused("tracefs cannot be had", "find some") }
	if err := starting(t, "host.opens", refusing); err == nil || err.Error() != "tracefs cannot be had; find some" {
		t.Errorf("without tracefs: %v", err)
	}
}

func TestFieldsComeFromTheFormat(t *testing.T) {
	trace := traced(map[string]string{"g/e/format": "name: e\nID: 42\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n" +
		"\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;\n\tfield:const void * skaddr;\toffset:16;\tsize:8;\tsigned:0;\n\nprint fmt: \"%s\", x\n"})
	err := trace(func(root fs.FS) error {
		got, err := readTracepoint(root, "g:e")
		if err != nil {
			return err
		}
		if got.id != 42 || got.fields["filename"] != 8 || got.fields["saddr"] != 32 || got.fields["skaddr"] != 16 {
			t.Errorf("%+v", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBadArgumentsAreRefusedBeforeAnythingIsLoaded(t *testing.T) {
	never := func(func(fs.FS) error) error { t.Error("it looked at the kernel"); return nil }
	for want, args := range map[string]map[string]value.Value{
		"`match`: \"(\" is no regular expression: missing closing ): `(`":                                                              {"match": str("(")},
		"`count: 0` must be a whole number from 1 to 100":                                                                              {"count": value.NumberOf(0)},
		"`pid: -1` must be a whole number, at least 1":                                                                                 {"pid": value.NumberOf(-1)},
		"`name`: the kernel keeps 15 bytes of a process's name, and \"prometheus-node-exporter\" is longer; write \"prometheus-node\"": {"name": str("prometheus-node-exporter")},
	} {
		for _, p := range allOn(never) {
			_, err := p.Open(context.Background(), env.Env{}, args)
			if err == nil || err.Error() != want {
				t.Errorf("%s: %v\nwant %s", p.Spec().Name, err, want)
			}
		}
	}
}

func TestAfterCloseThereIsNoData(t *testing.T) {
	needBPF(t)
	o, err := probeNamed(t, "host.execs", mountedTracefs).Open(context.Background(), env.Env{}, map[string]value.Value{})
	if err != nil {
		t.Fatal(err)
	}
	s := o.(probes.Streamer)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if v, state := s.Next(); !v.IsMissing() || state != nil {
		t.Errorf("%s, %v", v, state)
	}
	if s.Start(context.Background()) == nil {
		t.Error("a closed probe starts")
	}
}

// twoSides are the sides of a table that no program counts into.
func twoSides(t *testing.T, of ebpf.MapType) (sides [2]*ebpf.Map) {
	t.Helper()
	for i := range sides {
		m, err := newMap(of, 4, uint32(countsSize), 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		sides[i] = m
	}
	return sides
}

// tidied is the sum of what a table hands over in some windows, each of which ends as Next ends it.
func tidied(t *testing.T, table *table[uint32], windows int) (sum uint64) {
	t.Helper()
	see := func(e entry) { sum += e.N[0] }
	for range windows {
		if err := table.read(see); err != nil {
			t.Fatal(err)
		}
		if wait := table.leave(); wait != nil {
			table.empty(wait(), see)
		}
	}
	return sum
}

func put(t *testing.T, side *ebpf.Map, n uint64) {
	t.Helper()
	if err := side.Put(uint32(0), counts{n}); err != nil {
		t.Error(err)
	}
}

func TestWhatTheKernelCannotTakeOutIsNotCountedAgain(t *testing.T) {
	needBPF(t)
	sides := twoSides(t, ebpf.Array) // from an array nothing can be taken out, whatever the kernel
	put(t, sides[0], 7)
	table := newTable(sides, func(*ebpf.Map) error { return nil }, func(uint32) entry { return entry{} })
	if sum := tidied(t, table, 3); sum != 7 {
		t.Errorf("7 were counted as %d", sum)
	}
	put(t, sides[1], 2) // the side that programs count into by now
	if sum := tidied(t, table, 3); sum != 2 {
		t.Errorf("2 were counted as %d", sum)
	}
}

func TestAProgramThatFoundItsCountsBeforeTheyAreTakenOutIsCounted(t *testing.T) {
	needBPF(t)
	sides := twoSides(t, ebpf.Hash)
	put(t, sides[0], 7)
	turn := func(to *ebpf.Map) error {
		left := sides[0]
		if to == left {
			left = sides[1]
		}
		var n counts
		if err := left.Lookup(uint32(0), &n); err != nil {
			t.Error(err)
		}
		put(t, left, n[0]+1)
		put(t, to, 100)
		return nil
	}
	table := newTable(sides, turn, func(uint32) entry { return entry{} })
	if sum := tidied(t, table, 2); sum != 8 { // the second finds it idle, and leaves it
		t.Errorf("8 were counted as %d", sum)
	}
	if sum := tidied(t, table, 2); sum != 101 {
		t.Errorf("101 on the other side were counted as %d", sum)
	}
}

func TestProgramsThatCannotTurnCountOn(t *testing.T) {
	needBPF(t)
	sides := twoSides(t, ebpf.Hash)
	put(t, sides[0], 7)
	table := newTable(sides, func(*ebpf.Map) error { return unix.ENOMEM }, func(uint32) entry { return entry{} })
	sum := tidied(t, table, 3)
	put(t, sides[0], 9)
	if sum += tidied(t, table, 3); sum != 9 {
		t.Errorf("9 were counted as %d", sum)
	}
}
