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

// all is one payload of every kind, every field filled: a reader that forgets one fails here.
func all() []Data {
	kinds := []Data{RunStarted{}, ExperimentStarted{}, PhaseEntered{}, PhaseEnded{}, StepStarted{}, StepEnded{}, Waiting{}, Heading{}, UndoIntended{}, UndoState{},
		FaultUndone{}, Sample{}, CheckJudged{}, Turned{}, CheckState{}, GuardTripped{}, Abort{}, Log{}, Note{}, ExperimentEnded{}, RunEnded{}}
	out := make([]Data, len(kinds))
	for i, k := range kinds {
		v := reflect.New(reflect.TypeOf(k)).Elem()
		fill(v)
		out[i] = v.Interface().(Data)
	}
	return out
}

// fill gives every field some value that is not its zero.
func fill(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *json.RawMessage:
		*x = json.RawMessage(`{"n":1}`)
		return
	case **value.Value:
		sample := value.FromPlain(map[string]any{"ok": true, "status": 200.0, "latency": 0.25, "tags": []any{"a"}}, value.TAny)
		*x = &sample
		return
	case *Seconds:
		*x = Seconds(1500*time.Millisecond + time.Microsecond)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("a <text> with \"quotes\"")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(0.25)
	case reflect.Uint64:
		v.SetUint(1<<63 + 1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i))
		}
	case reflect.Map:
		e := reflect.New(v.Type().Elem()).Elem()
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), e)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic("fill: " + v.Type().String())
	}
}

func TestEveryKindReadsBack(t *testing.T) {
	kinds := map[string]bool{}
	for i, d := range all() {
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
	whole, n := strings.TrimSuffix(string(data), "\n"), len(all())
	for name, tc := range map[string]struct {
		text         string
		events, torn int
	}{
		"whole":                {string(data), n, 0},
		"without its last end": {whole, n, 0},
		"torn":                 {whole[:len(whole)-9], n - 1, 1},
		"torn, then cleaned":   {whole[:len(whole)-9] + "\n" + `{"seq":21,"t":1,"wall":"2026-11-22T06:25:35Z","kind":"note","data":{"text":"x"}}` + "\n", n, 1},
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
