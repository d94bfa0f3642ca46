package file

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/needtest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

func TestReplaceAndRestore(t *testing.T) {
	e := setting(t)
	path := filepath.Join(e.Dir, "app.conf")
	store(t, path, "old", 0o640)
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 1234, 4321); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o640|os.ModeSetgid); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(path, "user.note", []byte("mine"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	long := time.Now().Add(-1234567 * time.Second).Round(time.Microsecond)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, e.Dir)
	f, led := mustPut(t, e, "app.conf", "new content")
	if got := content(t, path); got != "new content" {
		t.Errorf("it holds %q", got)
	}
	if effect, detail := f.Effect(context.Background()); effect != actions.Yes {
		t.Errorf("effect %s (%s)", effect, detail)
	}
	during := snapshot(t, e.Dir)
	if fields := strings.Fields(before)[1:3]; !strings.Contains(during, strings.Join(fields, " ")) {
		t.Errorf("mode or owner changed:\n%s%s", before, during)
	}
	if len(led.undos) != 1 || led.applied != 1 || led.undos[0].Lifetime != actions.Guardian || stateOf(t, led.undos[0]) != actions.Present {
		t.Errorf("the records are %+v", led.undos)
	}
	for range 2 {
		if s := revert(t, led.undos[0]); s != actions.Gone {
			t.Errorf("after the undo it is %s", s)
		}
		if after := snapshot(t, e.Dir); after != before {
			t.Errorf("not as before:\n%s%s", before, after)
		}
	}
}

func TestCreateAndRemove(t *testing.T) {
	e := setting(t)
	before := snapshot(t, e.Dir)
	f, led := mustPut(t, e, filepath.Join(e.Dir, "flag"), "")
	if info, err := os.Stat(filepath.Join(e.Dir, "flag")); err != nil || info.Size() != 0 {
		t.Fatal(err)
	}
	if effect, detail := f.Effect(context.Background()); effect != actions.Yes {
		t.Errorf("effect %s (%s)", effect, detail)
	}
	if s := elsewhere(t, led.undos[0]); s != "gone" {
		t.Errorf("another process leaves it %s", s)
	}
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("left behind: %s", after)
	}
	if s := revert(t, led.undos[0]); s != actions.Gone {
		t.Errorf("the second undo leaves it %s", s)
	}
}

func TestPlanDoesNothing(t *testing.T) {
	e := setting(t)
	store(t, filepath.Join(e.Dir, "a"), "old", 0o600)
	before := snapshot(t, e.Dir)
	p, err := planPut(e, "a", "new")
	if err != nil {
		t.Fatal(err)
	}
	if p.Lifetime != actions.Guardian || p.Why == "" || !strings.HasPrefix(p.Does, "put 3B into ") || len(p.Undo) != 1 ||
		len(p.Targets) != 1 || p.Targets[0].ID != filepath.Join(e.Dir, "a") || p.Targets[0].Kind != "file" {
		t.Errorf("the plan is %+v", p)
	}
	if p, err = planPut(e, "b", "new"); err != nil || !strings.HasPrefix(p.Does, "create ") || p.Undo[0] != "remove "+filepath.Join(e.Dir, "b") {
		t.Errorf("the plan is %+v (%v)", p, err)
	}
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("planning acted: %s", after)
	}
}

func TestTheRecordComesFirst(t *testing.T) {
	e := setting(t)
	path := filepath.Join(e.Dir, "a")
	store(t, path, "old", 0o644)
	before := snapshot(t, e.Dir)
	p, err := planPut(e, "a", "new")
	if err != nil {
		t.Fatal(err)
	}
	refuse := errors.New("the journal is full")
	led := &ledger{onIntend: func(u actions.Undo) error {
		if now := snapshot(t, e.Dir); now != before {
			t.Errorf("it acted before the record was on disk:\n%s", now)
		}
		_, was, err := read(u)
		if err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(was.Backup); err != nil || info.Mode() != 0o600 || content(t, was.Backup) != "old" || !strings.HasPrefix(was.Backup, e.RunDir) {
			t.Errorf("the backup is %v (%v)", was, err)
		}
		if !strings.Contains(u.Manual, was.Backup) {
			t.Errorf("by hand: %s", u.Manual)
		}
		return refuse
	}}
	if _, err := p.Inject(context.Background(), led); !errors.Is(err, refuse) {
		t.Errorf("without a record it says %v", err)
	}
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("without a record it acted: %s", after)
	}
	// The record is there, the act never was.
	if s := elsewhere(t, led.undos[0]); s != "gone" {
		t.Errorf("an undo without an act leaves it %s", s)
	}
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("an undo without an act changed it: %s", after)
	}
}

