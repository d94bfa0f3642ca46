package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chaos/runtime/event"
	"chaos/runtime/recovery"
	rep "chaos/runtime/report"

	"github.com/spf13/cobra"
)

// reportFormats are the forms in which chaos report tells a run.
var reportFormats = append([]string{"text"}, rep.Formats...)

func newReport() *cobra.Command {
	var runs, format string
	c := &cobra.Command{
		Use:   "report [RUN]",
		Short: "tell a past run again, or write its report",
		Long: `Reads the journal of a run and writes a report of it. RUN is a run's id, the start of one, or its
folder; without RUN it is the latest. A run that never ended is reported as far as it came.

--format is text (as it was told live), html (a page with charts), md (for a pull request), json or
junit; docs/report.md describes them. The exit code is 0 when the report is written, whatever it says.`,
		Example: `  chaos report
  chaos report 20261122-0612 --format md > report.md
  chaos report --format html > report.html
  chaos report --format json | jq '.runs[0].experiments[].verdict'`,
		Args:              atMostOne,
		ValidArgsFunction: completeRuns(&runs, func(*recovery.Run) bool { return true }),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := runsDir(runs)
			if err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return reportRun(cmd.OutOrStdout(), dir, name, format)
		},
	}
	c.Flags().StringVar(&runs, "runs", "", runsHelp)
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the report: text, md, html, json or junit")
	c.RegisterFlagCompletionFunc("format", fixed(reportFormats...))
	return c
}

func reportRun(w io.Writer, runs, name, format string) error {
	if !slices.Contains(reportFormats, format) {
		return noFormat(format, reportFormats)
	}
	dir, err := runFolder(runs, name)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, event.JournalName))
	if err != nil {
		return fmt.Errorf("the run's journal cannot be read: %w", cause(err))
	}
	defer f.Close()
	if format == "text" {
		return tellAgain(w, f, dir)
	}
	r, err := rep.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return rep.Write(w, format, r)
}

// runFolder finds the folder of a run.
func runFolder(runs, name string) (string, error) {
	if _, err := os.Stat(filepath.Join(name, event.JournalName)); name != "" && err == nil {
		return name, nil
	}
	if name == "" {
		return latest(runs)
	}
	r, err := recovery.Find(runs, name, nil)
	if err != nil {
		return "", err
	}
	return r.Dir, nil
}

// latest is the folder of the run that started last. Ids tell only the second, so their order is not enough.
func latest(runs string) (string, error) {
	list, err := recovery.List(runs)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("there is no run in %s", runs)
	}
	return slices.MaxFunc(list, func(a, b *recovery.Run) int { return a.Started.Compare(b.Started) }).Dir, nil
}

// tellAgain tells a run as it was told live.
func tellAgain(w io.Writer, journal io.Reader, dir string) error {
	t := newTerminal(w, true) // plain: there is nothing to wait for
	t.colour = colourful(w)
	told, ended := false, false
	for e, err := range event.ReadJournal(journal) {
		var torn *event.TornError
		if errors.As(err, &torn) {
			continue
		}
		if err != nil {
			return err
		}
		switch e.Data.(type) {
		case event.RunStarted:
			told = true
		case event.RunEnded:
			ended = true
		}
		t.Event(e)
	}
	t.Close()
	if !told {
		return fmt.Errorf("%s: no run starts in its journal", dir)
	}
	if !ended {
		fmt.Fprintf(w, "\n%s\n", unended(dir))
	}
	return nil
}

// unended says why a journal has no end.
func unended(dir string) string {
	r, err := recovery.Read(dir)
	switch {
	case err != nil:
		return "this run has no end in its journal: it runs still, or it was killed"
	case r.Alive:
		return fmt.Sprintf("this run goes on (pid %d)", r.Pid)
	case len(r.Open) > 0:
		return fmt.Sprintf("this run never ended: it was killed, and %s may still be there: %s", plural(len(r.Open), "fault"), r.Command("recover"))
	}
	return "this run never ended: it was killed, and nothing of it is left"
}

// reports are the files that --report asks for.
type reports struct {
	*rep.Builder
	files []reportFile
}

type reportFile struct {
	*os.File
	format string
}

// openReports opens, and empties, every report before anything runs: what cannot be written is refused now, and a run that
// is killed leaves an empty report rather than an old one.
func openReports(paths []string) (*reports, error) {
	r := &reports{Builder: rep.NewBuilder()}
	formats := make([]string, len(paths))
	for i, p := range paths {
		var err error
		if formats[i], err = rep.FormatOf(p); err != nil {
			return nil, fmt.Errorf("--report %s: %w", p, err)
		}
	}
	for i, p := range paths {
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("--report %s: it cannot be written: %w", p, cause(err))
		}
		r.files = append(r.files, reportFile{f, formats[i]})
	}
	return r, nil
}

func (r *reports) close() {
	for _, f := range r.files {
		f.Close()
	}
}

// write writes all reports. One that fails is told, and false.
func (r *reports) write(problems io.Writer) bool {
	all := true
	for _, f := range r.files {
		err := rep.Write(f, f.format, r.Report())
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			fmt.Fprintf(problems, "chaos: the report %s could not be written: %s\n", f.Name(), cause(err))
			all = false
		}
	}
	return all
}

// refused notes a script that is not started, with what was said about it.
func (r *reports) refused(path string, problems ...string) {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = strings.TrimSpace(p)
	}
	r.Refused(path, lines...)
}
