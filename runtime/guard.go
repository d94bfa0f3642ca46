package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaos/actions"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/runtime/command"
	"chaos/runtime/event"
	"chaos/runtime/guardian"
	"chaos/runtime/recovery"
	"chaos/runtime/secret"
	"chaos/runtime/target"
)

// intend hands a record to the guardian before its act. The first record starts the guardian: no guardian, no injection.
// It gets every record, also of faults that the kernel ends when we die, since it is their deadline too when we hang.
func (r *Run) intend(o recovery.Open, scriptDir string, within time.Duration) error {
	if r.unguarded {
		return nil
	}
	r.guardMu.Lock()
	defer r.guardMu.Unlock()
	if r.guardian == nil {
		g, err := guardian.Start(r.opts.Guardian, r.dir, scriptDir, r.start)
		if err != nil {
			return err
		}
		r.guardian = g
		go func() {
			<-g.Died()
			r.mu.Lock()
			x, ended := r.current, r.ended
			r.mu.Unlock()
			if x != nil && !ended {
				x.cancel(&abort{by: "helper", text: "the guardian process has died, and with it the promise to undo what we cannot"})
			}
		}()
	}
	select {
	case <-r.guardian.Died():
		return errors.New("the guardian process has died")
	default:
		o.Hidden = r.opts.Hidden
		return r.guardian.Intend(o, within)
	}
}

// seal writes a record with secrets in it to a file of its own, which goes when the fault is undone: the journal, which
// stays, has them left out, and `recover` could not send what is left out.
func (r *Run) seal(id string, record []byte) (name string, err error) {
	hide := r.opts.Redact
	if hide == nil || hide(string(record)) == string(record) {
		return "", nil
	}
	inside := map[string]string{}
	for name, v := range r.opts.Hidden {
		if f := secret.Redactor(map[string]string{name: v}); f != nil && f(string(record)) != string(record) {
			inside[name] = v
		}
	}
	return recovery.Seal(r.dir, id, record, inside)
}

// setDeadline sets the deadline of records anew, now that their fault is in place.
func (r *Run) setDeadline(records []record, within time.Duration) {
	r.guardMu.Lock()
	defer r.guardMu.Unlock()
	if r.guardian == nil {
		return
	}
	for _, rec := range records {
		r.guardian.Until(rec.id, within)
	}
}

func (r *Run) reverted(id string) {
	r.guardMu.Lock()
	defer r.guardMu.Unlock()
	if r.guardian != nil {
		r.guardian.Reverted(id) // a guardian that is gone keeps no list
	}
}

// farewell ends the guardian: everything that could be done has been done.
func (r *Run) farewell() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.guardMu.Lock()
	defer r.guardMu.Unlock()
	command.EndLitter(r.dir)
	if r.guardian != nil {
		select {
		case <-r.guardian.Died(): // that is known, and said
			return
		default:
		}
		if err := r.guardian.Close(); err != nil {
			r.stream.Emit(event.Note{Text: "guardian: " + err.Error()})
		}
	}
}

// guardianWait is how long a new run waits for all that died before to be undone.
const guardianWait = 30 * time.Second

// leftBehind looks for runs that died with faults in place. Nothing may start on top of them.
func (r *Run) leftBehind(ctx context.Context) []diag.Diagnostic {
	var out []diag.Diagnostic
	ctx, cancel := context.WithTimeout(ctx, guardianWait)
	defer cancel()
	list, err := recovery.List(r.opts.RunsDir)
	if err != nil {
		return nil // createFolder says it better
	}
	for _, old := range list {
		old = recovery.Settle(ctx, old, guardianWait)
		if old.Unrecovered() {
			recovery.Forget(context.WithoutCancel(ctx), r.opts.Registries.Actions, old)
		}
		if old.Unrecovered() || old.Unsettled() != "" {
			out = append(out, leftOver(old))
		}
	}
	return out
}

// lock locks the targets of a plan against other runs.
func (r *Run) lock(call *spec.Call, p actions.Plan) error {
	return r.eachTarget(call, p, r.locks.Lock)
}

// free looks whether lock would be refused.
func (r *Run) free(call *spec.Call, p actions.Plan) error {
	return r.eachTarget(call, p, r.locks.Free)
}

func (r *Run) eachTarget(call *spec.Call, p actions.Plan, do func(target.Identity) error) error {
	if call.Harmless {
		return nil
	}
	r.guardMu.Lock()
	defer r.guardMu.Unlock()
	for _, t := range p.Targets {
		if err := do(t); err != nil {
			var locked *recovery.LockedError
			if errors.As(err, &locked) {
				return err
			}
			return fmt.Errorf("%s cannot be locked against other runs: %w", t, err)
		}
	}
	return nil
}
