package process_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/hold"
	"chaos/runtime/stress/faulttest"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// server is a small HTTP server: python3 is what every machine here has.
const server = `import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()`

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestSpecs(t *testing.T) {
	r := registry()
	for _, name := range r.Names() {
		a, _ := r.Action(name)
		s := a.Spec()
		if s.Summary == "" || s.Example == "" || !strings.Contains(s.Example, name) || s.Lifetime == "" {
			t.Errorf("%s: summary, example or lifetime is missing", name)
		}
		if (s.Undo == "") != (s.Lifetime == string(actions.Irreversible)) {
			t.Errorf("%s: undo %q and lifetime %s", name, s.Undo, s.Lifetime)
		}
		for _, p := range s.Params {
			if p.Help == "" {
				t.Errorf("%s: `%s` has no help", name, p.Name)
			}
		}
	}
	if got := fmt.Sprint(r.Names()); got != "[process.fork process.kill process.limit process.nice process.pause process.restart process.start process.stop]" {
		t.Error(got)
	}
}

func TestStartIsJournalledFirst(t *testing.T) {
	e := setting(t)
	p, err := plan(t, e, "process.start", args{"command": text("sleep"), "args": texts("1000")})
	if err != nil {
		t.Fatal(err)
	}
	if p.Does != "start sleep 1000" || p.Lifetime != actions.Kernel || len(p.Undo) != 1 || len(p.Missing) != 0 {
		t.Errorf("plan %+v", p)
	}
	if pids := e.Hold.Pids(); len(pids) != 0 {
		t.Errorf("a plan started something: %v", pids)
	}
	led := &ledger{onWrite: func() {
		if n := len(e.Hold.Pids()); n != 1 {
			t.Errorf("%d processes before the record was written, want the helper alone", n)
		}
	}}
	f, err := p.Inject(context.Background(), led)
	if err != nil {
		t.Fatal(err)
	}
	effect(t, f, actions.Yes)
	if len(led.undos) != 1 || led.applied != 1 || !strings.HasPrefix(f.Note, "pid ") {
		t.Errorf("%+v, note %q", led, f.Note)
	}
	r, _ := registry().Reverter("process.start")
	if s, err := r.State(context.Background(), e, led.undos[0]); s != actions.Present || err != nil {
		t.Errorf("state %s %v", s, err)
	}
	revert(t, e, led)
	if n := len(e.Hold.Pids()); n != 1 {
		t.Errorf("%d processes after the undo, want the helper alone", n)
	}
}

func TestUndoOfAStartThatNeverWas(t *testing.T) {
	e := setting(t)
	p, _ := plan(t, e, "process.start", args{"command": text("sleep"), "args": texts("1000")})
	ctx, cancel := context.WithCancel(context.Background())
	led := &ledger{onWrite: cancel} // the run ends between the record and the act
	if _, err := p.Inject(ctx, led); err == nil {
		t.Fatal("it started")
	}
	revert(t, e, led)
}

func TestReady(t *testing.T) {
	for _, ready := range []string{"127.0.0.1:%d", "http://127.0.0.1:%d/health"} {
		e := setting(t)
		e.Name = "web"
		port := freePort(t)
		_, led := started(t, e, "", args{
			"command": text("python3"), "args": texts("-c", server, fmt.Sprint(port)), "ready": text(fmt.Sprintf(ready, port)),
		})
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal("ready, but:", err)
		}
		conn.Close()

		// The port is taken now, and a plan can see that.
		_, err = plan(t, e, "process.start", args{
			"command": text("python3"), "args": texts("-c", server, fmt.Sprint(port)), "ready": text(fmt.Sprintf(ready, port)),
		})
		wants(t, err, "in use already", "python3")
		revert(t, e, led)
	}
}

