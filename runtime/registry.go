package runtime

import (
	"slices"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/probes"
)

// Registries are the families that a program knows. They are values, filled by main or by a test.
type Registries struct {
	Actions *actions.Registry
	Probes  *probes.Registry
}

var _ spec.Catalogue = Registries{}

// Call finds the spec of an action or a probe.
func (r Registries) Call(name string) (*spec.Call, bool) {
	if a, ok := r.Actions.Action(name); ok {
		return a.Spec(), true
	}
	if p, ok := r.Probes.Probe(name); ok {
		return p.Spec(), true
	}
	return nil, false
}

// Names lists all calls, sorted.
func (r Registries) Names() []string {
	names := append(r.Actions.Names(), r.Probes.Names()...)
	slices.Sort(names)
	return names
}
