// Package check turns a parsed file into a Script that the runtime can run without asking a question about the language
// again: every name resolved, every type and unit right, every statement where it may stand.
package check

import (
	"chaos/lang/diag"
	"chaos/lang/expr"
	"chaos/lang/spec"
	"chaos/lang/value"
)

// Script is a checked file.
type Script struct {
	Source      *diag.Source
	Sources     []*diag.Source // of the script and of every module that it uses
	Params      []*Param       // of the script and of its modules
	Secrets     []Secret       // that the script and its modules name outside of defaults, each once
	Experiments []*Experiment
}

// Secret is a `secret("NAME")`.
type Secret struct {
	Name string
	Span diag.Span // where it is named first
}

// Param is a parameter of the file, of a module or of an experiment.
type Param struct {
	Name    string // of a module's: `slo.window`
	Help    string
	Type    *value.Type
	Default *expr.Expr // nil: must be given
	In      *expr.Expr // nil, or a list of the allowed values
	Secret  bool       // its default is secret, so that no value of it may be shown
	Span    diag.Span
}

// Experiment is one experiment with everything that is declared for it in the file.
type Experiment struct {
	Title string
	Span  diag.Span
	Help  string

	Owner, Runbook string
	Tags           []string
	Deadline       *expr.Expr // duration, nil: 10m
	Recovery       *expr.Expr // duration, nil: 30s
	Meta           *expr.Expr // a map of whatever the team wants to note, nil

	Params     []*Param
	Probes     []*Probe // those that the experiment mentions, in order of declaration
	Guards     []*Guard // of file, experiment and inject, in order
	Setup      *Section // sections are nil where not written
	Steady     *Section
	Hypothesis *Section
	Inject     *Section
	Rollback   *Section
}

// Section is one of the five blocks.
type Section struct {
	Title  string
	Span   diag.Span
	Body   []Stmt   // setup, inject, rollback: statements in order. nil in steady and hypothesis
	Checks []*Check // steady, hypothesis; in setup the preconditions stand in Body

	Window          *expr.Expr // steady: duration, nil: one sample of each probe
	Settle          *expr.Expr // steady: duration, nil: not retried
	StopWhenRefuted bool       // hypothesis
}

// Probe is a named probe.
type Probe struct {
	Name  string // of a module's: `web.home`
	Call  *Call
	Every *expr.Expr // duration, nil: 1s
	Span  diag.Span
	Type  *value.Type // of its samples

	local   string // its name in its own file
	streams bool   // its call is a streaming probe
}

// Guard is an `abort when`.
type Guard struct {
	Cond    *expr.Expr
	For     *expr.Expr // duration or nil
	Because string
	Span    diag.Span
	Text    string // the statement on one line, without `because`
	File    bool   // declared at file level: no further experiment starts after it tripped
}

// Call is a call of an action or a probe with its arguments by name.
type Call struct {
	Spec *spec.Call
	Args map[string]*expr.Expr
	Text string // as written, on one line
	Span diag.Span
}

// CheckKind is the sort of a check.
type CheckKind string

const (
	Expect       CheckKind = "expect"
	Always       CheckKind = "always"
	Never        CheckKind = "never"
	Eventually   CheckKind = "eventually"
	AlwaysSteady CheckKind = "always steady" // every `expect` of steady, all the time; Cond is nil
)

// Check is a claim. In steady and setup Kind is always Expect.
type Check struct {
	Kind     CheckKind
	Cond     *expr.Expr
	Within   *expr.Expr // eventually: duration
	For      *expr.Expr // eventually: how long it must stay true to count
	Tolerate *expr.Expr // ratio or nil
	Because  string
	Span     diag.Span // of the condition
	Text     string    // the statement on one line, without `because`
	After    bool      // mentions `after.`: judged at the very end instead of before rollback
}

// Stmt is a statement of setup, inject or rollback.
type Stmt interface{ At() diag.Span }

type (
	// Step runs an action.
	Step struct {
		Call    *Call
		For     *expr.Expr // duration or nil
		Pick    *expr.Expr // number or ratio, nil
		PickAll bool
		As      string
		Because string
		Span    diag.Span
		Text    string
	}
	// WaitFor is `wait d`.
	WaitFor struct {
		Duration *expr.Expr
		Because  string
		Span     diag.Span
		Text     string
	}
	// WaitUntil is `wait until E within d`.
	WaitUntil struct {
		Cond    *expr.Expr
		Within  *expr.Expr
		For     *expr.Expr
		Because string
		Span    diag.Span
		Text    string
	}
	// Repeat runs its body N times, or once for each item of In, bound to Name.
	Repeat struct {
		Times *expr.Expr // number; nil with In
		In    *expr.Expr
		Name  string // "" without In
		Body  []Stmt
		Span  diag.Span
	}
	// When runs one of two bodies.
	When struct {
		Cond *expr.Expr
		Then []Stmt
		Else []Stmt // an `else when` is one When
		Span diag.Span
	}
	// Parallel runs each of its statements as a branch.
	Parallel struct {
		Branches []Stmt
		Span     diag.Span
	}
	// Do is a scope, a branch, a heading.
	Do struct {
		Title string
		Body  []Stmt
		Span  diag.Span
	}
	// Composite runs the steps of an action that the script or a module defines. It opens no scope: its faults last as
	// long as those of a step in its place. With For it holds them all and then undoes them.
	Composite struct {
		Name    string
		Args    []*LetStmt // evaluated where the call stands; the body sees them, and none of the caller's names
		Body    []Stmt
		For     *expr.Expr // duration or nil
		Because string
		Span    diag.Span
		Text    string
	}
	// LetStmt binds a value when it is reached.
	LetStmt struct {
		Name  string
		Value *expr.Expr
		Span  diag.Span
	}
	// Precondition is an `expect` in setup.
	Precondition struct{ Check *Check }
)

func (s *Step) At() diag.Span         { return s.Span }
func (s *WaitFor) At() diag.Span      { return s.Span }
func (s *WaitUntil) At() diag.Span    { return s.Span }
func (s *Repeat) At() diag.Span       { return s.Span }
func (s *When) At() diag.Span         { return s.Span }
func (s *Parallel) At() diag.Span     { return s.Span }
func (s *Do) At() diag.Span           { return s.Span }
func (s *Composite) At() diag.Span    { return s.Span }
func (s *LetStmt) At() diag.Span      { return s.Span }
func (s *Precondition) At() diag.Span { return s.Check.Span }
