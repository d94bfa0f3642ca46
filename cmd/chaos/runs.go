package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"chaos/runtime/recovery"

	"github.com/spf13/cobra"
)

// runLine is a run in the JSON of `chaos runs`.
type runLine struct {
	Run     string    `json:"run"`
	Started time.Time `json:"started"`
	Script  string    `json:"script"`
	Status  string    `json:"status"`
	Exit    *int      `json:"exit"`
	Open    int       `json:"open_faults"`
	Folder  string    `json:"folder"`
}

var runsFormats = []string{"text", "json"}

func newRuns() *cobra.Command {
	var runs, format string
	var most int
	c := &cobra.Command{
		Use:   "runs",
		Short: "list past and present runs, newest first",
		Long: `Lists runs with the time of their start, what became of them, and their script. A run that was killed
and left something behind says so; "chaos recover" undoes that.

As JSON: [{run, started, script, status, exit, open_faults, folder}]; exit is null until a run has ended.
Names are stable; fields may be added.`,
		Example: `  chaos runs
  chaos runs -n 0 | grep -v 'exit 0'
  chaos runs --format json | jq '.[] | select(.open_faults > 0)'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 0 {
				return fmt.Errorf("--most is how many at most, not %d; 0 is for all", most)
			}
			if !slices.Contains(runsFormats, format) {
				return noFormat(format, runsFormats)
			}
			dir, err := runsDir(runs)
			if err != nil {
				return err
			}
			list, err := recovery.List(dir)
			if err != nil {
				return err
			}
			if most > 0 && len(list) > most {
				list = list[:most]
			}
			lines := make([]runLine, len(list))
			for i, r := range list {
				lines[i] = runLine{Run: r.ID, Started: r.Started, Script: r.Script, Status: r.Status(), Open: len(r.Open), Folder: r.Dir}
				if r.Ended {
					lines[i].Exit = &r.Exit
				}
			}
			out := cmd.OutOrStdout()
			if format == "json" {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(lines)
			}
			if len(lines) == 0 {
				fmt.Fprintf(out, "no runs in %s\n", dir)
				return nil
			}
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "RUN\tSTARTED\tSTATUS\tSCRIPT")
			for _, l := range lines {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Run, l.Started.Local().Format(time.DateTime), l.Status, l.Script)
			}
			return w.Flush()
		},
	}
	c.Flags().StringVar(&runs, "runs", "", runsHelp)
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the list: text or json")
	c.RegisterFlagCompletionFunc("format", fixed(runsFormats...))
	c.Flags().IntVarP(&most, "most", "n", 20, "list `N` at most; 0 for all")
	return c
}
