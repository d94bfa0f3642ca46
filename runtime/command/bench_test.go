package command

import (
	"bytes"
	"context"
	"os/exec"
	"testing"
	"time"
)

// BenchmarkRun stands beside os/exec doing the same: two pipes read to their ends, and a time limit.
func BenchmarkRun(b *testing.B) {
	b.Run("chaos", func(b *testing.B) {
		s := Spec{Command: "/bin/true", Path: "/bin/true", Dir: "/", Timeout: time.Minute}
		for b.Loop() {
			if _, err := Run(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("os-exec", func(b *testing.B) {
		for b.Loop() {
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, "/bin/true")
			cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
			err := cmd.Run()
			cancel()
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
