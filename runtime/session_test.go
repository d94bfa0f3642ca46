package runtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/runtime/event"
)

// prompt is a session in virtual time. Its script is given whole; the tests run its statements one by one.
type prompt struct {
	*story
	session *Session
	def     *check.Experiment
}

func interactive(t *testing.T, script string, act func(*prompt)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{on: map[string]bool{"a": true, "b": true, "c": true}, begun: time.Now(), release: make(chan struct{})}
		defer func() {
			close(w.release)
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}()
		p := &prompt{story: &story{world: w, t: t}}
		reg := w.registries()
		file, diags := syntax.Parse(diag.NewSource("test.chaos", "experiment \"test\" {\n"+script+"\n}"))
		checked, more := check.File(file, reg, check.Options{})
		if all := append(diag.List(diags), more...); all.HasErrors() {
			t.Fatalf("the test's script is wrong:\n%s", all.Error())
		}
		p.def = checked.Experiments[0]
		p.session = NewSession(Options{Registries: reg, Seed: 1, Dir: dir, RunsDir: dir, Sinks: []event.Sink{event.SinkFunc(func(e event.Event) { p.events = append(p.events, e) })}}, 0)
		p.session.run.unguarded = true
		p.session.Use(p.def, nil)
		act(p)
		p.exit, _ = p.session.Close(context.Background(), false)
	})
}

// do runs the i-th statement of inject.
func (p *prompt) do(i int) []int {
	p.t.Helper()
	n, err := p.session.Do(context.Background(), event.During, p.def.Inject.Body[i:i+1])
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func TestSessionListsFaultsAndUndoesThem(t *testing.T) {
	interactive(t, `inject {
  fake.break("a")
  fake.break("b") for 5s
  fake.break("c")
}`, func(p *prompt) {
		p.do(0)
		p.do(1)
		list := p.session.Faults()
		if len(list) != 2 || list[0].Left.Round(time.Second) != 10*time.Minute || list[1].Left.Round(time.Second) != 5*time.Second {
			p.t.Errorf("%+v", list)
		}
		time.Sleep(6 * time.Second) // its `for` goes by on its own
		synctest.Wait()
		if at, timed := p.session.Undone(2); at.IsZero() || !timed || !p.get("b") {
			p.t.Error("the second is not undone by itself")
		}
		p.do(2)
		if ok, err := p.session.Undo(1); !ok || err != nil || !p.get("a") || p.get("c") {
			t.Error(ok, err)
		}
		if _, err := p.session.Undo(1); !errors.Is(err, ErrNoFault) {
			t.Error(err)
		}
		time.Sleep(11 * time.Minute) // nothing lasts for ever
		synctest.Wait()
		if !p.get("c") || len(p.session.Faults()) != 0 {
			t.Error("the last is in place for longer than the deadline")
		}
	})
}

func TestSessionUndoesWhatIsCancelledAndNothingElse(t *testing.T) {
	interactive(t, `inject {
  fake.break("a")
  do {
    fake.break("b")
    wait 1h
  }
  fake.break("c", act: "fail")
}`, func(p *prompt) {
		p.do(0)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if _, err := p.session.Do(ctx, event.During, p.def.Inject.Body[1:2]); err == nil {
			t.Error("it was not cancelled")
		}
		if p.get("a") || !p.get("b") {
			t.Error("not exactly what was cancelled is undone")
		}
		if _, err := p.session.Do(context.Background(), event.During, p.def.Inject.Body[2:3]); err == nil || !p.get("c") {
			t.Error("a step that failed is not undone")
		}
		if n := len(p.session.Faults()); n != 1 {
			t.Errorf("%d faults", n)
		}
	})
}

func TestSessionJudgesLikeARun(t *testing.T) {
	for _, c := range []struct {
		inject string
		want   event.Verdict
	}{{`fake.break("a")`, event.Refuted}, {`fake.break("b")`, event.Held}} {
		interactive(t, `probe a = fake.switch("a") every 100ms
steady { expect a.on }
hypothesis { always a.on }
inject { `+c.inject+` }`, func(p *prompt) {
			if what, err := p.session.Steady(context.Background()); what != "" || err != nil {
				t.Fatal(what, err)
			}
			p.do(0)
			if err := p.session.Judge(context.Background()); err != nil {
				t.Fatal(err)
			}
			ends := all[event.ExperimentEnded](p.story)
			if len(ends) != 1 || ends[0].Verdict != c.want || ends[0].Restoration != event.Clean {
				t.Errorf("%s: %+v", c.inject, ends)
			}
			if !p.get("a") || !p.get("b") {
				t.Error("a verdict leaves nothing in place")
			}
		})
	}
}

func TestSessionGoesOnAfterAGuard(t *testing.T) {
	interactive(t, `probe a = fake.switch("a") every 100ms
abort when not a.on for 500ms
setup { fake.break("c") }
inject {
  fake.break("a")
  fake.break("b")
}`, func(p *prompt) {
		if _, err := p.session.Do(context.Background(), event.Setup, p.def.Setup.Body); err != nil {
			t.Fatal(err)
		}
		p.do(0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !p.get("a") {
			t.Error("the guard undid nothing")
		}
		if p.get("c") {
			t.Error("setup lasts as long as the session")
		}
		ends := all[event.ExperimentEnded](p.story)
		if len(ends) != 1 || ends[0].Outcome != event.Aborted {
			t.Fatalf("%+v", ends)
		}
		p.do(1)
		if p.get("b") {
			t.Error("the session does not go on")
		}
	})
}

func TestSessionKeepsWhatAProbeNeedsUntilTheEnd(t *testing.T) {
	interactive(t, `inject {
  fake.break("a")
  fake.break("b")
}`, func(p *prompt) {
		p.do(0)
		p.do(1)
		for f := range p.session.faults {
			if f.text == `fake.break("a")` {
				f.name = "kept"
			}
		}
		p.session.Promote("kept")
		if err := p.session.Judge(context.Background()); err != nil {
			t.Fatal(err)
		}
		if p.get("a") || !p.get("b") {
			t.Error("what was promoted should outlast the round, and nothing else")
		}
	})
}

func TestSessionThatOnlyLooksLeavesNoRun(t *testing.T) {
	interactive(t, `inject { wait 1s }`, func(p *prompt) {
		if p.session.Dir() != "" || len(p.session.Faults()) != 0 {
			t.Error("there is a run before anything happened")
		}
		if kinds := slices.Collect(func(yield func(string) bool) {
			for _, e := range p.events {
				if !yield(e.Data.EventKind()) {
					return
				}
			}
		}); len(kinds) != 0 {
			t.Error(strings.Join(kinds, " "))
		}
	})
}
