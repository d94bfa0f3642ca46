// Package http acts through HTTP: the switches, actuators and failovers of a system that has an interface for them.
package http

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/httpmsg"
)

// All lists the actions of this family.
func All() []actions.Action { return []actions.Action{send()} }

// Reverters lists what undoes their records.
func Reverters() []actions.Reverter { return []actions.Reverter{sendReverter{}} }

type sendArgs struct {
	URL      string                 `chaos:"url,required,positional,filled" help:"where to send the request; a redirect is not followed"`
	Method   string                 `chaos:"method" default:"POST" help:"the method, such as PUT"`
	Headers  map[string]value.Value `chaos:"headers" help:"headers to send, as a map; Host sets the virtual host"`
	Body     string                 `chaos:"body" help:"the body as text"`
	JSON     *value.Value           `chaos:"json" help:"the body as a value, sent as JSON with its content type"`
	Form     map[string]value.Value `chaos:"form" help:"the body as the fields of a form, sent URL-encoded with its content type"`
	Timeout  time.Duration          `chaos:"timeout" default:"5s" range:">0s" help:"how long connecting, sending and reading the whole answer may take together"`
	Insecure bool                   `chaos:"insecure" default:"false" help:"accept any TLS certificate"`
	Allow    []int                  `chaos:"allow" range:">=200 <=599" help:"the status codes that count as success; without it every code from 200 to 299"`
	Undo     map[string]value.Value `chaos:"undo" help:"the request that takes it back, as a map of method, url, headers, and body, json or form; what it lacks of url, headers, timeout and allow is as in the call. It must be safe to send twice, and without the call having arrived"`
}

// Result is the answer, for as.
type Result struct {
	Status int          `chaos:"status" help:"the status code"`
	Body   string       `chaos:"body" help:"the body as text, cut after 1MiB"`
	JSON   *value.Value `chaos:"json" help:"the body as JSON; absent unless it is JSON"`
}

var resultType = func() *value.Type {
	t := value.TypeOf(reflect.TypeFor[Result]())
	t.Name = "http.send"
	return t
}()

func send() actions.Action {
	return actions.Define(spec.Call{
		Name:    "http.send",
		Summary: "Sends a request on a connection of its own and demands success, which the status of the answer tells.",
		Example: `http.send("http://127.0.0.1:8080/admin/cache", json: {enabled: false}, undo: {json: {enabled: true}}) for 30s`,
		Result:  resultType,
		Undo:    "send the request of `undo`; that its answer is a success is the verification",
		UndoArg: "undo", Lifetime: string(actions.Guardian),
	}, plan)
}

// order is a request with what counts as its success: all that is needed to send it, also from another process.
type order struct {
	Message  httpmsg.Message `json:"message"`
	Timeout  time.Duration   `json:"timeout"`
	Insecure bool            `json:"insecure,omitempty"`
	Allow    []int           `json:"allow,omitempty"` // empty: 200 to 299
}

func (o order) String() string { return o.Message.Method + " " + o.Message.URL }

func compose(in sendArgs) (order, error) {
	m, err := httpmsg.Compose(in.Method, in.URL, in.Headers, httpmsg.Content{Text: in.Body, JSON: in.JSON, Form: in.Form})
	if err != nil {
		return order{}, err
	}
	return order{Message: m, Timeout: in.Timeout, Insecure: in.Insecure, Allow: in.Allow}, nil
}

// composeUndo builds the request that takes a call back.
func composeUndo(in sendArgs) (order, error) {
	// The body belongs to the call; the rest is where and how to send.
	back := sendArgs{URL: in.URL, Method: "POST", Headers: in.Headers, Timeout: in.Timeout, Insecure: in.Insecure, Allow: in.Allow}
	params := spec.ParamsOf(reflect.TypeFor[sendArgs]())
	names := make([]string, 0, len(params)-1)
	for _, p := range params {
		if p.Name != "undo" {
			names = append(names, p.Name)
		}
	}
	if len(in.Undo) == 0 {
		return order{}, errors.New("`undo` is empty; say at least what differs from the call, as in `undo: {method: \"DELETE\"}`")
	}
	for name := range in.Undo {
		if !slices.Contains(names, name) {
			hint := diag.DidYouMean(name, names)
			if hint == "" {
				hint = "it takes `" + strings.Join(names, "`, `") + "`"
			}
			return order{}, fmt.Errorf("`undo` has no `%s`; %s", name, hint)
		}
	}
	given := map[string]value.Value{
		"url": value.StringOf(back.URL), "method": value.StringOf(back.Method), "timeout": value.DurationOf(back.Timeout), "insecure": value.BoolOf(back.Insecure),
	}
	for name, v := range in.Undo {
		given[name] = v
	}
	if err := spec.Decode(given, &back); err != nil {
		return order{}, fmt.Errorf("`undo`: %w", err)
	}
	o, err := compose(back)
	if err != nil {
		return order{}, fmt.Errorf("`undo`: %w", err)
	}
	return o, nil
}

func plan(_ context.Context, _ env.Env, in sendArgs) (actions.Plan, error) {
	act, err := compose(in)
	if err != nil {
		return actions.Plan{}, err
	}
	p := actions.Plan{Lifetime: actions.Irreversible, Does: "send " + act.String()}
	if in.Undo == nil {
		p.Inject = func(ctx context.Context, _ actions.Ledger) (actions.Fault, error) { return do(ctx, act) }
		return p, nil
	}
	back, err := composeUndo(in)
	if err != nil {
		return actions.Plan{}, err
	}
	p.Lifetime, p.Why = actions.Guardian, "what a server was told stays until it is told otherwise"
	p.Undo = []string{"send " + back.String()}
	p.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		id, err := intend(led, act, back)
		if err != nil {
			return actions.Fault{}, err
		}
		f, err := do(ctx, act)
		if err != nil {
			return actions.Fault{}, err
		}
		return f, led.Applied(id)
	}
	return p, nil
}

// do sends the request of a call. What it did to the server cannot be seen from here, so there is no Effect.
func do(ctx context.Context, o order) (actions.Fault, error) {
	r, err := o.send(ctx)
	if err != nil {
		return actions.Fault{}, err
	}
	return actions.Fault{Result: value.EncodeAs(resultType, r), Note: fmt.Sprintf("status %d", r.Status)}, nil
}
