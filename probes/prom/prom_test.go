package prom_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/probes/prom"
	"chaos/probes/prom/promtest"
	"chaos/runtime/env"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type args map[string]value.Value

func str(s string) value.Value { return value.StringOf(s) }

func open(t *testing.T, name string, a args) (probes.Sampler, error) {
	t.Helper()
	return openIn(t, env.Env{Dir: t.TempDir()}, name, a)
}

func openIn(t *testing.T, e env.Env, name string, a args) (probes.Sampler, error) {
	t.Helper()
	for _, p := range prom.All() {
		if p.Spec().Name == name {
			o, err := p.Open(context.Background(), e, a)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { o.Close() })
			return o.(probes.Sampler), nil
		}
	}
	t.Fatalf("there is no probe %s", name)
	return nil, nil
}

func opened(t *testing.T, name string, a args) probes.Sampler {
	t.Helper()
	s, err := open(t, name, a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// soon samples until the result is as wanted: a scrape on a busy machine may be late.
func soon(t *testing.T, s probes.Sampler, what string, ok func(value.Value, error) bool) (v value.Value, err error) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		if v, err = s.Sample(context.Background()); ok(v, err) {
			return v, err
		}
	}
	t.Errorf("never %s; the last sample is %s, %v", what, v, err)
	return v, err
}

func wantNumber(t *testing.T, s probes.Sampler, field string, want float64) value.Value {
	t.Helper()
	v, _ := soon(t, s, fmt.Sprint(field, " is ", want), func(v value.Value, err error) bool { return err == nil && v.Get(field).Float() == want })
	return v
}

func wantNone(t *testing.T, s probes.Sampler, parts ...string) {
	t.Helper()
	soon(t, s, fmt.Sprintf("no data for %q", parts), func(_ value.Value, err error) bool {
		for _, p := range parts {
			if err == nil || !strings.Contains(err.Error(), p) {
				return false
			}
		}
		return true
	})
}

// app is a program with metrics of its own.
type app struct {
	*httptest.Server
	gauge    prometheus.Gauge
	requests *prometheus.CounterVec
	latency  prometheus.Histogram
	frozen   atomic.Int64 // the time that `frozen` carries, in ms; 0 for none
}

func startApp(t *testing.T) *app {
	t.Helper()
	a := &app{
		gauge:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "app_depth"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "app_requests_total"}, []string{"code"}),
		latency:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "app_seconds"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(a.gauge, a.requests, a.latency)
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		metrics.ServeHTTP(w, r)
		if at := a.frozen.Load(); at != 0 {
			fmt.Fprintf(w, "app_frozen 7 %d\n", at)
		}
	}))
	t.Cleanup(a.Close)
	for _, code := range []string{"200", "404", "500"} {
		a.requests.WithLabelValues(code).Add(10)
	}
	return a
}

func (a *app) address() string { return a.Listener.Addr().String() }

