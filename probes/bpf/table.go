package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"
)

// table reads what programs count in the kernel as what was added since the last time.
//
// The counts in the kernel only grow: to read and reset them at once is not possible while programs add to them. Nor can a
// key be taken out then: a program that has just found its counts would add to what nobody reads any more. So there are two
// sides, and programs count into one of them. Once it has keys to which nothing was added from one read to the next, they
// change to the other, and the side they left is read a last time and emptied.
type table[K comparable] struct {
	entry  func(K) entry
	turn   func(*ebpf.Map) error // lets programs count into another side; once it returns, none counts into the first any more
	sides  [2]side[K]
	used   int  // programs count into this side
	behind bool // the other one is not empty yet
	idle   bool // there are keys to which nothing was added
	keys   []K
	values []counts
}

type side[K comparable] struct {
	kernel *ebpf.Map
	before map[K]counts // as they were read the last time
}

func newTable[K comparable](sides [2]*ebpf.Map, turn func(*ebpf.Map) error, show func(K) entry) *table[K] {
	const batch = 4096
	t := &table[K]{entry: show, turn: turn, keys: make([]K, batch), values: make([]counts, batch)}
	for i, kernel := range sides {
		t.sides[i] = side[K]{kernel, map[K]counts{}}
	}
	return t
}

type batched func(cursor *ebpf.MapBatchCursor, keys, values any, opts *ebpf.BatchOptions) (int, error)

// each goes through a side.
func (t *table[K]) each(next batched, see func(K, counts)) error {
	var cursor ebpf.MapBatchCursor
	for {
		n, err := next(&cursor, t.keys, t.values, nil)
		for i := range n {
			see(t.keys[i], t.values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil // the end
		}
		if err != nil {
			return fmt.Errorf("the table in the kernel cannot be read: %s", plain(err))
		}
	}
}

// read hands over what was added.
func (t *table[K]) read(see func(entry)) error {
	if t.behind {
		left := t.sides[1-t.used]
		if err := t.each(left.kernel.BatchLookup, func(k K, now counts) { t.added(left, k, now, see) }); err != nil {
			return err
		}
	}
	t.idle = false
	used := t.sides[t.used]
	return t.each(used.kernel.BatchLookup, func(k K, now counts) {
		if !t.added(used, k, now, see) {
			t.idle = true
		}
	})
}

// added hands over the difference to the last time, if there is one.
func (t *table[K]) added(s side[K], k K, now counts, see func(entry)) bool {
	before := s.before[k]
	if now == before {
		return false
	}
	e := t.entry(k)
	for i := range now {
		e.N[i] = now[i] - before[i]
	}
	s.before[k] = now
	see(e)
	return true
}

// leave begins to take out the idle keys, if there are any. What it returns waits for programs, so it is called without a
// lock; read may be called meanwhile. Afterwards empty is called.
func (t *table[K]) leave() (wait func() error) {
	switch {
	case t.behind: // it could not be emptied the last time
		return func() error { return nil }
	case !t.idle:
		return nil
	}
	t.used, t.behind = 1-t.used, true
	to := t.sides[t.used].kernel
	return func() error { return t.turn(to) }
}

// empty hands over what was added to the side that programs left, and empties it. What the kernel does not take out stays
// and is known, so that it does not count again. It is told how the wait ended.
func (t *table[K]) empty(waited error, see func(entry)) {
	if waited != nil {
		t.used, t.behind = 1-t.used, false // nobody has left
		return
	}
	left := t.sides[1-t.used]
	err := t.each(left.kernel.BatchLookupAndDelete, func(k K, last counts) {
		t.added(left, k, last, see)
		delete(left.before, k)
	})
	t.behind = err != nil
}

func showPath(k pathKey) entry {
	return entry{Pid: int(k.Pid), Name: text(k.Name[:]), What: text(k.Path[:])}
}

func showFlow(k flowKey) entry {
	address, _ := netip.AddrFromSlice(k.Address[:4])
	if k.Side&sideV6 != 0 {
		address = netip.AddrFrom16(k.Address).Unmap()
	}
	return entry{Pid: int(k.Pid), Name: text(k.Name[:]), What: address.String(), Port: int(k.Port), In: k.Side&sideIn != 0}
}

// text is a C string. Processes choose names and paths, so it may be anything.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.ToValidUTF8(s, "\uFFFD")
}
