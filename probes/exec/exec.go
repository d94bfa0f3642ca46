// Package exec watches what a command says.
package exec

import (
	"context"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/command"
	"chaos/runtime/env"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{output()} }

type outputArgs struct {
	Command string                 `chaos:"command,required,positional,filled" help:"a name in the PATH, or a path that starts at the script's folder"`
	Args    []string               `chaos:"args" help:"its arguments, each as it is: no shell splits or expands them"`
	Dir     string                 `chaos:"dir" help:"the folder in which it runs; without it the script's"`
	Env     map[string]value.Value `chaos:"env" help:"environment variables, on top of those of the run"`
	Stdin   string                 `chaos:"stdin" help:"what it reads from its standard input; without it nothing"`
	Timeout time.Duration          `chaos:"timeout" default:"5s" range:">0s" help:"how long it may run; then it is killed with all its children, and the sample failed"`
}

// Sample is how a command ended.
type Sample struct {
	ExitCode int           `chaos:"exit_code" help:"the exit code; 128 plus the signal's number where a signal killed it"`
	Signal   string        `chaos:"signal" help:"the signal that killed it, as KILL; empty for a plain exit"`
	Stdout   string        `chaos:"stdout" help:"its standard output, cut after 1MiB"`
	Stderr   string        `chaos:"stderr" help:"its standard error, cut after 1MiB"`
	Latency  time.Duration `chaos:"latency" help:"how long it ran"`
}

func output() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "exec.output",
		Summary: "Runs a command and shows its exit code and what it printed; it must only look, never act.",
		Example: `probe queue = exec.output("sh", args: ["-c", "ls /tmp | wc -l"], timeout: 2s) every 5s`,
	}, open)
}

func open(_ context.Context, e env.Env, in outputArgs) (probes.Take[Sample], error) {
	environment, err := command.Environment(in.Env)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(in.Command, "/") { // setup may build a ./tool, but installs none
		if _, err := command.Find(e.Dir, in.Command); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (Sample, error) {
		path, err := command.Find(e.Dir, in.Command) // each time: setup may build it
		if err != nil {
			return Sample{}, err
		}
		r, err := command.Run(ctx, command.Spec{
			Command: in.Command, Path: path, Args: in.Args, Dir: command.Resolve(e.Dir, in.Dir), Env: environment,
			Stdin: in.Stdin, Timeout: in.Timeout, Sweep: true, Run: e.RunDir,
		})
		if err != nil {
			return Sample{}, err
		}
		return Sample{ExitCode: r.Code, Signal: r.Signal, Stdout: r.Stdout, Stderr: r.Stderr, Latency: r.Elapsed}, nil
	}, nil
}
