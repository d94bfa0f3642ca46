package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/hold"
)

type startArgs struct {
	Command            string            `chaos:"command,required,positional,filled" help:"the program: a name is looked up in PATH, a path starts at the script's folder"`
	Args               []string          `chaos:"args" help:"its arguments"`
	Env                map[string]string `chaos:"env" help:"environment variables on top of the run's own"`
	Dir                string            `chaos:"dir" help:"the folder to run it in; the script's folder by default"`
	Stdout             string            `chaos:"stdout" help:"the file to append its output to; a file in the run's folder by default"`
	Stderr             string            `chaos:"stderr" help:"the file to append its errors to; a file in the run's folder by default"`
	Ready              string            `chaos:"ready" help:"what answers once it is ready: \"host:port\" accepts a connection, a URL answers with a status below 400"`
	ReadyWithin        time.Duration     `chaos:"ready_within" default:"10s" range:">0s" help:"how long readiness may take"`
	Restart            bool              `chaos:"restart" default:"false" help:"whether it is started again whenever it ends"`
	RestartDelay       time.Duration     `chaos:"restart_delay" default:"100ms" range:">=0s" help:"how long after its end it is started again"`
	StartLimit         int               `chaos:"start_limit" default:"5" range:">=1" help:"how many starts are allowed within start_limit_interval, the first one counted; one more and it stays down"`
	StartLimitInterval time.Duration     `chaos:"start_limit_interval" default:"10s" range:">0s" help:"the interval of start_limit"`
	StopSignal         string            `chaos:"stop_signal" default:"TERM" enum:"TERM SIGTERM INT SIGINT HUP SIGHUP QUIT SIGQUIT KILL SIGKILL USR1 SIGUSR1 USR2 SIGUSR2 WINCH SIGWINCH ABRT SIGABRT" help:"the signal that asks it to end"`
	Grace              time.Duration     `chaos:"grace" default:"5s" range:">=0s" help:"how long after stop_signal it is killed"`
}

func start() actions.Action {
	return actions.Define(spec.Call{
		Name:     "process.start",
		Summary:  "Starts a process and keeps it until the undo, through restarts if wanted; whatever becomes of the run, it and everything it started end with it.",
		Example:  `process.start("./server", args: ["--port", "8001"], restart: true, ready: "127.0.0.1:8001") as server`,
		Result:   value.THandle,
		Undo:     "stop it and everything it started",
		Lifetime: string(actions.Kernel),
	}, planStart)
}

func planStart(_ context.Context, e env.Env, in startArgs) (actions.Plan, error) {
	var check ready
	if err := in.validate(); err != nil {
		return actions.Plan{}, err
	}
	if in.Ready != "" {
		var err error
		if check, err = parseReady(in.Ready); err != nil {
			return actions.Plan{}, err
		}
	}
	plan := actions.Plan{
		Lifetime: actions.Kernel,
		Why:      "the helper `chaos hold` owns it, and ends it when the run is gone",
		Does:     in.does(),
		Undo:     []string{"stop it and everything it started"},
	}
	dir := under(e.Dir, in.Dir)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		plan.Missing = append(plan.Missing, spec.Need{Kind: "folder", Name: dir, Install: "create it, or correct `dir`"})
	}
	command, missing := lookUp(e.Dir, in.Command)
	if missing != nil {
		plan.Missing = append(plan.Missing, *missing)
	}
	if in.Ready != "" {
		if err := check.unheld(); err != nil {
			return actions.Plan{}, err
		}
	}
	plan.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		if missing != nil {
			return actions.Fault{}, fmt.Errorf("there is no %s: %s", missing.Name, missing.Install)
		}
		return in.inject(ctx, e, led, command, dir, check)
	}
	return plan, nil
}

func (in startArgs) validate() error {
	for name := range in.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return fmt.Errorf("`env`: %q is no name of a variable", name)
		}
	}
	return nil
}

func (in startArgs) does() string {
	line := "start " + strings.Join(append([]string{in.Command}, in.Args...), " ")
	if in.Restart {
		line += ", restarted when it dies"
	}
	return line
}

// under makes a path of a script absolute: it starts at the script's folder.
func under(dir, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// lookUp finds a command the way a shell does, except that a path starts at the script's folder.
func lookUp(dir, command string) (string, *spec.Need) {
	if !strings.Contains(command, "/") {
		path, err := exec.LookPath(command)
		if err != nil {
			return "", &spec.Need{Kind: "tool", Name: command, Install: fmt.Sprintf("install the package that has `%s`, or write its path", command)}
		}
		return under(dir, path), nil
	}
	path := under(dir, command)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", &spec.Need{Kind: "tool", Name: path, Install: "build it first, or correct the path: it starts at the script's folder"}
	case info.IsDir():
		return "", &spec.Need{Kind: "tool", Name: path, Install: "it is a folder: write the program in it"}
	case info.Mode()&0o111 == 0:
		return "", &spec.Need{Kind: "tool", Name: path, Install: "make it executable: chmod +x " + path}
	}
	return path, nil
}

