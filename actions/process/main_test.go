package process_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"chaos/actions"
	"chaos/actions/process"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/needtest"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"
)

func TestMain(m *testing.M) { faulttest.Main(m, process.Register) }

// ledger keeps records in memory.
type ledger struct {
	mu      sync.Mutex
	undos   []actions.Undo
	applied int
	onWrite func()
}

func (l *ledger) Intend(u actions.Undo) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.onWrite != nil {
		l.onWrite()
	}
	l.undos = append(l.undos, u)
	return fmt.Sprint(len(l.undos)), nil
}

func (l *ledger) Applied(string) error { l.applied++; return nil }

func registry() *actions.Registry {
	r := actions.NewRegistry()
	process.Register(r)
	return r
}

// setting is the environment of one test; its helper is closed with it.
func setting(t *testing.T) env.Env {
	t.Helper()
	h := hold.NewClient(nil)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return env.Env{Dir: t.TempDir(), RunDir: t.TempDir(), Hold: h, Rand: rand.New(rand.NewPCG(1, 2)), Log: func(string) {}}
}

type args map[string]value.Value

func text(s string) value.Value { return value.StringOf(s) }

func texts(list ...string) value.Value {
	items := make([]value.Value, len(list))
	for i, s := range list {
		items[i] = value.StringOf(s)
	}
	return value.ListValue(value.TString, items...)
}

func plan(t *testing.T, e env.Env, name string, a args) (actions.Plan, error) {
	t.Helper()
	act, ok := registry().Action(name)
	if !ok {
		t.Fatalf("no action %s", name)
	}
	return act.Plan(context.Background(), e, a)
}

// act plans and injects.
func act(t *testing.T, e env.Env, name string, a args) (actions.Fault, *ledger, error) {
	t.Helper()
	p, err := plan(t, e, name, a)
	if err != nil {
		t.Fatal(err)
	}
	led := &ledger{}
	f, err := p.Inject(context.Background(), led)
	return f, led, err
}

func must(t *testing.T, e env.Env, name string, a args) (actions.Fault, *ledger) {
	t.Helper()
	f, led, err := act(t, e, name, a)
	if err != nil {
		t.Fatal(err)
	}
	return f, led
}

// revert runs every record's Reverter, twice, and verifies.
func revert(t *testing.T, e env.Env, led *ledger) {
	t.Helper()
	for range 2 {
		for i := len(led.undos) - 1; i >= 0; i-- {
			u := led.undos[i]
			r, ok := registry().Reverter(u.Kind)
			if !ok {
				t.Fatalf("no reverter %s", u.Kind)
			}
			if err := r.Revert(context.Background(), e, u); err != nil {
				t.Fatal(err)
			}
			if s, err := r.State(context.Background(), e, u); err != nil || s != actions.Gone {
				t.Fatalf("%s: %s %v", u.Kind, s, err)
			}
		}
	}
}

func effect(t *testing.T, f actions.Fault, want actions.Effect) {
	t.Helper()
	if f.Effect == nil {
		t.Fatal("no effect to ask for")
	}
	if got, detail := f.Effect(context.Background()); got != want {
		t.Errorf("effect %s (%s), want %s", got, detail, want)
	}
}

// started starts a shell script under supervision.
func started(t *testing.T, e env.Env, script string, more args) (*hold.Process, *ledger) {
	t.Helper()
	a := args{"command": text("sh"), "args": texts("-c", script)}
	for k, v := range more {
		a[k] = v
	}
	f, led := must(t, e, "process.start", a)
	p, ok := f.Result.V.(*hold.Process)
	if !ok {
		t.Fatalf("result %v", f.Result)
	}
	return p, led
}

func wants(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q in it", err, part)
		}
	}
}

func ptraceOrSkip(t *testing.T) {
	t.Helper()
	if why := target.PtraceRefused(os.Getpid()); why != "" {
		needtest.Lacks(t, "ptrace is not permitted: "+why)
	}
}
