package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"
)

// table reads a table of the kernel as what was added since the last time.
//
// The counts in the kernel only grow: to read and reset them at once is not possible while programs add to them. A key to
// which nothing was added from one read to the next is idle, and sweep takes it out.
type table[K comparable] struct {
	kernel *ebpf.Map
	entry  func(K) entry
	before map[K]counts
	idle   []K
	keys   []K
	values []counts
}

func newTable[K comparable](kernel *ebpf.Map, show func(K) entry) *table[K] {
	const batch = 4096
	return &table[K]{kernel: kernel, entry: show, before: map[K]counts{}, keys: make([]K, batch), values: make([]counts, batch)}
}

// read hands over what was added.
func (t *table[K]) read(see func(entry)) error {
	t.idle = t.idle[:0]
	var cursor ebpf.MapBatchCursor
	for {
		n, err := t.kernel.BatchLookup(&cursor, t.keys, t.values, nil)
		for i := range n {
			if !t.added(t.keys[i], t.values[i], see) {
				t.idle = append(t.idle, t.keys[i])
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil // the end
		}
		if err != nil {
			return fmt.Errorf("the table in the kernel cannot be read: %s", plain(err))
		}
	}
}

// added hands over the difference to the last time, if there is one.
func (t *table[K]) added(k K, now counts, see func(entry)) bool {
	before := t.before[k]
	if now == before {
		return false
	}
	e := t.entry(k)
	for i := range now {
		e.N[i] = now[i] - before[i]
	}
	t.before[k] = now
	see(e)
	return true
}

// sweep takes out the idle keys, and hands over what was added to them since the read. What a kernel before 5.14 cannot take
// out stays and is known, so that it does not count again.
func (t *table[K]) sweep(see func(entry)) {
	for _, k := range t.idle {
		var last counts
		err := t.kernel.LookupAndDelete(&k, &last)
		if err == nil {
			t.added(k, last, see)
		}
		if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
			delete(t.before, k)
		}
	}
	t.idle = t.idle[:0]
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
