package exec

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"chaos/actions"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

const (
	kind    = "exec.run"
	version = 1 // of the arguments in the undo records
)

// undone is the command that takes another one back: all that is needed to run it, also from another process.
type undone struct {
	ID      string            `json:"id"` // random: tells two records with the same command apart
	Command string            `json:"command"`
	Path    string            `json:"path"` // absolute
	Args    []string          `json:"args"`
	Dir     string            `json:"dir"`
	Env     map[string]string `json:"env,omitempty"`
	Timeout time.Duration     `json:"timeout"`
	Allow   []int             `json:"allow"`
}

// withPath adds the PATH of the run, since whoever recovers may have another one, and scripts look up what they call.
func withPath(env map[string]string) map[string]string {
	out := maps.Clone(env)
	if out == nil {
		out = map[string]string{}
	}
	if _, ok := out["PATH"]; !ok {
		out["PATH"] = os.Getenv("PATH")
	}
	return out
}

func intend(led actions.Ledger, act command.Spec, back undone) (string, error) {
	b := make([]byte, 8)
	rand.Read(b) // never fails, see crypto/rand
	back.ID = hex.EncodeToString(b)
	args, err := json.Marshal(back)
	if err != nil {
		return "", err
	}
	return led.Intend(actions.Undo{
		Kind: kind, Version: version, Args: args, Lifetime: actions.Guardian,
		Target: target.Identity{Kind: "command", ID: act.Path, Name: filepath.Base(act.Path)},
		Limit:  back.Timeout + 5*time.Second,
		Manual: "cd " + quote(back.Dir) + " && " + command.Line(back.Path, back.Args) + names(back.Env),
	})
}

// names reminds a human of the variables, but not of their values: one of them may be a password.
func names(env map[string]string) string {
	var list []string
	for name := range env {
		if name != "PATH" {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.Sort(list)
	return "  # with the script's " + strings.Join(list, ", ")
}

// quote is for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// runReverter runs the undo command.
//
// What a command did cannot be looked at from here. So the verification is the exit code of the undo command: a success is
// remembered by this process, and State says gone from then on. In a process that has run nothing yet the fault counts as
// present, and the command runs (again): it has to be safe to run twice.
type runReverter struct{}

// done are the records whose undo command ended with a success, in this process.
var done sync.Map

func (runReverter) Kind() string { return kind }

func read(u actions.Undo) (undone, error) {
	var r undone
	if u.Version != version {
		return r, fmt.Errorf("the record %s has version %d, this program knows %d: undo it with the chaos that wrote it", u.Kind, u.Version, version)
	}
	if err := json.Unmarshal(u.Args, &r); err != nil {
		return r, fmt.Errorf("the record %s cannot be read: %w", u.Kind, err)
	}
	if r.ID == "" || !filepath.IsAbs(r.Path) || r.Timeout <= 0 {
		return r, fmt.Errorf("the record %s is incomplete", u.Kind)
	}
	return r, nil
}

func (runReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	back, err := read(u)
	if err != nil {
		return err
	}
	if _, ok := done.Load(back.ID); ok {
		return nil
	}
	r, err := command.Run(ctx, command.Spec{
		Command: back.Command, Path: back.Path, Args: back.Args, Dir: back.Dir, Env: back.Env, Timeout: back.Timeout,
	})
	switch {
	case err != nil:
		return err
	case !slices.Contains(back.Allow, r.Code):
		return refusal(back.Command, r)
	}
	done.Store(back.ID, true)
	return nil
}

func (runReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	back, err := read(u)
	if err != nil {
		return "", err
	}
	if _, ok := done.Load(back.ID); ok {
		return actions.Gone, nil
	}
	return actions.Present, nil
}
