package disk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/stress"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

type ioArgs struct {
	Path    string            `chaos:"path,required,positional" help:"a folder on the file system whose disk is meant"`
	Rate    *value.BandwidthV `chaos:"rate" range:">=4KiB/s" help:"how fast, all workers together; without it as fast as the disk can"`
	Size    value.SizeV       `chaos:"size" default:"256MiB" range:">=4KiB" help:"the space in which it goes round, taken when it begins"`
	Block   *value.SizeV      `chaos:"block" range:">=4KiB <=64MiB" help:"how much at once, a multiple of 4KiB; 1MiB without it, or less at a low rate"`
	Workers int               `chaos:"workers" default:"1" range:">=1 <=64" help:"how many write or read at the same time, each in a file of its own"`
}

type writeArgs struct {
	ioArgs
	Sync bool `chaos:"sync" default:"false" help:"whether each write waits until the disk itself has it for good (O_DSYNC)"`
}

func write() actions.Action {
	return actions.Define(spec.Call{
		Name: "disk.write",
		Summary: "Writes to a disk, past the file cache, in files without a name that end with the run. What `as` binds has the rate that it came to, to calibrate by. " +
			"It ends by itself when less than 1% of the space, at most 16MiB, is available (64MiB where the run's own journal is).",
		Example:  `disk.write("/var/lib/app", rate: 50MiB/s) for 30s`,
		Result:   rateType("disk.write"),
		Undo:     "end the process that writes, which frees its space",
		Lifetime: string(actions.Kernel),
		Needs:    []spec.Need{unnamedNeed},
	}, func(_ context.Context, e env.Env, in writeArgs) (actions.Plan, error) {
		return planIO(e, in.ioArgs, "disk.write", in.Sync)
	})
}

func read() actions.Action {
	return actions.Define(spec.Call{
		Name: "disk.read",
		Summary: "Reads from a disk, past the file cache, what it has written there first, in files without a name that end with the run. What `as` binds has the rate " +
			"that it came to, to calibrate by. It ends by itself when less than 1% of the space, at most 16MiB, is available (64MiB where the run's own journal is).",
		Example:  `disk.read("/var/lib/app", rate: 50MiB/s) for 30s`,
		Result:   rateType("disk.read"),
		Undo:     "end the process that reads, which frees its space",
		Lifetime: string(actions.Kernel),
		Needs:    []spec.Need{unnamedNeed},
	}, func(_ context.Context, e env.Env, in ioArgs) (actions.Plan, error) {
		return planIO(e, in, "disk.read", false)
	})
}

// rateType is what `as` binds.
func rateType(name string) *value.Type {
	return &value.Type{Kind: value.HandleK, Name: name, Fields: []value.Field{
		{Name: "rate", Help: "bytes per second since it began, until now or until it was undone; absent in the first moment", Type: value.TBandwidth},
	}}
}

// load is a running disk.write or disk.read, as a value.
type load struct {
	name  string
	id    string
	gauge *stress.Gauge
}

var _ value.Handle = load{}

func (l load) HandleKind() string { return "disk load" }
func (l load) HandleID() string   { return l.id }
func (l load) HandleName() string { return l.name }

func (l load) HandleField(name string) value.Value {
	if name != "rate" {
		return value.NoData("%s has no `%s`", l.name, name)
	}
	rate, ok := l.gauge.Read().Rate()
	if !ok {
		return value.NoData("%s has only just begun", l.name)
	}
	return value.BandwidthOf(rate)
}

// perSecond is how many blocks of a low rate there are at least, so that it flows instead of coming in gulps.
const perSecond = 20

// job works out what the stressor is told.
func (in ioArgs) job(p place, reads, sync bool) (stress.IO, error) {
	job := stress.IO{Dir: p.dir, Read: reads, Sync: sync, Size: int64(in.Size), Block: 1 << 20, Workers: in.Workers, Keep: max(floor(p.space), p.keep)}
	if in.Rate != nil {
		job.Rate = float64(*in.Rate)
		job.Block = min(job.Block, max(stress.Sector, int64(job.Rate/perSecond)/stress.Sector*stress.Sector))
	}
	if in.Block != nil {
		job.Block = int64(*in.Block)
	}
	fits := max(0, p.space.Available-job.Keep)
	switch {
	case job.Block%stress.Sector != 0:
		return job, fmt.Errorf("`block: %s` cannot be written past the file cache: write a multiple of 4KiB", text(job.Block))
	case job.Size < job.Block*int64(in.Workers):
		return job, fmt.Errorf("`size: %s` is less than a block of %s for each worker; write at least %s", text(job.Size), text(job.Block), text(job.Block*int64(in.Workers)))
	case job.Size > fits:
		return job, fmt.Errorf("`size: %s` does not fit: %s is available in %s, and at least %s has to stay; write at most %s", text(job.Size), text(p.space.Available), p.dir, text(job.Keep), text(fits))
	}
	return job, nil
}

