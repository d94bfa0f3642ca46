package host

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"github.com/prometheus/procfs"
)

type cpuArgs struct {
	Core *int `chaos:"core" help:"the number of one core, from 0; without it all of them together"`
}

// CPU is what the cores did since the sample before. busy and iowait are with the idle rest 100%, and user, system, softirq
// and steal are busy.
type CPU struct {
	Busy    value.RatioV `chaos:"busy" help:"share of the time of the cores that was neither idle nor iowait, since the sample before: 100% is all of them; /proc/stat, as all that follow"`
	User    value.RatioV `chaos:"user" help:"share in programs, also those with a nice value and virtual machines"`
	System  value.RatioV `chaos:"system" help:"share in the kernel, hard interrupts included"`
	IOWait  value.RatioV `chaos:"iowait" help:"share idle while something waited for a disk"`
	Steal   value.RatioV `chaos:"steal" help:"share that the hypervisor gave to somebody else"`
	SoftIRQ value.RatioV `chaos:"softirq" help:"share in soft interrupts, such as received packets"`
	Cores   int          `chaos:"cores" help:"cores that are online"`
}

func cpu(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.cpu",
		Summary: "Measures what the processor cores spend their time on, all together or one of them, since the sample before.",
		Example: `probe cpu = host.cpu() every 2s`,
	}, func(_ context.Context, _ env.Env, in cpuArgs) (probes.Take[CPU], error) {
		f, err := r.procfs()
		if err != nil {
			return nil, err
		}
		read := func() (ticks, error) {
			s, err := f.Stat()
			if err != nil {
				return ticks{}, unreadable("/proc/stat", err)
			}
			out := ticks{s.CPUTotal, len(s.CPU)}
			if in.Core != nil {
				core, ok := s.CPU[int64(*in.Core)]
				if !ok {
					return ticks{}, noCore(*in.Core, slices.Collect(maps.Keys(s.CPU)))
				}
				out.CPUStat = core
			}
			return out, nil
		}
		if _, err := read(); err != nil {
			return nil, err
		}
		return metered(read, ticks.until, ticks.sample), nil
	})
}

func noCore(core int, there []int64) error {
	names := make([]string, len(there))
	for i, n := range slices.Sorted(slices.Values(there)) {
		names[i] = strconv.FormatInt(n, 10)
	}
	if last := len(names) - 1; last > 12 {
		names = []string{names[0], "…", names[last]}
	}
	return &absent{fmt.Sprintf("there is no core %d, or it is offline; there are %s", core, strings.Join(names, ", "))}
}

// ticks are seconds in each mode.
type ticks struct {
	procfs.CPUStat
	cores int
}

// sum leaves out guest and guest_nice, which the kernel counts in user and nice too.
func (t ticks) sum() float64 {
	return t.User + t.Nice + t.System + t.Idle + t.Iowait + t.IRQ + t.SoftIRQ + t.Steal
}

// until takes what fell for unchanged: iowait may, see proc(5), and idle when a core goes offline.
func (before ticks) until(now ticks) (ticks, bool) {
	d := func(a, b float64) float64 { return max(b-a, 0) }
	out := ticks{procfs.CPUStat{
		User: d(before.User, now.User), Nice: d(before.Nice, now.Nice), System: d(before.System, now.System),
		Idle: d(before.Idle, now.Idle), Iowait: d(before.Iowait, now.Iowait), IRQ: d(before.IRQ, now.IRQ),
		SoftIRQ: d(before.SoftIRQ, now.SoftIRQ), Steal: d(before.Steal, now.Steal),
	}, now.cores}
	return out, out.sum() > 0
}

func (now ticks) sample(grown ticks, _ time.Duration) CPU {
	share := func(seconds ...float64) value.RatioV {
		total := 0.0
		for _, s := range seconds {
			total += s
		}
		return value.RatioV(total / grown.sum())
	}
	return CPU{
		Busy:   share(grown.User, grown.Nice, grown.System, grown.IRQ, grown.SoftIRQ, grown.Steal),
		User:   share(grown.User, grown.Nice),
		System: share(grown.System, grown.IRQ),
		IOWait: share(grown.Iowait), Steal: share(grown.Steal), SoftIRQ: share(grown.SoftIRQ),
		Cores: now.cores,
	}
}
