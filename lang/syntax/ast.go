// Package syntax turns the text of a script into its syntax tree. It knows the grammar and how people get it wrong; it
// knows no name, no type, no action and no probe: those are the checker's.
package syntax

import (
	"strings"

	"github.com/alecthomas/participle/v2/lexer"

	"chaos/lang/diag"
)

// Node is the part that all nodes share: where they stand.
type Node struct {
	Tokens []lexer.Token // of the node while it is parsed; nil in a finished tree
	Span   diag.Span
}

func (n *Node) node() *Node { return n }

// At is where the node stands.
func (n *Node) At() diag.Span { return n.Span }

// Stmt is whatever can stand between two statement ends: an item of the file, a member of an experiment, or a statement
// of a section. The grammar lets every one stand everywhere, so that the checker can say why it may not.
type Stmt interface {
	At() diag.Span
	node() *Node
}

// File is a parsed file.
type File struct {
	Node
	Source *diag.Source
	Items  []Stmt `parser:"( @@ End )*"`

	// Assumed are the names that statements which could not be parsed would have declared.
	Assumed map[string]bool
	// Incomplete tells that something could not be parsed, so that what is absent may only be misspelt.
	Incomplete bool
}

// Use imports a file or a module of the standard library.
type Use struct {
	Node
	Path Str   `parser:"'use' @@"`
	As   *Name `parser:"( 'as' @@ )?"`
}

// Param is a parameter of a file or an experiment.
type Param struct {
	Node
	Help    string
	Name    Name     `parser:"'param' @@"`
	Type    *Word    `parser:"( ':' @@ )?"`
	Default *Default `parser:"( '=' @@ )?"`
	In      *Expr    `parser:"( 'in' @@ )?"`
}

// Let binds a name to an expression.
type Let struct {
	Node
	Help  string
	Name  Name `parser:"'let' @@ '='"`
	Value Expr `parser:"@@"`
}

// Formals are the parameters of a definition.
type Formals struct {
	Node
	List []*Formal `parser:"'(' ( @@ ( (?! ',' ')' ) ',' @@ )* ','? )? ')'"`
}

// Formal is one parameter of a definition.
type Formal struct {
	Node
	Name    Name  `parser:"@@"`
	Type    *Word `parser:"( ':' @@ )?"`
	Default *Expr `parser:"( '=' @@ )?"`
}

// Probe names a call that is sampled; with Formals it is a definition.
type Probe struct {
	Node
	Help    string
	Name    Name      `parser:"'probe' @@"`
	Formals *Formals  `parser:"( @@ )?"`
	Call    Call      `parser:"'=' @@"`
	Clauses []*Clause `parser:"@@*"`
}

// Action defines a composite action.
type Action struct {
	Node
	Help    string
	Name    Name    `parser:"'action' @@"`
	Formals Formals `parser:"@@"`
	Body    Block   `parser:"@@"`
}

// Abort is a guard.
type Abort struct {
	Node
	Cond    Expr      `parser:"'abort' 'when' @@"`
	Clauses []*Clause `parser:"@@*"`
}

// Experiment is one experiment.
type Experiment struct {
	Node
	Help  string
	Title Str   `parser:"'experiment' @@"`
	Body  Block `parser:"@@"`
}

// Attr is a setting of the block that it stands in.
type Attr struct {
	Node
	Name  Name `parser:"(?= Name ':' ) @@ ':'"`
	Value Expr `parser:"@@"`
}

// Section is one of the five blocks of the method.
type Section struct {
	Node
	Kind  string `parser:"@( 'setup' | 'steady' | 'hypothesis' | 'inject' | 'rollback' )"`
	Title *Str   `parser:"( @@ )?"`
	Body  Block  `parser:"@@"`
}

// Block is what stands between braces.
type Block struct {
	Node
	Stmts []Stmt `parser:"'{' ( @@ End )* '}'"`
}

