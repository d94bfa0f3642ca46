package event

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
)

// all is one payload of every kind, every field set: a reader that forgets one fails here.
func all() []Data {
	at := Place{File: "a.chaos", Line: 3, Col: 5}
	ops := []Operand{{Text: "home.status", Value: "503"}}
	moment := Seconds(1500 * time.Millisecond)
	sample := value.FromPlain(map[string]any{"ok": true, "status": 200.0, "latency": 0.25, "tags": []any{"a"}}, value.TAny)
	return []Data{
		RunStarted{Run: "r", Script: "a.chaos", Folder: "/scripts", Seed: 1<<63 + 1, Params: map[string]string{"base": `"x"`}, Version: "v", Pid: 7, Boot: "b", Experiments: 1},
		ExperimentStarted{Title: "t", Owner: "o", Hypothesis: "h", Tags: []string{"g"}, At: at},
		PhaseEntered{Phase: During, Title: "t", Detail: "d"},
		PhaseEnded{Phase: Before, OK: true, Detail: "d", Took: Seconds(time.Second)},
		StepStarted{Step: 1, Phase: During, Text: "x", Does: "y", Lifetime: "kernel", Depth: 2, For: Seconds(time.Second), Because: "b", At: at},
		StepEnded{Step: 1, Status: "done", Error: "e", Note: "n", Effect: "yes", Detail: "d", Took: Seconds(time.Millisecond)},
		Waiting{Step: 2, Phase: During, Text: "wait 1s", Most: Seconds(time.Second), Depth: 1, At: at},
		Heading{Phase: During, Text: "h", Depth: 1},
		UndoIntended{ID: "u1", Step: 1, Text: "x", Record: json.RawMessage(`{"kind":"k"}`)},
		UndoState{ID: "u1", Step: 1, State: "failed", Text: "x", Detail: "d", Error: "e", Manual: "m", Took: Seconds(time.Microsecond)},
		FaultUndone{Step: 1, Text: "x", Does: "y", OK: true, Error: "e", Phase: Undo, Took: Seconds(time.Second)},
		Sample{Probe: "home", Phase: During, Start: Seconds(time.Second), Took: Seconds(time.Millisecond), Value: &sample, Error: "e", Skipped: 2, Spans: true, Partial: true, State: json.RawMessage(`{"n":1}`)},
		CheckJudged{Section: "hypothesis", Kind: "always", Text: "c", Because: "b", At: at, Result: "refuted", Detail: "d", Evaluations: 3, False: 2, NoData: 1, Moment: &moment, Operands: ops},
		Turned{Text: "c", At: at, To: "false", Operands: ops},
		GuardTripped{Text: "g", Because: "b", At: at, NoData: "n", Operands: ops},
		Abort{By: "guard", Text: "t"},
		Log{Text: "l"},
		Note{Text: "n"},
		ExperimentEnded{Title: "t", Verdict: Refuted, Outcome: Aborted, Reason: "r", Restoration: Incomplete, Left: []Left{{Text: "x", Error: "e", Manual: "m"}}, Exit: 6, Took: Seconds(time.Minute)},
		RunEnded{Exit: 6, Took: Seconds(time.Minute), Skipped: 1, Dir: "/runs/r"},
	}
}

func TestEveryKindReadsBack(t *testing.T) {
	kinds := map[string]bool{}
	for i, d := range all() {
		for f := range reflect.TypeOf(d).NumField() {
			if reflect.ValueOf(d).Field(f).IsZero() {
				t.Errorf("%s: this test leaves %s empty", d.EventKind(), reflect.TypeOf(d).Field(f).Name)
			}
		}
		want := Event{Seq: uint64(i + 1), Mono: time.Duration(i)*time.Second + 123456789, Wall: time.Unix(1790000000, 5).UTC(), Data: d}
		line, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Event
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read back as %+v", line, got)
		}
		kinds[d.EventKind()] = true
	}
	for kind := range readers {
		if !kinds[kind] {
			t.Errorf("%s has no sample here", kind)
		}
	}
}

func TestReadJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	j, err := CreateJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := NewStream(j)
	for _, d := range all() {
		s.Emit(d)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, JournalName))
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.TrimSuffix(string(data), "\n")
	for name, tc := range map[string]struct {
		text         string
		events, torn int
	}{
		"whole":                {string(data), 20, 0},
		"without its last end": {whole, 20, 0},
		"torn":                 {whole[:len(whole)-9], 19, 1},
		"torn, then cleaned":   {whole[:len(whole)-9] + "\n" + `{"seq":21,"t":1,"wall":"2026-11-22T06:25:35Z","kind":"note","data":{"text":"x"}}` + "\n", 20, 1},
		"empty":                {"", 0, 0},
		"another program's":    {"{}\nx\n", 0, 2},
	} {
		events, torn := 0, 0
		for _, err := range ReadJournal(strings.NewReader(tc.text)) {
			var te *TornError
			switch {
			case errors.As(err, &te):
				torn++
			case err != nil:
				t.Errorf("%s: %v", name, err)
			default:
				events++
			}
		}
		if events != tc.events || torn != tc.torn {
			t.Errorf("%s: %d events and %d torn lines, want %d and %d", name, events, torn, tc.events, tc.torn)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReadJournalSaysThatTheDiskFails(t *testing.T) {
	for _, err := range ReadJournal(broken{}) {
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	}
}

func TestUnknownKindsAreKept(t *testing.T) {
	line := `{"seq":1,"t":0,"wall":"2026-11-22T06:25:35Z","kind":"of_tomorrow","data":{"x":1}}`
	var e Event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(e)
	if err != nil || string(back) != line {
		t.Errorf("%s, %v", back, err)
	}
}
