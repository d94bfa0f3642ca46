package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/runtime/event"
	"chaos/runtime/needtest"
	"chaos/runtime/recovery"
)

// scene is a script with marks as faults, and the folder that they are made in.
func scene(t *testing.T, inject string) (script, dir string) {
	t.Helper()
	script = writeScript(t, `experiment "marks" {
  probe none = process.count(match: "no such process") every 50ms
  steady { expect none == 0 }
  hypothesis { always none == 0 }
  inject {
`+inject+`
  }
}
`)
	return script, filepath.Dir(script)
}

func marked(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "mark*"))
	return found
}

// theRun reads the only run of a process.
func (p *chaosProcess) theRun() *recovery.Run {
	p.t.Helper()
	return p.theRunIn(filepath.Join(p.runs, "chaos", "runs"))
}

func (p *chaosProcess) theRunIn(folder string) *recovery.Run {
	p.t.Helper()
	list, err := recovery.List(folder)
	if err != nil || len(list) != 1 {
		p.t.Fatalf("%d runs, %v", len(list), err)
	}
	return list[0]
}

// dead tells that nobody of the run lives, or holds its locks: a process that is being killed is no more to be seen when its
// last threads still do.
func (p *chaosProcess) dead() bool {
	r := p.theRun()
	return len(p.living()) == 0 && !r.Alive && !r.Guarded
}

// pidOf finds the process of the run with an argument, such as the guardian's `guard`.
func (p *chaosProcess) pidOf(arg string) int {
	p.t.Helper()
	for _, pid := range p.living() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args := strings.Split(string(line), "\x00"); len(args) > 1 && args[1] == arg {
			return pid
		}
	}
	p.t.Fatalf("there is no `%s` process", arg)
	return 0
}

func (p *chaosProcess) chaos(args ...string) (string, int) {
	p.t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = p.cmd.Env
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

func TestTheGuardianUndoesWhenTheRunnerIsKilled(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\")\n    test.mark(\"mark2\")\n    wait 5m")
	p := startChaos(t, "script", script)
	p.until("waiting", "5m")
	if n := len(marked(dir)); n != 2 {
		t.Fatalf("%d marks", n)
	}
	begun := time.Now()
	p.cmd.Process.Kill()
	waitFor(t, "the marks to be gone", func() bool { return len(marked(dir)) == 0 })
	t.Logf("undone %s after SIGKILL", time.Since(begun).Round(time.Millisecond))
	waitFor(t, "the guardian to end", func() bool { return len(p.living()) == 0 })
	if r := p.theRun(); len(r.Open) != 0 || r.Status() != "died" {
		t.Errorf("the journal says %s, open %v", r.Status(), r.Open)
	}
	if out, code := p.chaos("recover"); code != 0 || !strings.Contains(out, "nothing is left") {
		t.Errorf("recover: %d %s", code, out)
	}
}

func TestNewestFirstAlsoByTheGuardian(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\")\n    test.mark(\"mark2\", undo: \"slow\")\n    wait 5m")
	p := startChaos(t, "script", script)
	p.until("waiting", "5m")
	p.cmd.Process.Kill()
	there := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	waitFor(t, "the marks to be gone", func() bool {
		older := there("mark1")
		newer := there("mark2") // looked at later, so that it cannot have gone first unseen
		if newer && !older {
			t.Fatal("the newest, which takes its time, is undone after the one before")
		}
		return !newer && !older
	})
}

