package host

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
)

// TCP is what the kernel counts of all connections, IPv4 and IPv6. The names in the help are those of RFC 4022.
type TCP struct {
	Active      value.RateV `chaos:"active" help:"connections opened from here; ActiveOpens of /proc/net/snmp, since the sample before, as all but established"`
	Passive     value.RateV `chaos:"passive" help:"connections accepted here; PassiveOpens"`
	Retransmits value.RateV `chaos:"retransmits" help:"segments sent again, because no answer came in time; RetransSegs"`
	Resets      value.RateV `chaos:"resets" help:"established connections that ended by a reset, from either side; EstabResets"`
	Established int         `chaos:"established" help:"connections that are established at this moment; CurrEstab"`
	InErrors    value.RateV `chaos:"in_errors" help:"segments that arrived damaged; InErrs"`
}

func tcp(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.tcp",
		Summary: "Measures TCP of the whole machine: connections opened and accepted, retransmissions, resets and damaged segments.",
		Example: `probe tcp = host.tcp() every 1s`,
	}, func(context.Context, env.Env, struct{}) (probes.Take[TCP], error) {
		snmp := file{path: filepath.Join(r.Proc, "net/snmp")}
		established := 0 // of the latest reading
		read := func() (counters, error) {
			row, err := snmp.tcp("ActiveOpens", "PassiveOpens", "RetransSegs", "EstabResets", "InErrs", "CurrEstab")
			if err != nil {
				return nil, err
			}
			established = int(row[5])
			return counters{"tcp": row[:5]}, nil
		}
		if _, err := read(); err != nil {
			return nil, err
		}
		return counted(read, func(g growth) TCP {
			return TCP{
				Active: value.RateV(g.rate(0)), Passive: value.RateV(g.rate(1)), Retransmits: value.RateV(g.rate(2)),
				Resets: value.RateV(g.rate(3)), InErrors: value.RateV(g.rate(4)), Established: established,
			}
		}), nil
	})
}

// tcp reads some of the counters of TCP: of two lines that begin with "Tcp:" the first has the names, the second the numbers.
func (f *file) tcp(names ...string) ([]uint64, error) {
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	var titles [][]byte
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != "Tcp:" {
			continue
		}
		if titles == nil {
			titles = fields
			continue
		}
		columns := make([]int, len(names))
		for i, name := range names {
			columns[i] = slices.IndexFunc(titles, func(t []byte) bool { return string(t) == name })
			if columns[i] < 0 {
				return nil, fmt.Errorf("%s has no counter %s of TCP", f.path, name)
			}
		}
		return f.row(fields, columns...)
	}
	return nil, fmt.Errorf("%s has no counters of TCP", f.path)
}
