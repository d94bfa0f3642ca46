package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tracefs hands the kernel's trace file system to a function.
type tracefs func(func(root fs.FS) error) error

// traceDir is where the kernel wants it mounted. The folder is there whenever the kernel has tracepoints.
const traceDir = "/sys/kernel/tracing"

var errNoTracefs = refused("this kernel has no tracepoints: there is no "+traceDir, "run a kernel with CONFIG_FTRACE, and mount /sys")

func notMounted(why error) error {
	return refused("tracefs is not mounted, and mounting it for chaos alone is refused: "+plain(why), "run as root, or mount it: mount -t tracefs tracefs "+traceDir)
}

func isMounted() (bool, error) {
	var at unix.Statfs_t
	if err := unix.Statfs(traceDir, &at); err != nil {
		return false, errNoTracefs
	}
	return at.Type == unix.TRACEFS_MAGIC, nil
}

// mountedTracefs uses what is mounted. Where nothing is, it mounts for a thread of its own, in a mount namespace of its
// own, and both end with the function: nothing of ours stays on the machine, even if chaos is killed meanwhile.
func mountedTracefs(use func(fs.FS) error) error {
	there, err := isMounted()
	if err != nil {
		return err
	}
	if there {
		return use(os.DirFS(traceDir))
	}
	return onOwnThread(func() error {
		for _, step := range []func() error{
			func() error { return unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS) },
			func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
			func() error {
				return unix.Mount("tracefs", traceDir, "tracefs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
			},
		} {
			if err := step(); err != nil {
				return notMounted(err)
			}
		}
		return use(os.DirFS(traceDir))
	})
}

// onOwnThread calls a function in a thread that ends with it.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the first thread does not end before the process does
			err := onOwnThread(f)
			runtime.UnlockOSThread()
			done <- err
			return
		}
		done <- f() // never unlocked: so the thread ends with the goroutine
	}()
	return <-done
}

// tracepoint is an event of the kernel, and where its record has which field.
type tracepoint struct {
	id     uint64
	fields map[string]int16 // offset by name
}

// readTracepoint reads the id and the format of an event, named as group:event.
func readTracepoint(root fs.FS, name string) (tracepoint, error) {
	dir := "events/" + strings.Replace(name, ":", "/", 1)
	format, err := fs.ReadFile(root, dir+"/format")
	if errors.Is(err, fs.ErrNotExist) {
		return tracepoint{}, missingTracepoint(name)
	}
	if err != nil {
		return tracepoint{}, refused(fmt.Sprintf("the format of tracepoint %s cannot be read: %s", name, plain(err)), "run as root")
	}
	t := tracepoint{fields: map[string]int16{}}
	for line := range strings.Lines(string(format)) {
		if text, ok := strings.CutPrefix(line, "ID:"); ok {
			t.id, err = strconv.ParseUint(strings.TrimSpace(text), 10, 64)
			if err != nil {
				return tracepoint{}, fmt.Errorf("tracepoint %s has no id", name)
			}
			continue
		}
		// As in "	field:__u8 saddr[4];	offset:32;	size:4;	signed:0;"
		declaration, rest, ok := strings.Cut(strings.TrimSpace(line), ";")
		if !ok || !strings.HasPrefix(declaration, "field:") {
			continue
		}
		words := strings.Fields(declaration)
		field, _, _ := strings.Cut(words[len(words)-1], "[")
		place, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(rest), "offset:"), ";")
		offset, err := strconv.ParseInt(place, 10, 16)
		if err != nil {
			return tracepoint{}, fmt.Errorf("the format of tracepoint %s cannot be understood: %q", name, strings.TrimSpace(line))
		}
		t.fields[field] = int16(offset)
	}
	return t, nil
}

// need tells where fields are.
func (t tracepoint) need(name string, fields ...string) error {
	for _, f := range fields {
		if _, ok := t.fields[f]; !ok {
			return refused(fmt.Sprintf("tracepoint %s has no field `%s` in this kernel", name, f), "run a newer kernel")
		}
	}
	return nil
}
