package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/runtime/cgroup"
	"chaos/runtime/kmsg"
	"chaos/runtime/needtest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// spoken is a log whose reads give these, one after the other, and then nothing.
func spoken(list ...any) *kmsg.Log {
	return kmsg.Of(func(b []byte) (int, error) {
		if len(list) == 0 {
			return 0, unix.EAGAIN
		}
		next := list[0]
		list = list[1:]
		if err, ok := next.(error); ok {
			return 0, err
		}
		return copy(b, next.(string)), nil
	})
}

func TestKernelLogCountsWhatMatchesAndWhatWasLost(t *testing.T) {
	log := spoken(
		"6,339,5140900,-;NET: Registered protocol family 10\n",
		"3,340,5690716,-,caller=T1;blk_update_request: I/O error, dev sda, sector 5\n SUBSYSTEM=block\n DEVICE=b8:0\n",
		unix.EPIPE, // the ring went round
		"3,390,6690716,-;EXT4-fs error (device sda1); remounting\n",
		"4,391,6690717,c;sda is fine\n",
	)
	take := matching(log, regexp.MustCompile("I/O error|EXT4-fs error"))
	got, err := take(t.Context())
	if err != nil || got.Count != 2 || got.Lost != 49 || *got.Last != "EXT4-fs error (device sda1); remounting" || got.Rate <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = take(t.Context())
	if err != nil || got.Count != 2 || got.Rate != 0 {
		t.Errorf("nothing more came: %+v, %v", got, err)
	}
	_, err = matching(spoken(unix.EIO), regexp.MustCompile("x"))(t.Context())
	refused(t, err, "the disk reports an error")
}

func TestTheRateCountsWhatAFailedSampleSaw(t *testing.T) {
	take := matching(spoken("6,1,1,-;word\n", unix.EIO), regexp.MustCompile("word"))
	_, err := take(t.Context())
	refused(t, err, "the disk reports an error")
	if got, err := take(t.Context()); err != nil || got.Count != 1 || got.Rate <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheLogBeforeTheProbeDoesNotCount(t *testing.T) {
	needtest.Root(t)
	out, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		needtest.Lacks(t, err.Error())
	}
	defer out.Close()
	word := fmt.Sprintf("chaos test %d-%d", os.Getpid(), time.Now().UnixNano())
	say := func(text string) {
		// A message without an end of line could still grow, and nobody gets to read it before the next.
		if _, err := out.WriteString("<6>" + text + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	say(word + " before")
	s, err := openIn(Root{Proc: "/proc", Sys: "/sys", Dev: "/dev"}, "host.kernel_log", args{"match": value.StringOf(word)})
	if err != nil {
		needtest.Lacks(t, err.Error())
	}
	defer s.Close()
	if v := sample(t, s); v.Get("count").Float() != 0 || !v.Get("last").IsMissing() {
		t.Error(v)
	}
	say(word + " one")
	say(word + " two")
	if v := sample(t, s); v.Get("count").Float() != 2 || v.Get("last").Text() != word+" two" {
		t.Error(v)
	}
}

func TestALogThatIsNotThereSaysHowToGetIt(t *testing.T) {
	f := plant(t)
	_, err := f.open("host.kernel_log", args{"match": value.StringOf("x")})
	refused(t, err, "there is no", "kernel's log")
	// Without it processes are counted all the same.
	f.put("proc/vmstat", "oom_kill 7\n")
	s := f.opened("host.oom", nil)
	f.put("proc/vmstat", "oom_kill 9\n")
	if v := sample(t, s); v.Get("kills").Float() != 2 || !v.Get("last").IsMissing() {
		t.Error(v)
	}
}

// A process in a cgroup of its own takes more memory than that allows.
func TestOOMNamesWhoWasKilled(t *testing.T) {
	needtest.Root(t)
	group, missing, err := cgroup.Design(fmt.Sprintf("chaos-oom-%d", os.Getpid()), cgroup.Limits{Memory: 16 << 20})
	if err != nil || len(missing) > 0 {
		needtest.Lacks(t, fmt.Sprint(err, missing))
	}
	s, err := openIn(Root{Proc: "/proc", Sys: "/sys", Dev: "/dev"}, "host.oom", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before := sample(t, s).Get("kills").Float()
	cmd := exec.Command("sh", "-c", `read go; exec head -c 1000000000 /dev/zero | tail`)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := target.ProcessIdentity(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	place, whereErr := group.Where(id)
	defer func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		cmd.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := group.Dissolve(ctx, []cgroup.Place{place}); err != nil {
			t.Error(err)
		}
	}()
	if whereErr != nil {
		t.Fatal(whereErr)
	}
	if err := group.Make(); err != nil {
		t.Fatal(err)
	}
	if err := group.Enter(id); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, "go")
	deadline := time.Now().Add(20 * time.Second)
	for {
		v := sample(t, s)
		last := v.Get("last").Text()
		if v.Get("kills").Float() > before && strings.HasPrefix(last, "tail (pid ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(v)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
