package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/target"
)

// world is the system under test of the runtime's own tests: switches that fake actions flip and fake probes read, in
// virtual time (testing/synctest), so that every test is exact and takes no time.
type world struct {
	mu      sync.Mutex
	on      map[string]bool
	log     []string // what happened, in order
	begun   time.Time
	release chan struct{} // ends what hangs, when the test is over
	let     func()        // closes it
	samples map[string]int
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%gs ", time.Since(w.begun).Round(100*time.Millisecond).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) set(name string, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on[name] = on
}

func (w *world) get(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.on[name]
}

type nameArg struct {
	Name string `chaos:"name,positional,required" help:"of the switch"`
}

type breakArgs struct {
	Name   string `chaos:"name,positional,required" help:"of the switch"`
	Undo   string `chaos:"undo" default:"ok" help:"what the undo does" enum:"ok fail hang panic stays foreign"`
	Act    string `chaos:"act" default:"ok" help:"what the act does" enum:"ok fail panic slow late stuck deaf"`
	Effect string `chaos:"effect" default:"yes" help:"what is seen of it; ended: at first yes, then it ends by itself" enum:"yes no unknown hang ended panic"`
}

type undoArgs struct{ Name, Undo string }

// Samples and acts of the fakes take a moment each, different ones, so that no two things of a test happen at one instant
// and the order in which goroutines run decides nothing.
const (
	sampleTakes = 400 * time.Microsecond
	actTakes    = 300 * time.Microsecond
)

