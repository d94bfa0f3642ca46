package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

// sight is what stands at a path.
type sight struct {
	absent bool
	plain  bool   // a plain file
	hash   string // of a plain file
}

func look(path string) (sight, error) {
	// Without a link at the end, and without waiting for the writer of a pipe that stands there by now.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	switch {
	case filefail.IsAbsent(err):
		return sight{absent: true}, nil
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO): // a link, a socket
		return sight{}, nil
	case err != nil:
		return sight{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sight{}, err
	}
	if !info.Mode().IsRegular() {
		return sight{}, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sight{}, err
	}
	return sight{plain: true, hash: hex.EncodeToString(h.Sum(nil))}, nil
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// copyFile copies into a new file, for this user alone, and returns the hash when the copy is on disk.
func copyFile(ctx context.Context, from, to string) (string, error) {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	return pour(ctx, from, out)
}

// pour copies a file into an open one, syncs that, and returns the hash.
func pour(ctx context.Context, from string, out *os.File) (string, error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, h), &cancellable{ctx, in}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), out.Sync()
}

// cancellable is a reader that ends with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// syncDir puts the names in a folder on disk: a synced file that has no name there is lost after a power cut.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems have nothing to sync in a folder and say EINVAL, see fsync(2).
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// renameNew renames onto a name that must be free; the error then is EEXIST.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A file system without that flag: look first, which is a moment less certain.
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return unix.EEXIST
	}
	return os.Rename(from, to)
}

// xattrs reads the extended attributes: access lists, security labels, capabilities, and what users put there.
func xattrs(path string) (map[string][]byte, error) {
	list := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out map[string][]byte
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		data := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(path, name, data)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string][]byte{}
		}
		out[name] = data[:n]
	}
	return out, nil
}
