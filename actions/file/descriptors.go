package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/runtime/env"
	"chaos/runtime/stress"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

type descriptorsArgs struct {
	target.Selector
	Count *int `chaos:"count,group=target" range:">=1" help:"instead of a process: how many files to keep open, of those that the whole machine can have"`
	Leave int  `chaos:"leave" default:"0" range:">=0" help:"of a process: how many more files it can still open"`
}

func descriptors() actions.Action {
	return actions.Define(spec.Call{
		Name: "file.descriptors",
		Summary: "Lets a process run out of file descriptors: what it has open stays, and it can open no more. Or, with `count`, keeps files open until the machine has " +
			"few left; 10% of them stay in any case.",
		Example:  `file.descriptors(port: 5432, leave: 2) for 30s`,
		Selects:  true,
		Undo:     "give the process the limit that it had, or end the process that keeps the files open",
		Lifetime: string(actions.Guardian),
	}, planDescriptors)
}

func planDescriptors(_ context.Context, e env.Env, in descriptorsArgs) (actions.Plan, error) {
	if in.Count != nil {
		if in.Leave != 0 {
			return actions.Plan{}, errors.New("`leave` is for a process: a process that is chosen can still open so many files; `count` says how many are kept open on the whole machine")
		}
		return planOpen(e, *in.Count)
	}
	found, err := in.Resolve(e.Pick, e.Rand)
	if err != nil {
		return actions.Plan{}, err
	}
	plan := actions.Plan{
		Lifetime: actions.Guardian,
		Why:      "a limit of a process outlives who set it, so the guardian restores it when the run is gone",
	}
	var does []string
	for _, f := range found {
		if f.Down() {
			does = append(does, "let "+f.Name()+" run out of file descriptors")
			continue
		}
		plan.Targets = append(plan.Targets, f.Identity)
		now, to, err := squeeze(f.Identity, in.Leave)
		switch {
		case errors.Is(err, target.ErrGone):
			continue
		case errors.Is(err, unix.EPERM), errors.Is(err, os.ErrPermission):
			plan.Missing = append(plan.Missing, spec.Need{Kind: "privilege", Name: "CAP_SYS_RESOURCE", Install: f.Name() + " belongs to another user: run as root"})
			continue
		case err != nil:
			return actions.Plan{}, err
		}
		does = append(does, fmt.Sprintf("let %s open %d more files: its limit becomes %d", f.Name(), in.Leave, to.Cur))
		plan.Undo = append(plan.Undo, fmt.Sprintf("set the limit of %s and of what it has started to %d again", f.Name(), now.Cur))
	}
	plan.Does = strings.Join(does, "; ")
	plan.Inject = func(_ context.Context, led actions.Ledger) (actions.Fault, error) {
		found, err := in.Refresh(found, e.Pick, e.Rand)
		if err != nil {
			return actions.Fault{}, err
		}
		return exhaust(led, found, in.Leave)
	}
	return plan, nil
}

// limits are those of RLIMIT_NOFILE in an undo record: a soft limit counts, the hard one is never touched.
type limits struct {
	Set   uint64 `json:"set"`
	Prior uint64 `json:"prior"`
	target.Kin
}

// squeeze works out the limit under which a process can open so many more files. The limit is not a count but above the
// highest descriptor that may be given next: see RLIMIT_NOFILE in getrlimit(2).
func squeeze(id target.Identity, leave int) (now, to unix.Rlimit, err error) {
	if now, err = limit(id); err != nil {
		return now, to, err
	}
	entries, err := os.ReadDir("/proc/" + id.ID + "/fd")
	if err != nil && !id.Alive() {
		err = target.ErrGone
	}
	if err != nil {
		return now, to, err
	}
	used := map[int]bool{}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			used[n] = true
		}
	}
	free := 0
	for next := uint64(0); next < now.Cur; next++ {
		if used[int(next)] {
			continue
		}
		if free == leave {
			return now, unix.Rlimit{Cur: next, Max: now.Max}, nil
		}
		free++
	}
	return now, to, fmt.Errorf("%s can open no more than %d more files as it is: its limit is %d", id, free, now.Cur)
}

func limit(id target.Identity) (unix.Rlimit, error) {
	var now unix.Rlimit
	if !id.Alive() {
		return now, fmt.Errorf("%s: %w", id, target.ErrGone)
	}
	err := unix.Prlimit(id.Pid(), unix.RLIMIT_NOFILE, nil, &now)
	if errors.Is(err, unix.ESRCH) {
		err = target.ErrGone
	}
	if err != nil {
		return now, fmt.Errorf("the limit of %s: %w", id, err)
	}
	return now, nil
}

// setSoft sets the soft limit, with the hard one as it is.
func setSoft(id target.Identity, soft uint64) error {
	now, err := limit(id)
	if err != nil {
		return err
	}
	now.Cur = min(soft, now.Max)
	if err := unix.Prlimit(id.Pid(), unix.RLIMIT_NOFILE, &now, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("the limit of %s cannot be set: %w", id, err)
	}
	return nil
}

