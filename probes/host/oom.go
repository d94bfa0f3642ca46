package host

import (
	"context"
	"errors"
	"path/filepath"

	"chaos/lang/spec"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/kmsg"
	oomkill "chaos/runtime/oom"
)

// OOM is who was killed for want of memory.
type OOM struct {
	Kills int     `chaos:"kills,kept" help:"processes that the kernel killed for want of memory since the probe began, in a cgroup over its limit too; oom_kill of /proc/vmstat"`
	Last  *string `chaos:"last,kept" help:"the latest of them, such as mysqld (pid 4242); absent before the first, and where the kernel's log may not be read"`
}

func oom(r Root) probes.Probe {
	return probes.DefineClosing(spec.Call{
		Name:    "host.oom",
		Summary: "Counts the processes that the kernel kills for want of memory from now on, and names the latest.",
		Example: `probe oom = host.oom() every 1s`,
	}, func(_ context.Context, _ env.Env, _ struct{}) (probes.Take[OOM], func() error, error) {
		vmstat := file{path: filepath.Join(r.Proc, "vmstat")}
		count := func() (uint64, error) {
			n, err := vmstat.numbers("oom_kill")
			if _, ok := n["oom_kill"]; !ok && err == nil {
				err = errors.New("/proc/vmstat has no oom_kill: run Linux 4.13 or newer")
			}
			return n["oom_kill"], err
		}
		begun, err := count()
		if err != nil {
			return nil, nil, err
		}
		log, err := kmsg.Open(filepath.Join(r.Dev, "kmsg"))
		var end func() error
		if err != nil {
			log = nil // without it they are counted, but not named
		} else {
			end = log.Close
		}
		var last *string
		return func(ctx context.Context) (OOM, error) {
			now, err := count()
			if err != nil {
				return OOM{}, err
			}
			if log != nil {
				err := log.Drain(ctx, func(text string) {
					if who, ok := oomkill.Victim(text); ok {
						text := who.String()
						last = &text
					}
				})
				if err != nil {
					return OOM{}, err
				}
			}
			return OOM{Kills: int(now - begun), Last: last}, nil
		}, end, nil
	})
}
