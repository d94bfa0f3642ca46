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
// which nothing was added since the last time is taken out.
type table[K comparable] struct {
	kernel *ebpf.Map
	entry  func(K) entry
	before map[K]counts
	keys   []K
	values []counts
}

func newTable[K comparable](kernel *ebpf.Map, show func(K) entry) *table[K] {
	const batch = 4096
	return &table[K]{kernel: kernel, entry: show, before: map[K]counts{}, keys: make([]K, batch), values: make([]counts, batch)}
}

func (t *table[K]) read(see func(entry)) error {
	var idle []K
	add := func(k K, now counts) bool {
		e, before, some := t.entry(k), t.before[k], false
		for i := range now {
			e.N[i] = now[i] - before[i]
			some = some || e.N[i] > 0
		}
		if some {
			t.before[k] = now
			see(e)
		}
		return some
	}
	var cursor ebpf.MapBatchCursor
	for {
		n, err := t.kernel.BatchLookup(&cursor, t.keys, t.values, nil)
		for i := range n {
			if !add(t.keys[i], t.values[i]) {
				idle = append(idle, t.keys[i])
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			break // the end
		}
		if err != nil {
			return fmt.Errorf("the table in the kernel cannot be read: %s", plain(err))
		}
	}
	for _, k := range idle {
		var last counts
		if err := t.kernel.LookupAndDelete(&k, &last); err == nil {
			add(k, last)
		}
		delete(t.before, k)
	}
	return nil
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