func exhaust(led actions.Ledger, found []target.Found, leave int) (actions.Fault, error) {
	var ids []target.Identity
	var said []string
	set := map[string]uint64{}
	for _, f := range found {
		if f.Down() {
			return actions.Fault{}, fmt.Errorf("%s is not running, so it has no file descriptors", f.Name())
		}
		now, to, err := squeeze(f.Identity, leave)
		if err != nil {
			return actions.Fault{}, err
		}
		args, err := json.Marshal(limits{Set: to.Cur, Prior: now.Cur, Kin: target.KinOf(f.Identity)})
		if err != nil {
			return actions.Fault{}, err
		}
		id, err := led.Intend(actions.Undo{Kind: "file.descriptors.limit", Version: 1, Target: f.Identity, Args: args, Lifetime: actions.Guardian,
			Manual: fmt.Sprintf("prlimit --pid %s --nofile=%d:", f.Identity.ID, now.Cur)})
		if err != nil {
			return actions.Fault{}, err
		}
		if err := setSoft(f.Identity, to.Cur); err != nil {
			return actions.Fault{}, err
		}
		if err := led.Applied(id); err != nil {
			return actions.Fault{}, err
		}
		ids, set[f.Identity.ID] = append(ids, f.Identity), to.Cur
		said = append(said, fmt.Sprintf("%s: %d instead of %d", f.Name(), to.Cur, now.Cur))
	}
	return actions.Fault{
		Note: strings.Join(said, ", "),
		Effect: func(context.Context) (actions.Effect, string) {
			for _, id := range ids {
				if now, err := limit(id); err != nil {
					return actions.No, err.Error()
				} else if now.Cur != set[id.ID] {
					return actions.No, fmt.Sprintf("%s has a limit of %d: somebody has set it", id, now.Cur)
				}
			}
			return actions.Yes, strings.Join(said, ", ")
		},
	}, nil
}

// limitReverter gives the limit back.
type limitReverter struct{}

func (limitReverter) Kind() string { return "file.descriptors.limit" }

func limitRecord(u actions.Undo) (l limits, err error) {
	if u.Version != 1 {
		return l, fmt.Errorf("the record %s has version %d, this program knows 1: undo it with the chaos that wrote it", u.Kind, u.Version)
	}
	if err = json.Unmarshal(u.Args, &l); err != nil || l.Prior == 0 {
		return l, fmt.Errorf("the record %s cannot be read: it does not say what the limit was", u.Kind)
	}
	return l, nil
}

// heirs are the processes that have our limit: the target, and what it has started since, which may live on without it.
func heirs(id target.Identity, l limits) ([]target.Identity, error) {
	all, err := l.Offspring(id)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(append(all, id), func(id target.Identity) bool {
		now, err := limit(id)
		return err != nil || now.Cur != l.Set
	}), nil
}

// Revert gives the limit back to whoever still has ours. Somebody else's stays.
func (limitReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	l, err := limitRecord(u)
	if err != nil || u.Target.Boot != target.Boot() {
		return err
	}
	// Again, as one that had the limit may have forked meanwhile.
	for ctx.Err() == nil {
		left, err := heirs(u.Target, l)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, id := range left {
			if err := setSoft(id, l.Prior); err != nil && !errors.Is(err, target.ErrGone) {
				return err
			}
		}
	}
	return ctx.Err()
}

func (limitReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	l, err := limitRecord(u)
	if err != nil {
		return "", err
	}
	if u.Target.Boot != target.Boot() {
		return actions.Gone, nil
	}
	left, err := heirs(u.Target, l)
	if err != nil {
		return "", err
	}
	if len(left) > 0 {
		return actions.Present, nil
	}
	now, err := limit(u.Target)
	switch {
	case errors.Is(err, target.ErrGone):
		return actions.Gone, nil
	case err != nil:
		return "", err
	case now.Cur != min(l.Prior, now.Max):
		return actions.Foreign, nil
	}
	return actions.Gone, nil
}

// room works out how many files have to remain possible, and refuses a count that does not fit.
func room(count int) (keep int, err error) {
	open, most, err := stress.OpenFiles()
	if err != nil {
		return 0, err
	}
	available, total, err := stress.Available()
	if err != nil {
		return 0, err
	}
	const each = 512 // bytes of the kernel's memory, with the table of descriptors
	keep = max(1024, most/10)
	fits := max(0, min(most-open-keep, int((available-stress.MemoryFloor(total))/each)))
	if count > fits {
		return 0, fmt.Errorf("`count: %d` is too many: %d of %d files are open, and %d have to remain possible; write at most %d", count, open, most, keep, fits)
	}
	return keep, nil
}

func planOpen(e env.Env, count int) (actions.Plan, error) {
	if _, err := room(count); err != nil {
		return actions.Plan{}, err
	}
	return actions.Plan{
		Lifetime: actions.Kernel,
		Why:      "the files are those of a process under the helper `chaos hold`, which ends with the run",
		Does:     fmt.Sprintf("keep %d files open", count),
		Undo:     []string{"end the process that keeps them open"},
		Inject: func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
			keep, err := room(count) // again: the plan may be old
			if err != nil {
				return actions.Fault{}, err
			}
			s, err := stress.Start{Action: "file.descriptors", Kind: "files", Parameters: stress.Files{Count: count, Keep: keep}}.Run(ctx, e, led)
			if err == nil {
				err = s.Full(ctx)
			}
			if err != nil {
				return actions.Fault{}, err
			}
			pid, _ := s.Pid()
			return actions.Fault{
				Note:   fmt.Sprintf("pid %d", pid),
				Effect: func(context.Context) (actions.Effect, string) { return opened(s, count) },
				Last:   s.Last,
			}, nil
		},
	}, nil
}

// opened looks at what the whole machine has open.
func opened(s *stress.Stressor, count int) (actions.Effect, string) {
	if _, alive := s.Pid(); !alive {
		return actions.No, s.End()
	}
	open, most, err := stress.OpenFiles()
	if err != nil {
		return actions.Unknown, err.Error()
	}
	said := fmt.Sprintf("%d of %d files are open", open, most)
	if open < count {
		return actions.No, said
	}
	return actions.Yes, said
}
