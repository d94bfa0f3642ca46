package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"

	"golang.org/x/sys/unix"
)

// sectors reads how many bytes the disk below a folder has read and written so far; see Documentation/block/stat.rst.
func sectors(t *testing.T, dir string) (reads, writes int64) {
	t.Helper()
	dev, err := device(dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(dev), unix.Minor(dev)))
	if err != nil {
		t.Fatal(err)
	}
	col := strings.Fields(string(data))
	fmt.Sscan(col[2], &reads)
	fmt.Sscan(col[6], &writes)
	return reads * 512, writes * 512
}

// The disk itself must see what is written or read, at the rate asked for, and all space comes back.
func TestLoadAndBack(t *testing.T) {
	dir := disk(t, "64M", "-O", "^has_journal")
	before, listing := space(t, dir), names(t, dir)
	for _, c := range []struct {
		action string
		args   faulttest.Args
		rate   float64
	}{
		{"disk.write", faulttest.Args{"rate": "6MiB/s"}, 6 * mib},
		{"disk.write", faulttest.Args{"rate": "6MiB/s", "workers": "3", "block": "64KiB", "sync": "true"}, 6 * mib},
		{"disk.write", faulttest.Args{"rate": "40KiB/s"}, 40 << 10},
		{"disk.write", faulttest.Args{}, 0},
		{"disk.read", faulttest.Args{"rate": "6MiB/s"}, 6 * mib},
		{"disk.read", faulttest.Args{"workers": "2"}, 0},
	} {
		t.Run(fmt.Sprint(c.action, c.args), func(t *testing.T) {
			e := faulttest.Env(t)
			c.args["path"], c.args["size"] = dir, "16MiB"
			p, err := faults.Plan(t, e, c.action, c.args)
			if err != nil || p.Lifetime != actions.Kernel || len(p.Targets) != 1 {
				t.Fatalf("%+v %v", p, err)
			}
			f, led := faults.Inject(t, e, c.action, c.args)
			if got := space(t, dir); got.Free > before.Free-15*mib || names(t, dir) != listing {
				t.Errorf("%d bytes are free, before %d; %s", got.Free, before.Free, names(t, dir))
			}
			// Other tests take the disk below and the cores for a moment: then it may be slower than asked for, never faster.
			fits := false
			for range 5 {
				r0, w0 := sectors(t, dir)
				begun := time.Now()
				detail := faulttest.Effect(t, f, actions.Yes)
				took := time.Since(begun).Seconds()
				r1, w1 := sectors(t, dir)
				got := float64(w1-w0) / took
				if c.action == "disk.read" {
					got = float64(r1-r0) / took
				}
				t.Logf("the disk saw %.2f MiB/s: %s", got/mib, detail)
				if c.rate > 0 && got > 1.1*c.rate+3*mib/20 { // the file system's own writes come on top
					t.Errorf("%.0f bytes per second, want %.0f", got, c.rate)
				}
				if fits = got >= 0.9*c.rate && got > 0; fits {
					break
				}
			}
			if !fits {
				t.Error("the rate was never held")
			}
			rate := f.Result.Get("rate")
			if rate.IsMissing() || rate.Float() <= 0 || c.rate > 0 && rate.Float() > 1.1*c.rate {
				t.Errorf("rate %s", rate.Short())
			}
			if effect, detail := f.Last(); effect != actions.Yes || !strings.HasPrefix(detail, "came to ") {
				t.Error(effect, detail)
			}
			f.Hold.Close()
			faults.Revert(t, e, led.Undos(), actions.Gone)
			if after := f.Result.Get("rate").Float(); after <= 0 {
				t.Error("the rate is forgotten after the undo")
			}
			if now := space(t, dir); now.Free != before.Free || names(t, dir) != listing {
				t.Errorf("free %d, before %d; %s", now.Free, before.Free, names(t, dir))
			}
		})
	}
}

// Somebody else takes the space: the load ends by itself, says so, and gives its own space back.
func TestLoadEndsAtTheFloor(t *testing.T) {
	dir := disk(t, "64M", "-O", "^has_journal")
	e := faulttest.Env(t)
	f, led := faults.Inject(t, e, "disk.write", faulttest.Args{"path": dir, "size": "8MiB", "rate": "1MiB/s"})
	file, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, space(t, dir).Available-floor(space(t, dir))/2); err != nil {
		t.Fatal(err)
	}
	faulttest.Within(t, 20*time.Second, "the load has ended", func() bool { got, _ := f.Last(); return got == actions.No })
	if _, detail := f.Last(); !strings.Contains(detail, "it ended by itself: ") || !strings.Contains(detail, "the floor is ") {
		t.Error(detail)
	}
	if now := space(t, dir); now.Available < 8*mib {
		t.Error("it kept its space:", now.Available)
	}
	faulttest.Effect(t, f, actions.No)
	faults.Revert(t, e, led.Undos(), actions.Gone)
}

