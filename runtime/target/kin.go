package target

import (
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Kin tells what a process has started since a moment, and what that has started, from everything else. Where the process has
// ended, or one between, what is left was adopted by init or by a reaper that was above it (PR_SET_CHILD_SUBREAPER in prctl(2)),
// and is known by that and by its cgroup, which a daemon keeps. What the one who adopts starts itself in that cgroup cannot be
// told from it.
type Kin struct {
	Since  uint64 `json:"since"`  // the moment, in clock ticks since boot, as the start of a process counts
	Cgroup string `json:"cgroup"` // of the process, as /proc/PID/cgroup says it
	Above  []int  `json:"above"`  // its ancestors
}

// KinOf is what a process starts from now on.
func KinOf(id Identity) Kin {
	k := Kin{Since: ticks(), Cgroup: cgroupText(id.Pid())}
	for p, err := id.Process(); err == nil && p.PPid > 0 && !slices.Contains(k.Above, p.PPid); p, err = ReadProcess(p.PPid) {
		k.Above = append(k.Above, p.PPid)
	}
	return k
}

func cgroupText(pid int) string {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return string(data)
}

// ticks is now, as field 22 of /proc/PID/stat counts: in 1/100 s since boot (USER_HZ, see time(7)).
func ticks() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return uint64(now.Nano() / 10_000_000)
}

// Offspring lists them, without chaos and its helpers. The process itself may be gone.
func (k Kin) Offspring(id Identity) ([]Identity, error) {
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	var found []Process
	if _, err := id.Process(); err == nil {
		found = Below(all, id.Pid())
	}
	for _, p := range all {
		if p.Start >= k.Since && slices.Contains(k.Above, p.PPid) && k.Cgroup != "" && cgroupText(p.Pid) == k.Cgroup {
			found = append(append(found, p), Below(all, p.Pid)...)
		}
	}
	own := NewOwn()
	var out []Identity
	for _, p := range found {
		if p.Start >= k.Since && !p.Kernel && !p.Zombie() && !p.Identity().Same(id) && own.Why(p) == "" {
			out = append(out, p.Identity())
		}
	}
	return out, nil
}
