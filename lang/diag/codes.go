package diag

// Code is the stable name of a kind of message. A code keeps its meaning for ever; the words may change.
type Code string

const (
	// E0xx: the file.
	BadFile     Code = "E001" // cannot be read, is a directory, is too large
	NotUTF8     Code = "E002"
	EmptyFile   Code = "E003"
	TooDeep     Code = "E004" // brackets nested too deeply
	Unsupported Code = "E005" // part of the language that this version does not run

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
	Cycle           Code = "E208" // definitions that need each other

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

	// E5xx: the machine.
	Unfit Code = "E501" // a step that this machine cannot run: a missing tool, privilege or target
)
