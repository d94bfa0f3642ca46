package disk

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/needtest"
	"chaos/runtime/recovery"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Getenv("CHAOS_NAMED") != "" {
		canUnnamed = func(string) (bool, error) { return false, nil }
	}
	faulttest.Main(m, Register)
}

var faults = faulttest.Of(Register)

func TestSpec(t *testing.T) { faults.Spec(t) }

// disk makes a small file system: a tmpfs, or an ext4 in a file, with the given options of mkfs.
func disk(t *testing.T, size string, mkfs ...string) string {
	t.Helper()
	needtest.Root(t)
	dir := t.TempDir()
	at := filepath.Join(dir, "disk")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			needtest.Lacks(t, fmt.Sprintf("%s: %s %s", name, err, out))
		}
	}
	if mkfs == nil {
		run("mount", "-t", "tmpfs", "-o", "size="+size, "chaos-test", at)
	} else {
		image := filepath.Join(dir, "image")
		run("truncate", "-s", size, image)
		run("mkfs.ext4", append(mkfs, "-q", image)...)
		run("mount", "-o", "loop", image, at) // the loop device detaches itself at the unmount
	}
	t.Cleanup(func() {
		// An ended process may take a moment to let go.
		faulttest.Within(t, 20*time.Second, "the file system is unmounted", func() bool { return unix.Unmount(at, 0) == nil })
	})
	return at
}

func space(t *testing.T, dir string) stress.Space {
	t.Helper()
	s, err := stress.Statfs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(entries)
}

const mib = 1 << 20

// Every kind of file system, every way to say how much: the space is taken, and all of it comes back.
func TestFillAndBack(t *testing.T) {
	for name, mkfs := range map[string][]string{"tmpfs": nil, "ext4": {"-O", "^has_journal"}, "ext4 with its journal": {}, "ext4 without extents, so without fallocate": {"-O", "^extent,^64bit,^has_journal"}} {
		t.Run(name, func(t *testing.T) {
			e := faulttest.Env(t)
			dir := disk(t, "64M", mkfs...)
			before, listing := space(t, dir), names(t, dir)
			for _, c := range []struct {
				args faulttest.Args
				ok   func(stress.Space) bool
			}{
				{faulttest.Args{"size": "20MiB"}, func(s stress.Space) bool {
					return s.Free <= before.Free-20*mib && s.Free > before.Free-22*mib
				}},
				{faulttest.Args{"leave": "8MiB"}, func(s stress.Space) bool { return s.Available >= 8*mib && s.Available < 9*mib }},
				{faulttest.Args{"leave": "0B"}, func(s stress.Space) bool { return s.Available == 0 }},
			} {
				c.args["path"] = dir
				p, err := faults.Plan(t, e, "disk.fill", c.args)
				if err != nil || p.Lifetime != actions.Kernel || !strings.Contains(p.Why, "O_TMPFILE") || len(p.Targets) != 1 {
					t.Fatalf("%+v %v", p, err)
				}
				if now := space(t, dir); now != before {
					t.Fatal("a plan took something")
				}
				f, led := faults.Inject(t, e, "disk.fill", c.args)
				detail := faulttest.Effect(t, f, actions.Yes)
				now := space(t, dir)
				t.Logf("%v: %s; %d bytes available, %d free", c.args, detail, now.Available, now.Free)
				if !c.ok(now) {
					t.Errorf("%v: available %d, free %d, before %d and %d", c.args, now.Available, now.Free, before.Available, before.Free)
				}
				if names(t, dir) != listing {
					t.Error("the file has a name:", names(t, dir))
				}
				if c.args["leave"] == "0B" {
					if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, 16<<10), 0o600); err == nil {
						t.Error("somebody could still write")
					}
					os.Remove(filepath.Join(dir, "x"))
				}
				faults.Revert(t, e, led.Undos(), actions.Gone)
				if now := space(t, dir); now != before {
					t.Errorf("before %+v, after %+v", before, now)
				}
				if got, _ := f.Effect(t.Context()); got != actions.No {
					t.Error(got)
				}
			}
		})
	}
}

