// Package recovery reads what runs have left behind in their folders: whether a run lives, how it ended, which undo
// records are still open; and undoes them when nobody else is left to do it.
package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/filefail"
	"chaos/runtime/secret"
	"chaos/runtime/undo"

	"golang.org/x/sys/unix"
)

// The locks in a run's folder: a process holds its lock as long as it lives, whatever kills it.
const (
	RunnerLock   = "runner.lock"
	GuardianLock = "guardian.lock"
)

// Open is an undo record that is not known to be reverted.
type Open struct {
	ID    string
	Step  int
	Text  string // of the step
	State string // intended, applied, reverting, failed
	Undo  actions.Undo

	Sealed string            // the file in the run's folder that has the record with its secrets, "" where it has none
	Hidden map[string]string // secrets by name, which its undo may show in what it says; never in the journal
}

// sealed is what Seal writes.
type sealed struct {
	Record json.RawMessage   `json:"record"`
	Hidden map[string]string `json:"hidden"` // the secrets that are in the record
}

// Run is a run as its folder tells it.
type Run struct {
	ID       string
	Dir      string
	Script   string
	Folder   string // the script's
	Pid      int
	Started  time.Time
	Ended    bool
	Exit     int
	Aborting bool   // it has been told to stop
	Open     []Open // oldest first
	Seq      uint64 // of the last event
	Damaged  string // not empty: the journal does not tell everything, and why
	Alive    bool   // its runner holds its lock
	Guarded  bool   // its guardian lives
}

// Unrecovered tells that the run's faults may still be there and nobody is undoing them.
func (r *Run) Unrecovered() bool {
	return !r.Alive && !r.Guarded && (len(r.Open) > 0 || r.Damaged != "")
}

// Status is one word for lists.
func (r *Run) Status() string {
	switch {
	case r.Alive:
		return "running"
	case r.Guarded:
		return "being undone"
	case r.Damaged != "":
		return "damaged"
	case len(r.Open) > 0:
		return "unrecovered"
	case !r.Ended:
		return "died"
	}
	return fmt.Sprintf("exit %d", r.Exit)
}

