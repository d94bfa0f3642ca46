package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/lint"
	"chaos/lang/spec"

	"github.com/spf13/cobra"
)

// checkFormats are the forms in which chaos check writes what it found.
var checkFormats = []string{"text", "json", "github"}

type checkFlags struct {
	format string
	strict bool
}

func newCheck(code *int) *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check FILE…",
		Short: "find all mistakes in scripts, without running anything",
		Long: `Checks each script whole: words, names, types, units, places. What checks is looked at once more, for
what is right and yet looks wrong; such a warning is silenced where it stands. - is stdin.

  // lint:ignore NAME reason

Exits with 2 on any error, with 0 otherwise. "chaos explain CODE" explains a message at length.`,
		Example: `  chaos check game-day.chaos
  chaos check --strict experiments/*.chaos
  chaos check --format github experiments/*.chaos`,
		Args: atLeastOne("chaos check FILE…"),
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			*code, err = runCheck(os.Stdout, os.Stderr, args, f)
			return err
		},
	}
	c.Flags().StringVar(&f.format, "format", "text", "`FORMAT` of the output: text, json or github")
	c.RegisterFlagCompletionFunc("format", fixed(checkFormats...))
	c.Flags().BoolVar(&f.strict, "strict", false, "exit with 2 on warnings too")
	return c
}

// runCheck checks all files, whatever is wrong with the first. Text for people goes to problems, all that a tool wants to out.
func runCheck(out, problems io.Writer, paths []string, f checkFlags) (int, error) {
	if !slices.Contains(checkFormats, f.format) {
		return exitUsage, noFormat(f.format, checkFormats)
	}
	reg := registries()
	code := 0
	var all diag.List
	for i, path := range paths {
		sources, diags, experiments := checkFile(path, reg)
		path = called(path)
		errors, warnings := count(diags)
		if errors > 0 || f.strict && warnings > 0 {
			code = exitUsage
		}
		all = append(all, diags...)
		if f.format != "text" {
			continue
		}
		if i > 0 && len(diags) > 0 {
			fmt.Fprintln(problems)
		}
		show(problems, diags, sources...)
		if len(diags) > 0 {
			fmt.Fprintf(problems, "\n%s: %s\n", path, counts(errors, warnings))
			continue
		}
		fmt.Fprintf(out, "%s: %s, no mistakes\n", path, plural(experiments, "experiment"))
	}
	switch f.format {
	case "json":
		return code, diag.JSON(out, all)
	case "github":
		diag.GitHub(out, all)
	}
	return code, nil
}

// checkFile finds the mistakes of one file and of what it uses; where there is none, what looks like one.
func checkFile(path string, cat spec.Catalogue) (sources []*diag.Source, diags diag.List, experiments int) {
	src, file, script, diags := loadFile(path, cat)
	if script == nil {
		return []*diag.Source{src}, diags, 0
	}
	if !diags.HasErrors() {
		diags = append(diags, lint.Lint(file, script)...)
		diags.Sort()
	}
	return append(script.Sources, src), diags, len(script.Experiments)
}

// counts says how many there are of each, as "2 errors, 1 warning".
func counts(errors, warnings int) string {
	var parts []string
	if errors > 0 {
		parts = append(parts, plural(errors, "error"))
	}
	if warnings > 0 {
		parts = append(parts, plural(warnings, "warning"))
	}
	return strings.Join(parts, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