func TestAgainstARealPrometheus(t *testing.T) {
	a := startApp(t)
	exporter := promtest.Exporter(t)
	nobody := "127.0.0.1:1"
	config := promtest.Config("app="+a.address(), "node="+exporter.Address) +
		"remote_read: [{url: \"http://" + nobody + "/read\", read_recent: true, required_matchers: {far: \"yes\"}}]\n"
	server := promtest.Server(t, t.TempDir(), config)
	a.gauge.Set(3)
	probe := func(t *testing.T, query string, more args) probes.Sampler {
		t.Helper()
		all := args{"query": str(query), "server": str(server.URL())}
		maps.Copy(all, more)
		return opened(t, "prom.query", all)
	}
	stretch := func(t *testing.T, query string, more args) probes.Sampler {
		t.Helper()
		all := args{"query": str(query), "server": str(server.URL() + "/")}
		maps.Copy(all, more)
		return opened(t, "prom.range", all)
	}
	server.WaitFor(t, "node_load1 and on() app_depth")

	t.Run("a scalar and a vector of one are a number", func(t *testing.T) {
		v := wantNumber(t, probe(t, "1 + 1", nil), "value", 2)
		if n := len(v.Get("series").Plain().(map[string]any)); n != 0 {
			t.Errorf("a scalar has %d labels", n)
		}
		v = wantNumber(t, probe(t, "app_depth", nil), "value", 3)
		if got := v.Get("series").Get("job").Plain(); got != "app" {
			t.Errorf("the job of app_depth is %v", got)
		}
		wantNumber(t, probe(t, "app_depth * 2 + on() count(rate(app_requests_total[1m])) * 0", nil), "value", 6)
		soon(t, probe(t, "node_load1", nil), "the load of this machine", func(v value.Value, err error) bool { return err == nil && v.Get("value").Float() > 0 })
	})
	t.Run("several series name their labels", func(t *testing.T) {
		wantNone(t, probe(t, "app_requests_total", nil), "the query gives 3 series, which differ in `code` (\"200\", \"404\", \"500\"); make them one, as with sum(…)")
		wantNone(t, stretch(t, "up", args{"over": value.DurationOf(time.Second)}), "the query gives 2 series, which differ in `instance`", exporter.Address, "`job` (\"app\", \"node\")")
	})
	t.Run("no series says why", func(t *testing.T) {
		for query, why := range map[string]string{
			`app_depht`:                         "it knows no metric `app_depht`; did you mean `app_depth`?",
			`app_depth{job="nobody"}`:           "`app_depth` has 1, but none with {job=\"nobody\"}",
			`sum(rate(app_requestz_tot[1m]))`:   "it knows no metric `app_requestz_tot`",
			`app_depth > 100`:                   "a comparison filters",
			`app_depth + on() node_load1 > 1e9`: "a comparison filters",
		} {
			wantNone(t, probe(t, query, nil), "no series at "+server.Address+": ", why)
			wantNone(t, stretch(t, query, args{"over": value.DurationOf(time.Second)}), why)
		}
	})
	t.Run("what is no number is no data", func(t *testing.T) {
		wantNone(t, probe(t, "0/0", nil), "the query gives NaN")
		wantNone(t, probe(t, "histogram_quantile(0.9, rate(app_seconds_bucket[2s]))", nil), "the query gives NaN")
		wantNone(t, probe(t, "-1/0", nil), "the query gives -Inf")
		wantNone(t, probe(t, "app_depth[1m]", nil), "a stretch of samples, not a number")
		wantNone(t, probe(t, `"tea"`, nil), "the query gives a text, not a number")
	})
	t.Run("the server's own message shows the place", func(t *testing.T) {
		wantNone(t, probe(t, "up ^^ 2", nil), "the query does not parse: unexpected <op:^>: at \"^ 2\", column 5")
		wantNone(t, probe(t, "app_depth{job=}", nil), "does not parse", "at \"}\", column 15")
		wantNone(t, stretch(t, "sum(\n  rate(up))", nil), "there is no phase")
		wantNone(t, stretch(t, "sum(\n  rate(up))", args{"over": value.DurationOf(time.Second)}), "expected type range vector", "at \"up))\", line 2, column 8")
		wantNone(t, probe(t, "app_requests_total / on (job) app_requests_total", nil), "cannot evaluate the query: ", "many-to-many")
	})
	t.Run("warnings are shown once", func(t *testing.T) {
		var mu sync.Mutex
		var said []string
		s, err := openIn(t, env.Env{Log: func(text string) { mu.Lock(); said = append(said, text); mu.Unlock() }}, "prom.query",
			args{"query": str(`app_depth{job="app"} or far_metric{far="yes"}`), "server": str(server.URL())})
		if err != nil {
			t.Fatal(err)
		}
		wantNumber(t, s, "value", 3)
		wantNumber(t, s, "value", 3)
		mu.Lock()
		defer mu.Unlock()
		if len(said) == 0 || !strings.HasPrefix(said[0], "prom.query app_depth{job") || !strings.Contains(said[0], nobody) {
			t.Errorf("the warnings are %q", said)
		}
		for i, text := range said {
			for _, other := range said[:i] {
				if text == other {
					t.Errorf("shown twice: %s", text)
				}
			}
		}
	})
	t.Run("a range folds its points", func(t *testing.T) {
		a.gauge.Set(9)
		wantNumber(t, probe(t, "app_depth", nil), "value", 9)
		a.gauge.Set(5)
		wantNumber(t, probe(t, "app_depth", nil), "value", 5)
		v := wantNumber(t, stretch(t, "app_depth", args{"over": value.DurationOf(20 * time.Second), "step": value.DurationOf(50 * time.Millisecond)}), "last", 5)
		if v.Get("min").Float() != 3 || v.Get("max").Float() != 9 || v.Get("mean").Float() <= 3 || v.Get("mean").Float() >= 9 || v.Get("points").Float() < 10 {
			t.Errorf("the range is %s", v)
		}
		v = wantNumber(t, stretch(t, "7", args{"over": value.DurationOf(2 * time.Second), "step": value.DurationOf(500 * time.Millisecond)}), "points", 5)
		if v.Get("min").Float() != 7 || v.Get("max").Float() != 7 || v.Get("mean").Float() != 7 {
			t.Errorf("a constant is %s", v)
		}
		// By itself the step is the scrape interval.
		wantNumber(t, stretch(t, "app_depth * 0 + 1", args{"over": value.DurationOf(2 * time.Second)}), "points", 11)
		// What is NaN in between is no point; what is infinite would be missing from the greatest.
		v = wantNumber(t, stretch(t, "vector(1) * (time() % 2 < bool 1) / (time() % 2 < bool 1)", args{"over": value.DurationOf(4 * time.Second), "step": value.DurationOf(500 * time.Millisecond)}), "max", 1)
		if n := v.Get("points").Float(); n < 3 || n > 6 {
			t.Errorf("%v of 9 points are numbers", n)
		}
		wantNone(t, stretch(t, "1 / (app_depth - 3)", args{"over": value.DurationOf(60 * time.Second), "step": value.DurationOf(50 * time.Millisecond)}), "gives +Inf")
	})
	t.Run("a range begins with the phase", func(t *testing.T) {
		s := stretch(t, "app_depth", args{"step": value.DurationOf(100 * time.Millisecond)})
		for _, ago := range []time.Duration{0, time.Second} {
			var v value.Value
			var err error
			as := func() bool { n := v.Get("points").Float(); return err == nil && n >= 1+ago.Seconds()*10 && n <= 60 }
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				// A scrape that was late leaves a gap.
				if v, err = s.Sample(probes.InPhase(context.Background(), time.Now().Add(-ago))); as() {
					break
				}
			}
			if !as() {
				t.Errorf("%s after its begin a phase has %s, %v", ago, v, err)
			}
		}
	})
	t.Run("a sample that stands still is too old", func(t *testing.T) {
		a.frozen.Store(time.Now().UnixMilli())
		wantNumber(t, probe(t, "app_frozen", nil), "value", 7)
		for _, query := range []string{"app_frozen", "app_frozen + on (job) app_depth", "sum(sum_over_time(app_frozen[5m]))"} {
			wantNone(t, probe(t, query, nil), "the latest sample of `app_frozen` from "+a.address()+" is ", "old, too old: it is scraped every 200ms, which may take up to 200ms")
			wantNone(t, stretch(t, query, args{"over": value.DurationOf(time.Second)}), "too old")
		}
		wantNumber(t, probe(t, "app_frozen", args{"max_age": value.DurationOf(time.Hour)}), "value", 7)
		wantNone(t, probe(t, "app_frozen", args{"max_age": value.DurationOf(300 * time.Millisecond)}), "too old: `max_age` is 300ms")
		wantNumber(t, probe(t, "app_frozen offset 1ms", nil), "value", 7)
	})
	t.Run("a series that ends among others of its job is none to worry about", func(t *testing.T) {
		wantNumber(t, probe(t, `count(rate(app_requests_total{code="404"}[5m]))`, nil), "value", 1)
		a.requests.DeleteLabelValues("404")
		wantNone(t, probe(t, `app_requests_total{code="404"}`, nil), "`app_requests_total` has 2, but none with {code=\"404\"}")
		wantNumber(t, probe(t, `count(rate(app_requests_total{code="404"}[5m]))`, nil), "value", 1)
	})
	t.Run("a target that is gone is no data soon", func(t *testing.T) {
		window := probe(t, "count(rate(node_load1[5m]))", nil)
		wantNumber(t, window, "value", 1)
		exporter.Crash()
		wantNone(t, probe(t, "node_load1", nil), "those of `node_load1` have ended, there is no current sample; down: "+exporter.Address+" of job \"node\" (", "connection refused")
		wantNone(t, window, "the series of `node_load1` have ended: its last 5m still hold samples, but there is no current one; down: "+exporter.Address)
		wantNone(t, stretch(t, "node_load1", args{"over": value.DurationOf(time.Minute)}), "the series ended ", "ago; down: "+exporter.Address)
		// Others that do not read it are well, and so is who asks about what is absent.
		wantNumber(t, probe(t, "app_depth", nil), "value", 5)
		wantNumber(t, probe(t, "absent(node_load1)", nil), "value", 1)
		wantNumber(t, probe(t, `up{job="node"}`, nil), "value", 0)
		wantNumber(t, probe(t, "sum(rate(app_requests_total{code=\"503\"}[1m])) or vector(0)", nil), "value", 0)
		wantNumber(t, probe(t, "count(rate(node_load1[5m]))", args{"max_age": value.DurationOf(time.Hour)}), "value", 1)
	})
}

