package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
)

// Memory is where it is, and what goes to swap and back.
type Memory struct {
	Total     value.SizeV      `chaos:"total" help:"memory that the kernel may use; MemTotal of /proc/meminfo"`
	Available value.SizeV      `chaos:"available" help:"what programs could still take without swapping; MemAvailable"`
	Free      value.SizeV      `chaos:"free" help:"what nobody uses at all, which is normally little; MemFree"`
	Used      value.SizeV      `chaos:"used" help:"total without available"`
	UsedRatio value.RatioV     `chaos:"used_ratio" help:"used of total"`
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
		info, vmstat := file{path: filepath.Join(r.Proc, "meminfo")}, file{path: filepath.Join(r.Proc, "vmstat")}
		var m map[string]uint64 // of the latest reading, in KiB
		read := func() (_ counters, err error) {
			if m, err = info.numbers("MemTotal:", "MemAvailable:", "MemFree:", "Buffers:", "Cached:", "SReclaimable:", "SwapTotal:", "SwapFree:"); err != nil {
				return nil, err
			}
			if _, ok := m["MemAvailable:"]; !ok {
				return nil, errors.New("/proc/meminfo has no MemAvailable: run Linux 3.14 or newer")
			}
			pages, err := vmstat.numbers("pswpin", "pswpout") // absent in a kernel without swap
			return counters{"swap": {pages["pswpin"], pages["pswpout"]}}, err
		}
		if _, err := read(); err != nil {
			return nil, err
		}
		return counted(read, func(g growth) Memory {
			used := max(float64(m["MemTotal:"])-float64(m["MemAvailable:"]), 0)
			size := func(name string) value.SizeV { return value.SizeV(m[name+":"] * 1024) }
			swapped := func(column int) value.BandwidthV {
				return value.BandwidthV(g.rate(column) * float64(os.Getpagesize()))
			}
			return Memory{
				Total: size("MemTotal"), Available: size("MemAvailable"), Free: size("MemFree"),
				Used: value.SizeV(used * 1024), UsedRatio: value.RatioV(used / max(float64(m["MemTotal:"]), 1)),
				Cached:   size("Buffers") + size("Cached") + size("SReclaimable"),
				SwapUsed: size("SwapTotal") - size("SwapFree"),
				SwapIn:   swapped(0), SwapOut: swapped(1),
			}
		}), nil
	})
}
