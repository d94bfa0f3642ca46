package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"github.com/prometheus/procfs"
)

type pressureArgs struct {
	Resource string `chaos:"resource,required,positional" enum:"cpu memory io" help:"what is waited for: a core, memory that must first be made free or read back, or a disk"`
}

// Pressure is the share of the time that was lost to waiting; see Documentation/accounting/psi.rst of the kernel.
type Pressure struct {
	Some   value.RatioV  `chaos:"some" help:"share of the time in which at least one task waited for it, since the sample before; total of some in /proc/pressure"`
	Full   *value.RatioV `chaos:"full" help:"share in which all tasks that had work waited for it, since the sample before; 0 or absent for the cpu of a whole machine"`
	Some10 value.RatioV  `chaos:"some10" help:"some over the last 10 seconds, damped; avg10"`
	Some60 value.RatioV  `chaos:"some60" help:"some over the last minute, damped; avg60"`
	Full10 *value.RatioV `chaos:"full10" help:"full over the last 10 seconds, damped; avg10"`
	Full60 *value.RatioV `chaos:"full60" help:"full over the last minute, damped; avg60"`
}

func pressure(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.pressure",
		Summary: "Measures how much of the time tasks wait for a resource: its saturation, as the kernel sees it.",
		Example: `probe waits = host.pressure("io") every 2s`,
		Needs:   []spec.Need{{Kind: "kernel", Name: "PSI", Install: "boot with psi=1"}},
	}, func(_ context.Context, _ env.Env, in pressureArgs) (probes.Take[Pressure], error) {
		path := filepath.Join(r.Proc, "pressure", in.Resource)
		if _, err := os.Stat(path); err != nil {
			return nil, errors.New("the kernel does not measure pressure, there is no " + path + ": boot with psi=1, with Linux 4.20 or newer")
		}
		stalls := file{path: path}
		return metered(stalls.pressure, stalled, pressed), nil
	})
}

// pressure reads lines such as "some avg10=1.53 avg60=1.87 avg300=1.73 total=1088168194".
func (f *file) pressure() (out procfs.PSIStats, err error) {
	text, err := f.read()
	if err != nil {
		return out, err
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		var l procfs.PSILine
		for _, field := range fields {
			name, number, _ := bytes.Cut(field, []byte("="))
			switch string(name) {
			case "avg10":
				l.Avg10, err = strconv.ParseFloat(string(number), 64)
			case "avg60":
				l.Avg60, err = strconv.ParseFloat(string(number), 64)
			case "total":
				l.Total, err = strconv.ParseUint(string(number), 10, 64)
			}
			if err != nil {
				return out, f.strange()
			}
		}
		switch {
		case len(fields) == 0:
		case string(fields[0]) == "some":
			out.Some = &l
		case string(fields[0]) == "full":
			out.Full = &l
		}
	}
	if out.Some == nil {
		return out, f.strange()
	}
	return out, nil
}

// stalled is what the totals grew by, in microseconds.
func stalled(before, now procfs.PSIStats) (out procfs.PSIStats, ok bool) {
	row := func(s procfs.PSIStats) []uint64 {
		if s.Full == nil {
			return []uint64{s.Some.Total, 0}
		}
		return []uint64{s.Some.Total, s.Full.Total}
	}
	grown, ok := advance(row(before), row(now))
	if !ok {
		return out, false
	}
	return procfs.PSIStats{Some: &procfs.PSILine{Total: grown[0]}, Full: &procfs.PSILine{Total: grown[1]}}, true
}

func pressed(now, grown procfs.PSIStats, span time.Duration) Pressure {
	// The kernel closes its accounts at other moments than we read them, so that a share may come out slightly above 1.
	share := func(l *procfs.PSILine) value.RatioV { return value.RatioV(min(float64(l.Total)*1e3/float64(span), 1)) }
	out := Pressure{Some: share(grown.Some), Some10: value.RatioV(now.Some.Avg10 / 100), Some60: value.RatioV(now.Some.Avg60 / 100)}
	if now.Full != nil {
		full, full10, full60 := share(grown.Full), value.RatioV(now.Full.Avg10/100), value.RatioV(now.Full.Avg60/100)
		out.Full, out.Full10, out.Full60 = &full, &full10, &full60
	}
	return out
}
