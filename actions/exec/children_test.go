package exec

import (
	"context"
	"maps"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// pidIn waits for a pid in a file.
func pidIn(t *testing.T, path string) target.Identity {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		data, _ := os.ReadFile(path)
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if id, ierr := target.ProcessIdentity(pid); err == nil && ierr == nil {
			t.Cleanup(func() { id.Signal(unix.SIGKILL) })
			return id
		}
	}
	t.Fatalf("there is no pid in %s", path)
	return target.Identity{}
}

func TestWhatACommandLeavesIsEndedWithItsStepAndADaemonIsNot(t *testing.T) {
	if _, err := osexec.LookPath("setsid"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	led := &ledger{}
	f, err := planFor(t, dir, args{"command": value.StringOf("sh"), "args": list("-c",
		"sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 0.1; done' & setsid sh -c 'echo $$ > daemon; exec sleep 1000' &")}).Inject(context.Background(), led)
	if err != nil {
		t.Fatal(err)
	}
	child, daemon := pidIn(t, filepath.Join(dir, "child")), pidIn(t, filepath.Join(dir, "daemon"))
	if len(f.Void) != 0 || !strings.HasPrefix(f.Leaves, "`sh` left running: ") || len(led.undos) != 1 {
		t.Errorf("%+v %+v", f, led.undos)
	}
	r := childrenReverter{}
	if s, err := r.State(context.Background(), env.Env{}, led.undos[0]); s != actions.Present || err != nil {
		t.Errorf("%s %v", s, err)
	}
	for range 2 { // it does not listen to SIGTERM
		if err := r.Revert(context.Background(), env.Env{}, led.undos[0]); err != nil {
			t.Fatal(err)
		}
		if s, err := r.State(context.Background(), env.Env{}, led.undos[0]); s != actions.Gone || err != nil {
			t.Errorf("%s %v", s, err)
		}
	}
	if child.Alive() || !daemon.Alive() {
		t.Errorf("the child is alive: %v, the daemon: %v", child.Alive(), daemon.Alive())
	}
}

func TestACommandThatLeavesNothingHasNothingToUndo(t *testing.T) {
	led := &ledger{}
	f, err := planFor(t, t.TempDir(), args{"command": value.StringOf("true")}).Inject(context.Background(), led)
	if err != nil || !slices.Equal(f.Void, []string{childrenKind}) || f.Leaves != "" {
		t.Errorf("%+v %v", f, err)
	}
}

func TestACommandThatFailsIsUndoneOnlyWhereSomethingRuns(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name   string
		script string
		args   args
		void   []string
		leaves string
	}{
		{name: "a wrong exit code", script: "exit 3", void: []string{childrenKind}},
		{name: "a timeout", script: "exec sleep 100", args: args{"timeout": value.DurationOf(100 * time.Millisecond)}, void: []string{childrenKind}},
		{name: "with an undo of its own", script: "exit 3", args: args{"undo": list("true")}, void: []string{childrenKind}},
		{name: "it cannot be started", args: args{"dir": value.StringOf("missing")}, void: []string{childrenKind}},
		{name: "it leaves a process group", script: "timeout 1000 sh -c 'echo $$ > child; exec sleep 1000' >/dev/null 2>&1 & while [ ! -s child ]; do sleep 0.01; done; exit 3", leaves: "`sh` left running: "},
		{name: "it leaves something", script: "sh -c 'echo $$ > child; exec sleep 1000' & exit 3", leaves: "`sh` left running: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			given := args{"command": value.StringOf("sh"), "args": list("-c", tc.script)}
			maps.Copy(given, tc.args)
			led := &ledger{}
			f, err := planFor(t, dir, given).Inject(context.Background(), led)
			if tc.leaves != "" {
				pidIn(t, filepath.Join(dir, "child"))
			}
			if err == nil || !slices.Equal(f.Void, tc.void) || !strings.HasPrefix(f.Leaves, tc.leaves) || (f.Leaves == "") != (tc.leaves == "") {
				t.Errorf("%+v %v", f, err)
			}
			for _, u := range led.undos {
				if u.Kind != childrenKind {
					continue
				}
				if err := (childrenReverter{}).Revert(context.Background(), env.Env{}, u); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
