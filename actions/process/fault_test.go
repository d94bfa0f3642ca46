package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

func TestKillBySelectors(t *testing.T) {
	e := setting(t)
	word := fmt.Sprintf("needle-%d", os.Getpid())
	id := faulttest.Victim(t, "exec sleep 1000", word)
	_, err := plan(t, e, "process.kill", args{"match": text(word)})
	var none *target.NoneError
	if faulttest.Within(t, 10*time.Second, "exec", func() bool { p, _ := id.Process(); return p.Comm == "sleep" }); err == nil {
		_, err = plan(t, e, "process.kill", args{"match": text(word)})
	}
	if !errors.As(err, &none) {
		t.Errorf("%v, want none: the word went with the exec", err)
	}
	a, b := faulttest.Victim(t, "read nothing", word), faulttest.Victim(t, "read nothing", word)
	_, err = plan(t, e, "process.kill", args{"match": text(word)})
	var many *target.ManyError
	if !errors.As(err, &many) || len(many.Matched) != 2 {
		t.Fatalf("%v, want two", err)
	}
	if !a.Alive() || !b.Alive() {
		t.Fatal("a refusal touched something")
	}
	e.Pick = target.Pick{All: true}
	p, err := plan(t, e, "process.kill", args{"match": text(word), "signal": text("SIGKILL")})
	if err != nil || len(p.Targets) != 2 || !strings.HasPrefix(p.Does, "SIGKILL to sh (pid ") || p.Lifetime != actions.Irreversible {
		t.Fatalf("%+v %v", p, err)
	}
	f, err := p.Inject(context.Background(), &ledger{})
	if err != nil {
		t.Fatal(err)
	}
	effect(t, f, actions.Yes)
	if a.Alive() || b.Alive() {
		t.Error("alive")
	}
	e.Pick = target.Pick{}
	f, _ = must(t, e, "process.kill", args{"pid": value.NumberOf(float64(id.Pid()))})
	effect(t, f, actions.Yes)
}

func TestKillOfAHandle(t *testing.T) {
	e := setting(t)
	e.Name = "worker"
	p, _ := started(t, e, "exec sleep 1000", nil)
	h := args{"process": value.HandleOf(p)}
	f, led := must(t, e, "process.kill", h)
	effect(t, f, actions.Yes)
	if len(led.undos) != 0 {
		t.Error("an irreversible act has no record")
	}
	faulttest.Within(t, 10*time.Second, "dead", func() bool { return !p.State().Running })
	f, _ = must(t, e, "process.kill", h)
	if bit, detail := f.Effect(context.Background()); bit != actions.Unknown || detail != "worker is not running: nothing was sent" {
		t.Errorf("effect %s, %q", bit, detail)
	}
}

func TestKillTermThatIsHandled(t *testing.T) {
	e := setting(t)
	p, _ := started(t, e, "trap '' TERM; echo up; while :; do sleep 0.05; done", args{"grace": value.DurationOf(0)})
	faulttest.Within(t, 10*time.Second, "the trap is set", func() bool { data, _ := os.ReadFile(e.RunDir + "/sh.out"); return len(data) > 0 })
	f, _ := must(t, e, "process.kill", args{"process": value.HandleOf(p)})
	effect(t, f, actions.Unknown)
	f, _ = must(t, e, "process.kill", args{"process": value.HandleOf(p), "signal": text("HUP")})
	_ = f
}

func TestKillRefuses(t *testing.T) {
	e := setting(t)
	for want, a := range map[string]args{
		"what started chaos":    {"pid": value.NumberOf(float64(os.Getppid()))},
		"chaos itself":          {"pid": value.NumberOf(float64(os.Getpid()))},
		"no process that may":   {"pid": value.NumberOf(1)},
		"`pid: 0` must be":      {"pid": value.NumberOf(0)},
		"`port: 0` must be":     {"port": value.NumberOf(0)},
		"matches nothing":       {"match": text("no such process as this one")},
		"must be one of \"TERM": {"pid": value.NumberOf(2), "signal": text("NOPE")},
		"must not be empty":     {"match": text(" ")},
		"no process is select":  {},
	} {
		_, err := plan(t, e, "process.kill", a)
		wants(t, err, want)
	}
	// The test's own command line, and that of everything above it, never matches.
	if self, err := target.ReadProcess(os.Getpid()); err == nil {
		_, err := plan(t, e, "process.kill", args{"match": text(self.CommandLine())})
		var none *target.NoneError
		if !errors.As(err, &none) {
			t.Errorf("%v", err)
		}
	}
}

