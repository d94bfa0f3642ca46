package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limits are what a cgroup allows; zero is no limit.
type Limits struct {
	CPU    float64 `json:"cpu,omitempty"`    // cores: 0.5 is half of one
	Memory int64   `json:"memory,omitempty"` // bytes, swap included
	Pids   int64   `json:"pids,omitempty"`   // processes and threads together
	Read   int64   `json:"read,omitempty"`   // bytes per second, of each disk
	Write  int64   `json:"write,omitempty"`
}

// Controllers lists what the limits need.
func (l Limits) Controllers() []string {
	var out []string
	for name, given := range map[string]bool{CPU: l.CPU > 0, Memory: l.Memory > 0, Pids: l.Pids > 0, IO: l.Read > 0 || l.Write > 0} {
		if given {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// unlimited is above what memory.limit_in_bytes prints for no limit: the largest multiple of a page.
const unlimited = 1 << 60

// period is the CFS period for a share of a core. A quota below 1 ms is refused by the kernel, so small shares get a long
// period; see Documentation/scheduler/sched-bwc.rst.
func period(cores float64) int64 {
	if cores < 0.05 {
		return 1_000_000
	}
	return 100_000
}

// Above gives the tightest limits on the way from a cgroup to the top, of the controllers that the hierarchy has. Whatever
// is moved away would lose them.
func (h Hierarchy) Above(path string) (Limits, error) {
	dirs, err := h.lineage(path)
	if err != nil {
		return Limits{}, err
	}
	var l Limits
	tighten := func(have *int64, n int64, ok bool) {
		if ok && n < unlimited && n > 0 && (*have == 0 || n < *have) {
			*have = n
		}
	}
	for _, dir := range dirs {
		memory := "memory.max"
		quota, length := int64(0), int64(0)
		if h.Version == 1 {
			memory = "memory.limit_in_bytes"
			quota, _ = number(dir, "cpu.cfs_quota_us")
			length, _ = number(dir, "cpu.cfs_period_us")
		} else if w := words(filepath.Join(dir, "cpu.max")); len(w) == 2 {
			quota, _ = strconv.ParseInt(w[0], 10, 64) // "max" is 0
			length, _ = strconv.ParseInt(w[1], 10, 64)
		}
		if cores := float64(quota) / float64(length); quota > 0 && length > 0 && (l.CPU == 0 || cores < l.CPU) {
			l.CPU = cores
		}
		n, ok := number(dir, memory)
		tighten(&l.Memory, n, ok)
		n, ok = number(dir, "pids.max")
		tighten(&l.Pids, n, ok)
	}
	return l, nil
}

// number reads a file with one number; false for `max`, and where there is no such file.
func number(dir, name string) (int64, bool) {
	w := words(filepath.Join(dir, name))
	if len(w) != 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(w[0], 10, 64)
	return n, err == nil
}

// set writes the limits of a controller into a cgroup.
func (h Hierarchy) set(dir, controller string, l Limits) error {
	switch {
	case controller == CPU && h.Version == 1:
		// The default period is also the one that a new cgroup has, but not every kernel's default is 100 ms.
		if err := write(dir, "cpu.cfs_period_us", period(l.CPU)); err != nil {
			return err
		}
		return write(dir, "cpu.cfs_quota_us", quota(l.CPU))
	case controller == CPU:
		return write(dir, "cpu.max", fmt.Sprintf("%d %d", quota(l.CPU), period(l.CPU)))
	case controller == Memory:
		name, swap, most := "memory.max", "memory.swap.max", int64(0)
		if h.Version == 1 {
			name, swap, most = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", l.Memory
		}
		if err := write(dir, name, l.Memory); err != nil {
			return err
		}
		// Without it the limit would only move pages to the swap; a kernel without swap accounting lacks the file.
		if err := write(dir, swap, most); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	case controller == Pids:
		return write(dir, "pids.max", l.Pids)
	case controller == IO:
		return h.setIO(dir, l)
	}
	return nil
}

func quota(cores float64) int64 { return max(1000, int64(math.Round(cores*float64(period(cores))))) }

// setIO throttles every disk: a limit of a cgroup names a whole device, not a file system.
func (h Hierarchy) setIO(dir string, l Limits) error {
	disks, err := Disks()
	if err != nil {
		return err
	}
	for _, d := range disks {
		if h.Version == 2 {
			line := d
			if l.Read > 0 {
				line += fmt.Sprintf(" rbps=%d", l.Read)
			}
			if l.Write > 0 {
				line += fmt.Sprintf(" wbps=%d", l.Write)
			}
			if err := write(dir, "io.max", line); err != nil {
				return err
			}
			continue
		}
		for name, n := range map[string]int64{"blkio.throttle.read_bps_device": l.Read, "blkio.throttle.write_bps_device": l.Write} {
			if n > 0 {
				if err := write(dir, name, fmt.Sprintf("%s %d", d, n)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Disks lists the block devices that hold anything, as "major:minor".
func Disks() ([]string, error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		dir := filepath.Join("/sys/block", e.Name())
		size, ok := number(dir, "size")
		dev := words(filepath.Join(dir, "dev"))
		if ok && size > 0 && len(dev) == 1 {
			out = append(out, dev[0])
		}
	}
	return out, nil
}

// check reads back what was set, and says in words what differs; "" where nothing does.
func (h Hierarchy) check(dir, controller string, l Limits) string {
	got, err := h.own(dir)
	switch {
	case err != nil:
		return "the cgroup " + dir + " is gone"
	case controller == CPU && math.Abs(got.CPU-l.CPU) > 0.001:
		return fmt.Sprintf("%s allows %.3f cores, not %.3f", dir, got.CPU, l.CPU)
	case controller == Memory && got.Memory/4096 != l.Memory/4096: // the kernel rounds to pages
		return fmt.Sprintf("%s allows %d bytes, not %d", dir, got.Memory, l.Memory)
	case controller == Pids && got.Pids != l.Pids:
		return fmt.Sprintf("%s allows %d processes, not %d", dir, got.Pids, l.Pids)
	}
	if controller == IO {
		names := []string{"io.max"}
		if h.Version == 1 {
			names = []string{"blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"}
		}
		found := 0
		for _, name := range names {
			found += len(words(filepath.Join(dir, name)))
		}
		if disks, err := Disks(); err == nil && len(disks) > 0 && found == 0 {
			return dir + " limits no disk"
		}
	}
	return ""
}

// own is the limits of one cgroup alone.
func (h Hierarchy) own(dir string) (Limits, error) {
	if _, err := os.Stat(dir); err != nil {
		return Limits{}, err
	}
	single := h
	single.Mount, single.Root = dir, "/"
	return single.Above("/")
}

// Headroom is how many bytes a process may still take before a memory limit of its cgroups is hit, counting the file cache
// that the kernel would drop as free; false where no limit is near.
func (l Layout) Headroom(pid int) (int64, bool) {
	least, limited := int64(math.MaxInt64), false
	for _, h := range l.hierarchies {
		if h.Version == 1 && !slices.Contains(h.Controllers, Memory) {
			continue
		}
		path, err := h.Of(pid, 0)
		if err != nil {
			continue
		}
		dirs, err := h.lineage(path)
		if err != nil {
			continue
		}
		limit, usage, cache := "memory.max", "memory.current", "inactive_file"
		if h.Version == 1 {
			limit, usage, cache = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
		}
		for _, dir := range dirs {
			most, ok := number(dir, limit)
			used, known := number(dir, usage)
			if !ok || !known || most >= unlimited {
				continue
			}
			data, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
			for line := range strings.Lines(string(data)) {
				if col := strings.Fields(line); len(col) == 2 && col[0] == cache {
					n, _ := strconv.ParseInt(col[1], 10, 64)
					used -= n
				}
			}
			least, limited = min(least, max(0, most-used)), true
		}
	}
	return least, limited
}

// write writes one value into a file of a cgroup, in one call, as the kernel wants it.
func write(dir, name string, v any) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(fmt.Sprint(v))
	return err
}
