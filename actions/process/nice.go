package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

type niceArgs struct {
	target.Selector
	Value int `chaos:"value,required" range:">=-20 <=19" help:"the nice value: -20 is served first, 0 is usual, 19 is served last"`
}

// niced is what the record of process.nice says besides its target.
type niced struct {
	Value int `json:"value"`
	target.Kin
}

// threadNice is the nice value that a thread had. In Linux it belongs to the thread, not to the process: see nice(2).
type threadNice struct {
	TID   int    `json:"tid"`
	Start uint64 `json:"start"`
	Nice  int    `json:"nice"`
}

func nice() actions.Action {
	return actions.Define(spec.Call{
		Name:     "process.nice",
		Summary:  "Sets the nice value of every thread of a process, so that the scheduler favours others, or it.",
		Example:  `process.nice(match: "postgres: writer", value: 19) for 30s`,
		Selects:  true,
		Result:   value.THandle,
		Spares:   target.Spared,
		Undo:     "give each thread the nice value that it had",
		Lifetime: string(actions.Guardian),
		Needs:    []spec.Need{{Kind: "privilege", Name: "CAP_SYS_NICE", Install: "run as root, or raise the limit of `ulimit -e` for the target: a higher nice value must be lowered again at the end"}},
	}, planNice)
}

func planNice(_ context.Context, e env.Env, in niceArgs) (actions.Plan, error) {
	found, err := in.Resolve(e.Pick, e.Rand)
	if err != nil {
		return actions.Plan{}, err
	}
	plan := actions.Plan{
		Targets:  identities(found),
		Lifetime: actions.Guardian,
		Why:      "a nice value outlives who set it, so the guardian restores it when the run is gone",
		Does:     fmt.Sprintf("set the nice value of %s to %d", names(found), in.Value),
	}
	for _, id := range plan.Targets {
		before, err := threadsNice(id)
		if err != nil {
			continue // gone: asked again right before the act
		}
		plan.Undo = append(plan.Undo, fmt.Sprintf("set the nice value of %s to %s again", id, describeNice(before)))
		if why := niceRefused(id, in.Value, before); why != "" && len(plan.Missing) == 0 {
			plan.Missing = append(plan.Missing, spec.Need{Kind: "privilege", Name: "CAP_SYS_NICE", Install: why + "; run as root"})
		}
	}
	plan.Inject = func(ctx context.Context, led actions.Ledger) (actions.Fault, error) {
		found, err := in.Refresh(found, e.Pick, e.Rand)
		if err != nil {
			return actions.Fault{}, err
		}
		fault, err := niceAll(ctx, led, found, in.Value)
		fault.Result = target.Handles(found, e.Pick)
		return fault, err
	}
	return plan, nil
}

// threadsNice reads the value of every thread.
func threadsNice(id target.Identity) ([]threadNice, error) {
	p, err := id.Process()
	if err != nil {
		return nil, err
	}
	tids, err := target.Threads(p.Pid)
	if err != nil {
		return nil, err
	}
	var out []threadNice
	for _, tid := range tids {
		t, err := target.ReadThread(p.Pid, tid)
		if err != nil {
			continue
		}
		if n, err := niceOf(tid); err == nil {
			out = append(out, threadNice{TID: tid, Start: t.Start, Nice: n})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %w", id, target.ErrGone)
	}
	return out, nil
}

// niceOf reads a nice value. The system call returns 20 - nice, so that no value looks like an error: getpriority(2), "C
// library/kernel differences".
func niceOf(tid int) (int, error) {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	return 20 - n, err
}

func describeNice(before []threadNice) string {
	for _, t := range before[1:] {
		if t.Nice != before[0].Nice {
			return fmt.Sprintf("what each of its %d threads has now", len(before))
		}
	}
	return strconv.Itoa(before[0].Nice)
}

// niceRefused tells in plain words why the act or, what matters more, its undo would not be permitted; "" where both are.
// Lowering a value needs CAP_SYS_NICE or an RLIMIT_NICE of the target that reaches down to it: see setpriority(2) and
// getrlimit(2). The guardian has the rights that we have.
func niceRefused(id target.Identity, v int, before []threadNice) string {
	if hasSysNice() {
		return ""
	}
	var st unix.Stat_t
	if unix.Stat("/proc/"+id.ID, &st) == nil && int(st.Uid) != os.Geteuid() {
		return id.String() + " belongs to another user and this one lacks CAP_SYS_NICE"
	}
	lowest := 20 - niceLimit(id.Pid())
	for _, t := range before {
		if v < t.Nice && v < lowest {
			return fmt.Sprintf("the nice value of %s is %d, and lowering it needs CAP_SYS_NICE", id, t.Nice)
		}
		if t.Nice < v && t.Nice < lowest {
			return fmt.Sprintf("the nice value of %s could be raised to %d, but not lowered to %d again without CAP_SYS_NICE", id, v, t.Nice)
		}
	}
	return ""
}

// niceLimit reads RLIMIT_NICE of a process, as the kernel does when it decides.
func niceLimit(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	for line := range strings.Lines(string(data)) {
		rest, ok := strings.CutPrefix(line, "Max nice priority")
		if !ok {
			continue
		}
		soft := strings.Fields(rest)[0]
		if soft == "unlimited" {
			return 40
		}
		n, _ := strconv.Atoi(soft)
		return n
	}
	return 0
}

// hasSysNice tells whether this process has the capability in the initial user namespace, the only one that counts here.
func hasSysNice() bool {
	ids, _ := os.ReadFile("/proc/self/uid_map")
	if strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295" {
		return false
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if caps, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(caps), 16, 64)
			return err == nil && bits&(1<<unix.CAP_SYS_NICE) != 0
		}
	}
	return false
}

