// Package filefail says in plain words why a file operation failed, as netfail does for the network: what is wrong and,
// where there is one, the way out, without the names of system calls.
package filefail

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

var errnos = []struct {
	errno syscall.Errno
	text  string
}{
	{syscall.ENOENT, "it does not exist"},
	{syscall.ENOTDIR, "a part of its path is not a folder"},
	{syscall.EISDIR, "it is a folder"},
	{syscall.EACCES, "this user may not; run as root"},
	{syscall.EPERM, "the system does not permit it: it may be immutable, or belong to another user"},
	{syscall.EROFS, "the file system is read-only"},
	{syscall.ENOSPC, "the disk is full"},
	{syscall.EDQUOT, "this user's share of the disk is used up"},
	{syscall.EFBIG, "it would be larger than a file may be here"},
	{syscall.EIO, "the disk reports an error"},
	{syscall.ELOOP, "its symbolic links lead in a circle"},
	{syscall.ENAMETOOLONG, "its name is too long"},
	{syscall.EBUSY, "it is in use, perhaps as a mount point"},
	{syscall.ETXTBSY, "it is a program that runs"},
	{syscall.EMFILE, "this process may not open more files"},
	{syscall.ENFILE, "this machine may not open more files"},
	{syscall.EXDEV, "it is on another file system"},
	{syscall.EEXIST, "something of that name exists"},
	{syscall.EINVAL, "this name or operation is not valid here"},
}

// Why is the reason at the core of err, as a clause that stands behind a colon.
func Why(err error) string {
	for _, e := range errnos {
		if errors.Is(err, e.errno) {
			return e.text
		}
	}
	for {
		var path *fs.PathError
		var link *os.LinkError
		var call *os.SyscallError
		switch {
		case errors.As(err, &path):
			err = path.Err
		case errors.As(err, &link):
			err = link.Err
		case errors.As(err, &call):
			err = call.Err
		default:
			return err.Error()
		}
	}
}

// IsAbsent tells that there is nothing at a path, also where a part of the path itself is missing.
func IsAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