// A file system that knows no files without a name: the record is enough for anybody to remove the one with a name.
func TestNamed(t *testing.T) {
	canUnnamed = func(string) (bool, error) { return false, nil }
	t.Setenv("CHAOS_NAMED", "1")
	defer func() { canUnnamed = stress.Unnamed }()
	e := faulttest.Env(t)
	dir := disk(t, "64M", "-O", "^has_journal")
	before, listing := space(t, dir), names(t, dir)
	args := faulttest.Args{"path": dir, "size": "30MiB"}
	p, err := faults.Plan(t, e, "disk.fill", args)
	if err != nil || p.Lifetime != actions.Guardian || !strings.Contains(p.Why, "the guardian removes") {
		t.Fatalf("%+v %v", p, err)
	}
	f, led := faults.Inject(t, e, "disk.fill", args)
	faulttest.Effect(t, f, actions.Yes)
	if u := led.Undos()[0]; u.Lifetime != actions.Guardian || !strings.Contains(u.Manual, "rm -f") {
		t.Errorf("%+v", u)
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
	faults.Intended(t, faulttest.Env(t), "disk.fill", args)
	active := 0
	faulttest.KillAnyTime(t, 8, 150*time.Millisecond, func() *faulttest.Runner { return faulttest.NewRunner(t, "disk.fill", args) },
		func(r *faulttest.Runner) {
			if space(t, dir) != before {
				active++
			}
			faults.Revert(t, faulttest.Elsewhere(e), r.Undos(t), actions.Gone)
			if now := space(t, dir); now != before || names(t, dir) != listing {
				t.Errorf("before %+v, after %+v, with %s", before, now, names(t, dir))
			}
		})
	t.Logf("killed 8 times, %d of them with space taken", active)

	// Something else has the name by now: it is left alone.
	other := faulttest.Env(t)
	_, led = faults.Inject(t, other, "disk.fill", args)
	other.Hold.Close()
	if s := faults.State(t, e, led.Undos()[0]); s != actions.Present {
		t.Error("without its process the file is", s)
	}
	found, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(found[0], 0o700); err != nil {
		t.Fatal(err)
	}
	faults.Revert(t, faulttest.Elsewhere(e), led.Undos(), actions.Foreign)
	if err := os.Remove(found[0]); err != nil {
		t.Error("the folder of somebody else is gone:", err)
	}
}

func TestIntendedOnly(t *testing.T) {
	dir := disk(t, "32M")
	before := space(t, dir)
	faults.Intended(t, faulttest.Env(t), "disk.fill", faulttest.Args{"path": dir, "size": "1MiB"})
	if space(t, dir) != before {
		t.Error("it took something")
	}
}

func TestRefuses(t *testing.T) {
	e := faulttest.Env(t)
	dir := disk(t, "32M")
	file := filepath.Join(e.Dir, "file")
	os.WriteFile(file, nil, 0o600)
	for want, args := range map[string]faulttest.Args{
		"there is no folder":           {"path": "no-such-folder", "size": "1MiB"},
		"is no folder":                 {"path": "file", "size": "1MiB"},
		"`path` must not be empty":     {"path": "", "size": "1MiB"},
		"has no size":                  {"path": "/proc", "size": "1MiB"},
		"either `size` or `leave`":     {"path": dir},
		"`size: 0B` must be":           {"path": dir, "size": "0B"},
		"does not fit: 32MiB":          {"path": dir, "size": "32MiB"},
		"write at least 328KiB, or 0B": {"path": dir, "leave": "1kB"},
		"there is nothing to fill":     {"path": dir, "leave": "1GiB"},
		"is too little: at least 64":   {"path": e.Dir, "leave": "1MiB"},
		"of which 64MiB has to stay":   {"path": e.Dir, "size": "100TiB"},
		"the run's own journal":        {"path": e.Dir, "leave": "0B"},
	} {
		faults.Refused(t, e, "disk.fill", args, want)
	}
	// The journal's part is kept free before its folder exists, as in a plan.
	planned := e
	planned.RunDir, planned.Runs = "", filepath.Join(e.Dir, "not", "made yet")
	faults.Refused(t, planned, "disk.fill", faulttest.Args{"path": e.Dir, "leave": "1MiB"}, "is too little: at least 64")
	// The memory behind a file system in memory counts too.
	big := disk(t, "1000G")
	faults.Refused(t, e, "disk.fill", faulttest.Args{"path": big, "size": "900GB"}, "lives in memory")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	faults.Refused(t, e, "disk.fill", faulttest.Args{"path": dir, "size": "1MiB"}, "is read-only")
}

// Whenever the runner is killed, the space is free within a second, with nobody's help.
func TestRunnerKilled(t *testing.T) {
	e := faulttest.Elsewhere(faulttest.Env(t))
	dir := disk(t, "256M", "-O", "^has_journal")
	before := space(t, dir)
	var slowest time.Duration
	active := 0
	faulttest.KillAnyTime(t, 10, 150*time.Millisecond, func() *faulttest.Runner {
		return faulttest.NewRunner(t, "disk.fill", faulttest.Args{"path": dir, "leave": "20MiB"})
	}, func(r *faulttest.Runner) {
		if space(t, dir) != before {
			active++
		}
		slowest = max(slowest, faulttest.WithinSecond(t, "the space is free", func() bool { return space(t, dir) == before }))
		faults.Revert(t, e, r.Undos(t), actions.Gone)
	})
	t.Logf("killed 10 times, %d of them with space taken; free after %s at most", active, slowest.Round(time.Millisecond))
}

// Two runs that take the same file system would spoil what each of them measures: whoever comes second is told who has it,
// whichever of its folders is meant.
func TestTwoRunsDoNotShareAFileSystem(t *testing.T) {
	dir := disk(t, "64M", "-O", "^has_journal")
	inside := filepath.Join(dir, "inside")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := target.ProcessIdentity(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	targetOf := func(action string, args faulttest.Args) target.Identity {
		t.Helper()
		p, err := faults.Plan(t, faulttest.Env(t), action, args)
		if err != nil || len(p.Targets) != 1 {
			t.Fatal(p.Targets, err)
		}
		return p.Targets[0]
	}
	first := recovery.NewTargetLocks(recovery.Holder{Run: "20200101-000000-aaaa", Runner: self})
	defer first.Close()
	if err := first.Lock(targetOf("disk.write", faulttest.Args{"path": dir, "size": "8MiB"})); err != nil {
		t.Fatal(err)
	}
	second := recovery.NewTargetLocks(recovery.Holder{Run: "20200101-000000-bbbb", Runner: self})
	defer second.Close()
	for action, args := range map[string]faulttest.Args{
		"disk.write": {"path": dir, "size": "8MiB"}, "disk.read": {"path": inside, "size": "8MiB"}, "disk.fill": {"path": inside, "size": "8MiB"},
	} {
		err := second.Lock(targetOf(action, args))
		if err == nil || !strings.Contains(err.Error(), "is being used by run 20200101-000000-aaaa") {
			t.Errorf("%s: %v", action, err)
		}
	}
}