// Check is a claim: expect, always, never or eventually.
type Check struct {
	Node
	Kind    string    `parser:"@( 'expect' | 'always' | 'never' | 'eventually' )"`
	Cond    Expr      `parser:"@@"`
	Clauses []*Clause `parser:"@@*"`
}

// Wait waits for a time or, with Until, for a condition.
type Wait struct {
	Node
	Until   *Expr     `parser:"'wait' ( 'until' @@"`
	For     *Expr     `parser:"       | @@ )"`
	Clauses []*Clause `parser:"@@*"`
}

// Repeat runs its body a number of times, or once for each item of In.
type Repeat struct {
	Node
	Name  *Name `parser:"'repeat' ( (?= Name 'in' ) @@ 'in'"`
	In    *Expr `parser:"           @@"`
	Times *Expr `parser:"         | @@ )"`
	Body  Block `parser:"@@"`
}

// When runs one of two bodies.
type When struct {
	Node
	Cond     Expr   `parser:"'when' @@"`
	Then     Block  `parser:"@@"`
	ElseWhen *When  `parser:"( 'else' ( @@"`
	Else     *Block `parser:"         | @@ ) )?"`
}

// Parallel runs each of its statements as a branch.
type Parallel struct {
	Node
	Body Block `parser:"'parallel' @@"`
}

// Do is several steps as one.
type Do struct {
	Node
	Title *Str  `parser:"'do' ( @@ )?"`
	Body  Block `parser:"@@"`
}

// Step runs an action.
type Step struct {
	Node
	Call    Call      `parser:"@@"`
	Clauses []*Clause `parser:"@@*"`
}

// Call names an action or a probe and gives its arguments.
type Call struct {
	Node
	First Name    `parser:"@@"`
	Rest  []*Word `parser:"( '.' @@ )*"`
	Args  []*Arg  `parser:"'(' ( @@ ( (?! ',' ')' ) ',' @@ )* ','? )? ')'"`
}

// Name is the dotted name of what is called.
func (c *Call) Name() string {
	parts := []string{c.First.Text}
	for _, w := range c.Rest {
		parts = append(parts, w.Text)
	}
	return strings.Join(parts, ".")
}

// NameSpan is where the dotted name stands.
func (c *Call) NameSpan() diag.Span {
	at := c.First.Span
	if n := len(c.Rest); n > 0 {
		at = at.To(c.Rest[n-1].Span)
	}
	return at
}

// Arg is one argument; Name is nil for a positional one.
type Arg struct {
	Node
	Name  *Word `parser:"( (?= ( Name | Word ) ':' ) @@ ':' )?"`
	Value Expr  `parser:"@@"`
}

// Clause trails a statement. Name is set for `as`, Value for all others.
type Clause struct {
	Node
	Word  string `parser:"( @( 'for' | 'within' | 'every' | 'tolerate' | 'because' | 'pick' )"`
	Value *Expr  `parser:"  @@"`
	As    string `parser:"| @'as'"`
	Name  *Name  `parser:"  @@ )"`
}

// Kind is the word that the clause starts with.
func (c *Clause) Kind() string { return c.Word + c.As }

// Name is a name that is no reserved word.
type Name struct {
	Node
	Text string `parser:"@Name"`
}

// Word is a word where every word is legal: behind a dot, and before the colon of an argument.
type Word struct {
	Node
	Text string `parser:"@( Name | Word )"`
}

// Str is a string that is a part of the grammar: a title or a path.
type Str struct {
	Node
	Raw   string `parser:"@String"`
	Value string // without quotes and escapes
}

// Expr is an expression: where it stands. Package expr parses what stands there.
type Expr struct {
	Node
	Bad bool // holds a token that is none, which was reported
}

// Default is an expression that ends before `in`, as in `param mode = "slow" in ["slow", "fast"]`.
type Default struct{ Expr }

// Text is what stands at a span, on one line: white space outside of strings is one blank, comments are left out.
func (f *File) Text(at diag.Span) string { return OneLine(f.Source, at) }
