package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"chaos/lang/value"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/filefail"
	"chaos/runtime/hold"
	"chaos/runtime/recovery"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// exitLeft is the code for faults that are still there.
const exitLeft = 6

func newRecover(code *int) *cobra.Command {
	var runs string
	c := &cobra.Command{
		Use:   "recover [RUN]",
		Short: "undo what a dead run left behind",
		Long: `Undoes the faults of runs whose process is gone, newest first, from their journals.
Without RUN it looks at all runs, and ends what the helpers of dead ones left in their cgroups. What cannot be undone is
named, with the command that a human can run.
Exits with 0 when nothing is left, with 6 when something is.`,
		Example: `  chaos recover
  chaos recover 20261122-0612`,
		Args:              atMostOne,
		ValidArgsFunction: completeRuns(&runs, func(r *recovery.Run) bool { return r.Unrecovered() }),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := runsDir(runs)
			if err != nil {
				return err
			}
			list, err := chosen(dir, runs != "", args)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			*code, err = recoverRuns(cmd.Context(), out, list, len(args) > 0)
			if err == nil && len(args) == 0 {
				err = endOrphans(cmd.Context(), out)
			}
			if err == nil && *code == 0 {
				fmt.Fprintln(out, "nothing is left of dead runs")
			}
			return err
		},
	}
	c.Flags().StringVar(&runs, "runs", "", runsHelp)
	return c
}

// endOrphans ends what dead helpers left that no undo record names.
func endOrphans(ctx context.Context, out io.Writer) error {
	ended, err := hold.EndOrphans(ctx)
	for _, what := range ended {
		fmt.Fprintf(out, "ended what a dead run had started: %s\n", what)
	}
	return err
}

// What several commands say of one flag.
const (
	paramsHelp  = "take parameters from a JSON or YAML `FILE`; --param goes over it, the environment (CHAOS_PARAM_name) under it"
	secretsHelp = "take secrets from a `FILE` of NAME=VALUE lines that nobody else may read, before the environment (CHAOS_SECRET_NAME)"
	runsHelp    = "record and find runs in `DIR` (default: the user's state folder)"
)

func runsDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	return recovery.DefaultDir()
}

// chosen is the run that was named, or else every run.
func chosen(dir string, given bool, args []string) ([]*recovery.Run, error) {
	if len(args) == 0 {
		if _, err := os.Stat(dir); given && err != nil {
			return nil, fmt.Errorf("--runs: %s: %s", dir, filefail.Why(err))
		}
		return recovery.List(dir)
	}
	r, err := recovery.Find(dir, args[0], nil)
	if err != nil {
		return nil, err
	}
	return []*recovery.Run{r}, nil
}

// patience is how long `chaos recover` waits for the guardian of a run, and for the end of a runner that was killed.
const patience = time.Minute

// recoverRuns undoes what can be undone. A run that lives is left alone; when it was named, that is worth a word.
func recoverRuns(ctx context.Context, out io.Writer, list []*recovery.Run, named bool) (int, error) {
	code := 0
	for _, r := range list {
		if !r.Alive && r.Guarded && len(r.Open) > 0 {
			fmt.Fprintf(out, "run %s is being undone by its guardian: waiting\n", r.ID)
		}
		r = recovery.Settle(ctx, r, patience)
		switch why := r.Unsettled(); {
		case why != "":
			code = exitLeft
			fmt.Fprintf(out, "run %s: NOT UNDONE: %s\n", r.ID, why)
		case r.Alive && named:
			return exitUsage, fmt.Errorf("run %s is alive (pid %d): `%s` ends it, and undoes everything", r.ID, r.Pid, r.Command("stop"))
		case r.Alive && len(r.Open) > 0:
			fmt.Fprintf(out, "run %s is alive (pid %d), with %s in place: left alone; `%s` ends it\n", r.ID, r.Pid, plural(len(r.Open), "fault"), r.Command("stop"))
		}
		if !r.Alive && !r.Guarded && !r.Ended {
			command.EndLitter(r.Dir)
		}
		if !r.Unrecovered() {
			continue
		}
		// Whoever holds the lock is the only one who undoes: two of us at once would get into each other's way.
		id := r.ID
		r, lock, err := takeOver(ctx, r)
		if err != nil { // what the other runs left is undone all the same
			code = exitLeft
			fmt.Fprintf(out, "run %s: NOT UNDONE: %s\n", id, err)
			continue
		}
		if len(r.Open) == 0 && r.Damaged == "" {
			lock.Close()
			continue
		}
		fmt.Fprintf(out, "run %s of %s, %s: undoing %s\n", r.ID, r.Script, r.Started.Local().Format(time.DateTime), plural(len(r.Open), "fault"))
		e := env.Env{Dir: r.Folder, RunDir: r.Dir, Log: func(string) {}}
		left, err := recovery.Undo(registries().Actions, e, r, "recover")
		lock.Close()
		if r.Damaged != "" {
			code = exitLeft
			fmt.Fprintf(out, "  nobody knows what else it did: %s; look at the machine, then remove %s\n", r.Damaged, r.Dir)
		}
		for _, l := range left {
			code = exitLeft
			fmt.Fprintf(out, "  NOT UNDONE %s: %s\n", l.Text, l.Error)
			if l.Manual != "" {
				fmt.Fprintf(out, "    by hand: %s\n", l.Manual)
			}
		}
		if err != nil {
			code = exitLeft
			fmt.Fprintf(out, "  its journal cannot be finished: %s\n", filefail.Why(err))
			continue
		}
		if len(left) == 0 && r.Damaged == "" {
			fmt.Fprintf(out, "  undone\n")
		}
	}
	return code, nil
}

