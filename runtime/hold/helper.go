package hold

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"chaos/runtime/cgroup"
	"chaos/runtime/target"
)

// helper is a running `chaos hold`, seen from the runner.
type helper struct {
	kind  string
	id    target.Identity
	cmd   *exec.Cmd
	ready chan struct{} // it listens
	gone  chan struct{} // it has ended and was waited for
	said  tail          // its standard error, which is silent but for a crash
	cage  cgroup.Cage   // of all that it starts; set before ready

	mu     sync.Mutex // guards the pipe and what follows
	pipe   *os.File
	next   int64
	waits  map[int64]chan error
	reason string // how it ended
}

// startHelper starts `chaos hold KIND` and waits until it listens. It gets a session of its own, so a terminal's Ctrl-C
// reaches neither it nor what it starts, and no Pdeathsig: it has to outlive us for the moment that ending our processes
// takes. The end of the pipe tells it.
func startHelper(ctx context.Context, command []string, kind string, note func(report)) (*helper, error) {
	if os.Getenv(inHelper) != "" {
		return nil, errors.New("a helper cannot start a helper: this program was started as one and has to call hold.MaybeServe or hold.Serve first")
	}
	if len(command) == 0 {
		// By the link, which holds even when the file was replaced or deleted since.
		command = []string{"/proc/self/exe", "hold"}
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		ourOut.Close()
		return nil, err
	}
	h := &helper{kind: kind, ready: make(chan struct{}), gone: make(chan struct{}), pipe: ourOut, waits: map[int64]chan error{}}
	h.cmd = exec.Command(command[0], append(command[1:len(command):len(command)], kind)...)
	if command[0] == "/proc/self/exe" {
		h.cmd.Args[0] = os.Args[0]
	}
	h.cmd.Env = append(os.Environ(), inHelper+"=1")
	h.cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	h.cmd.Stderr = &h.said
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Do not wait for its standard error to close: a child that kept it would delay the news of its death.
	h.cmd.WaitDelay = 100 * time.Millisecond
	err = h.cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		ourOut.Close()
		ourIn.Close()
		return nil, fmt.Errorf("cannot start the helper `chaos hold %s`: %w", kind, err)
	}
	h.id, err = target.ProcessIdentity(h.cmd.Process.Pid)
	go h.listen(ourIn, note)
	if err == nil {
		err = h.await(ctx)
	}
	if err != nil {
		h.end(0)
		return nil, err
	}
	return h, nil
}

func (h *helper) await(ctx context.Context) error {
	const long = 10 * time.Second
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-h.ready:
		return nil
	case <-h.gone:
		return h.failure()
	case <-timer.C:
		return fmt.Errorf("the helper `chaos hold %s` did not answer within %s", h.kind, long)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listen reads reports until the helper has ended. Every report is taken in before the request it answers returns.
func (h *helper) listen(in *os.File, note func(report)) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var r report
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		switch r.Event {
		case eventReady:
			h.cage = cgroup.Cage{Dir: r.Cage}
			close(h.ready)
		case eventDone:
			h.mu.Lock()
			wait := h.waits[r.ID]
			delete(h.waits, r.ID)
			h.mu.Unlock()
			if wait == nil {
				continue
			}
			if r.Error != "" {
				wait <- &remoteError{text: r.Error, gone: r.Gone}
			} else {
				wait <- nil
			}
		default:
			note(r)
		}
	}
	in.Close()
	err := h.cmd.Wait()
	h.mu.Lock()
	h.reason = "ended"
	if s, ok := h.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		h.reason = "was killed by SIG" + target.SignalName(s.Signal())
	} else if err != nil {
		h.reason = "ended with " + err.Error()
	}
	h.mu.Unlock()
	close(h.gone)
}

// call sends a request and waits for its answer.
func (h *helper) call(ctx context.Context, r request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wait := make(chan error, 1)
	if err := h.write(r, wait); err != nil {
		return err
	}
	select {
	case err := <-wait:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-h.gone:
	}
	select { // the answer may have been its last word
	case err := <-wait:
		return err
	default:
		return h.failure()
	}
}

// cast sends a request whose answer does not matter.
func (h *helper) cast(r request) { _ = h.write(r, make(chan error, 1)) }

func (h *helper) write(r request, wait chan error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pipe == nil {
		return errHelper
	}
	h.next++
	r.ID = h.next
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	h.waits[r.ID] = wait
	if _, err := h.pipe.Write(append(line, '\n')); err != nil {
		delete(h.waits, r.ID)
		return errHelper
	}
	return nil
}

// end asks the helper to end everything, for at most that long, and waits until it is gone. Closing the pipe makes it
// hurry; if even that does not help, it is killed, and the kernel ends its children.
func (h *helper) end(patience time.Duration) {
	if patience > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_ = h.call(ctx, request{Op: opClose}) // what is left is looked for by the caller
		cancel()
	}
	h.mu.Lock()
	if h.pipe != nil {
		h.pipe.Close()
		h.pipe = nil
	}
	h.mu.Unlock()
	timer := time.NewTimer(stubborn)
	defer timer.Stop()
	select {
	case <-h.gone:
	case <-timer.C:
		h.cmd.Process.Kill()
		<-h.gone
	}
}

// failure says how the helper ended.
func (h *helper) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := fmt.Sprintf("the helper `chaos hold %s` (pid %s) %s", h.kind, h.id.ID, h.reason)
	if said := h.said.String(); said != "" {
		text += ": " + said
	}
	return &helperError{text}
}

// helperError is errHelper with the particulars.
type helperError struct{ text string }

func (e *helperError) Error() string { return e.text }

func (e *helperError) Is(err error) bool { return err == errHelper }

// tail keeps the beginning of what a helper says: of a Go crash that is the reason.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 2000
	if room := most - t.buf.Len(); room > 0 {
		t.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}
