package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// killWait is how long a signal may take to end a process before the answer is no, or unknown.
const killWait = time.Second

// The signals leave out those that stop a process (STOP, TSTP, TTIN, TTOU): nothing would let it run on, process.pause does.
type killArgs struct {
	target.Selector
	Signal string `chaos:"signal" default:"TERM" enum:"TERM SIGTERM KILL SIGKILL INT SIGINT HUP SIGHUP QUIT SIGQUIT ABRT SIGABRT USR1 SIGUSR1 USR2 SIGUSR2 ALRM SIGALRM PIPE SIGPIPE SEGV SIGSEGV BUS SIGBUS FPE SIGFPE ILL SIGILL SYS SIGSYS TRAP SIGTRAP XCPU SIGXCPU XFSZ SIGXFSZ WINCH SIGWINCH CONT SIGCONT" help:"the signal to send"`
}

func kill() actions.Action {
	return actions.Define(spec.Call{
		Name:     "process.kill",
		Summary:  "Sends a signal to a process; one that the script started and that is dead already is left alone.",
		Example:  `process.kill(match: "worker --queue mail", signal: "KILL")`,
		Selects:  true,
		Result:   value.THandle,
		Spares:   target.Spared,
		Lifetime: string(actions.Irreversible),
		Needs:    []spec.Need{{Kind: "privilege", Name: "CAP_KILL", Install: "for processes of other users: run as root"}},
	}, planKill)
}

func planKill(_ context.Context, e env.Env, in killArgs) (actions.Plan, error) {
	sig, err := target.Signal(in.Signal)
	if err != nil {
		return actions.Plan{}, err
	}
	found, err := in.Resolve(e.Pick, e.Rand)
	if err != nil {
		return actions.Plan{}, err
	}
	return actions.Plan{
		Targets:  identities(found),
		Lifetime: actions.Irreversible,
		Does:     fmt.Sprintf("SIG%s to %s", target.SignalName(sig), names(found)),
		Inject: func(ctx context.Context, _ actions.Ledger) (actions.Fault, error) {
			found, err := in.Refresh(found, e.Pick, e.Rand)
			if err != nil {
				return actions.Fault{}, err
			}
			fault, err := signalAll(found, sig)
			fault.Result = target.Handles(found, e.Pick)
			return fault, err
		},
	}, nil
}

func signalAll(found []target.Found, sig unix.Signal) (actions.Fault, error) {
	var hit []target.Identity
	var said []string
	var errs []error
	for _, f := range found {
		if f.Down() {
			said = append(said, f.Name()+" is not running: nothing was sent")
			continue
		}
		switch err := f.Identity.Signal(sig); {
		case errors.Is(err, target.ErrGone):
			said = append(said, f.Name()+" has just ended: nothing was sent")
		case err != nil:
			errs = append(errs, err)
		default:
			hit = append(hit, f.Identity)
			said = append(said, "pid "+f.Identity.ID)
		}
	}
	note := strings.Join(said, ", ")
	if len(errs) > 0 {
		return actions.Fault{Note: note}, errors.Join(errs...)
	}
	if len(hit) == 0 {
		return actions.Fault{Effect: func(context.Context) (actions.Effect, string) { return actions.Unknown, note }}, nil
	}
	return actions.Fault{Note: note, Effect: func(ctx context.Context) (actions.Effect, string) { return killed(ctx, hit, sig) }}, nil
}

// killed waits for the end of what was signalled. Only SIGKILL cannot be handled; what another signal does is up to the
// process.
func killed(ctx context.Context, hit []target.Identity, sig unix.Signal) (actions.Effect, string) {
	ctx, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for {
		var alive []string
		for _, id := range hit {
			if id.Alive() {
				alive = append(alive, id.String())
			}
		}
		if len(alive) == 0 {
			return actions.Yes, fmt.Sprintf("gone within %s", time.Since(begun).Round(time.Millisecond))
		}
		if !mayEnd(sig) {
			return actions.Unknown, fmt.Sprintf("SIG%s was sent; what it does is up to the process", target.SignalName(sig))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			still := fmt.Sprintf("still alive after %s: %s", time.Since(begun).Round(time.Millisecond), strings.Join(alive, ", "))
			if sig == unix.SIGKILL {
				return actions.No, still
			}
			return actions.Unknown, still
		}
	}
}

// mayEnd tells the signals that are sent to end a process, from those that tell it something.
func mayEnd(sig unix.Signal) bool {
	switch sig {
	case unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM:
		return false
	}
	return true
}
