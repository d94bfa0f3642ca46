// Package cgroup makes control groups of our own, moves processes into them and exactly back. It knows version 1, version 2
// and the hybrid of both, and finds out by looking which controller is where; see cgroups(7) and the kernel's
// Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The controllers that carry the limits, by their names in version 2.
const (
	CPU    = "cpu"
	Memory = "memory"
	Pids   = "pids"
	IO     = "io"
)

// Hierarchy is a mounted tree of cgroups.
type Hierarchy struct {
	Version     int      `json:"version"`
	Controllers []string `json:"controllers,omitempty"` // of version 1, as its mount options name them
	Mount       string   `json:"mount"`
	Root        string   `json:"root"` // the cgroup that the mount shows at its top: "/", or that of a container
}

// Layout is what is mounted.
type Layout struct{ hierarchies []Hierarchy }

// MissingError says that a controller cannot be used, why, and what would help.
type MissingError struct {
	Controller string
	Why        string
	Help       string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("the cgroup controller `%s` %s; %s", e.Controller, e.Why, e.Help)
}

// Look reads what is mounted in this mount namespace.
func Look() (Layout, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Layout{}, err
	}
	defer f.Close()
	return parse(f)
}

// parse reads /proc/self/mountinfo; see proc_pid_mountinfo(5). Of a hierarchy that is mounted several times, the mount that
// shows the most of it counts.
func parse(in io.Reader) (Layout, error) {
	var l Layout
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 3 || right[0] != "cgroup" && right[0] != "cgroup2" {
			continue
		}
		h := Hierarchy{Version: 2, Root: unescape(left[3]), Mount: unescape(left[4])}
		if right[0] == "cgroup" {
			h.Version = 1
			for _, o := range strings.Split(right[2], ",") {
				if isController(o) {
					h.Controllers = append(h.Controllers, o)
				}
			}
			if len(h.Controllers) == 0 {
				continue // a named hierarchy without a controller, such as systemd's
			}
		}
		i := slices.IndexFunc(l.hierarchies, func(o Hierarchy) bool { return o.Version == h.Version && slices.Equal(o.Controllers, h.Controllers) })
		switch {
		case i < 0:
			l.hierarchies = append(l.hierarchies, h)
		case len(h.Root) < len(l.hierarchies[i].Root):
			l.hierarchies[i] = h
		}
	}
	return l, lines.Err()
}

// isController tells the controllers of version 1 from the other options of a mount.
func isController(option string) bool {
	switch option {
	case "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "net_cls", "net_prio", "blkio", "perf_event", "hugetlb", "pids", "rdma", "misc":
		return true
	}
	return false
}

// unescape resolves the octal escapes with which the kernel prints blanks in paths.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Find gives the hierarchy on which a controller can limit something in a new cgroup right under its root. The error is a
// MissingError where there is none. A controller is never enabled here: in version 2 that would change how the cgroups that
// exist share the machine.
func (l Layout) Find(controller string) (Hierarchy, error) {
	v1 := controller
	if controller == IO {
		v1 = "blkio"
	}
	for _, h := range l.hierarchies {
		if h.Version == 1 && slices.Contains(h.Controllers, v1) {
			return h, h.usable(controller)
		}
	}
	why, help := "is not mounted", fmt.Sprintf("mount it: `mount -t cgroup -o %s none DIR`, or boot a kernel with it", v1)
	for _, h := range l.hierarchies {
		if h.Version != 2 || !slices.Contains(words(filepath.Join(h.Mount, "cgroup.controllers")), controller) {
			continue
		}
		if slices.Contains(words(filepath.Join(h.Mount, "cgroup.subtree_control")), controller) {
			return h, h.usable(controller)
		}
		why, help = "is not enabled below "+h.Mount, fmt.Sprintf("enable it: `echo +%s > %s/cgroup.subtree_control`", controller, h.Mount)
	}
	return Hierarchy{}, &MissingError{Controller: controller, Why: why, Help: help}
}

func (h Hierarchy) usable(controller string) error {
	if err := unix.Access(h.Mount, unix.W_OK); err != nil {
		why, help := "may not be used by this user", "run as root"
		if err == unix.EROFS {
			why, help = "is mounted read-only at "+h.Mount, "run outside of the container, or give it a writable /sys/fs/cgroup"
		}
		return &MissingError{Controller: controller, Why: why, Help: help}
	}
	return nil
}

// words reads a file of words.
func words(path string) []string {
	data, _ := os.ReadFile(path)
	return strings.Fields(string(data))
}

// Of reads which cgroup of the hierarchy a process is in, or a thread of it (tid 0: the process), as a path from the top of
// the whole hierarchy. See /proc/PID/cgroup in cgroups(7).
func (h Hierarchy) Of(pid, tid int) (string, error) {
	path := fmt.Sprintf("/proc/%d/cgroup", pid)
	if tid != 0 {
		path = fmt.Sprintf("/proc/%d/task/%d/cgroup", pid, tid)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return h.in(string(data))
}

func (h Hierarchy) in(data string) (string, error) {
	for line := range strings.Lines(data) {
		col := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(col) != 3 {
			continue
		}
		if h.Version == 2 && col[0] == "0" && col[1] == "" || h.Version == 1 && slices.Contains(strings.Split(col[1], ","), h.Controllers[0]) {
			return strings.TrimSuffix(col[2], " (deleted)"), nil
		}
	}
	return "", fmt.Errorf("%s: the process is in no cgroup of it", h.Mount)
}

// Dir is the folder of a cgroup. One that the mount does not show, as from inside of a container, is an error.
func (h Hierarchy) Dir(path string) (string, error) {
	rest, err := filepath.Rel(h.Root, path)
	if err != nil || rest == ".." || strings.HasPrefix(rest, "../") || strings.Contains(path, "/../") {
		return "", fmt.Errorf("the cgroup %s is outside of what %s shows; run outside of the container", path, h.Mount)
	}
	return filepath.Join(h.Mount, rest), nil
}

// lineage lists the folders of a cgroup and of those above it, up to the top of what the mount shows.
func (h Hierarchy) lineage(path string) ([]string, error) {
	dir, err := h.Dir(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for ; len(dir) > len(h.Mount); dir = filepath.Dir(dir) {
		out = append(out, dir)
	}
	return append(out, h.Mount), nil
}
