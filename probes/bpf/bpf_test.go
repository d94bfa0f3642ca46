package bpf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/needtest"

	"golang.org/x/sys/unix"
)

// roleVar makes the test binary play another program. To the probes a copy of it is one, since it is another file.
const roleVar = "CHAOS_BPF_ROLE"

var roles = map[string]func(args []string) error{"open": openRole, "round": roundRole, "serve": serveRole, "talk": talkRole, "watch": watchRole, "try": tryRole}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		if err := roles[role](os.Args[1:]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// needBPF skips where the kernel refuses, and where this is not root.
func needBPF(t *testing.T) {
	t.Helper()
	for _, tracepoint := range []string{openTracepoint, execTracepoint, sendTracepoint} {
		if err, _ := Refused(needPrefix + tracepoint); err != nil {
			needtest.Lacks(t, err)
		}
	}
}

// program copies the test binary, so that it is not chaos itself.
func program(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "chaos-bpf-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// player is a process that plays a role. It does the next part of it at each line that it reads.
type player struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func play(t *testing.T, path, role string, args ...string) *player {
	t.Helper()
	p := &player{t: t, cmd: exec.Command(path, args...)}
	p.cmd.Env = append(os.Environ(), roleVar+"="+role)
	p.cmd.Stderr = os.Stderr
	p.in, _ = p.cmd.StdinPipe()
	out, _ := p.cmd.StdoutPipe()
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

func (p *player) pid() int { return p.cmd.Process.Pid }

// said reads one line.
func (p *player) said() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error:") {
		p.t.Fatalf("%s: %q, %v", filepath.Base(p.cmd.Path), line, err)
	}
	return strings.TrimSpace(line)
}

// next lets the next part be played and waits for its end.
func (p *player) next() string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		p.t.Fatal(err)
	}
	return p.said()
}

// stage reads the lines of next, from the other side.
var stage = bufio.NewReader(os.Stdin)

func await() error { _, err := stage.ReadString('\n'); return err }

// openRole opens a file as often as it is told, in every way that there is, and one that is not there.
func openRole(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for {
		if await() != nil {
			return nil
		}
		for range n {
			fd, err := unix.Openat(unix.AT_FDCWD, args[0], unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			unix.Close(fd)
			if fd, err = unix.Openat2(unix.AT_FDCWD, args[0], &unix.OpenHow{Flags: unix.O_RDONLY}); err != nil {
				return err
			}
			unix.Close(fd)
			if runtime.GOARCH == "amd64" { // the others have no such system calls
				path := append([]byte(args[0]), 0)
				for _, call := range []struct{ number, flags uintptr }{{2, unix.O_RDONLY}, {85, 0o644}} { // open, creat
					fd, errno := openAs(call.number, path, call.flags)
					if errno != 0 {
						return errno
					}
					unix.Close(fd)
				}
			}
			if _, err := unix.Open(args[0]+".not-there", unix.O_RDONLY, 0); err != unix.ENOENT {
				return fmt.Errorf("%s.not-there: %v", args[0], err)
			}
		}
		fmt.Println("opened")
	}
}

// roundRole opens many files in turn, as often as it is told.
func roundRole(args []string) error {
	files, err := filepath.Glob(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := await(); err != nil {
		return err
	}
	for range n {
		for _, file := range files {
			fd, err := unix.Open(file, unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			for range 30 { // some time between them, less than one can sleep
				unix.Close(fd)
			}
		}
	}
	fmt.Println("opened")
	return await()
}

// serveRole accepts one connection, reads all of it, and answers with a number of bytes.
func serveRole(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	answer, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, c)
	if err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, answer)); err != nil {
		return err
	}
	c.Close()
	fmt.Println(n)
	return await()
}

