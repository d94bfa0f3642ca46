package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"github.com/prometheus/procfs"
)

type ioArgs struct {
	Device *string `chaos:"device,positional" help:"a disk or partition, as vda or /dev/vda; without it all disks with hardware behind them together, so no loop, mapped or RAM devices"`
}

// IO is the traffic of disks, and how they bear it. The fields of diskstats are in Documentation/admin-guide/iostats.rst of
// the kernel.
type IO struct {
	Reads     value.RateV      `chaos:"reads" help:"reads that ended, since the sample before, as all that follow; /sys/block/DEVICE/stat"`
	Writes    value.RateV      `chaos:"writes" help:"writes that ended"`
	ReadRate  value.BandwidthV `chaos:"read_rate" help:"bytes read"`
	WriteRate value.BandwidthV `chaos:"write_rate" help:"bytes written"`
	Await     *time.Duration   `chaos:"await" help:"mean time from the request to its end, of the reads and writes that ended; 0 if nothing was asked, absent if requests wait and none ended"`
	Queue     float64          `chaos:"queue" help:"requests that waited or were worked on, on the mean; aqu-sz of iostat"`
	Util      value.RatioV     `chaos:"util" help:"share of the time in which at least one request was there, of the busiest device; one that works on many at once, such as an SSD, is not full at 100%"`
}

// The columns of a device, in our order.
const (
	readIOs = iota
	writeIOs
	readSectors
	writeSectors
	readMillis
	writeMillis
	busyMillis
	queueMillis
)

func io(r Root) probes.Probe {
	return probes.Define(spec.Call{
		Name:    "host.io",
		Summary: "Measures the traffic, latency, queue and utilisation of a disk, or of all disks, since the sample before.",
		Example: `probe disk = host.io("vda") every 1s`,
	}, func(_ context.Context, _ env.Env, in ioArgs) (probes.Take[IO], error) {
		stats := map[string]*file{}
		var pending uint64 // at the latest reading
		find := r.devices(in.Device)
		read := func() (counters, error) {
			devices, err := find()
			if err != nil {
				return nil, err
			}
			out := counters{}
			pending = 0
			for _, d := range devices {
				stat, ok := stats[d]
				if !ok {
					stat = &file{path: filepath.Join(r.Sys, "block", d, "stat")}
					stats[d] = stat
				}
				row, inFlight, err := stat.disk()
				if errors.Is(err, os.ErrNotExist) && in.Device == nil {
					continue // it was removed just now
				}
				if err != nil {
					return nil, err
				}
				pending += inFlight
				out[d] = row
			}
			return out, nil
		}
		if _, err := read(); err != nil {
			return nil, err
		}
		return counted(read, func(g growth) IO { return served(g, pending) }), nil
	})
}

// disk reads the line of a device, whose form is in Documentation/block/stat.rst of the kernel: the counters in our order, and the
// requests that are under way.
func (f *file) disk() (row []uint64, inFlight uint64, err error) {
	text, err := f.read()
	if err != nil {
		return nil, 0, err
	}
	row, err = f.row(bytes.Fields(text), 0, 4, 2, 6, 3, 7, 9, 10, 8)
	if err != nil {
		return nil, 0, err
	}
	return row[:8], row[8], nil
}

func served(g growth, pending uint64) IO {
	out := IO{
		Reads: value.RateV(g.rate(readIOs)), Writes: value.RateV(g.rate(writeIOs)),
		ReadRate:  value.BandwidthV(g.rate(readSectors) * procfs.SectorSize),
		WriteRate: value.BandwidthV(g.rate(writeSectors) * procfs.SectorSize),
		Queue:     g.rate(queueMillis) / 1e3,
	}
	for _, row := range g.counters {
		out.Util = max(out.Util, value.RatioV(min(float64(row[busyMillis])/1e3/g.span.Seconds(), 1)))
	}
	switch ended := g.sum(readIOs) + g.sum(writeIOs); {
	case ended > 0:
		await := time.Duration((g.sum(readMillis) + g.sum(writeMillis)) / ended * float64(time.Millisecond))
		out.Await = &await
	case pending == 0:
		out.Await = new(time.Duration)
	}
	return out
}

// devices finds the folders below /sys/block, as vda, or vda/vda1 for a partition: that of the one that is named, or those of
// all disks with hardware behind them.
func (r Root) devices(name *string) func() ([]string, error) {
	if name != nil {
		return func() ([]string, error) {
			d, err := r.device(*name)
			return []string{d}, err
		}
	}
	hardware := map[string]bool{} // by name, so that a device is looked at only when it is new
	return func() ([]string, error) {
		block := filepath.Join(r.Sys, "block")
		there, err := os.ReadDir(block)
		if err != nil {
			return nil, unreadable(block, err)
		}
		var out []string
		for _, e := range there {
			name := e.Name()
			if _, known := hardware[name]; !known {
				_, err := os.Stat(filepath.Join(block, name, "device"))
				hardware[name] = err == nil
			}
			if hardware[name] {
				out = append(out, name)
			}
		}
		if len(out) == 0 {
			return nil, &absent{"there is no disk with hardware behind it: name a device of `ls " + filepath.Join(r.Sys, "class/block") + "`"}
		}
		return out, nil
	}
}

func (r Root) device(given string) (string, error) {
	name := given
	if strings.HasPrefix(given, r.Dev+"/") {
		if path, err := filepath.EvalSymlinks(given); err == nil { // as of /dev/mapper/data
			name = path
		}
		name = strings.ReplaceAll(strings.TrimPrefix(name, r.Dev+"/"), "/", "!") // as sysfs spells /dev/cciss/c0d0
	}
	class := filepath.Join(r.Sys, "class/block")
	path, err := os.Readlink(filepath.Join(class, name))
	if err != nil || strings.Contains(name, "/") {
		there, err := os.ReadDir(class)
		if err != nil {
			return "", unreadable(class, err)
		}
		names := make([]string, len(there))
		for i, e := range there {
			names[i] = e.Name()
		}
		return "", noSuch("block device", name, names, "ls "+class)
	}
	// The folder of a partition is in that of its disk, as …/block/vda/vda1.
	if parent := filepath.Base(filepath.Dir(path)); parent != "block" {
		return filepath.Join(parent, name), nil
	}
	return name, nil
}
