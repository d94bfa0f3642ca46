package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

func s(f float64) event.Seconds { return event.Seconds(f * 1e9) }

// stream turns payloads with their times into events.
type stream struct {
	list []event.Event
}

func (st *stream) at(t float64, list ...event.Data) {
	for _, d := range list {
		began := time.Date(2026, 11, 22, 6, 25, 35, 882e6, time.UTC)
		mono := time.Duration(t * 1e9)
		st.list = append(st.list, event.Event{Seq: uint64(len(st.list) + 1), Mono: mono, Wall: began.Add(mono), Data: d})
	}
}

func at(line, col int) event.Place { return event.Place{File: "game-day.chaos", Line: line, Col: col} }

func record(manual string) json.RawMessage {
	r, err := json.Marshal(map[string]any{"kind": "process.pause", "lifetime": "kernel", "manual": manual})
	if err != nil {
		panic(err)
	}
	return r
}

func judged(section, text string, p event.Place, result string) event.CheckJudged {
	return event.CheckJudged{Section: section, Kind: "expect", Text: text, At: p, Result: result, Detail: "12 evaluations", Evaluations: 12}
}

// gameDay is a run with one of everything: an experiment that held, one refuted and not restored, one aborted.
func gameDay() []event.Event {
	var st stream
	sample := func(probe string, phase event.Phase, err string) event.Sample {
		v := value.StructValue(value.StructOf("http.get", value.Field{Name: "latency", Type: value.TDuration}, value.Field{Name: "ok", Type: value.TBool}),
			map[string]value.Value{"latency": value.DurationOf(41 * time.Millisecond), "ok": value.BoolOf(phase == event.Before)})
		out := event.Sample{Probe: probe, Phase: phase, Start: s(1), Took: s(0.041), Value: &v}
		if err != "" {
			out.Value, out.Error, out.Skipped = nil, err, 2
		}
		return out
	}
	moment := s(0.1234567)
	st.at(0.000001, event.RunStarted{Run: "20261122-062535-e6f8", Script: "game-day.chaos", Seed: 42, Version: "v1.0.0", Pid: 4711, Boot: "b", Experiments: 4, Params: map[string]string{"base": `"http://127.0.0.1:8003"`}})

	st.at(0.001, event.ExperimentStarted{Title: "customers do not notice a *dying* worker", Owner: "team-fizz", Hypothesis: "customers do not notice", Tags: []string{"game-day", "local"}, At: at(8, 1),
		Watched: []event.Watched{{Probe: "home", Path: []string{"latency"}, Text: "home.latency", Type: value.Duration, Every: s(1), Read: true}, {Probe: "home", Path: []string{"ok"}, Text: "home.ok", Type: value.Bool, Every: s(1)}, {Probe: "load", Path: []string{"latency"}, Text: "load.latency", Type: value.Duration, Every: s(1)}},
		Checks:  []event.Claim{{Section: "hypothesis", Kind: "eventually", Text: "eventually workers == 2 within 5s", At: at(36, 12), Reads: []string{"home.latency"}}}},
		event.PhaseEntered{Phase: event.Setup, Title: "two workers behind the balancer"},
		event.StepStarted{Step: 1, Phase: event.Setup, Text: `process.start("./fizzbuzz") as worker`, Does: "start ./fizzbuzz", Lifetime: "kernel", At: at(13, 5)},
		event.UndoIntended{ID: "u1", Step: 1, Text: `process.start("./fizzbuzz") as worker`, Record: record("kill 4712")},
		event.UndoState{ID: "u1", Step: 1, State: "applied"})
	st.at(0.25, event.StepEnded{Step: 1, Status: "done", Note: "pid 4712", Effect: "yes", Detail: "pid 4712", Took: s(0.249)},
		event.Log{Text: "the stage is set"},
		event.PhaseEntered{Phase: event.Before, Title: "both workers serve traffic", Detail: "for 5s"})
	st.at(0.3, sample("home", event.Before, ""), sample("load", event.Before, ""))
	st.at(5.3, judged("steady", "expect home.status == 200", at(29, 12), "held"), judged("steady", "expect workers == 2 || spare", at(31, 12), "held"),
		event.PhaseEnded{Phase: event.Before, OK: true, Took: s(5.05)},
		event.PhaseEntered{Phase: event.During, Title: "kill the workers, one at a time"},
		event.Heading{Phase: event.During, Text: "repeat 1 of 2"},
		event.StepStarted{Step: 2, Phase: event.During, Text: "process.pause(worker) for 2s", Does: "pause worker (pid 4712)", Lifetime: "kernel", Depth: 1, For: s(2), At: at(42, 5)},
		event.UndoIntended{ID: "u2", Step: 2, Text: "process.pause(worker) for 2s", Record: record("kill -CONT 4712")})
	st.at(5.4, event.StepEnded{Step: 2, Status: "done", Note: "pid 4712", Effect: "unknown", Detail: "it was seen running once", Took: s(0.1)})
	st.at(5.5, sample("home", event.During, ""), sample("load", event.During, "dial tcp 127.0.0.1:8003: connection refused"))
	st.at(6, event.CheckState{Section: "hypothesis", Text: "eventually workers == 2 within 5s", At: at(36, 12), State: "false"})
	st.at(7.4, event.UndoState{ID: "u2", Step: 2, State: "reverting"}, event.UndoState{ID: "u2", Step: 2, State: "reverted", Detail: "the target is gone", Took: s(0.01)},
		event.FaultUndone{Step: 2, Text: "process.pause(worker) for 2s", Does: "pause worker (pid 4712)", OK: true, Phase: event.During, Took: s(0.01)},
		event.Waiting{Step: 3, Phase: event.During, Text: "wait until workers == 2 within 5s", Most: s(5), Depth: 1, At: at(43, 5)})
	st.at(7.8, event.CheckState{Section: "hypothesis", Text: "eventually workers == 2 within 5s", At: at(36, 12), State: "true"})
	st.at(7.9, event.StepEnded{Step: 3, Status: "done", Took: s(0.5)}, event.PhaseEntered{Phase: event.After, Detail: "for 5s"})
	st.at(12.9, judged("after", "expect home.status == 200", at(29, 12), "held"), judged("after", "expect workers == 2 || spare", at(31, 12), "held"),
		event.PhaseEnded{Phase: event.After, OK: true, Took: s(5)},
		event.CheckJudged{Section: "hypothesis", Kind: "eventually", Text: "eventually workers == 2 within 5s", At: at(36, 12), Result: "held", Detail: "false once, back within 2.5s", Evaluations: 12, False: 3},
		event.PhaseEntered{Phase: event.UndoSetup},
		event.UndoState{ID: "u1", Step: 1, State: "reverted"},
		event.FaultUndone{Step: 1, Text: `process.start("./fizzbuzz") as worker`, Name: "worker", Does: "start ./fizzbuzz", OK: true, Phase: event.UndoSetup, Took: s(0.078248)},
		event.ExperimentEnded{Title: "customers do not notice a *dying* worker", Verdict: event.Held, Outcome: event.Completed, Restoration: event.Clean, Took: s(12.91)})

	st.at(13, event.ExperimentStarted{Title: "a frozen database", Hypothesis: "orders <still> go through", At: at(60, 1)},
		event.PhaseEntered{Phase: event.During, Title: "freeze it"},
		event.StepStarted{Step: 4, Phase: event.During, Text: "process.pause(port: 5432) for 10s", Does: "pause postgres (pid 99)", Lifetime: "guardian", For: s(10), Because: "the disk does that, too", At: at(80, 5)},
		event.UndoIntended{ID: "u3", Step: 4, Text: "process.pause(port: 5432) for 10s", Record: record("kill -CONT 99")},
		event.StepEnded{Step: 4, Status: "failed", Error: "no permission\nto trace it", Took: s(0.2)})
	st.at(13.2, event.Turned{Text: "always order.ok", At: at(70, 12), To: "false", Operands: []event.Operand{{Text: "order.ok", Value: "false"}}},
		event.Note{Text: "somebody else changed the value"},
		event.PhaseEntered{Phase: event.Undo, Detail: "1 fault"},
		event.UndoState{ID: "u3", Step: 4, State: "failed", Error: "operation not permitted", Manual: "kill -CONT 99"},
		event.FaultUndone{Step: 4, Text: "process.pause(port: 5432) for 10s", Does: "pause postgres (pid 99)", Error: "operation not permitted", Phase: event.Undo, Took: s(3)},
		event.CheckJudged{Section: "hypothesis", Kind: "always", Text: "always order.ok", At: at(70, 12), Because: "a lost order | is lost money", Result: "refuted", Detail: "false in 3 of 40 evaluations",
			Evaluations: 40, False: 3, Moment: &moment, Operands: []event.Operand{{Text: "order.ok", Value: "false"}, {Text: "order.status", Value: "503"}}},
		event.CheckJudged{Section: "hypothesis", Kind: "expect", Text: "expect during.load.p99 < before.load.p99 + 50ms", At: at(71, 12), Result: "refuted", Detail: "false in 1 of 1 evaluation",
			Evaluations: 1, False: 1, Moment: &moment, Operands: []event.Operand{{Text: "during.load.p99", Value: "183ms"}, {Text: "before.load.p99", Value: "41ms"}}},
		event.CheckJudged{Section: "hypothesis", Kind: "eventually", Text: "eventually `queue` empty", At: at(72, 12), Result: "inconclusive", Detail: "never evaluated: no sample of `queue`"},
		event.ExperimentEnded{Title: "a frozen database", Verdict: event.Refuted, Outcome: event.Failed, Reason: "process.pause(port: 5432): no permission", Restoration: event.Incomplete,
			Left: []event.Left{{Text: "process.pause(port: 5432) for 10s", Error: "operation not permitted", Manual: "kill -CONT 99"}}, Exit: 6, Took: s(3.4)})

	st.at(17, event.ExperimentStarted{Title: "a guarded one", At: at(90, 1)},
		event.PhaseEntered{Phase: event.During},
		event.GuardTripped{Text: "abort when load.error_ratio > 20% for 3s", Because: "that is all we grant", At: at(91, 3), Operands: []event.Operand{{Text: "load.error_ratio", Value: "31%"}}},
		event.Abort{By: "guard", Text: "guard: abort when load.error_ratio > 20% for 3s"},
		event.ExperimentEnded{Title: "a guarded one", Verdict: event.Inconclusive, Outcome: event.Aborted, Reason: "guard: abort when load.error_ratio > 20% for 3s", Restoration: event.Clean, Exit: 4, Took: s(0.5)},
		event.Note{Text: "the helper process: it was killed"})
	st.at(18, event.RunEnded{Exit: 6, Took: s(18), Skipped: 1, Dir: "runs/20261122-062535-e6f8"})
	return st.list
}

