package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"chaos/runtime/needtest"
	"chaos/runtime/recovery"
	"chaos/runtime/target"
)

var updatePlans = flag.Bool("update-plans", false, "write testdata/plan anew")

// asCommand runs this test binary as the command, from the top of the repository.
func asCommand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Dir = "../.."
	c.Env = append(os.Environ(), asChaos+"=1", "XDG_STATE_HOME="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // without a terminal, as in CI
	var out, problems bytes.Buffer
	c.Stdout, c.Stderr = &out, &problems
	c.Run()
	return out.String(), problems.String(), c.ProcessState.ExitCode()
}

// whatever depends on the machine: pids, and what its user may do.
var machineDependent = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`pid \d+`), "pid N"},
	{regexp.MustCompile(`((?:privilege|kernel) \S+)(?:, which is here|: [^–]*?) – for`), "$1 … – for"},
	{regexp.MustCompile(`"state": "(here|unknown)"`), `"state": "…"`},
	{regexp.MustCompile(`"version": "[^"]*"`), `"version": "…"`},
	{regexp.MustCompile(`[^ "]*/examples/slow-disk/mnt`), `…/examples/slow-disk/mnt`},
}

func withoutMachine(text string) string {
	for _, m := range machineDependent {
		text = m.pattern.ReplaceAllString(text, m.instead)
	}
	return text
}

func TestPlanOfEveryExample(t *testing.T) {
	needtest.Tools(t, "nginx", "python3", "prometheus")
	root := "../../examples/"
	build := exec.Command("go", "build", "-o", root+"fizzbuzz/bin/fizzbuzz", root+"fizzbuzz/fizzbuzz")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob(root + "*/*.chaos")
	if err != nil || len(scripts) == 0 {
		t.Fatal("there are no examples", err)
	}
	for _, path := range scripts {
		name := strings.TrimSuffix(filepath.Base(path), ".chaos")
		t.Run(name, func(t *testing.T) {
			want := 0
			if name == "2-not-fit" {
				want = exitUsage
			}
			for format, ext := range map[string]string{"text": ".txt", "md": ".md", "json": ".json"} {
				out, problems, code := asCommand(t, "plan", strings.TrimPrefix(path, "../../"), "--format", format)
				if code != want { // perhaps a port is taken just now: that is no plan to compare, or to keep
					t.Errorf("exit %d, want %d\n%s", code, want, problems)
					return
				}
				if want != 0 && !strings.Contains(problems, "E501") {
					t.Errorf("the problems are not listed:\n%s", problems)
				}
				comparePlan(t, name+ext, withoutMachine(strings.ReplaceAll(out, checkout, "…")))
			}
		})
	}
}

func comparePlan(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "plan", name)
	if *updatePlans {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./cmd/chaos -run TestPlanOfEveryExample -update-plans", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if that is right: go test ./cmd/chaos -run TestPlanOfEveryExample -update-plans\ngot\n%s\nwant\n%s", path, got, want)
	}
}

