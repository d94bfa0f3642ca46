package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"chaos/actions/ask"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/runtime"
	"chaos/runtime/event"
	"chaos/runtime/filefail"
	"chaos/runtime/recovery"
	"chaos/runtime/secret"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

type scriptFlags struct {
	params   []string
	file     string // of parameters
	secrets  string
	seed     uint64
	runs     string
	events   string
	plain    bool
	yes      bool
	rehearse bool
	reports  []string
	watchers watcherFlags
	selected selection
}

func newScript(code *int) *cobra.Command {
	var f scriptFlags
	c := &cobra.Command{
		Use:   "script FILE…",
		Short: "run the experiments of a script",
		Long: `Checks, plans and runs each experiment, undoes everything, and says what came of it. - is stdin.

Exit codes: 0 every hypothesis held · 1 refuted · 2 nothing was started (mistakes, missing tools)
3 not steady before, nothing injected · 4 aborted, restored · 5 inconclusive · 6 not restored`,
		Example: `  chaos script game-day.chaos
  chaos script game-day.chaos --param base=http://127.0.0.1:8080 --seed 42
  chaos script game-day.chaos --list
  chaos script *.chaos --tag nightly --report report.md --report junit.xml
  chaos script game-day.chaos --events - --plain | jq .kind`,
		Args: atLeastOne("chaos script FILE…"),
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			*code, err = runScripts(args, f)
			return err
		},
	}
	c.Flags().StringArrayVarP(&f.params, "param", "p", nil, "set a parameter: `NAME=VALUE` (repeatable)")
	c.Flags().StringVar(&f.file, "params", "", paramsHelp)
	c.Flags().StringVar(&f.secrets, "secrets", "", secretsHelp)
	c.Flags().Uint64Var(&f.seed, "seed", 0, "make random picks repeatable; 0 draws one and records it")
	c.Flags().StringVar(&f.runs, "runs", "", runsHelp)
	c.Flags().StringVar(&f.events, "events", "", "write the events as JSON lines to `FILE`; - is stdout, and the text goes to stderr")
	c.Flags().BoolVar(&f.plain, "plain", false, "lines only: no colours, no board")
	c.Flags().StringArrayVar(&f.reports, "report", nil, "write a report to `FILE`: .html, .md, .json, or .xml for JUnit (repeatable)")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "answer every question of the script (ask) with yes")
	f.watchers.flags(c)
	f.selected.flags(c)
	c.ValidArgsFunction = completeScripts
	c.RegisterFlagCompletionFunc("param", ofScripts(completeParams))
	c.Flags().BoolVar(&f.rehearse, "rehearse", false, "setup, before and after only: inject nothing")
	return c
}

// prepared is a script that may run.
type prepared struct {
	path   string
	src    *diag.Source
	script *check.Script
	check.Bound
}

// runScripts checks all files before it runs the first.
func runScripts(paths []string, f scriptFlags) (code int, err error) {
	if err := f.selected.valid(paths); err != nil {
		return exitUsage, err
	}
	signals := listen()
	defer signals.stop()
	asker := newAsker(f.yes)
	reg := registriesAsking(asker)
	given, err := outside(f, paths, reg)
	if err != nil {
		return exitUsage, err
	}
	runs := f.runs
	if runs == "" {
		if runs, err = recovery.DefaultDir(); err != nil {
			return exitUsage, err
		}
	}
	if runs, err = absolute(runs); err != nil { // the guardian works in another folder
		return exitUsage, err
	}
	if f.selected.list != "" { // listing runs nothing, so there is nothing to report or to watch
		f.reports, f.events, f.watchers = nil, "", watcherFlags{}
	}
	if err := f.spares(slices.Concat(paths, []string{f.file, f.secrets})); err != nil {
		return exitUsage, err
	}
	watchers, err := f.watchers.open(given.Secret)
	if err != nil {
		return exitUsage, err
	}
	linger := false
	defer func() { watchers.end(linger) }() // last of all: it may wait
	written, err := openReports(f.reports)
	if err != nil {
		return exitUsage, err
	}
	defer func() {
		if !written.write(os.Stderr) && err == nil {
			code = runtime.Worse(code, 5)
		}
	}()
	ready, code, err := prepare(paths, given, f.selected, reg, written, "nothing was started")
	if err != nil || code != 0 || ready == nil {
		return code, err
	}
	for _, p := range ready {
		for _, src := range p.script.Sources { // its modules
			if err := f.spares([]string{src.File}); err != nil {
				return exitUsage, err
			}
		}
	}
	out, sinks, done, err := outputs(f)
	if err != nil {
		return exitUsage, err
	}
	defer func() {
		if derr := done(); derr != nil && err == nil && !errors.Is(derr, syscall.EPIPE) {
			fmt.Fprintf(os.Stderr, "chaos: --events: %s\n", filefail.Why(derr))
			code = runtime.Worse(code, 5)
		}
	}()
	sinks = append(sinks, written)
	sinks = append(sinks, watchers.sinks...)
	worst := 0
	for _, p := range ready {
		code, goOn := runOne(p, f, reg, asker, runs, out, sinks, written, signals)
		worst = runtime.Worse(worst, code)
		linger = goOn || code == 6
		if !goOn {
			break
		}
	}
	return worst, nil
}

