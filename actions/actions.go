// Package actions is the contract of what a script can do to the world, and the registry of it. A family is a folder
// below; it knows this contract and no other family.
package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"sort"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

// Lifetime is what ends a fault when the runner is killed; see docs/safety.md.
type Lifetime string

const (
	Kernel       Lifetime = "kernel"       // the kernel, at once: the fault hangs on a descriptor, thread or helper of ours
	TTL          Lifetime = "ttl"          // a deadline that the target itself enforces
	Guardian     Lifetime = "guardian"     // our guardian process, from the journal
	Irreversible Lifetime = "irreversible" // nothing
)

// Undo is all that another process needs to undo a mutation. It is journalled before the mutation.
type Undo struct {
	Kind     string          `json:"kind"`    // names the Reverter; stable for ever
	Version  int             `json:"version"` // of Args and Prior
	Target   target.Identity `json:"target"`
	Args     json.RawMessage `json:"args,omitempty"`
	Prior    json.RawMessage `json:"prior,omitempty"` // the value before
	Lifetime Lifetime        `json:"lifetime"`
	Held     bool            `json:"held,omitempty"`   // by the helper of the run: nobody else can undo it before the run has ended
	Limit    time.Duration   `json:"limit,omitempty"`  // how long one attempt may take; 0: 10s
	Manual   string          `json:"manual,omitempty"` // the command with which a human undoes it
}

// Ledger is the write-ahead journal. Intend returns after the record is on disk; only then may the action act.
type Ledger interface {
	Intend(Undo) (id string, err error)
	Applied(id string) error
}

// Reuser is a Ledger that keeps the records that turned out void, for the next step that would intend the same: one sync of
// the disk then serves them all. Reuse hands the latest of a kind out, with its undo as it is on disk.
type Reuser interface {
	Reuse(kind string) (id string, u Undo, ok bool)
}

// Effect says whether a fault bit.
type Effect string

const (
	Yes     Effect = "yes"
	No      Effect = "no" // seen to be absent: the run cannot end held
	Unknown Effect = "unknown"
)

// Plan is what a step would do. Making it has no side effect.
type Plan struct {
	Targets  []target.Identity
	Lifetime Lifetime
	Why      string      // of the lifetime, where there was a choice
	Does     string      // one line: "SIGTERM to nginx (pid 4711)"
	Undo     []string    // one line each
	Missing  []spec.Need // what this machine lacks: not empty refuses the run
	Later    string      // not empty: the target is expected only after setup, and this is the selector
	Inject   func(context.Context, Ledger) (Fault, error)
}

// Fault is what an injection left. The runtime keeps Hold reachable and closes it to undo; then it runs the Reverter of
// every record that was intended, which verifies.
type Fault struct {
	Hold   io.Closer
	Result value.Value                                          // for `as`
	Note   string                                               // one line for the report: "pid 4711"
	Void   []string                                             // the records of which it turned out that there is nothing to undo; see Reuser
	Leaves string                                               // what the undo takes back, where that is not all that Plan.Does says
	Effect func(context.Context) (effect Effect, detail string) // nil: unknown
	// Last is asked right before the undo, where something may have become of the fault since: No where it has ended by
	// itself, and then the run cannot end held. A detail is told. It must not block.
	Last func() (effect Effect, detail string)
}

// Action is one thing that a step can do.
type Action interface {
	Spec() *spec.Call
	Plan(context.Context, env.Env, map[string]value.Value) (Plan, error)
}

// State is what a Reverter sees of a fault.
type State string

const (
	Present State = "present"
	Gone    State = "gone"
	Foreign State = "foreign" // somebody else changed the value meanwhile: left alone, reported
)

// Reverter undoes one kind of record: the same code for the runner, a guardian and `recover`.
type Reverter interface {
	Kind() string
	// Revert is idempotent, works where the action never got to act, and treats a target that is gone as undone.
	Revert(context.Context, env.Env, Undo) error
	// State looks at the world.
	State(context.Context, env.Env, Undo) (State, error)
}

// Define makes an action from its spec and a planning function; the fields of A are the arguments.
func Define[A any](call spec.Call, plan func(context.Context, env.Env, A) (Plan, error)) Action {
	call.Kind = spec.Action
	call.Params = spec.ParamsOf(reflect.TypeFor[A]())
	return &action[A]{call: &call, plan: plan}
}

type action[A any] struct {
	call *spec.Call
	plan func(context.Context, env.Env, A) (Plan, error)
}

func (a *action[A]) Spec() *spec.Call { return a.call }

func (a *action[A]) Plan(ctx context.Context, e env.Env, args map[string]value.Value) (Plan, error) {
	var in A
	if err := spec.Decode(args, &in); err != nil {
		return Plan{}, err
	}
	return a.plan(ctx, e, in)
}

// Registry holds actions and reverters. It is filled once, then only read.
type Registry struct {
	actions   map[string]Action
	reverters map[string]Reverter
}

// NewRegistry makes a registry of these actions.
func NewRegistry(list ...Action) *Registry {
	r := &Registry{actions: map[string]Action{}, reverters: map[string]Reverter{}}
	r.Add(list...)
	return r
}

// Add registers actions; a name that stands already is a mistake of the program.
func (r *Registry) Add(list ...Action) {
	for _, a := range list {
		name := a.Spec().Name
		if _, ok := r.actions[name]; ok {
			panic(fmt.Sprintf("actions: %s is registered twice", name))
		}
		r.actions[name] = a
	}
}

// AddReverters registers reverters.
func (r *Registry) AddReverters(list ...Reverter) {
	for _, v := range list {
		if _, ok := r.reverters[v.Kind()]; ok {
			panic(fmt.Sprintf("actions: reverter %s is registered twice", v.Kind()))
		}
		r.reverters[v.Kind()] = v
	}
}

// Action finds an action.
func (r *Registry) Action(name string) (Action, bool) { a, ok := r.actions[name]; return a, ok }

// Reverter finds a reverter by the kind of its records.
func (r *Registry) Reverter(kind string) (Reverter, bool) { v, ok := r.reverters[kind]; return v, ok }

// Names lists the actions, sorted.
func (r *Registry) Names() []string {
	out := make([]string, 0, len(r.actions))
	for n := range r.actions {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}
