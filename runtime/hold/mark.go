package hold

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaos/runtime/cgroup"
	"chaos/runtime/target"
)

// markVar is in the environment of everything that a run starts. It is how another process finds what is left after the
// runner and its helper were killed together.
const markVar = "CHAOS_HOLD"

// Mark names a supervised process before it exists, so that its undo can be journalled before the start.
type Mark struct {
	ID     string          `json:"id"`             // unique in the world
	Helper target.Identity `json:"helper"`         // the supervisor
	Cage   string          `json:"cage,omitempty"` // the cgroup of all that the supervisor starts, "" where none could be made
}

// leftOf picks, from a listing, what still runs of the marks wanted. The environment tells; for a program that has overwritten
// its own (nginx, for its titles) the cgroup does, or the session, as everything starts in the helper's; but only once the
// helper is dead, since before that neither tells whose of its processes it is.
func leftOf(wanted func(mark string) bool, helper target.Identity, cage cgroup.Cage, all []target.Process) []target.Process {
	var out []target.Process
	orphaned := helper.Pid() > 1 && helper.Boot == target.Boot() && !helper.Alive()
	caged := map[int]bool{}
	if orphaned {
		caged = cage.Members()
	}
	for _, p := range all {
		if p.Kernel || p.Zombie() || p.Pid <= 1 || p.Pid == helper.Pid() {
			continue
		}
		if caged[p.Pid] {
			out = append(out, p)
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
		if marked || orphaned && p.Session == helper.Pid() && p.Start >= helper.Start && scrubbed(env) {
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
	return leftOf(func(mark string) bool { return mark == m.ID }, m.Helper, cgroup.Cage{Dir: m.Cage}, all), nil
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
	cage := cgroup.Cage{Dir: m.Cage}
	for {
		left, err := m.Left()
		if err != nil {
			return err
		}
		if len(left) == 0 {
			_ = cage.Remove() // a zombie may keep it: an empty cgroup does no harm
			return nil
		}
		cage.Kill() // its helper is dead, so all that is in it is left over
		kill(left)
		if !pause(ctx, 5*time.Millisecond) {
			return fmt.Errorf("still running after SIGKILL: %s", describe(left))
		}
	}
}

// EndOrphans ends what is left in the cages of dead helpers, whoever's runs they were of, and says what that was.
func EndOrphans(ctx context.Context) (ended []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, stubborn)
	defer cancel()
	for _, cage := range cgroup.DeadCages() {
		for first := true; ; first = false {
			var left []target.Process
			for pid := range cage.Members() {
				if p, err := target.ReadProcess(pid); err == nil && !p.Zombie() {
					left = append(left, p)
				}
			}
			if len(left) == 0 {
				break
			}
			if first {
				ended = append(ended, describe(left))
			}
			cage.Kill()
			kill(left)
			if !pause(ctx, poll) {
				return ended, fmt.Errorf("still running after SIGKILL: %s", describe(left))
			}
		}
		_ = cage.Remove()
	}
	return ended, nil
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
