package hold

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"chaos/runtime/target"
)

// The runner and a helper talk in lines of JSON over two pipes, which the helper gets as the descriptors 3 and 4. Its
// standard streams stay out of it: Go ends a process that writes to a broken pipe on descriptor 1 or 2.
const (
	requestFd = 3
	reportFd  = 4
)

const (
	opStart   = "start"
	opStop    = "stop"
	opRestart = "restart"
	opPause   = "pause"
	opResume  = "resume"
	opClose   = "close"

	eventReady = "ready" // the helper listens
	eventState = "state" // of a service
	eventDone  = "done"  // the answer to a request
)

// request is what the runner asks for.
type request struct {
	ID      int64            `json:"id"`
	Op      string           `json:"op"`
	Service string           `json:"service,omitempty"` // of start, stop, restart
	Spec    *Spec            `json:"spec,omitempty"`    // of start
	Target  *target.Identity `json:"target,omitempty"`  // of pause, resume
}

// report is what the helper says: the answer to a request, or what happened by itself.
type report struct {
	Event   string `json:"event"`
	ID      int64  `json:"id,omitempty"`
	Error   string `json:"error,omitempty"`
	Gone    bool   `json:"gone,omitempty"` // the error is target.ErrGone
	Cage    string `json:"cage,omitempty"` // of ready
	Service string `json:"service,omitempty"`
	State   *State `json:"state,omitempty"`
}

// remoteError carries a helper's words; the ErrGone behind it survives the pipe.
type remoteError struct {
	text string
	gone bool
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Is(err error) bool { return e.gone && err == target.ErrGone }

// requests reads until the pipe ends, then closes both channels: the runner is gone. The second tells so to a helper that
// is busy with a request.
func requests(in *os.File) (<-chan request, <-chan struct{}) {
	out, gone := make(chan request, 1024), make(chan struct{})
	go func() {
		defer close(out)
		defer close(gone)
		lines := bufio.NewReader(in)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			var r request
			if json.Unmarshal(line, &r) != nil {
				return
			}
			out <- r
		}
	}()
	return out, gone
}

// sender writes reports in order without ever blocking its caller: a runner that is stopped, in a debugger say, must not
// stop the supervision.
type sender struct {
	mu    sync.Mutex
	queue []report
	wake  chan struct{}
	done  chan struct{}
	out   *os.File
}

func newSender(out *os.File) *sender {
	s := &sender{wake: make(chan struct{}, 1), done: make(chan struct{}), out: out}
	go s.run()
	return s
}

func (s *sender) send(r report) {
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sender) answer(id int64, err error) {
	r := report{Event: eventDone, ID: id}
	if err != nil {
		r.Error, r.Gone = err.Error(), errors.Is(err, target.ErrGone)
	}
	s.send(r)
}

// run ends when the queue was flushed after close, or nobody reads any more.
func (s *sender) run() {
	defer close(s.done)
	enc := json.NewEncoder(s.out)
	for range s.wake {
		s.mu.Lock()
		batch := s.queue
		s.queue = nil
		s.mu.Unlock()
		for _, r := range batch {
			if enc.Encode(r) != nil {
				for range s.wake { // keeps taking, so that send never blocks
				}
				return
			}
		}
	}
}

// close waits until everything is written. Nothing may be sent afterwards.
func (s *sender) close() {
	close(s.wake)
	<-s.done
}
