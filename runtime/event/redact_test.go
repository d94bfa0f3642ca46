package event

import (
	"encoding/json"
	"strings"
	"testing"

	"chaos/lang/value"
)

func TestRedaction(t *testing.T) {
	var seen []Event
	s := NewStream(nil, SinkFunc(func(e Event) { seen = append(seen, e) }))
	s.Redact(func(text string) string {
		return strings.NewReplacer("reverted", "[secret W]", "4711", "[secret N]", `a"b`, "[secret Q]").Replace(text)
	})
	body := value.StructValue(value.TAny, map[string]value.Value{"a\"b": value.StringOf("x4711"), "n": value.NumberOf(4711), "l": value.ListValue(value.TString, value.StringOf("4711"))})
	s.Emit(StepEnded{Step: 4711, Status: "done", Error: `it said \ a"b and 4711`})
	s.Emit(UndoState{ID: "u4711", State: "reverted", Text: "reverted"})
	s.Emit(UndoIntended{ID: "u1", Record: json.RawMessage(`{"args":{"password":"4711","n":4711,"a\"b":[true,"\\4711"]}}`)})
	s.Emit(Sample{Probe: "p", Value: &body, Error: "4711", State: json.RawMessage(`{"4711":4711}`)})
	s.Emit(Log{Text: `"4711"`})
	plain := &Note{Text: "nothing"}
	s.Emit(plain)
	want := []string{
		`{"step":4711,"status":"done","error":"it said \\ [secret Q] and [secret N]","took":0}`,
		`{"id":"u4711","step":0,"state":"reverted","text":"[secret W]"}`,
		`{"id":"u1","step":0,"text":"","record":{"args":{"password":"[secret N]","n":4711,"[secret Q]":[true,"\\[secret N]"]}}}`,
		`{"probe":"p","phase":"","start":0,"took":0,"value":{"[secret Q]":"x[secret N]","l":["[secret N]"],"n":4711},"error":"[secret N]","state":{"4711":4711}}`,
		`{"text":"\"[secret N]\""}`,
	}
	for i, w := range want {
		got, err := json.Marshal(seen[i].Data)
		if err != nil || string(got) != w {
			t.Errorf("got  %s (%v)\nwant %s", got, err, w)
		}
	}
	if _, ok := seen[0].Data.(StepEnded); !ok {
		t.Errorf("the sink got a %T", seen[0].Data)
	}
	if seen[5].Data != Data(plain) {
		t.Error("what holds nothing is not left alone")
	}
}

func FuzzRedactionKeepsJSON(f *testing.F) {
	f.Add("a\"b", `{"a":"x\\a\"b","b":["a\"b",1]}`)
	f.Add("n12", `"\n123"`)
	f.Fuzz(func(t *testing.T, secret, text string) {
		raw := []byte(text)
		if secret == "" || !json.Valid(raw) {
			return
		}
		out, _ := redactJSON(raw, func(s string) string { return strings.ReplaceAll(s, secret, "[x]") })
		if !json.Valid(out) {
			t.Errorf("%q became %q", raw, out)
		}
	})
}
