// Package host watches the machine itself, from what the kernel shows in /proc, /sys and /dev/kmsg. Nothing is counted since
// boot: rates are between two readings, and what began before the probe does not count.
package host

import (
	"fmt"
	"os"
	"path/filepath"

	"chaos/lang/diag"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/target"

	"github.com/prometheus/procfs"
)

// Root says where the kernel shows itself.
type Root struct{ Proc, Sys, Dev string }

// All lists the probes of this family.
func All() []probes.Probe { return In(Root{Proc: "/proc", Sys: "/sys", Dev: "/dev"}) }

// In lists them for another place than the usual one.
func In(r Root) []probes.Probe {
	return []probes.Probe{
		load(r), cpu(r), memory(r), disk(), io(r), network(r), tcp(r), pressure(r), oom(r), kernelLog(r), top(r),
	}
}

func (r Root) procfs() (procfs.FS, error) {
	f, err := procfs.NewFS(r.Proc)
	if _, missing := os.Lstat(filepath.Join(r.Proc, "self")); err != nil || missing != nil { // an empty folder is not it
		return f, fmt.Errorf("%s is not there, where the kernel shows its counters; mount it: mount -t proc proc %s", r.Proc, r.Proc)
	}
	return f, nil
}

// absent is a name that this machine does not have now. Setup may still bring it, so a plan before setup waits for it.
type absent struct{ text string }

func (e *absent) Error() string { return e.text }
func (e *absent) Unwrap() error { return &target.NoneError{Selector: e.text} }

// noSuch names what there is instead; list is a command that shows it where that is too much for a message.
func noSuch(what, name string, there []string, list string) error {
	hint := diag.DidYouMean(name, there)
	if hint == "" {
		hint = "`" + list + "` shows them"
	}
	return &absent{fmt.Sprintf("there is no %s %s: %s", what, value.Quote(name), hint)}
}
