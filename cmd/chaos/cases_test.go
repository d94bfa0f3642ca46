package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Cases in which other tools of this kind leave their faults behind, or judge wrongly.

func TestASignalInTheMiddleOfAStepPreventsTheNextOne(t *testing.T) {
	script, dir := scene(t, "    test.mark(\"mark1\", act: \"slow\")\n    test.mark(\"mark2\")")
	p := startChaos(t, "script", script)
	p.until("undo_intended", "mark1")
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.code(); code != 4 {
		t.Errorf("exit %d, want 4\n%s", code, p.output.String())
	}
	for _, l := range p.journal() {
		if strings.Contains(string(l.Data), "mark2") && l.Kind != "run_started" {
			t.Errorf("the next step was reached: %s %s", l.Kind, l.Data)
		}
	}
	if got := marked(dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

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

func TestAFaultThatBreaksTheProbesConnectionRefutes(t *testing.T) {
	need(t, "python3")
	port := freePort(t)
	p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "the page survives its server" {
  setup { process.start("python3", args: ["-m", "http.server", "--bind", "127.0.0.1", "%[1]d"], ready: "127.0.0.1:%[1]d") as server }
  probe page = http.get("http://127.0.0.1:%[1]d/") every 50ms
  steady { expect page.ok }
  hypothesis { always page.ok }
  inject { process.stop(server) for 300ms }
}
`, port)))
	if code := p.code(); code != 1 {
		t.Errorf("exit %d, want 1\n%s", code, p.output.String())
	}
	if out := p.output.String(); !strings.Contains(out, "REFUTED  completed · restored") || !strings.Contains(out, "page.ok = false") {
		t.Errorf("%s", out)
	}
}

func TestAGuardThatCannotBeEvaluatedStopsBeforeAnythingIsInjected(t *testing.T) {
	script := writeScript(t, `experiment "blind guard" {
  probe none = process.count(match: "no such process") every 50ms
  probe blind = exec.output("sleep", args: ["5"], timeout: 100ms) every 200ms
  abort when blind.exit_code != 0
  steady { expect none == 0 }
  hypothesis { always none == 0 }
  inject { test.mark("mark1") }
}
`)
	p := startChaos(t, "script", script)
	if code := p.code(); code != 2 || !strings.Contains(p.output.String(), "cannot be evaluated") {
		t.Errorf("exit %d, want 2\n%s", code, p.output.String())
	}
	if got := marked(filepath.Dir(script)); len(got) != 0 {
		t.Errorf("injected: %v", got)
	}
}

func TestATargetThatIsGoneBeforeTheUndoIsUndone(t *testing.T) {
	pid := victim(t)
	script, _ := scene(t, fmt.Sprintf("    process.pause(pid: %d)\n    wait 500ms", pid))
	p := startChaos(t, "script", script)
	p.until("waiting", "500ms")
	syscall.Kill(pid, syscall.SIGKILL)
	if code := p.code(); code != 0 {
		t.Errorf("exit %d, want 0\n%s", code, p.output.String())
	}
}

func TestARunsFolderThatFillsUpStopsTheInjectionAndNotTheUndo(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("this needs root, for a small tmpfs")
		}
		t.Skip("this needs root, for a small tmpfs")
	}
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	// Until the second mark the samples fill the page that the journal has begun, 4 KiB.
	script, dir := scene(t, "    test.mark(\"mark1\")\n    wait 3s\n    test.mark(\"mark2\")")
	p := startChaos(t, "script", script, "--runs", small)
	waitFor(t, "the first mark", func() bool { return len(marked(dir)) == 1 })
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
			waitFor(t, "both to be gone", func() bool { return len(p.living()) == 0 })
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
	p := startChaos(t, "script", writeScript(t, `experiment "after" {
  probe none = process.count(match: "no such process") every 50ms
  steady {
    window: 1s
    expect none == 0
  }
  hypothesis { always none == 0 }
  inject { test.mark("mark1") for 50ms }
}
`))
	p.until("phase_entered", `"after"`)
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.code(); code != 4 {
		t.Errorf("exit %d, want 4\n%s", code, p.output.String())
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
