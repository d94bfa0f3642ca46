package filefail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWhy(t *testing.T) {
	dir := t.TempDir()
	_, missing := os.Open(filepath.Join(dir, "missing"))
	if got := Why(missing); got != "it does not exist" || !IsAbsent(missing) {
		t.Errorf("a missing file reads %q", got)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, below := os.Open(filepath.Join(file, "below"))
	if got := Why(below); got != "a part of its path is not a folder" || !IsAbsent(below) {
		t.Errorf("a file as a folder reads %q", got)
	}
	for _, err := range []error{
		&fs.PathError{Op: "openat", Path: "/x", Err: syscall.ENOSPC},
		fmt.Errorf("copy: %w", &os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.ENOSPC}),
	} {
		if got := Why(err); got != "the disk is full" || IsAbsent(err) {
			t.Errorf("%v reads %q", err, got)
		}
	}
	unknown := &fs.PathError{Op: "renameat2", Path: "/x", Err: os.NewSyscallError("renameat2", errors.New("something new"))}
	if got := Why(unknown); got != "something new" || strings.Contains(got, "renameat2") {
		t.Errorf("an unknown error reads %q", got)
	}
}
