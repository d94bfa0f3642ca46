// Package undo runs the undo of one record, the same way for the runner, the guardian and `chaos recover`: bounded,
// verified, tried again, and never trusted to come back.
package undo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
)

const (
	// Limit is how long one attempt may take, where the record names no limit.
	Limit = 10 * time.Second
	// Attempts is how often an undo that fails is tried.
	Attempts = 3
	// Grace is how long family code may take to notice that its time is up before it is left behind.
	Grace   = 100 * time.Millisecond
	backoff = 200 * time.Millisecond
)

// ErrHung is an undo that did not come back in time. It may still be at it, so it is not tried again.
var ErrHung = errors.New("the undo did not come back")

// Revert undoes one record and looks whether the fault is gone. foreign tells that somebody else changed the value
// meanwhile, so that it was left alone. Nothing cancels it.
func Revert(reg *actions.Registry, e env.Env, u actions.Undo) (foreign bool, err error) {
	rev, ok := reg.Reverter(u.Kind)
	if !ok {
		return false, fmt.Errorf("nothing here can undo a %q", u.Kind)
	}
	limit := u.Limit
	if limit <= 0 {
		limit = Limit
	}
	for attempt := range Attempts {
		if attempt > 0 {
			<-time.After(backoff * time.Duration(attempt))
		}
		var state actions.State
		err = Bounded(limit, func(ctx context.Context) error {
			if err := rev.Revert(ctx, e, u); err != nil {
				return err
			}
			s, err := rev.State(ctx, e, u)
			state = s
			return err
		})
		switch {
		case err == nil && state == actions.Present:
			err = errors.New("the undo ran, and the fault is still there")
		case err == nil:
			return state == actions.Foreign, nil
		case errors.Is(err, ErrHung):
			return false, err
		}
	}
	return false, err
}

// Bounded runs code of a family that must not hang others: after its limit and a grace it is left behind. A panic is an
// error.
func Bounded(limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("the undo has a defect: %v", r)
			}
		}()
		done <- f(ctx)
	}()
	late := time.NewTimer(limit + Grace)
	defer late.Stop()
	hung := fmt.Errorf("%w within %s", ErrHung, value.DurationOf(limit).Short())
	select {
	case err := <-done:
		if errors.Is(err, context.DeadlineExceeded) {
			return hung
		}
		return err
	case <-late.C:
		return hung
	}
}
