package recovery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"chaos/runtime/filefail"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// Holder is the run that holds a lock, for those who are refused.
type Holder struct {
	Run     string          `json:"run"`
	RunsDir string          `json:"runs_dir"`
	Runner  target.Identity `json:"runner"`
}

// LockedError says that another run acts on the same target.
type LockedError struct {
	Target target.Identity
	By     Holder // the zero one where it cannot be told
	User   string // whose run it is, "" for our own
	Dir    string // our own folder of runs
}

func (e *LockedError) Error() string {
	text, stop := fmt.Sprintf("%s is being used by another run of chaos", e.Target), ""
	if e.By.Run != "" {
		text = fmt.Sprintf("%s is being used by run %s (pid %s)", e.Target, e.By.Run, e.By.Runner.ID)
		stop = "`chaos stop " + e.By.Run + "`"
		if e.By.RunsDir != e.Dir {
			stop = "`chaos stop " + e.By.Run + " --runs " + e.By.RunsDir + "`"
		}
	}
	switch {
	case e.User != "":
		return text + " of user " + e.User + "; wait for it, or ask them to stop it"
	case stop != "":
		return text + "; wait for it, or stop it with " + stop
	}
	return text + "; wait for it"
}

// TargetLocks are the targets that this process has locked against the other runs on the machine, whoever's they are. The
// kernel unlocks them when the process ends, whatever ends it.
//
// A lock is a flock(2) on a file in a folder that all users share. Others may put what they like there: so no link is
// followed, nothing is read from but a plain file, and nothing is written but to a file that this process has just made. All
// that another user can do is to hold a lock, as with a run of theirs.
type TargetLocks struct {
	dir    string
	holder Holder
	held   map[string]*os.File
}

// NewTargetLocks makes an empty set. holder is what others read when they are refused.
func NewTargetLocks(holder Holder) *TargetLocks {
	return &TargetLocks{dir: sharedFolder(), holder: holder, held: map[string]*os.File{}}
}

// sharedFolder is the first that every user may write to, and in which nobody may remove what others made.
func sharedFolder() string {
	for _, dir := range []string{"/run/lock", "/dev/shm"} {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil && st.Uid == 0 && st.Mode&(unix.S_IFMT|unix.S_ISVTX|0o777) == unix.S_IFDIR|unix.S_ISVTX|0o777 {
			return dir
		}
	}
	return "/tmp"
}

// file is where a target's lock is.
func (l *TargetLocks) file(id target.Identity) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", id.Kind, id.ID, id.Start))
	return filepath.Join(l.dir, "chaos-"+hex.EncodeToString(sum[:12])+".lock")
}

// Free looks whether another run has locked a target. It takes no lock, not even for a moment, as a run that starts just
// then would be refused.
func (l *TargetLocks) Free(id target.Identity) error {
	path := l.file(id)
	if l.held[path] != nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if locks, err := os.ReadFile("/proc/locks"); err != nil || !flocked(string(locks), f) {
		return nil
	}
	return l.refusal(id, f)
}

// flocked finds a file in /proc/locks, whose lines are "1: FLOCK  ADVISORY  WRITE PID MAJOR:MINOR:INODE 0 EOF"; see
// proc_locks(5).
func flocked(locks string, f *os.File) bool {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	name := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(locks) {
		if fields := strings.Fields(line); len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == name {
			return true
		}
	}
	return false
}

// Lock locks a target; a second time in the same run is no conflict.
func (l *TargetLocks) Lock(id target.Identity) error {
	path := l.file(id)
	if l.held[path] != nil {
		return nil
	}
	for {
		f, err := l.open(path)
		if errors.Is(err, fs.ErrExist) {
			continue // somebody was quicker
		}
		if errors.Is(err, fs.ErrPermission) { // just made, and not yet open to all
			return &LockedError{Target: id, User: owner(path)}
		}
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			defer f.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return err
			}
			if l.ours(f) { // made by us, and somebody was quicker to lock it: they will make their own
				continue
			}
			return l.refusal(id, f)
		}
		// The holder before may have removed the file between our open and our lock: then this lock locks nothing.
		if !sameFile(f, path) {
			f.Close()
			continue
		}
		if !l.ours(f) { // what a run left that was killed: made anew, to say who holds it now
			err := os.Remove(path)
			if err == nil {
				f.Close()
				continue
			}
			// Another user's, so it stays, and locks as well as any.
		}
		l.held[path] = f
		return nil
	}
}

// open opens the file of a lock, or makes it.
func (l *TargetLocks) open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == nil {
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			f.Close()
			return nil, fmt.Errorf("%s is no plain file: remove it", path)
		}
		return f, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		return nil, fmt.Errorf("%s cannot be made: %s", path, filefail.Why(err))
	}
	about, err := json.Marshal(l.holder)
	if err == nil {
		_, err = f.Write(about)
	}
	if err == nil {
		err = f.Chmod(0o644) // whatever the umask: others must be able to lock it when we are gone
	}
	if err != nil {
		os.Remove(path)
		f.Close()
		return nil, err
	}
	return f, nil
}

// readHolder tells who made the file of a lock.
func readHolder(f *os.File) (h Holder) {
	data, _ := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	_ = json.Unmarshal(data, &h)
	return h
}

func (l *TargetLocks) ours(f *os.File) bool { return readHolder(f) == l.holder }

func (l *TargetLocks) refusal(id target.Identity, f *os.File) error {
	e := &LockedError{Target: id, User: owner(f.Name()), Dir: l.holder.RunsDir}
	// One that is dead has only left the file, and somebody else, who cannot write to it, holds it.
	if h := readHolder(f); h.Runner.Alive() && plain(h.Run) {
		e.By = h
	} else {
		e.User = ""
	}
	return e
}

// plain tells a run's id from what another user may have written instead, for us to print.
func plain(id string) bool {
	return id != "" && len(id) < 40 && strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz-") == ""
}

// owner is the user who made a file, "" for ourselves.
func owner(path string) string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || int(st.Uid) == os.Geteuid() {
		return ""
	}
	uid := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(uid); err == nil && u.Username != "" {
		return u.Username
	}
	return uid
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	b, err2 := os.Lstat(path)
	return err == nil && err2 == nil && os.SameFile(a, b)
}

// Close unlocks everything.
func (l *TargetLocks) Close() {
	for path, f := range l.held {
		os.Remove(path)
		f.Close()
	}
	l.held = map[string]*os.File{}
	l.tidy()
}

// tidy removes what runs left that were killed.
func (l *TargetLocks) tidy() {
	left, _ := filepath.Glob(filepath.Join(l.dir, "chaos-*.lock"))
	for _, path := range left {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && sameFile(f, path) {
			os.Remove(path) // another user's stays, in a folder where only they may
		}
		f.Close()
	}
}