// everyFamily is a script that makes every family plan, against targets that exist.
func everyFamily(t *testing.T, folder string) string {
	limit := ""
	if os.Geteuid() == 0 {
		limit = fmt.Sprintf("process.limit(pid: %d, pids: 1000) for 1s", victim(t))
	}
	text := fmt.Sprintf(`experiment "one of each" {
  probe state = process.state(pid: %[1]d)
  probe usage = process.usage(pid: %[1]d)
  probe number = process.count(match: "sleep")
  probe home = http.get("http://127.0.0.1:18098/")
  probe load = http.load("http://127.0.0.1:18098/", rate: 10/s)
  probe door = tcp.connect("127.0.0.1:18098")
  probe out = exec.output("true")
  probe file = file.stat("kept")
  probe lines = log.lines("kept", match: "x")
  probe name = dns.lookup("example.org", server: "127.0.0.1:18053")
  probe cores = host.cpu()
  probe ram = host.memory()
  probe space = host.disk("kept")
  probe lo = host.network("lo")
  probe conns = host.tcp()
  probe killed = host.oom()
  probe top = host.top(by: "io")
  probe averages = host.load()
  probe metric = prom.query("up", server: "http://127.0.0.1:18090")
  abort when not state.running or usage.rss > 1TiB or number > 100000 or load.errors > 1000000 or lines.count > 1000
  abort when cores.cores == 0 or ram.total == 0 or space.size == 0 or lo.rx < 0 or conns.active < 0 or killed.kills < 0 or len(top.processes) == 0 or averages.load1 < 0
  steady {
    expect state.running
    expect home.status != 1 or door.ok or out.exit_code == 0 or file.exists or name.ok or metric.value == 1
  }
  inject {
    process.pause(pid: %[1]d) for 1s
    process.nice(pid: %[1]d, value: 5) for 1s
    %[2]s
    process.start("sleep", args: ["1"], ready: "127.0.0.1:18097")
    cpu.stress(workers: 1) for 1s
    memory.stress(size: 1MiB) for 1s
    disk.fill(".", size: 1MiB) for 1s
    network.occupy(port: 18099) for 1s
    file.put("kept", "other") for 1s
    file.put("new", "content") for 1s
    http.send("http://127.0.0.1:18098/break", undo: {method: "DELETE"}) for 1s
    exec.run("touch", args: ["made"], undo: ["rm", "-f", "made"]) for 1s
    exec.run("touch", args: ["made"])
    log("done")
    process.kill(pid: %[1]d, signal: "KILL")
  }
  rollback { when not state.running { exec.run("touch", args: ["made"]) } }
}
`, victim(t), limit)
	for name, content := range map[string]string{"kept": "as it was\n", "every.chaos": text} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "every.chaos")
}

// deadRun makes the folder of a run that ended long ago, which every plan reads.
func deadRun(t *testing.T, state string) {
	dir := filepath.Join(state, "chaos", "runs", "20200101-000000-abcd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	journal := `{"seq":1,"wall":"2020-01-01T00:00:00Z","kind":"run_started","data":{"run":"20200101-000000-abcd"}}
{"seq":2,"wall":"2020-01-01T00:00:01Z","kind":"run_ended","data":{"exit":0}}
`
	for name, content := range map[string]string{"journal.jsonl": journal, "runner.lock": "", "guardian.lock": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The system calls that change something, or could. A plan may make none of them but those that harmlessCall names.
var changing = []string{
	"open", "openat", "openat2", "creat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "splice", "copy_file_range",
	"truncate", "ftruncate", "fallocate", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2",
	"link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat",
	"utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
	"mount", "umount2", "pivot_root", "chroot", "move_mount", "fsmount", "fsopen", "open_tree", "setns", "unshare", "swapon", "swapoff",
	"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "pidfd_getfd", "ptrace", "process_vm_writev",
	"setpriority", "ioprio_set", "sched_setscheduler", "sched_setparam", "sched_setattr", "bpf", "perf_event_open", "init_module", "finit_module",
	"socket", "connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg", "flock", "fsync", "fdatasync", "sync",
	"execve", "execveat", "fork", "vfork", "clone", "clone3", "reboot", "sethostname", "settimeofday", "clock_settime", "adjtimex", "sysctl",
	"keyctl", "add_key", "quotactl", "io_uring_setup", "memfd_create",
}

var (
	writesOpen = regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE`)
	ownOutput  = regexp.MustCompile(`^(p?write(v|64)?|pwritev2?)\([12]<`)
	// The runtime of Go wakes its own poller through an eventfd.
	ownWaking = regexp.MustCompile(`^write\(\d+<anon_inode:\[eventfd\]>`)
)

