// Package env is what a run gives to the families: where it runs, its helper, its randomness.
package env

import (
	"math/rand/v2"

	"chaos/runtime/hold"
	"chaos/runtime/target"
)

// Env is handed to every Plan, Open and Revert by value.
type Env struct {
	Dir    string // the script's folder: relative paths and ./commands start here
	RunDir string // the run's folder, for the output of what it starts; "" in `plan`, which writes nothing
	Runs   string // the folder that the run's folder is in, or will be; neither need exist before something is injected
	Hold   *hold.Client
	Rand   *rand.Rand               // seeded by the run; safe for concurrent use
	Pick   target.Pick              // of the step being planned
	Name   string                   // of the step's `as`, "" without one
	Log    func(text string)        // writes to the report
	Hide   func(text string) string // takes secrets out; nil without secrets
}

// Hidden is a text without secrets. Whatever is shown passes this once more; a family calls it before it cuts a text, since
// the half of a secret would not be found any more.
func (e Env) Hidden(text string) string {
	if e.Hide == nil {
		return text
	}
	return e.Hide(text)
}