func TestForeignChangesAreLeftAlone(t *testing.T) {
	e := setting(t)
	path := filepath.Join(e.Dir, "a")
	t.Run("replaced, then changed", func(t *testing.T) {
		store(t, path, "old", 0o644)
		f, led := mustPut(t, e, "a", "new")
		store(t, path, "somebody's", 0o644)
		if effect, _ := f.Effect(context.Background()); effect != actions.No {
			t.Errorf("effect %s", effect)
		}
		if s := elsewhere(t, led.undos[0]); s != "foreign" || content(t, path) != "somebody's" {
			t.Errorf("%s: %s", s, content(t, path))
		}
		if s := revert(t, led.undos[0]); s != actions.Foreign || content(t, path) != "somebody's" {
			t.Errorf("%s: %s", s, content(t, path))
		}
	})
	t.Run("replaced, then removed", func(t *testing.T) {
		store(t, path, "old", 0o600)
		_, led := mustPut(t, e, "a", "new")
		os.Remove(path)
		if s := revert(t, led.undos[0]); s != actions.Gone || content(t, path) != "old" {
			t.Errorf("%s: %s", s, content(t, path))
		}
		os.Remove(path)
	})
	t.Run("created, then removed", func(t *testing.T) {
		f, led := mustPut(t, e, "a", "new")
		os.Remove(path)
		if effect, _ := f.Effect(context.Background()); effect != actions.No {
			t.Errorf("effect %s", effect)
		}
		if s := revert(t, led.undos[0]); s != actions.Gone {
			t.Error(s)
		}
	})
	t.Run("created, then something else stands there", func(t *testing.T) {
		for what, make := range map[string]func() error{
			"a folder": func() error { return os.Mkdir(path, 0o755) },
			"a link":   func() error { return os.Symlink("/etc/hostname", path) },
			"a pipe":   func() error { return unix.Mkfifo(path, 0o600) },
		} {
			_, led := mustPut(t, e, "a", "new")
			os.Remove(path)
			if err := make(); err != nil {
				t.Fatal(err)
			}
			if s := revert(t, led.undos[0]); s != actions.Foreign {
				t.Errorf("%s is %s", what, s)
			}
			os.Remove(path)
		}
	})
	t.Run("the whole folder is gone", func(t *testing.T) {
		for _, old := range []string{"", "old"} {
			sub := filepath.Join(e.Dir, "sub")
			os.Mkdir(sub, 0o755)
			want := actions.Gone
			if old != "" {
				store(t, filepath.Join(sub, "x"), old, 0o600)
				want = actions.Foreign
			}
			_, led := mustPut(t, e, "sub/x", "new")
			os.RemoveAll(sub)
			if s := revert(t, led.undos[0]); s != want {
				t.Errorf("%q: %s", old, s)
			}
		}
	})
}

