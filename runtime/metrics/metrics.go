// Package metrics shows a run to Prometheus while it runs: a reader of the event stream that knows nothing else.
package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// Metrics holds what /metrics says. Names and units follow https://prometheus.io/docs/practices/naming/: seconds, bytes,
// ratios from 0 to 1, and 1 or 0 for what is true or false.
type Metrics struct {
	registry *prometheus.Registry

	run      *prometheus.GaugeVec
	phase    *prometheus.GaugeVec
	active   *prometheus.GaugeVec
	injected *prometheus.CounterVec
	undone   *prometheus.CounterVec
	left     *prometheus.CounterVec
	samples  *prometheus.CounterVec
	noData   *prometheus.CounterVec
	skipped  *prometheus.CounterVec
	values   *prometheus.GaugeVec
	checks   *prometheus.GaugeVec
	guards   *prometheus.CounterVec
	verdict  *prometheus.GaugeVec
	exit     *prometheus.GaugeVec

	id         string // of the run
	experiment string
	inPhase    event.Phase
	open       map[int]bool // steps with something to undo; false for those of setup, which are no faults
	phases     map[int]event.Phase
}

// New registers everything; version is shown in chaos_build_info.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), open: map[int]bool{}, phases: map[int]event.Phase{}}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "chaos", Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "chaos", Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	gauge("build_info", "The version of chaos that runs.", "version").WithLabelValues(version).Set(1)
	m.run = gauge("run_info", "The run: its id and its script.", "run", "script")
	m.phase = gauge("experiment_phase", "1 for the phase that the experiment is in.", "experiment", "phase")
	m.active = gauge("faults_active", "Faults that are in place now.", "experiment")
	m.injected = counter("faults_injected_total", "Faults that were put in place.", "experiment")
	m.undone = counter("faults_undone_total", "Faults that were undone, and looked at afterwards.", "experiment")
	m.left = counter("faults_left_total", "Faults that could not be undone: a human is needed.", "experiment")
	m.samples = counter("samples_total", "Samples taken.", "experiment", "probe")
	m.noData = counter("samples_no_data_total", "Samples that gave no data.", "experiment", "probe")
	m.skipped = counter("samples_skipped_total", "Samples that were skipped since the one before took too long.", "experiment", "probe")
	m.values = gauge("probe_value", "The latest sample: seconds, bytes, ratios; 1 and 0 for true and false.", "experiment", "probe", "field")
	m.checks = gauge("check_held", "1 while a check holds, 0 while it does not; absent before it is judged.", "experiment", "section", "check")
	m.guards = counter("guards_tripped_total", "Guards that aborted the run.", "experiment", "guard")
	m.verdict = gauge("experiment_verdict", "1 for what came of an experiment.", "experiment", "verdict", "outcome", "restoration")
	m.exit = gauge("run_exit_code", "How the run of a script ended; absent while it runs.", "run")
	return m
}

