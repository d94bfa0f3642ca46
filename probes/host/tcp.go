package host

import (
	"context"
	"errors"

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
		f, err := r.procfs()
		if err != nil {
			return nil, err
		}
		established := 0 // of the latest reading
		read := func() (counters, error) {
			self, err := f.Self()
			if err != nil {
				return nil, unreadable("/proc/self", err)
			}
			snmp, err := self.Snmp()
			if err != nil {
				return nil, unreadable("/proc/net/snmp", err)
			}
			t := snmp.Tcp
			row := make([]uint64, 5)
			for i, n := range []*float64{t.ActiveOpens, t.PassiveOpens, t.RetransSegs, t.EstabResets, t.InErrs} {
				if n == nil || t.CurrEstab == nil {
					return nil, errors.New("/proc/net/snmp has no counters of TCP")
				}
				row[i] = uint64(*n)
			}
			established = int(*t.CurrEstab)
			return counters{"tcp": row}, nil
		}
		return counted(read, func(g growth) TCP {
			return TCP{
				Active: value.RateV(g.rate(0)), Passive: value.RateV(g.rate(1)), Retransmits: value.RateV(g.rate(2)),
				Resets: value.RateV(g.rate(3)), InErrors: value.RateV(g.rate(4)), Established: established,
			}
		}), nil
	})
}
