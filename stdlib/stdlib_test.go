package stdlib_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaos/actions"
	"chaos/actions/cpu"
	"chaos/actions/log"
	"chaos/actions/memory"
	"chaos/actions/process"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/probes"
	"chaos/probes/host"
	probehttp "chaos/probes/http"
	"chaos/probes/prom"
	"chaos/runtime"
	"chaos/runtime/event"
	"chaos/stdlib"
)

func registries() runtime.Registries { return registriesIn(host.All()...) }

// registriesIn takes the probes of the host from elsewhere than this machine.
func registriesIn(hosts ...probes.Probe) runtime.Registries {
	a := actions.NewRegistry(log.All()...)
	a.Add(process.All()...)
	a.Add(cpu.All()...)
	a.Add(memory.All()...)
	p := probes.NewRegistry(probehttp.All()...)
	p.Add(hosts...)
	p.Add(prom.All()...)
	return runtime.Registries{Actions: a, Probes: p}
}

func checked(t *testing.T, text string) *check.Script {
	t.Helper()
	file, ds := syntax.Parse(diag.NewSource("test.chaos", text))
	script, more := check.File(file, registries(), check.Options{Std: stdlib.FS()})
	if list := append(diag.List(ds), more...); len(list) > 0 {
		t.Fatal(list)
	}
	return script
}

// TestEachModule checks every module against the families that there are, and that everything in it is explained.
func TestEachModule(t *testing.T) {
	names, err := fs.Glob(stdlib.FS(), "*.chaos")
	if err != nil || len(names) < 2 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		module := strings.TrimSuffix(name, ".chaos")
		t.Run(module, func(t *testing.T) {
			checked(t, fmt.Sprintf("use \"std/%s\"\n", module))
			data, err := fs.ReadFile(stdlib.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			tree, _ := syntax.Parse(diag.NewSource(name, string(data)))
			for _, item := range tree.Items {
				help, what := "", ""
				switch s := item.(type) {
				case *syntax.Param:
					help, what = s.Help, s.Name.Text
				case *syntax.Let:
					help, what = s.Help, s.Name.Text
				case *syntax.Probe:
					help, what = s.Help, s.Name.Text
				case *syntax.Action:
					help, what = s.Help, s.Name.Text
				default:
					t.Errorf("%s: a module has no such statement", item.At())
				}
				if help == "" {
					t.Errorf("%s: `%s` has no comment above it", item.At(), what)
				}
			}
		})
	}
}

// run runs a script and returns its exit code and the texts of the failed checks.
func run(t *testing.T, text string, params map[string]string) (exit int, failed []string) {
	t.Helper()
	return runWith(t, registries(), text, params)
}

// runWith shows each event of the run to those who want to see them.
func runWith(t *testing.T, reg runtime.Registries, text string, params map[string]string, shown ...func(event.Event)) (exit int, failed []string) {
	t.Helper()
	script := checked(t, text)
	bound, ds := check.Bind(script, script.Params, check.Given{Flags: params})
	if len(ds) > 0 {
		t.Fatal(diag.List(ds))
	}
	dir := t.TempDir()
	res, err := runtime.New(runtime.Options{
		Script: script, Registries: reg, Params: bound.Params, Seed: 1, Dir: dir, RunsDir: dir,
		Sinks: []event.Sink{event.SinkFunc(func(e event.Event) {
			for _, show := range shown {
				show(e)
			}
			if c, ok := e.Data.(event.CheckJudged); ok && c.Result != "held" {
				failed = append(failed, fmt.Sprint(c.Text, c.Operands))
			}
		})},
	}).Execute(context.Background())
	if err != nil {
		t.Error(err)
	}
	return res.Exit, failed
}

func TestWeb(t *testing.T) {
	var broken atomic.Bool
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case broken.Load() && r.URL.Path == "/slow":
			select {
			case <-time.After(300 * time.Millisecond):
			case <-r.Context().Done():
			}
		case broken.Load() && r.URL.Path == "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if broken.Load() && r.URL.Path == "/blank" {
			return
		}
		fmt.Fprint(w, "the shop")
	}))
	defer page.Close()
	const script = `use "std/web"
param other: string
experiment "the shop stays up" {
  probe cart = web.page(other, timeout: 1s) every 50ms
  probe load = web.traffic(other, rate: 100/s) every 100ms
  steady { expect web.healthy and cart.ok and load.errors == 0 }
  hypothesis {
    always web.healthy
    expect during.load.requests > 0 and during.web.home.latency.p99 < 1s
  }
  inject { wait 300ms }
}`
	params := func(path string) map[string]string {
		return map[string]string{"web.url": page.URL + path, "web.text": "shop", "web.limit": "200ms", "web.period": "50ms", "other": page.URL + "/cart"}
	}
	if exit, failed := run(t, script, params("/")); exit != 0 {
		t.Errorf("a healthy page: exit %d, %v", exit, failed)
	}
	broken.Store(true)
	for _, path := range []string{"/down", "/slow", "/blank"} {
		if exit, failed := run(t, script, params(path)); exit != 3 || len(failed) == 0 || !strings.Contains(failed[0], "web.healthy") {
			t.Errorf("%s: exit %d, %v", path, exit, failed)
		}
	}
}