// registries are the fake families.
func (w *world) registries() Registries {
	pattern := probes.Define(spec.Call{Name: "fake.pattern", Summary: "says one letter per sample", Example: "-"},
		func(_ context.Context, _ env.Env, a struct {
			Pattern string        `chaos:"pattern,positional,required" help:"1 true, 0 false, x error, h hang, p panic, s slow; the last repeats"`
			Timeout time.Duration `chaos:"timeout" default:"500ms" help:"of one sample"`
		}) (probes.Take[bool], error) {
			n := 0
			return func(ctx context.Context) (bool, error) {
				c := a.Pattern[min(n, len(a.Pattern)-1)]
				n++
				<-time.After(sampleTakes)
				switch c {
				case 'x':
					return false, errors.New("the probe failed")
				case 'h':
					<-w.release
				case 'd':
					<-ctx.Done()
					return false, ctx.Err()
				case 'p':
					panic("a probe of the test")
				case 's':
					select {
					case <-time.After(300 * time.Millisecond):
					case <-ctx.Done():
					}
				}
				return c == '1' || c == 's', nil
			}, nil
		})
	type switchSample struct {
		On    bool          `chaos:"on" help:"whether it is on"`
		Level float64       `chaos:"level" help:"1 when on, else 0"`
		Age   time.Duration `chaos:"age" help:"time since the world began"`
		Phase time.Duration `chaos:"phase" help:"time since the phase began, as the sample is told"`
	}
	switches := probes.Define(spec.Call{Name: "fake.switch", Summary: "reads a switch", Example: "-"},
		func(_ context.Context, _ env.Env, a nameArg) (probes.Take[switchSample], error) {
			return func(ctx context.Context) (switchSample, error) {
				<-time.After(sampleTakes)
				on := w.get(a.Name)
				s := switchSample{On: on, Age: time.Since(w.begun)}
				if began, ok := probes.PhaseBegan(ctx); ok {
					s.Phase = time.Since(began)
				}
				if on {
					s.Level = 1
				}
				return s, nil
			}, nil
		})
	stream := probes.DefineStream(spec.Call{Name: "fake.stream", Summary: "counts ticks of 10 ms", Example: "-",
		Needs: []spec.Need{{Kind: "privilege", Name: "CAP_TICK", Install: "run as root"}}}, streamSample{}, nil,
		func(_ context.Context, _ env.Env, a nameArg) (probes.Streamer, error) {
			return &fakeStream{w: w, name: a.Name}, nil
		})

	reversible := actions.Define(spec.Call{Name: "fake.break", Summary: "turns a switch off", Example: "-", Undo: "turns it on again", Selects: true},
		func(_ context.Context, e env.Env, a breakArgs) (actions.Plan, error) {
			if a.Name == "nowhere" {
				return actions.Plan{}, &target.NoneError{Selector: "nowhere"}
			}
			plan := actions.Plan{Lifetime: actions.Kernel, Does: "break " + a.Name}
			if a.Name == "tool" {
				plan.Missing = []spec.Need{{Kind: "tool", Name: "frobnicate", Install: "apt-get install frobnicate"}}
			}
			plan.Inject = func(ctx context.Context, l actions.Ledger) (actions.Fault, error) {
				raw, _ := json.Marshal(undoArgs{a.Name, a.Undo})
				id, err := l.Intend(actions.Undo{Kind: "fake.break", Version: 1, Args: raw, Limit: 2 * time.Second, Manual: "turn on " + a.Name})
				if err != nil {
					return actions.Fault{}, err
				}
				<-time.After(actTakes)
				switch a.Act {
				case "fail":
					return actions.Fault{}, errors.New("the act failed")
				case "panic":
					w.set(a.Name, false)
					panic("an action of the test")
				case "slow":
					w.say("breaking %s", a.Name)
					select {
					case <-time.After(5 * time.Second):
					case <-ctx.Done():
						w.set(a.Name, false)
						return actions.Fault{}, ctx.Err()
					}
				case "late": // does not listen to its context, and comes through after all
					<-time.After(5 * time.Second)
				case "stuck": // until the test is over, and then it wants to go on
					<-w.release
					if _, err := l.Intend(actions.Undo{Kind: "fake.break", Version: 1, Args: raw}); err != nil {
						w.say("%s: %s", a.Name, err)
						return actions.Fault{}, err
					}
				}
				f := actions.Fault{}
				if a.Act == "deaf" { // until the test is over, and then it comes through
					<-w.release
					f.Hold = closer(func() { w.say("let go of %s", a.Name) })
				}
				w.set(a.Name, false)
				w.say("broke %s", a.Name)
				if err := l.Applied(id); err != nil {
					return f, err
				}
				return actions.Fault{Result: value.StringOf(a.Name), Effect: func(ctx context.Context) (actions.Effect, string) {
					if a.Effect == "hang" {
						<-w.release
					}
					if a.Effect == "ended" || a.Effect == "panic" {
						return actions.Yes, ""
					}
					return actions.Effect(a.Effect), ""
				}, Last: func() (actions.Effect, string) {
					switch a.Effect {
					case "ended":
						return actions.No, "it was tired"
					case "panic":
						panic("a last look of the test")
					}
					return actions.Yes, ""
				}}, nil
			}
			return plan, nil
		})
	reversible.Spec().Result = value.TString
	irreversible := actions.Define(spec.Call{Name: "fake.destroy", Summary: "turns a switch off for good", Example: "-"},
		func(_ context.Context, _ env.Env, a nameArg) (actions.Plan, error) {
			return actions.Plan{Lifetime: actions.Irreversible, Does: "destroy " + a.Name, Inject: func(context.Context, actions.Ledger) (actions.Fault, error) {
				<-time.After(actTakes)
				if a.Name == "fails" {
					return actions.Fault{}, errors.New("it cannot be destroyed")
				}
				w.set(a.Name, false)
				w.say("destroyed %s", a.Name)
				return actions.Fault{}, nil
			}}, nil
		})
	repair := actions.Define(spec.Call{Name: "fake.repair", Summary: "turns a switch on", Example: "-"},
		func(_ context.Context, _ env.Env, a nameArg) (actions.Plan, error) {
			return actions.Plan{Lifetime: actions.Irreversible, Does: "repair " + a.Name, Inject: func(ctx context.Context, _ actions.Ledger) (actions.Fault, error) {
				if a.Name == "slow" {
					<-time.After(3 * time.Second)
				}
				if a.Name == "stuck" {
					<-w.release
				}
				if a.Name == "fails" {
					return actions.Fault{}, errors.New("it cannot be repaired")
				}
				w.set(a.Name, true)
				w.say("repaired %s", a.Name)
				return actions.Fault{}, nil
			}}, nil
		})
	a := actions.NewRegistry(reversible, irreversible, repair)
	a.AddReverters(&fakeReverter{w})
	return Registries{Actions: a, Probes: probes.NewRegistry(pattern, switches, stream)}
}

type closer func()

func (f closer) Close() error { f(); return nil }

type fakeReverter struct{ w *world }

func (r *fakeReverter) Kind() string { return "fake.break" }

func (r *fakeReverter) Revert(_ context.Context, _ env.Env, u actions.Undo) error {
	var a undoArgs
	json.Unmarshal(u.Args, &a)
	r.w.say("undoing %s", a.Name)
	switch a.Undo {
	case "fail":
		return errors.New("the undo failed")
	case "hang":
		<-r.w.release
	case "panic":
		panic("an undo of the test")
	case "stays":
		return nil
	}
	r.w.set(a.Name, true)
	return nil
}

func (r *fakeReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	var a undoArgs
	json.Unmarshal(u.Args, &a)
	switch {
	case a.Undo == "foreign":
		return actions.Foreign, nil
	case r.w.get(a.Name):
		return actions.Gone, nil
	}
	return actions.Present, nil
}

type streamSample struct {
	Ticks  float64 `chaos:"ticks" help:"ticks of 10 ms"`
	Errors float64 `chaos:"errors" help:"ticks while the switch was off"`
}

// fakeStream has one tick each 10 ms of virtual time; a tick is an error while its switch is off.
type fakeStream struct {
	w    *world
	name string
	mu   sync.Mutex
	now  streamSample
	done chan struct{}
}

