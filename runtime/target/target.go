// Package target is what the families share about the things they act on: who a process is, how it is selected, and the
// rule that a selection is exactly one unless the script widens it on purpose.
package target

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Identity tells a thing apart from anything that may later bear its name: a pid is reused, a pid with its start time and
// the boot is not.
type Identity struct {
	Kind  string `json:"kind"`            // "process"
	ID    string `json:"id"`              // the pid, in decimal
	Name  string `json:"name,omitempty"`  // for people
	Boot  string `json:"boot,omitempty"`  // /proc/sys/kernel/random/boot_id
	Start uint64 `json:"start,omitempty"` // field 22 of /proc/PID/stat, clock ticks since boot; see proc(5)
}

// String is for people.
func (i Identity) String() string {
	if i.Name != "" {
		return fmt.Sprintf("%s (%s %s)", i.Name, i.Kind, i.ID)
	}
	return i.Kind + " " + i.ID
}

// Pick is the `pick` clause of a step; the zero Pick is its absence.
type Pick struct {
	All   bool
	Count int
	Ratio float64 // of what matched, rounded down, at least one
	List  bool    // `as` binds a list: the clause may pick several, as only a plain `pick 1` may not
}

// Given tells whether there is a clause.
func (p Pick) Given() bool { return p != Pick{} }

// NoneError and ManyError are the two ways in which a selection is not exactly one.
type (
	NoneError struct{ Selector string }
	ManyError struct {
		Selector string
		Matched  []string
	}
)

// NotYet is the error for what setup may still make: the plan before it then waits, as for a selection of nothing.
func NotYet(text string) error { return &notYet{text} }

type notYet struct{ text string }

func (e *notYet) Error() string { return e.text }

func (e *notYet) Unwrap() error { return &NoneError{Selector: e.text} }

// BusyError says that something else stands where a step wants to be, now; a step before it may change that.
type BusyError struct{ Text string }

func (e *BusyError) Error() string { return e.Text }

func (e *NoneError) Error() string { return fmt.Sprintf("%s matches nothing", e.Selector) }

func (e *ManyError) Error() string {
	const most = 10
	list := e.Matched
	more := ""
	if len(list) > most {
		list, more = list[:most], fmt.Sprintf(" and %d more", len(e.Matched)-most)
	}
	return fmt.Sprintf("%s matches %d: %s%s; narrow it, or say `pick 1`, `pick 50%%` or `pick all`", e.Selector, len(e.Matched), strings.Join(list, ", "), more)
}

// Choose applies the exactly-one rule and the pick to what matched. describe names an item in the refusal.
func Choose[T any](selector string, found []T, p Pick, r *rand.Rand, describe func(T) string) ([]T, error) {
	if len(found) == 0 {
		return nil, &NoneError{Selector: selector}
	}
	n := len(found)
	switch {
	case p.All:
		return found, nil
	case p.Count > 0:
		if p.Count > n {
			return nil, fmt.Errorf("`pick %d` wants more than the %d that %s matches", p.Count, n, selector)
		}
		n = p.Count
	case p.Ratio > 0:
		n = min(n, max(1, int(float64(n)*p.Ratio)))
	case n > 1:
		names := make([]string, n)
		for i, f := range found {
			names[i] = describe(f)
		}
		return nil, &ManyError{Selector: selector, Matched: names}
	}
	chosen := make([]T, 0, n)
	for _, i := range r.Perm(len(found))[:n] {
		chosen = append(chosen, found[i])
	}
	return chosen, nil
}
