package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"chaos/runtime/needtest"
)

// seen is the JSON of `chaos doctor` as a reader sees it.
type seen struct {
	OK       bool
	User     string
	Root     bool
	Chaos    []seenNeed
	Families []struct {
		Family string
		Calls  []seenCall
	}
	RootAdds []string `json:"root_adds"`
}

type seenNeed struct{ Kind, Name, Status, Detail, How string }

type seenCall struct {
	Name, Kind, Status, Lifetime, Note string
	Needs                              []seenNeed
}

func (s seen) call(t *testing.T, name string) seenCall {
	t.Helper()
	for _, f := range s.Families {
		for _, c := range f.Calls {
			if c.Name == name {
				return c
			}
		}
	}
	t.Errorf("%s is not looked at", name)
	return seenCall{}
}

func (c seenCall) need(name string) seenNeed {
	i := slices.IndexFunc(c.Needs, func(n seenNeed) bool { return n.Name == name })
	if i < 0 {
		return seenNeed{}
	}
	return c.Needs[i]
}

// program builds the command as it is shipped, static, into a folder that everybody may read.
func program(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(folder, "chaos")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// openFolder is one that every user may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chaos-doctor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// doctor runs it both ways; the texts are for people, the JSON is for the test.
func doctor(t *testing.T, attr syscall.SysProcAttr, env []string, path string, args ...string) (s seen, text string, code int) {
	t.Helper()
	attr.Setsid = true
	run := func(args ...string) (string, int) {
		c := exec.Command(path, args...)
		c.Dir, c.Env, c.SysProcAttr = "/", env, &attr
		out, err := c.Output()
		if c.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), c.ProcessState.ExitCode()
	}
	text, code = run(append([]string{"doctor"}, args...)...)
	raw, jsonCode := run(append([]string{"doctor", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	if code != jsonCode {
		t.Errorf("exit %d as text, %d as JSON", code, jsonCode)
	}
	return s, text, code
}

func TestDoctorAsRoot(t *testing.T) {
	needtest.Root(t)
	s, text, code := doctor(t, syscall.SysProcAttr{}, []string{asChaos + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, os.Args[0])
	if code != 0 || !s.Root || len(s.RootAdds) > 0 || strings.Contains(text, "root would add") {
		t.Errorf("exit %d, root %v, root adds %v\n%s", code, s.Root, s.RootAdds, text)
	}
	for name, lifetime := range map[string]string{"process.kill": "irreversible", "process.start": "kernel", "exec.run": "guardian", "disk.fill": "kernel", "process.state": "", "host.opens": "", "host.execs": "", "host.flows": ""} {
		if c := s.call(t, name); c.Status != "yes" || c.Lifetime != lifetime {
			t.Errorf("%s: status %s, lifetime %q, want yes and %q", name, c.Status, c.Lifetime, lifetime)
		}
	}
	// What is looked at is what there is.
	reg := registries()
	n := 0
	for _, f := range s.Families {
		n += len(f.Calls)
	}
	if want := len(reg.Names()) + 2; n != want { // the command has two of the test's own
		t.Errorf("%d calls are looked at, there are %d", n, want)
	}
}

func TestDoctorAsNobody(t *testing.T) {
	needtest.Root(t)
	dir := openFolder(t)
	path := program(t, dir)
	const nobody = 65534
	attr := syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	s, text, code := doctor(t, attr, []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}, path)
	if code != 0 || s.Root || s.OK {
		t.Errorf("exit %d, root %v, ok %v: without a file it exits with 0, and not everything can run\n%s", code, s.Root, s.OK, text)
	}
	for name, status := range map[string]string{"process.limit": "no", "process.kill": "partly", "network.occupy": "partly", "cpu.stress": "yes", "http.get": "yes", "host.opens": "no", "host.flows": "no"} {
		if c := s.call(t, name); c.Status != status {
			t.Errorf("%s: status %s, want %s", name, c.Status, status)
		}
	}
	if c := s.call(t, "host.execs"); c.need("CAP_BPF").How != "run as root" || c.need("BPF on sched:sched_process_exec").Status != "no" {
		t.Errorf("host.execs does not say how to get it: %+v", c)
	}
	if c := s.call(t, "process.limit"); c.Lifetime != "" || !strings.Contains(c.need("root").How, "run as root") {
		t.Errorf("process.limit does not say how to get it: %+v", c)
	}
	for _, part := range []string{"root would add", "· process.limit: all of it", "· host.opens: all of it", "· process.kill: processes of every user", "choose another with --runs DIR"} {
		if !strings.Contains(text, part) {
			t.Errorf("the text lacks %q:\n%s", part, text)
		}
	}

	// With a file only what it uses counts.
	state := filepath.Join(dir, "state")
	if err := errorsOf(os.Mkdir(state, 0o700), os.Chown(state, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	scripts := map[string]int{
		`experiment "fine" { probe n = process.count(match: "x")
  steady { expect n >= 0 }
  inject { process.start("sleep", args: ["1"]) } }`: 0,
		`experiment "not fine" { probe n = process.count(match: "x")
  steady { expect n >= 0 }
  inject { process.limit(pid: 77, pids: 5) for 1s } }`: 2,
		`experiment "no such tool" { probe n = exec.output("no-such-tool-at-all")
  steady { expect n.exit_code == 0 } inject { wait 1s } }`: 2,
		`experiment "watching" { probe f = host.flows()
  steady { expect f.lost == 0 } }`: 2,
		`experiment { `: 2,
	}
	for script, want := range scripts {
		file := filepath.Join(dir, "script.chaos")
		if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(path, "doctor", file)
		c.Env, c.SysProcAttr = []string{"PATH=/usr/bin:/bin", "XDG_STATE_HOME=" + state}, &attr
		out, _ := c.CombinedOutput()
		if got := c.ProcessState.ExitCode(); got != want {
			t.Errorf("exit %d, want %d for\n%s\n%s", got, want, script, out)
		}
		if strings.Contains(string(out), "cpu.stress") {
			t.Errorf("it tells of what the script does not use:\n%s", out)
		}
	}
}

func TestDoctorInABareChroot(t *testing.T) {
	needtest.Root(t)
	dir := openFolder(t)
	program(t, dir) // the only file there
	s, text, code := doctor(t, syscall.SysProcAttr{Chroot: dir}, []string{}, "/chaos")
	if code != 0 || s.OK {
		t.Errorf("exit %d, ok %v\n%s", code, s.OK, text)
	}
	proc := seenNeed{}
	for _, n := range s.Chaos {
		if n.Name == "/proc" {
			proc = n
		}
	}
	if proc.Status != "no" || !strings.Contains(proc.How, "mount -t proc proc /proc") {
		t.Errorf("it does not see that /proc is missing: %+v", proc)
	}
	for name, status := range map[string]string{"process.pause": "no", "cpu.stress": "no", "process.count": "no", "http.get": "yes", "log": "yes",
		"host.cpu": "no", "host.pressure": "no", "host.kernel_log": "no", "host.disk": "yes", "host.io": "yes"} {
		if c := s.call(t, name); c.Status != status {
			t.Errorf("%s: status %s, want %s", name, c.Status, status)
		}
	}
	if !strings.Contains(text, "no home folder") {
		t.Errorf("it does not say where runs could be recorded:\n%s", text)
	}
}

func TestDoctorWithAFile(t *testing.T) {
	script := writeScript(t, `experiment "tools" {
  probe n = process.count(match: "x")
  steady { expect n >= 0 }
  inject {
    exec.run("true", undo: ["true"]) for 1s
    exec.run("./beside")
  }
}
`)
	out, problems, code := asCommand(t, "doctor", script)
	if code != exitUsage || !strings.Contains(out, "true: here") || !strings.Contains(out, "✗ tool ./beside") {
		t.Errorf("exit %d\n%s%s", code, out, problems)
	}
	if !strings.Contains(out, "refused") {
		t.Errorf("what cannot run has no class:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(script), "beside"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, problems, code = asCommand(t, "doctor", script); code != 0 || !strings.Contains(out, "irreversible") {
		t.Errorf("exit %d; one of the two has no undo, so the class is irreversible\n%s%s", code, out, problems)
	}
	if _, problems, code = asCommand(t, "doctor", "--format", "jsn"); code != exitUsage || !strings.Contains(problems, "did you mean json?") {
		t.Errorf("exit %d: %s", code, problems)
	}
}

// A need that the doctor cannot look for is a need that nobody is told about.
func TestDoctorKnowsEveryNeed(t *testing.T) {
	reg, m := registries(), lookAround("")
	for _, name := range reg.Names() {
		c, _ := reg.Call(name)
		for _, n := range c.Needs {
			if f := m.need(n); f.Detail == "chaos cannot look for it here" {
				t.Errorf("%s needs %s %s, which the doctor cannot look for", name, n.Kind, n.Name)
			}
			if n.Install == "" {
				t.Errorf("%s needs %s %s, and does not say how to get it", name, n.Kind, n.Name)
			}
		}
	}
}
