// Package hold is the helper process of a run: it owns what must die with the runner. `chaos hold` supervises the
// processes that a script starts (their restarts, output, process groups, zombies and orphans) and traces the ones it
// pauses. When the runner dies, the helper sees the end of its pipe and ends every descendant; when the helper itself is
// killed, the kernel ends its children and detaches from what it traced.
package hold

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"chaos/runtime/target"
)

// Spec says what to start and how to keep it.
type Spec struct {
	Name               string            `json:"name"`    // for people and for the output files
	Command            string            `json:"command"` // an absolute path
	Arg0               string            `json:"arg0"`    // what the process sees as its own name; Command if empty
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
	Mark               Mark              `json:"-"`     // from Client.Reserve; the zero one: Start makes its own
}

// State is what the supervisor knows of a process.
type State struct {
	Running  bool      `json:"running"`
	Pid      int       `json:"pid"` // 0 while not running
	Start    uint64    `json:"start"`
	Since    time.Time `json:"since"`    // of the present start
	Restarts int       `json:"restarts"` // starts after the first
	Exited   bool      `json:"exited"`   // has ended at least once; the next three are of the latest end
	ExitCode int       `json:"exit_code"`
	Signal   string    `json:"signal"` // "KILL", "" for a plain exit
	// Whether the kernel's OOM killer ended it; nil where that cannot be known, or not yet.
	OOMKilled *bool  `json:"oom_killed,omitempty"`
	Stopped   bool   `json:"stopped"` // on purpose, so no restart follows
	GaveUp    bool   `json:"gave_up"` // the start limit was hit
	Problem   string `json:"problem"` // why the latest start failed, "" where it did not
}

// Client is the runner's end. It starts the helper when it is first needed. Safe for concurrent use.
type Client struct {
	command []string
	id      string // random: the beginning of every mark
	died    chan struct{}
	once    sync.Once // closes died

	mu     sync.Mutex
	helper map[string]*helper // "supervise", "trace"
	procs  map[string]*Process
	count  int
	closed bool
	cause  error
}

// NewClient makes a client; command is how to start the helper, as ["chaos", "hold"]; nil means this executable with "hold".
func NewClient(command []string) *Client {
	var id [8]byte
	rand.Read(id[:])
	return &Client{command: command, id: hex.EncodeToString(id[:]), died: make(chan struct{}), helper: map[string]*helper{}, procs: map[string]*Process{}}
}

// use gives the helper of a kind, started if need be.
func (c *Client) use(ctx context.Context, kind string) (*helper, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("the run is ending: nothing is started or paused any more")
	}
	if h := c.helper[kind]; h != nil {
		select {
		case <-h.gone:
			return nil, h.failure()
		default:
			return h, nil
		}
	}
	h, err := startHelper(ctx, c.command, kind, c.note)
	if err != nil {
		return nil, err
	}
	c.helper[kind] = h
	go c.watch(h)
	return h, nil
}

// note takes a report that answers no request.
func (c *Client) note(r report) {
	if r.Event != eventState || r.State == nil {
		return
	}
	c.mu.Lock()
	p := c.procs[r.Service]
	c.mu.Unlock()
	if p != nil {
		p.set(*r.State)
	}
}

// watch waits for the end of a helper. One that was not asked for leaves the grandchildren to the runner, or to init.
func (c *Client) watch(h *helper) {
	<-h.gone
	c.mu.Lock()
	asked := c.closed
	if !asked && c.cause == nil {
		c.cause = h.failure()
	}
	c.mu.Unlock()
	if asked {
		return
	}
	if h.kind == "supervise" {
		c.sweep(h)
	}
	c.once.Do(func() { close(c.died) })
}

// sweep kills what a dead supervisor left.
func (c *Client) sweep(h *helper) error {
	ctx, cancel := context.WithTimeout(context.Background(), stubborn)
	defer cancel()
	for {
		all, err := target.Processes()
		if err != nil {
			return err
		}
		left := c.leftOf(h, all)
		if len(left) == 0 {
			break
		}
		if !h.id.Alive() {
			h.cage.Kill()
		}
		kill(left)
		if !pause(ctx, poll) {
			return fmt.Errorf("still running after SIGKILL: %s", describe(left))
		}
	}
	_ = h.cage.Remove() // a zombie may keep it: an empty cgroup does no harm
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.procs {
		p.ended()
	}
	return nil
}

func (c *Client) leftOf(h *helper, all []target.Process) []target.Process {
	return leftOf(func(mark string) bool { return strings.HasPrefix(mark, c.id+".") }, h.id, h.cage, all)
}