// takeOver locks a dead run, and reads it again: a guardian that was about to start when its runner was killed takes the lock
// late, and holds it until it has undone what it knows.
func takeOver(ctx context.Context, r *recovery.Run) (*recovery.Run, *os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		lock, err := recovery.Lock(r.Dir, recovery.GuardianLock)
		held := errors.Is(err, unix.EWOULDBLOCK)
		if err != nil && !held {
			return nil, nil, fmt.Errorf("its lock cannot be taken: %s", filefail.Why(err))
		}
		if held && ctx.Err() != nil {
			return nil, nil, fmt.Errorf("somebody else is undoing it and not done yet; `fuser %s` names who", filepath.Join(r.Dir, recovery.GuardianLock))
		}
		again, err := recovery.Read(r.Dir)
		if err != nil {
			if lock != nil {
				lock.Close()
			}
			return nil, nil, err
		}
		if !held {
			return again, lock, nil
		}
		r = recovery.Settle(ctx, again, patience)
	}
}

func completeRuns(runs *string, keep func(*recovery.Run) bool) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		dir, err := runsDir(*runs)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		list, _ := recovery.List(dir)
		var out []cobra.Completion
		for _, r := range list {
			if keep(r) {
				out = append(out, cobra.CompletionWithDesc(r.ID, r.Status()+" "+r.Script))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func newStop(code *int) *cobra.Command {
	var runs string
	c := &cobra.Command{
		Use:   "stop [RUN]",
		Short: "abort a run; it undoes everything",
		Long: `Asks a living run to abort, waits until it has undone everything, and exits with the run's exit code:
4 as a rule, 6 when something could not be undone. Without RUN: the newest that lives. Exits with 2 when
no run lives. A prompt (chaos repl) is stopped in the same way.`,
		Example: `  chaos stop
  chaos stop 20261122-0612`,
		Args:              atMostOne,
		ValidArgsFunction: completeRuns(&runs, func(r *recovery.Run) bool { return r.Alive }),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := runsDir(runs)
			if err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			r, err := recovery.Find(dir, name, func(r *recovery.Run) bool { return r.Alive })
			if errors.Is(err, os.ErrNotExist) {
				return errors.New("no run is alive")
			}
			if err != nil {
				return err
			}
			if !r.Alive {
				return fmt.Errorf("run %s is not alive: %s", r.ID, r.Status())
			}
			*code, err = stopRun(cmd.OutOrStdout(), r)
			return err
		},
	}
	c.Flags().StringVar(&runs, "runs", "", runsHelp)
	return c
}

// stopRun signals the process that holds the run's lock. The pid stands in the journal; the lock shows that it still is
// the runner, and not somebody who got its number.
func stopRun(out io.Writer, r *recovery.Run) (int, error) {
	fd, err := unix.PidfdOpen(r.Pid, 0)
	if err != nil {
		return exitUsage, fmt.Errorf("run %s: pid %d: %w", r.ID, r.Pid, err)
	}
	defer unix.Close(fd)
	again, err := recovery.Read(r.Dir)
	if err != nil || !again.Alive {
		return 0, nil
	}
	// One that is stopping already is waited for: a second signal would end its look at the steady state.
	if again.Aborting {
		fmt.Fprintf(out, "run %s: it is being aborted already\n", r.ID)
	} else if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return exitUsage, fmt.Errorf("run %s: pid %d: %w", r.ID, r.Pid, err)
	}
	fmt.Fprintf(out, "run %s: aborting, undoing everything\n", r.ID)
	for {
		again, err := recovery.Read(r.Dir)
		if err != nil {
			return exitUsage, err
		}
		if !again.Alive {
			if !again.Ended {
				return exitLeft, fmt.Errorf("run %s died: `%s`", r.ID, r.Command("recover"))
			}
			fmt.Fprintf(out, "run %s: ended with %d after %s\n", r.ID, again.Exit, value.DurationOf(time.Since(r.Started)).Short())
			return again.Exit, nil
		}
		<-time.After(50 * time.Millisecond)
	}
}