// noExperiment is said of a module, which is right and cannot be run.
const noExperiment = "there is no experiment in it"

// prepare checks all files, narrows them to the experiments that are meant, and binds their parameters. Nothing is ready
// when any file is wrong, or when the experiments were only to be listed. so is what a mistake means to who asked.
func prepare(paths []string, given check.Given, s selection, reg runtime.Registries, written *reports, so string) (ready []prepared, code int, err error) {
	refuse := func(path string, diags diag.List, sources ...*diag.Source) {
		code = exitUsage
		show(os.Stderr, diags, sources...)
		n, _ := count(diags)
		fmt.Fprintf(os.Stderr, "\n%s: %s, %s\n", path, plural(n, "error"), so)
		written.refused(path, strings.Split(diags.Error(), "\n")...)
	}
	var whole []*check.Script
	var names []string
	for _, path := range paths {
		src, script, diags := load(path, reg)
		path = called(path)
		switch {
		case diags.HasErrors():
			refuse(path, diags, sourcesOf(src, script)...)
			continue
		case len(script.Experiments) == 0:
			code = exitUsage
			fmt.Fprintf(os.Stderr, "%s: %s: it is a module, for scripts that say `use \"./%s\"`\n", path, noExperiment, filepath.Base(path))
			written.refused(path, noExperiment)
			continue
		}
		show(os.Stderr, diags, sourcesOf(src, script)...)
		whole, names = append(whole, script), append(names, path)
	}
	scripts, err := s.apply(whole)
	if err != nil && code != 0 { // perhaps what is missing stands in a file that is broken
		return nil, code, nil
	}
	if err != nil {
		written.refused(strings.Join(paths, " "), err.Error())
		return nil, exitUsage, err
	}
	if s.list != "" {
		return nil, code, listScripts(os.Stdout, s.list, scripts)
	}
	var params []*check.Param // of all, as the file of parameters is one for all
	for _, script := range whole {
		params = append(params, allParams(script)...)
	}
	for i, script := range scripts {
		if len(script.Experiments) == 0 {
			continue
		}
		bound, diags := check.Bind(script, allParams(script), known(given, whole[i], script))
		if diag.List(diags).HasErrors() {
			refuse(names[i], diags, append(slices.Clone(script.Sources), given.File.Shown(params))...)
			continue
		}
		ready = append(ready, prepared{names[i], script.Source, script, bound})
	}
	if code != 0 {
		return nil, code, nil
	}
	return ready, 0, nil
}

// allParams are those of the file and of its experiments.
func allParams(s *check.Script) []*check.Param {
	out := slices.Clone(s.Params)
	for _, x := range s.Experiments {
		out = append(out, x.Params...)
	}
	return out
}

// runOne runs one file; goOn is false when no further file may start.
func runOne(p prepared, f scriptFlags, reg runtime.Registries, asker ask.Asker, runs string, out io.Writer, sinks []event.Sink, written *reports, signals *interrupts) (code int, goOn bool) {
	dir, err := absolute(filepath.Dir(p.path))
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %s\n", err)
		return exitUsage, false
	}
	mixed := f.events == "-" && isTerminal(os.Stdout) // a board would be torn by the events
	view := newTerminal(out, f.plain || mixed)
	askOver(asker, view)
	run := runtime.New(runtime.Options{
		Script: p.script, Registries: reg, Params: p.Params, Secrets: p.Secrets, Redact: secret.Redactor(p.Hidden), Hidden: p.Hidden, Seed: f.seed, Dir: dir, RunsDir: runs, Version: version,
		Sinks: append([]event.Sink{view}, sinks...), Rehearse: f.rehearse, Lacks: lookAround(runs).lacks,
	})
	signals.to(run)
	res, err := run.Execute(context.Background())
	view.Close()
	if lost := view.lost(); lost != nil {
		fmt.Fprintf(os.Stderr, "chaos: %s; `chaos report` tells the run again\n", lost)
	}
	var unfit *runtime.UnfitError
	var interrupted *runtime.InterruptedError
	switch {
	case errors.As(err, &interrupted):
		fmt.Fprintf(os.Stderr, "chaos: %s\n", err)
		written.refused(p.path, err.Error())
	case errors.As(err, &unfit):
		show(os.Stderr, unfit.Problems, p.script.Sources...)
		fmt.Fprintf(os.Stderr, "\n%s: not fit to run here, nothing was started\n", p.path)
		written.refused(p.path, strings.Split(unfit.Error(), "\n")...)
	case err != nil:
		fmt.Fprintf(os.Stderr, "chaos: %s\n", err)
	}
	return res.Exit, !signals.any() && res.Exit != 6
}

// interrupts hands signals to the run that goes on. Before the first one nothing has been started, so that a signal just
// ends the command.
type interrupts struct {
	ch  chan os.Signal
	end chan struct{}
	wg  sync.WaitGroup

	mu    sync.Mutex
	run   *runtime.Run
	first string // the first signal that came
}

