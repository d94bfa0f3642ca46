package event

import (
	"bytes"
	"encoding/json"

	"chaos/lang/value"
)

// Redact makes every event pass f before anybody sees it: f takes a string and returns it without what must not be shown.
// What it finds is replaced in the journal and for the sinks alike. Without it nothing is looked at.
func (s *Stream) Redact(f func(string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redact = f
}

// structural are the fields that programs decide by: whether an undo is done must not depend on what somebody chose as a
// password. They hold words of ours only.
var structural = map[string]bool{"id": true, "state": true, "phase": true, "status": true, "effect": true, "section": true, "check": true,
	"result": true, "verdict": true, "outcome": true, "restoration": true, "by": true, "run": true, "boot": true, "sealed": true, "lifetime": true, "probe": true}

// Rewrite passes every text of a payload through f. What readers decide by (ids, states) stays as it is.
func Rewrite(d Data, f func(string) string) Data { return redacted(d, f) }

// redacted is a payload without what f hides; the payload itself where there is nothing to hide.
func redacted(d Data, f func(string) string) Data {
	if s, ok := d.(Sample); ok { // its value would lose its types
		s.Error = f(s.Error)
		if s.Value != nil {
			v := redactValue(*s.Value, f)
			s.Value = &v
		}
		if state, changed := redactJSON(s.State, f); changed {
			s.State = state
		}
		return s
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return d // the journal will say so
	}
	clean, changed := redactJSON(raw, f)
	if !changed {
		return d
	}
	if read, ok := readers[d.EventKind()]; ok {
		if out, err := read(clean); err == nil {
			return out
		}
	}
	return Unknown{Kind: d.EventKind(), Raw: clean}
}

func redactValue(v value.Value, f func(string) string) value.Value {
	v.Missing = f(v.Missing)
	switch x := v.V.(type) {
	case string:
		v.V = f(x)
	case []value.Value:
		list := make([]value.Value, len(x))
		for i, e := range x {
			list[i] = redactValue(e, f)
		}
		v.V = list
	case map[string]value.Value:
		m := make(map[string]value.Value, len(x))
		for k, e := range x {
			m[f(k)] = redactValue(e, f)
		}
		v.V = m
	case value.Handle:
		if name := f(x.HandleName()); name != x.HandleName() {
			v.V = name
		}
	}
	return v
}

// redactJSON passes every string of a JSON text through f. What is not in a string stays as it is, so that a password of
// digits spoils no number, and the text stays JSON.
func redactJSON(raw []byte, f func(string) string) (out []byte, changed bool) {
	depth, last, key := 0, 0, ""
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := i + 1
			for end < len(raw) && raw[end] != '"' {
				if raw[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(raw))
			text := raw[i:end]
			isKey := end < len(raw) && raw[end] == ':'
			var s string
			if json.Unmarshal(text, &s) == nil && (depth > 1 || !isKey && !structural[key]) {
				if clean := f(s); clean != s {
					quoted, _ := json.Marshal(clean)
					out = append(append(out, raw[last:i]...), quoted...)
					last, changed = end, true
				}
			}
			if isKey && depth == 1 {
				key = s
			}
			i = end - 1
		}
	}
	if !changed {
		return raw, false
	}
	return bytes.Clone(append(out, raw[last:]...)), true
}