func niceAll(ctx context.Context, led actions.Ledger, found []target.Found, v int) (actions.Fault, error) {
	var held []target.Identity
	for _, f := range found {
		if f.Down() {
			return actions.Fault{}, fmt.Errorf("%s is not running, so it has no nice value", f.Name())
		}
		before, err := threadsNice(f.Identity)
		if err != nil {
			return actions.Fault{}, err
		}
		if why := niceRefused(f.Identity, v, before); why != "" {
			return actions.Fault{}, errors.New(why)
		}
		record, err := intend(led, actions.Undo{
			Kind: "process.nice", Target: f.Identity, Lifetime: actions.Guardian,
			Manual: fmt.Sprintf("renice -n %d -p $(ls /proc/%s/task)", before[0].Nice, f.Identity.ID),
		}, niced{Value: v, Kin: target.KinOf(f.Identity)}, before)
		if err != nil {
			return actions.Fault{}, err
		}
		if err := niceOne(ctx, f.Identity, v); err != nil {
			return actions.Fault{}, err
		}
		held = append(held, f.Identity)
		if err := led.Applied(record); err != nil {
			return actions.Fault{}, err
		}
	}
	return actions.Fault{Note: fmt.Sprintf("nice value %d for %s", v, names(found)), Effect: func(context.Context) (actions.Effect, string) {
		threads := 0
		for _, id := range held {
			now, err := threadsNice(id)
			if err != nil {
				return actions.No, id.String() + " is gone"
			}
			for _, t := range now {
				if t.Nice != v {
					return actions.No, fmt.Sprintf("thread %d of %s has the nice value %d", t.TID, id, t.Nice)
				}
			}
			threads += len(now)
		}
		return actions.Yes, fmt.Sprintf("all %d threads have it", threads)
	}}, nil
}

// niceOne sets every thread, until a look finds none that is left: one that a thread starts inherits its value.
func niceOne(ctx context.Context, id target.Identity, v int) error {
	for ctx.Err() == nil {
		now, err := threadsNice(id)
		if err != nil {
			return err
		}
		changed := 0
		for _, t := range now {
			if t.Nice == v {
				continue
			}
			changed++
			if err := setNice(t.TID, v); err != nil {
				return fmt.Errorf("the nice value of %s: %w", id, err)
			}
		}
		if changed == 0 {
			return nil
		}
	}
	return context.Cause(ctx)
}

func setNice(tid, v int) error {
	err := unix.Setpriority(unix.PRIO_PROCESS, tid, v)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil // the thread has ended
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return errors.New("not permitted: run as root, or with CAP_SYS_NICE")
	}
	return err
}

// niceReverter gives each thread its value back.
type niceReverter struct{}

func (niceReverter) Kind() string { return "process.nice" }

func niceRecord(u actions.Undo) (in niced, before []threadNice, err error) {
	if err = decode(u, &in); err != nil {
		return in, nil, err
	}
	if err = json.Unmarshal(u.Prior, &before); err != nil || len(before) == 0 {
		return in, nil, errors.New("the record process.nice cannot be read: it does not say which values there were")
	}
	return in, before, nil
}

// due lists the threads that bear our value, with the value that each is to have: its own from before; for one that was
// started meanwhile, and inherited ours, that of the first thread, also where it belongs to a process that the target
// started. foreign tells that a thread has a value that is neither ours nor its own.
func due(u actions.Undo) (out []threadNice, foreign bool, err error) {
	in, before, err := niceRecord(u)
	if err != nil || u.Target.Boot != target.Boot() {
		return nil, false, err
	}
	ours, first := in.Value, before[0].Nice
	known := map[int]threadNice{}
	for _, t := range before {
		known[t.TID] = t
	}
	now, _ := threadsNice(u.Target) // none where it is gone, and with it what it had
	for _, t := range now {
		was, ok := known[t.TID]
		switch {
		case ok && was.Start == t.Start:
			if t.Nice == ours && was.Nice != ours {
				out = append(out, was)
			}
			foreign = foreign || t.Nice != ours && t.Nice != was.Nice
		case t.Nice == ours && first != ours:
			out = append(out, threadNice{TID: t.TID, Start: t.Start, Nice: first})
		}
	}
	if first == ours {
		return out, foreign, nil
	}
	below, err := in.Offspring(u.Target)
	if err != nil {
		return nil, false, err
	}
	for _, p := range below {
		threads, err := threadsNice(p)
		if err != nil {
			continue
		}
		for _, t := range threads {
			if t.Nice == ours {
				out = append(out, threadNice{TID: t.TID, Start: t.Start, Nice: first})
			}
		}
	}
	return out, foreign, nil
}

func (niceReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	// Again until nothing is due: a thread may start another one between the look and the act.
	for ctx.Err() == nil {
		list, _, err := due(u)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, t := range list {
			if err := setNice(t.TID, t.Nice); err != nil {
				return fmt.Errorf("the nice value of %s: %w", u.Target, err)
			}
		}
	}
	return ctx.Err()
}

func (niceReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	list, foreign, err := due(u)
	switch {
	case err != nil:
		return "", err
	case len(list) > 0:
		return actions.Present, nil
	case foreign:
		return actions.Foreign, nil
	}
	return actions.Gone, nil
}
