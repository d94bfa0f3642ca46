package runtime

import (
	"slices"

	"chaos/runtime/event"
)

// The exit codes; see docs/language.md.
const (
	exitHeld         = 0
	exitRefuted      = 1
	exitUnfit        = 2
	exitUnsteady     = 3
	exitAborted      = 4
	exitInconclusive = 5
	exitNotRestored  = 6
)

// precedence: of several experiments, or of several results of one, the first of these that applies is the exit code. 2
// means that nothing was injected, so anything that was worse elsewhere comes first.
var precedence = []int{exitNotRestored, exitAborted, exitRefuted, exitInconclusive, exitUnsteady, exitUnfit, exitHeld}

// Worse returns the code that comes first in precedence.
func Worse(a, b int) int { return worse(a, b) }

func worse(a, b int) int {
	if slices.Index(precedence, a) < slices.Index(precedence, b) {
		return a
	}
	return b
}

// exitCode is the code of one experiment.
func exitCode(o outcome, fruitless bool) int {
	code := exitHeld
	add := func(c int, applies bool) {
		if applies {
			code = worse(code, c)
		}
	}
	add(exitNotRestored, o.restoration == event.Incomplete)
	add(exitAborted, o.outcome == event.Aborted)
	add(exitRefuted, o.verdict == event.Refuted)
	add(exitInconclusive, o.verdict == event.Inconclusive || o.outcome == event.Failed || fruitless)
	add(exitUnsteady, o.outcome == event.Unsteady)
	add(exitUnfit, o.outcome == event.Unfit)
	return code
}