func build(list []event.Event) *Report {
	b := NewBuilder()
	for _, e := range list {
		b.Event(e)
	}
	return b.Report()
}

// journal writes events as a run does.
func journal(t *testing.T, list []event.Event) []byte {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for _, e := range list {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return buf.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s is not what is written now; if that is right: go test ./runtime/report -update\n%s", path, got)
	}
}

func render(t *testing.T, format string, r *Report) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, format, r); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestGolden(t *testing.T) {
	list := gameDay()
	unfinished := list[:18] // killed while the worker was paused
	one := append(list[:1:1], list[len(list)-7:]...)
	refused := build(nil)
	b := Builder{report: *refused}
	b.Refused("broken.chaos", "broken.chaos:2:57: error[E302]: write `100ms`")
	for name, r := range map[string]*Report{"game-day": build(list), "one": build(one), "unfinished": build(unfinished), "refused": b.Report(), "nothing": refused} {
		for format, ext := range map[string]string{"md": ".md", "json": ".json", "junit": ".xml"} {
			golden(t, name+ext, render(t, format, r))
		}
		_, body, _ := strings.Cut(string(render(t, "html", r)), "<body>") // above it nothing but the title differs
		golden(t, name+".html", []byte(body))
	}
}

func TestReadBackEqualsLive(t *testing.T) {
	list := gameDay()
	live := build(list)
	back, err := Read(bytes.NewReader(journal(t, list)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(live, back) {
		t.Errorf("live:\n%s\nread back:\n%s", render(t, "json", live), render(t, "json", back))
	}
}

// A crash may tear any line: what is readable is reported, at every length of the journal, in every format.
func TestTornAnywhere(t *testing.T) {
	whole := journal(t, gameDay())
	first := bytes.IndexByte(whole, '\n')
	for n := 0; n <= len(whole); n += 97 {
		r, err := Read(bytes.NewReader(whole[:n]))
		if (err == nil) != (n >= first) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if err != nil {
			continue
		}
		for _, f := range Formats {
			render(t, f, r)
		}
		if run := r.Runs[0]; run.Ended != (n >= len(whole)-1) {
			t.Fatalf("%d bytes: ended %v", n, run.Ended)
		}
	}
}

// What `chaos recover` did after a crash stands in the report too.
func TestRecoveredLater(t *testing.T) {
	var st stream
	st.list = gameDay()[:18]
	r := build(st.list)
	if left := r.Runs[0].Experiments[0].Leftovers(); len(left) != 2 || left[1].Manual != "kill -CONT 4712" {
		t.Fatalf("left: %+v", left)
	}
	st.at(60, event.Note{Text: "recover: the runner is gone; undoing what is left of it: 2"},
		event.UndoState{ID: "u2", Step: 2, State: "reverted"}, event.UndoState{ID: "u1", Step: 1, State: "reverted"})
	x := build(st.list).Runs[0].Experiments[0]
	if left := x.Leftovers(); len(left) != 0 || !x.Faults[0].Undone || !x.Faults[1].Undone {
		t.Errorf("left %+v, faults %+v", left, x.Faults)
	}
}

func TestJUnitRoundTrip(t *testing.T) {
	r := build(gameDay())
	r.Runs[0].Experiments[0].Title = "letters that XML does not like: \x00 <&\"'> ]]> \xff"
	r.Runs[0].Experiments[1].Steps[0].Error = "nor these: \x00 \x1b[1m <&\"'> ]]> \xff"
	data := render(t, "junit", r)
	var back junitSuites
	dec := xml.NewDecoder(bytes.NewReader(data))
	dec.Strict = true
	if err := dec.Decode(&back); err != nil {
		t.Fatal(err)
	}
	again, err := xml.MarshalIndent(back, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if got := xml.Header + string(again) + "\n"; got != string(data) {
		t.Errorf("not the same after a round trip:\n%s", got)
	}
	if back.Tests != 14 || back.Failures != 3 || back.Errors != 3 {
		t.Errorf("%d tests, %d failures, %d errors", back.Tests, back.Failures, back.Errors)
	}
}

// The exit code and JUnit agree: what ends with 0 has neither failures nor errors, and nothing else has none.
func TestJUnitAgreesWithExit(t *testing.T) {
	for _, tc := range []struct {
		verdict     event.Verdict
		outcome     event.Outcome
		restoration event.Restoration
		check       string
		bad         bool
	}{
		{event.Held, event.Completed, event.Clean, "held", false},
		{event.NotJudged, event.Completed, event.Clean, "held", false},
		{event.Refuted, event.Completed, event.Clean, "refuted", true},
		{event.Inconclusive, event.Completed, event.Clean, "held", true}, // a fault without effect
		{event.Inconclusive, event.Completed, event.Clean, "inconclusive", true},
		{event.Held, event.Completed, event.Incomplete, "held", true},
		{event.NotJudged, event.Unsteady, event.Clean, "held", true},
		{event.NotJudged, event.Unfit, event.Clean, "held", true},
		{event.Inconclusive, event.Aborted, event.Clean, "held", true},
		{event.Inconclusive, event.Failed, event.Clean, "held", true},
	} {
		var st stream
		end := event.ExperimentEnded{Title: "x", Verdict: tc.verdict, Outcome: tc.outcome, Restoration: tc.restoration}
		if tc.restoration == event.Incomplete {
			end.Left = []event.Left{{Text: "the steady state", Error: "it did not come back"}}
		}
		st.at(0, event.RunStarted{Run: "r"}, event.ExperimentStarted{Title: "x"}, judged("hypothesis", "expect a", at(1, 1), tc.check), end, event.RunEnded{})
		var back junitSuites
		if err := xml.Unmarshal(render(t, "junit", build(st.list)), &back); err != nil {
			t.Fatal(err)
		}
		if bad := back.Failures+back.Errors > 0; bad != tc.bad {
			t.Errorf("%+v: %d failures, %d errors", tc, back.Failures, back.Errors)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for path, want := range map[string]string{"a.md": "md", "x/y.JSON": "json", "a.html": "html", "junit.xml": "junit"} {
		if got, err := FormatOf(path); got != want || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"a.pdf", "report", "md"} {
		if _, err := FormatOf(path); err == nil || !strings.Contains(err.Error(), ".md (Markdown), .json or .xml (JUnit)") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := Write(&bytes.Buffer{}, "pdf", build(nil)); err == nil {
		t.Error("pdf is written")
	}
}

// What a script says can neither break a table nor smuggle markup in.
func TestMarkdownEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"a *b* _c_":          `a \*b\* \_c\_`,
		"<script>x</script>": "&lt;script&gt;x&lt;/script&gt;",
		"no `x_y` here":      "no `x_y` here",
		"one ` tick_":        `one ' tick\_`,
		"two\nlines":         "two lines",
		"[a](http://b) $x$":  `\[a\](http://b) \$x\$`,
	} {
		if got := escape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := code("a `b` c"); got != "`` a `b` c ``" {
		t.Error(got)
	}
	if got := cell(code("a || b")); got != "`a \\|\\| b`" {
		t.Error(got)
	}
}
