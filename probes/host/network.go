package host

import (
	"bytes"
	"context"
	"maps"
	"path/filepath"
	"slices"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
)

type networkArgs struct {
	Interface *string `chaos:"interface,positional" help:"the name of a network interface; without it all but lo together, where a packet that passes a bridge or a tunnel counts at each"`
}

// Network is the traffic of network interfaces.
type Network struct {
	Rx        value.BandwidthV `chaos:"rx" help:"received, as the interface counts bytes; /proc/net/dev, since the sample before, as all that follow"`
	Tx        value.BandwidthV `chaos:"tx" help:"sent"`
	RxPackets value.RateV      `chaos:"rx_packets" help:"packets received"`
	TxPackets value.RateV      `chaos:"tx_packets" help:"packets sent"`
	RxErrors  value.RateV      `chaos:"rx_errors" help:"packets that arrived damaged, or that the interface could not take; errs"`
	TxErrors  value.RateV      `chaos:"tx_errors" help:"packets that could not be sent; errs"`
	RxDrops   value.RateV      `chaos:"rx_drops" help:"packets dropped on arrival, for want of room or of somebody who knows them; drop"`
	TxDrops   value.RateV      `chaos:"tx_drops" help:"packets dropped before they were sent; drop"`
}

func network(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.network",
		Summary: "Measures traffic, errors and drops of a network interface, or of all but lo, since the sample before.",
		Example: `probe net = host.network("eth0") every 1s`,
	}, func(_ context.Context, _ env.Env, in networkArgs) (probes.Take[Network], error) {
		dev := file{path: filepath.Join(r.Proc, "net/dev")}
		read := func() (counters, error) {
			all, err := dev.interfaces()
			if err != nil || in.Interface == nil {
				delete(all, "lo")
				return all, err
			}
			row, ok := all[*in.Interface]
			if !ok {
				return nil, noSuch("network interface", *in.Interface, slices.Collect(maps.Keys(all)), "ls /sys/class/net")
			}
			return counters{*in.Interface: row}, nil
		}
		if _, err := read(); err != nil {
			return nil, err
		}
		return counted(read, func(g growth) Network {
			return Network{
				Rx: value.BandwidthV(g.rate(0)), Tx: value.BandwidthV(g.rate(1)),
				RxPackets: value.RateV(g.rate(2)), TxPackets: value.RateV(g.rate(3)),
				RxErrors: value.RateV(g.rate(4)), TxErrors: value.RateV(g.rate(5)),
				RxDrops: value.RateV(g.rate(6)), TxDrops: value.RateV(g.rate(7)),
			}
		}), nil
	})
}

// interfaces reads lines such as "  eth0: 1296 16 0 0 0 0 0 0 876 10 0 0 0 0 0 0", behind two of titles: of what was received and
// of what was sent bytes, packets, errs and drop.
func (f *file) interfaces() (counters, error) {
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	out := counters{}
	for line := range bytes.Lines(text) {
		colon := bytes.LastIndexByte(line, ':')
		if colon < 0 {
			continue // titles
		}
		name := string(bytes.TrimSpace(line[:colon]))
		if out[name], err = f.row(bytes.Fields(line[colon+1:]), 0, 8, 1, 9, 2, 10, 3, 11); err != nil {
			return nil, err
		}
	}
	return out, nil
}
