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
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), versionText())
			return err
		},
	}
}

func versionText() string {
	return fmt.Sprintf("chaos %s %s/%s %s\n", version, goruntime.GOOS, goruntime.GOARCH, goruntime.Version())
}
