package stress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"chaos/actions"
	"chaos/runtime/cgroup"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/oom"
	"chaos/runtime/target"
)

// Version is that of the arguments in the undo records of stressors.
const Version = 1

// Held is what the undo record of a stressor says.
type Held struct {
	Mark hold.Mark `json:"mark"`
	// To be removed after its end:
	File  string        `json:"file,omitempty"`
	Group *cgroup.Group `json:"group,omitempty"`
}

// Start is what to start.
type Start struct {
	Action     string // "cpu.stress": the kind of the undo record, and the name of the process
	Kind       string // of the stressor: "cpu", "memory", "disk"
	Parameters any
	Target     target.Identity // what it acts on, besides the machine
	File       string          // that it will make: recorded first, removed by the undo
	Group      *cgroup.Group   // that it enters by itself: recorded first, then made, and removed by the undo
}

// Stressor is a running one.
type Stressor struct {
	Process *hold.Process
	out     string // what it says goes there
	problem string
	ooms    uint64 // kills of the kernel's OOM killer until it began
}

// Run records the stressor and starts it under the helper of the run.
func (s Start) Run(ctx context.Context, e env.Env, led actions.Ledger) (*Stressor, error) {
	if e.Hold == nil {
		return nil, errors.New("there is no helper process to own the stressor")
	}
	parameters, err := json.Marshal(s.Parameters)
	if err != nil {
		return nil, err
	}
	out, problem, err := outputs(e, s.Action)
	if err != nil {
		return nil, err
	}
	mark, err := e.Hold.Reserve(ctx)
	if err != nil {
		return nil, err
	}
	held := Held{Mark: mark, File: s.File, Group: s.Group}
	args, err := json.Marshal(held)
	if err != nil {
		return nil, err
	}
	undo := actions.Undo{
		Kind: s.Action, Version: Version, Target: s.Target, Args: args, Lifetime: actions.Kernel, Held: true, Limit: 30 * time.Second,
		Manual: fmt.Sprintf("grep -lsz CHAOS_HOLD=%s /proc/[0-9]*/environ | cut -d/ -f3 | xargs -r kill -KILL", mark.ID),
	}
	if undo.Target.Kind == "" {
		undo.Target = target.Identity{Kind: "stressor", ID: mark.ID, Name: s.Action, Boot: target.Boot()}
	}
	if s.File != "" { // it takes its space until it is removed; a cgroup without processes does nothing
		undo.Lifetime = actions.Guardian
		undo.Manual += "; rm -f '" + strings.ReplaceAll(s.File, "'", `'\''`) + "'"
	}
	if s.Group != nil {
		undo.Manual += "; rmdir " + strings.Join(s.Group.Dirs(), " ")
	}
	id, err := led.Intend(undo)
	if err != nil {
		return nil, err
	}
	if s.Group != nil {
		if err := s.Group.Make(); err != nil {
			return nil, err
		}
	}
	// By the link, which the helper resolves as the program that it runs itself, even when the file was replaced since.
	p, err := e.Hold.Start(ctx, hold.Spec{
		Name: s.Action, Command: "/proc/self/exe", Arg0: "chaos", Args: []string{Command, s.Kind, string(parameters)},
		Env: map[string]string{inStress: "1"}, Dir: "/", Stdout: out, Stderr: problem, StopSignal: "KILL", Mark: mark,
	})
	if err != nil {
		return nil, err
	}
	ooms, _ := oom.Kills()
	return &Stressor{Process: p, out: out, problem: problem, ooms: ooms}, led.Applied(id)
}

// outputs makes two files in the run's folder, never those of another stressor.
func outputs(e env.Env, name string) (out, problem string, err error) {
	if e.RunDir == "" {
		return "", "", errors.New("there is no folder of the run for what the stressor says")
	}
	dir, err := filepath.Abs(e.RunDir)
	if err != nil {
		return "", "", err
	}
	for n := 1; ; n++ {
		stem := filepath.Join(dir, name)
		if n > 1 {
			stem += "-" + strconv.Itoa(n)
		}
		f, err := os.OpenFile(stem+".out", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("the output of %s: %w", name, err)
		}
		return stem + ".out", stem + ".err", f.Close()
	}
}

// Pid is that of the process; false when it has ended.
func (s *Stressor) Pid() (int, bool) {
	id, ok := s.Process.Identity()
	return id.Pid(), ok && id.Alive()
}

