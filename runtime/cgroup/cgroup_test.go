package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/runtime/needtest"
	"chaos/runtime/target"
)

const hybrid = `22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
38 31 0:35 /docker/4f /mnt/with\040blank rw,relatime - cgroup cgroup rw,blkio
39 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`

func TestLayouts(t *testing.T) {
	l, err := parse(strings.NewReader(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l.hierarchies); got != "[{1 [cpu cpuacct] /sys/fs/cgroup/cpu,cpuacct /} {1 [memory] /sys/fs/cgroup/memory /} {1 [blkio] /sys/fs/cgroup/blkio /} {2 [] /sys/fs/cgroup/unified /}]" {
		t.Error(got)
	}
	if unescape(`/mnt/with\040blank`) != "/mnt/with blank" {
		t.Error("escapes")
	}
	const lines = "11:cpu,cpuacct:/a/b (deleted)\n9:name=systemd:/\n8:pids:/\n0::/user.slice\n"
	for h, want := range map[*Hierarchy]string{
		{Version: 1, Controllers: []string{"cpu"}}:  "/a/b",
		{Version: 1, Controllers: []string{"pids"}}: "/",
		{Version: 2}: "/user.slice",
		{Version: 1, Controllers: []string{"memory"}}: "",
	} {
		if got, _ := h.in(lines); got != want {
			t.Errorf("%+v: %q, want %q", h, got, want)
		}
	}
	inside := Hierarchy{Version: 2, Mount: "/sys/fs/cgroup", Root: "/docker/4f"}
	if dir, err := inside.Dir("/docker/4f/x"); dir != "/sys/fs/cgroup/x" || err != nil {
		t.Error(dir, err)
	}
	for _, path := range []string{"/docker/5f", "/", "/docker/4f/../5f"} {
		if dir, err := inside.Dir(path); err == nil {
			t.Errorf("%s is %s", path, dir)
		}
	}
}

// A tree of plain files stands in for version 2, which this machine may have without controllers.
func TestVersion2(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := Layout{[]Hierarchy{{Version: 2, Mount: root, Root: "/"}}}
	put("cgroup.controllers", "cpu io memory pids\n")
	put("cgroup.subtree_control", "cpu memory\n")
	if h, err := l.Find(CPU); err != nil || h.Mount != root {
		t.Error(err)
	}
	var m *MissingError
	if _, err := l.Find(IO); !errors.As(err, &m) || !strings.Contains(m.Help, "echo +io") {
		t.Error(err)
	}
	if _, err := l.Find("hugetlb"); !errors.As(err, &m) || m.Why != "is not mounted" {
		t.Error(err)
	}
	put("a/b/cpu.max", "50000 100000\n")
	put("a/cpu.max", "20000 100000\n")
	put("a/memory.max", "max\n")
	put("a/b/memory.max", "1048576\n")
	now, err := l.hierarchies[0].Above("/a/b")
	if err != nil || now.CPU != 0.2 || now.Memory != 1<<20 || now.Pids != 0 {
		t.Errorf("%+v %v", now, err)
	}
	// What the process leaves behind by being moved is carried along; more than it may now is refused.
	at := Place{ID: target.Identity{Kind: "process", ID: "7", Name: "x"}, Paths: []string{"/a/b"}}
	g := Group{Limits: Limits{CPU: 0.1}, Parts: []Part{{l.hierarchies[0], []string{CPU}}}}
	if err := g.Keep(at); err != nil || g.Limits.Memory != 1<<20 || fmt.Sprint(g.Parts[0].Limited) != "[cpu memory]" {
		t.Errorf("%+v %v", g, err)
	}
	g = Group{Limits: Limits{CPU: 0.3}, Parts: []Part{{l.hierarchies[0], []string{CPU}}}}
	if err := g.Keep(at); err == nil || !strings.Contains(err.Error(), "20% of a core already") {
		t.Error(err)
	}
	for _, name := range []string{"cpu.max", "memory.max", "memory.swap.max", "pids.max", "io.max"} {
		put("own/"+name, "")
	}
	own := filepath.Join(root, "own")
	limits := Limits{CPU: 0.01, Memory: 1 << 20, Pids: 3, Read: 1000, Write: 2000}
	for _, c := range limits.Controllers() {
		if err := l.hierarchies[0].set(own, c, limits); err != nil {
			t.Error(c, err)
		}
	}
	for name, want := range map[string]string{"cpu.max": "10000 1000000", "memory.max": "1048576", "memory.swap.max": "0", "pids.max": "3"} {
		if data, _ := os.ReadFile(filepath.Join(own, name)); string(data) != want {
			t.Errorf("%s: %s, want %s", name, data, want)
		}
	}
	// A machine without a disk has nothing to limit.
	if data, _ := os.ReadFile(filepath.Join(own, "io.max")); len(diskList(t)) > 0 && !strings.Contains(string(data), " rbps=1000 wbps=2000") {
		t.Errorf("%s", data)
	}
	put("own/memory.current", "300000")
	put("own/memory.stat", "inactive_file 100000\n")
	single := Layout{[]Hierarchy{{Version: 2, Mount: own, Root: "/"}}}
	if room, ok := single.Headroom(os.Getpid()); ok && room != 1<<20-200000 {
		t.Error(room)
	}
}

func diskList(t *testing.T) []string {
	t.Helper()
	list, err := Disks()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func sleeper(t *testing.T) (*exec.Cmd, target.Identity) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, id
}

func design(t *testing.T, l Limits) Group {
	t.Helper()
	g, missing, err := Design(fmt.Sprintf("chaos-cgrouptest-%d-%d", os.Getpid(), time.Now().UnixNano()), l)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		needtest.Lacks(t, missing)
	}
	return g
}

