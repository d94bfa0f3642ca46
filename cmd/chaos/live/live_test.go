package live_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"chaos/cmd/chaos/live"
	"chaos/lang/value"
	"chaos/runtime/event"
)

var update = flag.Bool("update", false, "write the goldens anew")

// told is a model to which events happen at times.
type told struct {
	*live.Model
	step int
}

func tell() *told { return &told{Model: live.NewModel()} }

func (m *told) at(seconds float64, data ...event.Data) {
	for _, d := range data {
		m.Event(event.Event{Mono: secs(seconds), Data: d})
	}
}

func secs(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func sample(probe string, v value.Value) event.Sample { return event.Sample{Probe: probe, Value: &v} }

// gameDay is a run up to the middle of its injection: one fault with an end, one without, a check that is false for a
// moment, one that is refuted, a guard that is about to trip, a probe that fails.
func gameDay() *told {
	m := tell()
	web := value.TAny
	m.at(0, event.ExperimentStarted{
		Title: "the load balancer hides a dying worker", Deadline: event.Seconds(2 * time.Minute),
		Longest: []event.PhaseTime{{Phase: event.Before, Most: event.Seconds(secs(5))}, {Phase: event.During, Most: event.Seconds(secs(14))}},
		Watched: []event.Watched{
			{Probe: "home", Path: []string{"ok"}, Text: "home.ok", Every: event.Seconds(secs(0.2)), Read: true},
			{Probe: "load", Path: []string{"error_ratio"}, Text: "load.error_ratio", Every: event.Seconds(secs(1)), Read: true},
			{Probe: "workers", Text: "workers", Every: event.Seconds(secs(0.1)), Read: true},
			{Probe: "disk", Path: []string{"free"}, Text: "disk.free", Every: event.Seconds(secs(1))},
			{Probe: "lag", Text: "lag", Every: event.Seconds(secs(0.5))},
		},
		Checks: []event.Claim{
			{Section: "steady", Kind: "expect", Text: "expect home.ok", Reads: []string{"home.ok"}},
			{Section: "hypothesis", Kind: "always", Text: "always home.ok", Reads: []string{"home.ok"}},
			{Section: "hypothesis", Kind: "expect", Text: "expect during.load.error_ratio < 1%", Reads: []string{"load.error_ratio"}},
			{Section: "hypothesis", Kind: "eventually", Text: "eventually workers == 2 within 5s", Within: event.Seconds(secs(5)), Reads: []string{"workers"}},
			{Section: "hypothesis", Kind: "never", Text: "never lag > 1s or disk.free < 1GiB", Reads: []string{"lag", "disk.free"}},
			{Section: "guard", Kind: "abort", Text: "abort when load.error_ratio > 20% for 3s", For: event.Seconds(secs(3)), Reads: []string{"load.error_ratio"}},
		},
	}, event.PhaseEntered{Phase: event.Before, Title: "both workers serve traffic", Detail: "for 5s"})
	for i := range 22 {
		at := 0.1 + float64(i)/2
		if i == 10 {
			m.at(5.05, event.PhaseEntered{Phase: event.During, Title: "kill the workers, one at a time"},
				event.StepStarted{Step: 4, Phase: event.During, Name: "slow", Text: "network.delay(lb)", Does: "delay what lb sends by 100 ms", Lifetime: "guardian", For: event.Seconds(secs(8))},
				event.StepEnded{Step: 4, Status: "done"},
				event.StepStarted{Step: 5, Phase: event.During, Text: "process.pause(worker_a)", Does: "pause worker_a (pid 4711)", Lifetime: "kernel"},
				event.StepEnded{Step: 5, Status: "done"},
				event.StepStarted{Step: 6, Phase: event.During, Text: "process.kill(worker_b)", Does: "SIGTERM to worker_b (pid 4712)", Lifetime: "irreversible"},
				event.StepEnded{Step: 6, Status: "done"},
				event.Waiting{Step: 7, Phase: event.During, Text: "wait 9s", Most: event.Seconds(secs(9))})
		}
		workers, ratio := 2.0, 0.001*float64(i%3)
		if i > 16 {
			workers = 1
			ratio = 0.25
		}
		m.at(at, sample("workers", value.NumberOf(workers)),
			sample("home", value.Value{T: web, V: map[string]value.Value{"ok": value.BoolOf(i < 12 || i > 14)}}),
			sample("load", value.Value{T: web, V: map[string]value.Value{"error_ratio": value.RatioOf(ratio)}}))
		if i < 14 {
			m.at(at, sample("lag", value.DurationOf(time.Duration(20+7*(i*i%9))*time.Millisecond)))
		} else {
			m.at(at, event.Sample{Probe: "lag", Error: "connection refused by db.example.com:5432"})
		}
	}
	hypothesis := func(text, state string) event.CheckState {
		return event.CheckState{Section: "hypothesis", Text: text, State: state}
	}
	m.at(6.1, hypothesis("always home.ok", "false"), event.Turned{Text: "always home.ok", To: "false", Operands: []event.Operand{{Text: "home.ok", Value: "false"}}})
	m.at(7.6, hypothesis("always home.ok", "true"))
	m.at(7.1, event.CheckState{Section: "hypothesis", Text: "never lag > 1s or disk.free < 1GiB", State: "no data", Why: "connection refused by db.example.com:5432"})
	m.at(8.6, hypothesis("eventually workers == 2 within 5s", "false"))
	m.at(9.1, event.CheckState{Section: "guard", Text: "abort when load.error_ratio > 20% for 3s", State: "true"})
	return m
}

func board(m *told, at float64, size live.Size) string {
	return strings.Join(live.Render(m.Model, secs(at), size, live.Plain), "\n") + "\n"
}

func TestTheBoardAsItIsSeen(t *testing.T) {
	before := tell()
	before.at(0, event.ExperimentStarted{Title: "a quiet one", Watched: []event.Watched{{Probe: "p", Text: "p", Every: event.Seconds(time.Second)}},
		Checks: []event.Claim{{Section: "steady", Kind: "expect", Text: "expect p < 3", Reads: []string{"p"}}}},
		event.PhaseEntered{Phase: event.Before}, sample("p", value.NumberOf(1)), event.CheckState{Section: "steady", Text: "expect p < 3", State: "true"})
	abort := gameDay()
	abort.at(10.6, event.Abort{By: "signal", Text: "interrupted by SIGINT"}, event.PhaseEntered{Phase: event.Undo, Detail: "2 faults"},
		event.UndoState{Step: 5, State: "reverting"}, event.FaultUndone{Step: 5, OK: true}, event.UndoState{Step: 4, State: "reverting"})
	stuck := gameDay()
	stuck.at(10.6, event.PhaseEntered{Phase: event.Undo, Detail: "2 faults"}, event.FaultUndone{Step: 5, OK: true}, event.FaultUndone{Step: 4})
	for _, tc := range []struct {
		name string
		m    *told
		size live.Size
	}{
		{"inject-60x24", gameDay(), live.Size{Width: 60, Height: 24}},
		{"inject-100x30", gameDay(), live.Size{Width: 100, Height: 30}},
		{"inject-160x50", gameDay(), live.Size{Width: 160, Height: 50}},
		{"inject-60x14", gameDay(), live.Size{Width: 60, Height: 14}},
		{"inject-59x24", gameDay(), live.Size{Width: 59, Height: 24}},
		{"inject-100x9", gameDay(), live.Size{Width: 100, Height: 9}},
		{"before-80x24", before, live.Size{Width: 80, Height: 24}},
		{"abort-80x24", abort, live.Size{Width: 80, Height: 24}},
		{"stuck-80x24", stuck, live.Size{Width: 80, Height: 24}},
	} {
		file := filepath.Join("testdata", tc.name+".txt")
		got := board(tc.m, 10.8, tc.size)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s\n(-update writes it)", tc.name, got, want)
		}
	}
}

