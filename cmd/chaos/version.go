package main

import (
	"fmt"
	"io"
	goruntime "runtime"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			io.WriteString(cmd.OutOrStdout(), versionText())
		},
	}
}

func versionText() string {
	return fmt.Sprintf("chaos %s %s/%s %s\n", version, goruntime.GOOS, goruntime.GOARCH, goruntime.Version())
}
