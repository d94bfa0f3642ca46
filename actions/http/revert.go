package http

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

const (
	kind    = "http.send"
	version = 1 // of the arguments in the undo records
)

// record is what another process needs to take a call back.
type record struct {
	ID   string `json:"id"`   // random: tells two records with the same request apart
	Undo order  `json:"undo"` // the request to send
}

func intend(led actions.Ledger, act, back order) (string, error) {
	b := make([]byte, 8)
	rand.Read(b) // never fails, see crypto/rand
	args, err := json.Marshal(record{ID: hex.EncodeToString(b), Undo: back})
	if err != nil {
		return "", err
	}
	return led.Intend(actions.Undo{
		Kind: kind, Version: version, Args: args, Lifetime: actions.Guardian,
		Target: target.Identity{Kind: "url", ID: act.Message.URL, Name: act.Message.Peer()},
		Limit:  back.Timeout + 5*time.Second,
		Manual: back.curl(),
	})
}

// curl is the request for a human to type. Its headers are named, not shown: one of them may be a password.
func (o order) curl() string {
	words := []string{"curl", "-X", o.Message.Method}
	var more []string
	for name, v := range o.Message.Header {
		switch name {
		case "Content-Type":
			words = append(words, "-H", quote(name+": "+strings.Join(v, ", ")))
		case "User-Agent":
		default:
			more = append(more, name)
		}
	}
	if len(o.Message.Body) > 0 {
		words = append(words, "--data-binary", quote(string(o.Message.Body)))
	}
	text := strings.Join(append(words, quote(o.Message.URL)), " ")
	if len(more) > 0 {
		slices.Sort(more)
		text += "  # with the script's headers " + strings.Join(more, ", ")
	}
	return text
}

// quote is for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// sendReverter sends the undo request.
//
// The world behind a server cannot be looked at from here. So the verification is the answer to the undo request: a success
// is remembered by this process, and State says gone from then on. In a process that has sent nothing yet the fault counts
// as present, and the request is sent (again): it has to be safe to send twice.
type sendReverter struct{}

// done are the records whose undo request was answered with a success, by this process.
var done sync.Map

func (sendReverter) Kind() string { return kind }

func read(u actions.Undo) (record, error) {
	var r record
	if u.Version != version {
		return r, fmt.Errorf("the record %s has version %d, this program knows %d: undo it with the chaos that wrote it", u.Kind, u.Version, version)
	}
	if err := json.Unmarshal(u.Args, &r); err != nil {
		return r, fmt.Errorf("the record %s cannot be read: %w", u.Kind, err)
	}
	if r.ID == "" || r.Undo.Message.URL == "" || r.Undo.Timeout <= 0 {
		return r, fmt.Errorf("the record %s is incomplete", u.Kind)
	}
	return r, nil
}

func (sendReverter) Revert(ctx context.Context, _ env.Env, u actions.Undo) error {
	r, err := read(u)
	if err != nil {
		return err
	}
	if _, ok := done.Load(r.ID); ok {
		return nil
	}
	if _, err := r.Undo.send(ctx); err != nil {
		return err
	}
	done.Store(r.ID, true)
	return nil
}

func (sendReverter) State(_ context.Context, _ env.Env, u actions.Undo) (actions.State, error) {
	r, err := read(u)
	if err != nil {
		return "", err
	}
	if _, ok := done.Load(r.ID); ok {
		return actions.Gone, nil
	}
	return actions.Present, nil
}
