// Package disk is the family of actions on file systems as a whole.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/stress"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// All lists the actions of this family.
func All() []actions.Action { return []actions.Action{fill(), write(), read()} }

// Reverters lists what undoes their records.
func Reverters() []actions.Reverter {
	return []actions.Reverter{stress.Reverter("disk.fill"), stress.Reverter("disk.write"), stress.Reverter("disk.read")}
}

// Register adds the family to a registry.
func Register(r *actions.Registry) {
	r.Add(All()...)
	r.AddReverters(Reverters()...)
}

type fillArgs struct {
	Path  string       `chaos:"path,required,positional,filled" help:"a folder on the file system to fill, or where it is mounted"`
	Size  *value.SizeV `chaos:"size,group=amount" range:">=1B" help:"how much space to take"`
	Leave *value.SizeV `chaos:"leave,group=amount" range:">=0B" help:"take everything but this, as df shows what is available; 0B leaves nothing, not even what is reserved for root"`
}

func fill() actions.Action {
	return actions.Define(spec.Call{
		Name: "disk.fill",
		Summary: "Takes space on a file system, in a file without a name that ends with the run. 1% of the space, at most 16MiB, stays available, " +
			"unless leave: 0B is asked for; and 64MiB where the run's own journal is.",
		Example:  `disk.fill("/var/lib/app", leave: 100MiB) for 30s`,
		Undo:     "end the process that holds the file, which frees the space",
		Lifetime: string(actions.Kernel),
		Spares:   "1% of the space, at most 16MiB, stays available, unless `leave: 0B` is asked for; 64MiB where the run's own journal is",
		Needs:    []spec.Need{unnamedNeed},
	}, plan)
}

var unnamedNeed = spec.Need{Kind: "kernel", Name: "O_TMPFILE", Install: "a file system that knows it, such as ext4, xfs, btrfs or tmpfs; on others the guardian removes a file with a name"}

// journal is what a file system keeps that holds the folder of the run: its journal must not fail.
const journal = 64 << 20

// floor is what stays available unless everything is asked for: enough to log in and clean up.
func floor(s stress.Space) int64 { return min(s.Size/100, 16<<20) }

// place is a folder with what there is to know of its file system.
type place struct {
	dir   string
	id    target.Identity
	space stress.Space
	ram   bool // it lives in memory
	keep  int64
}

func look(e env.Env, path string) (place, error) {
	if path == "" {
		return place{}, errors.New("`path` is empty; write a folder")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.Dir, path)
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return place{}, err
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return place{}, target.NotYet("there is no folder " + dir)
	case err != nil:
		return place{}, err
	case !info.IsDir():
		return place{}, fmt.Errorf("%s is no folder; write the folder that it is in", dir)
	}
	p := place{dir: dir}
	if p.space, err = stress.Statfs(dir); err != nil {
		return place{}, err
	}
	if p.space.Size == 0 {
		return place{}, fmt.Errorf("the file system of %s has no size: it cannot be filled", dir)
	}
	dev, err := device(dir)
	if err != nil {
		return place{}, err
	}
	p.id = target.Identity{Kind: "filesystem", ID: fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)), Name: dir, Boot: target.Boot()}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil {
		p.ram = st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
	}
	if e.Runs != "" {
		if own, err := device(standing(e.Runs)); err == nil && own == dev {
			p.keep = journal
		}
	}
	return p, nil
}

// standing is a folder, or the nearest above it that exists.
func standing(dir string) string {
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
	}
	return dir
}

func device(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return uint64(st.Dev), err
}

// amount works out what to take and what to leave. Exactly one of size and leave counts.
func (in fillArgs) amount(p place) (job stress.Disk, takes int64, err error) {
	least := floor(p.space)
	here := fmt.Sprintf("%s is available in %s", text(p.space.Available), p.dir)
	why := "so that one can still log in and clean up"
	if p.keep > least {
		least, why = p.keep, "as the run's own journal is on that file system; XDG_STATE_HOME puts it elsewhere"
	}
	job = stress.Disk{Dir: p.dir, Keep: least}
	switch {
	case (in.Size == nil) == (in.Leave == nil):
		return job, 0, errors.New("write either `size` or `leave`")
	case in.Size != nil && int64(*in.Size) > p.space.Available-least:
		return job, 0, fmt.Errorf("`size: %s` does not fit: %s, of which %s has to stay, %s; write at most %s", text(int64(*in.Size)), here, text(least), why, text(max(0, p.space.Available-least)))
	case in.Size != nil:
		job.Size, takes = int64(*in.Size), int64(*in.Size)
	case *in.Leave == 0 && p.keep == 0:
		job.Keep, takes = 0, max(p.space.Available, p.space.Free)
	case int64(*in.Leave) < least && p.keep == 0:
		return job, 0, fmt.Errorf("`leave: %s` is very little; write at least %s, or 0B for a file system that is full to the last byte", text(int64(*in.Leave)), text(least))
	case int64(*in.Leave) < least:
		return job, 0, fmt.Errorf("`leave: %s` is too little: at least %s has to stay, %s", text(int64(*in.Leave)), text(least), why)
	default:
		job.Leave, takes = int64(*in.Leave), p.space.Available-int64(*in.Leave)
	}
	if takes <= 0 {
		return job, 0, fmt.Errorf("there is nothing to fill: no more than %s", here)
	}
	if p.ram {
		if err := fitsMemory(takes, p.dir); err != nil {
			return job, 0, err
		}
	}
	return job, takes, nil
}

