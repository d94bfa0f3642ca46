package process_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/cgroup"
	"chaos/runtime/hold"
	"chaos/runtime/needtest"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// hog is a shell script that waits for a file, and then takes memory without end. It takes the file away: who is started anew
// after it, outside of its cgroup, must not find it, or it would take the memory of the machine.
const hog = `until rm "$0" 2>/dev/null; do sleep 0.01; done; exec tail /dev/zero`

// confine puts a process into a cgroup that allows it 16 MiB.
func confine(t *testing.T, id target.Identity) {
	t.Helper()
	needtest.Root(t)
	group, missing, err := cgroup.Design(fmt.Sprintf("chaos-state-%d", id.Pid()), cgroup.Limits{Memory: 16 << 20})
	if err != nil || len(missing) > 0 {
		needtest.Lacks(t, err, missing)
	}
	place, err := group.Where(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := group.Dissolve(ctx, []cgroup.Place{place}); err != nil {
			t.Error(err)
		}
	})
	if err := group.Make(); err != nil {
		t.Fatal(err)
	}
	if err := group.Enter(id); err != nil {
		t.Fatal(err)
	}
}

func supervisedProcess(t *testing.T, restart bool, script string, words ...string) *hold.Process {
	t.Helper()
	c := hold.NewClient(nil)
	t.Cleanup(func() { c.Close() })
	p, err := c.Start(context.Background(), hold.Spec{
		Name: "worker", Command: "/bin/sh", Args: append([]string{"-c", script}, words...), Dir: "/",
		Restart: restart, RestartDelay: 10 * time.Millisecond, Grace: time.Second, StopSignal: "TERM",
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ended waits until an end is known, and who brought it: another process of this machine may just have been killed for its
// memory, and then the kernel's log gets the time to name it.
func ended(t *testing.T, s probes.Sampler) value.Value {
	t.Helper()
	var v value.Value
	faulttest.Within(t, 20*time.Second, "its end is known", func() bool {
		v = sample(t, s)
		supervised := !v.Get("restarts").IsMissing()
		over := !supervised && !v.Get("running").Bool() || !v.Get("exit_code").IsMissing()
		return over && !v.Get("oom_killed").IsMissing()
	})
	return v
}

func TestAHogIsOOMKilledAndABystanderIsNot(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "go")
	p := supervisedProcess(t, true, hog, flag)
	bystander := faulttest.Victim(t, "read nothing")
	s := open(t, "process.state", map[string]value.Value{"process": value.HandleOf(p)})
	id, _ := p.Identity()
	confine(t, id)
	if v := sample(t, s); !v.Get("running").Bool() || v.Get("oom_killed").IsMissing() || v.Get("oom_killed").Bool() {
		t.Error(v)
	}
	os.WriteFile(flag, nil, 0o600)
	faulttest.Within(t, 20*time.Second, "killed", func() bool { return !id.Alive() })
	faulttest.Within(t, 20*time.Second, "restarted", func() bool { return sample(t, s).Get("restarts").Float() >= 1 })
	v := ended(t, s)
	if !v.Get("oom_killed").Bool() || v.Get("exit_code").Float() != 137 || v.Get("signal").Text() != "KILL" || !v.Get("running").Bool() {
		t.Error(v)
	}
	if !bystander.Alive() || !p.Mark().Helper.Alive() {
		t.Error("somebody else was killed too")
	}
}

func TestASIGKILLOfOursIsNoOOM(t *testing.T) {
	p := supervisedProcess(t, false, "exec sleep 1000")
	s := open(t, "process.state", map[string]value.Value{"process": value.HandleOf(p)})
	id, _ := p.Identity()
	id.Signal(unix.SIGKILL)
	v := ended(t, s)
	if v.Get("oom_killed").Bool() || v.Get("exit_code").Float() != 137 || v.Get("signal").Text() != "KILL" {
		t.Error(v)
	}
}

func TestAnExitCodeOfAnOOMKillIsNone(t *testing.T) {
	p := supervisedProcess(t, false, "exit 137")
	s := open(t, "process.state", map[string]value.Value{"process": value.HandleOf(p)})
	v := ended(t, s)
	if v.Get("oom_killed").Bool() || v.Get("exit_code").Float() != 137 || v.Get("signal").Text() != "KILL" {
		t.Error(v)
	}
}

// Of a process that somebody else started, the end can be told too: by the kernel's log.
func TestTheEndOfAProcessOfSomebodyElse(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "go")
	for _, c := range []struct {
		end  func(target.Identity)
		want bool
	}{
		{func(id target.Identity) { confine(t, id); os.WriteFile(flag, nil, 0o600) }, true},
		{func(id target.Identity) { id.Signal(unix.SIGKILL) }, false},
	} {
		os.Remove(flag)
		cmd := exec.Command("sh", "-c", hog, flag)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		reaped := make(chan struct{})
		go func() { cmd.Wait(); close(reaped) }()
		t.Cleanup(func() { cmd.Process.Kill(); <-reaped })
		id, err := target.ProcessIdentity(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, "process.state", map[string]value.Value{"pid": value.NumberOf(float64(id.Pid()))})
		if v := sample(t, s); !v.Get("running").Bool() || v.Get("oom_killed").IsMissing() || v.Get("oom_killed").Bool() {
			t.Error(v)
		}
		c.end(id)
		v := ended(t, s)
		if v.Get("running").Bool() || v.Get("oom_killed").Bool() != c.want || !v.Get("exit_code").IsMissing() {
			t.Errorf("want %v: %s", c.want, v)
		}
	}
}