func (s *fakeStream) Start(ctx context.Context) error {
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		t := time.NewTicker(10 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				s.mu.Lock()
				s.now.Ticks++
				if !s.w.get(s.name) {
					s.now.Errors++
				}
				s.mu.Unlock()
			}
		}
	}()
	return nil
}

func (s *fakeStream) Next() (value.Value, probes.Mergeable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &fakeState{s.now}
	s.now = streamSample{}
	return m.Value(), m
}

func (s *fakeStream) Close() error {
	if s.done != nil { // never started when it was only planned
		<-s.done
	}
	return nil
}

type fakeState struct{ streamSample }

func (f *fakeState) MarshalJSON() ([]byte, error) { return json.Marshal(f.streamSample) }
func (f *fakeState) Merge(o probes.Mergeable) {
	f.Ticks += o.(*fakeState).Ticks
	f.Errors += o.(*fakeState).Errors
}
func (f *fakeState) Value() value.Value { return value.Encode(f.streamSample) }

// story is what a run left: its exit code, its events, what happened to the world.
type story struct {
	*world
	t      *testing.T
	exit   int
	err    error
	events []event.Event
	run    *Run
}

// option changes a run before it starts.
type option func(*story, *Options)

// at calls f at an instant of the run.
func at(d time.Duration, f func(*story)) option {
	return func(s *story, _ *Options) {
		go func() {
			select {
			case <-time.After(d):
				f(s)
			case <-s.release:
			}
		}()
	}
}

func interrupt(s *story) { s.run.Interrupt("SIGINT") }

// play runs a script in virtual time and then calls verify. The script may leave the experiment's braces to play.
func play(t *testing.T, script string, verify func(*story), opts ...option) {
	t.Helper()
	if !strings.Contains(script, "experiment \"") {
		script = "experiment \"test\" { probe sure = fake.pattern(\"1\")\n" + script + "\n}"
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{on: map[string]bool{"a": true, "b": true, "c": true}, begun: time.Now(), release: make(chan struct{})}
		w.let = sync.OnceFunc(func() { close(w.release) })
		defer func() {
			w.let()
			time.Sleep(10 * time.Second) // virtual: what was left behind hanging comes back now
			synctest.Wait()
		}()
		s := &story{world: w, t: t}
		reg := w.registries()
		src := diag.NewSource("test.chaos", script)
		file, diags := syntax.Parse(src)
		checked, more := check.File(file, reg, check.Options{})
		if all := append(diag.List(diags), more...); all.HasErrors() {
			t.Fatalf("the test's script is wrong:\n%s", all.Error())
		}
		params, bad := check.BindParams(checked.Params, nil, func(string) (string, bool) { return "", false })
		if len(bad) > 0 {
			t.Fatal(diag.List(bad).Error())
		}
		o := Options{Script: checked, Registries: reg, Seed: 1, Dir: dir, RunsDir: dir, Params: params, Sinks: []event.Sink{event.SinkFunc(func(e event.Event) { s.events = append(s.events, e) })}}
		for _, f := range opts {
			f(s, &o)
		}
		s.run = New(o)
		s.run.unguarded = true
		res, err := s.run.Execute(context.Background())
		s.exit, s.err = res.Exit, err
		verify(s)
		if t.Failed() {
			t.Logf("world: %s", strings.Join(s.log, "; "))
			for _, e := range s.events {
				line, _ := json.Marshal(e)
				t.Logf("%s", line)
			}
		}
	})
}

func (s *story) wantExit(code int) {
	s.t.Helper()
	if s.exit != code {
		s.t.Errorf("exit %d, want %d (%v)", s.exit, code, s.err)
	}
}

// wantLog compares what happened to the world.
func (s *story) wantLog(lines ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, want := strings.Join(s.log, "\n"), strings.Join(lines, "\n"); got != want {
		s.t.Errorf("what happened:\n%s\nwant:\n%s", got, want)
	}
}

// all returns the payloads of one kind.
func all[T event.Data](s *story) []T {
	var out []T
	for _, e := range s.events {
		if d, ok := e.Data.(T); ok {
			out = append(out, d)
		}
	}
	return out
}

// checkResult finds the judgement of a check by a part of its text.
func (s *story) checkResult(part string) event.CheckJudged {
	s.t.Helper()
	for _, c := range all[event.CheckJudged](s) {
		if c.Section == "hypothesis" && strings.Contains(c.Text, part) {
			return c
		}
	}
	s.t.Errorf("no check with %q was judged", part)
	return event.CheckJudged{}
}

func (s *story) ended() event.ExperimentEnded {
	s.t.Helper()
	list := all[event.ExperimentEnded](s)
	if len(list) == 0 {
		s.t.Fatal("the experiment never ended")
	}
	return list[len(list)-1]
}
