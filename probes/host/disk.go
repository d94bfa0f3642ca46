package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

type diskArgs struct {
	Path string `chaos:"path,required,positional" help:"any file or folder of the file system; a relative path starts at the script's folder"`
}

// Disk is the room on a file system, by statfs(2).
type Disk struct {
	Size        value.SizeV   `chaos:"size" help:"all of the file system; f_blocks of statfs(2), as df(1) counts"`
	Used        value.SizeV   `chaos:"used" help:"what is in use; f_blocks without f_bfree"`
	Available   value.SizeV   `chaos:"available" help:"what users other than root may still write; f_bavail"`
	UsedRatio   value.RatioV  `chaos:"used_ratio" help:"used of used and available, so 100% is full for users; Use% of df(1), which rounds up"`
	InodesRatio *value.RatioV `chaos:"inodes_ratio" help:"share of the inodes in use, since without one there can be no new file; f_files and f_ffree; absent where the file system has no limit"`
}

func disk() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.disk",
		Summary: "Measures the room on the file system that holds a path.",
		Example: `probe space = host.disk("/var/lib/postgresql") every 10s`,
	}, func(_ context.Context, e env.Env, in diskArgs) (probes.Take[Disk], error) {
		if in.Path == "" {
			return nil, errors.New("`path` is empty")
		}
		path := command.Resolve(e.Dir, in.Path)
		take := func(context.Context) (Disk, error) { return statfs(path) }
		if _, err := os.Stat(path); filefail.IsAbsent(err) {
			return nil, noPath(path)
		}
		return take, nil
	})
}

// noPath names the neighbours of what is not there.
func noPath(path string) error {
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return &absent{fmt.Sprintf("there is no %s: there is no folder %s either", path, folder)}
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = filepath.Join(folder, e.Name())
	}
	return noSuch("file or folder", path, names, "ls "+folder)
}

func statfs(path string) (Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Disk{}, fmt.Errorf("%s cannot be looked at: %s", path, filefail.Why(err))
	}
	block := float64(s.Frsize)
	used := float64(s.Blocks-s.Bfree) * block
	available := float64(s.Bavail) * block
	out := Disk{Size: value.SizeV(float64(s.Blocks) * block), Used: value.SizeV(used), Available: value.SizeV(available)}
	if used+available > 0 {
		out.UsedRatio = value.RatioV(used / (used + available))
	}
	if s.Files > 0 {
		inodes := value.RatioV(float64(s.Files-s.Ffree) / float64(s.Files))
		out.InodesRatio = &inodes
	}
	return out, nil
}