func TestADamagedBackupIsSaid(t *testing.T) {
	e := setting(t)
	path := filepath.Join(e.Dir, "a")
	store(t, path, "old", 0o644)
	_, led := mustPut(t, e, "a", "new")
	_, was, _ := read(led.undos[0])
	for _, damage := range []func(){func() { store(t, was.Backup, "odd", 0o600) }, func() { os.Remove(was.Backup) }} {
		damage()
		err := putReverter{}.Revert(context.Background(), env.Env{}, led.undos[0])
		if err == nil || !strings.Contains(err.Error(), was.Backup) || content(t, path) != "new" {
			t.Errorf("%v, and it holds %s", err, content(t, path))
		}
	}
	if names, _ := os.ReadDir(e.Dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestLinksAreFollowed(t *testing.T) {
	e := setting(t)
	real := filepath.Join(e.Dir, "real")
	store(t, real, "old", 0o644)
	if err := os.Symlink("real", filepath.Join(e.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, e.Dir)
	p, err := planPut(e, "link", "new")
	if err != nil || !strings.Contains(p.Does, "through a link") || p.Targets[0].ID != real {
		t.Fatalf("the plan is %+v (%v)", p, err)
	}
	_, led := mustPut(t, e, "link", "new")
	if to, err := os.Readlink(filepath.Join(e.Dir, "link")); err != nil || to != "real" || content(t, real) != "new" {
		t.Errorf("the link was replaced: %v", err)
	}
	revert(t, led.undos[0])
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("not as before:\n%s%s", before, after)
	}
}

func TestRefusals(t *testing.T) {
	e := setting(t)
	os.Mkdir(filepath.Join(e.Dir, "folder"), 0o755)
	os.Symlink("nowhere", filepath.Join(e.Dir, "dangling"))
	os.Symlink("circle", filepath.Join(e.Dir, "circle"))
	unix.Mkfifo(filepath.Join(e.Dir, "pipe"), 0o600)
	store(t, filepath.Join(e.Dir, "one"), "x", 0o644)
	os.Link(filepath.Join(e.Dir, "one"), filepath.Join(e.Dir, "two"))
	before := snapshot(t, e.Dir)
	for path, want := range map[string]string{
		"folder":         "is a folder",
		"folder/":        "is a folder",
		"~/x":            "begins with a tilde",
		"dangling":       `is a link to "nowhere", which does not exist`,
		"circle":         "its symbolic links lead in a circle",
		"pipe":           "is no plain file",
		"/dev/null":      "is no plain file",
		"one":            "has 2 names (hard links)",
		"missing/file":   "there is no folder " + e.Dir + "/missing",
		"one/below/file": "there is no folder " + e.Dir + "/one/below",
	} {
		_, err := planPut(e, path, "new")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "`path`: ") {
			t.Errorf("%s: %v", path, err)
		}
		var none *target.NoneError
		if later := strings.Contains(want, "there is no folder"); errors.As(err, &none) != later {
			t.Errorf("%s: setup may bring it: %v", path, !later)
		}
	}
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("a refusal acted:\n%s", after)
	}
}

func TestTheSameContentIsNoChange(t *testing.T) {
	e := setting(t)
	store(t, filepath.Join(e.Dir, "a"), "same", 0o644)
	before := snapshot(t, e.Dir)
	f, led := mustPut(t, e, "a", "same")
	if effect, _ := f.Effect(context.Background()); effect != actions.Yes || len(led.undos) != 0 || snapshot(t, e.Dir) != before {
		t.Errorf("effect %s, records %v", effect, led.undos)
	}
}

func TestLayers(t *testing.T) {
	e := setting(t)
	path := filepath.Join(e.Dir, "a")
	orders := [][]int{{2, 1, 0}, {0, 1, 2}, {1, 2, 0}, {0, 2, 1}, {1, 0, 2}, {2, 0, 1}}
	for _, existed := range []bool{true, false} {
		for _, order := range orders {
			os.Remove(path)
			if existed {
				store(t, path, "old", 0o644)
			}
			before := snapshot(t, e.Dir)
			var undos []actions.Undo
			for i := range 3 {
				_, led := mustPut(t, e, "a", fmt.Sprintf("layer %d", i))
				undos = append(undos, led.undos...)
			}
			for n, i := range order {
				last := n == len(order)-1
				if last { // the machinery must not depend on what this process remembers
					if s := elsewhere(t, undos[i]); s != "gone" {
						t.Errorf("%v, existed %v: the last is %s", order, existed, s)
					}
				} else if s := revert(t, undos[i]); s != actions.Gone {
					t.Errorf("%v, existed %v: undo %d is %s", order, existed, i, s)
				}
			}
			if after := snapshot(t, e.Dir); after != before {
				t.Errorf("%v, existed %v: not as before:\n%s%s", order, existed, before, after)
			}
		}
	}
}

