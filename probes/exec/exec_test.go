package exec

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
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

func take(t *testing.T, dir string, a args) (value.Value, error) {
	t.Helper()
	p, ok := probes.NewRegistry(All()...).Probe("exec.output")
	if !ok {
		t.Fatal("there is no exec.output")
	}
	o, err := p.Open(context.Background(), env.Env{Dir: dir}, a)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	return o.(probes.Sampler).Sample(context.Background())
}

func TestASample(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "check"), []byte("#!/bin/sh\nread line\necho \"$line $WHO $1\"\necho bad >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	who := value.Value{T: value.MapOf(value.TAny), V: map[string]value.Value{"WHO": value.NumberOf(7)}}
	v, err := take(t, dir, args{"command": value.StringOf("./check"), "args": list("now"), "stdin": value.StringOf("hi\n"), "env": who})
	if err != nil {
		t.Fatal(err)
	}
	if v.Get("exit_code").Float() != 3 || v.Get("signal").Text() != "" || v.Get("stdout").Text() != "hi 7 now\n" || v.Get("stderr").Text() != "bad\n" {
		t.Errorf("the sample is %s", v)
	}
	if l := v.Get("latency"); l.T.Kind != value.Duration || l.Float() <= 0 {
		t.Errorf("latency is %s", l)
	}
	v, err = take(t, dir, args{"command": value.StringOf("sh"), "args": list("-c", "kill -KILL $$")})
	if err != nil || v.Get("exit_code").Float() != 137 || v.Get("signal").Text() != "KILL" {
		t.Errorf("a killed command is %s (%v)", v, err)
	}
}

func TestTheFolderItRunsIn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for given, suffix := range map[string]string{"": filepath.Base(dir), "sub": "/sub"} {
		a := args{"command": value.StringOf("pwd")}
		if given != "" {
			a["dir"] = value.StringOf(given)
		}
		v, err := take(t, dir, a)
		if err != nil || !strings.HasSuffix(v.Get("stdout").Text(), suffix+"\n") {
			t.Errorf("dir %q: %s (%v)", given, v, err)
		}
	}
}

func TestFailedProbes(t *testing.T) {
	dir := t.TempDir()
	for want, a := range map[string]args{
		"`./missing` does not exist":                   {"command": value.StringOf("./missing")},
		"`sleep` did not end within 1s and was killed": {"command": value.StringOf("sleep"), "args": list("10"), "timeout": value.DurationOf(time.Second)},
	} {
		if v, err := take(t, dir, a); err == nil || err.Error() != want {
			t.Errorf("%s: %s (%v)", want, v, err)
		}
	}
}
