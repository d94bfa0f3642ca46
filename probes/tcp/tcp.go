// Package tcp watches whether something accepts TCP connections.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/netfail"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{connect()} }

type connectArgs struct {
	Address string        `chaos:"address,required,positional,filled" help:"host:port"`
	Timeout time.Duration `chaos:"timeout" default:"5s" range:">0s" help:"how long connecting may take, looking up the name included"`
}

// Sample is one attempt to connect.
type Sample struct {
	OK      bool           `chaos:"ok" help:"the connection was accepted; the kernel does that for a listener, even while its process is paused"`
	Latency *time.Duration `chaos:"latency" help:"how long connecting took; of a timeout the time waited; absent when it failed at once"`
	Error   string         `chaos:"error" help:"why there is no connection, in words; empty when there is one"`
}

func connect() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "tcp.connect",
		Summary: "Opens a TCP connection and closes it again; that nobody accepts it is a sample too.",
		Example: `probe port = tcp.connect("127.0.0.1:8080", timeout: 1s) every 200ms`,
	}, open)
}

func open(_ context.Context, _ env.Env, in connectArgs) (probes.Take[Sample], error) {
	if err := checkAddress(in.Address); err != nil {
		return nil, err
	}
	return func(parent context.Context) (Sample, error) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(parent, in.Timeout)
		defer cancel()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", in.Address)
		took := time.Since(start)
		if err == nil {
			conn.Close()
			return Sample{OK: true, Latency: &took}, nil
		}
		if errors.Is(parent.Err(), context.Canceled) {
			return Sample{}, parent.Err()
		}
		if ctx.Err() != nil || netfail.IsTimeout(err) {
			return Sample{Latency: &took, Error: netfail.Timeout(in.Address, in.Timeout)}, nil
		}
		return Sample{Error: netfail.Text(err, in.Address)}, nil
	}, nil
}

func checkAddress(address string) error {
	if rest, ok := strings.CutPrefix(address, "http://"); ok || strings.Contains(address, "://") {
		hint := ""
		if ok {
			host, _, _ := strings.Cut(rest, "/")
			hint = "; write " + value.Quote(host)
		}
		return fmt.Errorf("`address`: %s is a URL, not host:port%s", value.Quote(address), hint)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return fmt.Errorf("`address`: %s is not host:port, as in \"127.0.0.1:8080\"", value.Quote(address))
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("`address`: %s is no port", value.Quote(port))
	}
	return nil
}
