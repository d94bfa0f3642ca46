package process_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/needtest"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// straced is a victim that another tracer holds already, so that ptrace is refused to us.
func straced(t *testing.T) target.Identity {
	t.Helper()
	needtest.Tools(t, "strace")
	ptraceOrSkip(t)
	id := faulttest.Victim(t, "exec sleep 1000")
	cmd := exec.Command("strace", "-q", "-o", "/dev/null", "-p", id.ID)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(unix.SIGTERM); cmd.Wait() })
	faulttest.Within(t, 10*time.Second, "strace holds it", func() bool { by, _ := target.Tracer(id.Pid()); return by != 0 })
	runs(t, id)
	return id
}

// runs waits until a process is as it was: asleep, and not stopped.
func runs(t *testing.T, id target.Identity) {
	t.Helper()
	faulttest.Within(t, 10*time.Second, "it runs on", func() bool { p, err := id.Process(); return err == nil && p.State == 'S' })
}

// stands waits until every thread is stopped, and stays so: strace stops it for a moment with each signal.
func stands(t *testing.T, id target.Identity) {
	t.Helper()
	times := 0
	faulttest.Within(t, 10*time.Second, "it stands still", func() bool {
		times++
		if m, err := target.Moving(id.Pid()); err != nil || len(m) > 0 {
			times = 0
		}
		return times > 20
	})
}

func TestAPauseWhereAnotherTracesIsBySIGSTOPAndSaysSo(t *testing.T) {
	e := setting(t)
	id := straced(t)
	a := args{"pid": value.NumberOf(float64(id.Pid()))}
	p, err := plan(t, e, "process.pause", a)
	if err != nil {
		t.Fatal(err)
	}
	if p.Lifetime != actions.Guardian || !strings.Contains(p.Why, "(strace -q") || !strings.HasSuffix(p.Does, "by SIGSTOP") || len(p.Missing) != 0 {
		t.Errorf("%+v", p)
	}
	runs(t, id)
	f, led := must(t, e, "process.pause", a)
	effect(t, f, actions.Yes)
	if u := led.undos[0]; len(led.undos) != 1 || u.Lifetime != actions.Guardian || u.Manual != "kill -CONT "+id.ID {
		t.Errorf("%+v", led.undos)
	}
	e.Hold = nil // as the guardian, or recover
	revert(t, e, led)
	runs(t, id)
}

func TestWhatSomebodyElseStoppedIsNotPausedBySIGSTOP(t *testing.T) {
	e := setting(t)
	id := straced(t)
	id.Signal(unix.SIGSTOP)
	stands(t, id)
	_, err := plan(t, e, "process.pause", args{"pid": value.NumberOf(float64(id.Pid()))})
	var busy *target.BusyError
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), "stopped already, by somebody else") {
		t.Errorf("%v", err)
	}
	stands(t, id)
	id.Signal(unix.SIGCONT)
}

func TestASIGSTOPThatSomebodyElseTookBackIsGone(t *testing.T) {
	e := setting(t)
	id := straced(t)
	f, led := must(t, e, "process.pause", args{"pid": value.NumberOf(float64(id.Pid()))})
	effect(t, f, actions.Yes)
	if lasted, detail := f.Last(); lasted != actions.Yes {
		t.Error(lasted, detail)
	}
	id.Signal(unix.SIGCONT)
	faulttest.Within(t, 10*time.Second, "the pause is known to have ended", func() bool { lasted, _ := f.Last(); return lasted == actions.No })
	r, _ := registry().Reverter(led.undos[0].Kind)
	faulttest.Within(t, 10*time.Second, "the state is gone", func() bool {
		s, err := r.State(context.Background(), e, led.undos[0])
		return err == nil && s == actions.Gone
	})
	revert(t, e, led)

	// Nor is another process hit that has got its pid.
	u := led.undos[0]
	u.Target.Start++
	if err := r.Revert(context.Background(), e, u); err != nil {
		t.Error(err)
	}
}

func TestTheUndoOfASIGSTOPThatNeverCameIsFine(t *testing.T) {
	e := setting(t)
	id := straced(t)
	_, led := must(t, e, "process.pause", args{"pid": value.NumberOf(float64(id.Pid()))})
	revert(t, e, led)
	revert(t, e, led) // the records of what is undone: as those of an act that never came
	runs(t, id)
}
