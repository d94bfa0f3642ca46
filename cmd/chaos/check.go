package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newCheck(code *int) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE…",
		Short: "find all mistakes in scripts, without running anything",
		Long:  "Checks each script whole: words, names, types, units, places. Exits with 0 when there is none, with 2 otherwise.",
		Example: `  chaos check game-day.chaos
  chaos check experiments/*.chaos`,
		Args: atLeastOne("chaos check FILE…"),
		RunE: func(_ *cobra.Command, args []string) error {
			reg := families()
			bad := 0
			for _, path := range args {
				src, script, diags := load(path, reg)
				show(os.Stderr, diags, src)
				if diags.HasErrors() {
					bad++
					if n, _ := count(diags); true {
						fmt.Fprintf(os.Stderr, "\n%s: %s\n", path, plural(n, "error"))
					}
					continue
				}
				fmt.Fprintf(os.Stdout, "%s: %s, no mistakes\n", path, plural(len(script.Experiments), "experiment"))
			}
			if bad > 0 {
				*code = exitUsage
			}
			return nil
		},
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func atLeastOne(usage string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("which file? Usage: %s", usage)
		}
		return nil
	}
}
