package process

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/cgroup"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

// limitArgs starts where the kernel does: it holds no less than 1 ms of each second of a core.
type limitArgs struct {
	target.Selector
	CPU     *value.RatioV     `chaos:"cpu" range:">=0.1%" help:"processor time, as a share of one core: 50% is half a core, 150% one and a half"`
	Memory  *value.SizeV      `chaos:"memory" range:">=1MiB" help:"memory, swap included; what it holds already does not count, and what it takes beyond gets it killed by the kernel"`
	Pids    *int              `chaos:"pids" range:">=1" help:"how many processes and threads it may have together; more cannot be started"`
	IORead  *value.BandwidthV `chaos:"io_read" range:">=1B/s" help:"what it may read from each disk; from the file cache it reads as before"`
	IOWrite *value.BandwidthV `chaos:"io_write" range:">=1B/s" help:"what it may write to each disk; with cgroups of version 1 only direct and synchronous writes are slowed"`
}

func limit() actions.Action {
	return actions.Define(spec.Call{
		Name:     "process.limit",
		Summary:  "Limits what a process and everything below it may use, in a cgroup made for it; at least one limit is given. A process that is started anew meanwhile is not limited.",
		Example:  `process.limit(port: 5432, cpu: 20%, memory: 512MiB) for 30s`,
		Selects:  true,
		Result:   value.THandle,
		Spares:   target.Spared,
		Undo:     "move everything back into the cgroups where it was, and remove the one made for it",
		Lifetime: string(actions.Guardian),
		Needs: []spec.Need{
			{Kind: "privilege", Name: "root", Install: "run as root: cgroups are made under the roots of the controllers"},
			{Kind: "kernel", Name: "cgroup cpu", Install: "for `cpu`: version 1 or 2, mounted"},
			{Kind: "kernel", Name: "cgroup memory", Install: "for `memory`: version 1 or 2, mounted"},
			{Kind: "kernel", Name: "cgroup pids", Install: "for `pids`: version 1 or 2, mounted"},
			{Kind: "kernel", Name: "cgroup io", Install: "for `io_read` and `io_write`: version 1 (blkio) or 2, mounted"},
		},
	}, planLimit)
}

// limits reads the arguments.
func (in limitArgs) limits() (cgroup.Limits, error) {
	var l cgroup.Limits
	switch {
	case in.CPU == nil && in.Memory == nil && in.Pids == nil && in.IORead == nil && in.IOWrite == nil:
		return l, errors.New("no limit is given: write at least one of `cpu`, `memory`, `pids`, `io_read`, `io_write`")
	case in.CPU != nil && int(*in.CPU) >= runtime.NumCPU():
		return l, fmt.Errorf("`cpu: %s` is no limit on this machine, which has %d cores: 100%% is one core", value.RatioOf(float64(*in.CPU)), runtime.NumCPU())
	}
	if in.CPU != nil {
		l.CPU = float64(*in.CPU)
	}
	if in.Memory != nil {
		l.Memory = int64(*in.Memory)
	}
	if in.Pids != nil {
		l.Pids = int64(*in.Pids)
	}
	if in.IORead != nil {
		l.Read = int64(*in.IORead)
	}
	if in.IOWrite != nil {
		l.Write = int64(*in.IOWrite)
	}
	return l, nil
}

// inWords is for the plan and the report.
func inWords(l cgroup.Limits) string {
	var out []string
	if l.CPU > 0 {
		out = append(out, "cpu "+value.RatioOf(l.CPU).Short()+" of a core")
	}
	if l.Memory > 0 {
		out = append(out, "memory "+value.SizeOf(float64(l.Memory)).Short())
	}
	if l.Pids > 0 {
		out = append(out, fmt.Sprintf("%d processes and threads", l.Pids))
	}
	if l.Read > 0 {
		out = append(out, "reads "+value.BandwidthOf(float64(l.Read)).Short())
	}
	if l.Write > 0 {
		out = append(out, "writes "+value.BandwidthOf(float64(l.Write)).Short())
	}
	return strings.Join(out, ", ")
}