func TestNotReady(t *testing.T) {
	e := setting(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	sh := func(script string, more args) args {
		a := args{"command": text("sh"), "args": texts("-c", script), "ready": text(address), "ready_within": value.DurationOf(time.Second)}
		for k, v := range more {
			a[k] = v
		}
		return a
	}
	_, led, err := act(t, e, "process.start", sh("echo cannot bind >&2; exit 7", args{"ready_within": value.DurationOf(20 * time.Second)}))
	wants(t, err, "did not become ready", "exit code 7", "cannot bind")
	revert(t, e, led)
	_, led, err = act(t, e, "process.start", sh("echo waiting >&2; exec sleep 1000", nil))
	wants(t, err, "did not become ready within 1s", "refused", "waiting")
	if n := len(e.Hold.Pids()); n != 1 {
		t.Errorf("what did not become ready is left: %d processes", n)
	}
	revert(t, e, led)
	_, led, err = act(t, e, "process.start", sh("echo again >&2; exit 1", args{
		"restart": value.BoolOf(true), "restart_delay": value.DurationOf(time.Millisecond), "start_limit": value.NumberOf(2), "ready_within": value.DurationOf(20 * time.Second),
	}))
	wants(t, err, "gave up: 2 starts within 10s", "again\nagain")
	revert(t, e, led)
}

func TestMissing(t *testing.T) {
	e := setting(t)
	os.WriteFile(filepath.Join(e.Dir, "plain"), []byte("x"), 0o600)
	for command, hint := range map[string]string{"no-such-tool": "install the package", "./nothing": "build it first", "./plain": "chmod +x", "./": "folder"} {
		p, err := plan(t, e, "process.start", args{"command": text(command)})
		if err != nil || len(p.Missing) != 1 || !strings.Contains(p.Missing[0].Install, hint) {
			t.Errorf("%s: %+v %v", command, p.Missing, err)
		}
	}
	os.WriteFile(filepath.Join(e.Dir, "x"), []byte("#!/bin/sh\npwd\n"), 0o700)
	os.Symlink("/bin/sleep", filepath.Join(e.Dir, "nap"))
	e.Name = "where"
	f, led := must(t, e, "process.start", args{"command": text("./x")})
	faulttest.Within(t, 10*time.Second, "output in the run's folder", func() bool {
		data, _ := os.ReadFile(filepath.Join(e.RunDir, "where.out"))
		return strings.TrimSpace(string(data)) == e.Dir
	})
	faulttest.Within(t, 10*time.Second, "ended", func() bool { return f.Result.V.(*hold.Process).State().Exited })
	effect(t, f, actions.Unknown)
	revert(t, e, led)
	must(t, e, "process.start", args{"command": text("./nap"), "args": texts("1000")})
	faulttest.Within(t, 10*time.Second, "one process with the command line as written", func() bool {
		n, err := target.Count("./nap 1000")
		return n == 1 && err == nil
	})
}

func TestOutputFilesOfTwo(t *testing.T) {
	e := setting(t)
	e.Name = "w"
	started(t, e, "echo one", nil)
	started(t, e, "echo two", args{"stderr": text("mine.err")})
	for file, want := range map[string]string{"w.out": "one\n", "w-2.out": "two\n"} {
		faulttest.Within(t, 10*time.Second, file, func() bool {
			data, _ := os.ReadFile(filepath.Join(e.RunDir, file))
			return string(data) == want
		})
	}
	if _, err := os.Stat(filepath.Join(e.Dir, "mine.err")); err != nil {
		t.Error(err)
	}
}

func TestStartRefuses(t *testing.T) {
	e := setting(t)
	for want, a := range map[string]args{
		"neither":      {"ready": text("nonsense")},
		"no http":      {"ready": text("ftp://x/")},
		"start_limit":  {"start_limit": value.NumberOf(0)},
		"is no name":   {"env": {T: value.MapOf(value.TString), V: map[string]value.Value{"A=B": text("x")}}},
		"more than 0s": {"ready_within": value.DurationOf(0)},
	} {
		a["command"] = text("true")
		_, err := plan(t, e, "process.start", a)
		wants(t, err, want)
	}
}

// A second process undoes what a first one, killed with its helper, has left.
func TestUndoFromAnotherProcess(t *testing.T) {
	e := setting(t)
	p, led := started(t, e, "setsid sleep 1000 & wait", nil)
	faulttest.Within(t, 10*time.Second, "three processes", func() bool { return len(e.Hold.Pids()) == 3 })
	elsewhere := e
	elsewhere.Hold = nil
	r, _ := registry().Reverter("process.start")
	if s, err := r.State(context.Background(), elsewhere, led.undos[0]); s != actions.Present || err != nil {
		t.Errorf("state %s %v", s, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	wants(t, r.Revert(ctx, elsewhere, led.undos[0]), "is alive")
	var ids []target.Identity
	for _, pid := range e.Hold.Pids() {
		if id, err := target.ProcessIdentity(pid); err == nil {
			ids = append(ids, id)
		}
	}
	p.Mark().Helper.Signal(unix.SIGKILL)
	revert(t, elsewhere, led)
	for _, id := range ids {
		if id.Alive() {
			t.Errorf("%s is alive", id)
		}
	}
}
