package oom

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"chaos/runtime/cgroup"
	"chaos/runtime/kmsg"
	"chaos/runtime/needtest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

func TestTheVictimIsReadFromWhatKernelsSay(t *testing.T) {
	for text, want := range map[string]Kill{
		// 6.18, in a cgroup
		"Memory cgroup out of memory: Killed process 8010 (python3) total-vm:323768kB, anon-rss:50924kB, file-rss:6608kB, shmem-rss:0kB, UID:0 pgtables:160kB oom_score_adj:0": {8010, "python3"},
		// 5.4 and 5.15, of the whole machine
		"Out of memory: Killed process 25421 (java) total-vm:13104428kB, anon-rss:8078476kB, file-rss:0kB, shmem-rss:0kB, UID:1001 pgtables:17044kB oom_score_adj:0":                    {25421, "java"},
		"Memory cgroup out of memory: Killed process 1932 (stress-ng-vm) total-vm:308440kB, anon-rss:99848kB, file-rss:2172kB, shmem-rss:40kB, UID:0 pgtables:640kB oom_score_adj:1000": {1932, "stress-ng-vm"},
		// 4.19 says it in two messages, of which this is the second
		"Killed process 4321 (mysqld) total-vm:5678900kB, anon-rss:4567890kB, file-rss:0kB, shmem-rss:0kB": {4321, "mysqld"},
		// 3.10 and 2.6.32 of Red Hat
		"Killed process 28001 (java), UID 1000, total-vm:9861280kB, anon-rss:7633748kB, file-rss:0kB, shmem-rss:0kB": {28001, "java"},
		"Killed process 2592, UID 500, (httpd) total-vm:1204716kB, anon-rss:701684kB, file-rss:84kB":                 {2592, "httpd"},
		// names are what processes call themselves
		"Memory cgroup out of memory: Killed process 7 (a) (b) c) total-vm:1kB, anon-rss:0kB": {7, "a) (b) c"},
	} {
		if got, ok := Victim(text); !ok || got != want {
			t.Errorf("%q: %v %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
		"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=python3,pid=8010,uid=0",
		"Memory cgroup out of memory: Kill process 4321 (mysqld) score 990 or sacrifice child",
		"oom_reaper: reaped process 4321 (mysqld), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
		"Tasks in /a are going to be killed due to memory.oom.group set",
	} {
		if got, ok := Victim(text); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// kernel is one that kills, counts and logs as it is told.
type kernel struct {
	kills  uint64
	silent bool // its counter cannot be read
	log    []any
	number int
}

func (k *kernel) watch() *Watch {
	read := func(b []byte) (int, error) {
		if len(k.log) == 0 {
			return 0, unix.EAGAIN
		}
		next := k.log[0]
		k.log = k.log[1:]
		if err, ok := next.(error); ok {
			return 0, err
		}
		return copy(b, next.(string)), nil
	}
	return &Watch{log: kmsg.Of(read), named: map[int]int{}, count: func() (uint64, bool) { return k.kills, !k.silent }}
}

func (k *kernel) say(pid int) {
	k.number++
	k.log = append(k.log, fmt.Sprintf("3,%d,1,-;Killed process %d (x) total-vm:1kB\n", k.number, pid))
}

func begin(w *Watch, pid int) *Case {
	c := w.Begin()
	c.Pid = pid
	return c
}

func TestOnlyEvidenceForTheProcessItselfConvicts(t *testing.T) {
	k := &kernel{}
	w := k.watch()
	k.say(10) // the one that had the pid before
	c := begin(w, 10)
	if v := c.Ended(true, false); v != No {
		t.Error("nobody was killed on this machine:", v)
	}
	k.kills++
	if v := c.Ended(true, false); v != Later {
		t.Error("somebody was, and the log may still come:", v)
	}
	k.say(11)
	if v := c.Ended(true, false); v != No {
		t.Error("everybody that was killed is named, and it is another one:", v)
	}
	k.kills++
	if v := c.Ended(true, true); v != No {
		t.Error("the log does not name it, however long one waits:", v)
	}
	d := begin(w, 12)
	k.kills++
	k.say(10)
	begin(w, 13) // reads what the log said of the first
	if v := c.Ended(true, false); v != Yes {
		t.Error("now the log names it:", v)
	}
	if v := d.Ended(true, true); v != No {
		t.Error("and not the other:", v)
	}
}

func TestALogWithHolesAcquitsNobody(t *testing.T) {
	for _, hole := range []error{unix.EPIPE, unix.EIO} {
		k := &kernel{}
		w := k.watch()
		c := begin(w, 10)
		k.kills++
		k.log = append(k.log, hole)
		if v := c.Ended(true, true); v != Unknown {
			t.Error(hole, v)
		}
	}
}

func TestAKernelThatDoesNotCountHasItsLog(t *testing.T) {
	k := &kernel{silent: true}
	w := k.watch()
	c := begin(w, 10)
	if v := c.Ended(true, false); v != Later {
		t.Error(v)
	}
	if v := c.Ended(true, true); v != No {
		t.Error(v)
	}
	k.say(10)
	if v := c.Ended(true, true); v != Yes {
		t.Error(v)
	}
}

// A process in a cgroup of its own is killed for its memory, where the kernel's log cannot be read.
func TestWithoutTheLogTheCounterOfTheCgroupTells(t *testing.T) {
	needtest.Root(t)
	group, missing, err := cgroup.Design(fmt.Sprintf("chaos-oom-case-%d", os.Getpid()), cgroup.Limits{Memory: 16 << 20})
	if err != nil || len(missing) > 0 {
		needtest.Lacks(t, err, missing)
	}
	layout, err := cgroup.Look()
	if err != nil {
		t.Fatal(err)
	}
	w := &Watch{layout: layout, count: Kills}
	flag := filepath.Join(t.TempDir(), "go")
	c := w.Begin()
	cmd := exec.Command("sh", "-c", `until [ -e "$0" ]; do sleep 0.01; done; exec tail /dev/zero`, flag)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	place, err := group.Where(id)
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		cmd.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := group.Dissolve(ctx, []cgroup.Place{place}); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := group.Make(); err != nil {
		t.Fatal(err)
	}
	if err := group.Enter(id); err != nil {
		t.Fatal(err)
	}
	c.Pid = cmd.Process.Pid
	c.Look()
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if v := c.Ended(true, false); v != Yes {
		t.Errorf("%v, counted by %s", v, c.now.file)
	}
	if v := c.Ended(false, true); v != Unknown {
		t.Error("a SIGKILL of our own could as well have been it:", v)
	}
}
