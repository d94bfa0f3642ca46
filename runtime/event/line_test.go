package event

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"chaos/lang/value"
)

// wire is an event in JSON, as the standard library writes it.
type wire struct {
	Seq  uint64    `json:"seq"`
	Mono float64   `json:"t"`
	Wall time.Time `json:"wall"`
	Kind string    `json:"kind"`
	Data any       `json:"data"`
}

func TestALineIsWhatTheStandardLibraryWrites(t *testing.T) {
	list := all()
	for _, v := range []value.Value{value.NumberOf(0.25), value.NumberOf(math.NaN()), value.DurationOf(time.Millisecond), value.StringOf("a <b>\n"), value.NoData("why")} {
		list = append(list, Sample{Probe: "p", Value: &v}, Sample{Probe: "p.q", Phase: During, Start: -3, Took: Seconds(time.Hour), Value: &v, Skipped: -1})
	}
	list = append(list, Heading{}, StepStarted{}, StepEnded{}, Sample{}, Sample{Error: "\x00\xff&"}, Sample{State: json.RawMessage{}}, Sample{State: json.RawMessage(`{"a":["\u003c",1e-7]}`)})
	for _, wall := range []time.Time{time.Unix(1790000000, 5), time.Unix(1790000000, 0), time.Unix(1790000000, 120e6)} {
		for _, d := range list {
			e := Event{Seq: 1 << 63, Mono: 1234567 * time.Microsecond, Wall: wall, Data: d}
			want, err := json.Marshal(wire{Seq: e.Seq, Mono: e.Mono.Seconds(), Wall: e.Wall.UTC(), Kind: d.EventKind(), Data: d})
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.appendJSON([]byte("x"))
			if err != nil || string(got[1:]) != string(want) {
				t.Errorf("%v\n%s\nwant\n%s", err, got[1:], want)
			}
		}
	}
}
