// Package network is the family of actions on the network of this machine.
package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/runtime/env"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// All lists the actions of this family.
func All() []actions.Action { return []actions.Action{occupy()} }

// Reverters lists what undoes their records.
func Reverters() []actions.Reverter { return []actions.Reverter{occupyReverter{}} }

// Register adds the family to a registry.
func Register(r *actions.Registry) {
	r.Add(All()...)
	r.AddReverters(Reverters()...)
}

type occupyArgs struct {
	Port     int    `chaos:"port,required,positional" range:">=1 <=65535" help:"the port to take"`
	Address  string `chaos:"address" default:"127.0.0.1" help:"the address of this machine on which to take it; 0.0.0.0 or :: for all"`
	Protocol string `chaos:"protocol" default:"tcp" enum:"tcp udp" help:"tcp or udp"`
}

// version is that of the arguments in the undo records.
const version = 1

// occupied is what an undo record says: a socket, and who holds it.
type occupied struct {
	Port  port            `json:"port"`
	Inode uint64          `json:"inode"`
	Owner target.Identity `json:"owner"`
}

func occupy() actions.Action {
	return actions.Define(spec.Call{
		Name: "network.occupy",
		Summary: "Takes a port, so that nothing else can listen there. Nothing is ever answered: over TCP the kernel lets the first clients connect and then " +
			"leaves them waiting, further ones time out; over UDP what comes is dropped.",
		Example:  `network.occupy(port: 8080) for 10s`,
		Undo:     "free the port",
		Lifetime: string(actions.Kernel),
		Needs:    []spec.Need{{Kind: "privilege", Name: "CAP_NET_BIND_SERVICE", Install: "for ports below 1024: run as root"}},
	}, plan)
}

func plan(_ context.Context, _ env.Env, in occupyArgs) (actions.Plan, error) {
	p, err := in.port()
	if err != nil {
		return actions.Plan{}, err
	}
	out := actions.Plan{
		Targets:  []target.Identity{p.identity()},
		Lifetime: actions.Kernel,
		Why:      "the socket is a descriptor of the run itself, and the kernel closes it with the run",
		Does:     "take " + p.String(),
		Undo:     []string{"free " + p.String()},
	}
	if why := p.refused(); why != "" {
		out.Missing = []spec.Need{{Kind: "privilege", Name: "CAP_NET_BIND_SERVICE", Install: why}}
	}
	// A step before this one may be what ends the holder, so here it is only told. The act refuses.
	if who, err := p.holder(); err == nil && who != "" {
		out.Does += ", which is in use now by " + who
	}
	out.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) { return inject(led, p) }
	return out, nil
}

func (in occupyArgs) port() (port, error) {
	addr, err := netip.ParseAddr(in.Address)
	if err != nil || addr.Zone() != "" {
		return port{}, fmt.Errorf("`address: %q` is no IP address; write for example \"127.0.0.1\", \"0.0.0.0\" or \"::\"", in.Address)
	}
	p := port{Protocol: in.Protocol, Address: addr.Unmap(), Number: in.Port}
	return p, p.local()
}

func inject(led actions.Ledger, p port) (actions.Fault, error) {
	fd, err := p.socket()
	if err != nil {
		return actions.Fault{}, err
	}
	// The file closes the descriptor also when nobody refers to it any more, so the runtime keeps it in Hold.
	held := os.NewFile(uintptr(fd), p.String())
	inode, err := inodeOf(fd)
	if err == nil {
		err = record(led, p, inode, func() error { return p.take(fd) })
	}
	if err != nil {
		return actions.Fault{}, errors.Join(err, held.Close())
	}
	return actions.Fault{
		Hold: io.Closer(held),
		Note: "took " + p.String(),
		Effect: func(context.Context) (actions.Effect, string) {
			switch err := p.try(); {
			case errors.Is(err, unix.EADDRINUSE):
				return actions.Yes, "nothing else can take it"
			case err == nil:
				return actions.No, "something else could take it too"
			default:
				return actions.Unknown, err.Error()
			}
		},
	}, nil
}

// record journals the undo, then acts.
func record(led actions.Ledger, p port, inode uint64, act func() error) error {
	owner, err := target.ProcessIdentity(os.Getpid())
	if err != nil {
		return err
	}
	args, err := json.Marshal(occupied{Port: p, Inode: inode, Owner: owner})
	if err != nil {
		return err
	}
	id, err := led.Intend(actions.Undo{
		Kind: "network.occupy", Version: version, Target: p.identity(), Args: args, Lifetime: actions.Kernel,
		Manual: "kill -TERM " + owner.ID + " # the run that holds it",
	})
	if err != nil {
		return err
	}
	if err := act(); err != nil {
		return err
	}
	return led.Applied(id)
}

// occupyReverter verifies that the port is free: closing the socket, which the runtime does before, or the kernel, is all
// that there is to undo.
type occupyReverter struct{}

func (occupyReverter) Kind() string { return "network.occupy" }

func read(u actions.Undo) (occupied, error) {
	var in occupied
	if u.Version != version {
		return in, fmt.Errorf("the record %s has version %d, this program knows %d: undo it with the chaos that wrote it", u.Kind, u.Version, version)
	}
	if err := json.Unmarshal(u.Args, &in); err != nil {
		return in, fmt.Errorf("the record %s cannot be read: %w", u.Kind, err)
	}
	return in, nil
}

func (r occupyReverter) Revert(ctx context.Context, e env.Env, u actions.Undo) error {
	in, err := read(u)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := r.State(ctx, e, u)
		if err != nil || state != actions.Present {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the run that holds %s is alive, with pid %s; end that run first", in.Port, in.Owner.ID)
		}
	}
}

// State is present while the owner lives and its socket, told by the inode, has the port.
func (occupyReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	in, err := read(u)
	if err != nil {
		return "", err
	}
	if !in.Owner.Alive() {
		return actions.Gone, nil
	}
	list, err := sockets(in.Port.Protocol, in.Port.Number)
	if err != nil {
		return "", err
	}
	for _, s := range list {
		if s.inode == in.Inode {
			return actions.Present, nil
		}
	}
	return actions.Gone, nil
}
