package recovery

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// LockedError says that another run acts on the same target.
type LockedError struct {
	Target target.Identity
	Holder string // "run 20261122-…, pid 4711"
}

func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" { // it has not said yet who it is
		holder = "another run"
	}
	return fmt.Sprintf("%s is being used by %s; wait for it, or stop it with `chaos stop`", e.Target, holder)
}

// TargetLocks are the targets that this process has locked against other runs on the machine. The kernel unlocks them
// when the process ends, whatever ends it.
type TargetLocks struct {
	dir    string
	holder string
	held   map[string]*os.File
}

// NewTargetLocks makes an empty set. holder is what others read when they are refused.
func NewTargetLocks(holder string) *TargetLocks {
	dir := "/run/chaos/locks"
	if os.Geteuid() != 0 {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("chaos-%d", os.Geteuid()), "locks")
	}
	return &TargetLocks{dir: dir, holder: holder, held: map[string]*os.File{}}
}

func fileOf(id target.Identity) string {
	return strings.NewReplacer("/", "_", "\x00", "_").Replace(fmt.Sprintf("%s-%s-%d", id.Kind, id.ID, id.Start))
}

// Free looks whether another run has locked a target, and locks nothing itself.
func (l *TargetLocks) Free(id target.Identity) error {
	path := filepath.Join(l.dir, fileOf(id))
	if l.held[fileOf(id)] != nil || !locked(path) {
		return nil
	}
	holder, _ := os.ReadFile(path)
	return &LockedError{Target: id, Holder: string(holder)}
}

// Lock locks a target; a second time in the same run is no conflict.
func (l *TargetLocks) Lock(id target.Identity) error {
	name := fileOf(id)
	if l.held[name] != nil {
		return nil
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(l.dir, name)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			defer f.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return err
			}
			holder, _ := io.ReadAll(io.LimitReader(f, 200))
			return &LockedError{Target: id, Holder: string(holder)}
		}
		// The holder before may have removed the file between our open and our lock: then this lock locks nothing.
		if !sameFile(f, path) {
			f.Close()
			continue
		}
		f.Truncate(0)
		f.WriteAt([]byte(l.holder), 0)
		l.held[name] = f
		return nil
	}
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	b, err2 := os.Stat(path)
	return err == nil && err2 == nil && os.SameFile(a, b)
}

// Close unlocks everything.
func (l *TargetLocks) Close() {
	for name, f := range l.held {
		os.Remove(filepath.Join(l.dir, name))
		f.Close()
	}
	l.held = map[string]*os.File{}
}