// Read reads a run's folder. A torn last line is what a crash leaves and is ignored.
func Read(dir string) (*Run, error) {
	r := &Run{ID: filepath.Base(dir), Dir: dir}
	if info, err := os.Stat(dir); err == nil {
		r.Started = info.ModTime() // until the journal says it better
	}
	r.Alive = locked(filepath.Join(dir, RunnerLock))
	r.Guarded = locked(filepath.Join(dir, GuardianLock))
	data, err := os.ReadFile(filepath.Join(dir, event.JournalName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		r.Damaged = "its journal cannot be read: " + filefail.Why(err)
		return r, nil
	}
	open := map[string]int{}
	seen := map[uint64]bool{}
	began := false
	for _, line := range bytes.Split(data, []byte("\n")) {
		var l struct {
			Seq  uint64
			Wall time.Time
			Kind string
			Data json.RawMessage
		}
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		r.Seq = max(r.Seq, l.Seq)
		seen[l.Seq] = true
		switch l.Kind {
		case "run_started":
			var d event.RunStarted
			json.Unmarshal(l.Data, &d)
			began = true
			r.Script, r.Folder, r.Pid, r.Started = d.Script, d.Folder, d.Pid, l.Wall
		case "run_ended":
			var d struct{ Exit int }
			json.Unmarshal(l.Data, &d)
			r.Ended, r.Exit = true, d.Exit
		case "undo_intended":
			var d event.UndoIntended
			if json.Unmarshal(l.Data, &d) != nil {
				continue
			}
			o := Open{ID: d.ID, Step: d.Step, Text: d.Text, State: "intended", Sealed: d.Sealed}
			if d.Sealed != "" {
				var whole sealed
				if data, err := os.ReadFile(filepath.Join(dir, filepath.Base(d.Sealed))); err == nil && json.Unmarshal(data, &whole) == nil {
					d.Record, o.Hidden = whole.Record, whole.Hidden
				}
			}
			if json.Unmarshal(d.Record, &o.Undo) != nil {
				continue
			}
			open[d.ID] = len(r.Open)
			r.Open = append(r.Open, o)
		case "abort":
			r.Aborting = true
		case "undo_state":
			var d struct {
				ID, State, Text string
				Step            int
			}
			json.Unmarshal(l.Data, &d)
			i, ok := open[d.ID]
			// The guardian may fail at what the runner, only late, undoes meanwhile: that it is gone was seen.
			if ok && !(r.Open[i].State == "reverted" && (d.State == "reverting" || d.State == "failed")) {
				if r.Open[i].State = d.State; d.State == "intended" { // by another step than at first
					r.Open[i].Step, r.Open[i].Text = d.Step, d.Text
				}
			}
		}
	}
	r.Open = slices.DeleteFunc(r.Open, func(o Open) bool { return o.State == "reverted" || o.State == event.Void })
	// A torn line is the last of a process; the next one to write goes on with its number. So a number that is missing is a
	// line that somebody took away, and what it said nobody knows.
	// An empty one is what a run leaves that was killed as it began; once it had a guardian, it had something to undo.
	_, err = os.Stat(filepath.Join(dir, GuardianLock))
	switch {
	case r.Alive:
	case !began && (err == nil || bytes.IndexByte(data, '\n') >= 0):
		r.Damaged = "its journal has lost its beginning"
	case uint64(len(seen)) != r.Seq:
		r.Damaged = fmt.Sprintf("its journal has only %d of %d lines", len(seen), r.Seq)
	}
	return r, nil
}

// LastSeq is the number of a journal's last event, read from its end: a guardian in a hurry reads no megabytes.
func LastSeq(dir string) uint64 {
	f, err := os.Open(filepath.Join(dir, event.JournalName))
	if err != nil {
		return 0
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	const tail = 256 << 10
	buf := make([]byte, min(info.Size(), tail))
	if _, err := f.ReadAt(buf, info.Size()-int64(len(buf))); err != nil {
		return 0
	}
	for _, line := range slices.Backward(bytes.Split(buf, []byte("\n"))) {
		var l struct{ Seq uint64 }
		if json.Unmarshal(line, &l) == nil && l.Seq > 0 {
			return l.Seq
		}
	}
	return 0
}

// DefaultDir is the folder of runs of a user who names none: in the XDG state folder, see
// https://specifications.freedesktop.org/basedir-spec.
func DefaultDir() (string, error) {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "chaos", "runs"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("there is no home folder to keep the run in: choose one with --runs DIR")
	}
	return filepath.Join(home, ".local", "state", "chaos", "runs"), nil
}

// Command is how a run is named to another command, as "recover": with its folder of runs, where that is not the default.
func (r *Run) Command(verb string) string {
	text := "chaos " + verb + " " + r.ID
	dir, err := filepath.Abs(filepath.Dir(r.Dir))
	if usual, uerr := DefaultDir(); err == nil && (uerr != nil || dir != filepath.Clean(usual)) {
		text += " --runs " + dir
	}
	return text
}

// List reads every run of a folder, newest first. A folder that does not exist holds none.
func List(runs string) ([]*Run, error) {
	entries, err := os.ReadDir(runs)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the folder of runs %s: %s", runs, filefail.Why(err))
	}
	var out []*Run
	for _, e := range slices.Backward(entries) {
		if !e.IsDir() {
			continue
		}
		if r, err := Read(filepath.Join(runs, e.Name())); err == nil {
			out = append(out, r)
		}
	}
	// Ids tell only the second.
	slices.SortStableFunc(out, func(a, b *Run) int { return b.Started.Compare(a.Started) })
	return out, nil
}

// Find finds a run by its id, the start of it, or its folder; "" is the newest that keep accepts, or
// os.ErrNotExist.
func Find(runs, name string, keep func(*Run) bool) (*Run, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		r, err := Read(filepath.Clean(name))
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no journal in `%s`; `chaos runs` lists the runs", name)
		}
		return r, err
	}
	list, err := List(runs)
	if err != nil {
		return nil, err
	}
	var found []*Run
	for _, r := range list {
		if name == "" && keep(r) {
			return r, nil
		}
		if name != "" && strings.HasPrefix(r.ID, name) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%d runs start with `%s`: write more of it; `chaos runs` lists them", len(found), name)
	case name == "":
		return nil, os.ErrNotExist
	}
	return nil, fmt.Errorf("there is no run `%s` in %s; `chaos runs` lists the runs", name, runs)
}

// Seal writes a record with the secrets that it holds, on disk before it returns, readable by nobody else.
func Seal(dir, id string, record []byte, hidden map[string]string) (name string, err error) {
	data, err := json.Marshal(sealed{Record: record, Hidden: hidden})
	if err != nil {
		return "", err
	}
	name = "undo-" + id + ".json"
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return name, event.SyncDir(dir)
}

