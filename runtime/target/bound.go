package target

import "chaos/lang/value"

// Bound is the handle of a process that a step acted on: this one process, whatever becomes of it. Its pid stays known after
// its end, or nothing could be said of what was killed.
type Bound struct{ id Identity }

var _ Runner = (*Bound)(nil)

// HandleKind is "process".
func (b *Bound) HandleKind() string { return "process" }

// HandleID is unique in the run.
func (b *Bound) HandleID() string { return b.id.ID }

// HandleName is the program's.
func (b *Bound) HandleName() string { return b.id.Name }

// HandleField has `pid`.
func (b *Bound) HandleField(name string) value.Value {
	if name != "pid" {
		return value.NoData("a process has no `%s`", name)
	}
	return value.NumberOf(float64(b.id.Pid()))
}

// Identity is who it is; false once it has ended.
func (b *Bound) Identity() (Identity, bool) { return b.id, b.id.Alive() }

// Handles is what `as` binds to what a step acted on: one handle, or with a pick of more than one a list. A process that was
// selected by its handle keeps that.
func Handles(found []Found, p Pick) value.Value {
	list := make([]value.Value, len(found))
	for i, f := range found {
		h := f.Handle
		if h == nil {
			h = &Bound{id: f.Identity}
		}
		list[i] = value.HandleOf(h)
	}
	if !p.List {
		return list[0]
	}
	return value.ListValue(value.THandle, list...)
}
