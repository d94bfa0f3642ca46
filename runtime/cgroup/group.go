package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// Group is a cgroup of ours, of one name on several hierarchies. It holds all that another process needs to undo it.
type Group struct {
	Name   string `json:"name"`
	Parts  []Part `json:"parts"`
	Limits Limits `json:"limits"`
}

// Part is what a Group is on one hierarchy.
type Part struct {
	Hierarchy
	Limited []string `json:"limited"` // the controllers that carry limits there
}

// Place is where a process was on each of a group's hierarchies.
type Place struct {
	ID      target.Identity `json:"id"`
	Paths   []string        `json:"paths"`             // as the group's parts
	Threads []ThreadPlace   `json:"threads,omitempty"` // of version 1, where a thread was apart from its process
}

// ThreadPlace is where a thread was.
type ThreadPlace struct {
	TID   int      `json:"tid"`
	Start uint64   `json:"start"`
	Paths []string `json:"paths"`
}

// Design decides on which hierarchies a group with these limits would be. Nothing is made yet. What the machine lacks comes
// back as one MissingError for each controller.
func Design(name string, l Limits) (Group, []*MissingError, error) {
	layout, err := Look()
	if err != nil {
		return Group{}, nil, err
	}
	g := Group{Name: name, Limits: l}
	var missing []*MissingError
	for _, c := range l.Controllers() {
		h, err := layout.Find(c)
		var m *MissingError
		if errors.As(err, &m) {
			missing = append(missing, m)
			continue
		}
		if err != nil {
			return Group{}, nil, err
		}
		g.add(h, c)
	}
	return g, missing, nil
}

func (g *Group) add(h Hierarchy, controller string) {
	for i, p := range g.Parts {
		if p.Mount == h.Mount {
			g.Parts[i].Limited = append(p.Limited, controller)
			return
		}
	}
	g.Parts = append(g.Parts, Part{Hierarchy: h, Limited: []string{controller}})
}

// Keep takes over the limits under which a process is already. What is moved away from a cgroup loses that cgroup's limits,
// and a fault must not set anything free; so asking for more than is allowed now is refused, and in version 2, where all
// controllers move together, the others are carried along.
func (g *Group) Keep(at Place) error {
	asked := g.Limits
	for i, p := range g.Parts {
		now, err := p.Above(at.Paths[i])
		if err != nil {
			return err
		}
		for _, c := range p.Limited {
			switch {
			case c == CPU && now.CPU > 0 && asked.CPU >= now.CPU:
				return fmt.Errorf("%s is limited to %.0f%% of a core already; write less", at.ID, now.CPU*100)
			case c == Memory && now.Memory > 0 && asked.Memory >= now.Memory:
				return fmt.Errorf("%s is limited to %d bytes of memory already; write less", at.ID, now.Memory)
			case c == Pids && now.Pids > 0 && asked.Pids >= now.Pids:
				return fmt.Errorf("%s is limited to %d processes already; write less", at.ID, now.Pids)
			}
		}
		if p.Version != 2 {
			continue
		}
		enabled := words(filepath.Join(p.Mount, "cgroup.subtree_control"))
		for _, c := range enabled {
			switch {
			case c == CPU && asked.CPU == 0 && now.CPU > 0:
				g.Limits.CPU = now.CPU
			case c == Memory && asked.Memory == 0 && now.Memory > 0:
				g.Limits.Memory = now.Memory
			case c == Pids && asked.Pids == 0 && now.Pids > 0:
				g.Limits.Pids = now.Pids
			default:
				continue
			}
			g.Parts[i].Limited = append(g.Parts[i].Limited, c)
		}
	}
	return nil
}

