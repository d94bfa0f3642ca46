package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

const (
	kind    = "file.put"
	version = 1 // of written and prior in the undo records
)

// written is what a record says of the new file.
type written struct {
	Path  string `json:"path"`          // absolute, without symbolic links
	Temp  string `json:"temp"`          // what it is written as before the rename, in the same folder
	Wrote string `json:"wrote"`         // hash of the content
	New   string `json:"new,omitempty"` // the content, in the run's folder, where it is written in place
}

// prior is what a record says of the old file.
type prior struct {
	Existed bool              `json:"existed"`
	Backup  string            `json:"backup,omitempty"` // the old content, in the run's folder
	Hash    string            `json:"hash,omitempty"`
	Mode    uint32            `json:"mode,omitempty"` // permission bits, with set-uid and the like
	UID     int               `json:"uid,omitempty"`
	GID     int               `json:"gid,omitempty"`
	Mtime   int64             `json:"mtime,omitempty"` // nanoseconds since 1970
	Xattrs  map[string][]byte `json:"xattrs,omitempty"`
}

// putting lets one put at a time look at a file, keep it and replace it.
var putting sync.Mutex

func inject(ctx context.Context, e env.Env, led actions.Ledger, in putArgs) (actions.Fault, error) {
	putting.Lock()
	defer putting.Unlock()
	at, err := locate(e.Dir, in.Path) // as it is now: the plan may be old
	if err != nil {
		return actions.Fault{}, err
	}
	rec := written{Path: at.path, Temp: filepath.Join(filepath.Dir(at.path), ".chaos-"+random()), Wrote: hashOf([]byte(in.Content))}
	effect := func(context.Context) (actions.Effect, string) {
		now, err := look(rec.Path)
		switch {
		case err != nil:
			return actions.Unknown, rec.Path + " cannot be read: " + filefail.Why(err)
		case now.absent:
			return actions.No, rec.Path + " is gone"
		case now.hash != rec.Wrote:
			return actions.No, rec.Path + " holds something else: another program wrote it"
		}
		return actions.Yes, "it holds the new content"
	}
	var was prior
	if at.exists() {
		now, err := look(at.path)
		if err != nil {
			return actions.Fault{}, fmt.Errorf("%s cannot be read: %s", at.path, filefail.Why(err))
		}
		if now.hash == rec.Wrote {
			return actions.Fault{Note: at.path + " holds this already, so nothing was changed", Effect: effect}, nil
		}
		if was, err = keep(ctx, e.RunDir, at); err != nil {
			return actions.Fault{}, err
		}
		if at.mount {
			if rec.New, err = keepNew(ctx, e.RunDir, in.Content); err != nil {
				return actions.Fault{}, fmt.Errorf("the new content of %s cannot be kept: %s", at.path, filefail.Why(err))
			}
		}
	}
	id, err := intend(led, at, rec, was, len(in.Content))
	if err != nil {
		return actions.Fault{}, err
	}
	// Registered before the act, as the record is: an undo must find it whenever it comes.
	standing.push(rec, was)
	if err := write(ctx, at, rec, was, in.Content); err != nil {
		os.Remove(rec.Temp)
		return actions.Fault{}, err
	}
	if err := led.Applied(id); err != nil {
		return actions.Fault{}, err
	}
	note := "created " + at.path
	if was.Existed {
		note = "replaced " + at.path
	}
	return actions.Fault{Note: note, Effect: effect}, nil
}

// keep copies the old file into the run's folder, and returns when that is on disk.
func keep(ctx context.Context, runDir string, at place) (prior, error) {
	if runDir == "" {
		return prior{}, errors.New("there is no run folder to keep the old content in")
	}
	folder := filepath.Join(runDir, "files")
	failed := func(err error) (prior, error) {
		if ctx.Err() != nil {
			return prior{}, context.Cause(ctx)
		}
		return prior{}, fmt.Errorf("the old content of %s cannot be kept in %s: %s", at.path, folder, filefail.Why(err))
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return failed(err)
	}
	was := prior{
		Existed: true, Mode: at.stat.Mode & 0o7777, UID: int(at.stat.Uid), GID: int(at.stat.Gid), Mtime: at.info.ModTime().UnixNano(),
	}
	var err error
	if was.Xattrs, err = xattrs(at.path); err != nil {
		return failed(err)
	}
	backup, err := filepath.Abs(filepath.Join(folder, filepath.Base(at.path)+"."+random()))
	if err != nil {
		return failed(err)
	}
	if len(filepath.Base(backup)) > 255 { // NAME_MAX
		backup = filepath.Join(filepath.Dir(backup), random())
	}
	if was.Hash, err = copyFile(ctx, at.path, backup); err != nil {
		os.Remove(backup)
		return failed(err)
	}
	was.Backup = backup
	for _, dir := range []string{folder, runDir} {
		if err := syncDir(dir); err != nil {
			return failed(err)
		}
	}
	return was, unchanged(at)
}

