package oom

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"chaos/runtime/cgroup"
	"chaos/runtime/kmsg"
)

// Patience is how long after the end of a process the kernel may still name it in its log: the counters rise before the
// signal is sent, the message comes after it.
const Patience = time.Second

// Every is how often Look has to be called where there is no log, and settled how long a count takes to be the past: longer
// than a process with a lot of memory takes to end.
const (
	Every   = 250 * time.Millisecond
	settled = 5 * time.Second
)

// Watch follows what the kernel says of its OOM killer. It is for one goroutine.
type Watch struct {
	log    *kmsg.Log   // nil where it may not be read
	named  map[int]int // who was ended, and after which Begin that was read
	begun  int         // how often Begin was called
	seen   uint64      // how many the log has named
	layout cgroup.Layout
	count  func() (uint64, bool)
}

// NewWatch begins to follow. Where the kernel's log may not be read, as in most containers and by most users, the counters
// of the machine and of the cgroups have to do.
func NewWatch() *Watch {
	w := &Watch{named: map[int]int{}, count: Kills}
	// The log has the pids of the first namespace of pids, which has this number everywhere: PROC_PID_INIT_INO of the kernel.
	if space, err := os.Readlink("/proc/self/ns/pid"); err == nil && space == "pid:[4026531836]" {
		w.log, _ = kmsg.Open(kmsg.Path)
	}
	if w.log == nil {
		w.layout, _ = cgroup.Look()
	}
	return w
}

// Close closes the log; what is asked afterwards is answered without it.
func (w *Watch) Close() error {
	log := w.log
	if w.log = nil; log == nil {
		return nil
	}
	return log.Close()
}

// Logged tells whether the log can be read: then a Case needs no Look.
func (w *Watch) Logged() bool { return w.log != nil }

// drain reads what the log has to say by now; false where that may not be all.
func (w *Watch) drain() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	return w.log.Drain(ctx, func(text string) {
		if k, ok := Victim(text); ok {
			w.named[k.Pid] = w.begun
			w.seen++
		}
	}) == nil
}

// Kills is how many processes the OOM killer has ended since boot, in whatever cgroup; oom_kill of /proc/vmstat. A kernel
// before 4.13 does not tell.
func Kills() (uint64, bool) {
	data, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(data), "\noom_kill ")
	if !ok {
		return 0, false
	}
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseUint(line, 10, 64)
	return n, err == nil
}

// Case is the question whether it ended one process.
type Case struct {
	Pid int // of the process; set once that is known

	watch    *Watch
	number   int    // which Begin it came from
	seen     uint64 // of the watch, when the case began
	lost     int    // of the log, when the case began
	complete bool   // the log could be read so far
	old, now counts
}

// counts are what was counted at one time.
type counts struct {
	at      time.Time
	kills   uint64 // of the machine
	counted bool   // whether that could be read
	file    string // which counts for the process' cgroup; "" where none is known
	group   int    // of the cgroup
}

// Begin is for a process that starts now: what the log said before is of others, who had its pid.
func (w *Watch) Begin() *Case {
	c := &Case{watch: w}
	// The count first: what is counted is logged later.
	c.now.at = time.Now()
	c.now.kills, c.now.counted = w.count()
	c.old = c.now
	if w.log != nil {
		c.complete = w.drain()
		c.lost = w.log.Lost()
	}
	w.begun++
	c.number, c.seen = w.begun, w.seen
	return c
}

// Look notes, while the process lives, which cgroup it is in and what was counted there so far. Where the log can be read
// there is no need.
func (c *Case) Look() {
	if c.watch.log != nil {
		return
	}
	file, _ := c.watch.layout.OOMFile(c.Pid)
	group, ok := cgroup.OOMKills(file)
	if !ok {
		file = ""
	}
	switch now := time.Now(); {
	case file != c.now.file:
		c.old.file, c.old.group = file, group
		c.now.file, c.now.group = file, group
	case now.Sub(c.now.at) >= settled:
		c.old = c.now
		c.now.at, c.now.group = now, group
		c.now.kills, c.now.counted = c.watch.count()
	}
}

// Verdict is an answer.
type Verdict int

const (
	Unknown Verdict = iota // nothing that tells could be read
	Later                  // the OOM killer was at work, but its message may still be on its way: ask again
	No
	Yes
)

// Bool is the answer; nil where it is none.
func (v Verdict) Bool() *bool {
	if v != Yes && v != No {
		return nil
	}
	yes := v == Yes
	return &yes
}

// Ended answers once the process has ended. Foreign means that a SIGKILL ended it which nobody of us sent: then the counter
// of its cgroup is evidence too, where there is no log. Last means not to wait for the log any more.
func (c *Case) Ended(foreign, last bool) Verdict {
	kills, ok := c.watch.count()
	counted := ok && c.old.counted
	if counted && kills == c.old.kills {
		return No // it ended nobody on this machine
	}
	if c.watch.log != nil {
		read := c.watch.drain() && c.complete && c.watch.log.Lost() == c.lost
		switch {
		case c.watch.named[c.Pid] >= c.number:
			return Yes
		case counted && c.watch.seen-c.seen >= kills-c.old.kills:
			return No // everybody that it ended is named
		case !last:
			return Later
		case read:
			return No
		}
		return Unknown
	}
	group, ok := cgroup.OOMKills(c.old.file)
	if foreign && ok && group > c.old.group {
		return Yes
	}
	return Unknown // it ended somebody, and nothing tells whom
}