func planIO(e env.Env, in ioArgs, name string, sync bool) (actions.Plan, error) {
	p, err := look(e, in.Path)
	if err != nil {
		return actions.Plan{}, err
	}
	if p.ram {
		return actions.Plan{}, fmt.Errorf("%s lives in memory: there is no disk behind it; write a folder on a disk, or use memory.stress", p.dir)
	}
	reads := name == "disk.read"
	job, err := in.job(p, reads, sync)
	if err != nil {
		return actions.Plan{}, err
	}
	verb, by := "write to", "writes"
	if reads {
		verb, by = "read from", "reads"
	}
	speed := "as fast as it can"
	if job.Rate > 0 {
		speed = "at " + text(int64(job.Rate)) + "/s"
	}
	out := actions.Plan{
		Targets:  []target.Identity{p.id},
		Lifetime: actions.Kernel,
		Why:      "the files have no name and are those of a process under the helper `chaos hold`: when that ends, so does all of it",
		Does:     fmt.Sprintf("%s the disk of %s %s", verb, p.dir, speed),
		Undo:     []string{fmt.Sprintf("end the process that %s, which frees the %s in which it does", by, text(job.Size))},
	}
	unnamed, need, err := p.writable()
	if err != nil {
		return actions.Plan{}, err
	}
	if need != nil {
		out.Missing = []spec.Need{*need}
		return out, nil
	}
	if !unnamed {
		out.Lifetime = actions.Guardian
		out.Why = "this file system knows no files without a name (O_TMPFILE), so each has one for a moment, which the guardian removes if that is the last one"
	}
	out.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		p, err := look(e, in.Path) // again: the plan may be old
		if err != nil {
			return actions.Fault{}, err
		}
		job, err := in.job(p, reads, sync)
		if err != nil {
			return actions.Fault{}, err
		}
		if !unnamed {
			job.File = p.named()
		}
		return injectIO(ctx, e, led, p, job, name)
	}
	return out, nil
}

func injectIO(ctx context.Context, e env.Env, led actions.Ledger, p place, job stress.IO, name string) (actions.Fault, error) {
	gauge, err := stress.NewGauge()
	if err != nil {
		return actions.Fault{}, err
	}
	job.Gauge = gauge.Path()
	s, err := stress.Start{Action: name, Kind: "io", Parameters: job, Target: p.id, File: job.File}.Run(ctx, e, led)
	if err == nil {
		err = s.Full(ctx)
	}
	if err != nil {
		return actions.Fault{}, errors.Join(err, gauge.Close())
	}
	pid, _ := s.Pid()
	note := fmt.Sprintf("pid %d", pid)
	if s.Cached() {
		note += "; through the file cache, as this file system knows no direct I/O"
	}
	return actions.Fault{
		Hold:   gauge,
		Result: value.Value{T: rateType(name), V: load{name: name, id: s.Process.HandleID(), gauge: gauge}},
		Note:   note,
		Effect: func(ctx context.Context) (actions.Effect, string) { return effectIO(ctx, s, gauge, job.Rate) },
		Last: func() (actions.Effect, string) {
			effect, detail := s.Last()
			if rate, ok := gauge.Read().Rate(); ok && effect == actions.Yes {
				detail = "came to " + text(int64(rate)) + "/s"
			}
			return effect, detail
		},
	}, nil
}

// window is how long the effect is measured.
const window = time.Second

// effectIO compares what is done with what is wanted. Less is an effect too: then the disk has no more to give.
func effectIO(ctx context.Context, s *stress.Stressor, g *stress.Gauge, want float64) (actions.Effect, string) {
	before, begun := g.Read().Bytes, time.Now()
	t := time.NewTimer(window)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return actions.Unknown, "there was no time to measure it"
	}
	got := float64(g.Read().Bytes-before) / time.Since(begun).Seconds()
	said := text(int64(got)) + "/s"
	if want > 0 {
		said += fmt.Sprintf(", of %s/s wanted", text(int64(want)))
	}
	switch _, alive := s.Pid(); {
	case !alive:
		return actions.No, s.End()
	case got <= 0:
		return actions.No, "nothing in " + window.String()
	case want > 0 && got < 0.9*want:
		return actions.Yes, said + "; the disk gives no more"
	}
	return actions.Yes, said
}

// writable tells whether files without a name can be made here, or what is missing to make any.
func (p place) writable() (unnamed bool, need *spec.Need, err error) {
	if err := unix.Access(p.dir, unix.W_OK); err != nil {
		if errors.Is(err, unix.EROFS) {
			return false, nil, fmt.Errorf("%s is read-only, so nothing can be written there", p.dir)
		}
		return false, &spec.Need{Kind: "privilege", Name: "write access to " + p.dir, Install: "run as its owner or as root"}, nil
	}
	if unnamed, err = canUnnamed(p.dir); err != nil {
		return false, nil, fmt.Errorf("no file can be made in %s: %w", p.dir, err)
	}
	return unnamed, nil, nil
}

// named is a new path for a file that needs a name.
func (p place) named() string {
	var id [16]byte
	rand.Read(id[:])
	return filepath.Join(p.dir, prefix+hex.EncodeToString(id[:]))
}
