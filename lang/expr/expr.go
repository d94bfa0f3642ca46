package expr

import (
	"chaos/lang/diag"
	"chaos/lang/value"
)

// Expr is one expression. Parse makes it, Check types it, then Eval may be called, concurrently too.
type Expr struct {
	src *diag.Source
	at  diag.Span
}

// Parse parses what stands in a span. Diagnostics are the only errors; the Expr is never nil.
func Parse(src *diag.Source, at diag.Span) (*Expr, []diag.Diagnostic) { panic("to do") }

// Check resolves names and types in a scope. want, when not nil, is the type that the place asks for. After errors, Type
// is still the best guess, so that one mistake gives one message.
func (e *Expr) Check(s *Scope, want *value.Type) []diag.Diagnostic { panic("to do") }

// Span is where the expression stands.
func (e *Expr) Span() diag.Span { return e.at }

// Text is the expression as written, on one line.
func (e *Expr) Text() string { panic("to do") }

// Type is the type found by Check.
func (e *Expr) Type() *value.Type { panic("to do") }

// Operands are what the expression reads, in order of appearance, each once, those of its lets included.
func (e *Expr) Operands() []Operand { panic("to do") }

// Const is the value of an expression without operands.
func (e *Expr) Const() (value.Value, bool) { panic("to do") }

// Eval evaluates. It never fails: an error at run time, a NaN, a missing operand that matters is no data.
func (e *Expr) Eval(env Env) value.Value { panic("to do") }