func TestARunWhoseGuardianDiesAborts(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\")\n    wait 5m")
	p := startChaos(t, "script", script)
	p.until("waiting", "5m")
	syscall.Kill(p.pidOf("guard"), syscall.SIGKILL)
	if code := p.code(); code != 5 {
		t.Errorf("exit %d, want 5\n%s", code, p.output.String())
	}
	if got := marked(dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestRecoverAfterBothWereKilled(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\")\n    test.mark(\"mark2\")\n    wait 5m")
	p := startChaos(t, "script", script)
	p.until("waiting", "5m")
	guard := p.pidOf("guard")
	// Stopped first, so that the guardian cannot act between the two.
	syscall.Kill(guard, syscall.SIGSTOP)
	p.cmd.Process.Kill()
	syscall.Kill(guard, syscall.SIGKILL)
	waitFor(t, "both to be gone", p.dead)
	if n := len(marked(dir)); n != 2 {
		t.Fatalf("%d marks are left, the test wants 2", n)
	}
	if out, _ := p.chaos("runs"); !strings.Contains(out, "unrecovered") {
		t.Errorf("runs: %s", out)
	}
	// Nothing starts on top of it.
	if out, code := p.chaos("script", script); code != 2 || !strings.Contains(out, "chaos recover "+p.theRun().ID) {
		t.Errorf("a new run: %d %s", code, out)
	}
	if out, code := p.chaos("recover"); code != 0 {
		t.Errorf("recover: %d %s", code, out)
	}
	if got := marked(dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if out, code := p.chaos("recover"); code != 0 || !strings.Contains(out, "nothing is left") {
		t.Errorf("recover again: %d %s", code, out)
	}
}

// A guardian that was just starting when its runner was killed takes the lock late: recover waits, and undoes nothing twice.
func TestRecoverWaitsForAGuardianThatWasJustStarting(t *testing.T) {
	dir := t.TempDir()
	write := func(line string) {
		f, err := os.OpenFile(filepath.Join(dir, event.JournalName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(f, line)
		f.Close()
	}
	write(`{"seq":1,"kind":"run_started","data":{}}`)
	write(`{"seq":2,"kind":"undo_intended","data":{"id":"u1","record":{"kind":"a","version":1}}}`)
	r, err := recovery.Read(dir)
	if err != nil || !r.Unrecovered() {
		t.Fatal(r, err)
	}
	guardian, err := recovery.Lock(dir, recovery.GuardianLock)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		write(`{"seq":3,"kind":"undo_state","data":{"id":"u1","state":"reverted"}}`)
		guardian.Close()
	}()
	r, lock, err := takeOver(t.Context(), r)
	if err != nil || len(r.Open) > 0 {
		t.Fatal(r, err)
	}
	lock.Close()
}

// A run that somebody else holds is told, with what to look at, and does not keep the others from being undone.
func TestRecoverGoesOnPastARunThatSomebodyHolds(t *testing.T) {
	var list []*recovery.Run
	for range 2 {
		dir := t.TempDir()
		journal := `{"seq":1,"kind":"run_started","data":{}}` + "\n" + `{"seq":2,"kind":"undo_intended","data":{"id":"u1","record":{"kind":"a","version":1}}}` + "\n"
		if err := os.WriteFile(filepath.Join(dir, event.JournalName), []byte(journal), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := recovery.Read(dir)
		if err != nil || !r.Unrecovered() {
			t.Fatal(r, err)
		}
		list = append(list, r)
	}
	held, err := recovery.Lock(list[0].Dir, recovery.GuardianLock)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody waits
	var out bytes.Buffer
	code, err := recoverRuns(ctx, &out, list, false)
	if code != exitLeft || err != nil {
		t.Errorf("code %d, %v", code, err)
	}
	for _, want := range []string{"run " + list[0].ID + ": NOT UNDONE: somebody else is undoing it and not done yet; `fuser " + list[0].Dir, "run " + list[1].ID + " of "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said:\n%s", want, &out)
		}
	}
}

// hang stops the runner for good while its fault is in place. On a slow machine the time of the fault may be over by then, and
// the runner has done its work itself: that is false, and the run has ended.
func (p *chaosProcess) hang(inPlace func() bool) bool {
	p.t.Helper()
	there := false
	waitFor(p.t, "the fault, or the end", func() bool {
		there = inPlace()
		select {
		case <-p.exited:
			return true
		default:
			return there
		}
	})
	if there {
		p.cmd.Process.Signal(syscall.SIGSTOP)
		waitFor(p.t, "the stop", func() bool { s := procState(p.cmd.Process.Pid); return s == "T" || s == "Z" || s == "" })
		if inPlace() {
			return true
		}
		p.cmd.Process.Signal(syscall.SIGCONT)
	}
	p.code()
	return false
}

// hung starts a run that hangs in the middle of its fault, which lasts for longer and longer until that works.
func hung(t *testing.T, lasts time.Duration, start func(lasts time.Duration) (*chaosProcess, func() bool)) (*chaosProcess, time.Duration) {
	t.Helper()
	for range 4 {
		if p, inPlace := start(lasts); p.hang(inPlace) {
			return p, lasts
		}
		lasts *= 3
	}
	t.Fatal("the time of the fault is always over before the run can be made to hang")
	return nil, 0
}

func TestTheGuardianUndoesWhatAStuckRunnerDoesNot(t *testing.T) {
	var dir string
	p, _ := hung(t, time.Second, func(deadline time.Duration) (*chaosProcess, func() bool) {
		var script string
		script, dir = scene(t, "    test.mark(\"mark1\")\n    wait 5m")
		text := strings.Replace(readAll(t, script), "experiment \"marks\" {", fmt.Sprintf("experiment \"marks\" {\n  deadline: %.0fs", deadline.Seconds()), 1)
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := startChaos(t, "script", script)
		return p, func() bool { return p.wrote("waiting", "5m") && len(marked(dir)) == 1 }
	})
	waitFor(t, "the mark to be gone", func() bool { return len(marked(dir)) == 0 })
	p.cmd.Process.Signal(syscall.SIGCONT)
	if code := p.code(); code != 4 && code != 5 { // the deadline, or that the guardian is done
		t.Errorf("exit %d\n%s", code, p.output.String())
	}
}

// A fault's own `for` is its deadline, and what only the runner's end undoes is undone by ending it.
func TestAHungRunnerIsEndedWhenAFaultOutlivesItsTime(t *testing.T) {
	pid := victim(t)
	var begun time.Time
	p, lasts := hung(t, 3*time.Second, func(lasts time.Duration) (*chaosProcess, func() bool) {
		begun = time.Now()
		p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "pause" {
  probe state = process.state(pid: %d) every 50ms
  steady { expect state.running }
  hypothesis { always state.running }
  inject { process.pause(pid: %d) for %.0fs }
}
`, pid, pid, lasts.Seconds())))
		return p, func() bool { return procState(pid) == "t" && p.wrote("step_ended", `"done"`) }
	})
	waitFor(t, "the target to run on", func() bool { return runs(procState(pid)) })
	if d := time.Since(begun); d < lasts+5*time.Second {
		t.Errorf("undone %s after the start of the run: %s of pause and five seconds of grace were due", d, lasts)
	}
	waitFor(t, "everything to end", func() bool { return len(p.living()) == 0 })
}

// A stressor is the helper's, so only the end of a hung runner ends it; and then the guardian removes its cgroup.
func TestAHungRunnerIsEndedWhenAStressorWithACgroupOutlivesItsTime(t *testing.T) {
	needtest.Root(t)
	p, _ := hung(t, time.Second, func(lasts time.Duration) (*chaosProcess, func() bool) {
		script, _ := scene(t, fmt.Sprintf("    process.fork(50) for %.0fs", lasts.Seconds()))
		p := startChaos(t, "script", script)
		return p, func() bool { return p.wrote("step_ended", `"done"`) && len(cgroupsOf(p.theRun().ID)) > 0 }
	})
	waitFor(t, "everything to end", func() bool { return len(p.living()) == 0 })
	if left := cgroupsOf(p.theRun().ID); len(left) > 0 || len(p.theRun().Open) > 0 {
		t.Errorf("left: %v %+v", left, p.theRun().Open)
	}
}

// What a probe's command starts in a session of its own ends with the run: by the runner, by the guardian when that was killed,
// and by recover when both were, or where there was no guardian as nothing had to be undone.
func TestWhatAProbeLeavesEndsWithTheRun(t *testing.T) {
	kill := func(p *chaosProcess) { p.cmd.Process.Kill(); p.code() }
	for name, c := range map[string]struct {
		inject string
		end    func(*chaosProcess)
	}{
		"by the runner":            {"wait 100ms", func(p *chaosProcess) { p.code() }},
		"by the guardian":          {"test.mark(\"mark\")\n    wait 5m", kill},
		"by recover":               {"wait 5m", func(p *chaosProcess) { kill(p); p.chaos("recover") }},
		"by recover after a fault": {"test.mark(\"mark\")\n    wait 5m", func(p *chaosProcess) { syscall.Kill(p.pidOf("guard"), syscall.SIGKILL); kill(p); p.chaos("recover") }},
	} {
		t.Run(name, func(t *testing.T) {
			script := writeScript(t, fmt.Sprintf(`experiment "litter" {
  probe out = exec.output("sh", args: ["-c", "setsid sleep 300 >/dev/null 2>&1 & echo up >> up"]) every 50ms
  steady { expect out.exit_code == 0 }
  hypothesis { always out.exit_code == 0 }
  inject {
    %s
  }
}
`, c.inject))
			p := startChaos(t, "script", script)
			p.until("phase_entered", `"during"`)
			if strings.Contains(c.inject, "mark") {
				waitFor(t, "the fault", func() bool { return len(marked(filepath.Dir(script))) > 0 })
			}
			c.end(p)
			waitFor(t, "everything to end", func() bool { return len(p.living()) == 0 })
		})
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestStopAbortsARunAndReturnsItsCode(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\")\n    wait 5m")
	p := startChaos(t, "script", script)
	p.until("waiting", "5m")
	if out, code := p.chaos("stop"); code != 4 || !strings.Contains(out, "ended with 4") {
		t.Errorf("stop: %d %s", code, out)
	}
	if got := marked(dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if out, code := p.chaos("stop"); code != 2 || !strings.Contains(out, "no run is alive") {
		t.Errorf("stop again: %d %s", code, out)
	}
}

func TestASecondRunOnTheSameTargetIsRefused(t *testing.T) {
	pid := victim(t)
	text := fmt.Sprintf(`experiment "pause" {
  probe state = process.state(pid: %d)
  steady { expect state.running }
  hypothesis { always state.running }
  inject {
    process.pause(pid: %d)
    wait 5m
  }
}
`, pid, pid)
	p := startChaos(t, "script", writeScript(t, text))
	p.until("waiting", "5m")
	q := startChaos(t, "script", writeScript(t, text))
	if code := q.code(); code != 2 || !strings.Contains(q.output.String(), "`chaos stop "+p.theRun().ID+" --runs "+filepath.Join(p.runs, "chaos", "runs")+"`") {
		t.Errorf("exit %d, want 2 and the name of the first run\n%s", code, q.output.String())
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.code()
}

func TestAnUndoThatHangsDoesNotStopTheOthers(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\")\n    test.mark(\"mark2\", undo: \"hang\")\n    test.mark(\"mark3\", undo: \"panic\")\n    test.mark(\"mark4\", undo: \"fail\")\n    test.mark(\"mark5\")")
	p := startChaos(t, "script", script)
	if code := p.code(); code != 6 {
		t.Errorf("exit %d, want 6\n%s", code, p.output.String())
	}
	if got := marked(dir); len(got) != 3 {
		t.Errorf("left: %v", got)
	}
	for _, n := range []string{"2", "3", "4"} {
		if want := "by hand: rm " + filepath.Join(dir, "mark"+n); !strings.Contains(p.output.String(), want) {
			t.Errorf("the output does not say %q:\n%s", want, p.output.String())
		}
	}
}

// An undo that needs a secret works after a crash too, and the secret stays nowhere.
func TestAnUndoWithASecretSurvivesTheCrashAndTheSecretDoesNot(t *testing.T) {
	dir := t.TempDir()
	secret := "s3cr3t-of-the-test"
	t.Setenv("CHAOS_SECRET_TOKEN", secret)
	p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "secret undo" {
  probe none = process.count(match: "no such process") every 50ms
  steady { expect none == 0 }
  hypothesis { always none == 0 }
  inject {
    exec.run("touch", args: ["%[1]s/${secret("TOKEN")}"], undo: ["rm", "-f", "%[1]s/${secret("TOKEN")}"])
    wait 5m
  }
}
`, dir)))
	p.until("waiting", "5m")
	guard := p.pidOf("guard")
	syscall.Kill(guard, syscall.SIGSTOP)
	p.cmd.Process.Kill()
	syscall.Kill(guard, syscall.SIGKILL)
	waitFor(t, "both to be gone", p.dead)
	if out, code := p.chaos("recover"); code != 0 {
		t.Errorf("recover: %d %s", code, out)
	}
	if _, err := os.Stat(filepath.Join(dir, secret)); !errors.Is(err, os.ErrNotExist) {
		t.Error("it is not undone")
	}
	filepath.WalkDir(p.runs, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(readAll(t, path), secret) {
			t.Errorf("the secret stands in %s", path)
		}
		return nil
	})
	if strings.Contains(p.output.String(), secret) {
		t.Error("the secret stands in the output")
	}
}

