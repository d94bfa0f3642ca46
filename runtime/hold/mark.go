package hold

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaos/runtime/target"
)

// markVar is in the environment of everything that a run starts. It is how another process finds what is left after the
// runner and its helper were killed together.
const markVar = "CHAOS_HOLD"

// Mark names a supervised process before it exists, so that its undo can be journalled before the start.
type Mark struct {
	ID     string          `json:"id"`     // unique in the world
	Helper target.Identity `json:"helper"` // the supervisor
}

// leftOf picks, from a listing, what still runs of the marks wanted. The environment tells; for a program that has overwritten
// its own (nginx, for its titles) the session does, as everything starts in the helper's; but only once the helper is
// dead, since before that the session tells nothing about whose a process is.
func leftOf(wanted func(mark string) bool, helper target.Identity, all []target.Process) []target.Process {
	var out []target.Process
	bySession := helper.Boot == target.Boot() && !helper.Alive()
	for _, p := range all {
		if p.Kernel || p.Zombie() || p.Pid <= 1 || p.Pid == helper.Pid() {
			continue
		}
		env, err := p.Environ()
		if err != nil {
			continue
		}
		marked := slices.ContainsFunc(env, func(e string) bool {
			mark, ok := strings.CutPrefix(e, markVar+"=")
			return ok && wanted(mark)
		})
		if marked || bySession && p.Session == helper.Pid() && p.Start >= helper.Start && scrubbed(env) {
			out = append(out, p)
		}
	}
	return out
}

func scrubbed(env []string) bool {
	return !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, markVar+"=") || strings.HasPrefix(e, "PATH=") })
}

// Left lists what still runs of a mark.
func (m Mark) Left() ([]target.Process, error) {
	if m.ID == "" || m.Helper.Boot != target.Boot() {
		return nil, nil // a reboot ended it
	}
	all, err := target.Processes()
	if err != nil {
		return nil, err
	}
	return leftOf(func(mark string) bool { return mark == m.ID }, m.Helper, all), nil
}

// End ends what is left of a mark from outside of its run: it waits for the helper, which ends everything itself as soon as
// its runner is gone, and kills what survived it. It is for `recover` and guardians; a live run stops its processes itself.
func (m Mark) End(ctx context.Context) error {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	soon, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for m.Helper.Alive() {
		if !pause(soon, 10*time.Millisecond) {
			return fmt.Errorf("the run that owns it is alive: its helper has pid %s; end that run first", m.Helper.ID)
		}
	}
	for {
		left, err := m.Left()
		if err != nil || len(left) == 0 {
			return err
		}
		kill(left)
		if !pause(ctx, 5*time.Millisecond) {
			return fmt.Errorf("still running after SIGKILL: %s", describe(left))
		}
	}
}

// kill sends SIGKILL to each, by identity.
func kill(list []target.Process) {
	for _, p := range list {
		_ = p.Identity().Signal(sigKill) // gone is what is wanted, and the caller looks again
	}
}

func describe(list []target.Process) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Describe()
	}
	return strings.Join(names, ", ")
}

// pause waits for d, or returns false when the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
