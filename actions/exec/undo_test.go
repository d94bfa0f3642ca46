package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
)

// The test binary is also the other process that undoes a record.
func TestMain(m *testing.M) {
	if os.Getenv("EXEC_TEST_AS") != "reverter" {
		os.Exit(m.Run())
	}
	var u actions.Undo
	err := json.NewDecoder(os.Stdin).Decode(&u)
	if err == nil {
		err = runReverter{}.Revert(context.Background(), env.Env{}, u)
	}
	var state actions.State
	if err == nil {
		state, err = runReverter{}.State(context.Background(), env.Env{}, u)
	}
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	fmt.Print(state)
}

// elsewhere reverts in another process, in another folder, with another PATH.
func elsewhere(t *testing.T, u actions.Undo) (string, error) {
	t.Helper()
	data, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(os.Args[0])
	cmd.Env = []string{"EXEC_TEST_AS=reverter", "GORACE=atexit_sleep_ms=0", "PATH=/nowhere"}
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(string(data))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

type ledger struct {
	undos    []actions.Undo
	applied  int
	onIntend func() error
}

func (l *ledger) Intend(u actions.Undo) (string, error) {
	l.undos = append(l.undos, u)
	if l.onIntend != nil {
		return u.Kind, l.onIntend()
	}
	return u.Kind, nil
}

// undo is the record of the undo command.
func (l *ledger) undo(t *testing.T) actions.Undo {
	t.Helper()
	if len(l.undos) != 2 || l.undos[0].Kind != childrenKind || l.undos[1].Kind != kind {
		t.Fatalf("the records are %+v", l.undos)
	}
	return l.undos[1]
}

func (l *ledger) Applied(string) error { l.applied++; return nil }

func mapOf(m args) value.Value { return value.Value{T: value.MapOf(value.TAny), V: m} }

func there(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func TestUndo(t *testing.T) {
	dir := t.TempDir()
	a := args{"command": value.StringOf("touch"), "args": list("on", "k"), "env": mapOf(args{"FILE": value.StringOf("on")}),
		"undo": list("sh", "-c", `echo undone >> log; rm -f "$FILE"`)}
	p := planFor(t, dir, a)
	if p.Lifetime != actions.Guardian || p.Why == "" || len(p.Missing) != 0 || len(p.Undo) != 1 || !strings.HasPrefix(p.Undo[0], "run sh -c ") {
		t.Fatalf("the plan is %+v", p)
	}
	led := &ledger{onIntend: func() error {
		if there(dir, "on") {
			t.Error("it ran before the record was on disk")
		}
		return nil
	}}
	if _, err := p.Inject(context.Background(), led); err != nil || !there(dir, "on") || led.applied != 1 {
		t.Fatal(err, led)
	}
	u := led.undo(t)
	if !strings.HasPrefix(u.Manual, "cd '"+dir+"' && /") || !strings.HasSuffix(u.Manual, "# with the script's FILE") {
		t.Errorf("by hand: %s", u.Manual)
	}
	if s, err := (runReverter{}).State(context.Background(), env.Env{}, u); err != nil || s != actions.Present {
		t.Errorf("before the undo: %s (%v)", s, err)
	}
	if out, err := elsewhere(t, u); err != nil || out != "gone" || there(dir, "on") {
		t.Errorf("another process: %s (%v)", out, err)
	}
	for range 2 {
		if err := (runReverter{}).Revert(context.Background(), env.Env{}, u); err != nil {
			t.Fatal(err)
		}
		if s, err := (runReverter{}).State(context.Background(), env.Env{}, u); err != nil || s != actions.Gone {
			t.Errorf("after the undo: %s (%v)", s, err)
		}
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "log")); string(data) != "undone\nundone\n" { // once in each process
		t.Errorf("it ran %q", data)
	}
}

func TestAnUndoThatFails(t *testing.T) {
	dir := t.TempDir()
	led := &ledger{}
	p := planFor(t, dir, args{"command": value.StringOf("true"), "undo": list("sh", "-c", "test -e ok || { echo not yet >&2; exit 3; }; exit 2"),
		"allow": value.ListValue(value.TNumber, value.NumberOf(0), value.NumberOf(2))})
	if _, err := p.Inject(context.Background(), led); err != nil {
		t.Fatal(err)
	}
	u := led.undo(t)
	if err := (runReverter{}).Revert(context.Background(), env.Env{}, u); err == nil || err.Error() != "`sh` ended with exit code 3: not yet" {
		t.Error(err)
	}
	if s, _ := (runReverter{}).State(context.Background(), env.Env{}, u); s != actions.Present {
		t.Error(s)
	}
	if err := os.WriteFile(filepath.Join(dir, "ok"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (runReverter{}).Revert(context.Background(), env.Env{}, u); err != nil { // 2 is allowed
		t.Error(err)
	}
	led = &ledger{}
	p = planFor(t, dir, args{"command": value.StringOf("true"), "undo": list("sleep", "10"), "timeout": value.DurationOf(100 * time.Millisecond)})
	if _, err := p.Inject(context.Background(), led); err != nil {
		t.Fatal(err)
	}
	if err := (runReverter{}).Revert(context.Background(), env.Env{}, led.undo(t)); err == nil || !strings.Contains(err.Error(), "did not end within 100ms") {
		t.Error(err)
	}
}

func TestTheRecordComesFirst(t *testing.T) {
	dir := t.TempDir()
	full := errors.New("the journal is full")
	p := planFor(t, dir, args{"command": value.StringOf("touch"), "args": list("on"), "undo": list("rm", "-f", "on")})
	if _, err := p.Inject(context.Background(), &ledger{onIntend: func() error { return full }}); !errors.Is(err, full) || there(dir, "on") {
		t.Error(err)
	}
	// A command that fails has a record all the same: nobody knows how far it came.
	led := &ledger{}
	p = planFor(t, dir, args{"command": value.StringOf("sh"), "args": list("-c", "touch on; exit 1"), "undo": list("rm", "-f", "on")})
	if _, err := p.Inject(context.Background(), led); err == nil || led.applied != 0 || !there(dir, "on") {
		t.Fatal(err, led)
	}
	if out, err := elsewhere(t, led.undo(t)); err != nil || out != "gone" || there(dir, "on") {
		t.Errorf("%s (%v)", out, err)
	}
}

func TestAnUndoThatCannotBe(t *testing.T) {
	p := planFor(t, t.TempDir(), args{"command": value.StringOf("true"), "undo": list("no-such-tool", "x")})
	if len(p.Missing) != 1 || p.Missing[0].Name != "no-such-tool" || p.Missing[0].Kind != "tool" {
		t.Errorf("missing is %+v", p.Missing)
	}
	if p = planFor(t, t.TempDir(), args{"command": value.StringOf("neither"), "undo": list("nor")}); len(p.Missing) != 2 {
		t.Errorf("missing is %+v", p.Missing)
	}
	for _, bad := range []value.Value{list(), list("")} {
		_, err := All()[0].Plan(context.Background(), env.Env{Dir: t.TempDir()}, args{"command": value.StringOf("true"), "undo": bad})
		if err == nil || !strings.HasPrefix(err.Error(), "`undo` names no command") {
			t.Error(err)
		}
	}
	_, err := All()[0].Plan(context.Background(), env.Env{}, args{"command": value.StringOf("true"), "undo": value.StringOf("rm x")})
	if err == nil || err.Error() != "`undo`: \"rm x\" is a string, not a list of string" {
		t.Error(err)
	}
	s := All()[0].Spec()
	if s.Irreversible(func(a string) bool { return a == "undo" }) || s.Undo == "" || Reverters()[0].Kind() != "exec.run" {
		t.Errorf("the spec is %+v", s)
	}
}
