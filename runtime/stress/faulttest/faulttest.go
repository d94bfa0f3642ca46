// Package faulttest is how the tests of actions inject real faults, kill the runner at any instant, and look whether the
// machine is as before. It is for tests only.
package faulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/stress"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// Main is a TestMain: it serves as helper, stressor and runner, runs the tests, and fails when one leaves a process or a
// cgroup behind. register may be nil where there are no actions to run.
func Main(m *testing.M, register func(*actions.Registry)) {
	hold.MaybeServe()
	stress.MaybeServe()
	// The race detector makes a process linger for a second at its end, and the helpers here are built with it.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	MaybeRun(register)
	// Whatever a test leaves behind becomes a child of this process instead of init's, so that it can be seen.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	code := m.Run()
	// The helper of a runner that was just killed ends its processes first, then itself.
	left := leftover()
	for begun := time.Now(); len(left) > 0 && time.Since(begun) < 10*time.Second; left = leftover() {
		<-time.After(10 * time.Millisecond)
	}
	for _, p := range left {
		fmt.Fprintln(os.Stderr, "left behind:", p.Describe())
		p.Identity().Signal(unix.SIGKILL)
		code = 1
	}
	os.Exit(code)
}

func leftover() []target.Process {
	all, _ := target.Descendants(os.Getpid())
	return slices.DeleteFunc(all, target.Process.Zombie)
}

// Args are the arguments of a call, as literals of the language; a string goes without quotes.
type Args map[string]string

// Values reads the arguments by the types that the spec gives them.
func Values(call *spec.Call, args Args) (map[string]value.Value, error) {
	out := map[string]value.Value{}
	for name, text := range args {
		p, ok := call.Param(name)
		if !ok {
			return nil, fmt.Errorf("%s has no argument %s", call.Name, name)
		}
		v, err := spec.Default(text, p.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// ownRun is the name of the folders of runs of this test process, by which its cgroups are known from those of others.
func ownRun() string { return fmt.Sprintf("faulttest-%d", os.Getpid()) }

// runDir makes a folder of a run.
func runDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), ownRun())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Env is the environment of one test; its helper is closed with it.
func Env(t *testing.T) env.Env {
	t.Helper()
	h := hold.NewClient(nil)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return env.Env{Dir: t.TempDir(), RunDir: runDir(t), Runs: t.TempDir(), Hold: h, Rand: rand.New(rand.NewPCG(1, 2)), Log: func(string) {}}
}

// Elsewhere is the environment of another process: of a guardian, or of `chaos recover`.
func Elsewhere(e env.Env) env.Env { e.Hold = nil; return e }

// Ledger keeps records in memory, and on disk where it has a file.
type Ledger struct {
	OnIntend func(actions.Undo)
	Broken   bool // the record is on disk, and the run ends before the act
	file     *os.File
	mu       sync.Mutex
	undos    []actions.Undo
	applied  int
}

// Intend keeps a record.
func (l *Ledger) Intend(u actions.Undo) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.OnIntend != nil {
		l.OnIntend(u)
	}
	if l.file != nil {
		line, err := json.Marshal(u)
		if err != nil {
			return "", err
		}
		if _, err := l.file.Write(append(line, '\n')); err != nil {
			return "", err
		}
		if err := l.file.Sync(); err != nil {
			return "", err
		}
	}
	// As it will be read from a journal: whatever does not survive that is missing here too.
	line, err := json.Marshal(u)
	if err != nil {
		return "", err
	}
	var again actions.Undo
	if err := json.Unmarshal(line, &again); err != nil {
		return "", err
	}
	l.undos = append(l.undos, again)
	if l.Broken {
		return "", errors.New("the run ends here")
	}
	return fmt.Sprint(len(l.undos)), nil
}

// Applied counts.
func (l *Ledger) Applied(string) error { l.mu.Lock(); defer l.mu.Unlock(); l.applied++; return nil }

// Undos are the records so far.
func (l *Ledger) Undos() []actions.Undo { l.mu.Lock(); defer l.mu.Unlock(); return l.undos }

// AllApplied tells whether every record was applied.
func (l *Ledger) AllApplied() bool { return l.applied == len(l.undos) }

// Actions are the actions and reverters under test.
type Actions struct{ reg *actions.Registry }

// Of makes a registry.
func Of(register func(*actions.Registry)) Actions {
	r := actions.NewRegistry()
	register(r)
	return Actions{r}
}

// Plan plans a call.
func (a Actions) Plan(t *testing.T, e env.Env, name string, args Args) (actions.Plan, error) {
	t.Helper()
	act, ok := a.reg.Action(name)
	if !ok {
		t.Fatalf("no action %s", name)
	}
	values, err := Values(act.Spec(), args)
	if err != nil {
		t.Fatal(err)
	}
	return act.Plan(context.Background(), e, values)
}