func TestTheBoardFitsEveryTerminal(t *testing.T) {
	m := gameDay()
	many := tell()
	var started event.ExperimentStarted
	started.Title = strings.Repeat("一个很长的标题 ", 20)
	for i := range 30 {
		name := fmt.Sprintf("探针%d_%s", i, strings.Repeat("é", i))
		started.Watched = append(started.Watched, event.Watched{Probe: name, Text: name, Read: i%3 == 0})
		started.Checks = append(started.Checks, event.Claim{Section: "hypothesis", Kind: "always", Text: "always " + name + " == \"✓\"", Reads: []string{name}})
	}
	many.at(0, started, event.PhaseEntered{Phase: event.During, Title: started.Title})
	for i, w := range started.Watched {
		many.at(1, sample(w.Probe, value.StringOf(strings.Repeat("値 ", i))), event.StepStarted{Step: i, Phase: event.During, Text: started.Title, Lifetime: "kernel"})
		if i%2 == 0 {
			many.at(2, event.StepEnded{Step: i, Status: "done"})
		}
	}
	paint := func(_, text string) string { return "\x1b[1;31m" + text + "\x1b[0m" }
	for _, model := range []*told{m, many} {
		for width := 20; width < 200; width += 13 {
			for height := 4; height < 60; height += 5 {
				lines := live.Render(model.Model, secs(10.8), live.Size{Width: width, Height: height}, paint)
				if len(lines) == 0 || len(lines) > max(height-3, 1) {
					t.Fatalf("%d lines on a terminal of %dx%d", len(lines), width, height)
				}
				for _, l := range lines {
					if n := live.Width(live.Stripped(l)); n >= width {
						t.Fatalf("%d cells on a terminal of %dx%d: %s", n, width, height, live.Stripped(l))
					}
				}
			}
		}
	}
}

