package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"chaos/lang/diag"

	"github.com/spf13/cobra"
)

// How many arguments a command takes, said in its own words.

func atLeastOne(usage string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("which file? Usage: %s", usage)
		}
		if slices.Contains(args, "") {
			return errors.New("the name of a file is empty; is a variable of the shell not set?")
		}
		return nil
	}
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("`%s` is one too many. Usage: %s", args[1], cmd.UseLine())
	}
	return nil
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("`%s` is one too many. Usage: %s", args[0], cmd.UseLine())
	}
	return nil
}

// otherVerbs are what other tools call a command.
var otherVerbs = map[string]string{
	"apply": "script", "exec": "script", "start": "script", "validate": "check", "lint": "check", "verify": "check", "vet": "check",
	"format": "fmt", "list": "runs", "ls": "runs", "ps": "runs", "abort": "stop", "kill": "stop", "cancel": "stop", "shell": "repl", "console": "repl",
	"destroy": "recover", "rollback": "recover", "undo": "recover", "man": "doc",
}

// knownCommand is for the root, which is reached by every word that is no command.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if strings.HasSuffix(args[0], ".chaos") {
		return fmt.Errorf("`%s` is no command; `chaos script %s` runs a script, `chaos plan %s` says what it would do", args[0], args[0], args[0])
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := diag.DidYouMean(args[0], names)
	if meant := otherVerbs[args[0]]; meant != "" {
		hint = "did you mean `" + meant + "`?"
	}
	if hint == "" {
		hint = "`chaos --help` lists them"
	}
	if len(args) > 1 && strings.HasSuffix(args[1], ".chaos") && args[0] == "run" { // `runs` lists what has run
		hint = "`chaos script " + args[1] + "` runs a script"
	}
	return fmt.Errorf("there is no command `%s`; %s", args[0], hint)
}
