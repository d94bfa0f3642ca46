package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"chaos/runtime/event"
)

// actGrace is how long an act may go on after it was told to stop, before it is undone beside it.
const actGrace = 10 * time.Second

// strand is a goroutine that runs statements one after the other, their acts included. An act that does not stop when it is
// told to can keep its goroutine: it is left to it, and what the strand would have undone on its way out is undone by who
// waits for it. A goroutine for each act would do as well, but to wake it and to be woken costs a tenth of a short command
// (`make bench BENCH=steps`).
type strand struct {
	phase event.Phase

	mu     sync.Mutex
	scopes []*scope // that end on this strand, the innermost last
	acting *acting  // nil between acts
	left   bool
	ended  chan struct{} // closed when who left it has ended its step
}

// acting is an act that has begun and has not returned.
type acting struct {
	text  string
	began time.Time
	lost  func(error) error // ends the step without it
	late  func()            // for when it returns after that
}

// strand runs body on a strand and returns its error. It returns when body does, or when an act in it has been given up.
// Acts are cancelled by ctx, or by one that ends with it.
func (x *experiment) strand(ctx context.Context, phase event.Phase, body func(*strand) error) error {
	s := &strand{phase: phase, ended: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- guardPanic("chaos", func() error { return body(s) }) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(actGrace)
	defer t.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-t.C:
		}
		a, wait := s.leave()
		if a != nil {
			return x.giveUp(s, a)
		}
		t.Reset(wait)
	}
}

// leave gives an act up that has had its time, or says when to look again.
func (s *strand) leave() (*acting, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acting == nil { // it is undoing, and that has limits of its own
		return nil, actGrace
	}
	if wait := actGrace - time.Since(s.acting.began); wait > 0 { // it began as it was told to stop
		return nil, wait
	}
	s.left = true
	return s.acting, 0
}

// giveUp ends a strand in place of its goroutine. The act is named as left, for nobody knows what it may still do.
func (x *experiment) giveUp(s *strand, a *acting) error {
	why := fmt.Sprintf("it did not stop within %s", short(actGrace))
	x.left(event.Left{Text: a.text, Error: why + ", so it may still act"})
	err := a.lost(errors.New(why))
	close(s.ended)
	for _, scope := range slices.Backward(s.scopes) {
		x.undoScope(scope, s.phase)
	}
	return err
}

// act runs an act on the strand. If it was given up meanwhile it never returns.
func (s *strand) act(a *acting, f func() error) error {
	a.began = time.Now()
	s.mu.Lock()
	s.acting = a
	s.mu.Unlock()
	err := f()
	s.mu.Lock()
	s.acting = nil
	left := s.left
	s.mu.Unlock()
	if left {
		<-s.ended
		a.late()
		runtime.Goexit()
	}
	return err
}

// within runs body with a scope that ends with it, however body ends. What ends it is its faults undone.
func (s *strand) within(x *experiment, held *scope, body func() error) (err error) {
	s.mu.Lock()
	s.scopes = append(s.scopes, held)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		left := s.left // then who left us undoes it
		if !left {
			s.scopes = s.scopes[:len(s.scopes)-1]
		}
		s.mu.Unlock()
		if left {
			return
		}
		if uerr := x.undoScope(held, s.phase); err == nil {
			err = uerr
		}
	}()
	return body()
}