// Event takes the stream in. The runtime calls it for one event at a time; what is scraped is consistent by metric only, as
// everywhere in Prometheus.
func (m *Metrics) Event(e event.Event) {
	x := m.experiment
	switch d := e.Data.(type) {
	case event.RunStarted:
		m.id = d.Run
		m.run.Reset()
		m.run.WithLabelValues(d.Run, label(d.Script)).Set(1)
	case event.ExperimentStarted:
		m.experiment, m.inPhase = label(d.Title), ""
		clear(m.open)
		clear(m.phases)
		m.active.WithLabelValues(m.experiment).Set(0)
		for _, c := range []*prometheus.CounterVec{m.injected, m.undone, m.left} {
			c.WithLabelValues(m.experiment).Add(0)
		}
	case event.PhaseEntered:
		m.enter(d.Phase)
	case event.StepStarted:
		m.phases[d.Step] = d.Phase
	case event.UndoState: // a record that is intended only may turn out void
		if _, known := m.open[d.Step]; d.State == "applied" && !known {
			fault := m.phases[d.Step] != event.Setup
			m.open[d.Step] = fault
			if fault {
				m.injected.WithLabelValues(x).Inc()
				m.countActive()
			}
		}
	case event.FaultUndone:
		fault := m.open[d.Step]
		if !fault {
			return
		}
		if d.OK {
			delete(m.open, d.Step)
			m.undone.WithLabelValues(x).Inc()
		} else {
			m.left.WithLabelValues(x).Inc()
		}
		m.countActive()
	case event.Sample:
		m.sample(d)
	case event.Turned:
		m.check("hypothesis", d.Text, d.To == "true")
	case event.CheckJudged:
		if d.Result == "inconclusive" {
			m.checks.DeleteLabelValues(x, d.Section, label(d.Text))
			return
		}
		m.check(d.Section, d.Text, d.Result == "held")
	case event.GuardTripped:
		m.guards.WithLabelValues(x, label(d.Text)).Inc()
	case event.ExperimentEnded:
		m.enter("")
		m.verdict.WithLabelValues(x, string(d.Verdict), string(d.Outcome), string(d.Restoration)).Set(1)
	case event.RunEnded:
		m.exit.Reset()
		m.exit.WithLabelValues(m.id).Set(float64(d.Exit))
	}
}

// enter leaves the phase before. A phase that is over stays, as 0, so that a graph shows its end.
func (m *Metrics) enter(p event.Phase) {
	if m.inPhase != "" {
		m.phase.WithLabelValues(m.experiment, string(m.inPhase)).Set(0)
	}
	if m.inPhase = p; p != "" {
		m.phase.WithLabelValues(m.experiment, string(p)).Set(1)
	}
}

func (m *Metrics) countActive() {
	n := 0
	for _, fault := range m.open {
		if fault {
			n++
		}
	}
	m.active.WithLabelValues(m.experiment).Set(float64(n))
}

func (m *Metrics) check(section, text string, held bool) {
	m.checks.WithLabelValues(m.experiment, section, label(text)).Set(truth(held))
}

func (m *Metrics) sample(d event.Sample) {
	m.samples.WithLabelValues(m.experiment, d.Probe).Inc()
	m.skipped.WithLabelValues(m.experiment, d.Probe).Add(float64(d.Skipped))
	m.noData.WithLabelValues(m.experiment, d.Probe).Add(0) // a rate needs a 0 to start from
	if d.Value == nil || d.Value.IsMissing() {
		m.noData.WithLabelValues(m.experiment, d.Probe).Inc()
		// An old value would look like a new one.
		m.values.DeletePartialMatch(prometheus.Labels{"experiment": m.experiment, "probe": d.Probe})
		return
	}
	m.show(d.Probe, "", *d.Value)
}

// show sets the numbers of a sample, and takes away those that it does not have; a field of a field is named as a script
// names it, as `latency.p99`. What a map holds is left out: its keys may be anything, so there would be no end of series.
func (m *Metrics) show(probe, field string, v value.Value) {
	if v.T.Kind == value.Struct {
		fields, _ := v.V.(map[string]value.Value)
		for _, f := range v.T.Fields {
			inner, there := fields[f.Name]
			if !there || inner.IsMissing() {
				inner = value.Value{T: f.Type, Missing: "absent"}
			}
			name := f.Name
			if field != "" {
				name = field + "." + name
			}
			m.show(probe, name, inner)
		}
		return
	}
	var f float64
	switch x := v.V.(type) {
	case bool:
		f = truth(x)
	case float64:
		if f = x; v.T.Kind == value.Duration {
			f = v.Duration().Seconds()
		}
	}
	switch {
	case v.IsMissing():
		m.values.DeleteLabelValues(m.experiment, probe, field)
	case v.T.Kind == value.Bool || v.T.Numeric():
		m.values.WithLabelValues(m.experiment, probe, field).Set(f)
	}
}

// label is a text as Prometheus takes it: file names and parameters may hold any bytes, and the library panics.
func label(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
