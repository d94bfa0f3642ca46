package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const aPause = `experiment "watched" {
  setup { process.start("sleep", args: ["60"]) as worker }
  probe state = process.state(worker) every 50ms
  steady { expect state.running }
  hypothesis { always state.running }
  inject { process.pause(worker) for 300ms }
}
`

// The verdict can be scraped after the end, and Ctrl-C ends the waiting, not the exit code.
func TestMetricsOfARun(t *testing.T) {
	p := startChaos(t, "script", writeScript(t, aPause), "--metrics", "127.0.0.1:0", "--metrics-hold", "60s")
	scrape := func(want string) (text string) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			address := regexp.MustCompile(`metrics at (http://\S+)`).FindStringSubmatch(p.output.String())
			if address == nil {
				continue
			}
			answer, err := http.Get(address[1])
			if err != nil {
				continue
			}
			data, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if text = string(data); strings.Contains(text, want) {
				return text
			}
		}
		t.Fatalf("never saw %s; the last was\n%s\nit said\n%s", want, text, p.output.String())
		return ""
	}
	scrape(`chaos_faults_active{experiment="watched"} 1`)
	if text := scrape(`verdict="held"} 1`); !strings.Contains(text, `chaos_faults_active{experiment="watched"} 0`) {
		t.Errorf("after the end:\n%s", text)
	}
	scrape(`chaos_run_exit_code{`)
	for !strings.Contains(p.output.String(), "metrics stay up") {
		time.Sleep(time.Millisecond)
	}
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGINT)
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, p.output.String())
	}
}

// The token comes from the secrets, and a Grafana that fails is told of without it and changes nothing.
func TestAnnotatingARun(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	fail := false
	grafana := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		data, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.Header.Get("Authorization")+" "+string(data))
		if fail {
			w.WriteHeader(http.StatusForbidden)
		}
		fmt.Fprintf(w, `{"id":%d}`, len(asked))
	}))
	defer grafana.Close()
	script, secrets := writeScript(t, aPause), filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("GRAFANA_TOKEN=glsa_0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func() string {
		p := startChaos(t, "script", script, "--annotate", grafana.URL, "--secrets", secrets)
		<-p.exited
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("it ended with %d:\n%s", code, p.output.String())
		}
		return p.output.String()
	}
	run()
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 4 { // the experiment and the fault, each begun and ended
		t.Errorf("Grafana was asked for\n%s", strings.Join(asked, "\n"))
	}
	for _, a := range asked {
		if !strings.Contains(a, " Bearer glsa_0123456789 ") {
			t.Errorf("a request without the token: %s", a)
		}
	}
	fail = true
	mu.Unlock()
	said := run()
	mu.Lock()
	if !strings.Contains(said, "2 annotations could not be written") || strings.Contains(said, "glsa_") {
		t.Errorf("it said\n%s", said)
	}
}
