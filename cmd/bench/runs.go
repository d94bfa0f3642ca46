package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/guardian"
)

// sure is a probe that costs nothing, so that what is measured is the runtime.
func sure() probes.Probe {
	return probes.Define(spec.Call{Name: "bench.sure", Summary: "is always true", Example: "probe p = bench.sure()"},
		func(context.Context, env.Env, struct{}) (probes.Take[bool], error) {
			return func(context.Context) (bool, error) { return true, nil }, nil
		})
}

// execute runs a script through the runtime, with its journal and all, and hands its events to see. guard starts its guardian.
func execute(ctx context.Context, dir, script string, params map[string]value.Value, see func(event.Event), guard ...string) error {
	reg := registries()
	file, diags := syntax.Parse(diag.NewSource("bench.chaos", script))
	if err := failed(diags); err != nil {
		return err
	}
	checked, diags := check.File(file, reg, check.Options{})
	if err := failed(diags); err != nil {
		return err
	}
	res, err := runtime.New(runtime.Options{
		Script: checked, Registries: reg, Params: params, Seed: 1, Dir: dir, RunsDir: dir, Version: "bench",
		Sinks: []event.Sink{event.SinkFunc(see)}, Guardian: guard,
	}).Execute(ctx)
	if err == nil && res.Exit != 0 {
		err = fmt.Errorf("the script of the bench ended with exit code %d", res.Exit)
	}
	return err
}

const steps = 200

// stepsRow compares steps of a script with a loop that runs the same commands, in a process of their own, as a run has one:
// beside what the rows before left in this one, to collect garbage would be most of the difference.
func stepsRow(b *bench) ([]line, error) {
	chaos, err := filepath.Abs(b.chaos)
	if err != nil {
		return nil, err
	}
	c, text, err := b.self("steps", chaos, b.dir)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	var ours, bare, kept time.Duration
	if _, err := fmt.Sscan(text, (*int64)(&ours), (*int64)(&bare), (*int64)(&kept)); err != nil {
		return nil, fmt.Errorf("%s", text)
	}
	var lines []line
	for _, peer := range []struct {
		name string
		took time.Duration
	}{{"os/exec", bare}, {"with limit, output", kept}} {
		lines = append(lines, line{what: fmt.Sprintf("%d steps of exec.run", steps), ours: ms(ours), peer: ms(peer.took) + " " + peer.name, ratio: ratio(float64(ours), float64(peer.took)),
			target: "at most 1.10 times", ok: float64(ours) <= 1.1*float64(peer.took)})
	}
	return lines, nil
}

// measureSteps prints how many nanoseconds the steps, the bare loop and the other one take. All are warm, since what is
// compared is a step, not the start of a run: the first step starts the guardian, and for a tenth of a second after that
// a command takes a tenth longer.
func measureSteps(args []string) error {
	b := &bench{ctx: context.Background(), chaos: args[0], dir: args[1]}
	script := fmt.Sprintf(`experiment "steps" {
  probe sure = bench.sure() every 100ms
  steady { expect sure }
  inject { repeat %d { exec.run("/bin/true") } }
}`, 2*steps)
	runs, err := alternate(b, 21, func() (time.Duration, error) {
		var first, last time.Duration
		reached := 0
		err := execute(b.ctx, b.dir, script, nil, func(e event.Event) {
			switch e.Data.(type) {
			case event.StepStarted:
				if reached++; reached == steps+1 {
					first = e.Mono
				}
			case event.StepEnded:
				last = e.Mono
			}
		}, b.chaos, guardian.Command)
		return last - first, err
	}, loop(b, false), loop(b, true))
	if err != nil {
		return err
	}
	fmt.Println(int64(median(runs[0])), int64(median(runs[1])), int64(median(runs[2])))
	return nil
}

// loop runs the commands without chaos: bare, or with what exec.run promises as well, a time limit and the output.
func loop(b *bench, limited bool) func() (time.Duration, error) {
	one := func() error { return exec.Command("/bin/true").Run() }
	if limited {
		one = func() error {
			ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "/bin/true")
			cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
			return cmd.Run()
		}
	}
	return func() (time.Duration, error) {
		var begun time.Time
		for n := range 2 * steps {
			if n == steps {
				begun = time.Now()
			}
			if err := one(); err != nil {
				return 0, err
			}
		}
		return time.Since(begun), nil
	}
}

