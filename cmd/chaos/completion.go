package main

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/value"
	"chaos/runtime"

	"github.com/spf13/cobra"
)

// shells that have a completion script, and how it is installed there.
var shells = []struct {
	name, install string
	write         func(root *cobra.Command, w io.Writer) error
}{
	{"bash", `  now:     source <(chaos completion bash)
  always:  chaos completion bash > ~/.local/share/bash-completion/completions/chaos`, bash},
	{"zsh", `  now:     source <(chaos completion zsh)
  always:  chaos completion zsh > "${fpath[1]}/_chaos"
  ~/.zshrc must have: autoload -U compinit; compinit`, func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) }},
	{"fish", `  now:     chaos completion fish | source
  always:  chaos completion fish > ~/.config/fish/completions/chaos.fish`, func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
	{"powershell", `  now:     chaos completion powershell | Out-String | Invoke-Expression
  always:  add that line to the file that $PROFILE names`, func(root *cobra.Command, w io.Writer) error { return root.GenPowerShellCompletionWithDesc(w) }},
}

// bash writes cobra's script, with what that takes from the package bash-completion, so that it works without.
func bash(root *cobra.Command, w io.Writer) error {
	var script strings.Builder
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	own := strings.NewReplacer(`_get_comp_words_by_ref "$@" cur prev words cword`, "__chaos_words", "_filedir", "__chaos_filedir")
	_, err := io.WriteString(w, bashHelpers+own.Replace(script.String()))
	return err
}

//go:embed completion.bash
var bashHelpers string

func newCompletion() *cobra.Command {
	var names []string
	var hints strings.Builder
	for _, s := range shells {
		names = append(names, s.name)
		fmt.Fprintf(&hints, "\n%s\n%s\n", s.name, s.install)
	}
	return &cobra.Command{
		Use:   "completion " + strings.Join(names, "|"),
		Short: "write a completion script for your shell",
		Long: `Writes a script that completes commands, flags, script files, the experiments, tags and
parameters of a script, past runs, and the names of actions and probes.
` + strings.TrimRight(hints.String(), "\n"),
		Example:               "  source <(chaos completion bash)",
		DisableFlagsInUseLine: true,
		ValidArgs:             names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("for which shell? One of %s", strings.Join(names, ", "))
			}
			if !slices.Contains(names, args[0]) {
				return fmt.Errorf("there is no completion for `%s`; %s", args[0], diag.DidYouMean(args[0], names))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			i := slices.Index(names, args[0])
			return shells[i].write(cmd.Root(), cmd.OutOrStdout())
		},
	}
}

// completion of one word, as cobra wants it.
type completion = func(cmd *cobra.Command, args []string, part string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeScripts completes script files.
func completeScripts(_ *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"chaos"}, cobra.ShellCompDirectiveFilterFileExt
}

// fixed completes a flag with few values.
func fixed(values ...string) completion {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeDoc completes what `chaos doc` can look up.
func completeDoc(_ *cobra.Command, args []string, part string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, e := range reference().Entries() {
		if strings.HasPrefix(e.Name, part) {
			out = append(out, cobra.CompletionWithDesc(e.Name, e.Help))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// ofScripts completes a flag from the scripts that stand on the command line already. A script with mistakes gives what
// is right in it.
func ofScripts(list func(*check.Script, string) ([]cobra.Completion, cobra.ShellCompDirective)) completion {
	return func(_ *cobra.Command, args []string, part string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return cobra.AppendActiveHelp(nil, "write the script's name first, then the flag: its contents are completed"), cobra.ShellCompDirectiveNoFileComp
		}
		reg := registries()
		var out []cobra.Completion
		directive := cobra.ShellCompDirectiveNoFileComp
		for _, path := range args {
			script := outline(path, reg)
			if script == nil {
				continue
			}
			some, d := list(script, part)
			directive |= d
			for _, s := range some {
				if strings.HasPrefix(s, part) && !slices.Contains(out, s) {
					out = append(out, s)
				}
			}
		}
		return out, directive
	}
}

// outline is what can be read of a script, nil when that is nothing.
func outline(path string, reg runtime.Registries) *check.Script {
	if path == "-" { // stdin is the shell's
		return nil
	}
	_, script, _ := load(path, reg)
	return script
}

func completeTitles(s *check.Script, _ string) (out []cobra.Completion, d cobra.ShellCompDirective) {
	for _, x := range s.Experiments {
		out = append(out, cobra.CompletionWithDesc(x.Title, firstLine(x.Help)))
	}
	return out, d
}

func completeTags(s *check.Script, _ string) (out []cobra.Completion, d cobra.ShellCompDirective) {
	for _, t := range tagsOf(s.Experiments) {
		out = append(out, t)
	}
	return out, d
}

// completeParams completes `name=` with the parameter's help, and behind it the values that are allowed.
func completeParams(s *check.Script, part string) (out []cobra.Completion, d cobra.ShellCompDirective) {
	name, _, valued := strings.Cut(part, "=")
	for _, p := range allParams(s) {
		if !valued {
			out = append(out, cobra.CompletionWithDesc(p.Name+"=", paramHelp(p)))
			d = cobra.ShellCompDirectiveNoSpace
			continue
		}
		if p.Name != name {
			continue
		}
		for _, v := range choices(p) {
			text := v.String()
			if v.T.Kind == value.String {
				text = v.Text()
			}
			out = append(out, name+"="+text)
		}
	}
	return out, d
}

// choices are the values that a parameter may have, or else its default.
func choices(p *check.Param) []value.Value {
	switch {
	case p.In != nil:
		if list, ok := p.In.Const(); ok {
			return list.Items()
		}
	case p.Type.Kind == value.Bool:
		return []value.Value{value.BoolOf(true), value.BoolOf(false)}
	case p.Default != nil:
		if v, ok := p.Default.Const(); ok {
			return []value.Value{v}
		}
	}
	return nil
}

func paramHelp(p *check.Param) string {
	text := p.Type.String()
	if p.Default != nil {
		text += " = " + p.Default.Text()
	}
	if help := firstLine(p.Help); help != "" {
		text = help + " (" + text + ")"
	}
	return text
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}
