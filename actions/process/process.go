// Package process is the family of actions on processes: start, kill, pause, stop, restart, limit, nice, fork.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/target"
)

// All lists the actions of this family.
func All() []actions.Action {
	return []actions.Action{start(), kill(), pause(), stop(), restart(), limit(), nice(), fork()}
}

// Reverters lists what undoes their records.
func Reverters() []actions.Reverter {
	return []actions.Reverter{startReverter{}, pauseReverter{}, signalReverter{}, stopReverter{}, limitReverter{}, niceReverter{}, forkReverter}
}

// Register adds the family to a registry.
func Register(r *actions.Registry) {
	r.Add(All()...)
	r.AddReverters(Reverters()...)
}

// version is that of the arguments in the undo records.
const version = 1

// service is what the records of process.start and process.stop say of a supervised process.
type service struct {
	Name string    `json:"name"`
	Mark hold.Mark `json:"mark"`
}

// identity names a supervised process for the journal. It has no pid before it is started, and a new one after each
// restart; the mark stays.
func (s service) identity() target.Identity {
	return target.Identity{Kind: "service", ID: s.Mark.ID, Name: s.Name, Boot: target.Boot()}
}

func decode(u actions.Undo, args any) error {
	if u.Version != version {
		return fmt.Errorf("the record %s has version %d, this program knows %d: undo it with the chaos that wrote it", u.Kind, u.Version, version)
	}
	if err := json.Unmarshal(u.Args, args); err != nil {
		return fmt.Errorf("the record %s cannot be read: %w", u.Kind, err)
	}
	return nil
}

// ours finds a supervised process of this very run; false in any other process.
func (s service) ours(e env.Env) (*hold.Process, bool) {
	if e.Hold == nil {
		return nil, false
	}
	return e.Hold.Find(s.Mark.ID)
}

// supervised is the process behind a handle of process.start.
func supervised(h value.Handle, action string) (*hold.Process, error) {
	if h == nil {
		return nil, fmt.Errorf("%s needs a process that the script started: bind it with `as` and name it here", action)
	}
	p, ok := h.(*hold.Process)
	if !ok {
		return nil, fmt.Errorf("%s works on what process.start started; `%s` is a %s", action, h.HandleName(), h.HandleKind())
	}
	return p, nil
}

var errNoHelper = errors.New("there is no helper process to own what is started")

// names joins what was found for one line of a plan or report.
func names(found []target.Found) string {
	out := make([]string, len(found))
	for i, f := range found {
		out[i] = f.Name()
	}
	return strings.Join(out, ", ")
}

func identities(found []target.Found) []target.Identity {
	var out []target.Identity
	for _, f := range found {
		if !f.Down() {
			out = append(out, f.Identity)
		}
	}
	return out
}

// intend journals a record and gives its id.
func intend(led actions.Ledger, u actions.Undo, args, prior any) (string, error) {
	var err error
	if u.Args, err = json.Marshal(args); err != nil {
		return "", err
	}
	if prior != nil {
		if u.Prior, err = json.Marshal(prior); err != nil {
			return "", err
		}
	}
	u.Version = version
	return led.Intend(u)
}

// state of a supervised process' processes: present while any of them runs.
func (s service) state(ctx context.Context, e env.Env) (actions.State, error) {
	left, err := s.Mark.Left()
	if err != nil {
		return "", err
	}
	if p, ok := s.ours(e); ok {
		// Its own helper knows better than the environment of a process does: the others in its session are not this one's.
		if p.State().Running || !p.State().Stopped && len(left) > 0 {
			return actions.Present, nil
		}
		return actions.Gone, nil
	}
	if len(left) > 0 {
		return actions.Present, nil
	}
	return actions.Gone, nil
}
