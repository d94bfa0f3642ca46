// Package needtest skips tests that need what a machine lacks. In continuous integration they fail instead, right where they
// would be skipped: there a skip hides that nothing was tested.
package needtest

import (
	"os"
	"os/exec"
	"testing"
)

// Lacks ends a test, and says why.
func Lacks(t testing.TB, why ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why...)
	}
	t.Skip(why...)
}

// Root ends a test that does not run as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Lacks(t, "this needs root")
	}
}

// Tools ends a test that lacks one of these commands.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			Lacks(t, name+" is not installed")
		}
	}
}
