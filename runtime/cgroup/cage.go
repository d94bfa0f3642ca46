package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"chaos/runtime/target"
)

// Cage is a cgroup of version 2 that limits nothing: it remembers. Whatever is born in it stays in it, also a daemon that
// wiped its environment and left its session, unless somebody with the right to do so moves it. The zero Cage holds nothing.
type Cage struct{ Dir string }

const cagePrefix = "chaos-hold-"

// NewCage makes one below the cgroup of this process, so that the limits of that one hold in it too. It is named for its
// owner, so that everybody can see whether that is gone.
func NewCage(owner target.Identity) (Cage, error) {
	layout, err := Look()
	if err != nil {
		return Cage{}, err
	}
	h, ok := layout.unified()
	if !ok {
		return Cage{}, errors.New("there is no hierarchy of version 2")
	}
	path, err := h.Of(os.Getpid(), 0)
	if err != nil {
		return Cage{}, err
	}
	above, err := h.Dir(path)
	if err != nil {
		return Cage{}, err
	}
	c := Cage{Dir: filepath.Join(above, cageName(owner))}
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		return Cage{}, err
	}
	if kind := words(filepath.Join(c.Dir, "cgroup.type")); !slices.Equal(kind, []string{"domain"}) {
		os.Remove(c.Dir)
		return Cage{}, fmt.Errorf("a cgroup in %s can take no process", above)
	}
	return c, nil
}

// cageName has the owner's namespace of pids in it: in another one, such as a container's, its pid means nothing, or another
// process.
func cageName(owner target.Identity) string {
	space, _ := os.Readlink("/proc/self/ns/pid")
	return fmt.Sprintf("%s%s-%d-%s", cagePrefix, owner.ID, owner.Start, strings.Trim(space, "pid:[]"))
}

func (l Layout) unified() (Hierarchy, bool) {
	i := slices.IndexFunc(l.hierarchies, func(h Hierarchy) bool { return h.Version == 2 })
	if i < 0 {
		return Hierarchy{}, false
	}
	return l.hierarchies[i], true
}

// Members lists what is in it, and in the cgroups that something in it has made below.
func (c Cage) Members() map[int]bool {
	out := map[int]bool{}
	for _, dir := range c.dirs() {
		for _, w := range words(filepath.Join(dir, "cgroup.procs")) {
			if pid, err := strconv.Atoi(w); err == nil {
				out[pid] = true
			}
		}
	}
	return out
}

// Kill ends all members at once, also those that fork meanwhile; see cgroup.kill in cgroup-v2.rst. A kernel before 5.14 does
// not know it: whoever calls this kills the members one by one besides.
func (c Cage) Kill() {
	if c.Dir != "" {
		_ = write(c.Dir, "cgroup.kill", 1)
	}
}

// Remove removes an empty cage; one that is gone is fine.
func (c Cage) Remove() error {
	var failed error
	for _, dir := range slices.Backward(c.dirs()) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = err
		}
	}
	return failed
}

// dirs lists the cgroup and all below it, parents first.
func (c Cage) dirs() []string {
	if c.Dir == "" {
		return nil
	}
	return tree(c.Dir, func(string) bool { return true })
}

// tree lists the cgroups at and below a folder that are wanted.
func tree(top string, wanted func(dir string) bool) []string {
	var out []string
	filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && wanted(path) {
			out = append(out, path)
		}
		return nil // one that was removed meanwhile is none
	})
	return out
}

// DeadCages lists the cages whose owners are gone, wherever they are. Those of other namespaces of pids are left to them.
func DeadCages() []Cage {
	layout, err := Look()
	if err != nil {
		return nil
	}
	h, ok := layout.unified()
	if !ok {
		return nil
	}
	var out []Cage
	for _, dir := range tree(h.Mount, func(dir string) bool { return strings.HasPrefix(filepath.Base(dir), cagePrefix) }) {
		part := strings.Split(strings.TrimPrefix(filepath.Base(dir), cagePrefix), "-")
		owner := target.Identity{Kind: "process", ID: part[0], Boot: target.Boot()}
		if len(part) == 3 {
			owner.Start, _ = strconv.ParseUint(part[1], 10, 64)
		}
		if filepath.Base(dir) == cageName(owner) && owner.Pid() > 1 && !owner.Alive() {
			out = append(out, Cage{Dir: dir})
		}
	}
	return out
}