// unchanged refuses when somebody wrote to the file since it was located: the copy would be of neither state.
func unchanged(at place) error {
	now, err := os.Lstat(at.path)
	if err == nil {
		stat := now.Sys().(*syscall.Stat_t)
		if stat.Ino == at.stat.Ino && stat.Dev == at.stat.Dev && now.Size() == at.info.Size() && now.ModTime().Equal(at.info.ModTime()) {
			return nil
		}
	}
	return fmt.Errorf("%s is being changed by another program right now, so it is left alone", at.path)
}

func intend(led actions.Ledger, at place, rec written, was prior, size int) (string, error) {
	u := actions.Undo{
		Kind: kind, Version: version, Target: at.identity(), Lifetime: actions.Guardian,
		// The floor of a slow disk, 16 MiB a second, on top of the usual.
		Limit:  10*time.Second + time.Duration(max(size, oldSize(at))>>24)*time.Second,
		Manual: "rm -f " + quote(rec.Path),
	}
	if was.Existed {
		u.Manual = "cp " + quote(was.Backup) + " " + quote(rec.Path) // which keeps mode and owner: the new file has those of the old
	}
	var err error
	if u.Args, err = json.Marshal(rec); err != nil {
		return "", err
	}
	if u.Prior, err = json.Marshal(was); err != nil {
		return "", err
	}
	return led.Intend(u)
}

func oldSize(at place) int {
	if !at.exists() {
		return 0
	}
	return int(at.info.Size())
}

// write makes the new file beside the old one and renames it into place.
func write(ctx context.Context, at place, rec written, was prior, content string) error {
	failed := func(err error) error { return fmt.Errorf("%s cannot be written: %s", at.path, filefail.Why(err)) }
	if rec.New != "" {
		if err := unchanged(at); err != nil {
			return err
		}
		if err := overwrite(ctx, rec.Path, rec.New); err != nil {
			return failed(err)
		}
		return nil
	}
	f, err := os.OpenFile(rec.Temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // less the umask, as any program creates a file
	if err != nil {
		return failed(err)
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		return failed(err)
	}
	if was.Existed {
		if err := was.dress(f); err != nil {
			return fmt.Errorf("%s is left alone: %w", at.path, err)
		}
	}
	if err := f.Sync(); err != nil {
		return failed(err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if was.Existed {
		if err := unchanged(at); err != nil {
			return err
		}
		err = os.Rename(rec.Temp, rec.Path)
	} else {
		err = renameNew(rec.Temp, rec.Path)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s was created by another program meanwhile, so it is left alone", at.path)
	}
	if err != nil {
		return failed(err)
	}
	if err := syncDir(filepath.Dir(rec.Path)); err != nil {
		return failed(err)
	}
	return nil
}

// dress gives a new file the owner, mode and attributes of the old one.
func (p prior) dress(f *os.File) error {
	if err := f.Chown(p.UID, p.GID); err != nil {
		return fmt.Errorf("its owner cannot be given to a new file: %s", filefail.Why(err))
	}
	// After the owner: chown(2) clears the set-uid bit.
	if err := unix.Fchmod(int(f.Fd()), p.Mode); err != nil {
		return fmt.Errorf("its mode cannot be given to a new file: %s", filefail.Why(err))
	}
	have, err := xattrs(f.Name())
	if err != nil {
		return fmt.Errorf("the attributes of a new file cannot be read: %s", filefail.Why(err))
	}
	for name := range have { // from the folder's default access list
		if _, ok := p.Xattrs[name]; !ok {
			if err := unix.Fremovexattr(int(f.Fd()), name); err != nil && !errors.Is(err, unix.ENODATA) {
				return fmt.Errorf("a new file has the attribute %s, which it cannot lose: %s", name, filefail.Why(err))
			}
		}
	}
	for name, v := range p.Xattrs {
		if old, ok := have[name]; ok && bytes.Equal(old, v) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, v, 0); err != nil {
			return fmt.Errorf("its attribute %s cannot be given to a new file: %s", name, filefail.Why(err))
		}
	}
	return nil
}

func random() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// quote is for a shell.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }
