package target

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"chaos/lang/value"
)

// Selector is the arguments with which every call selects processes. Argument structs embed it; exactly one is given.
type Selector struct {
	Process value.Handle `chaos:"process,positional,group=target" help:"the process, as bound with as"`
	Pid     *int         `chaos:"pid,group=target" range:">=1" help:"its process id"`
	Port    *int         `chaos:"port,group=target" range:">=1 <=65535" help:"the TCP port that it listens on"`
	Unit    *string      `chaos:"unit,group=target,filled" help:"the systemd unit whose main process it is; .service may be left out"`
	Match   *string      `chaos:"match,group=target,filled" help:"a part of its command line, the arguments joined by spaces; never matches chaos itself, what started it, or a zombie"`
}

// Use is what a selection is for.
type Use int

const (
	ToLook Use = iota // probes may look at anything
	ToAct             // actions touch neither init, nor kernel threads, nor chaos and what it hangs on
)

// Runner is a handle that knows the process behind it; false while it does not run.
type Runner interface {
	value.Handle
	Identity() (Identity, bool)
}

// Found is a process that a selector matches. The Identity is the zero one for a handle whose process does not run.
type Found struct {
	Identity Identity
	Handle   value.Handle // of a selection by handle
	Text     string       // for people: "4711 (nginx: master process)"
}

// Down tells a handle whose process does not run.
func (f Found) Down() bool { return f.Identity.ID == "" }

// Name is for people: the handle's name with the pid, or the program's name with the pid.
func (f Found) Name() string {
	switch {
	case f.Down():
		return f.Handle.HandleName()
	case f.Handle != nil:
		return fmt.Sprintf("%s (pid %s)", f.Handle.HandleName(), f.Identity.ID)
	}
	return fmt.Sprintf("%s (pid %s)", f.Identity.Name, f.Identity.ID)
}

// String is the selector as a script writes it.
func (s Selector) String() string {
	switch {
	case s.Process != nil:
		return s.Process.HandleName()
	case s.Pid != nil:
		return fmt.Sprintf("pid: %d", *s.Pid)
	case s.Port != nil:
		return fmt.Sprintf("port: %d", *s.Port)
	case s.Unit != nil:
		return fmt.Sprintf("unit: %q", *s.Unit)
	case s.Match != nil:
		return fmt.Sprintf("match: %q", *s.Match)
	}
	return "nothing"
}

// Find lists what matches now, in the order of the pids. None is no error, except for what can never match.
func (s Selector) Find(use Use) ([]Found, error) {
	own := NewOwn()
	var list []Process
	switch {
	case s.Process != nil:
		return s.byHandle(own, use)
	case s.Pid != nil:
		if *s.Pid <= 0 || use == ToAct && *s.Pid == 1 {
			return nil, fmt.Errorf("`pid: %d` selects no process that may be touched; write a pid above 1", *s.Pid)
		}
		if p, err := ReadProcess(*s.Pid); err == nil && !p.Zombie() {
			list = []Process{p}
		}
	case s.Port != nil:
		if *s.Port < 1 || *s.Port > 65535 {
			return nil, fmt.Errorf("`port: %d` is no TCP port; write one of 1 to 65535", *s.Port)
		}
		holders, hidden, err := Listeners(*s.Port)
		if err != nil {
			return nil, err
		}
		if len(holders) == 0 && hidden {
			return nil, fmt.Errorf("port %d is listened on by a process that this user may not look into; run as root", *s.Port)
		}
		list = holders
	case s.Unit != nil:
		main, err := inUnit(*s.Unit)
		if err != nil {
			return nil, err
		}
		list = main
	case s.Match != nil:
		matched, err := matching(*s.Match, own)
		if err != nil {
			return nil, err
		}
		list = matched
	default:
		return nil, errors.New("no process is selected: give a handle, or one of `pid:`, `port:`, `unit:`, `match:`")
	}
	found := make([]Found, len(list))
	for i, p := range list {
		if use == ToAct {
			if why := own.Forbidden(p); why != "" {
				return nil, fmt.Errorf("%s selects process %s, which %s: actions never touch it", s, p.Describe(), why)
			}
		}
		found[i] = Found{Identity: p.Identity(), Text: p.Describe()}
	}
	return found, nil
}

func (s Selector) byHandle(own *Own, use Use) ([]Found, error) {
	h := s.Process
	if h.HandleKind() != "process" {
		return nil, fmt.Errorf("`%s` is a %s, not a process", h.HandleName(), h.HandleKind())
	}
	down := []Found{{Handle: h, Text: h.HandleName() + " (not running)"}}
	var id Identity
	if r, ok := h.(Runner); ok {
		if id, ok = r.Identity(); !ok {
			return down, nil
		}
	} else {
		pid := h.HandleField("pid")
		if pid.IsMissing() {
			return down, nil
		}
		var err error
		if id, err = ProcessIdentity(int(pid.Float())); err != nil {
			return down, nil
		}
	}
	p, err := id.Process()
	if err != nil || p.Zombie() {
		return down, nil
	}
	if use == ToAct {
		if why := own.Forbidden(p); why != "" {
			return nil, fmt.Errorf("%s is process %s, which %s: actions never touch it", h.HandleName(), p.Describe(), why)
		}
	}
	id.Name = h.HandleName()
	return []Found{{Identity: id, Handle: h, Text: p.Describe()}}, nil
}

// Count tells how many processes a `match:` would select.
func Count(match string) (int, error) {
	list, err := matching(match, NewOwn())
	return len(list), err
}

func matching(match string, own *Own) ([]Process, error) {
	if strings.TrimSpace(match) == "" {
		return nil, errors.New("`match:` is empty, which every process matches; write a part of a command line")
	}
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, p := range all {
		if p.Kernel || p.Zombie() || !strings.Contains(p.CommandLine(), match) || own.Why(p) != "" {
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// Resolve finds what an action acts on: exactly one process, unless a pick widens it. What matches nothing is a NoneError,
// what matches several without a pick a ManyError.
func (s Selector) Resolve(p Pick, r *rand.Rand) ([]Found, error) {
	found, err := s.Find(ToAct)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = rand.New(rand.NewPCG(0, 0))
	}
	return Choose(s.String(), found, p, r, func(f Found) string { return f.Text })
}

// Refresh gives what a plan found as it is now: a handle's present process; and where a process has ended since, whatever
// the selector matches by now, as a supervisor may have started it again.
func (s Selector) Refresh(planned []Found, p Pick, r *rand.Rand) ([]Found, error) {
	if s.Process == nil {
		alive := len(planned) > 0
		for _, f := range planned {
			alive = alive && f.Identity.Alive()
		}
		if alive {
			return planned, nil
		}
	}
	return s.Resolve(p, r)
}
