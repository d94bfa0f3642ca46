// Command chaos checks and runs chaos experiments.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"chaos/lang/diag"
	"chaos/runtime/guardian"
	"chaos/runtime/hold"
	"chaos/runtime/stress"

	"github.com/spf13/cobra"
)

// version is set by the linker; see the Makefile.
var version = "devel"

func main() { os.Exit(Main()) }

// Main is main without the exit, for testscript.
func Main() int {
	// The helpers are this binary too. They must not pass through anything that could fail or print.
	hold.MaybeServe()
	stress.MaybeServe()
	if len(os.Args) == 2 && os.Args[1] == guardian.Command {
		return guardian.Serve(registries().Actions, os.Stdin, os.Stdout)
	}
	// A reader that goes away (`chaos script … | head`) must not kill a run that has something to undo.
	// Caught and dropped, not ignored: what is ignored stays so in every program that we start.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := 0
	root := newRoot(&code)
	if err := root.Execute(); errors.Is(err, syscall.EPIPE) { // the reader has seen enough
		return code
	} else if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %s\n", err)
		return exitUsage
	}
	return code
}

// flagError says what a flag wants, without the words of Go's parsers.
func flagError(cmd *cobra.Command, err error) error {
	if word, unknown := strings.CutPrefix(err.Error(), "unknown flag: --"); unknown {
		var flags []string
		for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([\w-]+)`).FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
			flags = append(flags, m[1])
		}
		if n, ok := diag.Nearest(word, flags); ok {
			return fmt.Errorf("%w; did you mean `--%s`?", err, n)
		}
		return fmt.Errorf("%w; `%s --help` lists what there is", err, cmd.CommandPath())
	}
	what, why, ok := strings.Cut(err.Error(), ": strconv.Parse")
	switch {
	case !ok:
		return err
	case strings.HasPrefix(why, "Bool"):
		return errors.New(what + ": it is true or false")
	case strings.HasPrefix(why, "Uint"):
		return errors.New(what + ": it is a whole number, from 0")
	}
	return errors.New(what + ": it is a whole number")
}

// exitUsage is the code of anything that was refused before it began.
const exitUsage = 2

// exitInterrupted is the code of a run that a signal ended.
const exitInterrupted = 4

func newRoot(code *int) *cobra.Command {
	root := &cobra.Command{
		Use:   "chaos",
		Short: "run chaos experiments, and leave nothing behind",
		Long: `chaos runs experiments written in its own small language: what is normal, what will
happen, what is broken on purpose. It watches, judges, and undoes everything.`,
		Example: `  chaos doctor                  what this machine can do
  chaos repl                    try it by hand; also plain "chaos" on a terminal
  chaos plan game-day.chaos     what a run would touch
  chaos script game-day.chaos --param base=http://127.0.0.1:8080`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	check := newCheck(code)
	check.ValidArgsFunction = completeScripts
	root.AddCommand(newScript(code), check, newPlan(code), newDoctor(code), newExplain(), newDoc(), newReport(), newCompletion(), newFmt(code), newRuns(), newStop(code), newRecover(code), newREPL(code), newVersion())
	bare(root, code)
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate(versionText())
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Short, help.Long = "show the help of a command", ""
		help.Run, help.RunE = nil, func(_ *cobra.Command, args []string) error {
			cmd, _, err := root.Find(args)
			if err == nil && cmd == root {
				err = knownCommand(root, args)
			}
			if err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		}
	}
	root.SetHelpFunc(wholeHelp(root.HelpFunc(), code))
	return root
}

// wholeHelp shows a help as print does, and says so where it could not be written, which print keeps to itself.
func wholeHelp(print func(*cobra.Command, []string), code *int) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		out := cmd.OutOrStdout()
		cmd.SetOut(&text)
		print(cmd, args)
		cmd.SetOut(out)
		if _, err := text.WriteTo(out); err != nil && !errors.Is(err, syscall.EPIPE) {
			fmt.Fprintf(os.Stderr, "chaos: %s\n", err)
			*code = exitUsage
		}
	}
}