// A Prometheus that starts again does not know which series ended while it was down, and goes on giving their last samples.
func TestARestartedPrometheusDoesNotMakeOldSamplesNew(t *testing.T) {
	a := startApp(t)
	exporter := promtest.Exporter(t)
	dir, config := t.TempDir(), promtest.Config("app="+a.address(), "node="+exporter.Address)
	first := promtest.Server(t, dir, config)
	first.WaitFor(t, "node_load1")
	first.Stop()
	exporter.Stop()
	second := promtest.Server(t, dir, config)
	second.WaitFor(t, `up{job="node"} == 0`)
	second.WaitFor(t, "node_load1") // so it is
	s := opened(t, "prom.query", args{"query": str("node_load1"), "server": str(second.URL())})
	wantNone(t, s, "the latest sample of `node_load1` from "+exporter.Address+" is ", "too old", "down: "+exporter.Address)
}

// gateway stands in front of a Prometheus and demands a login.
func gateway(t *testing.T, to string, secure bool, authorized func(*http.Request) bool) *httptest.Server {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, "/metrics-of-team")
	}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !authorized(r):
			http.Error(w, "who is it?", http.StatusUnauthorized)
		case !strings.HasPrefix(r.URL.Path, "/metrics-of-team/api/v1/"):
			http.NotFound(w, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func TestLoginAndTLS(t *testing.T) {
	const password, token = `p4ss:wörd"`, "t0ken-of-the-team"
	server := promtest.Server(t, t.TempDir(), promtest.Config())
	basic := gateway(t, server.URL(), false, func(r *http.Request) bool {
		u, p, ok := r.BasicAuth()
		return ok && u == "chaos" && p == password
	})
	bearer := gateway(t, server.URL(), true, func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+token })
	dir := t.TempDir()
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: bearer.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "team.pem"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	yes := value.BoolOf(true)
	for _, c := range []struct {
		name, server string
		more         args
		want         string // "" for a sample
	}{
		{"basic", basic.URL + "/metrics-of-team/", args{"user": str("chaos"), "password": str(password)}, ""},
		{"in the URL", strings.Replace(basic.URL, "://", "://chaos:"+url.QueryEscape(password)+"@", 1) + "/metrics-of-team", nil, ""},
		{"the whole path", basic.URL + "/metrics-of-team/api/v1", args{"user": str("chaos"), "password": str(password)}, ""},
		{"wrong password", basic.URL + "/metrics-of-team", args{"user": str("chaos"), "password": str(password + "x")}, "answers 401: it wants a login"},
		{"no login", basic.URL + "/metrics-of-team", nil, "answers 401: it wants a login; give `user` and `password`, or `bearer`"},
		{"wrong path", basic.URL, args{"user": str("chaos"), "password": str(password)}, "answers 404: there is no Prometheus API at " + basic.URL + "; does `server` lack a path"},
		{"bearer, certificate trusted", bearer.URL + "/metrics-of-team", args{"bearer": str(token), "ca": str("team.pem")}, ""},
		{"bearer, any certificate", bearer.URL + "/metrics-of-team", args{"bearer": str(token), "insecure": yes}, ""},
		{"bearer, unknown certificate", bearer.URL + "/metrics-of-team", args{"bearer": str(token)}, "is signed by nobody this machine trusts; `insecure: true` accepts it"},
		{"wrong token", bearer.URL + "/metrics-of-team", args{"bearer": str(token + "x"), "insecure": yes}, "answers 401"},
		{"plain to TLS", strings.Replace(bearer.URL, "https", "http", 1), args{"bearer": str(token)}, "answers 400"},
		{"TLS to plain", strings.Replace(basic.URL, "http", "https", 1), nil, "does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := args{"query": str("20 + 1"), "server": str(c.server)}
			maps.Copy(all, c.more)
			s, err := openIn(t, env.Env{Dir: dir}, "prom.query", all)
			if err != nil {
				t.Fatal(err)
			}
			v, err := s.Sample(context.Background())
			switch {
			case c.want == "" && (err != nil || v.Get("value").Float() != 21):
				t.Errorf("%s, %v", v, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s, %v, want %s", v, err, c.want)
			}
			for _, secret := range []string{password, token, url.QueryEscape(password)} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the secret stands in %v", err)
				}
			}
		})
	}
}

