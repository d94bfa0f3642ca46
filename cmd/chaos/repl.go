package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"chaos/cmd/chaos/repl"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/runtime"
	"chaos/runtime/recovery"
	"chaos/stdlib"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

type replFlags struct {
	params  []string
	file    string
	secrets string
	seed    uint64
	runs    string
	plain   bool
	load    string // a script to begin with
}

func newREPL(code *int) *cobra.Command {
	var f replFlags
	c := &cobra.Command{
		Use:   "repl [FILE]",
		Short: "try statements one by one, and undo them",
		Long: `Runs statements and expressions as they are entered: a call of a probe shows what it sees, an
action is planned, injected and listed under :faults until :undo. However the session ends,
everything is undone. :help lists the commands, Tab completes, :save keeps the session as a script.
With a FILE, that script is taken in as by :load, and nothing of it runs before :run or :step.

What is piped in is a script: whole experiments are run as by "chaos script", anything else as if it
were typed, up to the first mistake.

Exits with 0, or with 6 when something could not be undone. What was piped in exits as "chaos script"
does: 1 when the hypothesis is refuted, 2 after a mistake, 4 when a guard or a signal ended it.`,
		Example: `  chaos repl
  chaos repl --param base=http://127.0.0.1:8080 --params staging.yaml
  chaos repl game-day.chaos
  echo 'process.count(match: "nginx")' | chaos repl`,
		Args:              atMostOne,
		ValidArgsFunction: completeScripts,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.load = args[0]
			}
			var err error
			*code, err = runREPL(f, os.Stdin)
			return err
		},
	}
	c.Flags().StringArrayVarP(&f.params, "param", "p", nil, "set a parameter: `NAME=VALUE` (repeatable)")
	c.Flags().StringVar(&f.file, "params", "", paramsHelp)
	c.Flags().StringVar(&f.secrets, "secrets", "", secretsHelp)
	c.Flags().Uint64Var(&f.seed, "seed", 0, "make random picks repeatable; 0 draws one and records it")
	c.Flags().StringVar(&f.runs, "runs", "", runsHelp)
	c.Flags().BoolVar(&f.plain, "plain", false, "no colours")
	return c
}

// bare is what `chaos` alone does: on a terminal the prompt, with a script piped in what the prompt does with it, else the help.
func bare(root *cobra.Command, code *int) {
	root.Args = knownCommand
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		var piped []byte
		switch at := term.IsTerminal(int(os.Stdin.Fd())); {
		case at && !isTerminal(os.Stdout):
			return cmd.Help()
		case !at:
			// A standard input that is closed, or cannot be read, has nothing to say either.
			piped, _ = io.ReadAll(io.LimitReader(os.Stdin, syntax.MaxSize+1))
			if len(bytes.TrimSpace(piped)) == 0 {
				return cmd.Help()
			}
		}
		var err error
		*code, err = runREPL(replFlags{}, bytes.NewReader(piped))
		return err
	}
}

// runREPL is the prompt, or what is to be done with piped where standard input is no terminal.
func runREPL(f replFlags, piped io.Reader) (int, error) {
	given, err := outside(scriptFlags{params: f.params, file: f.file, secrets: f.secrets}, nil, runtime.Registries{})
	if err != nil {
		return exitUsage, err
	}
	runs, err := runsDir(f.runs)
	if err != nil {
		return exitUsage, err
	}
	dir, err := absolute(".")
	if err != nil {
		return exitUsage, err
	}
	asker := newAsker(false)
	reg := registriesAsking(asker)
	if runs, err = absolute(runs); err != nil { // the guardian works in another folder
		return exitUsage, err
	}
	width := func() int {
		if cols, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && cols > 0 {
			return cols
		}
		return 100
	}
	cfg := repl.Config{
		Options: runtime.Options{Registries: reg, Seed: f.seed, Dir: dir, RunsDir: runs, Version: version},
		Check:   check.Options{Std: stdlib.FS(), Read: syntax.Load}, Reference: sync.OnceValue(reference), Given: given, Load: f.load, Width: width,
		Terminal: term.IsTerminal(int(os.Stdin.Fd())),
		Colour:   colourful(os.Stdout) && !f.plain,
	}
	if cfg.Terminal {
		cfg.Lines, err = repl.Terminal(historyFile(), width)
		if err != nil {
			return exitUsage, fmt.Errorf("this terminal cannot be used: %w", err)
		}
	} else {
		text, err := io.ReadAll(io.LimitReader(piped, syntax.MaxSize+1))
		if err != nil {
			return exitUsage, fmt.Errorf("standard input cannot be read: %w", err)
		}
		if ready, code, whole := wholeScript(text, reg, given); whole {
			if ready == nil {
				return code, nil
			}
			signals := listen()
			defer signals.stop()
			code, _ := runOne(*ready, scriptFlags{plain: f.plain, seed: f.seed}, reg, asker, runs, os.Stdout, nil, &reports{}, signals)
			return code, nil
		}
		cfg.Lines = repl.Piped(bytes.NewReader(text), os.Stdout)
	}
	session := repl.New(cfg)
	defer onSignals(session, cfg.Lines)()
	return session.Run(), nil
}

// historyFile is the user's, wherever the runs are: beside the folder that they have by default. "" for none.
func historyFile() string {
	runs, err := recovery.DefaultDir()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(runs), "history")
}

// wholeScript takes what was piped in for a script, if it holds an experiment.
func wholeScript(text []byte, reg runtime.Registries, given check.Given) (ready *prepared, code int, whole bool) {
	const path = "stdin"
	if d, bad := syntax.Encoding(path, text); bad {
		show(os.Stderr, diag.List{d})
		return nil, exitUsage, true
	}
	src := diag.NewSource(path, string(text))
	file, parsed := syntax.Parse(src)
	holds := false
	for _, item := range file.Items {
		_, is := item.(*syntax.Experiment)
		holds = holds || is
	}
	if !holds {
		return nil, 0, false
	}
	script, more := check.File(file, reg, check.Options{Std: stdlib.FS(), Read: syntax.Load})
	all := append(diag.List(parsed), more...)
	if !all.HasErrors() {
		bound, ds := check.Bind(script, script.AllParams(), given)
		all = append(all, ds...)
		if !all.HasErrors() {
			return &prepared{path: path, src: src, script: script, Bound: bound}, 0, true
		}
	}
	all.Sort()
	show(os.Stderr, all, src)
	return nil, exitUsage, true
}

// onSignals makes Ctrl-C end what runs, and whatever else wants us gone leave as Ctrl-D does, only faster.
func onSignals(session *repl.REPL, lines repl.Lines) (stop func()) {
	ch := make(chan os.Signal, 8)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(ch, s)
		}
	}
	go func() {
		for s := range ch {
			if s == unix.SIGINT {
				session.Interrupt()
				continue
			}
			lines.Restore()
			go func() { os.Exit(session.Leave(true)) }()
		}
	}()
	return func() { signal.Stop(ch) }
}
