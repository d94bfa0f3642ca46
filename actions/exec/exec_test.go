package exec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
)

type args = map[string]value.Value

func list(items ...string) value.Value {
	values := make([]value.Value, len(items))
	for i, s := range items {
		values[i] = value.StringOf(s)
	}
	return value.ListValue(value.TString, values...)
}

func planFor(t *testing.T, dir string, a args) actions.Plan {
	t.Helper()
	action, ok := actions.NewRegistry(All()...).Action("exec.run")
	if !ok {
		t.Fatal("there is no exec.run")
	}
	p, err := action.Plan(context.Background(), env.Env{Dir: dir}, a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlanDoesNothing(t *testing.T) {
	dir := t.TempDir()
	p := planFor(t, dir, args{"command": value.StringOf("touch"), "args": list("a", "b c")})
	if p.Does != "run touch a 'b c'" || p.Lifetime != actions.Irreversible || len(p.Missing) != 0 {
		t.Errorf("the plan is %+v", p)
	}
	if found, _ := os.ReadDir(dir); len(found) != 0 {
		t.Error("planning acted")
	}
	if _, err := p.Inject(context.Background(), &ledger{}); err != nil {
		t.Fatal(err)
	}
	if found, _ := os.ReadDir(dir); len(found) != 2 {
		t.Error("injecting did not act in the script's folder")
	}
}

func TestAMissingCommandIsMissing(t *testing.T) {
	for command, hint := range map[string]string{"./missing": "it does not exist; a relative path starts at the script's folder", "no-such-tool": "install it, or add its folder to the PATH"} {
		p := planFor(t, t.TempDir(), args{"command": value.StringOf(command)})
		if len(p.Missing) != 1 || p.Missing[0].Kind != "tool" || p.Missing[0].Name != command || p.Missing[0].Install != hint {
			t.Errorf("%s: missing is %+v", command, p.Missing)
		}
	}
}

func TestResults(t *testing.T) {
	dir := t.TempDir()
	f, err := planFor(t, dir, args{"command": value.StringOf("sh"), "args": list("-c", "echo out; echo err >&2; exit 3"),
		"allow": value.ListValue(value.TNumber, value.NumberOf(0), value.NumberOf(3))}).Inject(context.Background(), &ledger{})
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Result; r.Get("exit_code").Float() != 3 || r.Get("stdout").Text() != "out\n" || r.Get("stderr").Text() != "err\n" {
		t.Errorf("the result is %s", r)
	}
	for script, want := range map[string]string{
		"echo one >&2; echo two >&2; exit 4": "`sh` ended with exit code 4: one | two",
		"exit 1":                             "`sh` ended with exit code 1",
		"kill -KILL $$":                      "`sh` was killed by SIGKILL (exit code 137)",
	} {
		_, err := planFor(t, dir, args{"command": value.StringOf("sh"), "args": list("-c", script)}).Inject(context.Background(), &ledger{})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
	_, err = planFor(t, dir, args{"command": value.StringOf("sleep"), "args": list("10"), "timeout": value.DurationOf(time.Second)}).Inject(context.Background(), &ledger{})
	if err == nil || err.Error() != "`sleep` did not end within 1s and was killed" {
		t.Errorf("a timeout reads %v", err)
	}
}

func TestAnAbortStopsIt(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("a guard tripped")
	p := planFor(t, dir, args{"command": value.StringOf("sh"), "args": list("-c", "touch started; sleep 100")})
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
				cancel(stop)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	start := time.Now()
	_, err := p.Inject(ctx, &ledger{})
	if !errors.Is(err, stop) || !strings.HasPrefix(err.Error(), "`sh` was stopped before its end") {
		t.Errorf("the error reads %v", err)
	}
	if took := time.Since(start); took > 30*time.Second { // of the hundred seconds that it sleeps
		t.Errorf("it took %v", took)
	}
}

func TestTheSpecIsIrreversible(t *testing.T) {
	s := All()[0].Spec()
	if !s.Irreversible(func(string) bool { return false }) || s.Result == nil || s.Example == "" {
		t.Errorf("the spec is %+v", s)
	}
	for _, p := range s.Params {
		if p.Help == "" {
			t.Errorf("%s lacks help", p.Name)
		}
	}
}
