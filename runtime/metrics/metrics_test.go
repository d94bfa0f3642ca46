package metrics

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"chaos/lang/value"
	"chaos/runtime/event"
)

func feed(m *Metrics, list ...event.Data) {
	for _, d := range list {
		m.Event(event.Event{Data: d})
	}
}

func expect(t *testing.T, m *Metrics, name, want string) {
	t.Helper()
	want = "# HELP " + name + " " + help(t, m, name) + "\n" + want
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}

func help(t *testing.T, m *Metrics, name string) string {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetHelp() + "\n# TYPE " + name + " " + strings.ToLower(f.GetType().String())
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

func sample(probe string, v value.Value) event.Sample { return event.Sample{Probe: probe, Value: &v} }

func applied(step int) event.UndoState { return event.UndoState{Step: step, State: "applied"} }

func TestAFaultIsActiveFromItsRecordToItsUndo(t *testing.T) {
	m := New("test")
	feed(m, event.RunStarted{Run: "r", Script: "s.chaos"}, event.ExperimentStarted{Title: "x"},
		event.StepStarted{Step: 1, Phase: event.Setup}, applied(1), // what setup starts is no fault
		event.StepStarted{Step: 2, Phase: event.During}, applied(2), applied(2),
		event.StepStarted{Step: 3, Phase: event.During}, applied(3),
		event.StepStarted{Step: 4, Phase: event.During}, event.UndoIntended{Step: 4}, event.UndoState{Step: 4, State: event.Void})
	expect(t, m, "chaos_faults_active", "chaos_faults_active{experiment=\"x\"} 2\n")
	feed(m, event.FaultUndone{Step: 3, OK: true}, event.FaultUndone{Step: 2}, event.FaultUndone{Step: 1, OK: true})
	expect(t, m, "chaos_faults_active", "chaos_faults_active{experiment=\"x\"} 1\n") // one could not be undone
	expect(t, m, "chaos_faults_injected_total", "chaos_faults_injected_total{experiment=\"x\"} 2\n")
	expect(t, m, "chaos_faults_undone_total", "chaos_faults_undone_total{experiment=\"x\"} 1\n")
	expect(t, m, "chaos_faults_left_total", "chaos_faults_left_total{experiment=\"x\"} 1\n")
}

func TestValuesAreInBaseUnits(t *testing.T) {
	m := New("test")
	answer := value.StructOf("answer", value.Field{Name: "ok", Type: value.TBool}, value.Field{Name: "latency", Type: value.TDuration},
		value.Field{Name: "body", Type: value.TString}, value.Field{Name: "headers", Type: value.MapOf(value.TString)})
	feed(m, event.ExperimentStarted{Title: "x"},
		sample("home", value.StructValue(answer, map[string]value.Value{
			"ok": value.BoolOf(true), "latency": value.DurationOf(1500 * time.Millisecond), "body": value.StringOf("hello"),
			"headers": {T: value.MapOf(value.TString), V: map[string]value.Value{"a": value.NumberOf(1)}},
		})),
		sample("free", value.SizeOf(4096)))
	expect(t, m, "chaos_probe_value", `chaos_probe_value{experiment="x",field="",probe="free"} 4096
chaos_probe_value{experiment="x",field="latency",probe="home"} 1.5
chaos_probe_value{experiment="x",field="ok",probe="home"} 1
`)
	feed(m, event.Sample{Probe: "home", Error: "connection refused"})
	expect(t, m, "chaos_probe_value", "chaos_probe_value{experiment=\"x\",field=\"\",probe=\"free\"} 4096\n") // an old one would look new
	expect(t, m, "chaos_samples_no_data_total", `chaos_samples_no_data_total{experiment="x",probe="free"} 0
chaos_samples_no_data_total{experiment="x",probe="home"} 1
`)
}

func TestAnAbsentFieldIsTakenAway(t *testing.T) {
	m := New("test")
	inner := value.StructOf("times", value.Field{Name: "p99", Type: value.TDuration})
	outer := value.StructOf("load", value.Field{Name: "sent", Type: value.TNumber}, value.Field{Name: "await", Type: value.TDuration}, value.Field{Name: "latency", Type: inner})
	sent := map[string]value.Value{"sent": value.NumberOf(1)}
	feed(m, event.ExperimentStarted{Title: "x"}, sample("p", value.StructValue(outer, map[string]value.Value{
		"sent": value.NumberOf(1), "await": value.DurationOf(time.Second),
		"latency": value.StructValue(inner, map[string]value.Value{"p99": value.DurationOf(time.Second)}),
	})))
	expect(t, m, "chaos_probe_value", `chaos_probe_value{experiment="x",field="await",probe="p"} 1
chaos_probe_value{experiment="x",field="latency.p99",probe="p"} 1
chaos_probe_value{experiment="x",field="sent",probe="p"} 1
`)
	feed(m, sample("p", value.StructValue(outer, sent)))
	expect(t, m, "chaos_probe_value", "chaos_probe_value{experiment=\"x\",field=\"sent\",probe=\"p\"} 1\n") // old ones would look new
}

func TestTextsMayHoldAnyBytes(t *testing.T) {
	m := New("test")
	feed(m, event.RunStarted{Run: "r", Script: "a\xffb.chaos"}, event.ExperimentStarted{Title: "a\xffb"}, event.Turned{Text: "a\xffb", To: "true"},
		event.CheckJudged{Section: "hypothesis", Text: "a\xffb", Result: "inconclusive"}, event.GuardTripped{Text: "a\xffb"}, event.ExperimentEnded{Title: "a\xffb"})
	expect(t, m, "chaos_run_info", "chaos_run_info{run=\"r\",script=\"a\uFFFDb.chaos\"} 1\n")
}

func TestPhaseCheckVerdict(t *testing.T) {
	m := New("test")
	feed(m, event.RunStarted{Run: "r"}, event.ExperimentStarted{Title: "x"}, event.PhaseEntered{Phase: event.Before}, event.PhaseEntered{Phase: event.During},
		event.Turned{Text: "always ok", To: "false"})
	expect(t, m, "chaos_experiment_phase", `chaos_experiment_phase{experiment="x",phase="before"} 0
chaos_experiment_phase{experiment="x",phase="during"} 1
`)
	expect(t, m, "chaos_check_held", `chaos_check_held{check="always ok",experiment="x",section="hypothesis"} 0
`)
	feed(m, event.CheckJudged{Section: "hypothesis", Text: "always ok", Result: "inconclusive"}, event.CheckJudged{Section: "after", Text: "expect up", Result: "held"},
		event.ExperimentEnded{Title: "x", Verdict: event.Inconclusive, Outcome: event.Completed, Restoration: event.Clean}, event.RunEnded{Exit: 5})
	expect(t, m, "chaos_check_held", `chaos_check_held{check="expect up",experiment="x",section="after"} 1
`)
	expect(t, m, "chaos_experiment_verdict", `chaos_experiment_verdict{experiment="x",outcome="completed",restoration="restored",verdict="inconclusive"} 1
`)
	expect(t, m, "chaos_run_exit_code", "chaos_run_exit_code{run=\"r\"} 5\n")
}

// Prometheus' own linter: names, units, help.
func TestNamesFollowPrometheus(t *testing.T) {
	m := New("test")
	feed(m, event.RunStarted{Run: "r"}, event.ExperimentStarted{Title: "x"}, event.PhaseEntered{Phase: event.During}, sample("p", value.NumberOf(1)),
		event.Turned{Text: "c"}, event.GuardTripped{Text: "g"}, event.ExperimentEnded{Title: "x"}, event.RunEnded{})
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestServing(t *testing.T) {
	s, err := Serve(":0", New("test"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.HasPrefix(s.Addr, "127.0.0.1:") {
		t.Errorf("without a host it listens at %s, not on loopback", s.Addr)
	}
	for _, path := range []string{"/metrics", "/"} {
		answer, err := http.Get("http://" + s.Addr + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if !strings.Contains(string(text), `chaos_build_info{version="test"} 1`) {
			t.Errorf("%s: %s: %s", path, answer.Status, text)
		}
	}
	if _, err := Serve(s.Addr, New("test")); err == nil {
		t.Error("an address that is taken is not noticed")
	}
}