func TestWhatIsNoPrometheus(t *testing.T) {
	answer := func(h http.HandlerFunc) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // only then is the end of the connection noticed
			h(w, r)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	hangs := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	elsewhere := answer(func(w http.ResponseWriter, r *http.Request) { t.Errorf("the redirect was followed, with %v", r.Header) })
	for name, c := range map[string]struct{ server, want string }{
		"nobody listens":   {"http://127.0.0.1:1", "connection refused by 127.0.0.1:1: no Prometheus listens there; `server` names another"},
		"no such host":     {"http://nowhere.invalid", "there is no host called nowhere.invalid"},
		"a web page":       {answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") }), "does not answer as a Prometheus does"},
		"no data":          {answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status": "success"}`) }), "does not answer as a Prometheus does"},
		"empty JSON":       {answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }), "does not answer as a Prometheus does"},
		"an error page":    {answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "out of order\nand more", 503) }), "answers 503: out of order"},
		"an error in JSON": {answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"error": "loading"}`, 503) }), "answers 503: loading"},
		"a redirect":       {answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, 302) }), "it redirects to " + elsewhere + "; give that as `server`"},
		"it hangs":         {answer(hangs), "no answer from 127.0.0.1:"},
		"an endless answer": {answer(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte(strings.Repeat(" ", 1<<16)))
			}
		}), "the answer is longer than 16MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := 5 * time.Second
			if name == "it hangs" {
				timeout = 100 * time.Millisecond
			}
			for _, probe := range []string{"prom.query", "prom.range"} {
				a := args{"query": str("up"), "server": str(c.server), "timeout": value.DurationOf(timeout), "bearer": str("t0ken")}
				if probe == "prom.range" {
					a["over"] = value.DurationOf(time.Minute)
				}
				if _, err := opened(t, probe, a).Sample(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %s", probe, err, c.want)
				}
			}
		})
	}
	t.Run("the end of a run cuts it short", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		s := opened(t, "prom.query", args{"query": str("up"), "server": str(answer(hangs)), "timeout": value.DurationOf(time.Hour)})
		begun := time.Now()
		if _, err := s.Sample(ctx); !errors.Is(err, context.Canceled) || time.Since(begun) > 20*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

func TestOfASecretInAQueryNotEvenAPartIsShown(t *testing.T) {
	const secret = "tok(en-0123456789-0123456789-0123456789-0123456789-0123456789"
	var said []string
	e := env.Env{Dir: t.TempDir(), Log: func(text string) { said = append(said, text) }, Hide: strings.NewReplacer(secret, "[secret]").Replace}
	if _, err := openIn(t, e, "prom.query", args{"query": str("up + " + secret)}); err == nil || err.Error() != "`query`: nothing closes this: at column 9" {
		t.Errorf("what does not parse here: %v", err)
	}
	query := `up{token="` + secret + `"}`
	at := func(status int, answer map[string]any) error {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(answer)
		}))
		defer s.Close()
		p, err := openIn(t, e, "prom.query", args{"query": str(query), "server": str(s.URL)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Sample(context.Background())
		return err
	}
	padding := strings.Repeat("x", 390)
	for _, c := range []struct {
		status int
		answer map[string]any
	}{
		{200, map[string]any{"status": "success", "warnings": []string{"it reads " + query}, "data": map[string]any{"resultType": "scalar", "result": []any{1, "1"}}}},
		{400, map[string]any{"status": "error", "errorType": "bad_data", "error": "1:14: parse error: unexpected this"}},
		{422, map[string]any{"status": "error", "errorType": "execution", "error": padding + query}},
		{500, map[string]any{"status": "error", "errorType": "internal", "error": padding[200:] + query}},
	} {
		said = append(said, fmt.Sprint(at(c.status, c.answer)))
	}
	if len(said) < 5 {
		t.Errorf("little was said: %q", said)
	}
	for _, text := range said {
		if strings.Contains(text, secret[:4]) || strings.Contains(text, "0123") {
			t.Errorf("it shows a part of the secret: %s", text)
		}
	}
}

func TestArgumentsAreCheckedBeforeAnythingIsSent(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, a := range map[string]args{
		"`query` is empty": {"query": str(" ")},
		"`query`: nothing closes this: at \"(up\", column 4":                                        {"query": str("sum(up")},
		"`timeout: 0s` must be more than 0s":                                                        {"timeout": value.DurationOf(0)},
		"`max_age: -1ns` must be at least 0s":                                                       {"max_age": value.DurationOf(-1)},
		"`server`: \"localhost:9090\" has no scheme; write \"http://localhost:9090\"":               {"server": str("localhost:9090")},
		"`server`: \"ftp://x\" is neither http nor https":                                           {"server": str("ftp://x")},
		"`server`: \"http://:9090\" names no host":                                                  {"server": str("http://:9090")},
		"`server`: \"http://x/graph?g0.expr=up\" goes on behind its path; write \"http://x/graph\"": {"server": str("http://x/graph?g0.expr=up")},
		"`server` is no URL, as in \"http://127.0.0.1:9090\"":                                       {"server": str("http://a:s3cret@x:port")},
		"`user` and `bearer` exclude each other: a request has one authorization":                   {"user": str("a"), "bearer": str("b")},
		"`user` stands in the `server` too; give it once":                                           {"user": str("a"), "server": str("http://a:b@x")},
		"`password` needs its `user`":                                                               {"password": str("a")},
		"`user` must not hold a colon: the password begins behind it":                               {"user": str("a:b")},
		"`bearer` must be one line":                                                                 {"bearer": str("a\nb")},
		"`ca`: " + filepath.Join(dir, "none.pem") + ": it does not exist":                           {"ca": str("none.pem")},
		"`ca`: " + empty + " holds no certificate in PEM":                                           {"ca": str(empty)},
		"`over: -1ns` must be more than 0s":                                                         {"over": value.DurationOf(-1)},
		"`step` must be a whole number of milliseconds":                                             {"step": value.DurationOf(1500 * time.Microsecond)},
		"`step`: 1h in steps of 10ms are 360000 points, and a server computes at most 11000":        {"over": value.DurationOf(time.Hour), "step": value.DurationOf(10 * time.Millisecond)},
	} {
		all := args{"query": str("up")}
		maps.Copy(all, a)
		if _, err := openIn(t, env.Env{Dir: dir}, "prom.range", all); fmt.Sprint(err) != want {
			t.Errorf("%v: %v, want %s", a, err, want)
		}
	}
}
