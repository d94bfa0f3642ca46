package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

// putReverter gives a file back as it was before file.put.
//
// The content decides whose the file is: what we wrote is replaced by the old, the old is left as it is, anything else
// belongs to somebody else and is left alone. A file that is gone is undone where file.put created it; where it replaced
// one the old comes back, since it was there before the run.
type putReverter struct{}

func (putReverter) Kind() string { return kind }

func read(u actions.Undo) (rec written, was prior, err error) {
	if u.Version != version {
		return rec, was, fmt.Errorf("the record %s has version %d, this program knows %d: undo it with the chaos that wrote it", u.Kind, u.Version, version)
	}
	for _, part := range []struct {
		data json.RawMessage
		into any
	}{{u.Args, &rec}, {u.Prior, &was}} {
		if err := json.Unmarshal(part.data, part.into); err != nil {
			return rec, was, fmt.Errorf("the record %s cannot be read: %w", u.Kind, err)
		}
	}
	if rec.Path == "" || rec.Temp == "" || rec.Wrote == "" || was.Existed && (was.Backup == "" || was.Hash == "") {
		return rec, was, fmt.Errorf("the record %s is incomplete", u.Kind)
	}
	was, err = replaced(was)
	return rec, was, err
}

// temps are the names that a put and its undo use for a moment; a crash leaves them.
func (w written) temps() []string { return []string{w.Temp, w.undoTemp()} }

func (w written) undoTemp() string { return w.Temp + "-undo" }

func (w written) state(was prior) (actions.State, error) {
	for _, t := range w.temps() {
		if _, err := os.Lstat(t); err == nil {
			return actions.Present, nil
		}
	}
	if standing.isDropped(w) {
		return actions.Gone, nil
	}
	now, err := look(w.Path)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s cannot be read: %s", w.Path, filefail.Why(err))
	case now.absent && !was.Existed:
		return actions.Gone, nil
	case now.absent:
		if _, err := os.Stat(filepath.Dir(w.Path)); filefail.IsAbsent(err) {
			return actions.Foreign, nil // with its whole folder: nothing that we did
		}
		return actions.Present, nil
	case was.Existed && now.hash == was.Hash:
		return actions.Gone, nil
	case now.hash == w.Wrote, w.New != "" && torn(w.Path, w.New, was.Backup):
		return actions.Present, nil
	}
	return actions.Foreign, nil
}

// State looks at the file.
func (putReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	rec, was, err := read(u)
	if err != nil {
		return "", err
	}
	return rec.state(was)
}

func (putReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	putting.Lock()
	defer putting.Unlock()
	rec, was, err := read(u)
	if err != nil {
		return err
	}
	for _, t := range rec.temps() {
		if err := os.Remove(t); err != nil && !filefail.IsAbsent(err) {
			return fmt.Errorf("%s cannot be removed: %s", t, filefail.Why(err))
		}
	}
	state, err := rec.state(was)
	if err != nil {
		return err
	}
	switch {
	case state == actions.Foreign:
		return standing.drop(rec, was)
	case state == actions.Gone:
		standing.remove(rec)
		return nil
	case rec.New != "":
		err = restoreInPlace(ctx, rec, was)
	case was.Existed:
		err = restore(ctx, rec, was)
	default:
		err = remove(rec)
	}
	if err == nil {
		standing.remove(rec)
	}
	return err
}

func remove(rec written) error {
	if err := os.Remove(rec.Path); err != nil && !filefail.IsAbsent(err) {
		return fmt.Errorf("%s cannot be removed: %s", rec.Path, filefail.Why(err))
	}
	return settled(rec)
}

// restore makes the old file anew beside the present one and renames it into place.
func restore(ctx context.Context, rec written, was prior) error {
	failed := func(err error) error {
		os.Remove(rec.undoTemp())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s cannot be restored: %s", rec.Path, filefail.Why(err))
	}
	f, err := os.OpenFile(rec.undoTemp(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return failed(err)
	}
	defer f.Close()
	hash, err := pour(ctx, was.Backup, f)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("its old content in %s is gone", was.Backup)
	}
	if err == nil && hash != was.Hash {
		err = fmt.Errorf("its old content in %s was changed", was.Backup)
	}
	if err == nil {
		err = was.dress(f)
	}
	if err != nil {
		return failed(err)
	}
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, rec.undoTemp(), []unix.Timespec{omit, unix.NsecToTimespec(was.Mtime)}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return failed(err)
	}
	if err := f.Sync(); err != nil {
		return failed(err)
	}
	// Making it took a moment, in which somebody else may have written the file.
	now, err := look(rec.Path)
	if err != nil {
		return failed(err)
	}
	if !now.absent && now.hash != rec.Wrote {
		os.Remove(rec.undoTemp())
		return nil // the verification says whose it is
	}
	if err := os.Rename(rec.undoTemp(), rec.Path); err != nil {
		return failed(err)
	}
	return settled(rec)
}

func settled(rec written) error {
	if err := syncDir(filepath.Dir(rec.Path)); err != nil && !filefail.IsAbsent(err) {
		return fmt.Errorf("%s cannot be put on disk: %s", rec.Path, filefail.Why(err))
	}
	return nil
}
