package host

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"

	"chaos/lang/spec"
	"chaos/probes"
	"chaos/runtime/env"
)

// OOM is who was killed for want of memory.
type OOM struct {
	Kills int     `chaos:"kills,kept" help:"processes that the kernel killed for want of memory since the probe began, in a cgroup over its limit too; oom_kill of /proc/vmstat"`
	Last  *string `chaos:"last,kept" help:"the latest of them, such as mysqld (pid 4242); absent before the first, and where the kernel's log may not be read"`
}

func oom(r Root) probes.Probe {
	return withLog(spec.Call{
		Name:    "host.oom",
		Summary: "Counts the processes that the kernel kills for want of memory from now on, and names the latest.",
		Example: `probe oom = host.oom() every 1s`,
	}, func(env.Env, struct{}) (probes.Take[OOM], *kmsg, error) {
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
		log, _ := r.openKmsg() // without it they are counted, but not named
		var last *string
		return func(ctx context.Context) (OOM, error) {
			now, err := count()
			if err != nil {
				return OOM{}, err
			}
			if log != nil {
				if err := log.drain(ctx, func(text string) { last = victim(text, last) }); err != nil {
					return OOM{}, err
				}
			}
			return OOM{Kills: int(now - begun), Last: last}, nil
		}, log, nil
	})
}

var killed = regexp.MustCompile(`[Kk]illed process (\d+) \((.*?)\)`)

// victim reads a message such as "Memory cgroup out of memory: Killed process 15705 (python3) total-vm:323768kB, …".
func victim(text string, before *string) *string {
	m := killed.FindStringSubmatch(text)
	if m == nil {
		return before
	}
	who := m[2] + " (pid " + m[1] + ")"
	return &who
}
