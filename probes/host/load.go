package host

import (
	"bytes"
	"context"
	"path/filepath"
	"strconv"

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
		loadavg := file{path: filepath.Join(r.Proc, "loadavg")}
		return func(context.Context) (Load, error) {
			averages, err := f.LoadAvg()
			if err != nil {
				return Load{}, unreadable("/proc/loadavg", err)
			}
			running, err := runnable(&loadavg)
			if err != nil {
				return Load{}, err
			}
			// As sysstat does: who looks is running, and on an idle machine the only one.
			return Load{Load1: averages.Load1, Load5: averages.Load5, Load15: averages.Load15, Runnable: max(running-1, 0)}, nil
		}, nil
	})
}

// runnable is the number before the slash in "0.68 0.79 0.69 2/112 26876", which the library leaves out.
func runnable(loadavg *file) (int, error) {
	text, err := loadavg.read()
	if err != nil {
		return 0, err
	}
	if fields := bytes.Fields(text); len(fields) > 3 {
		digits, _, _ := bytes.Cut(fields[3], []byte("/"))
		if n, err := strconv.Atoi(string(digits)); err == nil {
			return n, nil
		}
	}
	return 0, loadavg.strange()
}
