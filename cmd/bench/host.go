package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
)

// hostProbes are all of them but host.top, which reads every process.
const hostProbes = `experiment "the host" {
  probe load = host.load() every 100ms
  probe cpu = host.cpu() every 100ms
  probe memory = host.memory() every 100ms
  probe disk = host.disk("/") every 100ms
  probe io = host.io(%s) every 100ms
  probe net = host.network() every 100ms
  probe tcp = host.tcp() every 100ms
  probe cpu_waits = host.pressure("cpu") every 100ms
  probe memory_waits = host.pressure("memory") every 100ms
  probe io_waits = host.pressure("io") every 100ms
  probe oom = host.oom() every 100ms
  probe log = host.kernel_log(match: 'I/O error') every 100ms
  steady {
    window: 20s
    expect load.load1 >= 0
    expect cpu.busy >= 0
    expect memory.total >= 0
    expect disk.size >= 0
    expect io.util >= 0
    expect net.rx >= 0
    expect tcp.active >= 0
    expect cpu_waits.some >= 0
    expect memory_waits.some >= 0
    expect io_waits.some >= 0
    expect oom.kills >= 0
    expect log.count >= 0
  }
}
`

const idleRunner = `experiment "nothing" {
  probe root = file.stat("/") every 10s
  steady { window: 20s; expect root.exists }
}
`

// hostCost is the cost of a runner over ten seconds.
type hostCost struct{ cpu, rss float64 }

// hostRow measures what the host probes cost at 10 Hz, above a runner that does nothing.
func hostRow(b *bench) ([]line, error) {
	device := ""
	if there, _ := filepath.Glob("/sys/block/*/device"); len(there) == 0 { // a container without disks of its own
		first, _ := filepath.Glob("/sys/block/*")
		if len(first) == 0 {
			return nil, fmt.Errorf("there is no block device")
		}
		device = strconv.Quote(filepath.Base(first[0]))
	}
	watched := fmt.Sprintf(hostProbes, device)
	runs, err := alternate(b, 3, func() (hostCost, error) { return b.cost(watched) }, func() (hostCost, error) { return b.cost(idleRunner) })
	if err != nil {
		return nil, err
	}
	of := func(list []hostCost, part func(hostCost) float64) float64 {
		var each []float64
		for _, c := range list {
			each = append(each, part(c))
		}
		return median(each)
	}
	cpu := func(c hostCost) float64 { return c.cpu }
	rss := func(c hostCost) float64 { return c.rss }
	core, idleCore, mem, idleMem := of(runs[0], cpu), of(runs[1], cpu), of(runs[0], rss), of(runs[1], rss)
	return []line{
		{what: "12 host probes at 10 Hz, of a core", ours: fmt.Sprintf("%.2f %%", core*100), peer: fmt.Sprintf("%.2f %% idle", idleCore*100), ratio: "", target: "under 2 % more", ok: core-idleCore < 0.02},
		{what: "12 host probes at 10 Hz, memory", ours: fmt.Sprintf("%.1f MB", mem/1e6), peer: fmt.Sprintf("%.1f MB idle", idleMem/1e6), ratio: ratio(mem, idleMem), target: "under 30 MB more", ok: mem-idleMem < 30e6},
	}, nil
}

// cost runs a script for ten seconds past its start.
func (b *bench) cost(script string) (hostCost, error) {
	file := filepath.Join(b.dir, "host.chaos")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		return hostCost{}, err
	}
	exe, err := filepath.Abs(b.chaos)
	if err != nil {
		return hostCost{}, err
	}
	c, out, err := b.begin(exe, "script", file, "--runs", filepath.Join(b.dir, "runs"))
	if err != nil {
		return hostCost{}, err
	}
	defer c.stop()
	// What it says is read as it comes: a full pipe would stop it.
	said := make(chan string, 1)
	go func() {
		var tail bytes.Buffer
		out.WriteTo(&tail)
		said <- tail.String()
	}()
	look := func() (hostCost, error) {
		p, err := procfs.NewProc(c.cmd.Process.Pid)
		if err != nil {
			return hostCost{}, err
		}
		s, err := p.Stat()
		if err == nil && s.State == "Z" {
			err = fmt.Errorf("the runner ended: %s", <-said)
		}
		return hostCost{s.CPUTime(), float64(s.ResidentMemory())}, err
	}
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
	if err := wait(time.Second); err != nil {
		return hostCost{}, err
	}
	before, err := look()
	if err != nil {
		return hostCost{}, err
	}
	begun := time.Now()
	if err := wait(10 * time.Second); err != nil {
		return hostCost{}, err
	}
	after, err := look()
	return hostCost{(after.cpu - before.cpu) / time.Since(begun).Seconds(), after.rss}, err
}
