package stress

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"chaos/runtime/cgroup"

	"golang.org/x/sys/unix"
)

// Memory takes memory and keeps it, but never the last of it.
type Memory struct {
	Size  int64   `json:"size"`  // bytes
	Floor int64   `json:"floor"` // bytes that stay available to others, whatever happens
	Rate  float64 `json:"rate"`  // bytes per second; 0: as fast as it goes
}

const (
	// chunk is what is taken at once, and given back at once.
	chunk = 4 << 20
	// watch is how often the floor is looked at once all is taken.
	watch = 50 * time.Millisecond
	// retouch is how often every page is touched again on a machine that could swap it out.
	retouch = 5 * time.Second
)

// What the stressor says about itself, one line each.
const (
	saidFull = "full"  // as much is taken as was asked for
	saidGave = "gave " // back, in all: bytes follow
)

// Available is how much memory could be taken now: MemAvailable of proc_meminfo(5), or what the memory limit of this
// process' own cgroup leaves, if that is less.
func Available() (available, total int64, err error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	available, total = meminfo(string(data), "MemAvailable:"), meminfo(string(data), "MemTotal:")
	if total == 0 {
		return 0, 0, errors.New("/proc/meminfo does not tell how much memory there is")
	}
	if layout, err := cgroup.Look(); err == nil {
		if room, limited := layout.Headroom(os.Getpid()); limited {
			available = min(available, room)
		}
	}
	return available, total, nil
}

func meminfo(text, name string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// MemoryFloor is what always stays available: 5 % of the machine's memory, at least 64 MiB.
func MemoryFloor(total int64) int64 { return max(total/20, 64<<20) }

func (m *Memory) run(say func(string)) error {
	if m.Size <= 0 || m.Floor < 0 || m.Rate < 0 {
		return errors.New("the stressor got a size that makes no sense")
	}
	var held [][]byte
	var taken, given int64
	release := func(need int64) {
		for ; need > 0 && len(held) > 0; need -= chunk {
			last := held[len(held)-1]
			held = held[:len(held)-1]
			taken -= int64(len(last))
			given += int64(len(last))
			unix.Munmap(last)
		}
		say(saidGave + strconv.FormatInt(given, 10))
	}
	start, touched := time.Now(), time.Now()
	tick := time.NewTicker(watch)
	defer tick.Stop()
	swaps := swapOn()
	full := false
	for {
		available, _, err := Available()
		if err != nil {
			return err
		}
		if short := m.Floor - available; short > 0 && taken > 0 {
			// What was given back is not taken again: others want it, and would have to fight for it.
			release(short + chunk)
			m.Size, full = taken, true
		}
		due := m.Size
		if m.Rate > 0 {
			due = min(due, int64(min(m.Rate*time.Since(start).Seconds(), math.MaxInt64/2)))
		}
		if n := min(due-taken, chunk); n > 0 && n <= available-m.Floor && (n == chunk || due == m.Size) {
			page, err := take(n)
			if err != nil {
				return fmt.Errorf("the kernel gives no more than %s: %w", sizeText(taken), err)
			}
			held, taken = append(held, page), taken+n
			continue // at once: only what is not due yet waits
		}
		if !full && taken >= m.Size {
			full = true
			say(saidFull)
		}
		if swaps && time.Since(touched) > retouch {
			touch(held)
			touched = time.Now()
		}
		<-tick.C
	}
}

// take maps memory and writes to each page, without which it would be a promise only.
func take(n int64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	// Not one page like the other, or the kernel's same-page merging (see madvise(2)) could share them.
	x := uint64(len(b)) ^ uint64(time.Now().UnixNano())
	for i := 0; i < len(b); i += 512 {
		x = x*6364136223846793005 + 1442695040888963407
		b[i], b[i+1], b[i+2] = byte(x>>40), byte(x>>48), byte(x>>56)
	}
	return b, nil
}

func touch(held [][]byte) {
	for _, b := range held {
		for i := 0; i < len(b); i += 4096 {
			b[i]++
		}
	}
}

func swapOn() bool {
	data, _ := os.ReadFile("/proc/meminfo")
	return meminfo(string(data), "SwapTotal:") > 0
}

// Resident is how much anonymous memory a process has in fact: RssAnon of proc_pid_status(5).
func Resident(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return meminfo(string(data), "RssAnon:"), nil
}
