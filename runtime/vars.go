package runtime

import (
	"sync"

	"chaos/lang/value"
)

// vars are the values that a run has bound by name: parameters, what steps returned, loop names, lets that were reached.
type vars struct {
	parent *vars
	mu     sync.RWMutex
	m      map[string]value.Value
}

func newVars(parent *vars) *vars { return &vars{parent: parent} }

func (v *vars) set(name string, x value.Value) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.m == nil {
		v.m = map[string]value.Value{}
	}
	v.m[name] = x
}

func (v *vars) get(name string) (value.Value, bool) {
	for ; v != nil; v = v.parent {
		v.mu.RLock()
		x, ok := v.m[name]
		v.mu.RUnlock()
		if ok {
			return x, true
		}
	}
	return value.Value{}, false
}
