package host

import (
	"cmp"
	"context"
	"slices"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"github.com/prometheus/procfs"
)

type topArgs struct {
	By    string `chaos:"by,required" enum:"cpu memory io" help:"what they are ordered by, the greatest first"`
	Count int    `chaos:"count" default:"5" range:">=1 <=100" help:"how many"`
}

// Top is who takes most of the machine.
type Top struct {
	Processes []Process `chaos:"processes" help:"the processes that take most, the greatest first: pid, name, cpu, rss and io of each"`
}

// Process is what one process takes.
type Process struct {
	Pid  int               `chaos:"pid" help:"its process id"`
	Name string            `chaos:"name" help:"its name, up to 15 characters; comm of /proc/PID/stat"`
	CPU  value.RatioV      `chaos:"cpu" help:"processor time since the sample before: 100% is one core; utime and stime"`
	RSS  value.SizeV       `chaos:"rss" help:"memory that it has in RAM, what it shares with others included"`
	IO   *value.BandwidthV `chaos:"io" help:"what storage read and wrote for it since the sample before; read_bytes and write_bytes of /proc/PID/io; absent where only root may look"`
}

func top(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.top",
		Summary: "Lists the processes that take most processor time, memory or storage traffic; it reads two files of every process.",
		Example: `probe hungry = host.top(by: "cpu", count: 3) every 5s`,
		Needs:   []spec.Need{{Kind: "privilege", Name: "CAP_SYS_PTRACE", Install: "for the storage traffic of other users' processes: run as root"}},
	}, func(_ context.Context, _ env.Env, in topArgs) (probes.Take[Top], error) {
		f, err := r.procfs()
		if err != nil {
			return nil, err
		}
		return metered(func() (census, error) { return count(f) }, census.until, func(_, grown census, span time.Duration) Top {
			return Top{Processes: grown.greatest(in.By, in.Count, span)}
		}), nil
	})
}

// census is all processes. A pid may be born again as another, which its start tells.
type census map[being]usage

type being struct {
	pid     int
	started uint64 // in ticks since boot
}

type usage struct {
	name string
	cpu  float64 // seconds
	rss  float64 // bytes
	io   float64 // bytes
	seen bool    // io could be read
}

func count(f procfs.FS) (census, error) {
	all, err := f.AllProcs()
	if err != nil {
		return nil, unreadable("/proc", err)
	}
	out := census{}
	for _, p := range all {
		s, err := p.Stat()
		if err != nil {
			continue // it has ended
		}
		u := usage{name: s.Comm, cpu: s.CPUTime(), rss: float64(s.ResidentMemory())}
		if io, err := p.IO(); err == nil {
			u.io, u.seen = float64(io.ReadBytes+io.WriteBytes), true
		}
		out[being{p.PID, s.Starttime}] = u
	}
	return out, nil
}

// until is what each process took up to now. One that began since took all that it has; of one whose traffic could not be read
// before, nobody knows what is new.
func (before census) until(now census) (census, bool) {
	out := census{}
	for who, u := range now {
		earlier, known := before[who]
		u.seen = u.seen && (earlier.seen || !known)
		u.cpu, u.io = max(u.cpu-earlier.cpu, 0), max(u.io-earlier.io, 0)
		out[who] = u
	}
	return out, len(out) > 0
}

func (c census) greatest(by string, count int, span time.Duration) []Process {
	key := map[string]func(usage) float64{
		"cpu":    func(u usage) float64 { return u.cpu },
		"memory": func(u usage) float64 { return u.rss },
		"io":     func(u usage) float64 { return u.io },
	}[by]
	order := make([]being, 0, len(c))
	for who := range c {
		order = append(order, who)
	}
	slices.SortFunc(order, func(a, b being) int {
		return cmp.Or(cmp.Compare(key(c[b]), key(c[a])), cmp.Compare(a.pid, b.pid))
	})
	out := []Process{}
	for _, who := range order[:min(count, len(order))] {
		u := c[who]
		p := Process{Pid: who.pid, Name: u.name, CPU: value.RatioV(u.cpu / span.Seconds()), RSS: value.SizeV(u.rss)}
		if u.seen {
			io := value.BandwidthV(u.io / span.Seconds())
			p.IO = &io
		}
		out = append(out, p)
	}
	return out
}
