package host

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
)

type cpuArgs struct {
	Core *int `chaos:"core" range:">=0" help:"the number of one core, from 0; without it all of them together"`
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
		stat := file{path: filepath.Join(r.Proc, "stat")}
		read := func() (ticks, error) { return readTicks(&stat, in.Core) }
		if _, err := read(); err != nil {
			return nil, err
		}
		return metered(read, ticks.until, ticks.sample), nil
	})
}

// The columns of a line of /proc/stat, in ticks. guest and guest_nice follow, which are in user and nice too.
const (
	tickUser = iota
	tickNice
	tickSystem
	tickIdle
	tickIOWait
	tickIRQ
	tickSoftIRQ
	tickSteal
	columns
)

// ticks are the time in each mode, of all cores or of one.
type ticks struct {
	of    [columns]uint64
	cores int
}

// readTicks reads the one line that is wanted. The library reads every core and every interrupt, which on a large machine
// are many.
func readTicks(stat *file, core *int) (ticks, error) {
	text, err := stat.read()
	if err != nil {
		return ticks{}, err
	}
	wanted := "cpu"
	if core != nil {
		wanted += strconv.Itoa(*core)
	}
	var out ticks
	var row []byte
	var cores []string
	for line := range bytes.Lines(text) {
		name, rest, _ := bytes.Cut(line, []byte(" "))
		number, ok := bytes.CutPrefix(name, []byte("cpu"))
		if !ok {
			break // they come first
		}
		if len(number) > 0 {
			cores = append(cores, string(number))
		}
		if string(name) == wanted {
			row = rest
		}
	}
	switch {
	case row == nil && core != nil:
		return ticks{}, noCore(*core, cores)
	case row == nil:
		return ticks{}, stat.strange()
	}
	out.cores = len(cores)
	fields := bytes.Fields(row)
	for i := range min(columns, len(fields)) { // old kernels have fewer
		digits := fields[i]
		if out.of[i], err = strconv.ParseUint(string(digits), 10, 64); err != nil {
			return ticks{}, stat.strange()
		}
	}
	return out, nil
}

func noCore(core int, there []string) error {
	if len(there) > 12 {
		there = []string{there[0], "…", there[len(there)-1]}
	}
	return &absent{fmt.Sprintf("there is no core %d, or it is offline; there are %s", core, strings.Join(there, ", "))}
}

// until takes what fell for unchanged: iowait may, see proc(5), and idle when a core goes offline.
func (before ticks) until(now ticks) (ticks, bool) {
	out := ticks{cores: now.cores}
	for i := range out.of {
		out.of[i] = max(now.of[i], before.of[i]) - before.of[i]
	}
	return out, out.total() > 0
}

func (t ticks) sum(list ...int) (sum uint64) {
	for _, i := range list {
		sum += t.of[i]
	}
	return sum
}

func (t ticks) total() (sum uint64) {
	for _, n := range t.of {
		sum += n
	}
	return sum
}

func (now ticks) sample(grown ticks, _ time.Duration) CPU {
	share := func(list ...int) value.RatioV {
		return value.RatioV(float64(grown.sum(list...)) / float64(grown.total()))
	}
	return CPU{
		Busy:   share(tickUser, tickNice, tickSystem, tickIRQ, tickSoftIRQ, tickSteal),
		User:   share(tickUser, tickNice),
		System: share(tickSystem, tickIRQ),
		IOWait: share(tickIOWait), Steal: share(tickSteal), SoftIRQ: share(tickSoftIRQ),
		Cores: now.cores,
	}
}
