package target

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chaos/runtime/needtest"
)

// aUnit is a cgroup as systemd makes one for a service, with a main process that has a child.
func aUnit(t *testing.T) (name string, main int) {
	t.Helper()
	name = fmt.Sprintf("chaos-test-%d.service", os.Getpid())
	var dir string
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err == nil {
			if path := filepath.Join(mount, name); os.Mkdir(path, 0o755) == nil {
				dir = path
				break
			}
		}
	}
	if dir == "" {
		needtest.Lacks(t, "this needs root and a writable cgroup2, or systemd's hierarchy")
	}
	cmd := exec.Command("sh", "-c", `echo $$ > "$0"; sleep 1000 & wait`, filepath.Join(dir, "cgroup.procs"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := func() []string {
		data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		return strings.Fields(string(data))
	}
	t.Cleanup(func() {
		for _, pid := range pids() {
			if id, err := ProcessIdentity(atoi(pid)); err == nil {
				id.Signal(unix.SIGKILL)
			}
		}
		cmd.Wait()
		for range 500 { // what was killed leaves in a moment
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s is left", dir)
	})
	for end := time.Now().Add(10 * time.Second); len(pids()) < 2; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the unit is not up")
		}
	}
	return name, cmd.Process.Pid
}

func atoi(s string) (n int) { fmt.Sscan(s, &n); return n }

func TestAUnitSelectsItsMainProcess(t *testing.T) {
	name, main := aUnit(t)
	for _, written := range []string{name, strings.TrimSuffix(name, ".service")} {
		found, err := Selector{Unit: &written}.Resolve(Pick{}, nil)
		if err != nil || len(found) != 1 || found[0].Identity.Pid() != main {
			t.Errorf("%s: %v %v, want pid %d", written, found, err, main)
		}
	}
}

func TestAUnitThatIsNotThereSaysWhy(t *testing.T) {
	name := "no-such-unit"
	_, err := Selector{Unit: &name}.Resolve(Pick{}, nil)
	var none *NoneError
	if _, serr := os.Stat("/run/systemd/system"); serr == nil {
		if !errors.As(err, &none) {
			t.Errorf("%v, want none", err)
		}
	} else if err == nil || errors.As(err, &none) || !strings.Contains(err.Error(), "systemd does not run here") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "a/b", "a b"} {
		if _, err := (Selector{Unit: &bad}).Resolve(Pick{}, nil); err == nil || !strings.Contains(err.Error(), "no name of a systemd unit") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