// Reserve gives the mark that the next Start may carry, so that an undo of it can be journalled first. It starts the
// helper, and nothing else.
func (c *Client) Reserve(ctx context.Context) (Mark, error) {
	h, err := c.use(ctx, "supervise")
	if err != nil {
		return Mark{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	return Mark{ID: fmt.Sprintf("%s.%d", c.id, c.count), Helper: h.id, Cage: h.cage.Dir}, nil
}

// Start starts a process and supervises it. It returns once the process exists (or could not be executed).
func (c *Client) Start(ctx context.Context, s Spec) (*Process, error) {
	h, err := c.use(ctx, "supervise")
	if err != nil {
		return nil, err
	}
	if s.Mark.ID == "" {
		if s.Mark, err = c.Reserve(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := target.Signal(s.StopSignal); err != nil && s.StopSignal != "" {
		return nil, err
	}
	// The helper runs in another folder.
	if !filepath.IsAbs(s.Dir) {
		if s.Dir, err = filepath.Abs(s.Dir); err != nil {
			return nil, fmt.Errorf("the folder in which to start %s does not exist any more: %w", s.Name, err)
		}
	}
	s.Command, s.Stdout, s.Stderr = absolute(s.Dir, s.Command), absolute(s.Dir, s.Stdout), absolute(s.Dir, s.Stderr)

	p := &Process{client: c, spec: s}
	c.mu.Lock()
	if c.procs[s.Mark.ID] != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("%s was started already", s.Name)
	}
	c.procs[s.Mark.ID] = p
	c.mu.Unlock()
	err = h.call(ctx, request{Op: opStart, Service: s.Mark.ID, Spec: &s})
	if err == nil {
		return p, nil
	}
	if ctx.Err() != nil {
		// The request is on its way: what it starts after all must not stay. Requests are handled in order.
		h.cast(request{Op: opStop, Service: s.Mark.ID})
	} else {
		c.mu.Lock()
		delete(c.procs, s.Mark.ID)
		c.mu.Unlock()
	}
	return nil, err
}

// Find gives the process that was started with a mark.
func (c *Client) Find(mark string) (*Process, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.procs[mark]
	return p, ok
}

// Tracer starts the helper that pauses, if it does not run yet, and tells who it is: its end is the end of every pause.
func (c *Client) Tracer(ctx context.Context) (target.Identity, error) {
	h, err := c.use(ctx, "trace")
	if err != nil {
		return target.Identity{}, err
	}
	return h.id, nil
}

// Pause stops every thread of a process by ptrace, verified; Resume lets it run on. Both are idempotent.
func (c *Client) Pause(ctx context.Context, id target.Identity) error {
	h, err := c.use(ctx, "trace")
	if err != nil {
		return err
	}
	err = h.call(ctx, request{Op: opPause, Target: &id})
	if err != nil && ctx.Err() != nil {
		h.cast(request{Op: opResume, Target: &id}) // requests are handled in order
	}
	return err
}

// Resume lets a process run on that Pause stopped. One that is not paused, or gone, is fine.
func (c *Client) Resume(ctx context.Context, id target.Identity) error {
	c.mu.Lock()
	h := c.helper["trace"]
	c.mu.Unlock()
	if h == nil {
		return nil
	}
	err := h.call(ctx, request{Op: opResume, Target: &id})
	if !errors.Is(err, errHelper) {
		return err
	}
	// A tracer that has ended holds nothing.
	select {
	case <-h.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Died is closed when a helper ended without being asked: the run must abort, since its promises no longer hold.
func (c *Client) Died() <-chan struct{} { return c.died }

// Err says which helper died, and how; nil while none has.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Pids are the helpers and every process that they own now: never a target of a selector by accident, always among what
// must be gone at the end.
func (c *Client) Pids() []int {
	c.mu.Lock()
	helpers := make([]*helper, 0, len(c.helper))
	for _, h := range c.helper {
		helpers = append(helpers, h)
	}
	c.mu.Unlock()
	all, err := target.Processes()
	if err != nil {
		return nil
	}
	var pids []int
	for _, h := range helpers {
		if h.id.Alive() {
			pids = append(pids, h.id.Pid())
			for _, p := range target.Below(all, h.id.Pid()) {
				pids = append(pids, p.Pid)
			}
		} else if h.kind == "supervise" {
			for _, p := range c.leftOf(h, all) {
				pids = append(pids, p.Pid)
			}
		}
	}
	return pids
}

// Close ends everything and waits until it is gone. It may be called twice. Pauses are lifted first, so that what is
// stopped can still handle its stop signal; then all processes get theirs, the latest first, and share the longest grace.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	trace, supervise := c.helper["trace"], c.helper["supervise"]
	grace := time.Duration(0)
	for _, p := range c.procs {
		grace = max(grace, p.spec.Grace)
	}
	c.mu.Unlock()
	var errs []error
	if trace != nil {
		trace.end(patience)
	}
	if supervise != nil {
		supervise.end(grace + 2*stubborn)
		errs = append(errs, c.sweep(supervise))
	}
	return errors.Join(errs...)
}

// Owns tells whether a mark was given by this client.
func (c *Client) Owns(m Mark) bool { return strings.HasPrefix(m.ID, c.id+".") }

// Traces tells whether a tracer is this client's.
func (c *Client) Traces(tracer target.Identity) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.helper["trace"]
	return h != nil && h.id.Same(tracer)
}
