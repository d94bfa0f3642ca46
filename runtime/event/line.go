package event

import (
	"encoding/json"
	"strconv"
	"time"

	"chaos/lang/value"
)

// wire is an event in JSON.
type wire struct {
	Seq  uint64    `json:"seq"`
	Mono float64   `json:"t"`
	Wall time.Time `json:"wall"`
	Kind string    `json:"kind"`
	Data any       `json:"data"`
}

// appendJSON writes an event as one line. Most are samples, which are put together without reflection.
func (e Event) appendJSON(b []byte) ([]byte, error) {
	w := wire{Seq: e.Seq, Mono: e.Mono.Seconds(), Wall: e.Wall.UTC(), Kind: e.Data.EventKind(), Data: e.Data}
	s, ok := e.Data.(Sample)
	if !ok {
		line, err := json.Marshal(w)
		return append(b, line...), err
	}
	b = strconv.AppendUint(append(b, `{"seq":`...), w.Seq, 10)
	b = value.AppendNumber(append(b, `,"t":`...), w.Mono)
	b = w.Wall.AppendFormat(append(b, `,"wall":"`...), time.RFC3339Nano)
	b = value.AppendString(append(b, `","kind":`...), w.Kind)
	b = s.appendJSON(append(b, `,"data":`...))
	return append(b, '}'), nil
}

func (s Sample) appendJSON(b []byte) []byte {
	b = value.AppendString(append(b, `{"probe":`...), s.Probe)
	b = value.AppendString(append(b, `,"phase":`...), string(s.Phase))
	b = value.AppendNumber(append(b, `,"start":`...), s.Start.inJSON())
	b = value.AppendNumber(append(b, `,"took":`...), s.Took.inJSON())
	if s.Value != nil {
		b = s.Value.AppendJSON(append(b, `,"value":`...))
	}
	if s.Error != "" {
		b = value.AppendString(append(b, `,"error":`...), s.Error)
	}
	if s.Skipped != 0 {
		b = strconv.AppendInt(append(b, `,"skipped":`...), int64(s.Skipped), 10)
	}
	if s.Spans {
		b = append(b, `,"spans":true`...)
	}
	if s.Partial {
		b = append(b, `,"partial":true`...)
	}
	if len(s.State) > 0 {
		b = append(append(b, `,"state":`...), s.State...) // encoding/json wrote it, so it is one line
	}
	return append(b, '}')
}
