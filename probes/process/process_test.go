package process_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/probes/process"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { faulttest.Main(m, nil) }

func open(t *testing.T, name string, args map[string]value.Value) probes.Sampler {
	t.Helper()
	p, ok := probes.NewRegistry(process.All()...).Probe(name)
	if !ok {
		t.Fatal("no probe", name)
	}
	o, err := p.Open(context.Background(), env.Env{}, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o.(probes.Sampler)
}

func sample(t *testing.T, s probes.Sampler) value.Value {
	t.Helper()
	v, err := s.Sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSpecs(t *testing.T) {
	for _, p := range process.All() {
		s := p.Spec()
		if s.Summary == "" || !strings.Contains(s.Example, s.Name) {
			t.Errorf("%s: summary or example is missing", s.Name)
		}
		for _, a := range s.Params {
			if a.Help == "" {
				t.Errorf("%s: `%s` has no help", s.Name, a.Name)
			}
		}
		for _, f := range s.Result.Fields {
			if f.Help == "" {
				t.Errorf("%s: .%s has no help", s.Name, f.Name)
			}
		}
	}
}

func TestStateByPid(t *testing.T) {
	id := faulttest.Victim(t, "exec sleep 1000")
	s := open(t, "process.state", map[string]value.Value{"pid": value.NumberOf(float64(id.Pid()))})
	v := sample(t, s)
	if !v.Get("running").Bool() || v.Get("paused").Bool() || v.Get("pid").Float() != float64(id.Pid()) || v.Get("uptime").Duration() > 5*time.Second {
		t.Error(v)
	}
	for _, absent := range []string{"restarts", "exit_code", "signal"} {
		if !v.Get(absent).IsMissing() {
			t.Errorf(".%s of a process that is not supervised: %s", absent, v.Get(absent))
		}
	}
	id.Signal(unix.SIGSTOP)
	faulttest.Within(t, 10*time.Second, "paused", func() bool { return sample(t, s).Get("paused").Bool() })
	if !sample(t, s).Get("running").Bool() {
		t.Error("a paused process runs")
	}
	id.Signal(unix.SIGKILL) // nobody waits for it yet: a zombie does not run
	faulttest.Within(t, 10*time.Second, "ended", func() bool { return !sample(t, s).Get("running").Bool() })
	if v := sample(t, s); !v.Get("pid").IsMissing() || !v.Get("uptime").IsMissing() {
		t.Error(v)
	}
}

func TestStateOfASupervisedProcess(t *testing.T) {
	c := hold.NewClient(nil)
	defer c.Close()
	p, err := c.Start(context.Background(), hold.Spec{
		Name: "worker", Command: "/bin/sh", Args: []string{"-c", "sleep 1000; exit $?"}, Restart: true, RestartDelay: 50 * time.Millisecond, Grace: time.Second, StopSignal: "TERM",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, "process.state", map[string]value.Value{"process": value.HandleOf(p)})
	v := sample(t, s)
	if !v.Get("running").Bool() || v.Get("restarts").Float() != 0 || !v.Get("exit_code").IsMissing() {
		t.Error(v)
	}
	id, _ := p.Identity()
	// The shell exits with the code that tells how its child ended: decoded.
	faulttest.Within(t, 10*time.Second, "its child", func() bool { l, _ := target.Descendants(id.Pid()); return len(l) == 1 && l[0].Comm == "sleep" })
	children, _ := target.Descendants(id.Pid())
	children[0].Identity().Signal(unix.SIGKILL)
	faulttest.Within(t, 10*time.Second, "restarted", func() bool { v = sample(t, s); return v.Get("restarts").Float() == 1 && v.Get("running").Bool() })
	if v.Get("exit_code").Float() != 137 || v.Get("signal").Text() != "KILL" || v.Get("pid").Float() == float64(id.Pid()) {
		t.Error(v)
	}
}

// That it is dead shows before its supervisor, who alone learns how it died, has said so: here he is late by 100 ms.
func TestASampleOfTheDeadSaysHowItEnded(t *testing.T) {
	p := supervisedProcess(t, false, "exec sleep 1000")
	s := open(t, "process.state", map[string]value.Value{"process": value.HandleOf(p)})
	id, _ := p.Identity()
	helper := p.Mark().Helper
	if err := helper.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := func() { helper.Signal(unix.SIGCONT) }
	defer goOn()
	if err := id.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	faulttest.Within(t, 10*time.Second, "it is dead", func() bool { return !id.Alive() })
	time.AfterFunc(100*time.Millisecond, goOn)
	if v := sample(t, s); v.Get("running").Bool() || v.Get("signal").IsMissing() || v.Get("signal").Text() != "KILL" || v.Get("exit_code").Float() != 137 {
		t.Error(v)
	}
}

func TestStateByPortAndMatch(t *testing.T) {
	word := fmt.Sprintf("needle-%d", os.Getpid())
	s := open(t, "process.state", map[string]value.Value{"match": value.StringOf(word)})
	if v := sample(t, s); v.Get("running").Bool() || !v.Get("pid").IsMissing() {
		t.Error("nothing matches:", v)
	}
	n := open(t, "process.count", map[string]value.Value{"match": value.StringOf(word)})
	if v := sample(t, n); v.Float() != 0 || v.T.Kind != value.Number {
		t.Error(v)
	}
	const wait = "read nothing"
	a := faulttest.Victim(t, wait, word)
	if v := sample(t, s); v.Get("pid").Float() != float64(a.Pid()) {
		t.Error(v)
	}
	faulttest.Victim(t, wait, word)
	if v := sample(t, n); v.Float() != 2 {
		t.Error(v)
	}
	if _, err := s.Sample(context.Background()); err == nil || !strings.Contains(err.Error(), "matches 2 processes") {
		t.Errorf("error %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	s = open(t, "process.state", map[string]value.Value{"port": value.NumberOf(float64(port))})
	if v := sample(t, s); v.Get("pid").Float() != float64(os.Getpid()) {
		t.Error("probes may look at anything:", v)
	}
	l.Close()
	if v := sample(t, s); v.Get("running").Bool() {
		t.Error(v)
	}
}

func TestProbesMayLookAtInit(t *testing.T) {
	s := open(t, "process.state", map[string]value.Value{"pid": value.NumberOf(1)})
	if v := sample(t, s); !v.Get("running").Bool() {
		t.Error(v)
	}
}