// listen catches signals until stop is called. One that was ignored when we started (nohup, a background job of a script)
// stays ignored.
func listen() *interrupts {
	in := &interrupts{ch: make(chan os.Signal, 8), end: make(chan struct{})}
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(in.ch, s)
		}
	}
	in.wg.Go(func() {
		for {
			select {
			case s := <-in.ch:
				in.hand(unix.SignalName(s.(syscall.Signal)))
			case <-in.end:
				return
			}
		}
	})
	return in
}

func (in *interrupts) hand(name string) {
	in.mu.Lock()
	if in.first == "" {
		in.first = name
	}
	run := in.run
	in.mu.Unlock()
	if run == nil {
		fmt.Fprintf(os.Stderr, "chaos: %s\n", &runtime.InterruptedError{Signal: name})
		os.Exit(exitInterrupted)
	}
	run.Interrupt(name)
}

// to hands the signals from now on to a run.
func (in *interrupts) to(run *runtime.Run) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.run = run
	if in.first != "" { // it came after the run before this one
		run.Interrupt(in.first)
	}
}

// any tells whether a signal came.
func (in *interrupts) any() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.first != ""
}

func (in *interrupts) stop() {
	signal.Stop(in.ch)
	close(in.end)
	in.wg.Wait()
}

// spares refuses to write over what the run reads: `--events game-day.chaos` with the script's name forgotten, or mistaken.
func (f scriptFlags) spares(read []string) error {
	for i, out := range append([]string{f.events}, f.reports...) {
		at, err := os.Stat(out)
		if err != nil || !at.Mode().IsRegular() {
			continue
		}
		for _, in := range read {
			if from, err := os.Stat(in); err == nil && os.SameFile(at, from) {
				flag := "--events"
				if i > 0 {
					flag = "--report"
				}
				return fmt.Errorf("%s %s: the run reads this file, and would write over it", flag, out)
			}
		}
	}
	return nil
}

// outputs opens where text and events go.
func outputs(f scriptFlags) (text io.Writer, sinks []event.Sink, done func() error, err error) {
	switch f.events {
	case "":
		return os.Stdout, nil, func() error { return nil }, nil
	case "-":
		sink := &jsonLines{w: os.Stdout}
		return os.Stderr, []event.Sink{sink}, func() error { return sink.err }, nil
	}
	file, err := os.OpenFile(f.events, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("--events %s: it cannot be written: %w", f.events, cause(err))
	}
	sink := &jsonLines{w: file}
	return os.Stdout, []event.Sink{sink}, func() error { return errors.Join(sink.err, file.Close()) }, nil
}

// jsonLines writes events as JSON, one a line. The first failure is kept: a run does not stop for its listeners.
type jsonLines struct {
	w   io.Writer
	err error
}

func (j *jsonLines) Event(e event.Event) {
	if j.err != nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.w.Write(append(line, '\n'))
	}
	j.err = err
}

// outside is what the command line and the environment give to a script.
func outside(f scriptFlags, paths []string, reg runtime.Registries) (g check.Given, err error) {
	if g.Flags, err = splitParams(f.params); err != nil {
		return g, err
	}
	g.Env = os.LookupEnv
	kept := map[string]string{}
	if f.secrets != "" {
		if kept, err = secret.ReadFile(f.secrets); err != nil {
			return g, fmt.Errorf("--secrets: %w", err)
		}
	}
	g.Secret = func(name string) (string, bool) {
		if v, ok := kept[name]; ok {
			return v, true
		}
		return os.LookupEnv(secret.EnvName(name))
	}
	if f.file == "" {
		return g, nil
	}
	src, diags := syntax.Load(f.file)
	if src != nil {
		g.File, diags = check.ReadParams(src)
	}
	if len(diags) > 0 {
		if src != nil && mayBeSecret(paths, reg) { // what stands where cannot be told, so none of it is quoted
			src, diags = nil, []diag.Diagnostic{diag.Errorf(diag.BadParam, diags[0].Span, "this file cannot be read as parameters. It is not quoted: there may be secrets in it")}
		}
		show(os.Stderr, diags, src)
		return g, errors.New("--params: " + f.file + " cannot be used")
	}
	return g, nil
}

// mayBeSecret tells that a script has secret parameters, or may have: it is broken, or comes with what is typed.
func mayBeSecret(paths []string, reg runtime.Registries) bool {
	for _, path := range paths {
		_, script, diags := load(path, reg)
		if diags.HasErrors() || slices.ContainsFunc(allParams(script), func(p *check.Param) bool { return p.Secret }) {
			return true
		}
	}
	return len(paths) == 0
}

func splitParams(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range list {
		name, v, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--param %s: write NAME=VALUE", p)
		}
		out[name] = v
	}
	return out, nil
}

// absolute makes a path independent of the folder that we are in.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s: the present folder does not exist any more; change to another one, or write the whole path", path)
	}
	return abs, nil
}