func TestConcurrentPuts(t *testing.T) {
	e := setting(t)
	path := filepath.Join(e.Dir, "a")
	store(t, path, "old", 0o644)
	before := snapshot(t, e.Dir)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				p, err := planPut(e, "a", fmt.Sprintf("%d/%d", i, j))
				if err != nil {
					t.Error(err)
					return
				}
				led := &ledger{}
				if _, err := p.Inject(context.Background(), led); err != nil {
					t.Error(err)
					return
				}
				for _, u := range led.undos {
					if err := (putReverter{}).Revert(context.Background(), env.Env{}, u); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("not as before:\n%s%s", before, after)
	}
}

func TestCancelledBeforeTheAct(t *testing.T) {
	e := setting(t)
	store(t, filepath.Join(e.Dir, "a"), "old", 0o644)
	before := snapshot(t, e.Dir)
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("a guard tripped")
	p, err := planPut(e, "a", "new")
	if err != nil {
		t.Fatal(err)
	}
	led := &ledger{onIntend: func(actions.Undo) error { cancel(stop); return nil }}
	if _, err := p.Inject(ctx, led); !errors.Is(err, stop) {
		t.Error(err)
	}
	if after := snapshot(t, e.Dir); after != before {
		t.Errorf("not as before:\n%s", after)
	}
}

// TestKilledAtAnyInstant is the promise itself: inject, SIGKILL at a random instant, undo from the record alone, and
// the folder is as it was.
func TestKilledAtAnyInstant(t *testing.T) {
	e := setting(t)
	path := filepath.Join(e.Dir, "a")
	journal := filepath.Join(e.RunDir, "journal")
	var reached [3]int
	for i := range 40 {
		os.Remove(path)
		if i%2 == 0 {
			store(t, path, strings.Repeat("old ", 50_000), 0o604)
		}
		before := snapshot(t, e.Dir)
		os.Remove(journal)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FILE_TEST_AS=victim", "FILE_TEST_PATH="+path, "FILE_TEST_RUN="+e.RunDir, "FILE_TEST_JOURNAL="+journal,
			"FILE_TEST_CONTENT="+strings.Repeat("new ", 20_000))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out.Read(make([]byte, 1)) // it is about to act
		time.Sleep(time.Duration(rand.IntN(6_000)) * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		data, err := os.ReadFile(journal)
		if err != nil {
			reached[0]++
		} else {
			if snapshot(t, e.Dir) == before {
				reached[1]++
			} else {
				reached[2]++
			}
			u := parse(t, data)
			for range 2 {
				if s := revert(t, u); s != actions.Gone {
					t.Errorf("it is %s", s)
				}
			}
		}
		if after := snapshot(t, e.Dir); after != before {
			t.Fatalf("not as before:\n%s%s", before, after)
		}
	}
	t.Logf("killed before the record %d times, before the change %d, after it %d", reached[0], reached[1], reached[2])
}