// Where reads where a process is now, with those of its threads that are elsewhere.
func (g Group) Where(id target.Identity) (Place, error) {
	p, err := id.Process()
	if err != nil {
		return Place{}, err
	}
	at := Place{ID: id, Paths: make([]string, len(g.Parts))}
	for i, part := range g.Parts {
		if at.Paths[i], err = part.Of(p.Pid, 0); err != nil {
			return Place{}, fmt.Errorf("%s: %w", id, target.ErrGone)
		}
		dir, err := part.Dir(at.Paths[i])
		if err != nil {
			return Place{}, err
		}
		if part.Version == 2 {
			if w := words(filepath.Join(dir, "cgroup.type")); len(w) == 1 && w[0] == "threaded" {
				return Place{}, fmt.Errorf("%s is in a threaded cgroup, from which it could not be put back thread by thread; limit it where it is managed", id)
			}
		}
	}
	tids, err := target.Threads(p.Pid)
	if err != nil {
		return Place{}, err
	}
	for _, tid := range tids {
		paths, apart := make([]string, len(g.Parts)), false
		for i, part := range g.Parts {
			path, err := part.Of(p.Pid, tid)
			if err != nil || part.Version != 1 {
				path = at.Paths[i]
			}
			paths[i], apart = path, apart || path != at.Paths[i]
		}
		if t, err := target.ReadThread(p.Pid, tid); err == nil && apart {
			at.Threads = append(at.Threads, ThreadPlace{TID: tid, Start: t.Start, Paths: paths})
		}
	}
	return at, nil
}

func (g Group) dir(p Part) string { return filepath.Join(p.Mount, g.Name) }

// Path is the name of the group as /proc/PID/cgroup shows it.
func (g Group) path(p Part) string { return filepath.Join(p.Root, g.Name) }

// Make makes the cgroups and sets their limits, before anything is in them.
func (g Group) Make() error {
	for _, p := range g.Parts {
		if err := os.Mkdir(g.dir(p), 0o755); err != nil {
			return fmt.Errorf("cannot make a cgroup: %w", err)
		}
		for _, c := range p.Limited {
			if err := p.set(g.dir(p), c, g.Limits); err != nil {
				return fmt.Errorf("the kernel refuses the limit of %s: %w", c, err)
			}
		}
	}
	return nil
}

// Enter moves a process, with all its threads, into the group.
func (g Group) Enter(id target.Identity) error {
	p, err := id.Process()
	if err != nil {
		return err
	}
	for _, part := range g.Parts {
		if err := move(g.dir(part), p.Pid); err != nil {
			return fmt.Errorf("%s cannot be moved into a cgroup: %w", id, err)
		}
	}
	return nil
}

// move puts a whole process into the cgroup at dir.
func move(dir string, pid int) error {
	err := write(dir, "cgroup.procs", pid)
	switch {
	case errors.Is(err, unix.ESRCH):
		return target.ErrGone
	case errors.Is(err, unix.EINVAL):
		return errors.New("it has threads with a real-time schedule, for which a new cgroup has no time (cpu.rt_runtime_us); see sched(7)")
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errors.New("it belongs to another user: run as root")
	}
	return err
}

// Holds tells whether a process is in the group on every hierarchy.
func (g Group) Holds(pid int) bool {
	for _, p := range g.Parts {
		if path, err := p.Of(pid, 0); err != nil || path != g.path(p) {
			return false
		}
	}
	return len(g.Parts) > 0
}

// Check reads the limits back, and says in words what is not as it was set; "" where everything is.
func (g Group) Check() string {
	for _, p := range g.Parts {
		for _, c := range p.Limited {
			if why := p.check(g.dir(p), c, g.Limits); why != "" {
				return why
			}
		}
	}
	return ""
}

// Members lists the processes in any part of the group.
func (g Group) Members() []int {
	seen := map[int]bool{}
	var out []int
	for _, p := range g.Parts {
		for _, w := range words(filepath.Join(g.dir(p), "cgroup.procs")) {
			if pid, err := strconv.Atoi(w); err == nil && pid > 0 && !seen[pid] {
				seen[pid] = true
				out = append(out, pid)
			}
		}
	}
	return out
}

// OOMKills is how many processes of the group the kernel has killed because the group's memory was used up.
func (g Group) OOMKills() int {
	kills := 0
	for _, p := range g.Parts {
		if slices.Contains(p.Limited, Memory) {
			n, _ := OOMKills(filepath.Join(g.dir(p), p.oomFile()))
			kills += n
		}
	}
	return kills
}

// Exists tells whether anything of the group is there.
func (g Group) Exists() bool {
	for _, p := range g.Parts {
		if _, err := os.Stat(g.dir(p)); err == nil {
			return true
		}
	}
	return false
}

