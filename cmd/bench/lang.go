package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"chaos/actions"
	actexec "chaos/actions/exec"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/probes"
	probexec "chaos/probes/exec"
	"chaos/probes/http"
	"chaos/runtime"
)

// gameDay is a script of usual length.
const gameDay = "examples/fizzbuzz/game-day.chaos"

// startRow is what a person waits for before chaos does anything.
func startRow(b *bench) ([]line, error) {
	chaos, err := filepath.Abs(b.chaos)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(chaos); err != nil {
		return nil, fmt.Errorf("there is no %s; `make build` makes it", b.chaos)
	}
	start := func(name string, args ...string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			cmd := exec.CommandContext(b.ctx, name, args...)
			cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
			begun := time.Now()
			err := cmd.Run()
			return time.Since(begun), err
		}
	}
	runs, err := alternate(b, 30, start("/bin/true"), start(chaos, "version"), start(chaos, "check", gameDay))
	if err != nil {
		return nil, err
	}
	bare := median(runs[0])
	var lines []line
	for i, what := range []string{"start of `chaos version`", "start of `chaos check` of the game day"} {
		d := median(runs[i+1])
		lines = append(lines, line{what: what, ours: ms(d), peer: ms(bare) + " /bin/true", ratio: ratio(float64(d), float64(bare)), target: "under 50 ms", ok: d < 50*time.Millisecond})
	}
	return lines, nil
}

const scriptLines = 10_000

// longScript is a script of so many lines, of experiments as people write them.
func longScript() string {
	var s strings.Builder
	s.WriteString("param base = \"http://127.0.0.1:8003\"\n")
	lines := 1
	for n := 1; lines < scriptLines; n++ {
		text := fmt.Sprintf(`
// Experiment %[1]d of the game day.
experiment "losing worker %[1]d is not noticed" {
  owner: "team-fizz"
  tags: ["game-day", "local"]
  probe home = http.get(base + "/api/v1/", timeout: 2s) every 200ms
  probe load = http.load(
    base + "/api/v1/",
    rate: 200/s, // as many as on a usual day
    timeout: 2s,
  )
  abort when load.error_ratio > 20%% for 3s
  steady "both workers serve traffic" {
    window: 5s
    expect home.status == 200 and home.body contains "FizzBuzz"
    expect load.errors == 0
  }
  hypothesis "customers do not notice" {
    always home.status == 200
    expect during.load.p99 < before.load.p99 + 250ms
    eventually home.ok within 5s
      because "the supervisor restarts what dies"
  }
  inject "kill it" {
    repeat 2 {
      exec.run("/bin/true", args: ["%[1]d"])
      wait 2s
    }
  }
  rollback {
    when home.status != 200 {
      exec.run("/bin/true")
    }
  }
}
`, n)
		s.WriteString(text)
		lines += strings.Count(text, "\n")
	}
	return s.String()
}

// registries are the families that the rows use.
func registries() runtime.Registries {
	r := runtime.Registries{Actions: actions.NewRegistry(), Probes: probes.NewRegistry(sure(), numbered())}
	r.Actions.Add(actexec.All()...)
	r.Actions.AddReverters(actexec.Reverters()...)
	r.Probes.Add(http.All()...)
	r.Probes.Add(probexec.All()...)
	return r
}

func parseRow(b *bench) ([]line, error) {
	text := longScript()
	runs, err := alternate(b, 5, func() (time.Duration, error) {
		begun := time.Now()
		_, diags := syntax.Parse(diag.NewSource("long.chaos", text))
		return time.Since(begun), failed(diags)
	})
	if err != nil {
		return nil, err
	}
	return []line{perLine("parse", text, median(runs[0]))}, nil
}

func failed(list diag.List) error {
	if list.HasErrors() {
		return fmt.Errorf("the script of the bench is wrong: %s", list[0].Message)
	}
	return nil
}

func perLine(what, text string, d time.Duration) line {
	n := strings.Count(text, "\n")
	return line{what: fmt.Sprintf("%s, per line of %d", what, n), ours: fmt.Sprintf("%.1f µs", float64(d)/1e3/float64(n)), peer: "-", ratio: "-"}
}

func checkRow(b *bench) ([]line, error) {
	text := longScript()
	reg := registries()
	file, diags := syntax.Parse(diag.NewSource("long.chaos", text))
	if err := failed(diags); err != nil {
		return nil, err
	}
	runs, err := alternate(b, 5, func() (time.Duration, error) {
		begun := time.Now()
		_, diags := check.File(file, reg, check.Options{})
		return time.Since(begun), failed(diags)
	})
	if err != nil {
		return nil, err
	}
	lines := []line{perLine("check, parsed already", text, median(runs[0]))}
	path := filepath.Join(b.dir, "long.chaos")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return lines, err
	}
	whole, err := alternate(b, 5, func() (time.Duration, error) {
		begun := time.Now()
		out, err := exec.CommandContext(b.ctx, b.chaos, "check", path).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("chaos check: %w: %.200s", err, out)
		}
		return time.Since(begun), nil
	})
	if err != nil {
		return lines, err
	}
	d := median(whole[0])
	return append(lines, line{what: fmt.Sprintf("`chaos check` of %d lines, all of it", strings.Count(text, "\n")), ours: ms(d), peer: "-", ratio: "-", target: "under 1 s", ok: d < time.Second}), nil
}