// fitsMemory guards the machine's memory against a file system that is made of it.
func fitsMemory(takes int64, dir string) error {
	available, total, err := stress.Available()
	if err != nil {
		return err
	}
	if fits := available - stress.MemoryFloor(total); takes > fits {
		return fmt.Errorf("%s lives in memory, and %s of it would leave too little there; take at most %s", dir, text(takes), text(max(0, fits)))
	}
	return nil
}

func text(n int64) string { return value.SizeOf(float64(n)).Short() }

func plan(_ context.Context, e env.Env, in fillArgs) (actions.Plan, error) {
	p, err := look(e, in.Path)
	if err != nil {
		return actions.Plan{}, err
	}
	_, takes, err := in.amount(p)
	if err != nil {
		return actions.Plan{}, err
	}
	out := actions.Plan{
		Targets:  []target.Identity{p.id},
		Lifetime: actions.Kernel,
		Why:      "the file has no name (O_TMPFILE) and is held open under the helper `chaos hold`: when that ends, the kernel frees the space",
		Does:     fmt.Sprintf("take %s of the %s that is available in %s", text(takes), text(p.space.Available), p.dir),
		Undo:     []string{"end the process that holds the file, which frees the space"},
	}
	if p.keep > 0 {
		out.Does += fmt.Sprintf("; %s stays in any case, since the run's own journal is there", text(p.keep))
	}
	unnamed, need, err := p.writable()
	if err != nil {
		return actions.Plan{}, err
	}
	if need != nil {
		out.Missing = []spec.Need{*need}
		return out, nil
	}
	if !unnamed {
		out.Lifetime = actions.Guardian
		out.Why = "this file system knows no files without a name (O_TMPFILE), so the guardian removes one with a name"
		out.Undo = []string{"end the process that fills the file, and remove " + filepath.Join(p.dir, prefix) + "…"}
	}
	out.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		p, err := look(e, in.Path) // again: the plan may be old
		if err != nil {
			return actions.Fault{}, err
		}
		job, _, err := in.amount(p)
		if err != nil {
			return actions.Fault{}, err
		}
		if !unnamed {
			job.File = p.named()
		}
		return inject(ctx, e, led, p, job)
	}
	return out, nil
}

// prefix starts the name of a file that needs one.
const prefix = ".chaos-fill-"

// canUnnamed is a variable for the tests: every file system of a present kernel that could stand in for an old one knows
// O_TMPFILE.
var canUnnamed = stress.Unnamed

func inject(ctx context.Context, e env.Env, led actions.Ledger, p place, job stress.Disk) (actions.Fault, error) {
	s, err := stress.Start{Action: "disk.fill", Kind: "disk", Parameters: job, Target: p.id, File: job.File}.Run(ctx, e, led)
	if err != nil {
		return actions.Fault{}, err
	}
	if err := s.Full(ctx); err != nil {
		return actions.Fault{}, err
	}
	return actions.Fault{
		Note: fmt.Sprintf("filled %s", p.dir),
		Effect: func(context.Context) (actions.Effect, string) {
			if _, alive := s.Pid(); !alive {
				return actions.No, s.End()
			}
			now, err := stress.Statfs(p.dir)
			if err != nil {
				return actions.Unknown, err.Error()
			}
			return effect(job, p.space, now)
		},
		Last: func() (actions.Effect, string) {
			effect, detail := s.Last()
			if _, gave := s.Said(); gave > 0 && effect == actions.Yes {
				detail = fmt.Sprintf("it gave back %s, as others left less than %s", text(gave), text(job.Keep))
			}
			return effect, detail
		},
	}, nil
}

// effect compares what is free now with what was before.
func effect(job stress.Disk, before, now stress.Space) (actions.Effect, string) {
	said := fmt.Sprintf("%s available, before %s", text(now.Available), text(before.Available))
	const near = 0.95
	took := before.Free - now.Free
	switch {
	case job.Size > 0 && float64(took) >= near*float64(job.Size):
		return actions.Yes, said
	case job.Size == 0 && now.Available <= job.Leave+max(before.Size/1000, 1<<20):
		return actions.Yes, said
	case took <= 0:
		return actions.No, said
	}
	return actions.Unknown, said + ": others write or delete there too"
}