// Within a phase nothing moves but what it is about: no line comes or goes when steps and faults do.
func TestTheBoardKeepsItsHeightWithinAPhase(t *testing.T) {
	m := gameDay()
	size := live.Size{Width: 100, Height: 40}
	height := strings.Count(board(m, 10.8, size), "\n")
	m.at(11, event.FaultUndone{Step: 4, OK: true}, event.FaultUndone{Step: 5, OK: true}, event.CheckState{Section: "hypothesis", Text: "always home.ok", State: "no data"})
	for _, at := range []float64{11.1, 20, 100} {
		if got := strings.Count(board(m, at, size), "\n"); got != height {
			t.Errorf("%d lines at %v s, %d before", got, at, height)
		}
	}
}

func TestWhatAnEventuallySaysAsTimePasses(t *testing.T) {
	m := tell()
	c := event.Claim{Section: "hypothesis", Kind: "eventually", Text: "eventually up within 3s", Within: event.Seconds(secs(3))}
	says := func(at float64, want string) {
		t.Helper()
		for l := range strings.Lines(board(m, at, live.Size{Width: 80, Height: 24})) {
			if strings.Contains(l, c.Text) {
				if got := strings.Join(strings.Fields(l), " "); got != want {
					t.Errorf("at %v s: %q, want %q", at, got, want)
				}
				return
			}
		}
		t.Errorf("at %v s it is not there", at)
	}
	m.at(0, event.ExperimentStarted{Checks: []event.Claim{c}}, event.PhaseEntered{Phase: event.During})
	says(0.5, "checks · eventually up within 3s")
	m.at(1, event.CheckState{Section: "hypothesis", Text: c.Text, State: "true"})
	says(1.5, "checks ✓ eventually up within 3s")
	m.at(2, event.CheckState{Section: "hypothesis", Text: c.Text, State: "false"})
	says(2.4, "checks ▼ eventually up within 3s false for 0.4s of 3s")
	says(5.1, "checks ✗ eventually up within 3s false longer than 3s")
	m.at(6, event.CheckState{Section: "hypothesis", Text: c.Text, State: "true"})
	says(7, "checks ✗ eventually up within 3s false longer than 3s")
}

