// Package hold is the helper process of a run: it owns what must die with the runner. `chaos hold` supervises the
// processes that a script starts (their restarts, output, process groups, zombies and orphans) and traces the ones it
// pauses. When the runner dies, the helper sees the end of its pipe and ends every descendant; when the helper itself is
// killed, the kernel ends its children and detaches from what it traced.
package hold

import (
	"context"
	"time"

	"chaos/lang/value"
	"chaos/runtime/target"
)

// Spec says what to start and how to keep it.
type Spec struct {
	Name               string            `json:"name"`    // for people and for the output files
	Command            string            `json:"command"` // an absolute path
	Args               []string          `json:"args"`
	Env                map[string]string `json:"env"` // on top of the runner's own
	Dir                string            `json:"dir"`
	Stdout             string            `json:"stdout"` // files, appended to
	Stderr             string            `json:"stderr"`
	Restart            bool              `json:"restart"`
	RestartDelay       time.Duration     `json:"restart_delay"`
	StartLimit         int               `json:"start_limit"` // starts, the first one too, within StartLimitInterval
	StartLimitInterval time.Duration     `json:"start_limit_interval"`
	StopSignal         string            `json:"stop_signal"`
	Grace              time.Duration     `json:"grace"` // from the stop signal to SIGKILL
}

// State is what the supervisor knows of a process.
type State struct {
	Running  bool      `json:"running"`
	Pid      int       `json:"pid"` // 0 while not running
	Start    uint64    `json:"start"`
	Since    time.Time `json:"since"`    // of the present start
	Restarts int       `json:"restarts"` // starts after the first
	Exited   bool      `json:"exited"`   // has ended at least once; the next two are of the latest end
	ExitCode int       `json:"exit_code"`
	Signal   string    `json:"signal"`  // "KILL", "" for a plain exit
	Stopped  bool      `json:"stopped"` // on purpose, so no restart follows
	GaveUp   bool      `json:"gave_up"` // the start limit was hit
}

// Client is the runner's end. It starts the helper when it is first needed. Safe for concurrent use.
type Client struct{}

// NewClient makes a client; command is how to start the helper, as ["chaos", "hold"]; nil means this executable with "hold".
func NewClient(command []string) *Client { panic("to do") }

// Start starts a process and supervises it. It returns once the process exists (or could not be executed).
func (c *Client) Start(ctx context.Context, s Spec) (*Process, error) { panic("to do") }

// Pause stops every thread of a process by ptrace, verified; Resume lets it run on. Both are idempotent.
func (c *Client) Pause(ctx context.Context, id target.Identity) error  { panic("to do") }
func (c *Client) Resume(ctx context.Context, id target.Identity) error { panic("to do") }

// Died is closed when a helper ended without being asked: the run must abort, since its promises no longer hold.
func (c *Client) Died() <-chan struct{} { panic("to do") }

// Pids are the helpers and every process that they own now: never a target of a selector by accident, always among what
// must be gone at the end.
func (c *Client) Pids() []int { panic("to do") }

// Close ends everything and waits until it is gone. It may be called twice.
func (c *Client) Close() error { panic("to do") }

// Process is a supervised process: a value.Handle, whatever its present pid.
type Process struct{}

var _ value.Handle = (*Process)(nil)

func (p *Process) HandleKind() string                  { return "process" }
func (p *Process) HandleID() string                    { panic("to do") }
func (p *Process) HandleName() string                  { panic("to do") }
func (p *Process) HandleField(name string) value.Value { panic("to do") }

// State is the latest that the supervisor reported.
func (p *Process) State() State { panic("to do") }

// Stop ends the process with its group (stop signal, grace, KILL) and keeps it down; verified.
func (p *Process) Stop(ctx context.Context) error { panic("to do") }

// Restart stops it if it runs, resets the start limit and starts it again.
func (p *Process) Restart(ctx context.Context) error { panic("to do") }
