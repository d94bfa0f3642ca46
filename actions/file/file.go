// Package file changes files: a wrong configuration, an empty certificate, a flag that a program looks for. And it takes
// away the descriptors that files are opened with.
//
// file.put keeps what was there before it touches anything, and writes by renaming a complete new file over the old one,
// so that no reader ever sees half a file. Who has the old file open goes on with the old one.
package file

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/filefail"
	"chaos/runtime/stress"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// All lists the actions of this family.
func All() []actions.Action { return []actions.Action{put(), descriptors()} }

// Reverters lists what undoes their records.
func Reverters() []actions.Reverter {
	return []actions.Reverter{putReverter{}, limitReverter{}, stress.Reverter("file.descriptors")}
}

// Register adds the family to a registry.
func Register(r *actions.Registry) {
	r.Add(All()...)
	r.AddReverters(Reverters()...)
}

type putArgs struct {
	Path    string `chaos:"path,required,positional,filled" help:"the file, which may not exist yet; a relative path starts at the script's folder, a symbolic link is followed"`
	Content string `chaos:"content,required,positional" help:"all that it holds then; with no line end added"`
}

func put() actions.Action {
	return actions.Define(spec.Call{
		Name:     "file.put",
		Summary:  "Replaces what a file holds, or creates it, at once and completely; mode, owner and attributes stay.",
		Example:  "file.put(\"limits.conf\", \"max_connections = 1\\n\") for 30s",
		Undo:     "put the old content, mode, owner and time back, or remove the file that was not there",
		Lifetime: string(actions.Guardian),
		Needs:    []spec.Need{{Kind: "privilege", Name: "CAP_DAC_OVERRIDE", Install: "for files of other users: run as root"}},
	}, plan)
}

// place is where a put goes.
type place struct {
	given string      // absolute, as the script names it
	path  string      // the same without symbolic links: what is replaced
	info  fs.FileInfo // nil where there is no file
	stat  *syscall.Stat_t
	mount bool // it is mounted by itself, and can only be written in place
}

func (p place) String() string {
	if p.given != p.path {
		return fmt.Sprintf("%s (through a link, %s)", p.path, p.given)
	}
	return p.path
}

func (p place) exists() bool { return p.info != nil }

func (p place) identity() target.Identity {
	return target.Identity{Kind: "file", ID: p.path, Name: filepath.Base(p.path)}
}

// locate finds the place, and refuses what cannot be replaced without a loss.
func locate(dir, path string) (place, error) {
	refuse := func(format string, args ...any) (place, error) {
		return place{}, fmt.Errorf("`path`: %s %s", value.Quote(path), fmt.Sprintf(format, args...))
	}
	switch {
	case path == "":
		return refuse("names no file")
	case strings.Contains(path, "\x00"):
		return refuse("holds a zero byte")
	case strings.HasSuffix(path, "/"):
		return refuse("is a folder; name a file in it")
	case strings.HasPrefix(path, "~/"):
		return refuse("begins with a tilde, which only shells know; write the whole path")
	}
	p := place{given: command.Resolve(dir, path)}
	link, err := os.Lstat(p.given)
	if err != nil {
		if filefail.IsAbsent(err) {
			return locateNew(p)
		}
		return refuse("cannot be looked at: %s", filefail.Why(err))
	}
	if p.info, err = os.Stat(p.given); err == nil {
		p.path, err = filepath.EvalSymlinks(p.given)
	}
	if err != nil {
		if link.Mode()&fs.ModeSymlink != 0 && filefail.IsAbsent(err) {
			to, _ := os.Readlink(p.given)
			return refuse("is a link to %s, which does not exist; name the file itself", value.Quote(to))
		}
		return refuse("cannot be looked at: %s", filefail.Why(err))
	}
	switch {
	case p.info.IsDir():
		return refuse("is a folder; name a file in it")
	case !p.info.Mode().IsRegular():
		return refuse("is no plain file but a device, pipe or socket, whose content nobody could give back")
	}
	p.stat, p.mount = p.info.Sys().(*syscall.Stat_t), isMount(p.path)
	if p.stat.Nlink > 1 {
		return refuse("has %d names (hard links), and replacing one would part it from the others", p.stat.Nlink)
	}
	return p, nil
}

func locateNew(p place) (place, error) {
	folder, err := filepath.EvalSymlinks(filepath.Dir(p.given))
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(folder); err == nil && info.IsDir() {
			p.path = filepath.Join(folder, filepath.Base(p.given))
			return p, nil
		}
	}
	if err != nil && !filefail.IsAbsent(err) {
		return place{}, fmt.Errorf("`path`: the folder %s cannot be looked at: %s", filepath.Dir(p.given), filefail.Why(err))
	}
	return place{}, target.NotYet(fmt.Sprintf("`path`: there is no folder %s to put the file into", filepath.Dir(p.given)))
}

// lacking says which rights are missing.
func (p place) lacking() ([]spec.Need, error) {
	folder := filepath.Dir(p.path)
	need := func(capability, why string) ([]spec.Need, error) {
		return []spec.Need{{Kind: "privilege", Name: capability, Install: why + "; run as root"}}, nil
	}
	where, mode, what := folder, uint32(unix.W_OK|unix.X_OK), "into "+folder
	if p.mount {
		where, mode, what = p.path, unix.W_OK, p.path
	}
	switch err := unix.Access(where, mode); err {
	case nil:
	case unix.EACCES:
		return need("CAP_DAC_OVERRIDE", "this user may not write "+what)
	default:
		return nil, fmt.Errorf("nothing can be written to %s: %s", where, filefail.Why(err))
	}
	if !p.exists() {
		return nil, nil
	}
	if unix.Access(p.path, unix.R_OK) != nil {
		return need("CAP_DAC_OVERRIDE", "this user may not read "+p.path+", so the old content could not be kept")
	}
	if user := os.Geteuid(); user != 0 && int(p.stat.Uid) != user && !p.mount {
		return need("CAP_CHOWN", p.path+" belongs to another user, and only root can give it back to them")
	}
	return nil, nil
}

func plan(_ context.Context, e env.Env, in putArgs) (actions.Plan, error) {
	at, err := locate(e.Dir, in.Path)
	if err != nil {
		return actions.Plan{}, err
	}
	p := actions.Plan{
		Targets:  []target.Identity{at.identity()},
		Lifetime: actions.Guardian,
		Why:      "a file outlives the process that wrote it",
		Does:     fmt.Sprintf("put %s into %s", value.SizeOf(float64(len(in.Content))).Short(), at),
		Undo:     []string{"put the old content, mode, owner and time of " + at.path + " back"},
	}
	if at.mount {
		p.Why += "; it is mounted by itself, so it is written in place, and a reader may see half of it"
	}
	if !at.exists() {
		p.Does = fmt.Sprintf("create %s with %s", at, value.SizeOf(float64(len(in.Content))).Short())
		p.Undo = []string{"remove " + at.path}
	}
	if p.Missing, err = at.lacking(); err != nil {
		return actions.Plan{}, err
	}
	p.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) { return inject(ctx, e, led, in) }
	return p, nil
}
