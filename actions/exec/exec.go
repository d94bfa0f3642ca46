// Package exec acts through a command of the user's own.
package exec

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

// All lists the actions of this family.
func All() []actions.Action { return []actions.Action{run()} }

// Reverters lists what undoes their records.
func Reverters() []actions.Reverter { return []actions.Reverter{runReverter{}, childrenReverter{}} }

type runArgs struct {
	Command string                 `chaos:"command,required,positional,filled" help:"a name in the PATH, or a path that starts at the script's folder"`
	Args    []string               `chaos:"args" help:"its arguments, each as it is: no shell splits or expands them"`
	Dir     string                 `chaos:"dir" help:"the folder in which it runs; without it the script's"`
	Env     map[string]value.Value `chaos:"env" help:"environment variables, on top of those of the run"`
	Stdin   string                 `chaos:"stdin" help:"what it reads from its standard input; without it nothing"`
	Timeout time.Duration          `chaos:"timeout" default:"30s" range:">0s" help:"how long it may run; then it is killed with all its children, and the step failed"`
	Allow   []int                  `chaos:"allow" default:"[0]" range:">=0 <=255" help:"the exit codes that count as success; 128 plus the signal's number where a signal killed it"`
	Undo    []string               `chaos:"undo" help:"the command that takes it back, with its arguments, as one list. It runs in the same dir with the same env, timeout and allow, and must be safe to run twice, and where the first command never ran"`
}

// Result is what a command left, for as.
type Result struct {
	ExitCode int    `chaos:"exit_code" help:"the exit code; 128 plus the signal's number where a signal killed it"`
	Stdout   string `chaos:"stdout" help:"its standard output, cut after 1MiB"`
	Stderr   string `chaos:"stderr" help:"its standard error, cut after 1MiB"`
}

var resultType = func() *value.Type {
	t := value.TypeOf(reflect.TypeFor[Result]())
	t.Name = "exec.run"
	return t
}()

func run() actions.Action {
	return actions.Define(spec.Call{
		Name:     "exec.run",
		Summary:  "Runs a command and waits for its end; only `undo` knows how to take back what it did.",
		Example:  `exec.run("touch", args: ["maintenance"], undo: ["rm", "-f", "maintenance"]) for 30s`,
		Result:   resultType,
		Undo:     "run the command of `undo`; that its exit code is a success is the verification",
		UndoArg:  "undo",
		Lifetime: string(actions.Guardian),
	}, plan)
}

func plan(_ context.Context, e env.Env, in runArgs) (actions.Plan, error) {
	environment, err := command.Environment(in.Env)
	if err != nil {
		return actions.Plan{}, err
	}
	p := actions.Plan{
		Lifetime: actions.Irreversible,
		Does:     "run " + command.Line(in.Command, in.Args),
	}
	act := command.Spec{
		Command: in.Command, Args: in.Args, Dir: command.Resolve(e.Dir, in.Dir), Env: environment, Stdin: in.Stdin, Timeout: in.Timeout,
	}
	if act.Path, err = find(&p, e, in.Command); err != nil {
		return actions.Plan{}, err
	}
	if in.Undo == nil {
		p.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
			kids, id, err := intendChildren(led, in.Command)
			if err != nil {
				return actions.Fault{}, err
			}
			return inject(ctx, in, act, kids, id)
		}
		return p, nil
	}
	if len(in.Undo) == 0 || in.Undo[0] == "" {
		return actions.Plan{}, errors.New("`undo` names no command; write one with its arguments as a list, as in `undo: [\"rm\", \"-f\", \"maintenance\"]`")
	}
	p.Lifetime, p.Why = actions.Guardian, "what a command did stays until another one takes it back"
	p.Undo = []string{"run " + command.Line(in.Undo[0], in.Undo[1:])}
	back := undone{Command: in.Undo[0], Args: in.Undo[1:], Dir: act.Dir, Env: withPath(environment), Timeout: in.Timeout, Allow: in.Allow}
	if back.Path, err = find(&p, e, in.Undo[0]); err != nil {
		return actions.Plan{}, err
	}
	p.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		// Recorded first, so ended last: the undo command may be what asks them to end.
		kids, left, err := intendChildren(led, in.Command)
		if err != nil {
			return actions.Fault{}, err
		}
		id, err := intend(led, act, back)
		if err != nil {
			return actions.Fault{}, err
		}
		f, err := inject(ctx, in, act, kids, left)
		if err != nil {
			return f, err
		}
		return f, led.Applied(id)
	}
	return p, nil
}

// find looks a command up; what is not there is missing in the plan.
func find(p *actions.Plan, e env.Env, name string) (string, error) {
	path, err := command.Find(e.Dir, name)
	var missing *command.MissingError
	if errors.As(err, &missing) {
		p.Missing = append(p.Missing, spec.Need{Kind: "tool", Name: name, Install: missing.Remedy()})
		return "", nil
	}
	return path, err
}

func inject(ctx context.Context, in runArgs, s command.Spec, kids children, id string) (actions.Fault, error) {
	s.Env = maps.Clone(s.Env)
	s.Env[childrenVar] = kids.Mark
	r, err := command.Run(ctx, s)
	f := remains(in, kids, id, r.Left || err != nil)
	switch {
	case ctx.Err() != nil:
		return f, fmt.Errorf("`%s` was stopped before its end: %w", in.Command, context.Cause(ctx))
	case err != nil:
		return f, err
	case !slices.Contains(in.Allow, r.Code):
		return f, refusal(in.Command, r)
	}
	f.Result = value.EncodeAs(resultType, Result{ExitCode: r.Code, Stdout: r.Stdout, Stderr: r.Stderr})
	f.Note = "exit code " + strconv.Itoa(r.Code) + f.Note // and no Effect: what the command did cannot be seen from here
	return f, nil
}

// remains is what a command left running, however it ended: where that is nothing, there is nothing to end, and a report must
// not say that something was. It looks through all processes only if asked to, as that takes longer than most commands.
func remains(in runArgs, kids children, id string, look bool) (f actions.Fault) {
	var left []target.Process
	var err error
	if look {
		left, err = kids.left()
	}
	switch {
	case err == nil && len(left) == 0:
		f.Void = []string{id}
	case in.Undo == nil:
		f.Leaves = fmt.Sprintf("`%s` left running: %s", in.Command, describe(left))
	}
	if len(left) > 0 {
		f.Note = ", left running: " + describe(left)
	}
	return f
}

func refusal(name string, r command.Result) error {
	text := fmt.Sprintf("`%s` ended with exit code %d", name, r.Code)
	if r.Signal != "" {
		text = fmt.Sprintf("`%s` was killed by SIG%s (exit code %d)", name, r.Signal, r.Code)
	}
	if r.Tail != "" {
		text += ": " + r.Tail
	}
	return errors.New(text)
}