// Dissolve moves every member back to where it was, and removes the group. A process that was forked meanwhile goes where
// its nearest ancestor among the places was, or else where the first place is. It may be called again, and where the group
// was never made, or only half.
func (g Group) Dissolve(ctx context.Context, places []Place) error {
	if len(places) == 0 {
		return errors.New("the record does not say where the processes were")
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i, p := range g.Parts {
		for {
			err := g.empty(i, places)
			if err == nil {
				// Threads last: a move of a process takes all its threads along.
				err = os.Remove(g.dir(p))
			}
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("the cgroup %s cannot be removed: %w", g.dir(p), err)
			}
		}
	}
	return nil
}

// Remove removes a group whose members have ended; where one still ends, it waits. It may be called again, and where the
// group was never made, or only half.
func (g Group) Remove(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, p := range g.Parts {
		for {
			err := os.Remove(g.dir(p))
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("the cgroup %s cannot be removed, with the processes %v in it: %w", g.dir(p), g.Members(), err)
			}
		}
	}
	return nil
}

// Dirs are the folders of the group, one on each hierarchy.
func (g Group) Dirs() []string {
	dirs := make([]string, len(g.Parts))
	for i, p := range g.Parts {
		dirs[i] = g.dir(p)
	}
	return dirs
}

// Join moves the calling process into the cgroup at dir; a look afterwards proves it.
func Join(dir string) error {
	if err := move(dir, os.Getpid()); err != nil {
		return fmt.Errorf("cannot enter the cgroup %s: %w", dir, err)
	}
	if !slices.Contains(words(filepath.Join(dir, "cgroup.procs")), strconv.Itoa(os.Getpid())) {
		return fmt.Errorf("the cgroup %s does not hold the process that was moved there", dir)
	}
	return nil
}

// empty moves the members of one part back.
func (g Group) empty(i int, places []Place) error {
	dir := g.dir(g.Parts[i])
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	var failed error
	for _, w := range words(filepath.Join(dir, "cgroup.procs")) {
		pid, err := strconv.Atoi(w)
		if err != nil || pid <= 0 {
			continue
		}
		at := home(pid, places)
		if err := g.Parts[i].back(pid, at.Paths[i]); err != nil && !errors.Is(err, target.ErrGone) {
			failed = fmt.Errorf("process %d: %w", pid, err)
			continue
		}
		g.Parts[i].scatter(pid, i, at)
	}
	return failed
}

// home finds the place of a process or of its nearest ancestor that has one.
func home(pid int, places []Place) Place {
	seen := map[int]bool{}
	for pid > 1 && !seen[pid] {
		seen[pid] = true
		p, err := target.ReadProcess(pid)
		if err != nil {
			break
		}
		for _, at := range places {
			if at.ID.Same(p.Identity()) {
				return at
			}
		}
		pid = p.PPid
	}
	return places[0]
}

// back moves a process to a cgroup, or to the nearest one above it where that has been removed since.
func (p Part) back(pid int, path string) error {
	dirs, err := p.lineage(path)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		err = move(dir, pid)
		// A cgroup of version 2 that has others with controllers below takes no process: EBUSY. Its root does.
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return err
}

// scatter puts those threads of a process back that were apart from it.
func (p Part) scatter(pid, i int, at Place) {
	for _, t := range at.Threads {
		if p.Version != 1 || t.Paths[i] == at.Paths[i] || at.ID.Pid() != pid {
			continue
		}
		if now, err := target.ReadThread(pid, t.TID); err != nil || now.Start != t.Start {
			continue
		}
		if dir, err := p.Dir(t.Paths[i]); err == nil {
			_ = write(dir, "tasks", t.TID) // the cgroup or the thread may have ended since: then it is well where it is
		}
	}
}

// Strayed tells whether a process that lives is by now neither in the group nor where it was: somebody else has moved it.
// Where its old cgroup was removed, there is no telling.
func (g Group) Strayed(at Place) bool {
	if !at.ID.Alive() {
		return false // what has ended is at the top, whoever has not yet taken note of its end
	}
	for i, part := range g.Parts {
		now, err := part.Of(at.ID.Pid(), 0)
		if err != nil || now == at.Paths[i] || now == g.path(part) {
			continue
		}
		if dir, err := part.Dir(at.Paths[i]); err == nil {
			if _, err := os.Stat(dir); err == nil {
				return true
			}
		}
	}
	return false
}

// Describe says which cgroups these are.
func (g Group) Describe() string {
	return strings.Join(g.Dirs(), ", ")
}
