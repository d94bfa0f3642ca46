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
		loadavg := file{path: filepath.Join(r.Proc, "loadavg")}
		return func(context.Context) (Load, error) { return readLoad(&loadavg) }, nil
	})
}

// readLoad reads a text such as "0.68 0.79 0.69 2/112 26876". The library leaves out the number before the slash.
func readLoad(loadavg *file) (out Load, err error) {
	text, err := loadavg.read()
	if err != nil {
		return out, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 4 {
		return out, loadavg.strange()
	}
	for i, average := range []*float64{&out.Load1, &out.Load5, &out.Load15} {
		if *average, err = strconv.ParseFloat(string(fields[i]), 64); err != nil {
			return out, loadavg.strange()
		}
	}
	digits, _, _ := bytes.Cut(fields[3], []byte("/"))
	running, err := strconv.Atoi(string(digits))
	if err != nil {
		return out, loadavg.strange()
	}
	out.Runnable = max(running-1, 0) // as sysstat does: who looks is running, and on an idle machine the only one
	return out, nil
}
