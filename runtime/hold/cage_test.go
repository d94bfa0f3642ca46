package hold

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaos/runtime/needtest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// turncoat is a daemon that has left everything by which it could be told: parent, group, session and environment.
const turncoat = `env -i setsid sh -c '(setsid sleep 1003 &) ; exit 0' ; exec sleep 1000`

// caged skips where no cgroup of version 2 can be made; a CI in which it cannot is set up wrongly.
func caged(t *testing.T, m Mark) {
	t.Helper()
	if m.Cage != "" {
		return
	}
	needtest.Lacks(t, "this needs root and a writable cgroup2")
}

// killBoth kills the runner of a turncoat and its helper at once, and gives the turncoat, which is left.
func killBoth(t *testing.T) (Mark, target.Process) {
	t.Helper()
	cmd, mark := runner(t, turncoat)
	caged(t, mark)
	var it target.Process
	within(t, slow, "the turncoat is up", func() bool {
		all := living(mark.Helper.Pid())
		i := slices.IndexFunc(all, func(p target.Process) bool { return p.CommandLine() == "sleep 1003" })
		if i >= 0 {
			it = all[i]
		}
		return i >= 0
	})
	if env, err := it.Environ(); err != nil || slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, markVar) }) {
		t.Fatalf("it is marked: %v %v", env, err)
	}
	mark.Helper.Signal(unix.SIGSTOP) // so that it cannot act between the two
	cmd.Process.Kill()
	mark.Helper.Signal(unix.SIGKILL)
	cmd.Wait()
	within(t, slow, "the helper is gone", func() bool { return !mark.Helper.Alive() })
	if !it.Identity().Alive() {
		t.Fatal("it ended by itself, so this shows nothing")
	}
	return mark, it
}

func removed(t *testing.T, dir string) {
	t.Helper()
	within(t, slow, "its cgroup is removed", func() bool {
		_, err := os.Stat(dir)
		if err == nil {
			os.Remove(dir) // a zombie of this test may have kept it
		}
		return errors.Is(err, fs.ErrNotExist)
	})
}

func TestADaemonThatWipedItsTracksIsFoundByItsCgroup(t *testing.T) {
	mark, it := killBoth(t)
	left, err := mark.Left()
	if err != nil || !slices.ContainsFunc(left, func(p target.Process) bool { return p.Pid == it.Pid }) {
		t.Errorf("left %v, %v", left, err)
	}
	if err := mark.End(context.Background()); err != nil {
		t.Error(err)
	}
	if it.Identity().Alive() {
		t.Error("it is alive")
	}
	removed(t, mark.Cage)
}

// What no undo record names is found as well.
func TestOrphansAreEndedWithoutTheirRecords(t *testing.T) {
	mark, it := killBoth(t)
	ended, err := EndOrphans(context.Background())
	if err != nil || !strings.Contains(strings.Join(ended, "\n"), "sleep 1003") {
		t.Errorf("%v %v", ended, err)
	}
	if it.Identity().Alive() {
		t.Error("it is alive")
	}
	removed(t, mark.Cage)
}

func TestTheCgroupIsRemovedAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(*Client, Mark){
		"by the helper":    func(c *Client, _ Mark) { c.Close() },
		"after the helper": func(c *Client, m Mark) { m.Helper.Signal(unix.SIGKILL); <-c.Died(); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c := NewClient(nil)
			p := begin(t, c, shell(t, tree))
			mark := p.Mark()
			if mark.Cage == "" {
				c.Close()
			}
			caged(t, mark)
			if data := read(t, filepath.Join(mark.Cage, "cgroup.procs")); data == "" {
				t.Error("nothing is in it")
			}
			end(c, mark)
			removed(t, mark.Cage)
		})
	}
}
