package diag

import (
	"maps"
	"slices"
)

// Code is the stable name of a kind of message. A code keeps its meaning for ever; the words may change.
type Code string

const (
	// E0xx: the file.
	BadFile   Code = "E001" // cannot be read, is a directory, is too large
	NotUTF8   Code = "E002"
	EmptyFile Code = "E003"
	TooDeep   Code = "E004" // more brackets in each other, lets behind each other, or words than a script may have
	Misformat Code = "E006" // the formatter would have changed the meaning

	// E1xx: the letters and the grammar.
	BadCharacter    Code = "E101"
	BadString       Code = "E102" // unterminated, or a bad escape
	BadNumber       Code = "E103" // an unknown unit, `10%3`
	Unclosed        Code = "E104" // a bracket without its partner, reported at the opening one
	Unexpected      Code = "E105" // a token that cannot stand here
	UnknownBlock    Code = "E106" // a misspelt block or statement
	BadExpression   Code = "E107"
	ReservedName    Code = "E108"
	BadAssign       Code = "E109" // `=` for `==` or `:`
	InterpolatedLit Code = "E110" // `${` where none is allowed

	// E2xx: names.
	UnknownName     Code = "E201"
	UnknownCall     Code = "E202" // no such action or probe
	UnknownArgument Code = "E203"
	UnknownField    Code = "E204"
	UnknownAttr     Code = "E205"
	Duplicate       Code = "E206"
	UnknownFunction Code = "E207"
	Cycle           Code = "E208" // definitions or files that need each other
	UnknownModule   Code = "E209" // `use` of what is not there

	// E3xx: types and units.
	WrongType       Code = "E301"
	WrongUnit       Code = "E302"
	MissingArgument Code = "E303"
	TooManyArgs     Code = "E304"
	BadChoice       Code = "E305" // none of the allowed values
	ExactlyOne      Code = "E306" // a group of arguments of which exactly one must be given
	NilCompare      Code = "E307"
	BadParam        Code = "E308" // an unset parameter, or `--param` naming none

	// E4xx: places.
	WrongPlace    Code = "E401" // a statement in a section where it cannot stand
	WrongClause   Code = "E402"
	MissingClause Code = "E403"
	NotAnAction   Code = "E404" // a probe as a step
	NotAProbe     Code = "E405" // an action as a probe
	TooEarly      Code = "E406" // `during.` before there is a during
	NeedsSteady   Code = "E407" // an irreversible action without a steady state to recover to
	NeverRun      Code = "E408" // `for` on an irreversible step, a wait that cannot be met
	SecretShown   Code = "E409" // a secret where it would be shown

	// E5xx: the machine.
	Unfit    Code = "E501" // a step that this machine cannot run: a missing tool, privilege or target
	NoSecret Code = "E502" // a secret that is not set, or cannot be hidden

	// W1xx: what is right and yet looks wrong. Each has a name, by which `// lint:ignore NAME reason` silences it.
	NoSteady     Code = "W101"
	NoAbort      Code = "W102"
	NoRollback   Code = "W103"
	UnusedProbe  Code = "W104"
	UnusedParam  Code = "W105"
	Unbounded    Code = "W106" // a fault that ends as it begins, an inject that outlasts its deadline
	AlwaysTrue   Code = "W107"
	ShortWindow  Code = "W108"
	JudgedLate   Code = "W109" // an `expect` on a sample that was taken when the faults were undone
	BlockOrder   Code = "W110"
	NoInject     Code = "W111"
	UnusedLet    Code = "W112"
	IgnoresWrong Code = "W113" // a `lint:ignore` that is none
	UnusedAction Code = "W114"
	UnusedUse    Code = "W115"
)

// lints are the names of the warnings.
var lints = map[Code]string{
	NoSteady: "no-steady", NoAbort: "no-abort", NoRollback: "missing-rollback", UnusedProbe: "unused-probe", UnusedParam: "unused-param",
	Unbounded: "unbounded", AlwaysTrue: "always-true", ShortWindow: "short-window", JudgedLate: "judged-after-recovery",
	BlockOrder: "block-order", NoInject: "no-inject", UnusedLet: "unused-let", IgnoresWrong: "lint-ignore", UnusedAction: "unused-action", UnusedUse: "unused-use",
}

// Lint is the name of a warning, "" for an error.
func (c Code) Lint() string { return lints[c] }

// LintNames are the names of all warnings, in the order of their codes.
func LintNames() []string {
	codes := slices.Sorted(maps.Keys(lints))
	out := make([]string, len(codes))
	for i, c := range codes {
		out[i] = lints[c]
	}
	return out
}