// Somebody else takes what was to stay: the fill gives that much back, by itself, and says so.
func TestFillGivesBackAtTheFloor(t *testing.T) {
	dir := disk(t, "64M", "-O", "^has_journal")
	e := faulttest.Env(t)
	f, led := faults.Inject(t, e, "disk.fill", faulttest.Args{"path": dir, "leave": "4MiB"})
	least := floor(space(t, dir))
	file, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, space(t, dir).Available-least/2); err != nil {
		t.Fatal(err)
	}
	faulttest.Within(t, 20*time.Second, "it has given back", func() bool { return space(t, dir).Available >= least })
	faulttest.Within(t, 20*time.Second, "it is said", func() bool {
		effect, detail := f.Last()
		return effect == actions.Yes && strings.HasPrefix(detail, "it gave back ")
	})
	faults.Revert(t, e, led.Undos(), actions.Gone)
}

// A file system without O_TMPFILE: the name is there for a moment only.
func TestLoadNamed(t *testing.T) {
	canUnnamed = func(string) (bool, error) { return false, nil }
	defer func() { canUnnamed = stress.Unnamed }()
	dir := disk(t, "64M", "-O", "^has_journal")
	listing := names(t, dir)
	e := faulttest.Env(t)
	p, err := faults.Plan(t, e, "disk.read", faulttest.Args{"path": dir, "size": "8MiB"})
	if err != nil || p.Lifetime != actions.Guardian {
		t.Fatal(p, err)
	}
	f, led := faults.Inject(t, e, "disk.read", faulttest.Args{"path": dir, "size": "8MiB", "workers": "2"})
	faulttest.Effect(t, f, actions.Yes)
	if names(t, dir) != listing {
		t.Error(names(t, dir))
	}
	faults.Revert(t, e, led.Undos(), actions.Gone)
}

func TestLoadRefuses(t *testing.T) {
	e := faulttest.Env(t)
	dir := disk(t, "64M", "-O", "^has_journal")
	ram := disk(t, "8M")
	for want, args := range map[string]faulttest.Args{
		"lives in memory":                       {"path": ram},
		"no folder":                             {"path": filepath.Join(dir, "nowhere")},
		"`size: 256MiB` does not fit":           {"path": dir},
		"must be at least 4KiB/s":               {"path": dir, "size": "1MiB", "rate": "1KiB/s"},
		"`workers: 0`":                          {"path": dir, "size": "1MiB", "workers": "0"},
		"`block: 1KiB`":                         {"path": dir, "size": "1MiB", "block": "1KiB"},
		"is less than a block of 1MiB for each": {"path": dir, "size": "4MiB", "workers": "5"},
	} {
		faults.Refused(t, e, "disk.write", args, want)
		faults.Refused(t, e, "disk.read", args, want)
	}
}

func TestLoadIntendedOnly(t *testing.T) {
	dir := disk(t, "64M", "-O", "^has_journal")
	faults.Intended(t, faulttest.Env(t), "disk.write", faulttest.Args{"path": dir, "size": "8MiB"})
	faults.Intended(t, faulttest.Env(t), "disk.read", faulttest.Args{"path": dir, "size": "8MiB"})
}

// Whenever the runner is killed, the disk is idle and the space free within a second, with nobody's help.
func TestLoadRunnerKilled(t *testing.T) {
	dir := disk(t, "64M", "-O", "^has_journal")
	before, listing := space(t, dir), names(t, dir)
	e := faulttest.Elsewhere(faulttest.Env(t))
	for i, action := range []string{"disk.write", "disk.read"} {
		faulttest.KillAnyTime(t, 4, 300*time.Millisecond, func() *faulttest.Runner {
			return faulttest.NewRunner(t, action, faulttest.Args{"path": dir, "size": "16MiB", "workers": fmt.Sprint(i + 1)})
		}, func(r *faulttest.Runner) {
			undos := r.Undos(t)
			if len(undos) == 0 {
				return
			}
			faulttest.WithinSecond(t, "the load is gone", func() bool { return faults.State(t, e, undos[0]) == actions.Gone })
			faulttest.WithinSecond(t, "the space is free", func() bool { return space(t, dir).Free == before.Free && names(t, dir) == listing })
			faults.Revert(t, e, undos, actions.Gone)
		})
	}
}