// harmlessCall names the calls of the list above that a plan makes nevertheless.
func harmlessCall(call string, pid string) bool {
	switch name, _, _ := strings.Cut(call, "("); name {
	case "open", "openat", "openat2":
		// Whether somebody could be asked is found out by opening the terminal; the null device is that of the tests. disk.fill
		// asks the file system whether it knows files without a name, by making one, empty, that is gone when it is closed.
		return !writesOpen.MatchString(call) || strings.Contains(call, `"/dev/tty"`) || strings.Contains(call, `"/dev/null"`) ||
			strings.Contains(call, "O_TMPFILE") && strings.Contains(call, "O_WRONLY|O_CLOEXEC|O_TMPFILE")
	case "write", "writev", "pwrite64", "pwritev", "pwritev2":
		return ownOutput.MatchString(call) || ownWaking.MatchString(call)
	case "clone", "clone3":
		return strings.Contains(call, "CLONE_THREAD") // a thread of its own
	case "tgkill":
		return strings.HasPrefix(call, "tgkill("+pid+",") && strings.Contains(call, "SIGURG") // Go preempts its own threads
	case "ptrace":
		return strings.HasPrefix(call, "ptrace(PTRACE_INTERRUPT, 0)") // of nobody: whether the call is known
	case "pidfd_send_signal":
		return strings.Contains(call, ", 0, NULL, 0)") // whether a signal would be permitted
	case "flock":
		return strings.Contains(call, "LOCK_SH|LOCK_NB") && (strings.Contains(call, ".lock>") || strings.Contains(call, "/locks/")) // whether another run lives, or holds a target
	}
	return false
}

func TestPlanOnlyReads(t *testing.T) {
	needtest.Tools(t, "strace")
	folder, state, trace := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "trace")
	script, examples := everyFamily(t, folder), everyExample(t, folder)
	deadRun(t, state)
	before := snapshot(t, folder) + snapshot(t, state)
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		script string
		format string
		exit   int
	}{{script, "text", 0}, {script, "json", 0}, {script, "md", 0}, {examples, "text", exitUsage}} { // what the examples name is not here
		cmd := exec.Command("strace", "-f", "-qq", "-y", "-s", "200", "-e", "signal=none", "-e", "trace=?"+strings.Join(changing, ",?"), "-o", trace,
			self, "plan", c.script, "--format", c.format)
		cmd.Env = append(os.Environ(), asChaos+"=1", "XDG_STATE_HOME="+state)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.exit || strings.Contains(string(out), "has mistakes") {
			t.Fatalf("exit %d\n%s", code, out)
		}
		data, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		pid, first, _ := strings.Cut(lines[0], " ")
		if !strings.HasPrefix(strings.TrimSpace(first), "execve(") || len(lines) < 20 {
			t.Fatalf("that is no trace of it:\n%s", data)
		}
		for _, line := range lines[1:] {
			_, call, _ := strings.Cut(line, " ")
			call = strings.TrimSpace(call)
			if strings.HasPrefix(call, "<...") { // the rest of a call that is listed above
				continue
			}
			if !harmlessCall(call, pid) {
				t.Errorf("a plan of %s as %s does more than read: %s", filepath.Base(c.script), c.format, call)
			}
		}
	}
	if after := snapshot(t, folder) + snapshot(t, state); after != before {
		t.Errorf("files changed, from\n%s\nto\n%s", before, after)
	}
}

// everyExample is a script of the examples of everything that is registered, so that what is new is traced too.
func everyExample(t *testing.T, folder string) string {
	reg := registries()
	var b strings.Builder
	for _, name := range reg.Names() {
		if strings.HasPrefix(name, "test.") || name == "ask" { // the tests' own; and nobody is there to ask
			continue
		}
		c, _ := reg.Call(name)
		text, ok := exampleScript(c)
		if !ok {
			t.Fatalf("the example of %s cannot be placed", name)
		}
		b.WriteString(text)
	}
	path := filepath.Join(folder, "examples.chaos")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The proof above is worth something only if it notices.
func TestTheTraceNoticesARun(t *testing.T) {
	for _, call := range []string{
		`openat(AT_FDCWD</x>, "/etc/hosts", O_WRONLY|O_CLOEXEC) = 3`, `openat(AT_FDCWD</x>, "a", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</x/a>`, `write(3</x/a>, "x", 1) = 1`,
		`mkdirat(AT_FDCWD</x>, "/run/chaos", 0700) = 0`, `kill(77, SIGTERM) = 0`, `tgkill(77, 77, SIGURG) = 0`, `pidfd_send_signal(3<anon_inode:[pidfd]>, SIGKILL, NULL, 0) = 0`,
		`connect(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(80)}, 16) = 0`, `flock(5</run/chaos/locks/x>, LOCK_EX|LOCK_NB) = 0`,
		`execve("/bin/true", ["true"], 0x1 /* 1 var */) = 0`, `clone(child_stack=NULL, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 78`, `ptrace(PTRACE_SEIZE, 77, NULL, 0) = 0`,
	} {
		if harmlessCall(call, "42") {
			t.Errorf("taken for harmless: %s", call)
		}
	}
}

// snapshot lists what is in a folder, with the times of the last change.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), stat.Mtim.Nano(), stat.Ctim.Nano(), stat.Ino)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPlanHidesSecrets(t *testing.T) {
	const password = "correct-horse-battery"
	t.Setenv("CHAOS_SECRET_DB", password)
	script := writeScript(t, `experiment "secret" {
  probe state = process.count(match: "sleep")
  steady { expect state >= 0 }
  inject { exec.run("touch", args: [secret("DB")], undo: ["rm", "-f", secret("DB")]) for 1s }
}
`)
	for _, format := range []string{"text", "json", "md"} {
		out, problems, code := asCommand(t, "plan", script, "--format", format)
		if code != 0 || strings.Contains(out+problems, password) {
			t.Errorf("as %s, exit %d:\n%s%s", format, code, out, problems)
		}
	}
}