// An undo that fails says why, and what it says may hold the secret that it was given. Neither the guardian nor recover,
// which know the run only from what it left, write it anywhere but into the sealed record.
func TestWhatAFailedUndoSaysHidesItsSecret(t *testing.T) {
	secret := "s3cr3t-of-the-test"
	t.Setenv("CHAOS_SECRET_TOKEN", secret)
	p := startChaos(t, "script", writeScript(t, `experiment "secret undo" {
  probe none = process.count(match: "no such process") every 50ms
  steady { expect none == 0 }
  hypothesis { always none == 0 }
  inject {
    exec.run("true", undo: ["sh", "-c", "echo it was ${secret("TOKEN")} >&2; exit 3"])
    wait 5m
  }
}
`))
	p.until("waiting", "5m")
	p.cmd.Process.Kill()
	waitFor(t, "the guardian to give up", func() bool { return len(p.living()) == 0 })
	out, code := p.chaos("recover")
	if code != 6 || !strings.Contains(out, "[secret TOKEN]") {
		t.Errorf("recover: %d %s", code, out)
	}
	said := 0
	filepath.WalkDir(p.runs, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "undo-") {
			return nil
		}
		text := readAll(t, path)
		said += strings.Count(text, "it was [secret TOKEN]")
		if strings.Contains(text, secret) {
			t.Errorf("the secret stands in %s", path)
		}
		return nil
	})
	if said < 3 { // the guardian's log and journal, and recover's
		t.Errorf("what the undo said is lost: %d", said)
	}
	if strings.Contains(p.output.String()+out, secret) {
		t.Error("the secret stands in the output")
	}
}