// Inject plans and injects.
func (a Actions) Inject(t *testing.T, e env.Env, name string, args Args) (actions.Fault, *Ledger) {
	t.Helper()
	p, err := a.Plan(t, e, name, args)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Missing) > 0 {
		t.Fatalf("missing: %+v", p.Missing)
	}
	led := &Ledger{}
	// A test that fails half way leaves nothing either.
	t.Cleanup(func() { a.cleanUp(e, led) })
	f, err := p.Inject(context.Background(), led)
	if err != nil {
		t.Fatal(err)
	}
	if f.Hold != nil {
		t.Cleanup(func() { f.Hold.Close() })
	}
	if !led.AllApplied() {
		t.Error("a record was not applied")
	}
	return f, led
}

func (a Actions) cleanUp(e env.Env, led *Ledger) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, u := range led.Undos() {
		if r, ok := a.reg.Reverter(u.Kind); ok {
			r.Revert(ctx, e, u)
		}
	}
}

// Intended is what is on disk when the run ends between the record and the act. It is undone here and elsewhere.
func (a Actions) Intended(t *testing.T, e env.Env, name string, args Args) {
	t.Helper()
	p, err := a.Plan(t, e, name, args)
	if err != nil {
		t.Fatal(err)
	}
	led := &Ledger{Broken: true}
	if _, err := p.Inject(context.Background(), led); err == nil || len(led.Undos()) != 1 {
		t.Fatalf("injected without a record: %v, %d records", err, len(led.Undos()))
	}
	a.Revert(t, e, led.Undos(), actions.Gone)
	e.Hold.Close()
	a.Revert(t, Elsewhere(e), led.Undos(), actions.Gone)
}

// Refused plans a call that must be refused, with a text in the error.
func (a Actions) Refused(t *testing.T, e env.Env, name string, args Args, parts ...string) {
	t.Helper()
	_, err := a.Plan(t, e, name, args)
	Wants(t, err, parts...)
}

// State asks for the state of a record.
func (a Actions) State(t *testing.T, e env.Env, u actions.Undo) actions.State {
	t.Helper()
	r, ok := a.reg.Reverter(u.Kind)
	if !ok {
		t.Fatalf("no reverter %s", u.Kind)
	}
	s, err := r.State(context.Background(), e, u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Revert undoes the records, newest first, twice; want is the state afterwards.
func (a Actions) Revert(t *testing.T, e env.Env, undos []actions.Undo, want actions.State) {
	t.Helper()
	for range 2 {
		for i := len(undos) - 1; i >= 0; i-- {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			r, ok := a.reg.Reverter(undos[i].Kind)
			if !ok {
				t.Fatalf("no reverter %s", undos[i].Kind)
			}
			err := r.Revert(ctx, e, undos[i])
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if s := a.State(t, e, undos[i]); s != want {
				t.Fatalf("%s: %s, want %s", undos[i].Kind, s, want)
			}
		}
	}
}

// Effect asks for the effect and logs what it says.
func Effect(t *testing.T, f actions.Fault, want actions.Effect) string {
	t.Helper()
	got, detail := f.Effect(context.Background())
	if got != want {
		t.Errorf("effect %s (%s), want %s", got, detail, want)
	}
	return detail
}

// Wants checks an error's text.
func Wants(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q in it", err, part)
		}
	}
}

// Victim is a process outside of any supervision: a shell script, with words in its command line that nothing else has.
func Victim(t *testing.T, script string, words ...string) target.Identity {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", script}, words...)...)
	// A pipe that nobody writes to, so that `read` waits without a child.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	// A program that is just being executed has no command line for a moment, and nobody finds it by that.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(time.Millisecond) {
		if p, err := target.ReadProcess(cmd.Process.Pid); err != nil || p.Zombie() || p.CommandLine() != "["+p.Comm+"]" {
			break
		}
	}
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Within waits for a condition.
func Within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Since(begun) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// WithinSecond waits for the end of a fault that nobody has to undo, and gives the time it took. The promise is a second; on
// a machine that has no idle time to act in (the tests of other packages run at the same time) it is a matter of waiting.
func WithinSecond(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	begun, idle := time.Now(), stress.Idle()
	Within(t, 10*time.Second, what, ok)
	took := time.Since(begun)
	share := float64(stress.Idle()-idle) / float64(took) / float64(runtime.NumCPU())
	if took > time.Second && share > 0.05 {
		t.Errorf("%s only after %s, and the machine had %.0f%% of its time idle", what, took.Round(time.Millisecond), share*100)
	}
	return took
}

// Cgroups lists the cgroups that faults of this test process have made, and that still exist.
func Cgroups() []string {
	var out []string
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, _ := filepath.Glob(filepath.Join(dir, "chaos-"+ownRun()+"-*"))
		out = append(out, found...)
	}
	return out
}

// Spec checks what every spec must have.
func (a Actions) Spec(t *testing.T) {
	t.Helper()
	for _, name := range a.reg.Names() {
		act, _ := a.reg.Action(name)
		s := act.Spec()
		if s.Summary == "" || !strings.Contains(s.Example, name) || s.Lifetime == "" || s.Undo == "" {
			t.Errorf("%s: summary, example, lifetime or undo is missing", name)
		}
		for _, p := range s.Params {
			if p.Help == "" {
				t.Errorf("%s: `%s` has no help", name, p.Name)
			}
		}
	}
}