// Setup may make a device: so its absence is a mistake only where there is none.
func TestAPlanLeavesToSetupWhatAProbeWillLookAt(t *testing.T) {
	const body = `experiment "a device" {
  %s
  probe net = host.network("chaos-none0")
  steady { expect net.rx >= 0 }
}
`
	_, problems, code := asCommand(t, "plan", writeScript(t, fmt.Sprintf(body, "")))
	if code != exitUsage || !strings.Contains(problems, `there is no network interface "chaos-none0"`) {
		t.Errorf("without setup: exit %d\n%s", code, problems)
	}
	script := writeScript(t, fmt.Sprintf(body, `setup { log("making it") }`))
	if _, problems, code := asCommand(t, "plan", script); code != 0 {
		t.Errorf("with setup: exit %d\n%s", code, problems)
	}
	if out, problems, code := asCommand(t, "script", script, "--runs", t.TempDir()); code == 0 || !strings.Contains(out+problems, `there is no network interface "chaos-none0"`) {
		t.Errorf("and setup did not bring it: exit %d\n%s%s", code, out, problems)
	}
}

// A plan refuses what a run refuses, and says so in the same words.
func TestPlanAndRunRefuseAlike(t *testing.T) {
	script := writeScript(t, `experiment "unfit" {
  probe out = exec.output("no-such-tool-at-all")
  steady { expect out.exit_code == 0 }
  inject {
    process.pause(match: "nothing-is-called-like-this-17") for 1s
    exec.run("another-tool-that-nobody-has", undo: ["true"]) for 1s
    when out.exit_code == 1 { process.pause(match: "nothing-is-called-like-this-17") for 1s }
  }
}
`)
	_, fromPlan, code := asCommand(t, "plan", script)
	_, fromRun, runCode := asCommand(t, "script", script)
	if code != exitUsage || runCode != exitUsage {
		t.Errorf("exits %d and %d, want 2 and 2", code, runCode)
	}
	problems := func(s string) string {
		return strings.Join(slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return l == "" || strings.Contains(l, "not fit to run here") }), "\n")
	}
	if problems(fromPlan) != problems(fromRun) || strings.Count(fromPlan, "E501") != 3 {
		t.Errorf("plan says\n%s\nscript says\n%s", fromPlan, fromRun)
	}
}

