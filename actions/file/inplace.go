package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

// A file that is a mount of its own, as containers get /etc/hosts and /etc/resolv.conf, cannot be renamed over: EBUSY, see
// rename(2). It is written in place, by truncating it first, so that a crash leaves nothing but a beginning of the new content
// or of the old. Both are kept in the run's folder, and by them such a beginning is told from what somebody else wrote.

// isMount tells whether something is mounted right at a path. A kernel before 5.8 does not say.
func isMount(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	return err == nil && st.Attributes_mask&st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// keepNew puts the new content beside the old one in the run's folder, on disk.
func keepNew(ctx context.Context, runDir, content string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join(runDir, "files", "new."+random()))
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return path, syncDir(filepath.Dir(path))
}

// overwrite gives a file the content of another one.
func overwrite(ctx context.Context, path, from string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = pour(ctx, from, f)
	return err
}

// torn tells a file that holds only a beginning of one of these.
func torn(path string, of ...string) bool {
	for _, whole := range of {
		if whole != "" && begins(path, whole) {
			return true
		}
	}
	return false
}

func begins(path, whole string) bool {
	part, err := os.Open(path)
	if err != nil {
		return false
	}
	defer part.Close()
	all, err := os.Open(whole)
	if err != nil {
		return false
	}
	defer all.Close()
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(part, a)
		if m, _ := io.ReadFull(all, b[:n]); m < n || !bytes.Equal(a[:n], b[:n]) {
			return false
		}
		if err != nil {
			return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
	}
}

// restoreInPlace writes the old content back.
func restoreInPlace(ctx context.Context, rec written, was prior) error {
	failed := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s cannot be restored: %s", rec.Path, filefail.Why(err))
	}
	kept, err := look(was.Backup)
	switch {
	case err != nil:
		return failed(err)
	case kept.absent:
		return failed(fmt.Errorf("its old content in %s is gone", was.Backup))
	case kept.hash != was.Hash:
		return failed(fmt.Errorf("its old content in %s was changed", was.Backup))
	}
	if err := overwrite(ctx, rec.Path, was.Backup); err != nil {
		return failed(err)
	}
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, rec.Path, []unix.Timespec{omit, unix.NsecToTimespec(was.Mtime)}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return failed(err)
	}
	return nil
}
