package network

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/stress/faulttest"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { faulttest.Main(m, Register) }

var faults = faulttest.Of(Register)

func TestSpec(t *testing.T) { faults.Spec(t) }

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// free tells whether somebody else can have the port.
func free(protocol, address string) bool {
	if protocol == "udp" {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func TestOccupyAndFree(t *testing.T) {
	for _, c := range []struct{ protocol, address string }{{"tcp", "127.0.0.1"}, {"tcp", "0.0.0.0"}, {"tcp", "::1"}, {"tcp", "::"}, {"udp", "127.0.0.1"}, {"udp", "::"}} {
		e := faulttest.Env(t)
		port := freePort(t)
		at := net.JoinHostPort(c.address, port)
		args := faulttest.Args{"port": port, "address": c.address, "protocol": c.protocol}
		p, err := faults.Plan(t, e, "network.occupy", args)
		if err != nil || p.Lifetime != actions.Kernel || p.Does != "take "+c.protocol+" "+at || !free(c.protocol, at) {
			t.Fatalf("%+v %v", p, err)
		}
		led := &faulttest.Ledger{OnIntend: func(actions.Undo) {
			if !free(c.protocol, at) {
				t.Error("taken before the record was written")
			}
		}}
		f, err := p.Inject(t.Context(), led)
		if err != nil {
			t.Fatal(at, err)
		}
		faulttest.Effect(t, f, actions.Yes)
		if free(c.protocol, at) || free(c.protocol, net.JoinHostPort("127.0.0.1", port)) && c.address != "::1" {
			t.Error(at, "can be taken")
		}
		if s := faults.State(t, e, led.Undos()[0]); s != actions.Present {
			t.Error(s)
		}
		if c.address == "127.0.0.1" && c.protocol == "tcp" {
			silent(t, at)
		}
		if err := f.Hold.Close(); err != nil {
			t.Error(err)
		}
		faults.Revert(t, e, led.Undos(), actions.Gone)
		faulttest.Effect(t, f, actions.No)
		if !free(c.protocol, at) {
			t.Error(at, "is not free again")
		}
	}
}

// silent checks what clients see: the first ones connect and hear nothing, then connecting fails.
func silent(t *testing.T, at string) {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("somebody answered")
	}
	for range 4 {
		c, err := net.DialTimeout("tcp", at, 50*time.Millisecond)
		if err != nil {
			return
		}
		defer c.Close()
	}
	t.Error("five clients could connect")
}

// The holder is told in the plan, which may be before a step that ends it, and the act refuses.
func TestInUse(t *testing.T) {
	e := faulttest.Env(t)
	script := filepath.Join(e.Dir, "holder.py")
	os.WriteFile(script, []byte("import socket, sys, time\nk = socket.SOCK_STREAM if sys.argv[2] == 'tcp' else socket.SOCK_DGRAM\ns = socket.socket(socket.AF_INET, k); s.bind(('0.0.0.0', int(sys.argv[1])))\nif sys.argv[2] == 'tcp': s.listen()\nprint('up', flush=True)\ntime.sleep(1000)"), 0o600)
	for _, protocol := range []string{"tcp", "udp"} {
		port := freePort(t)
		cmd := exec.Command("python3", script, port, protocol)
		said, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		// Between bind and listen nobody else can have the port, and nobody is seen to have it.
		if up, err := bufio.NewReader(said).ReadString('\n'); up != "up\n" {
			t.Fatalf("the holder says %q, %v", up, err)
		}
		p, err := faults.Plan(t, e, "network.occupy", faulttest.Args{"port": port, "protocol": protocol})
		if err != nil || !strings.Contains(p.Does, "in use now by process") || !strings.Contains(p.Does, "python3") {
			t.Errorf("%s %v", p.Does, err)
		}
		led := &faulttest.Ledger{}
		_, err = p.Inject(t.Context(), led)
		faulttest.Wants(t, err, "is in use already by process", "python3", "end that first")
		faults.Revert(t, e, led.Undos(), actions.Gone)
	}
}

// Who has bound a port and does not listen is in no list of the kernel, whoever asks.
func TestInUseByWhoDoesNotListen(t *testing.T) {
	e := faulttest.Env(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	p, err := faults.Plan(t, e, "network.occupy", faulttest.Args{"port": fmt.Sprint(name.(*unix.SockaddrInet4).Port), "address": "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Inject(t.Context(), &faulttest.Ledger{})
	faulttest.Wants(t, err, "is in use already by a process that does not listen there, or not yet; end that first")
}

func TestIntendedOnly(t *testing.T) {
	port := freePort(t)
	faults.Intended(t, faulttest.Env(t), "network.occupy", faulttest.Args{"port": port})
	if !free("tcp", "127.0.0.1:"+port) {
		t.Error("not free")
	}
}

func TestRefuses(t *testing.T) {
	e := faulttest.Env(t)
	for want, args := range map[string]faulttest.Args{
		"`port: 0` must be":              {"port": "0"},
		"a whole number from 1 to 65535": {"port": "70000"},
		"is no IP address":               {"port": "8080", "address": "localhost"},
		"is no address of this machine":  {"port": "8080", "address": "192.0.2.77"},
	} {
		faults.Refused(t, e, "network.occupy", args, want)
	}
}

func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		ours, theirs string
		want         bool
	}{
		{"127.0.0.1", "127.0.0.1", true}, {"127.0.0.1", "127.0.0.2", false}, {"127.0.0.1", "0.0.0.0", true}, {"127.0.0.1", "::", true},
		{"0.0.0.0", "127.0.0.1", true}, {"0.0.0.0", "::1", false}, {"::", "127.0.0.1", true}, {"::1", "0.0.0.0", false}, {"::1", "::", true},
	} {
		p := port{Address: netip.MustParseAddr(c.ours)}
		if got := p.conflicts(netip.MustParseAddr(c.theirs)); got != c.want {
			t.Errorf("%s and %s: %v", c.ours, c.theirs, got)
		}
	}
	if got := address("0100007F"); got.String() != "127.0.0.1" && got.String() != "1.0.0.127" {
		t.Error(got)
	}
}

// The undo of a port that another run holds, which lives, waits, and then says who it is.
func TestUndoElsewhere(t *testing.T) {
	port := freePort(t)
	r := faulttest.NewRunner(t, "network.occupy", faulttest.Args{"port": port})
	r.Await(t, "effect yes")
	undo := r.Undos(t)[0]
	e := faulttest.Elsewhere(faulttest.Env(t))
	if s := faults.State(t, e, undo); s != actions.Present {
		t.Error(s)
	}
	begun := time.Now()
	faulttest.Wants(t, occupyReverter{}.Revert(t.Context(), e, undo), "is alive, with pid "+r.Identity().ID)
	if took := time.Since(begun); took > 20*time.Second { // it lives until it is killed
		t.Error(took)
	}
	r.Kill()
	faults.Revert(t, e, []actions.Undo{undo}, actions.Gone)
	if !free("tcp", "127.0.0.1:"+port) {
		t.Error("not free")
	}
	undo.Version = 9
	faulttest.Wants(t, occupyReverter{}.Revert(t.Context(), e, undo), "version 9")
}

// Whenever the runner is killed, the port is free at once.
func TestRunnerKilled(t *testing.T) {
	e := faulttest.Elsewhere(faulttest.Env(t))
	var slowest time.Duration
	faulttest.KillAnyTime(t, 12, 30*time.Millisecond, func() *faulttest.Runner {
		return faulttest.NewRunner(t, "network.occupy", faulttest.Args{"port": freePort(t)})
	}, func(r *faulttest.Runner) {
		undos := r.Undos(t)
		if len(undos) == 0 {
			return
		}
		_, at, _ := strings.Cut(undos[0].Target.ID, " ")
		slowest = max(slowest, faulttest.WithinSecond(t, "the port is free", func() bool { return free("tcp", at) }))
		faults.Revert(t, e, undos, actions.Gone)
	})
	t.Logf("killed 12 times; free after %s at most", slowest.Round(10*time.Microsecond))
}
