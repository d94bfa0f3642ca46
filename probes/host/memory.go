package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"github.com/prometheus/procfs"
)

// Memory is where it is, and what goes to swap and back.
type Memory struct {
	Total     value.SizeV      `chaos:"total" help:"memory that the kernel may use; MemTotal of /proc/meminfo"`
	Available value.SizeV      `chaos:"available" help:"what programs could still take without swapping; MemAvailable"`
	Free      value.SizeV      `chaos:"free" help:"what nobody uses at all, which is normally little; MemFree"`
	Used      value.SizeV      `chaos:"used" help:"total without available"`
	Cached    value.SizeV      `chaos:"cached" help:"buff/cache of free(1): Buffers, Cached and SReclaimable; files in memory (tmpfs) too, which cannot be dropped"`
	SwapUsed  value.SizeV      `chaos:"swap_used" help:"swap in use; SwapTotal without SwapFree"`
	SwapIn    value.BandwidthV `chaos:"swap_in" help:"read back from swap since the sample before; pswpin of /proc/vmstat, in pages"`
	SwapOut   value.BandwidthV `chaos:"swap_out" help:"written to swap since the sample before; pswpout"`
}

func memory(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.memory",
		Summary: "Measures memory and swap: how much there is and is available, and how fast it is swapped.",
		Example: `probe memory = host.memory() every 2s`,
	}, func(context.Context, env.Env, struct{}) (probes.Take[Memory], error) {
		f, err := r.procfs()
		if err != nil {
			return nil, err
		}
		var info procfs.Meminfo // of the latest reading
		read := func() (counters, error) {
			if info, err = f.Meminfo(); err != nil {
				return nil, unreadable("/proc/meminfo", err)
			}
			if info.MemTotalBytes == nil || info.MemAvailableBytes == nil {
				return nil, errors.New("/proc/meminfo has no MemAvailable: run Linux 3.14 or newer")
			}
			pages, err := r.vmstat("pswpin", "pswpout")
			return counters{"swap": pages}, err
		}
		return counted(read, func(g growth) Memory {
			size := func(list ...*uint64) (sum value.SizeV) {
				for _, n := range list {
					if n != nil {
						sum += value.SizeV(*n)
					}
				}
				return sum
			}
			swapped := func(column int) value.BandwidthV {
				return value.BandwidthV(g.rate(column) * float64(os.Getpagesize()))
			}
			total, available := size(info.MemTotalBytes), size(info.MemAvailableBytes)
			return Memory{
				Total: total, Available: available, Free: size(info.MemFreeBytes), Used: max(total-available, 0),
				Cached:   size(info.BuffersBytes, info.CachedBytes, info.SReclaimableBytes),
				SwapUsed: size(info.SwapTotalBytes) - size(info.SwapFreeBytes),
				SwapIn:   swapped(0), SwapOut: swapped(1),
			}
		}), nil
	})
}

// vmstat reads counters of /proc/vmstat, which the library does not know. One that the kernel lacks is an error.
func (r Root) vmstat(names ...string) ([]uint64, error) {
	path := filepath.Join(r.Proc, "vmstat")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	out := make([]uint64, len(names))
	for i, name := range names {
		_, rest, ok := strings.Cut("\n"+string(text), "\n"+name+" ")
		if !ok {
			return nil, fmt.Errorf("%s has no %s: the kernel does not count it", path, name)
		}
		digits, _, _ := strings.Cut(rest, "\n")
		if out[i], err = strconv.ParseUint(digits, 10, 64); err != nil {
			return nil, fmt.Errorf("%s has another form than proc(5) says, at %s", path, name)
		}
	}
	return out, nil
}
