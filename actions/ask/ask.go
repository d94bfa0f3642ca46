// Package ask puts a question to the people around a game day, and waits for the answer.
package ask

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
)

// Asker puts a question to somebody and waits for one line. It returns when the context ends.
type Asker interface {
	Ask(ctx context.Context, question string) (answer string, err error)
}

// All lists the actions of this family. The asker is nil where there is nobody to ask; then a plan says so.
func All(asker Asker) []actions.Action { return []actions.Action{ask(asker)} }

// Yes is an asker that agrees to everything.
type Yes struct{}

// Ask agrees.
func (Yes) Ask(context.Context, string) (string, error) { return "yes", nil }

type args struct {
	Question string        `chaos:"question,required,positional,filled" help:"what to ask, or what to do by hand; the answer is one line"`
	Timeout  time.Duration `chaos:"timeout" default:"10m" range:">0s" help:"how long to wait for the answer; without one the step failed"`
}

// Result is the answer, for as.
type Result struct {
	Answer string        `chaos:"answer" help:"what was typed, without spaces around it; empty for the enter key alone"`
	Waited time.Duration `chaos:"waited" help:"how long it took"`
}

var resultType = func() *value.Type {
	t := value.TypeOf(reflect.TypeFor[Result]())
	t.Name = "ask"
	return t
}()

func ask(asker Asker) actions.Action {
	return actions.Define(spec.Call{
		Name:     "ask",
		Summary:  "Asks on the terminal and waits for a line; the enter key agrees, no ends the injection as a failed step.",
		Example:  `ask("pull the plug of rack 7, then press enter", timeout: 5m) as plug`,
		Result:   resultType,
		Harmless: true,
		Needs:    []spec.Need{{Kind: "privilege", Name: "terminal", Install: remedy}},
	}, func(_ context.Context, _ env.Env, in args) (actions.Plan, error) { return plan(asker, in) })
}

const remedy = "run it on a terminal, or answer with --yes"

func plan(asker Asker, in args) (actions.Plan, error) {
	question := strings.TrimSpace(in.Question)
	p := actions.Plan{Does: "ask " + value.Quote(question)}
	if asker == nil {
		p.Missing = []spec.Need{{Kind: "privilege", Name: "terminal", Install: remedy}}
		return p, nil
	}
	p.Inject = func(ctx context.Context, _ actions.Ledger) (actions.Fault, error) {
		return inject(ctx, asker, question, in.Timeout)
	}
	return p, nil
}

func inject(parent context.Context, asker Asker, question string, timeout time.Duration) (actions.Fault, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	answer, err := asker.Ask(ctx, question)
	switch {
	case parent.Err() != nil:
		return actions.Fault{}, context.Cause(parent)
	case ctx.Err() != nil && err != nil:
		return actions.Fault{}, fmt.Errorf("nobody answered within %s", value.DurationOf(timeout))
	case err != nil:
		return actions.Fault{}, err
	}
	answer = strings.TrimSpace(strings.ToValidUTF8(answer, "\uFFFD"))
	if isNo(answer) {
		return actions.Fault{}, errors.New("answered no")
	}
	return actions.Fault{
		Result: value.EncodeAs(resultType, Result{Answer: answer, Waited: time.Since(begun)}),
		Note:   note(answer),
		Effect: func(context.Context) (actions.Effect, string) { return actions.Yes, "" },
	}, nil
}

func isNo(answer string) bool {
	return strings.EqualFold(answer, "no") || strings.EqualFold(answer, "n")
}

func note(answer string) string {
	if answer == "" {
		return "confirmed"
	}
	return "answered " + value.Quote(answer)
}