func TestPause(t *testing.T) {
	ptraceOrSkip(t)
	e := setting(t)
	p, _ := started(t, e, "exec sleep 1000", nil)
	id, _ := p.Identity()
	f, led := must(t, e, "process.pause", args{"process": value.HandleOf(p)})
	effect(t, f, actions.Yes)
	if len(led.undos) != 1 || led.undos[0].Lifetime != actions.Kernel || !led.undos[0].Target.Same(id) {
		t.Errorf("%+v", led.undos)
	}
	r, _ := registry().Reverter("process.pause")
	for _, in := range []bool{true, false} {
		where := e
		if !in {
			where.Hold = nil
		}
		if s, err := r.State(context.Background(), where, led.undos[0]); s != actions.Present || err != nil {
			t.Errorf("state %s %v", s, err)
		}
	}
	revert(t, e, led)
	if q, err := id.Process(); err != nil || q.Paused() {
		t.Errorf("state %c %v", q.State, err)
	}

	// Of a dead run: the tracer is gone, and with it the pause.
	f, led = must(t, e, "process.pause", args{"process": value.HandleOf(p)})
	effect(t, f, actions.Yes)
	elsewhere := e
	elsewhere.Hold = nil
	tracer, _ := e.Hold.Tracer(context.Background())
	tracer.Signal(unix.SIGKILL)
	revert(t, elsewhere, led)
	if q, err := id.Process(); err != nil || q.Paused() {
		t.Errorf("state %c %v", q.State, err)
	}
}

func TestPauseOfADeadHandle(t *testing.T) {
	e := setting(t)
	p, _ := started(t, e, "exit 0", nil)
	faulttest.Within(t, 10*time.Second, "ended", func() bool { return p.State().Exited })
	_, led, err := act(t, e, "process.pause", args{"process": value.HandleOf(p)})
	wants(t, err, "is not running")
	if len(led.undos) != 0 {
		t.Error("recorded")
	}
}

func TestUndoOfAPauseOfWhatIsGone(t *testing.T) {
	ptraceOrSkip(t)
	e := setting(t)
	id := faulttest.Victim(t, "exec sleep 1000")
	_, led := must(t, e, "process.pause", args{"pid": value.NumberOf(float64(id.Pid()))})
	id.Signal(unix.SIGKILL)
	faulttest.Within(t, 10*time.Second, "gone", func() bool { return !id.Alive() })
	revert(t, e, led)
}

func TestStopAndUndo(t *testing.T) {
	e := setting(t)
	p, _ := started(t, e, "exec sleep 1000", args{"restart": value.BoolOf(true), "restart_delay": value.DurationOf(10 * time.Millisecond)})
	old, _ := p.Identity()
	f, led := must(t, e, "process.stop", args{"process": value.HandleOf(p)})
	effect(t, f, actions.Yes)
	time.Sleep(100 * time.Millisecond)
	if p.State().Running || old.Alive() {
		t.Fatal("it was restarted, or never stopped")
	}
	revert(t, e, led)
	id, ok := p.Identity()
	if !ok || !id.Alive() || id.Same(old) {
		t.Errorf("%v %v", id, ok)
	}

	// What was down before stays down.
	first, firstLed := must(t, e, "process.stop", args{"process": value.HandleOf(p)})
	effect(t, first, actions.Yes)
	_, led = must(t, e, "process.stop", args{"process": value.HandleOf(p)})
	revert(t, e, led)
	if p.State().Running {
		t.Error("the undo of a stop that changed nothing started it")
	}
	revert(t, e, firstLed)
	if !p.State().Running {
		t.Error("not started again")
	}
}

func TestRestart(t *testing.T) {
	e := setting(t)
	p, _ := started(t, e, "exec sleep 1000", nil)
	f, led := must(t, e, "process.restart", args{"process": value.HandleOf(p)})
	effect(t, f, actions.Yes)
	if len(led.undos) != 0 || p.State().Restarts != 1 {
		t.Errorf("%+v", p.State())
	}
	_, err := plan(t, e, "process.stop", args{"process": value.HandleOf(foreign{})})
	wants(t, err, "process.start")
}

// foreign is a handle of another family.
type foreign struct{}

func (foreign) HandleKind() string             { return "container" }
func (foreign) HandleID() string               { return "x" }
func (foreign) HandleName() string             { return "box" }
func (foreign) HandleField(string) value.Value { return value.NoData("absent") }
