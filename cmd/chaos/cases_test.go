package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"chaos/runtime/needtest"
)

// Cases in which other tools of this kind leave their faults behind, or judge wrongly; others are testdata/script/case-*.txtar.

func TestASignalBeforeAnythingIsStartedSaysSo(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\", plan: \"slow\")")
	pipe := filepath.Join(dir, "params.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		args  []string
		there func() bool
	}{
		{"while it reads", []string{"script", script, "--params", pipe}, func() bool {
			f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0) // fails as long as nobody reads
			if err == nil {
				t.Cleanup(func() { f.Close() })
			}
			return err == nil
		}},
		{"while it plans", []string{"script", script}, func() bool { _, err := os.Stat(filepath.Join(dir, "planning")); return err == nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startChaos(t, tc.args...)
			waitFor(t, "the moment", tc.there)
			p.cmd.Process.Signal(syscall.SIGTERM)
			if code := p.code(); code != 4 || p.output.String() != "chaos: interrupted by SIGTERM: nothing was started\n" {
				t.Errorf("exit %d\n%s", code, p.output.String())
			}
		})
	}
}

func TestARunsFolderThatFillsUpStopsTheInjectionAndNotTheUndo(t *testing.T) {
	if os.Geteuid() != 0 {
		needtest.Lacks(t, "this needs root, for a small tmpfs")
	}
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	script, dir := scene(t, "    test.mark(\"mark1\")\n    exec.run(\"sh\", args: [\"-c\", \"touch here; until [ -e full ]; do sleep 0.02; done\"], timeout: 1m)\n    test.mark(\"mark2\")")
	p := startChaos(t, "script", script, "--runs", small)
	waitFor(t, "the first mark", func() bool { _, err := os.Stat(filepath.Join(dir, "here")); return err == nil && len(marked(dir)) == 1 })
	filler, err := os.Create(filepath.Join(small, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); ; {
		if _, err := filler.Write(block); err != nil {
			break
		}
	}
	filler.Close()
	// The journal has begun a page of 4 KiB. Samples fill it, until it has no room for the record of the second mark.
	waitFor(t, "a full page", func() bool {
		info, err := os.Stat(filepath.Join(p.theRunIn(small).Dir, "journal.jsonl"))
		return err == nil && (4096-info.Size()%4096)%4096 < 256
	})
	if err := os.WriteFile(filepath.Join(dir, "full"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code := p.code()
	if out := p.output.String(); code != 5 || !strings.Contains(out, "the journal cannot be written, so nothing may be injected") {
		t.Errorf("exit %d, want 5\n%s", code, out)
	}
	if got := marked(dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}

	// And one that is full from the start stops everything.
	q := startChaos(t, "script", script, "--runs", small)
	if code := q.code(); code != 2 {
		t.Errorf("exit %d, want 2\n%s", code, q.output.String())
	}
}

// A journal from which somebody took a line does not count as clean.
func TestADamagedJournalIsNoCleanOne(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"a line taken away": func(s string) string {
			return strings.Join(slices.DeleteFunc(strings.SplitAfter(s, "\n"), func(l string) bool { return strings.Contains(l, "undo_intended") }), "")
		},
		"emptied": func(string) string { return "" },
		"garbage": func(string) string { return "garbage\n" },
	} {
		t.Run(name, func(t *testing.T) {
			script, _ := scene(t, "    test.mark(\"mark1\")\n    wait 5m")
			p := startChaos(t, "script", script)
			p.until("waiting", "5m")
			guard := p.pidOf("guard")
			syscall.Kill(guard, syscall.SIGSTOP)
			p.cmd.Process.Kill()
			syscall.Kill(guard, syscall.SIGKILL)
			waitFor(t, "both to be gone", p.dead)
			path := filepath.Join(p.theRun().Dir, "journal.jsonl")
			if err := os.WriteFile(path, []byte(damage(readAll(t, path))), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, code := p.chaos("recover"); code != 6 || !strings.Contains(out, "nobody knows") {
				t.Errorf("recover: %d %s", code, out)
			}
			if out, code := p.chaos("script", script); code != 2 || !strings.Contains(out, "nobody knows what it left") {
				t.Errorf("a new run: %d %s", code, out)
			}
		})
	}
}

// The first signal aborts, and still gets its look at the steady state: everything is undone, so that is a 4.
func TestOneSignalInAfterIsNoSix(t *testing.T) {
	for window := 1; ; window *= 5 {
		p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "after" {
  probe none = process.count(match: "no such process") every 50ms
  steady {
    window: %ds
    expect none == 0
  }
  hypothesis { always none == 0 }
  inject { test.mark("mark1") for 50ms }
}
`, window)))
		waitFor(t, "the look at the end", func() bool { return p.wrote("phase_entered", `"after"`) })
		p.cmd.Process.Signal(syscall.SIGTERM)
		code := p.code()
		if code == 0 && window < 10 {
			continue // on a slow machine it was through before the signal came
		}
		if code != 4 {
			t.Errorf("exit %d, want 4\n%s", code, p.output.String())
		}
		return
	}
}

// What a script or a command says is shown, and never obeyed by the terminal.
func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	p := startChaos(t, "script", writeScript(t, "experiment \"a\\u001b[2Jb\" {\n  setup {\n    log(\"x\\u001b[31m\\u0007\")\n    exec.run(\"sh\", args: [\"-c\", \"printf '\\\\033[2Jboo' >&2; exit 3\"])\n  }\n}\n"))
	p.code()
	if out := p.output.String(); strings.ContainsAny(out, "\x1b\x07") || !strings.Contains(out, "boo") {
		t.Errorf("%q", out)
	}
}

// What was killed can be named afterwards, by its pid, when it is gone.
func TestTheNameOfAVictimOutlivesIt(t *testing.T) {
	pid := victim(t)
	word := fmt.Sprintf("victims-%d", os.Getpid())
	p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "victims" {
  setup {
    process.start("sh", args: ["-c", "sleep 60; true", "%[2]s"])
    process.start("sh", args: ["-c", "sleep 60; true", "%[2]s"])
  }
  probe left = process.count(match: "%[2]s") every 50ms
  steady { expect left >= 0 }
  inject {
    process.kill(pid: %[1]d) as one
    log("killed ${one.pid}")
    process.kill(match: "%[2]s", signal: "WINCH") pick all as both
    log("killed ${len(both)} at once")
    process.kill(both[0], signal: "CONT")
  }
}
`, pid, word)))
	code := p.code()
	if out := p.output.String(); code != 0 || !strings.Contains(out, fmt.Sprintf("killed %d", pid)) || !strings.Contains(out, "killed 2 at once") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// A step of rollback is final: it leaves nothing to recover, and nothing recovers it.
func TestAStepOfRollbackIsFinal(t *testing.T) {
	dir := t.TempDir()
	p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "final" {
  probe none = process.count(match: "no such process") every 50ms
  steady { expect none == 0 }
  inject { wait 10ms }
  rollback { file.put("%s/final", "stays") }
}
`, dir)))
	if code := p.code(); code != 0 {
		t.Fatalf("exit %d\n%s", code, p.output.String())
	}
	if r := p.theRun(); len(r.Open) != 0 || r.Status() != "exit 0" {
		t.Errorf("the journal says %s, open %v", r.Status(), r.Open)
	}
	if out, code := p.chaos("recover"); code != 0 || readAll(t, filepath.Join(dir, "final")) != "stays" {
		t.Errorf("recover: %d %s", code, out)
	}
}

func TestARunWhoseFolderIsDeletedIsNotTrusted(t *testing.T) {
	const stay = "\n    exec.run(\"sh\", args: [\"-c\", \"touch here; until [ -e deleted ]; do sleep 0.02; done\"], timeout: 1m)"
	deleted := func(p *chaosProcess, dir string) {
		waitFor(t, "the moment", func() bool { _, err := os.Stat(filepath.Join(dir, "here")); return err == nil })
		if err := os.RemoveAll(p.theRun().Dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "deleted"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script, dir := scene(t, "    test.mark(\"mark1\")"+stay)
	p := startChaos(t, "script", script)
	deleted(p, dir)
	if code := p.code(); code != 5 || !strings.Contains(p.output.String(), "journal.jsonl was deleted or moved while the run went on") {
		t.Errorf("exit %d, want 5\n%s", code, p.output.String())
	}
	if got := marked(dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}

	// Nor does it inject any more, once that is so.
	script, dir = scene(t, "    test.mark(\"mark1\")"+stay+"\n    test.mark(\"mark2\")")
	q := startChaos(t, "script", script)
	deleted(q, dir)
	if code := q.code(); code != 5 || len(marked(dir)) != 0 || !strings.Contains(q.output.String(), "so nothing may be injected") {
		t.Errorf("exit %d, want 5; left %v\n%s", code, marked(dir), q.output.String())
	}
}

func TestAReportThatCannotBeWrittenIsNoSuccess(t *testing.T) {
	full := filepath.Join(t.TempDir(), "report.md")
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	script, _ := scene(t, "    wait 10ms")
	p := startChaos(t, "script", script, "--report", full)
	if code := p.code(); code != 5 || !strings.Contains(p.output.String(), "the report "+full+" could not be written: no space left on device") {
		t.Errorf("exit %d, want 5\n%s", code, p.output.String())
	}
}

func TestAFolderThatIsGoneIsNamed(t *testing.T) {
	script, _ := scene(t, "    wait 10ms")
	c := exec.Command("sh", "-c", `mkdir "$1" && cd "$1" && rmdir "$1" && shift && exec "$@"`, "sh", filepath.Join(t.TempDir(), "gone"), os.Args[0])
	c.Env = append(os.Environ(), asChaos+"=1", "XDG_STATE_HOME="+t.TempDir())
	for _, args := range [][]string{{"script", script, "--runs", "here"}, {"repl"}} {
		c := *c
		c.Args = append(slices.Clip(c.Args), args...)
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "the present folder does not exist any more; change to another one") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// A command that leaves nothing hands its undo record on, so that not each one waits for the disk. One that leaves something
// keeps it, under its own name, wherever it is told.
func TestCommandsThatLeaveNothingShareARecord(t *testing.T) {
	p := startChaos(t, "script", writeScript(t, `experiment "commands" {
  probe here = file.stat("/") every 100ms
  steady { expect here.exists }
  inject {
    repeat 3 { exec.run("true") }
    exec.run("sh", args: ["-c", "sleep 600 >/dev/null 2>&1 </dev/null & :"])
    exec.run("true")
  }
}
`))
	if code := p.code(); code != 0 {
		t.Fatalf("exit %d\n%s", code, p.output.String())
	}
	var told []string
	for _, l := range p.journal() {
		var d struct {
			ID, State string
			Step      int
		}
		json.Unmarshal(l.Data, &d)
		switch {
		case l.Kind == "undo_intended":
			told = append(told, fmt.Sprintf("%s intended by %d", d.ID, d.Step))
		case l.Kind == "undo_state":
			told = append(told, fmt.Sprintf("%s %s by %d", d.ID, d.State, d.Step))
		}
	}
	want := "u1 intended by 1, u1 intended by 4, u2 intended by 5, u1 reverting by 4, u1 reverted by 4, u2 void by 5"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("the journal tells\n%s\nwant\n%s", got, want)
	}
	text, _ := p.chaos("report", "--format", "json")
	var report struct {
		Runs []struct {
			Experiments []struct {
				Faults []struct {
					Step     int
					Undone   bool
					Lifetime string
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil || len(report.Runs) != 1 || len(report.Runs[0].Experiments) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	if f := report.Runs[0].Experiments[0].Faults; len(f) != 1 || f[0].Step != 4 || !f[0].Undone || f[0].Lifetime != "guardian" {
		t.Errorf("the report has the faults %+v", f)
	}
}

// Two runs of the example at the same time: the second is told who has the disk, and its undo leaves that alone.
func TestOneRunDoesNotTakeTheDiskOfAnother(t *testing.T) {
	script, err := filepath.Abs("../../examples/slow-disk/disk")
	if err != nil {
		t.Fatal(err)
	}
	dir, tools := filepath.Join(t.TempDir(), "mnt"), t.TempDir()
	for name, text := range map[string]string{"id": "echo 1000", "sqlite3": `: >"$1"`} { // a plain folder, and not even a database
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	call := func(want int, args ...string) (output string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != want {
			t.Errorf("%q: exit %d, want %d: %s", args, cmd.ProcessState.ExitCode(), want, out)
		}
		return string(out)
	}
	ours := func(want int, verb string) string { t.Helper(); return call(want, script, verb, dir) }
	another := func(want int, verb string) string { // a process of its own is the parent
		t.Helper()
		return call(want, "sh", "-c", `"$0" "$@"; exit $?`, "sh", "-c", `"$0" "$@"; exit $?`, script, verb, dir)
	}
	there := func() bool { _, err := os.Stat(filepath.Join(dir, "bank.db")); return err == nil }

	ours(0, "make")
	said := another(1, "make")
	if want := fmt.Sprintf("the run of pid %d has its disk at %s", os.Getpid(), dir); !strings.Contains(said, want) {
		t.Errorf("%q lacks %q", said, want)
	}
	another(0, "remove")
	if !there() {
		t.Fatal("another run took the disk away")
	}
	ours(0, "remove")
	ours(0, "remove")
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}

	another(0, "make") // and it has ended by now
	if said := ours(1, "make"); !strings.Contains(said, "a run has left its disk behind") {
		t.Errorf("%q", said)
	}
	ours(0, "remove")
	if there() {
		t.Error("what a dead run left cannot be removed")
	}
}