// End says why the stressor has ended.
func (s *Stressor) End() string {
	state := s.Process.Settled()
	if said := strings.TrimSpace(read(s.problem)); said != "" {
		return said
	}
	ooms, _ := oom.Kills()
	switch {
	case state.ExitCode == exitMute:
		return "the stressor could not write to " + s.out + ": is that disk full?"
	case state.Signal == "KILL" && ooms > s.ooms:
		return "the stressor was ended by SIGKILL, and the kernel's OOM killer was at work: memory ran out, of the machine or of a cgroup that it was in"
	case state.Signal != "":
		return "the stressor was ended by SIG" + state.Signal
	case state.Exited:
		return fmt.Sprintf("the stressor ended with exit code %d", state.ExitCode)
	}
	return "the stressor does not run"
}

// Last is for actions.Fault: a stressor that has ended before its undo has stopped being a fault.
func (s *Stressor) Last() (actions.Effect, string) {
	if _, alive := s.Pid(); alive {
		return actions.Yes, ""
	}
	return actions.No, s.End()
}

// Full waits until the stressor has taken all that it was asked for, or says why it cannot.
func (s *Stressor) Full(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		full, gave := s.Said()
		switch _, alive := s.Pid(); {
		case full || gave > 0:
			return nil
		case !alive:
			return errors.New(s.End())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Cached tells whether the disk's stressor found no way past the file cache.
func (s *Stressor) Cached() bool { return strings.Contains(read(s.out), saidCached+"\n") }

// Said tells whether all is taken, and how many bytes were given back since.
func (s *Stressor) Said() (full bool, gave int64) {
	for line := range strings.Lines(read(s.out)) {
		line = strings.TrimSpace(line)
		full = full || strings.HasPrefix(line, saidFull)
		if n, ok := strings.CutPrefix(line, saidGave); ok {
			gave, _ = strconv.ParseInt(n, 10, 64)
		}
	}
	return full, gave
}

// read reads a file of a few lines; it never grows long.
func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

// Reverter ends the stressors of one action.
type Reverter string

// Kind is the action's name.
func (r Reverter) Kind() string { return string(r) }

func (r Reverter) held(u actions.Undo) (Held, error) {
	var h Held
	if u.Version != Version {
		return h, fmt.Errorf("the record %s has version %d, this program knows %d: undo it with the chaos that wrote it", u.Kind, u.Version, Version)
	}
	if err := json.Unmarshal(u.Args, &h); err != nil || h.Mark.ID == "" {
		return h, fmt.Errorf("the record %s cannot be read: it does not name the stressor", u.Kind)
	}
	return h, nil
}

// Revert ends the process and removes what it leaves.
func (r Reverter) Revert(ctx context.Context, e env.Env, u actions.Undo) error {
	h, err := r.held(u)
	if err != nil {
		return err
	}
	if err := h.end(ctx, e); err != nil {
		return err
	}
	if h.Group != nil && h.Mark.Helper.Boot == target.Boot() {
		if err := h.Group.Remove(ctx); err != nil {
			return err
		}
	}
	return h.removeFile()
}

// removeFile removes the file. Its name holds 128 random bits that were recorded before it was made: nobody else has made it.
func (h Held) removeFile() error {
	if h.File == "" {
		return nil
	}
	info, err := os.Lstat(h.File)
	if err == nil && info.Mode().IsRegular() { // else somebody put something else in its place: left alone
		err = os.Remove(h.File)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (h Held) end(ctx context.Context, e env.Env) error {
	if e.Hold != nil {
		if p, ok := e.Hold.Find(h.Mark.ID); ok {
			return p.Stop(ctx)
		}
		// Of this run but never started, with the helper alive: there is nothing to wait for.
		if left, err := h.Mark.Left(); err == nil && len(left) == 0 && e.Hold.Owns(h.Mark) {
			return nil
		}
	}
	return h.Mark.End(ctx)
}

// State is present while the process runs, or its file or cgroup exists.
func (r Reverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	h, err := r.held(u)
	if err != nil {
		return "", err
	}
	left, err := h.Mark.Left()
	if err != nil {
		return "", err
	}
	if len(left) > 0 || h.Group != nil && h.Mark.Helper.Boot == target.Boot() && h.Group.Exists() {
		return actions.Present, nil
	}
	if h.File != "" {
		if info, err := os.Lstat(h.File); err == nil && info.Mode().IsRegular() {
			return actions.Present, nil
		} else if err == nil {
			return actions.Foreign, nil
		}
	}
	return actions.Gone, nil
}
