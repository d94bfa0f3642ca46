// Package oom tells whom the kernel's OOM killer ended: who took more memory than the machine, or a cgroup, has.
package oom

import (
	"regexp"
	"strconv"
)

// Kill is a process that was ended.
type Kill struct {
	Pid  int // in the first namespace of pids, whoever reads it
	Name string
}

func (k Kill) String() string { return k.Name + " (pid " + strconv.Itoa(k.Pid) + ")" }

// killed is what __oom_kill_process of mm/oom_kill.c prints, since Linux 2.6.36. Some vendors' kernels have the user before
// the name, or after it.
var killed = regexp.MustCompile(`[Kk]illed process (\d+)(?:, UID \d+,)? \((.*)\)(?:, UID \d+,)? total-vm:`)

// Victim reads a message of the kernel such as "Memory cgroup out of memory: Killed process 15705 (python3)
// total-vm:323768kB, …"; false for any other message.
func Victim(text string) (Kill, bool) {
	m := killed.FindStringSubmatch(text)
	if m == nil {
		return Kill{}, false
	}
	pid, err := strconv.Atoi(m[1])
	return Kill{Pid: pid, Name: m[2]}, err == nil
}
