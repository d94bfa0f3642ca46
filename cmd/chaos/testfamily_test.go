package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/probes"
	"chaos/runtime"
	"chaos/runtime/env"
)

// The family `test` exists only in the test binary: a fault of class guardian whose undo can be made to hang, fail or
// panic, and probes and actions that panic. The crash matrix needs them beside the real ones.
type markArgs struct {
	Path string `chaos:"path,positional,required" help:"the file that is the fault"`
	Undo string `chaos:"undo" default:"ok" enum:"ok hang fail panic slow long" help:"what the undo does; slow takes 0.7 s, long 4 s"`
	Plan string `chaos:"plan" default:"ok" enum:"ok slow" help:"what the plan does"`
	Act  string `chaos:"act" default:"ok" enum:"ok panic slow" help:"what the act does"`
}

func addTestFamily(r runtime.Registries) {
	r.Actions.Add(actions.Define(spec.Call{Name: "test.mark", Summary: "makes a file", Example: "-", Undo: "removes it"},
		func(ctx context.Context, e env.Env, a markArgs) (actions.Plan, error) {
			if a.Plan == "slow" {
				os.WriteFile(filepath.Join(e.Dir, "planning"), nil, 0o600)
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
				}
				return actions.Plan{}, errors.New("the plan of the test is slow")
			}
			if !filepath.IsAbs(a.Path) {
				a.Path = filepath.Join(e.Dir, a.Path)
			}
			return actions.Plan{Lifetime: actions.Guardian, Does: "mark " + a.Path, Inject: func(ctx context.Context, l actions.Ledger) (actions.Fault, error) {
				raw, err := json.Marshal(a)
				if err != nil {
					return actions.Fault{}, err
				}
				limit := time.Second
				if a.Undo == "long" || a.Undo == "slow" { // which come to their end, however busy the machine is
					limit = 20 * time.Second
				}
				id, err := l.Intend(actions.Undo{Kind: "test.mark", Version: 1, Args: raw, Lifetime: actions.Guardian, Limit: limit, Manual: "rm " + a.Path})
				if err != nil {
					return actions.Fault{}, err
				}
				if a.Act == "slow" {
					select {
					case <-time.After(time.Minute):
					case <-ctx.Done():
						return actions.Fault{}, ctx.Err()
					}
				}
				if err := os.WriteFile(a.Path, nil, 0o600); err != nil {
					return actions.Fault{}, err
				}
				if a.Act == "panic" {
					panic("an action of the test")
				}
				l.Applied(id)
				return actions.Fault{}, nil
			}}, nil
		}))
	r.Actions.AddReverters(markReverter{})
	r.Probes.Add(probes.Define(spec.Call{Name: "test.panic", Summary: "panics at its third sample", Example: "-"},
		func(context.Context, env.Env, struct{}) (probes.Take[bool], error) {
			n := 0
			return func(context.Context) (bool, error) {
				if n++; n >= 3 {
					panic("a probe of the test")
				}
				return true, nil
			}, nil
		}))
}

type markReverter struct{}

func (markReverter) Kind() string { return "test.mark" }

func (markReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	var a markArgs
	if err := json.Unmarshal(u.Args, &a); err != nil {
		return err
	}
	switch a.Undo {
	case "hang":
		select {}
	case "fail":
		return errors.New("the undo of the test fails")
	case "panic":
		panic("an undo of the test")
	case "slow", "long":
		takes := 700 * time.Millisecond
		if a.Undo == "long" {
			takes = 4 * time.Second
		}
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := os.Remove(a.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (markReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	var a markArgs
	if err := json.Unmarshal(u.Args, &a); err != nil {
		return "", err
	}
	if _, err := os.Stat(a.Path); errors.Is(err, os.ErrNotExist) {
		return actions.Gone, nil
	}
	return actions.Present, nil
}
