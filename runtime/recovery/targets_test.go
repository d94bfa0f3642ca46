package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaos/runtime/target"
)

// twoRuns are the locks of two runs, and a target that nobody else has.
func twoRuns(t *testing.T) (a, b *TargetLocks, id target.Identity) {
	t.Helper()
	self, err := target.ProcessIdentity(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	a = NewTargetLocks(Holder{Run: "run-a", RunsDir: "/runs", Runner: self})
	b = NewTargetLocks(Holder{Run: "run-b", RunsDir: "/elsewhere", Runner: self})
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	return a, b, target.Identity{Kind: "test", ID: t.TempDir()}
}

// files lists what the locks are made of.
func (l *TargetLocks) files() []string {
	var out []string
	for path := range l.held {
		out = append(out, path)
	}
	return out
}

func TestALockedTargetIsRefusedToAnotherRunThatIsToldWhose(t *testing.T) {
	a, b, id := twoRuns(t)
	for range 2 { // a second time is no conflict
		if err := a.Lock(id); err != nil {
			t.Fatal(err)
		}
	}
	var locked *LockedError
	if err := b.Lock(id); !errors.As(err, &locked) || !strings.Contains(err.Error(), "run run-a (pid ") || !strings.HasSuffix(err.Error(), "`chaos stop run-a --runs /runs`") {
		t.Errorf("%v", err)
	}
	path := a.files()[0]
	a.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is left", path)
	}
	if err := b.Lock(id); err != nil {
		t.Error(err)
	}
}

func TestWhatAKilledRunLeftLocksNothing(t *testing.T) {
	a, b, id := twoRuns(t)
	if err := a.Lock(id); err != nil {
		t.Fatal(err)
	}
	path := a.files()[0]
	a.held[path].Close() // as the kernel does for the dead
	a.held = map[string]*os.File{}
	if err := b.Lock(id); err != nil {
		t.Fatal(err)
	}
	if err := a.Lock(id); err == nil || !strings.Contains(err.Error(), "run run-b") {
		t.Errorf("%v", err)
	}

	// What nobody asks for again goes with the next run that ends.
	stale := filepath.Join(b.dir, "chaos-test-of-stale-locks.lock")
	if err := os.WriteFile(stale, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("%s is left", stale)
		os.Remove(stale)
	}
}

func TestALockFollowsNoLink(t *testing.T) {
	a, _, id := twoRuns(t)
	if err := a.Lock(id); err != nil {
		t.Fatal(err)
	}
	path := a.files()[0]
	a.Close()
	precious := filepath.Join(t.TempDir(), "precious")
	os.WriteFile(precious, []byte("as it was"), 0o600)
	if err := os.Symlink(precious, path); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	if err := a.Lock(id); err == nil {
		t.Error("it followed the link")
	}
	if data, _ := os.ReadFile(precious); string(data) != "as it was" {
		t.Errorf("it wrote %q", data)
	}
}