func TestAValueThatANotTurnsRoundHasItsName(t *testing.T) {
	m := tell()
	m.at(0, event.ExperimentStarted{Title: "x", Checks: []event.Claim{
		{Section: "steady", Kind: "expect", Text: "expect not state.paused", Reads: []string{"state.paused"}},
		{Section: "steady", Kind: "expect", Text: "expect state.running", Reads: []string{"state.running"}}},
		Watched: []event.Watched{{Text: "state.paused", Probe: "state", Path: []string{"paused"}, Read: true}, {Text: "state.running", Probe: "state", Path: []string{"running"}, Read: true}}},
		event.PhaseEntered{Phase: event.Before})
	m.at(0.1, sample("state", value.StructValue(value.StructOf("state", value.Field{Name: "paused", Type: value.TBool}, value.Field{Name: "running", Type: value.TBool}), map[string]value.Value{"paused": value.BoolOf(false), "running": value.BoolOf(true)})))
	text := board(m, 0.2, live.Size{Width: 100, Height: 30})
	for _, want := range []string{`expect not state\.paused +state\.paused = false\n`, `expect state\.running +true\n`} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestSparksScaleAndShowGaps(t *testing.T) {
	for want, list := range map[string][]float64{
		"▁▂▃▄▅▆▇": {0, 1, 2, 3, 4, 5, 6},
		"▇·▁":     {5, math.NaN(), 0},
		"▁▄▇":     {-1, 0, 1},
		"▁▁":      {0, 0},
		"":        nil,
	} {
		if got := live.Spark(list); got != want {
			t.Errorf("%v: %s, want %s", list, got, want)
		}
	}
}

func TestTextsAreMeasuredInCells(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "⚡ x": 4, "一二": 4, "e\u0301": 1, "✓·▇": 3, "ｆｕｌｌ": 8, "a\u200bb": 2} {
		if got := live.Width(text); got != want {
			t.Errorf("%q takes %d cells, want %d", text, got, want)
		}
	}
	for _, tc := range []struct {
		text, want string
		room       int
	}{{"abcdef", "abc…", 4}, {"一二三", "一…", 4}, {"一二三", "一…", 3}, {"abc", "abc", 3}, {"abc", "", 0}} {
		if got := live.Cut(tc.text, tc.room); got != tc.want {
			t.Errorf("%q in %d cells: %q, want %q", tc.text, tc.room, got, tc.want)
		}
	}
}

func TestFoldedTextKeepsItsWords(t *testing.T) {
	for _, text := range []string{"a few words of text", "averyveryverylongword", "short averyveryverylongword x", "一二三四五六七 八九", ""} {
		for room := 2; room < 30; room++ {
			lines := live.Fold(text, room)
			for _, l := range lines {
				if live.Width(l) > room {
					t.Errorf("%q in %d cells: %q", text, room, lines)
				}
			}
			if got := strings.ReplaceAll(strings.Join(lines, ""), " ", ""); got != strings.ReplaceAll(text, " ", "") {
				t.Errorf("%q in %d cells: %q", text, room, lines)
			}
		}
	}
}

// A second of a run with 20 probes at 20 Hz: 400 samples and 10 frames.
func BenchmarkASecondOfTwentyProbes(b *testing.B) {
	m := tell()
	var started event.ExperimentStarted
	for i := range 20 {
		name := fmt.Sprintf("p%d", i)
		started.Watched = append(started.Watched, event.Watched{Probe: name, Text: name, Every: event.Seconds(50 * time.Millisecond), Read: true})
		started.Checks = append(started.Checks, event.Claim{Section: "hypothesis", Kind: "always", Text: "always " + name + " < 9", Reads: []string{name}})
	}
	m.at(0, started, event.PhaseEntered{Phase: event.During})
	second := 0.0
	for b.Loop() {
		for tick := range 20 {
			at := second + float64(tick)/20
			for i, w := range started.Watched {
				m.at(at, sample(w.Probe, value.NumberOf(float64((tick+i)%7))))
			}
			if tick%2 == 0 {
				live.Render(m.Model, secs(at), live.Size{Width: 120, Height: 60}, live.Plain)
			}
		}
		second++
	}
}
