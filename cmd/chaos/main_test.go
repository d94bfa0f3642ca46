package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// asChaos makes the test binary behave as the command, for tests that need its process: signals, crashes, exit codes.
const asChaos = "CHAOS_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asChaos) != "" {
		moreFamilies = addTestFamily
		os.Exit(Main())
	}
	hearSignals()
	// Each process of a race build sleeps for a second before it ends, for reports of others; there are hundreds of them here.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"chaos": func() { os.Exit(Main()) }})
}

// hearSignals is for tests that a shell started in the background, or nohup: they and all that they start would ignore these.
func hearSignals() {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// TestScripts runs the command line's own tests: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		// Not `[!exec:tool] skip` alone: in continuous integration a script runs all the same, and fails where the tool is called.
		Condition: func(name string) (bool, error) {
			if name != "ci" {
				return false, fmt.Errorf("there is no condition `%s`", name)
			}
			return os.Getenv("CI") != "", nil
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("CI", "true")
			e.Setenv("PORT", strconv.Itoa(freePort(t)))
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
	})
}