// Unseal removes what Seal wrote for a record that is reverted; most have nothing.
func Unseal(dir, id string) { os.Remove(filepath.Join(dir, "undo-"+id+".json")) }

// Lock takes one of the locks of a run's folder for the life of this process.
func Lock(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		// Whoever only looks, as each start of a run does, has it for an instant, and shared: that is not to be refused by.
		onlyLooked := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
		if !onlyLooked || time.Since(begun) > 10*time.Second {
			f.Close()
			return nil, err
		}
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	}
}

// locked tells whether some process holds a lock.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	// A shared lock does not disturb others who only look.
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Gone looks whether what a record of a dead run undoes is not there any more, as what the kernel ends.
func (r *Run) Gone(ctx context.Context, reg *actions.Registry, o Open) bool {
	rev, ok := reg.Reverter(o.Undo.Kind)
	if !ok {
		return false
	}
	e := env.Env{Dir: r.Folder, RunDir: r.Dir, Log: func(string) {}}
	var state actions.State
	err := undo.Bounded(undo.Limit, func(context.Context) (err error) { state, err = rev.State(ctx, e, o.Undo); return err })
	return err == nil && state == actions.Gone
}

// Forget looks which open records of a dead run are of faults that are gone already, as those that the kernel ends are,
// and writes that into its journal. What remains in r.Open needs an undo.
func Forget(ctx context.Context, reg *actions.Registry, r *Run) {
	lock, err := Lock(r.Dir, GuardianLock)
	if err != nil {
		return
	}
	defer lock.Close()
	journal, err := event.ReopenJournal(r.Dir)
	if err != nil {
		return
	}
	defer journal.Close()
	stream := event.ResumeStream(journal, r.Started, r.Seq)
	r.Open = slices.DeleteFunc(r.Open, func(o Open) bool {
		if !r.Gone(ctx, reg, o) {
			return false
		}
		Unseal(r.Dir, o.ID)
		return stream.EmitSync(event.UndoState{ID: o.ID, Step: o.Step, State: "reverted", Text: o.Text, Detail: "it was gone already"}) == nil
	})
}

// Undo reverts the open records of a dead run, newest first, and writes that into its journal. One that fails does not
// stop the others. Who does it stands in the journal: "guardian" or "recover".
func Undo(reg *actions.Registry, e env.Env, r *Run, who string) ([]event.Left, error) {
	journal, err := event.ReopenJournal(r.Dir)
	if err != nil {
		return nil, err
	}
	defer journal.Close()
	stream := event.ResumeStream(journal, r.Started, r.Seq)
	stream.Emit(event.Note{Text: fmt.Sprintf("%s: the runner is gone; undoing what is left of it: %d", who, len(r.Open))})
	var left []event.Left
	for _, o := range slices.Backward(r.Open) {
		if l, ok := UndoOne(reg, e, stream, o); !ok {
			left = append(left, l)
		}
	}
	return left, stream.Err()
}

// UndoOne reverts one record and journals it. What the undo says may hold a secret of the record, such as the output of
// its command: it is hidden from here on.
func UndoOne(reg *actions.Registry, e env.Env, stream *event.Stream, o Open) (event.Left, bool) {
	hide := secret.Redactor(o.Hidden)
	if hide != nil {
		stream.Redact(hide)
	} else {
		hide = func(text string) string { return text }
	}
	begun := time.Now()
	stream.Emit(event.UndoState{ID: o.ID, Step: o.Step, State: "reverting", Text: o.Text})
	foreign, err := undo.Revert(reg, e, o.Undo)
	ev := event.UndoState{ID: o.ID, Step: o.Step, State: "reverted", Text: o.Text, Took: event.Seconds(time.Since(begun))}
	if foreign {
		ev.Detail = event.Foreign
	}
	if err == nil {
		Unseal(e.RunDir, o.ID)
	}
	if err != nil {
		ev.State, ev.Error, ev.Manual = "failed", err.Error(), o.Undo.Manual
		stream.EmitSync(ev)
		return event.Left{Text: hide(o.Text), Error: hide(err.Error()), Manual: hide(o.Undo.Manual)}, false
	}
	stream.EmitSync(ev)
	return event.Left{}, true
}
