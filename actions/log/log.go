// Package log writes into the report from inside a script.
package log

import (
	"context"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
)

// All lists the actions of this family.
func All() []actions.Action { return []actions.Action{write()} }

type args struct {
	Value value.Value `chaos:"value,required,positional" help:"what to write: a string as it is, anything else as the language prints it"`
}

func write() actions.Action {
	return actions.Define(spec.Call{
		Name:     "log",
		Summary:  "Writes a line into the report.",
		Example:  `log("the first wave is over")`,
		Harmless: true,
	}, plan)
}

func plan(_ context.Context, e env.Env, in args) (actions.Plan, error) {
	return actions.Plan{
		Does: "write " + in.Value.Short() + " into the report",
		Inject: func(context.Context, actions.Ledger) (actions.Fault, error) {
			if e.Log != nil {
				e.Log(in.Value.InText())
			}
			return actions.Fault{Effect: seen}, nil
		},
	}, nil
}

// seen says yes: what is written cannot fail to bite.
func seen(context.Context) (actions.Effect, string) { return actions.Yes, "" }
