package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"chaos/lang/diag"

	"github.com/spf13/cobra"
)

func newExplain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [CODE]",
		Short: "explain a message at length, with a wrong and a right example",
		Long:  "Explains what stands in brackets in a message: a code, or the name of a warning. Without one it lists them all.",
		Example: `  chaos explain E204
  chaos explain no-steady
  chaos explain`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("one code at a time. Usage: chaos explain [CODE]")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var out []string
			for _, c := range diag.Codes() {
				out = append(out, string(c))
			}
			return append(out, diag.LintNames()...), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var text bytes.Buffer
			if len(args) == 0 {
				listCodes(&text)
			} else if err := explain(&text, args[0], colourful(os.Stdout)); err != nil {
				return err
			}
			_, err := text.WriteTo(os.Stdout)
			return err
		},
	}
}

// listCodes writes all codes, one line each.
func listCodes(w io.Writer) {
	for _, c := range diag.Codes() {
		e, _ := diag.Explain(string(c))
		if name := c.Lint(); name != "" {
			fmt.Fprintf(w, "%s  %s (%s)\n", c, e.Title, name)
			continue
		}
		fmt.Fprintf(w, "%s  %s\n", c, e.Title)
	}
}

func explain(w io.Writer, name string, colour bool) error {
	e, ok := diag.Explain(strings.Trim(name, "[]"))
	if !ok {
		var all []string
		for _, c := range diag.Codes() {
			all = append(all, string(c))
		}
		if near, ok := diag.Nearest(name, append(all, diag.LintNames()...)); ok {
			return fmt.Errorf("there is no code `%s`; did you mean `%s`?", name, near)
		}
		return fmt.Errorf("there is no code `%s`; `chaos explain` lists them all", name)
	}
	bold := func(s string) string { return s }
	if colour {
		bold = func(s string) string { return diag.ANSI("bold", s) }
	}
	title := string(e.Code) + ": " + e.Title
	fmt.Fprintf(w, "%s\n\n%s\n", bold(title), e.Text)
	if name := e.Code.Lint(); name != "" && e.Code != diag.IgnoresWrong {
		fmt.Fprintf(w, "\nTo silence it where it stands: // lint:ignore %s REASON\n", name)
	}
	if e.None != "" {
		fmt.Fprintf(w, "\nThere is no example: %s.\n", e.None)
		return nil
	}
	fmt.Fprintf(w, "\n%s\n\n%s\n%s\n\n%s", bold("Wrong"), indent(e.Wrong), bold("Right"), indent(e.Right))
	return nil
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("  ")
		}
		b.WriteString(line)
	}
	return b.String()
}
