package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"chaos/lang/value"
)

// Unknown is a payload of a kind that this version does not know, kept as it stands in the journal.
type Unknown struct {
	Kind string
	Raw  json.RawMessage
}

// EventKind is the kind in the journal.
func (u Unknown) EventKind() string { return u.Kind }

// MarshalJSON writes back what was read.
func (u Unknown) MarshalJSON() ([]byte, error) { return u.Raw, nil }

// TornError is a line that is no event. A crash leaves at most one, the last that the crashed process wrote; what follows
// it was written by whoever cleaned up.
type TornError struct {
	Line int // 1-based
	Err  error
}

// Error says which line it is.
func (e *TornError) Error() string { return fmt.Sprintf("line %d of the journal is torn", e.Line) }

// Unwrap is what the decoder said.
func (e *TornError) Unwrap() error { return e.Err }

// ReadJournal yields the events of a journal, one at a time, however long it is. A line that cannot be read is yielded as
// a *TornError, after which reading goes on; any other error is the reader's own and the last.
//
// Samples lose their types, which a journal does not hold: their values are plain, durations in seconds.
func ReadJournal(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		in := bufio.NewReader(r)
		for n := 1; ; n++ {
			line, err := in.ReadBytes('\n')
			if len(line) > 1 || len(line) == 1 && line[0] != '\n' {
				var e Event
				var torn error
				if derr := json.Unmarshal(line, &e); derr != nil {
					torn = &TornError{Line: n, Err: derr}
				}
				if !yield(e, torn) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// UnmarshalJSON reads one line of the journal.
func (e *Event) UnmarshalJSON(line []byte) error {
	var w struct {
		Seq  uint64          `json:"seq"`
		Mono float64         `json:"t"`
		Wall time.Time       `json:"wall"`
		Kind string          `json:"kind"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(line, &w); err != nil {
		return err
	}
	if w.Kind == "" {
		return errors.New("it has no kind")
	}
	*e = Event{Seq: w.Seq, Mono: time.Duration(math.Round(w.Mono * 1e9)), Wall: w.Wall}
	read, ok := readers[w.Kind]
	if !ok {
		e.Data = Unknown{Kind: w.Kind, Raw: w.Data}
		return nil
	}
	var err error
	e.Data, err = read(w.Data)
	return err
}

// readers decode each kind of payload.
var readers = func() map[string]func(json.RawMessage) (Data, error) {
	m := map[string]func(json.RawMessage) (Data, error){}
	add := func(kind Data, read func(json.RawMessage) (Data, error)) { m[kind.EventKind()] = read }
	add(RunStarted{}, as[RunStarted])
	add(ExperimentStarted{}, as[ExperimentStarted])
	add(PhaseEntered{}, as[PhaseEntered])
	add(PhaseEnded{}, as[PhaseEnded])
	add(StepStarted{}, as[StepStarted])
	add(StepEnded{}, as[StepEnded])
	add(Waiting{}, as[Waiting])
	add(Heading{}, as[Heading])
	add(UndoIntended{}, as[UndoIntended])
	add(UndoState{}, as[UndoState])
	add(FaultUndone{}, as[FaultUndone])
	add(Sample{}, as[Sample])
	add(CheckJudged{}, as[CheckJudged])
	add(Turned{}, as[Turned])
	add(CheckState{}, as[CheckState])
	add(GuardTripped{}, as[GuardTripped])
	add(Abort{}, as[Abort])
	add(Log{}, as[Log])
	add(Note{}, as[Note])
	add(ExperimentEnded{}, as[ExperimentEnded])
	add(RunEnded{}, as[RunEnded])
	return m
}()

func as[D Data](raw json.RawMessage) (Data, error) {
	var d D
	err := json.Unmarshal(raw, &d)
	return d, err
}

// UnmarshalJSON reads seconds.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	var f float64
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	*s = Seconds(math.Round(f * 1e9))
	return nil
}

// UnmarshalJSON reads a sample; its value has no type but what its JSON tells.
func (s *Sample) UnmarshalJSON(data []byte) error {
	type Bare Sample // without this method
	w := struct {
		*Bare
		Value any `json:"value"`
	}{Bare: (*Bare)(s)}
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if w.Value != nil {
		v := value.FromPlain(w.Value, value.TAny)
		s.Value = &v
	}
	return nil
}