func TestInAndBack(t *testing.T) {
	_, id := sleeper(t)
	g := design(t, Limits{CPU: 0.5, Memory: 64 << 20, Pids: 10, Read: 1 << 20, Write: 1 << 20})
	before, _ := os.ReadFile("/proc/" + id.ID + "/cgroup")
	at, err := g.Where(id)
	if err != nil {
		t.Fatal(err)
	}
	if g.Exists() || g.Holds(id.Pid()) {
		t.Fatal("made before it was asked for")
	}
	// The undo of what never was.
	if err := g.Dissolve(context.Background(), []Place{at}); err != nil {
		t.Fatal(err)
	}
	if err := g.Make(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Dissolve(context.Background(), []Place{at}) })
	if err := g.Enter(id); err != nil {
		t.Fatal(err)
	}
	if !g.Holds(id.Pid()) || g.Check() != "" || fmt.Sprint(g.Members()) != "["+id.ID+"]" || g.Strayed(at) {
		t.Error(g.Holds(id.Pid()), g.Check(), g.Members())
	}
	// Somebody lifts the limit.
	for _, p := range g.Parts {
		if p.Limited[0] == CPU && p.Version == 1 {
			write(g.dir(p), "cpu.cfs_quota_us", -1)
			if g.Check() == "" {
				t.Error("a limit that is lifted is not seen")
			}
		}
	}
	if err := g.Make(); err == nil {
		t.Error("made on top of one that exists")
	}
	for range 2 {
		if err := g.Dissolve(context.Background(), []Place{at}); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := os.ReadFile("/proc/" + id.ID + "/cgroup"); string(after) != string(before) || g.Exists() {
		t.Errorf("before\n%safter\n%s", before, after)
	}
}

// A thread that was apart from its process is put back apart.
func TestThreadsApart(t *testing.T) {
	g := design(t, Limits{CPU: 0.5})
	if g.Parts[0].Version != 1 {
		needtest.Lacks(t, "version 2 keeps the threads of a process together")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestManyThreads$")
	cmd.Env = append(os.Environ(), "CHAOS_THREADS=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var tids []int
	for begun := time.Now(); len(tids) < 3 && time.Since(begun) < 5*time.Second; time.Sleep(time.Millisecond) {
		tids, _ = target.Threads(cmd.Process.Pid)
	}
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	apart := filepath.Join(g.Parts[0].Mount, g.Name+"-apart")
	if err := os.Mkdir(apart, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if err := os.Remove(apart); err != nil {
			t.Error(err)
		}
	})
	if err := write(apart, "tasks", tids[1]); err != nil {
		t.Fatal(err)
	}
	at, err := g.Where(id)
	if err != nil || len(at.Threads) != 1 || at.Threads[0].TID != tids[1] {
		t.Fatalf("%+v %v", at, err)
	}
	if err := g.Make(); err != nil {
		t.Fatal(err)
	}
	if err := g.Enter(id); err != nil {
		t.Fatal(err)
	}
	if path, _ := g.Parts[0].Of(id.Pid(), tids[1]); path != "/"+g.Name {
		t.Error("the thread stayed out:", path)
	}
	if err := g.Dissolve(context.Background(), []Place{at}); err != nil {
		t.Fatal(err)
	}
	if path, _ := g.Parts[0].Of(id.Pid(), tids[1]); path != "/"+g.Name+"-apart" {
		t.Error("the thread is in", path)
	}
	if path, _ := g.Parts[0].Of(id.Pid(), tids[0]); path != at.Paths[0] {
		t.Error("the process is in", path)
	}
}

// TestManyThreads is the target of the test above.
func TestManyThreads(t *testing.T) {
	if os.Getenv("CHAOS_THREADS") == "" {
		return
	}
	time.Sleep(time.Minute)
}

// The cgroup where a process was is removed meanwhile: it goes to the nearest one above.
func TestOldCgroupIsGone(t *testing.T) {
	_, id := sleeper(t)
	g := design(t, Limits{Pids: 5})
	old := filepath.Join(g.Parts[0].Mount, g.Name+"-old")
	if err := os.Mkdir(old, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(old) })
	if err := write(old, "cgroup.procs", id.ID); err != nil {
		t.Fatal(err)
	}
	at, err := g.Where(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Make(), g.Enter(id)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	if err := g.Dissolve(context.Background(), []Place{at}); err != nil {
		t.Fatal(err)
	}
	if path, _ := g.Parts[0].Of(id.Pid(), 0); path != "/" || g.Strayed(at) || g.Exists() {
		t.Error(path)
	}
}
