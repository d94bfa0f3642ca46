package exec

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// What a command leaves running in the background is ended with the scope of its step: at the end of inject, or of the whole
// experiment for setup. A daemon that made a session of its own (setsid(2)) meant to stay, as a server does that
// `service nginx restart` starts: it is left to the script's `undo`.

const (
	childrenKind = "exec.children"
	childrenVar  = "CHAOS_EXEC" // in the environment of a command and of all that it starts
	grace        = 200 * time.Millisecond
)

// children is how what a command left is found, also from another process.
type children struct {
	Mark    string `json:"mark"`    // the value of childrenVar, random
	Session int    `json:"session"` // that the command is started in
}

// intendChildren journals them before the command is started. A command that left nothing hands its mark on to the next one,
// so that not each of them waits for the disk.
func intendChildren(led actions.Ledger, command string) (children, string, error) {
	session, err := unix.Getsid(0)
	if err != nil {
		return children{}, "", err
	}
	if r, ok := led.(actions.Reuser); ok {
		if id, u, ok := r.Reuse(childrenKind); ok {
			return children{Mark: u.Target.ID, Session: session}, id, nil
		}
	}
	b := make([]byte, 8)
	rand.Read(b) // never fails, see crypto/rand
	c := children{Mark: hex.EncodeToString(b), Session: session}
	args, err := json.Marshal(c)
	if err != nil {
		return c, "", err
	}
	id, err := led.Intend(actions.Undo{
		Kind: childrenKind, Version: version, Args: args, Lifetime: actions.Guardian,
		Target: target.Identity{Kind: "command", ID: c.Mark, Name: command, Boot: target.Boot()},
		Manual: fmt.Sprintf("grep -lsz %s=%s /proc/[0-9]*/environ | cut -d/ -f3 | xargs -r kill -KILL", childrenVar, c.Mark),
	})
	return c, id, err
}

// left lists what runs of them.
func (c children) left() ([]target.Process, error) {
	all, err := target.Processes()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(p target.Process) bool {
		if p.Session != c.Session || p.Kernel || p.Zombie() {
			return true
		}
		env, err := p.Environ()
		return err != nil || !slices.Contains(env, childrenVar+"="+c.Mark)
	}), nil
}

func describe(list []target.Process) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Describe()
	}
	return strings.Join(names, ", ")
}

// childrenReverter ends what a command left.
type childrenReverter struct{}

func (childrenReverter) Kind() string { return childrenKind }

func readChildren(u actions.Undo) (children, error) {
	var c children
	if u.Version != version {
		return c, fmt.Errorf("the record %s has version %d, this program knows %d: undo it with the chaos that wrote it", u.Kind, u.Version, version)
	}
	if err := json.Unmarshal(u.Args, &c); err != nil || c.Mark == "" {
		return c, fmt.Errorf("the record %s cannot be read", u.Kind)
	}
	return c, nil
}

func (childrenReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	c, err := readChildren(u)
	if err != nil || u.Target.Boot != target.Boot() {
		return err
	}
	sig, until := unix.SIGTERM, time.Now().Add(grace)
	told := map[int]bool{}
	for {
		left, err := c.left()
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(until) {
			sig = unix.SIGKILL
		}
		for _, p := range left {
			if sig == unix.SIGKILL || !told[p.Pid] {
				_ = p.Identity().Signal(sig) // gone is what is wanted, and the next look tells
				told[p.Pid] = true
			}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("still running after SIGKILL: %s", describe(left))
		}
	}
}

func (childrenReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	c, err := readChildren(u)
	if err != nil {
		return "", err
	}
	if u.Target.Boot != target.Boot() {
		return actions.Gone, nil
	}
	left, err := c.left()
	if err != nil {
		return "", err
	}
	if len(left) > 0 {
		return actions.Present, nil
	}
	return actions.Gone, nil
}
