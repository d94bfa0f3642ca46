package process_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/hold"
	"chaos/runtime/needtest"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"

	"golang.org/x/sys/unix"
)

func usageOf(t *testing.T, pid int) probes.Sampler {
	t.Helper()
	return open(t, "process.usage", map[string]value.Value{"pid": value.NumberOf(float64(pid))})
}

func TestUsageOfABusyProcess(t *testing.T) {
	pid := faulttest.Victim(t, "while :; do :; done").Pid()
	s := usageOf(t, pid)
	used := func() time.Duration {
		d, err := stress.Used(pid)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	earliest, least := time.Now(), used()
	first := sample(t, s)
	latest, most := time.Now(), used()
	for _, f := range []string{"cpu", "read", "write"} {
		if !first.Get(f).IsMissing() {
			t.Errorf("the first sample has %s: %s", f, first)
		}
	}
	if first.Get("threads").Float() != 1 || first.Get("fds").Float() < 3 {
		t.Errorf("the first sample is %s", first)
	}
	time.Sleep(300 * time.Millisecond)
	now, gone := time.Now(), used()
	second := sample(t, s)
	after, all := time.Now(), used()
	if rss := second.Get("rss"); rss.T.Kind != value.Size || rss.Float() < 64<<10 || rss.Float() > 64<<20 {
		t.Errorf("the second sample is %s", second)
	}
	// How much it gets is up to the machine: what the sample says must be what it got, but for the ticks in which a kernel may
	// count.
	const ticks = 20 * time.Millisecond
	low, high := float64(gone-most-ticks)/float64(after.Sub(earliest)), float64(all-least+ticks)/float64(now.Sub(latest))
	if cpu := second.Get("cpu"); cpu.T.Kind != value.Ratio || cpu.Float() <= 0 || cpu.Float() < low || cpu.Float() > high || high > 1.5 {
		t.Errorf("the second sample is %s; from %.3f to %.3f of a processor were used", second, low, high)
	}
	if w := second.Get("write"); w.IsMissing() || w.T.Kind != value.Bandwidth || w.Float() != 0 || second.Get("read").IsMissing() {
		t.Errorf("the second sample is %s", second)
	}
}

func TestUsageOfAnIdleProcess(t *testing.T) {
	s := usageOf(t, faulttest.Victim(t, "read nothing").Pid())
	sample(t, s)
	faulttest.Within(t, 10*time.Second, "it has come to rest after its start", func() bool {
		time.Sleep(100 * time.Millisecond)
		v := sample(t, s)
		return !v.Get("cpu").IsMissing() && v.Get("cpu").Float() <= 0.1
	})
}

func TestUsageOfAWriter(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "usage-test") // a disk, where /tmp may be memory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	id := faulttest.Victim(t, fmt.Sprintf("while :; do echo %s; done > %s", strings.Repeat("x", 4000), filepath.Join(dir, "f")))
	s := usageOf(t, id.Pid())
	sample(t, s)
	faulttest.Within(t, 10*time.Second, "it writes", func() bool {
		time.Sleep(20 * time.Millisecond)
		return sample(t, s).Get("write").Float() > 10_000
	})
}

func TestUsageFollowsARestart(t *testing.T) {
	h := hold.NewClient(nil)
	t.Cleanup(func() { h.Close() })
	p, err := h.Start(context.Background(), hold.Spec{Name: "worker", Command: "/bin/sh", Args: []string{"-c", "exec sleep 1000"}, Dir: "/", StopSignal: "KILL", Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, "process.usage", map[string]value.Value{"process": value.HandleOf(p)})
	faulttest.Within(t, 10*time.Second, "it runs", func() bool { _, err := s.Sample(context.Background()); return err == nil })
	if v := sample(t, s); v.Get("cpu").IsMissing() {
		t.Errorf("the second sample is %s", v)
	}
	if err := p.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	var v value.Value
	faulttest.Within(t, 10*time.Second, "it runs again", func() bool { v, err = s.Sample(context.Background()); return err == nil })
	if !v.Get("cpu").IsMissing() || v.Get("rss").IsMissing() {
		t.Errorf("after a restart: %s", v)
	}
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Sample(context.Background()); err == nil || err.Error() != "worker does not run" {
		t.Errorf("down it is %s (%v)", v, err)
	}
}

func TestUsageOfNothing(t *testing.T) {
	word := fmt.Sprintf("usage-needle-%d", os.Getpid())
	s := open(t, "process.usage", map[string]value.Value{"match": value.StringOf(word)})
	if v, err := s.Sample(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "no such process: match: ") {
		t.Errorf("%s (%v)", v, err)
	}
	a := faulttest.Victim(t, "read nothing", word)
	faulttest.Within(t, 10*time.Second, "it is found", func() bool { _, err := s.Sample(context.Background()); return err == nil })
	faulttest.Victim(t, "read nothing", word)
	faulttest.Within(t, 10*time.Second, "two are refused", func() bool {
		_, err := s.Sample(context.Background())
		return err != nil && strings.Contains(err.Error(), "matches 2 processes")
	})
	s = usageOf(t, a.Pid())
	sample(t, s)
	a.Signal(unix.SIGKILL)
	faulttest.Within(t, 10*time.Second, "it is gone", func() bool {
		_, err := s.Sample(context.Background())
		return err != nil && strings.HasPrefix(err.Error(), "no such process: pid: ")
	})
}

// TestUsageWithoutRights looks at root's process with the rights of another user.
func TestUsageWithoutRights(t *testing.T) {
	needtest.Root(t)
	s := usageOf(t, faulttest.Victim(t, "read nothing").Pid())
	var samples [2]value.Value
	var errs [2]error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread, which alone has given up its rights, ends with the goroutine
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			errs[0] = errno
			return
		}
		for i := range samples {
			samples[i], errs[i] = s.Sample(context.Background())
			time.Sleep(5 * time.Millisecond)
		}
	}()
	<-done
	for i, v := range samples {
		if errs[i] != nil || v.Get("rss").IsMissing() || !v.Get("fds").IsMissing() || !v.Get("read").IsMissing() || !v.Get("write").IsMissing() || v.Get("cpu").IsMissing() != (i == 0) {
			t.Errorf("sample %d is %s (%v)", i, v, errs[i])
		}
	}
}