func TestPlanRefusesOnTopOfAnUnrecoveredRun(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "chaos", "runs", "20200101-000000-dead")
	mark := filepath.Join(state, "mark")
	if err := errorsOf(os.MkdirAll(dir, 0o700), os.WriteFile(mark, nil, 0o600), os.WriteFile(filepath.Join(dir, "journal.jsonl"), fmt.Appendf(nil,
		`{"seq":1,"wall":"2020-01-01T00:00:00Z","kind":"run_started","data":{"run":"20200101-000000-dead","pid":1}}
{"seq":2,"wall":"2020-01-01T00:00:01Z","kind":"undo_intended","data":{"id":"u1","step":1,"text":"test.mark","record":{"kind":"test.mark","version":1,"target":{"kind":"","id":""},"args":{"Path":%q},"lifetime":"guardian"}}}
`, mark), 0o600)); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, state)
	script := writeScript(t, "experiment \"x\" {\n  probe n = process.count(match: \"sleep\")\n  steady { expect n >= 0 }\n  inject { wait 1s }\n}\n")
	_, problems, code := asCommand(t, "plan", script, "--runs", filepath.Join(state, "chaos", "runs"))
	if code != exitUsage || !strings.Contains(problems, "chaos recover 20200101-000000-dead") {
		t.Errorf("exit %d:\n%s", code, problems)
	}
	if after := snapshot(t, state); after != before {
		t.Errorf("the old run changed, from\n%s\nto\n%s", before, after)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if _, problems, code := asCommand(t, "plan", script, "--runs", filepath.Join(state, "chaos", "runs")); code != 0 {
		t.Errorf("its fault is gone, but exit %d:\n%s", code, problems)
	}
}

func errorsOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// A target that another run holds is said by the plan already, in the words of the run; and the plan takes it from nobody.
func TestPlanSaysWhoHoldsATarget(t *testing.T) {
	pid := victim(t)
	id, err := target.ProcessIdentity(pid)
	if err != nil {
		t.Fatal(err)
	}
	script := writeScript(t, fmt.Sprintf("experiment \"held\" {\n  probe st = process.state(pid: %[1]d)\n  steady { expect st.running }\n  inject { process.pause(pid: %[1]d) for 1ms }\n}\n", pid))
	self, err := target.ProcessIdentity(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	other := recovery.NewTargetLocks(recovery.Holder{Run: "20200101-000000-abcd", RunsDir: "/elsewhere", Runner: self})
	if err := other.Lock(id); err != nil {
		t.Fatal(err)
	}
	_, fromPlan, code := asCommand(t, "plan", script)
	_, fromRun, runCode := asCommand(t, "script", script)
	other.Close()
	want := fmt.Sprintf("is being used by run 20200101-000000-abcd (pid %d); wait for it, or stop it with `chaos stop 20200101-000000-abcd --runs /elsewhere`", os.Getpid())
	if code != exitUsage || runCode != exitUsage || !strings.Contains(fromPlan, want) || !strings.Contains(fromRun, want) {
		t.Errorf("plan exits with %d and says\n%s\nscript exits with %d and says\n%s", code, fromPlan, runCode, fromRun)
	}
	if _, problems, code := asCommand(t, "plan", script); code != 0 {
		t.Errorf("it was let go, but exit %d:\n%s", code, problems)
	}
	if err := other.Lock(id); err != nil {
		t.Errorf("the plan holds it: %v", err)
	}
	other.Close()
}

// What somebody writes into a script must not become HTML, a mention or a broken table in a pull request.
func TestMarkdownOfAPlanIsInert(t *testing.T) {
	script := writeScript(t, `experiment "a | b @everyone <img src=x>" {
  probe n = process.count(match: "sleep")
  steady { expect n >= 0 }
  inject { exec.run("touch", args: ["a|b `+"`"+`c"], undo: ["rm", "-f", "<b>"]) for 1s }
}
`)
	out, problems, code := asCommand(t, "plan", script, "--format", "md")
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, problems)
	}
	unescaped := regexp.MustCompile(`(^|[^\\])\|`)
	for line := range strings.Lines(out) {
		prose := regexp.MustCompile("`[^`]*`").ReplaceAllString(line, "")
		if strings.Contains(prose, "@everyone") || strings.Contains(prose, "<img") || strings.Contains(prose, "<b>") {
			t.Errorf("not inert: %s", line)
		}
		if strings.HasPrefix(line, "|") && len(unescaped.FindAllString(line, -1)) != 6 {
			t.Errorf("a row has another number of cells: %s", line)
		}
	}
}

func TestPlanAsJSONOfABrokenScript(t *testing.T) {
	out, _, code := asCommand(t, "plan", writeScript(t, "experiment {"), "--format", "json")
	var doc planned
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != exitUsage {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	if doc.Fit || len(doc.Scripts) != 1 || len(doc.Scripts[0].Mistakes) == 0 {
		t.Errorf("it does not say what is wrong:\n%s", out)
	}
}
