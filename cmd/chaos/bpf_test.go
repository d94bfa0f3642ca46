package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"chaos/runtime/needtest"
)

// needWatching skips where the kernel does not let this user watch it.
func needWatching(t *testing.T) {
	t.Helper()
	m := lookAround("")
	p, _ := registries().Probes.Probe("host.opens")
	for _, n := range p.Spec().Needs {
		f := m.need(n)
		if f.Status == yes {
			continue
		}
		needtest.Lacks(t, fmt.Sprintf("%s: %s", n.Name, f.Detail))
	}
}

func TestWhatAScriptExecutesIsCountedInTheSummaryOfThePhase(t *testing.T) {
	needWatching(t)
	data, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	called := filepath.Join(t.TempDir(), "called")
	if err := os.WriteFile(called, data, 0o755); err != nil {
		t.Fatal(err)
	}
	p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "count" {
  probe execs = host.execs(match: '^%[1]s$') every 100ms
  probe opens = host.opens(name: "called") every 100ms
  steady { expect execs.lost == 0 and opens.lost == 0 }
  hypothesis {
    expect during.execs.count == 7
    expect during.execs.programs[0].path == %[1]q
    expect during.opens.count >= 7
    expect after.execs.count == 0
  }
  inject { repeat 7 { exec.run(%[1]q) } }
}
`, called)))
	if code := p.code(); code != 0 {
		t.Errorf("exit %d, want 0\n%s", code, p.output.String())
	}
}

// programs are those in the kernel that a process holds, by their numbers. Others of this machine may hold some of their own, so
// they cannot just be counted.
func programs(pid int) map[ebpf.ProgramID]bool {
	held := map[ebpf.ProgramID]bool{}
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, path := range infos {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if name, number, ok := strings.Cut(line, ":"); ok && name == "prog_id" {
				if id, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32); err == nil {
					held[ebpf.ProgramID(id)] = true
				}
			}
		}
	}
	return held
}

// loaded are the programs that the kernel still has.
func loaded(t *testing.T, all map[ebpf.ProgramID]bool) (left []ebpf.ProgramID) {
	t.Helper()
	for id := range all {
		prog, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, id)
		prog.Close()
	}
	return left
}

func TestSIGKILLOfTheRunnerEndsItsWatchersAndNobodyElseHoldsThem(t *testing.T) {
	needWatching(t)
	pid := victim(t)
	p := startChaos(t, "script", writeScript(t, fmt.Sprintf(`experiment "watch" {
  setup { process.start("sleep", args: ["300"]) as beside }
  probe opens = host.opens() every 100ms
  probe flows = host.flows() every 100ms
  steady { expect opens.lost >= 0 and flows.lost >= 0 and beside.pid > 0 }
  inject { process.pause(pid: %d) for 5m }
}
`, pid)))
	waitFor(t, "the pause", func() bool { return procState(pid) == "t" })
	watching := programs(p.cmd.Process.Pid)
	if n := len(loaded(t, watching)); n < 5 {
		t.Errorf("%d programs watch, want at least 5", n)
	}
	others := 0
	for _, other := range p.living() {
		if other == p.cmd.Process.Pid {
			continue
		}
		others++
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", other))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.Contains(to, "bpf") || strings.Contains(to, "perf_event") {
				t.Errorf("process %d holds %s", other, to)
			}
		}
	}
	if others < 3 {
		t.Errorf("%d processes beside the runner, want its helpers, its guardian and what it started", others)
	}
	p.cmd.Process.Kill()
	waitFor(t, "the programs to go", func() bool { return len(loaded(t, watching)) == 0 && len(p.living()) == 0 })
}
