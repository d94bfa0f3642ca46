package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"chaos/lang/spec"
	"chaos/probes"
	"chaos/runtime/env"
)

// Load is how many threads want to run.
type Load struct {
	Load1    float64 `chaos:"load1" help:"threads that ran, waited for a core, or were in an uninterruptible sleep such as for a disk: damped mean over 1 minute; /proc/loadavg"`
	Load5    float64 `chaos:"load5" help:"the same over 5 minutes"`
	Load15   float64 `chaos:"load15" help:"the same over 15 minutes"`
	Runnable int     `chaos:"runnable" help:"threads that run or wait for a core at this moment, without the one that looks; /proc/loadavg"`
}

func load(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.load",
		Summary: "Tells how many threads want to run: the load averages, and how many at this moment.",
		Example: `probe load = host.load() every 5s`,
	}, func(context.Context, env.Env, struct{}) (probes.Take[Load], error) {
		f, err := r.procfs()
		if err != nil {
			return nil, err
		}
		return func(context.Context) (Load, error) {
			averages, err := f.LoadAvg()
			if err != nil {
				return Load{}, unreadable("/proc/loadavg", err)
			}
			running, err := runnable(filepath.Join(r.Proc, "loadavg"))
			if err != nil {
				return Load{}, err
			}
			// As sysstat does: who looks is running, and on an idle machine the only one.
			return Load{Load1: averages.Load1, Load5: averages.Load5, Load15: averages.Load15, Runnable: max(running-1, 0)}, nil
		}, nil
	})
}

// runnable is the number before the slash in "0.68 0.79 0.69 2/112 26876", which the library leaves out.
func runnable(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, unreadable(path, err)
	}
	var averages [3]string
	var running int
	if _, err := fmt.Sscanf(strings.Replace(string(text), "/", " ", 1), "%s %s %s %d", &averages[0], &averages[1], &averages[2], &running); err != nil {
		return 0, fmt.Errorf("%s has another form than proc(5) says", path)
	}
	return running, nil
}