func planLimit(_ context.Context, e env.Env, in limitArgs) (actions.Plan, error) {
	l, err := in.limits()
	if err != nil {
		return actions.Plan{}, err
	}
	found, err := in.Resolve(e.Pick, e.Rand)
	if err != nil {
		return actions.Plan{}, err
	}
	design, missing, err := cgroup.Design(groupName(e), l)
	if err != nil {
		return actions.Plan{}, err
	}
	plan := actions.Plan{
		Targets:  identities(found),
		Lifetime: actions.Guardian,
		Why:      "a cgroup outlives everybody, so the guardian removes it when the run is gone",
		Does:     fmt.Sprintf("limit %s and what is below: %s", names(found), inWords(l)),
		Undo:     []string{"move " + names(found) + " and what is below back into the cgroups where they are now", "remove the cgroup made for it"},
	}
	for _, m := range missing {
		plan.Missing = append(plan.Missing, spec.Need{Kind: "cgroup controller", Name: m.Controller, Install: "it " + m.Why + "; " + m.Help})
	}
	if len(missing) > 0 {
		return plan, nil
	}
	for _, id := range plan.Targets {
		at, err := design.Where(id)
		if err == nil {
			_, err = kept(e, l, at)
		}
		if err != nil && !errors.Is(err, target.ErrGone) {
			return actions.Plan{}, err
		}
	}
	plan.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		found, err := in.Refresh(found, e.Pick, e.Rand)
		if err != nil {
			return actions.Fault{}, err
		}
		fault, err := limitAll(ctx, e, led, found, l)
		fault.Result = target.Handles(found, e.Pick)
		return fault, err
	}
	return plan, nil
}

// groupName is new each time, so that a cgroup with a recorded name cannot be anybody else's.
func groupName(e env.Env) string {
	var id [6]byte
	rand.Read(id[:])
	run := strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, filepath.Base(e.RunDir))
	if run == "" {
		return "chaos-" + hex.EncodeToString(id[:])
	}
	return "chaos-" + run + "-" + hex.EncodeToString(id[:])
}

// kept is a group for one process, with the limits that it has already.
func kept(e env.Env, l cgroup.Limits, at cgroup.Place) (cgroup.Group, error) {
	g, missing, err := cgroup.Design(groupName(e), l)
	if err == nil && len(missing) > 0 {
		err = missing[0]
	}
	if err == nil {
		err = g.Keep(at)
	}
	return g, err
}

func limitAll(ctx context.Context, e env.Env, led actions.Ledger, found []target.Found, l cgroup.Limits) (actions.Fault, error) {
	for _, f := range found {
		if f.Down() {
			return actions.Fault{}, fmt.Errorf("%s is not running, so there is nothing to limit", f.Name())
		}
	}
	type limited struct {
		id    target.Identity
		group cgroup.Group
	}
	var held []limited
	for _, f := range found {
		g, err := limitOne(ctx, e, led, f.Identity, l)
		if err != nil {
			return actions.Fault{}, err
		}
		held = append(held, limited{f.Identity, g})
	}
	return actions.Fault{
		Note: "limited " + names(found) + ": " + inWords(l),
		Effect: func(context.Context) (actions.Effect, string) {
			var said []string
			for _, h := range held {
				if !h.id.Alive() {
					return actions.No, h.id.String() + " is gone"
				}
				if !h.group.Holds(h.id.Pid()) {
					return actions.No, h.id.String() + " is not in its cgroup any more: somebody has moved it"
				}
				if why := h.group.Check(); why != "" {
					return actions.No, why
				}
				said = append(said, fmt.Sprintf("%s: %s for %d processes", h.id, inWords(h.group.Limits), len(h.group.Members())))
			}
			return actions.Yes, strings.Join(said, "; ")
		},
		Last: func() (actions.Effect, string) {
			var said []string
			for _, h := range held {
				if n := h.group.OOMKills(); n > 0 {
					said = append(said, fmt.Sprintf("the kernel's OOM killer ended %d in the cgroup of %s, which allows %s of memory", n, h.id, value.SizeOf(float64(h.group.Limits.Memory)).Short()))
				}
			}
			return actions.Yes, strings.Join(said, "; ")
		},
	}, nil
}

