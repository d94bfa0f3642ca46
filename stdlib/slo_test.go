package stdlib_test

import (
	"encoding/pem"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaos/probes/prom/promtest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// TestSLO judges a shop by a real Prometheus that scrapes it, with 200 requests a second.
func TestSLO(t *testing.T) {
	var failing, slow atomic.Int32 // per cent of the requests
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total"}, []string{"code"})
	durations := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "http_request_duration_seconds", Buckets: []float64{0.000025, 0.1, 0.3, 1}})
	registry := prometheus.NewRegistry()
	registry.MustRegister(requests, durations)
	shop := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer shop.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
			case <-ended:
				tick.Stop()
				return
			}
			code, took := "200", 0.05
			if rand.Int32N(100) < failing.Load() {
				code = "503"
			}
			if rand.Int32N(100) < slow.Load() {
				took = 0.5
			}
			requests.WithLabelValues(code).Inc()
			durations.Observe(took)
		}
	}()
	server := promtest.Server(t, t.TempDir(), promtest.Config("shop="+shop.Listener.Addr().String()))
	server.WaitFor(t, `rate(http_requests_total{code="200"}[2s]) > 0`)

	limit, at, more := "300ms", server.URL(), map[string]string{}
	// Each expect is judged until it holds, or until settle has passed. Where a busy machine was late with a scrape, there is
	// no current sample for a moment, which says nothing about the module: it is judged again.
	judge := func(what string, exit int, settle string, failing string, expects ...string) {
		t.Helper()
		script := `use "std/slo"
param at: string
param ca = ""
param insecure = false
param age = 0s
experiment "the shop keeps its promise" {
  probe brief = slo.availability_of("", over: 2s, at: at, max_age: age, ca: ca, insecure: insecure) every 200ms
  probe timely = slo.in_time_of("", bound: slo.limit, over: 2s, at: at, max_age: age, ca: ca, insecure: insecure) every 200ms
  probe burning = slo.burn_of("", over: 2s, at: at, max_age: age, ca: ca, insecure: insecure) every 200ms
  steady {
    settle: ` + settle + `
    expect ` + strings.Join(expects, "\n    expect ") + `
  }
}`
		params := map[string]string{
			"slo.server": at, "at": at, "slo.labels": `job="shop"`, "slo.window": "2s", "slo.limit": limit, "slo.period": "200ms", "slo.limit_objective": "90%",
		}
		maps.Copy(params, more)
		got, failed := run(t, script, params)
		as := func() bool { return got == exit && strings.Contains(strings.Join(failed, "\n"), failing) }
		for end := time.Now().Add(20 * time.Second); !as() && strings.Contains(strings.Join(failed, "\n"), "there is no current sample") && time.Now().Before(end); {
			time.Sleep(100 * time.Millisecond)
			got, failed = run(t, script, params)
		}
		if !as() {
			t.Errorf("%s: exit %d, %q", what, got, failed)
		}
	}
	judge("a healthy shop", 0, "20s", "", "slo.healthy", "slo.burn == 0", "brief.value == 100% and timely.value == 100% and burning.value == 0")

	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(target))
	defer front.Close()
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // of the clients that do not trust it
	at = front.URL
	numbers := []string{"slo.available", "slo.fast", "brief.value == 100%", "timely.value == 100%", "burning.value == 0"}
	for _, number := range numbers {
		judge("a Prometheus that nobody vouches for", 3, "1ms", "certificate", number)
	}
	more = map[string]string{"slo.server_insecure": "true", "insecure": "true"}
	judge("any certificate", 0, "20s", "", numbers...)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	more = map[string]string{"slo.server_ca": ca, "ca": ca}
	judge("a certificate of its own", 0, "20s", "", numbers...)
	at, more = server.URL(), map[string]string{"slo.sample_age": "1ms", "age": "1ms"}
	for _, number := range numbers {
		judge("samples that are too old", 3, "1ms", "`max_age` is 1ms", number)
	}
	more = nil

	failing.Store(20)
	server.WaitFor(t, `sum(rate(http_requests_total{code="503"}[2s])) / sum(rate(http_requests_total[2s])) > 0.1`)
	judge("a fifth fails", 3, "1ms", "slo.healthy", "slo.healthy")
	// A fifth is 200 times what 99.9% grants, give or take what chance does to 400 requests.
	judge("by how much", 0, "20s", "", "not slo.available and slo.fast", "slo.burn > 100 and slo.burn < 300",
		"brief.value > 70% and brief.value < 90%", "burning.value > 100 and burning.value < 300")
	failing.Store(0)
	judge("all is well again", 0, "20s", "", "slo.healthy")

	slow.Store(30)
	limit = "250ms"
	judge("no bucket ends there", 3, "1ms", "`http_request_duration_seconds_bucket` has 5, but none with {le=~\"0.25([.]0)?\"", "timely.value >= 0%")
	limit = "1s"
	judge("a bound that Prometheus writes in two ways", 0, "20s", "", "timely.value == 100%")
	limit = "25us"
	judge("a bound that Prometheus writes with an exponent", 0, "20s", "", "timely.value == 0% and slo.in_time.value == 0%")
	limit = "300ms"
	judge("a third is late", 0, "20s", "", "slo.available and not slo.fast and not slo.healthy", "timely.value > 50% and timely.value < 85%")

	shop.Close()
	server.WaitFor(t, "up == 0")
	// While the window holds samples, and also when it holds none any more.
	judge("nobody there to be judged", 3, "1ms", "of `http_requests_total", "slo.available")
}
