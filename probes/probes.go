// Package probes is the contract of what a script can watch, and the registry of it. A family is a folder below.
package probes

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
)

// Probe is one thing that can be watched.
type Probe interface {
	Spec() *spec.Call
	// Open fixes the arguments, and may look whether what they name is there. It has no side effect. What is not there but may
	// come with setup is a target.NoneError.
	Open(context.Context, env.Env, map[string]value.Value) (Opened, error)
}

// Opened is a Sampler or a Streamer.
type Opened interface{ Close() error }

// Sampler takes one sample at a time. An error is a failed probe: no data, with the error as the reason. A failure that is
// itself the observation (a dead server) is a sample.
type Sampler interface {
	Opened
	Sample(context.Context) (value.Value, error)
	// Timeout bounds one sample; 0 means 5s.
	Timeout() time.Duration
}

type phaseKey struct{}

// InPhase tells a sample when the phase that it belongs to began.
func InPhase(ctx context.Context, began time.Time) context.Context {
	return context.WithValue(ctx, phaseKey{}, began)
}

// PhaseBegan is what InPhase told; false outside of a run, where there are no phases.
func PhaseBegan(ctx context.Context) (time.Time, bool) {
	began, ok := ctx.Value(phaseKey{}).(time.Time)
	return began, ok
}

// Streamer runs all the time, from Start until Close, which follows also where Start failed; Next closes the present window
// and returns it.
type Streamer interface {
	Opened
	Start(context.Context) error
	// Next returns what happened since the last Next (or Start). It does not block. The sample shows the window; the state
	// merges into summaries, and is journalled so that a verdict can be recomputed.
	Next() (sample value.Value, state Mergeable)
}

// Warmer is a Streamer whose first windows do not count. The steady state is judged once the channel is closed.
type Warmer interface{ Warm() <-chan struct{} }

// Mergeable is the exact summary of one or more windows.
type Mergeable interface {
	json.Marshaler
	Merge(Mergeable)
	Value() value.Value
}

// Restorer is implemented by streaming probes: it reads back a journalled state.
type Restorer interface {
	Restore(json.RawMessage) (Mergeable, error)
}

// Take is the sampling half of a probe.
type Take[S any] func(context.Context) (S, error)

// Define makes a probe that samples. The fields of A are the arguments, those of S the sample (S may be a plain number).
// A field `Timeout time.Duration` with the tag name `timeout` bounds a sample.
func Define[A, S any](call spec.Call, open func(context.Context, env.Env, A) (Take[S], error)) Probe {
	return DefineClosing(call, func(ctx context.Context, e env.Env, in A) (Take[S], func() error, error) {
		take, err := open(ctx, e, in)
		return take, nil, err
	})
}

// DefineClosing is Define for a probe that holds something open from sample to sample; the function that closes it may be nil.
func DefineClosing[A, S any](call spec.Call, open func(context.Context, env.Env, A) (Take[S], func() error, error)) Probe {
	call.Kind = spec.Probe
	call.Params = spec.ParamsOf(reflect.TypeFor[A]())
	call.Result = sampleType(call.Name, reflect.TypeFor[S]())
	return &probe[A]{call: &call, open: func(ctx context.Context, e env.Env, in A, timeout time.Duration) (Opened, error) {
		take, end, err := open(ctx, e, in)
		if err != nil {
			return nil, err
		}
		return &sampler[S]{t: call.Result, take: take, close: end, timeout: timeout}, nil
	}}
}

// DefineStream makes a streaming probe; sample is a zero value of the sample's struct.
func DefineStream[A any](call spec.Call, sample any, restore func(json.RawMessage) (Mergeable, error), open func(context.Context, env.Env, A) (Streamer, error)) Probe {
	call.Kind = spec.Probe
	call.Streaming = true
	call.Params = spec.ParamsOf(reflect.TypeFor[A]())
	call.Result = sampleType(call.Name, reflect.TypeOf(sample))
	return &stream[A]{probe: probe[A]{call: &call, open: func(ctx context.Context, e env.Env, in A, _ time.Duration) (Opened, error) { return open(ctx, e, in) }}, restore: restore}
}

func sampleType(name string, t reflect.Type) *value.Type {
	out := value.TypeOf(t)
	if out.Kind == value.Struct {
		out.Name = name
	}
	return out
}

type probe[A any] struct {
	call *spec.Call
	open func(context.Context, env.Env, A, time.Duration) (Opened, error)
}

func (p *probe[A]) Spec() *spec.Call { return p.call }

func (p *probe[A]) Open(ctx context.Context, e env.Env, args map[string]value.Value) (Opened, error) {
	var in A
	if err := spec.Decode(args, &in); err != nil {
		return nil, err
	}
	return p.open(ctx, e, in, timeoutOf(in))
}

func timeoutOf(in any) time.Duration {
	v := reflect.ValueOf(in)
	for _, f := range reflect.VisibleFields(v.Type()) {
		if f.Tag.Get("chaos") == "timeout" {
			if d, ok := v.FieldByIndex(f.Index).Interface().(time.Duration); ok {
				return d
			}
		}
	}
	return 0
}

type stream[A any] struct {
	probe[A]
	restore func(json.RawMessage) (Mergeable, error)
}

func (s *stream[A]) Restore(data json.RawMessage) (Mergeable, error) { return s.restore(data) }

type sampler[S any] struct {
	t       *value.Type
	take    Take[S]
	close   func() error // nil for nothing to close
	timeout time.Duration
}

func (s *sampler[S]) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

func (s *sampler[S]) Timeout() time.Duration { return s.timeout }

func (s *sampler[S]) Sample(ctx context.Context) (value.Value, error) {
	x, err := s.take(ctx)
	if err != nil {
		return value.Value{}, err
	}
	return value.EncodeAs(s.t, x), nil
}

// Registry holds probes. It is filled once, then only read.
type Registry struct{ probes map[string]Probe }

// NewRegistry makes a registry of these probes.
func NewRegistry(list ...Probe) *Registry {
	r := &Registry{probes: map[string]Probe{}}
	r.Add(list...)
	return r
}

// Add registers probes; a name that stands already is a mistake of the program.
func (r *Registry) Add(list ...Probe) {
	for _, p := range list {
		name := p.Spec().Name
		if _, ok := r.probes[name]; ok {
			panic(fmt.Sprintf("probes: %s is registered twice", name))
		}
		r.probes[name] = p
	}
}

// Probe finds a probe.
func (r *Registry) Probe(name string) (Probe, bool) { p, ok := r.probes[name]; return p, ok }

// Names lists the probes, sorted.
func (r *Registry) Names() []string {
	out := make([]string, 0, len(r.probes))
	for n := range r.probes {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}