// limitOne records where a process and its descendants are, makes the group, and moves them in.
func limitOne(ctx context.Context, e env.Env, led actions.Ledger, id target.Identity, l cgroup.Limits) (cgroup.Group, error) {
	design, missing, err := cgroup.Design("", l)
	if err != nil || len(missing) > 0 {
		return design, errors.Join(err, fmt.Errorf("the machine has changed since the plan: %d controllers are missing", len(missing)))
	}
	at, err := design.Where(id)
	if err != nil {
		return design, err
	}
	g, err := kept(e, l, at)
	if err != nil {
		return g, err
	}
	places := []cgroup.Place{at}
	below, err := descendants(id)
	if err != nil {
		return g, err
	}
	for _, p := range below {
		if at, err := g.Where(p); err == nil {
			places = append(places, at)
		} else if !errors.Is(err, target.ErrGone) {
			return g, err
		}
	}
	record, err := intend(led, actions.Undo{
		Kind: "process.limit", Target: id, Lifetime: actions.Guardian, Limit: 30 * time.Second, Manual: byHand(g, at),
	}, g, places)
	if err != nil {
		return g, err
	}
	if err := g.Make(); err != nil {
		return g, err
	}
	if err := enterAll(ctx, g, id); err != nil {
		return g, err
	}
	return g, led.Applied(record)
}

// descendants lists who is below a process, without chaos itself and its helpers.
func descendants(id target.Identity) ([]target.Identity, error) {
	below, err := target.Descendants(id.Pid())
	if err != nil {
		return nil, err
	}
	own := target.NewOwn()
	var out []target.Identity
	for _, p := range below {
		if !p.Zombie() && own.Why(p) == "" {
			out = append(out, p.Identity())
		}
	}
	return out, nil
}

// enterAll moves a process and all below it, parents first, until a look finds nobody outside: what is forked by one that
// has moved is born inside.
func enterAll(ctx context.Context, g cgroup.Group, id target.Identity) error {
	if err := g.Enter(id); err != nil {
		return err
	}
	for ctx.Err() == nil {
		below, err := descendants(id)
		if err != nil {
			return err
		}
		moved := 0
		for _, p := range below {
			if g.Holds(p.Pid()) {
				continue
			}
			if err := g.Enter(p); err != nil && !errors.Is(err, target.ErrGone) {
				return err
			}
			moved++
		}
		if moved == 0 {
			return nil
		}
	}
	return context.Cause(ctx)
}

// byHand is how a person undoes it.
func byHand(g cgroup.Group, at cgroup.Place) string {
	var lines []string
	for i, p := range g.Parts {
		if dir, err := p.Dir(at.Paths[i]); err == nil {
			ours := filepath.Join(p.Mount, g.Name)
			lines = append(lines, fmt.Sprintf("while read p; do echo $p > %s/cgroup.procs; done < %s/cgroup.procs; rmdir %s", dir, ours, ours))
		}
	}
	return strings.Join(lines, "; ")
}

// limitReverter moves everything back and removes the cgroup.
type limitReverter struct{}

func (limitReverter) Kind() string { return "process.limit" }

func limitRecord(u actions.Undo) (g cgroup.Group, places []cgroup.Place, err error) {
	if err = decode(u, &g); err != nil {
		return g, nil, err
	}
	if err = json.Unmarshal(u.Prior, &places); err != nil || len(places) == 0 {
		return g, nil, errors.New("the record process.limit cannot be read: it does not say where the process was")
	}
	return g, places, nil
}

// Revert also works when the target is gone: what it started may live on in the cgroup.
func (limitReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	g, places, err := limitRecord(u)
	if err != nil || u.Target.Boot != target.Boot() {
		return err // a reboot removed it
	}
	return g.Dissolve(ctx, places)
}

func (limitReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	g, places, err := limitRecord(u)
	if err != nil {
		return "", err
	}
	if u.Target.Boot != target.Boot() {
		return actions.Gone, nil
	}
	if g.Exists() {
		return actions.Present, nil
	}
	for _, at := range places {
		if g.Strayed(at) {
			return actions.Foreign, nil
		}
	}
	return actions.Gone, nil
}