const samples = 200

// samplesRow compares samples of http.get, one after the other, with a net/http client that sends the same requests. As
// the probe does, it opens a connection for each. Both are warm: what is compared is a sample, not the start of a run.
func samplesRow(b *bench) ([]line, error) {
	url, _, c, err := b.fileServer()
	if err != nil {
		return nil, err
	}
	defer c.stop()
	script := `param url: string
experiment "samples" {
  probe home = http.get(url) every 1us
  steady { window: 1500ms; expect home.ok }
}`
	transport := &http.Transport{DisableKeepAlives: true}
	runs, err := alternate(b, 5, func() (time.Duration, error) {
		var starts []time.Duration
		err := execute(b.ctx, b.dir, script, map[string]value.Value{"url": value.StringOf(url)}, func(e event.Event) {
			if s, ok := e.Data.(event.Sample); ok {
				starts = append(starts, time.Duration(s.Start))
			}
		})
		if err == nil && len(starts) <= 2*samples {
			err = fmt.Errorf("there were only %d samples", len(starts))
		}
		if err != nil {
			return 0, err
		}
		return starts[2*samples] - starts[samples], nil
	}, func() (time.Duration, error) {
		var begun time.Time
		for n := range 2 * samples {
			if n == samples {
				begun = time.Now()
			}
			if err := get(transport, url); err != nil {
				return 0, err
			}
		}
		return time.Since(begun), nil
	})
	if err != nil {
		return nil, err
	}
	ours, bare := median(runs[0]), median(runs[1])
	return []line{{what: fmt.Sprintf("%d samples of http.get", samples), ours: ms(ours), peer: ms(bare) + " net/http", ratio: ratio(float64(ours), float64(bare)),
		target: "at most 1.50 times", ok: float64(ours) <= 1.5*float64(bare)}}, nil
}

func get(t *http.Transport, url string) error {
	answer, err := (&http.Client{Transport: t}).Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err = io.Copy(io.Discard, answer.Body); err == nil && answer.StatusCode != 200 {
		err = errors.New(answer.Status)
	}
	return err
}

const (
	jitterPeriod = 5 * time.Millisecond
	jitterTicks  = 600
)

// jitterRow compares how late samples start with how late a bare ticker ticks, at 200 a second.
func jitterRow(b *bench) ([]line, error) {
	script := `experiment "jitter" {
  probe sure = bench.sure() every 5ms
  steady { window: 3s; expect sure }
}`
	runs, err := alternate(b, 3, func() ([]time.Duration, error) {
		var late []time.Duration
		var first, due time.Duration
		err := execute(b.ctx, b.dir, script, nil, func(e event.Event) {
			s, ok := e.Data.(event.Sample)
			if !ok || len(late) == jitterTicks {
				return
			}
			at := time.Duration(s.Start)
			if len(late) == 0 {
				first = at
			} else {
				due += time.Duration(s.Skipped+1) * jitterPeriod
			}
			late = append(late, at-first-due)
		})
		return fromEarliest(late), err
	}, func() ([]time.Duration, error) {
		begun := time.Now()
		t := time.NewTicker(jitterPeriod)
		defer t.Stop()
		var late []time.Duration
		for len(late) < jitterTicks {
			select {
			case <-t.C:
				late = append(late, time.Since(begun)%jitterPeriod) // a ticker drops what nobody took
			case <-b.ctx.Done():
				return nil, b.ctx.Err()
			}
		}
		return fromEarliest(late), nil
	})
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, p := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		of := func(list [][]time.Duration) time.Duration {
			var each []time.Duration
			for _, run := range list {
				each = append(each, quantile(run, p.q))
			}
			return median(each)
		}
		ours, bare := of(runs[0]), of(runs[1])
		lines = append(lines, line{what: "lateness at 200 samples a second, " + p.name, ours: us(ours), peer: us(bare) + " time.Ticker", ratio: ratio(float64(ours), float64(bare)),
			target: "at most 2.00 times", ok: ours <= 2*bare})
	}
	return lines, nil
}

// fromEarliest counts lateness from the earliest, since nobody knows when exactly a schedule began.
func fromEarliest(late []time.Duration) []time.Duration {
	if len(late) == 0 {
		return nil
	}
	first := slices.Min(late)
	for i := range late {
		late[i] -= first
	}
	return late
}
