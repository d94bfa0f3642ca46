package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/runtime"
	"chaos/runtime/recovery"
	"chaos/runtime/secret"

	"github.com/spf13/cobra"
)

var planFormats = []string{"text", "json", "md"}

type planFlags struct {
	script scriptFlags
	format string
}

func newPlan(code *int) *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan FILE…",
		Short: "say everything that a run would touch, and touch nothing",
		Long: `Resolves the targets of each step as they are now, and says what the step does, what ends its
fault if chaos is killed, how it is undone, what it needs, and how long all may take. It only reads.

What setup has yet to start is looked up again after it; what depends on a measurement, right before
the step. docs/plan.md describes the JSON.

Exits with 0 when the script fits this machine, with 2 when a run would be refused.`,
		Example: `  chaos plan game-day.chaos
  chaos plan game-day.chaos --param base=http://127.0.0.1:8080 --only "a slow database"
  chaos plan game-day.chaos --format md >> "$GITHUB_STEP_SUMMARY"
  chaos plan game-day.chaos --format json | jq '.scripts[].experiments[].needs'`,
		Args: atLeastOne("chaos plan FILE…"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			*code, err = runPlan(cmd.OutOrStdout(), args, f)
			return err
		},
	}
	s := &f.script
	c.Flags().StringVar(&f.format, "format", "text", "`FORMAT` of the output: text, json or md")
	c.Flags().StringArrayVarP(&s.params, "param", "p", nil, "set a parameter: `NAME=VALUE` (repeatable)")
	c.Flags().StringVar(&s.file, "params", "", paramsHelp)
	c.Flags().StringVar(&s.secrets, "secrets", "", secretsHelp)
	c.Flags().StringVar(&s.runs, "runs", "", runsHelp)
	c.Flags().BoolVarP(&s.yes, "yes", "y", false, "as if every question of the script (ask) were answered with yes")
	c.Flags().StringArrayVar(&s.selected.only, "only", nil, "plan only the experiment with this `TITLE` (repeatable)")
	c.Flags().StringArrayVar(&s.selected.tags, "tag", nil, "plan only experiments with this tag `T` (repeatable: any of them)")
	c.ValidArgsFunction = completeScripts
	c.RegisterFlagCompletionFunc("format", fixed(planFormats...))
	c.RegisterFlagCompletionFunc("param", ofScripts(completeParams))
	c.RegisterFlagCompletionFunc("only", ofScripts(completeTitles))
	c.RegisterFlagCompletionFunc("tag", ofScripts(completeTags))
	return c
}

// The JSON of `chaos plan`; docs/plan.md describes it. Fields may be added.
type (
	planned struct {
		Version string          `json:"version"`
		Fit     bool            `json:"fit"`
		Scripts []plannedScript `json:"scripts"`
	}
	plannedScript struct {
		Script      string                    `json:"script"`
		Fit         bool                      `json:"fit"`
		Params      map[string]string         `json:"params"`
		Experiments []*runtime.ExperimentPlan `json:"experiments"`
		Diagnostics []diag.Diagnostic         `json:"diagnostics"`
		Mistakes    []string                  `json:"mistakes,omitempty"` // of a script that does not check

		sources []*diag.Source
	}
)

// module tells that the file is no script: what it gives is planned with the scripts that use it.
func (s plannedScript) module() bool { return slices.Equal(s.Mistakes, []string{noExperiment}) }

func runPlan(out io.Writer, paths []string, f planFlags) (int, error) {
	if !slices.Contains(planFormats, f.format) {
		return exitUsage, noFormat(f.format, planFormats)
	}
	reg := registriesAsking(newAsker(f.script.yes))
	given, err := outside(f.script, paths, reg)
	if err != nil {
		return exitUsage, err
	}
	runs := f.script.runs
	if runs == "" { // nothing is written there, so that it is missing matters to the run only
		runs, _ = recovery.DefaultDir()
	}
	refused, err := openReports(nil)
	if err != nil {
		return exitUsage, err
	}
	ready, code, err := prepare(paths, given, f.script.selected, reg, refused, "there is no plan")
	if err != nil {
		return exitUsage, err
	}
	doc := planned{Version: version, Fit: code == 0, Scripts: []plannedScript{}}
	for _, r := range refused.Report().NotStarted {
		doc.Scripts = append(doc.Scripts, plannedScript{Script: r.Script, Params: map[string]string{}, Experiments: []*runtime.ExperimentPlan{}, Diagnostics: []diag.Diagnostic{}, Mistakes: r.Problems})
	}
	for _, p := range ready {
		s, err := planOne(p, reg, runs)
		if err != nil {
			return exitUsage, err
		}
		doc.Scripts = append(doc.Scripts, s)
		if doc.Fit = doc.Fit && s.Fit; !s.Fit {
			code = exitUsage
		}
	}
	if err := doc.write(out, f.format); err != nil {
		return exitUsage, err
	}
	for _, s := range doc.Scripts {
		if len(s.Diagnostics) > 0 {
			fmt.Fprintln(os.Stderr)
			show(os.Stderr, s.Diagnostics, s.sources...)
			fmt.Fprintf(os.Stderr, "\n%s: not fit to run here\n", s.Script)
		}
	}
	return code, nil
}

// noFormat refuses a --format that a command does not have.
func noFormat(format string, formats []string) error {
	last := len(formats) - 1
	return fmt.Errorf("--format is %s or %s, not %q%s", strings.Join(formats[:last], ", "), formats[last], format, near(format, formats))
}

// near suggests the word that may have been meant.
func near(word string, among []string) string {
	if n, ok := diag.Nearest(word, among); ok {
		return fmt.Sprintf(" (did you mean %s?)", n)
	}
	return ""
}

func planOne(p prepared, reg runtime.Registries, runs string) (plannedScript, error) {
	dir, err := absolute(filepath.Dir(p.path))
	if err != nil {
		return plannedScript{}, err
	}
	hide, here := secret.Redactor(p.Hidden), lookAround(runs)
	run := runtime.New(runtime.Options{
		Lacks:  here.lacks,
		Script: p.script, Registries: reg, Params: p.Params, Secrets: p.Secrets, Redact: hide, Dir: dir, RunsDir: runs, Version: version,
	})
	plans, problems := run.Plan(context.Background())
	out := plannedScript{Script: p.path, Fit: len(problems) == 0, Params: map[string]string{}, Experiments: plans, Diagnostics: problems, sources: p.script.Sources}
	for _, x := range plans {
		for i, n := range x.Needs { // what the machine has, whoever the target will be
			byStep := slices.ContainsFunc(n.For, func(by string) bool { return !strings.HasPrefix(by, "probe ") })
			if n.Kind == "kernel" && !byStep { // a probe looked when it was opened; to try it out is more than a plan may
				continue
			}
			if n.State == "unknown" && here.need(spec.Need{Kind: n.Kind, Name: n.Name, Install: n.Install}).Status == yes {
				x.Needs[i].State = "here"
			}
		}
	}
	if problems == nil {
		out.Diagnostics = []diag.Diagnostic{}
	}
	for name, v := range p.Params {
		if out.Params[name] = v.String(); hide != nil {
			out.Params[name] = hide(out.Params[name])
		}
		if slices.ContainsFunc(allParams(p.script), func(d *check.Param) bool { return d.Name == name && d.Secret }) {
			out.Params[name] = "secret"
		}
	}
	return out, nil
}

func (p planned) write(w io.Writer, format string) error {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(p)
	case "md":
		_, err := io.WriteString(w, p.markdown())
		return err
	}
	_, err := io.WriteString(w, p.text(newPlanStyle(w)))
	return err
}
