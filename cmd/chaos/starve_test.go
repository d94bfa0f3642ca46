package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chaos/runtime/needtest"
)

// A program that takes memory without end is killed in the cgroup that process.limit made for it. The run, its guardian and
// the system under test live on, and the report names who killed it.
func TestAHogIsKilledInItsCgroupAndNobodyElse(t *testing.T) {
	needtest.Root(t)
	dir := t.TempDir()
	text := fmt.Sprintf(`experiment "a hog" {
  recovery: 5s
  setup {
    process.start("sh", args: ["-c", "until [ -e %[1]s/go ]; do sleep 0.05; done; exec tail /dev/zero"]) as hog
  }
  probe state = process.state(hog) every 50ms
  probe other = process.state(pid: %[2]d) every 50ms
  steady { expect other.running }
  hypothesis {
    always other.running
    eventually not state.running within 10s
    expect state.exit_code == 137 and state.signal == "KILL" and state.oom_killed
    never other.oom_killed
  }
  inject {
    process.limit(hog, memory: 64MiB)
    exec.run("touch", args: ["%[1]s/go"])
    wait until not state.running within 20s
    exec.run("touch", args: ["%[1]s/killed"])
    wait until state.oom_killed within 5s
    wait 500ms
  }
}
`, dir, victim(t))
	p := startChaos(t, "script", "--plain", writeScript(t, text))
	p.until("phase_entered", `"during"`)
	guard := p.find("guard")
	waitFor(t, "the hog to be killed", func() bool { _, err := os.Stat(filepath.Join(dir, "killed")); return err == nil })
	if guard == 0 || p.find("guard") != guard {
		t.Error("the guardian is gone")
	}
	if code := p.code(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if out := p.output.String(); !strings.Contains(out, "the kernel's OOM killer ended 1 in the cgroup of hog") || !strings.Contains(out, "which allows 64MiB of memory") || t.Failed() {
		t.Error(out)
	}
}

// What a first step measured is the rate of the next one.
func TestADiskLoadIsCalibratedByAnother(t *testing.T) {
	needtest.Root(t)
	needtest.Tools(t, "mkfs.ext4")
	p := startChaos(t, "script", "--plain", writeScript(t, fmt.Sprintf(`experiment "calibrated" {
  let disk = %q
  probe here = file.stat(disk) every 200ms
  steady { expect here.exists }
  hypothesis {
    expect part.rate > 5%% * full.rate and part.rate < 11%% * full.rate
    expect again.rate < 11%% * reads.rate
  }
  inject {
    disk.write(disk, size: 16MiB) for 1s as full
    disk.write(disk, size: 16MiB, rate: 10%% * full.rate) for 1s as part
    disk.read(disk, size: 16MiB) for 1s as reads
    disk.read(disk, size: 16MiB, rate: 10%% * reads.rate) for 1s as again
  }
}
`, ext4(t))))
	if code := p.code(); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.output.String())
	}
}

// A fault that somebody ended before its time did not last as long as the hypothesis claims: inconclusive, and it is said.
func TestAStressorThatIsKilledMakesTheRunInconclusive(t *testing.T) {
	p := startChaos(t, "script", "--plain", writeScript(t, `experiment "short" {
  probe ok = exec.output("true") every 100ms
  steady { expect ok.exit_code == 0 }
  hypothesis { always ok.exit_code == 0 }
  inject { cpu.stress(workers: 1, load: 10%) for 3s }
}
`))
	p.until("step_ended", "pid ")
	waitFor(t, "a stressor to kill", func() bool {
		for _, pid := range p.living() {
			if name, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "comm")); string(name) == "chaos-stress\n" {
				return syscall.Kill(pid, syscall.SIGKILL) == nil
			}
		}
		return false
	})
	if code := p.code(); code != 5 {
		t.Errorf("exit %d", code)
	}
	if out := p.output.String(); !strings.Contains(out, "it had ended before it was undone: the stressor was ended by SIGKILL") || t.Failed() {
		t.Error(out)
	}
}
