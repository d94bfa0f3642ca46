package hold

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"chaos/lang/value"
	"chaos/runtime/target"
)

// Process is a supervised process: a value.Handle, whatever its present pid.
type Process struct {
	client *Client
	spec   Spec

	mu    sync.Mutex
	state State
}

var (
	_ value.Handle  = (*Process)(nil)
	_ target.Runner = (*Process)(nil)
)

// HandleKind is "process".
func (p *Process) HandleKind() string { return "process" }

// HandleID is unique in the run.
func (p *Process) HandleID() string { return p.spec.Mark.ID }

// HandleName is the name that it was started with.
func (p *Process) HandleName() string { return p.spec.Name }

// HandleField has `pid`, absent while the process does not run.
func (p *Process) HandleField(name string) value.Value {
	if name != "pid" {
		return value.NoData("a process has no `%s`", name)
	}
	s := p.State()
	if !s.Running {
		return value.NoData("%s is not running", p.spec.Name)
	}
	return value.NumberOf(float64(s.Pid))
}

// Identity is who the process is now; false while it does not run.
func (p *Process) Identity() (target.Identity, bool) { return p.identity(p.State()) }

func (p *Process) identity(s State) (target.Identity, bool) {
	if !s.Running {
		return target.Identity{}, false
	}
	return target.Identity{Kind: "process", ID: strconv.Itoa(s.Pid), Name: p.spec.Name, Boot: target.Boot(), Start: s.Start}, true
}

// Spec is what it was started with.
func (p *Process) Spec() Spec { return p.spec }

// Mark names it for an undo from another process.
func (p *Process) Mark() Mark { return p.spec.Mark }

// State is the latest that the supervisor reported.
func (p *Process) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// reported is how long a supervisor may take to report a death that everybody can see.
const reported = time.Second

// Settled is the state, in which one that has ended does not run any more. That a process is dead is seen a moment before its
// supervisor, who alone learns how it ended, has said so: until then the latest report is of the time before.
func (p *Process) Settled() State {
	for deadline := time.Now().Add(reported); ; time.Sleep(time.Millisecond) {
		s := p.State()
		if id, ok := p.identity(s); !ok || id.Alive() || time.Now().After(deadline) {
			return s
		}
	}
}

func (p *Process) set(s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
}

// ended is the state after the death of the supervisor, which took the process with it.
func (p *Process) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Running, p.state.Pid, p.state.Start = false, 0, 0
}

// Stop ends the process with its group (stop signal, grace, KILL) and everything else that it started, and keeps it down;
// verified. When the context ends first, the stop goes on all the same.
func (p *Process) Stop(ctx context.Context) error {
	p.client.mu.Lock()
	h := p.client.helper["supervise"]
	p.client.mu.Unlock()
	err := h.call(ctx, request{Op: opStop, Service: p.spec.Mark.ID})
	if !errors.Is(err, errHelper) {
		return err
	}
	select {
	case <-h.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	// Without a supervisor nothing restarts it; it only has to be gone.
	return p.client.sweep(h)
}

// Restart stops it if it runs, resets the start limit and starts it again.
func (p *Process) Restart(ctx context.Context) error {
	h, err := p.client.use(ctx, "supervise")
	if err != nil {
		return err
	}
	return h.call(ctx, request{Op: opRestart, Service: p.spec.Mark.ID})
}

// errHelper is in every error of a call that no helper answered.
var errHelper = errors.New("the helper process is gone")
