// Package promtest starts a real Prometheus and a real node exporter for tests: on loopback, on free ports, in a folder of the
// test, and gone with it.
package promtest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/runtime/needtest"
)

// Program is a running process of a test.
type Program struct {
	Address string // host:port
	command *exec.Cmd
	ended   chan struct{}
}

// Config is a configuration that scrapes these targets, as job=address, every 200ms.
func Config(targets ...string) string {
	var b strings.Builder
	b.WriteString("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n")
	for _, t := range targets {
		job, address, _ := strings.Cut(t, "=")
		fmt.Fprintf(&b, "- job_name: %s\n  static_configs: [{targets: [%q]}]\n", job, address)
	}
	return b.String()
}

// Server starts a Prometheus, and returns when it answers. Its first scrape comes five seconds later. What it stores is kept
// in dir, so that a second one can go on where the first ended.
func Server(t testing.TB, dir, config string) *Program {
	t.Helper()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "/-/ready", "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=%s")
}

// Exporter starts a node exporter that only tells the load of the machine.
func Exporter(t testing.TB) *Program {
	t.Helper()
	return start(t, "/metrics", "prometheus-node-exporter", "--web.listen-address=%s", "--collector.disable-defaults", "--collector.loadavg")
}

// start puts a free port where %s stands, and waits until the program answers at path.
func start(t testing.TB, path, name string, args ...string) *Program {
	t.Helper()
	need(t, name)
	p := &Program{Address: freeAddress(t), ended: make(chan struct{})}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "%s", p.Address)
	}
	p.command = exec.Command(name, args...)
	var said strings.Builder
	p.command.Stderr = &said
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // should the test itself be killed
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that started the process
		defer runtime.UnlockOSThread()
		err := p.command.Start()
		begun <- err
		if err == nil {
			p.command.Wait()
		}
		close(p.ended)
	}()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	for wait := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if r, err := http.Get("http://" + p.Address + path); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return p
			}
		}
		if time.Since(wait) > 30*time.Second {
			p.Stop()
			t.Fatalf("%s does not answer at %s: %s", name, p.Address, said.String())
		}
	}
}

// need fails in CI and skips elsewhere when a tool is not there.
func need(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	needtest.Lacks(t, fmt.Sprintf("%s is not installed (Debian: apt-get install prometheus prometheus-node-exporter)", name))
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// URL is where the program answers.
func (p *Program) URL() string { return "http://" + p.Address }

// Stop ends the program and waits for its end. It may be called twice.
func (p *Program) Stop() { p.end(syscall.SIGTERM) }

// Crash ends it at once.
func (p *Program) Crash() { p.end(syscall.SIGKILL) }

func (p *Program) end(signal syscall.Signal) {
	p.command.Process.Signal(signal) // one that has ended is known to be waited for
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.command.Process.Kill()
		<-p.ended
	}
}

// WaitFor waits until a query of this Prometheus gives a series.
func (p *Program) WaitFor(t testing.TB, query string) {
	t.Helper()
	var last string
	for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		answer, err := http.Get(p.URL() + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			last = err.Error()
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if last = string(body); strings.Contains(last, `"value":`) {
			return
		}
	}
	t.Fatalf("%s gives nothing: %s", query, last)
}