func (in startArgs) inject(ctx context.Context, e env.Env, led actions.Ledger, command, dir string, check ready) (actions.Fault, error) {
	if e.Hold == nil {
		return actions.Fault{}, errNoHelper
	}
	name := e.Name
	if name == "" {
		name = filepath.Base(in.Command)
	}
	if in.Ready != "" {
		if err := check.free(ctx); err != nil {
			return actions.Fault{}, err
		}
	}
	stdout, stderr, err := in.outputs(e, name)
	if err != nil {
		return actions.Fault{}, err
	}
	mark, err := e.Hold.Reserve(ctx)
	if err != nil {
		return actions.Fault{}, err
	}
	about := service{Name: name, Mark: mark}
	id, err := intend(led, actions.Undo{
		Kind: "process.start", Target: about.identity(), Lifetime: actions.Kernel, Limit: in.Grace + 20*time.Second,
		Manual: fmt.Sprintf("grep -lsz CHAOS_HOLD=%s /proc/[0-9]*/environ | cut -d/ -f3 | xargs -r kill -KILL", mark.ID),
	}, about, nil)
	if err != nil {
		return actions.Fault{}, err
	}
	before := size(stderr)
	arg0 := command
	if dir == under("", e.Dir) || !strings.Contains(in.Command, "/") {
		arg0 = in.Command // as a shell does, so that `match: "./server api"` finds it
	}
	p, err := e.Hold.Start(ctx, hold.Spec{
		Name: name, Command: command, Arg0: arg0, Args: in.Args, Env: in.Env, Dir: dir, Stdout: stdout, Stderr: stderr,
		Restart: in.Restart, RestartDelay: in.RestartDelay, StartLimit: in.StartLimit, StartLimitInterval: in.StartLimitInterval,
		StopSignal: in.StopSignal, Grace: in.Grace, Mark: mark,
	})
	if err != nil {
		return actions.Fault{}, err
	}
	if err := led.Applied(id); err != nil {
		return actions.Fault{}, err
	}
	if in.Ready != "" {
		if err := check.await(ctx, p, in.ReadyWithin); err != nil {
			said := lastLines(stderr, before)
			// The undo that follows would stop it too, but only at the end of the scope.
			if serr := stopNow(p); serr != nil {
				err = errors.Join(err, serr)
			}
			return actions.Fault{}, withOutput(err, said)
		}
	}
	s := p.State()
	return actions.Fault{
		Result: value.HandleOf(p),
		Note:   note(s),
		Effect: func(context.Context) (actions.Effect, string) {
			switch s := p.Settled(); {
			case s.Running:
				return actions.Yes, note(s)
			case s.GaveUp:
				return actions.No, withOutput(errors.New(s.Problem), lastLines(stderr, before)).Error()
			default:
				return actions.Unknown, ended(s)
			}
		},
	}, nil
}

// stopNow stops a process outside of the step's context, which may have ended already.
func stopNow(p *hold.Process) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.Spec().Grace+20*time.Second)
	defer cancel()
	return p.Stop(ctx)
}

// note is what the report shows of a state.
func note(s hold.State) string {
	if s.Running {
		return fmt.Sprintf("pid %d", s.Pid)
	}
	return ended(s)
}

// ended says how a process ended, in words.
func ended(s hold.State) string {
	switch {
	case s.GaveUp:
		return s.Problem
	case !s.Exited:
		return "it does not run"
	case s.Signal != "":
		return "it was ended by SIG" + s.Signal
	}
	return fmt.Sprintf("it ended with exit code %d", s.ExitCode)
}

// outputs are the files for the two streams: as given, or new ones in the run's folder, never those of another process.
func (in startArgs) outputs(e env.Env, name string) (stdout, stderr string, err error) {
	if stdout = in.Stdout; stdout != "" {
		stdout = under(e.Dir, stdout)
	}
	if stderr = in.Stderr; stderr != "" {
		stderr = under(e.Dir, stderr)
	}
	if e.RunDir == "" || stdout != "" && stderr != "" {
		return stdout, stderr, nil
	}
	base := strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' {
			return '_'
		}
		return r
	}, name)
	for n := 1; ; n++ {
		stem := filepath.Join(under("", e.RunDir), base)
		if n > 1 {
			stem += fmt.Sprintf("-%d", n)
		}
		// The first file, made only if it does not exist, claims the name for both.
		f, err := os.OpenFile(stem+".out", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("the output of %s: %w", name, err)
		}
		f.Close()
		if stdout == "" {
			stdout = stem + ".out"
		}
		if stderr == "" {
			stderr = stem + ".err"
		}
		return stdout, stderr, nil
	}
}

// startReverter stops what process.start started.
type startReverter struct{}

func (startReverter) Kind() string { return "process.start" }

func (startReverter) Revert(ctx context.Context, e env.Env, u actions.Undo) error {
	var s service
	if err := decode(u, &s); err != nil {
		return err
	}
	if p, ok := s.ours(e); ok {
		return p.Stop(ctx)
	}
	return s.endElsewhere(ctx, e)
}

func (startReverter) State(ctx context.Context, e env.Env, u actions.Undo) (actions.State, error) {
	var s service
	if err := decode(u, &s); err != nil {
		return "", err
	}
	return s.state(ctx, e)
}
