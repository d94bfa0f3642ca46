package event

import (
	"encoding/json"
	"strconv"
	"time"

	"chaos/lang/value"
)

// line is a payload that is put together without reflection: most events are samples, and of the others a step writes most.
type line interface{ appendJSON(b []byte) []byte }

// appendJSON writes an event as one line.
func (e Event) appendJSON(b []byte) ([]byte, error) {
	b = strconv.AppendUint(append(b, `{"seq":`...), e.Seq, 10)
	b = value.AppendNumber(append(b, `,"t":`...), e.Mono.Seconds())
	b = e.Wall.UTC().AppendFormat(append(b, `,"wall":"`...), time.RFC3339Nano)
	b = value.AppendString(append(b, `","kind":`...), e.Data.EventKind())
	b = append(b, `,"data":`...)
	if l, ok := e.Data.(line); ok {
		return append(l.appendJSON(b), '}'), nil
	}
	data, err := json.Marshal(e.Data)
	return append(append(b, data...), '}'), err
}

func (h Heading) appendJSON(b []byte) []byte {
	b = value.AppendString(append(b, `{"phase":`...), string(h.Phase))
	b = value.AppendString(append(b, `,"text":`...), h.Text)
	return append(optionalInt(b, `,"depth":`, h.Depth), '}')
}

func (s StepStarted) appendJSON(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"step":`...), int64(s.Step), 10)
	b = value.AppendString(append(b, `,"phase":`...), string(s.Phase))
	b = value.AppendString(append(b, `,"text":`...), s.Text)
	b = optional(b, `,"name":`, s.Name)
	b = optional(b, `,"does":`, s.Does)
	b = optional(b, `,"lifetime":`, s.Lifetime)
	b = optionalInt(b, `,"depth":`, s.Depth)
	if s.For != 0 {
		b = value.AppendNumber(append(b, `,"for":`...), s.For.inJSON())
	}
	b = optional(b, `,"because":`, s.Because)
	b = value.AppendString(append(b, `,"at":{"file":`...), s.At.File)
	b = strconv.AppendInt(append(b, `,"line":`...), int64(s.At.Line), 10)
	b = strconv.AppendInt(append(b, `,"col":`...), int64(s.At.Col), 10)
	return append(b, "}}"...)
}

func (s StepEnded) appendJSON(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"step":`...), int64(s.Step), 10)
	b = value.AppendString(append(b, `,"status":`...), s.Status)
	b = optional(b, `,"error":`, s.Error)
	b = optional(b, `,"note":`, s.Note)
	b = optional(b, `,"effect":`, s.Effect)
	b = optional(b, `,"detail":`, s.Detail)
	b = value.AppendNumber(append(b, `,"took":`...), s.Took.inJSON())
	return append(b, '}')
}

func optional(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return value.AppendString(append(b, key...), s)
}

func optionalInt(b []byte, key string, n int) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), int64(n), 10)
}

func (s Sample) appendJSON(b []byte) []byte {
	b = value.AppendString(append(b, `{"probe":`...), s.Probe)
	b = value.AppendString(append(b, `,"phase":`...), string(s.Phase))
	b = value.AppendNumber(append(b, `,"start":`...), s.Start.inJSON())
	b = value.AppendNumber(append(b, `,"took":`...), s.Took.inJSON())
	if s.Value != nil {
		b = s.Value.AppendJSON(append(b, `,"value":`...))
	}
	b = optional(b, `,"error":`, s.Error)
	b = optionalInt(b, `,"skipped":`, s.Skipped)
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