func TestADiskThatIsFull(t *testing.T) {
	needtest.Root(t)
	small := t.TempDir()
	if err := unix.Mount("chaos-test", small, "tmpfs", 0, "size=64k"); err != nil {
		needtest.Lacks(t, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	e := setting(t)
	path := filepath.Join(small, "a")
	store(t, path, "old", 0o644)
	before := snapshot(t, small)
	_, led, err := tryPut(t, e, path, strings.Repeat("x", 1<<20))
	if err == nil || !strings.Contains(err.Error(), path+" cannot be written: the disk is full") {
		t.Errorf("it says %v", err)
	}
	if after := snapshot(t, small); after != before {
		t.Errorf("not as before:\n%s", after)
	}
	if s := revert(t, led.undos[0]); s != actions.Gone {
		t.Error(s)
	}
	// The run's folder is the full one.
	e.RunDir, e.Dir = small, t.TempDir()
	store(t, filepath.Join(e.Dir, "b"), strings.Repeat("y", 1<<20), 0o644)
	_, led, err = tryPut(t, e, "b", "new")
	if err == nil || !strings.Contains(err.Error(), "cannot be kept in "+small) || len(led.undos) != 0 || len(content(t, filepath.Join(e.Dir, "b"))) != 1<<20 {
		t.Errorf("it says %v", err)
	}
	// The disk fills up after the put: the undo says so, and works once there is room.
	e.RunDir, e.Dir = t.TempDir(), small
	store(t, path, strings.Repeat("z", 16<<10), 0o644)
	before = snapshot(t, small)
	_, led = mustPut(t, e, "a", "new")
	fill, _ := os.Create(filepath.Join(small, "fill"))
	for {
		if _, err := fill.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	fill.Close()
	if err := (putReverter{}).Revert(context.Background(), env.Env{}, led.undos[0]); err == nil || !strings.Contains(err.Error(), "cannot be restored: the disk is full") {
		t.Errorf("it says %v", err)
	}
	os.Remove(filepath.Join(small, "fill"))
	// What the first case kept stands in the folder as well.
	if s := elsewhere(t, led.undos[0]); s != "gone" || snapshot(t, small) != before {
		t.Errorf("%s:\n%s%s", s, before, snapshot(t, small))
	}
	// And a file system that takes no writing at all.
	if err := unix.Mount("", small, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := planPut(e, path, "new"); err == nil || !strings.Contains(err.Error(), "the file system is read-only") {
		t.Errorf("it says %v", err)
	}
}

// TestWithoutRights asks another user's process what it lacks.
func TestWithoutRights(t *testing.T) {
	needtest.Root(t)
	dir, err := os.MkdirTemp("", "file-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "self")
	if err := os.WriteFile(self, program, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	open := filepath.Join(dir, "open")
	os.Mkdir(open, 0o755)
	os.Chmod(open, 0o777)
	store(t, filepath.Join(open, "roots"), "x", 0o644)
	store(t, filepath.Join(open, "secret"), "x", 0o600)
	store(t, filepath.Join(open, "own"), "x", 0o600)
	os.Chown(filepath.Join(open, "own"), nobody, nobody)
	for path, want := range map[string]string{
		filepath.Join(dir, "new"):     "privilege CAP_DAC_OVERRIDE: this user may not write into " + dir,
		filepath.Join(open, "roots"):  "privilege CAP_CHOWN: " + filepath.Join(open, "roots") + " belongs to another user",
		filepath.Join(open, "secret"): "privilege CAP_DAC_OVERRIDE: this user may not read",
		filepath.Join(open, "own"):    "",
		filepath.Join(open, "new"):    "",
	} {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "FILE_TEST_AS=planner", "FILE_TEST_PATH="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) || want == "" && len(out) > 0 {
			t.Errorf("%s: %s (%v)", path, out, err)
		}
	}
}

func TestOldRecords(t *testing.T) {
	e := setting(t)
	_, led := mustPut(t, e, "a", "new")
	t.Cleanup(func() { revert(t, led.undos[0]) })
	u := led.undos[0]
	u.Version = 99
	if err := (putReverter{}).Revert(context.Background(), env.Env{}, u); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Error(err)
	}
	u = led.undos[0]
	u.Args = []byte(`{"path":"/etc/passwd"}`)
	if err := (putReverter{}).Revert(context.Background(), env.Env{}, u); err == nil || !strings.Contains(err.Error(), "incomplete") {
		t.Error(err)
	}
}

func TestTheSpec(t *testing.T) {
	s := All()[0].Spec()
	if s.Irreversible(func(string) bool { return false }) || !strings.Contains(s.Example, s.Name) || s.Summary == "" || s.Lifetime == "" {
		t.Errorf("the spec is %+v", s)
	}
	for _, p := range s.Params {
		if p.Help == "" {
			t.Errorf("%s lacks help", p.Name)
		}
	}
	if Reverters()[0].Kind() != "file.put" {
		t.Error("the kind is for ever")
	}
}
