package stdlib_test

import (
	"math/rand/v2"
	"net/http/httptest"
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
	durations := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "http_request_duration_seconds", Buckets: []float64{0.1, 0.3, 1}})
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

	limit := "300ms"
	// Each expect is judged until it holds, or until settle has passed. Where a busy machine was late with a scrape, there is
	// no current sample for a moment, which says nothing about the module: it is judged again.
	judge := func(what string, exit int, settle string, failing string, expects ...string) {
		t.Helper()
		script := `use "std/slo"
param at: string
experiment "the shop keeps its promise" {
  probe brief = slo.availability_of("", over: 2s, at: at) every 200ms
  probe timely = slo.in_time_of("", bound: slo.limit, over: 2s, at: at) every 200ms
  probe burning = slo.burn_of("", over: 2s, at: at) every 200ms
  steady {
    settle: ` + settle + `
    expect ` + strings.Join(expects, "\n    expect ") + `
  }
}`
		params := map[string]string{
			"slo.server": server.URL(), "at": server.URL(), "slo.labels": `job="shop"`, "slo.window": "2s", "slo.limit": limit, "slo.period": "200ms", "slo.limit_objective": "90%",
		}
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
	judge("no bucket ends there", 3, "1ms", "`http_request_duration_seconds_bucket` has 4, but none with {le=~\"0.25([.]0)?\"", "timely.value >= 0%")
	limit = "1s"
	judge("a bound that Prometheus writes in two ways", 0, "20s", "", "timely.value == 100%")
	limit = "300ms"
	judge("a third is late", 0, "20s", "", "slo.available and not slo.fast and not slo.healthy", "timely.value > 50% and timely.value < 85%")

	shop.Close()
	server.WaitFor(t, "up == 0")
	// While the window holds samples, and also when it holds none any more.
	judge("nobody there to be judged", 3, "1ms", "of `http_requests_total", "slo.available")
}