// talkRole connects, then sends by write, then a file by sendfile, then peeks at and reads the answer.
func talkRole(args []string) error {
	if err := await(); err != nil {
		return err
	}
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("connected")
	if err := await(); err != nil {
		return err
	}
	written, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, written)); err != nil {
		return err
	}
	f, err := os.Open(args[2])
	if err != nil {
		return err
	}
	if _, err := io.Copy(c, f); err != nil {
		return err
	}
	tcp := c.(*net.TCPConn)
	if err := tcp.CloseWrite(); err != nil {
		return err
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	peeked := 0
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 100), unix.MSG_PEEK)
		peeked = n
		return err != unix.EAGAIN
	})
	if err != nil || peeked <= 0 {
		return fmt.Errorf("peeked %d bytes: %v", peeked, err)
	}
	n, err := io.Copy(io.Discard, c)
	if err != nil {
		return err
	}
	fmt.Println(n)
	return await()
}

func probeNamed(t *testing.T, name string, trace tracefs) probes.Probe {
	t.Helper()
	for _, p := range allOn(trace) {
		if p.Spec().Name == name {
			return p
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

func str(s string) value.Value { return value.StringOf(s) }

// watching opens a probe and starts it.
func watching(t *testing.T, name string, args map[string]value.Value) probes.Streamer {
	t.Helper()
	o, err := probeNamed(t, name, mountedTracefs).Open(context.Background(), env.Env{}, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	s := o.(probes.Streamer)
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// number reads a number of a sample.
func number(t *testing.T, v value.Value, path ...string) int {
	t.Helper()
	for _, p := range path {
		v = v.Get(p)
	}
	if v.IsMissing() {
		t.Fatalf("%v: %s", path, v.Why())
	}
	return int(v.Float())
}

func only(t *testing.T, list value.Value) value.Value {
	t.Helper()
	if len(list.Items()) != 1 {
		t.Fatalf("the list has %d entries, want 1: %s", len(list.Items()), list)
	}
	return list.Items()[0]
}

func TestOpensAreCountedExactlyByPathAndProcess(t *testing.T) {
	needBPF(t)
	path := program(t, "opener")
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := play(t, path, "open", file, "25")
	s := watching(t, "host.opens", map[string]value.Value{"match": str("^" + file)})
	ways := 2
	if runtime.GOARCH == "amd64" {
		ways = 4
	}
	for window := range 3 {
		p.next()
		v, _ := s.Next()
		if count, failed, lost := number(t, v, "count"), number(t, v, "failed"), number(t, v, "lost"); count != 25*ways || failed != 25 || lost != 0 {
			t.Errorf("window %d: count %d, failed %d, lost %d; want %d, 25 and 0", window, count, failed, lost, 25*ways)
		}
		files := v.Get("files").Items()
		if len(files) != 2 {
			t.Fatalf("files: %s", v.Get("files"))
		}
		if f := files[0]; f.Get("path").Text() != file || f.Get("name").Text() != "opener" || number(t, f, "pid") != p.pid() || number(t, f, "count") != 25*ways {
			t.Errorf("the first file is %s", f)
		}
		if f := files[1]; f.Get("path").Text() != file+".not-there" || number(t, f, "failed") != 25 {
			t.Errorf("the second file is %s", f)
		}
	}
	for range 2 { // the first takes the paths out of the table
		if v, _ := s.Next(); number(t, v, "count") != 0 || len(v.Get("files").Items()) != 0 {
			t.Errorf("a window in which nothing happened: %s", v)
		}
	}
	p.next()
	if v, _ := s.Next(); number(t, v, "count") != 25*ways || number(t, v, "failed") != 25 {
		t.Errorf("after a pause: %s", v)
	}
}

func TestNothingIsLostWhileWhatIsIdleIsTakenOut(t *testing.T) {
	needBPF(t)
	path := program(t, "opener")
	const files, times = 100, 1000
	prefix := filepath.Join(filepath.Dir(path), "file")
	for i := range files {
		if err := os.WriteFile(prefix+strconv.Itoa(i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := play(t, path, "round", prefix+"*", strconv.Itoa(times))
	s := watching(t, "host.opens", map[string]value.Value{"match": str("^" + prefix)})
	done := make(chan error, 1)
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := p.out.ReadString('\n')
		done <- err
		close(done)
	}()
	seen, after := 0, 0
	for after < 3 { // windows so short that in each of them most files are not opened
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			after++
		default:
		}
		v, _ := s.Next()
		seen += number(t, v, "count") + number(t, v, "lost")
	}
	if seen != files*times {
		t.Errorf("%d files were opened %d times, and %d were seen", files, times, seen)
	}
}

func TestAnotherProcessOrPathIsNotCounted(t *testing.T) {
	needBPF(t)
	path := program(t, "opener")
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := play(t, path, "open", file, "1")
	q := play(t, path, "open", file, "1")
	byPid := watching(t, "host.opens", map[string]value.Value{"match": str(file + "$"), "pid": value.NumberOf(float64(p.pid()))})
	byName := watching(t, "host.opens", map[string]value.Value{"match": str(file + "$"), "name": str("opener"), "count": value.NumberOf(1)})
	byOther := watching(t, "host.opens", map[string]value.Value{"match": str(file + "$"), "name": str("another")})
	p.next()
	q.next()
	a, _ := byPid.Next()
	b, _ := byName.Next()
	c, _ := byOther.Next()
	once := number(t, a, "count")
	if once == 0 || number(t, b, "count") != 2*once || number(t, c, "count") != 0 {
		t.Errorf("by pid %d, by name %d, by another name %d; want n, 2n and 0", once, number(t, b, "count"), number(t, c, "count"))
	}
	only(t, b.Get("files")) // count: 1
}

func TestChaosItselfIsNotCounted(t *testing.T) {
	needBPF(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	opens := watching(t, "host.opens", map[string]value.Value{"match": str("^" + file)})
	execs := watching(t, "host.execs", map[string]value.Value{"pid": value.NumberOf(float64(os.Getpid()))})
	flows := watching(t, "host.flows", map[string]value.Value{"match": str(fmt.Sprintf(":%d$", l.Addr().(*net.TCPAddr).Port))})
	if _, err := os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	// As the runner starts its helpers: the same file, a process of its own.
	helper := play(t, "/proc/self/exe", "open", file, "3")
	helper.next()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if v, _ := opens.Next(); number(t, v, "count") != 0 {
		t.Errorf("opens: %s", v)
	}
	if v, _ := execs.Next(); number(t, v, "count") != 0 {
		t.Errorf("execs: %s", v)
	}
	if v, _ := flows.Next(); number(t, v, "connects") != 0 || number(t, v, "sent") != 0 {
		t.Errorf("flows: %s", v)
	}
}

func TestExecsAreCountedExactlyByParent(t *testing.T) {
	needBPF(t)
	path := program(t, "executed")
	s := watching(t, "host.execs", map[string]value.Value{"match": str("^" + path + "$")})
	sh := exec.Command("/bin/sh", "-c", `i=0; while [ $i -lt 12 ]; do "$0" 2>/dev/null; i=$((i+1)); done; true`, path)
	sh.Env = append(os.Environ(), roleVar+"=open") // with too few arguments it ends at once
	if err := sh.Run(); err != nil {
		t.Fatal(err)
	}
	v, _ := s.Next()
	if number(t, v, "count") != 12 || number(t, v, "lost") != 0 {
		t.Errorf("%s, want a count of 12", v)
	}
	if p := only(t, v.Get("programs")); p.Get("path").Text() != path || p.Get("name").Text() != "sh" || number(t, p, "pid") != sh.Process.Pid || number(t, p, "count") != 12 {
		t.Errorf("the program is %s, want 12 of sh, pid %d", p, sh.Process.Pid)
	}
}

func TestBytesOverTCPAreCountedExactlyOnBothSides(t *testing.T) {
	needBPF(t)
	path := program(t, "talker")
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 70_000), 0o644); err != nil {
		t.Fatal(err)
	}
	const written, sentFile, answered = 1_000_000, 70_000, 12_345
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			server := play(t, path, "serve", net.JoinHostPort(ip, "0"), strconv.Itoa(answered))
			address := server.said()
			_, port, _ := net.SplitHostPort(address)
			client := play(t, path, "talk", address, strconv.Itoa(written), file)
			match := map[string]value.Value{"match": str(":" + port + "$")}
			s := watching(t, "host.flows", match)
			client.next()
			if v, _ := s.Next(); number(t, v, "connects") != 1 || number(t, v, "sent") != 0 {
				t.Errorf("after connecting: %s", v)
			}
			later := watching(t, "host.flows", match) // the connection is there already
			if got := client.next(); got != strconv.Itoa(answered) {
				t.Fatalf("the client got %s bytes", got)
			}
			if got := server.said(); got != strconv.Itoa(written+sentFile) {
				t.Fatalf("the server got %s bytes", got)
			}
			for _, s := range []probes.Streamer{s, later} {
				v, _ := s.Next()
				const all = written + sentFile + answered
				if number(t, v, "sent") != all || number(t, v, "received") != all || number(t, v, "connects") != 0 || number(t, v, "lost") != 0 {
					t.Errorf("%s, want %d bytes both ways", v, all)
				}
				flows := map[string]value.Value{}
				for _, f := range v.Get("flows").Items() {
					flows[f.Get("direction").Text()] = f
					if f.Get("peer").Text() != ip || f.Get("port").Float() == 0 || strconv.Itoa(number(t, f, "port")) != port || f.Get("name").Text() != "talker" {
						t.Errorf("a flow that is not ours: %s", f)
					}
				}
				if out := flows["out"]; len(flows) != 2 || number(t, out, "pid") != client.pid() || number(t, out, "sent") != written+sentFile || number(t, out, "received") != answered {
					t.Errorf("the client's flow is %s", out)
				}
				if in := flows["in"]; number(t, in, "pid") != server.pid() || number(t, in, "sent") != answered || number(t, in, "received") != written+sentFile {
					t.Errorf("the server's flow is %s", in)
				}
			}
		})
	}
}

func TestWhatFindsNoRoomIsSaidToBeLost(t *testing.T) {
	needBPF(t)
	f, err := newFilter(who{Count: 5}, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(opens, f, mountedTracefs, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := program(t, "opener")
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := play(t, path, "open", file, "10")
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.next() // two paths, room for one
	v, _ := s.Next()
	if number(t, v, "lost") < 10 {
		t.Errorf("%s, want at least 10 lost", v)
	}
}

func TestSummaryIsTheSumOfItsWindows(t *testing.T) {
	of := func(path string, n uint64) *window {
		w := &window{kind: opens, top: 2, elapsed: time.Second, lost: 1, entries: map[entry]counts{}}
		w.add(entry{Pid: 7, Name: "a", What: path, N: counts{n, 1}})
		w.add(entry{Pid: 7, Name: "a", What: "/both", N: counts{2, 0}})
		return w
	}
	a, b := of("/one", 5), of("/two", 9)
	var restored probes.Mergeable
	for _, w := range []probes.Mergeable{a, b} {
		data, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		r, err := restore(opens, data)
		if err != nil {
			t.Fatal(err)
		}
		if restored == nil {
			restored = r
		} else {
			restored.Merge(r)
		}
	}
	a.Merge(b)
	v := a.Value()
	if number(t, v, "count") != 18 || number(t, v, "failed") != 2 || number(t, v, "lost") != 2 || v.Get("rate").Float() != 9 {
		t.Errorf("the sum is %s", v)
	}
	if files := v.Get("files").Items(); len(files) != 2 || files[0].Get("path").Text() != "/two" || files[1].Get("path").Text() != "/one" {
		t.Errorf("the largest are %s", v.Get("files"))
	}
	if got := restored.Value(); got.String() != v.String() {
		t.Errorf("from the journal: %s\nlive:             %s", got, v)
	}
	for range 3 * maxMerged {
		w := &window{kind: opens, top: 2, entries: map[entry]counts{}}
		w.add(entry{What: strconv.Itoa(len(a.entries)) + strconv.Itoa(int(a.sum[0])), N: counts{1}})
		a.Merge(w)
	}
	if len(a.entries) > 2*maxMerged {
		t.Errorf("a summary keeps %d entries, want at most %d", len(a.entries), 2*maxMerged)
	}
	if v := a.Value(); number(t, v, "count") != 18+3*maxMerged || v.Get("files").Items()[0].Get("path").Text() != "/two" {
		t.Errorf("after many more: %s", v)
	}
	if _, err := restore(opens, json.RawMessage(`{"top": 0}`)); err == nil {
		t.Error("a damaged window is restored")
	}
}
