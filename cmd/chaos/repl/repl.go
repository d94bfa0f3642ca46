package repl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/doc"
	"chaos/lang/syntax"
	"chaos/lang/token"
	"chaos/lang/value"
	"chaos/runtime"
	"chaos/runtime/event"
)

// Config is what a session needs from the command.
type Config struct {
	Options   runtime.Options // without script, parameters and sinks
	Check     check.Options
	Reference func() *doc.Reference
	Given     check.Given // parameters and secrets from outside
	Load      string      // a script to begin with
	Lines     Lines
	Terminal  bool // somebody sits there: questions are asked
	Colour    bool
	Width     func() int // of the terminal, which may be resized
}

// REPL is one session at the prompt.
type REPL struct {
	cfg     Config
	session *runtime.Session
	book    *book
	state   *checked
	view    *view
	count   int // of inputs
	game    *game
	latest  string // value that was printed, as a literal
	shown   bool   // the plan of the step that runs was shown and confirmed

	busy    sync.Mutex // held while an input runs; not while it asks
	left    bool
	mu      sync.Mutex
	cancel  context.CancelCauseFunc // ends what runs
	leaving sync.Once
	code    int
	broken  bool // an input of a piped session failed
}

// ExitUsage is the code of a session that was refused, or whose piped input is wrong.
const ExitUsage = 2

// New makes a session. Nothing is started yet.
func New(cfg Config) *REPL {
	r := &REPL{cfg: cfg}
	r.view = &view{w: cfg.Lines.Out(), colour: cfg.Colour, columns: cfg.Width, steps: map[int]event.StepStarted{}}
	o := cfg.Options
	o.Sinks = append(o.Sinks, r.view)
	r.session = runtime.NewSession(o, 0)
	r.book = newBook(cfg.Options.Registries, cfg.Check, o.Dir+string(os.PathSeparator)+"session", r.session.Undone)
	r.view.hide = r.session.Redact
	r.state = r.book.check()
	cfg.Lines.Completer(func(before string) ([]string, int) { return r.complete(before) })
	return r
}

const (
	prompt    = "chaos> "
	continued = "  ...> "
)

// Run reads and runs inputs until there are no more, then undoes everything. The code is 0, or 6 when something is left.
func (r *REPL) Run() int {
	if r.cfg.Terminal {
		r.view.say("dim", "", joined("chaos "+r.cfg.Options.Version, ":help", "Tab completes", "Ctrl-D undoes everything and leaves"))
	}
	if r.cfg.Load != "" && !r.loadFile(r.cfg.Load, "") {
		r.Leave(false)
		return ExitUsage
	}
	var buffer []string
	for {
		p := prompt
		if len(buffer) > 0 {
			p = continued
		}
		line, err := r.cfg.Lines.Read(p)
		switch {
		case errors.Is(err, ErrInterrupted):
			buffer = nil
			continue
		case err != nil:
			if len(buffer) > 0 && !r.cfg.Terminal { // the end of a piped script says what is open
				_, ok := r.Input(strings.Join(buffer, "\n"))
				r.broken = !ok
			}
			return r.Leave(false)
		}
		if len(buffer) == 0 && strings.TrimSpace(line) == "" {
			continue
		}
		buffer = append(buffer, line)
		text := strings.Join(buffer, "\n")
		if strings.TrimSpace(line) != "" && goesOn(text) {
			continue
		}
		buffer = nil
		quit, ok := r.Input(text)
		if r.session.Redact(text) == text { // behind the input: it may have told what is secret
			r.cfg.Lines.Remember(text)
		}
		if quit {
			return r.Leave(false)
		}
		if !ok && !r.cfg.Terminal { // a script stops at its first mistake
			r.broken = true
			return r.Leave(false)
		}
	}
}

// Interrupt is Ctrl-C while something runs: that ends and is undone, the session goes on.
func (r *REPL) Interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		r.cancel(errInterrupted)
	}
}

var errInterrupted = errors.New("interrupted")

// Leave undoes everything, newest first. With hurry nothing else is waited for. Only the first call does it.
func (r *REPL) Leave(hurry bool) int {
	if hurry {
		r.Interrupt() // what runs, and a leaving that takes its time
	}
	r.leaving.Do(func() {
		r.busy.Lock()
		defer r.busy.Unlock()
		r.left = true
		if err := r.session.Record(r.session.Redact(r.script())); err != nil {
			r.view.note("the session's script is not kept: " + err.Error())
		}
		ctx, done := r.start()
		exit, left := r.session.Close(ctx, hurry)
		done()
		switch {
		case len(left) > 0:
			r.code = 6
			r.view.left(left)
		case !r.cfg.Terminal && r.broken:
			r.code = runtime.Worse(exit, ExitUsage)
		case !r.cfg.Terminal:
			r.code = exit
		}
		for name := range r.cfg.Given.Flags { // one of a script is refused before it starts; here it could still come
			if !slices.ContainsFunc(r.state.script.AllParams(), func(p *check.Param) bool { return p.Name == name }) {
				r.view.note(fmt.Sprintf("`--param %s` meant nothing: no parameter has that name", name))
			}
		}
		if dir := r.session.Dir(); dir != "" {
			r.view.say("dim", "", "kept: "+filepath.Join(dir, event.JournalName))
		}
	})
	return r.code
}

// start makes the context of what runs, which Interrupt ends.
func (r *REPL) start() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	r.mu.Lock()
	r.cancel = cancel
	r.mu.Unlock()
	return ctx, func() {
		r.mu.Lock()
		r.cancel = nil
		r.mu.Unlock()
		cancel(nil)
	}
}

// Input runs one input: a command, or statements and expressions. ok is false when it failed.
func (r *REPL) Input(text string) (quit, ok bool) {
	r.busy.Lock()
	defer r.busy.Unlock()
	if r.left {
		return true, false
	}
	ctx, done := r.start()
	defer done()
	if command := r.meant(strings.TrimSpace(text)); strings.HasPrefix(command, ":") {
		return r.command(ctx, command)
	} else if command != "" {
		r.view.say("bad", "✗ ", fmt.Sprintf("commands start with `:`: write `:%s`", command))
		return false, false
	}
	r.count++
	src := diag.NewSource(fmt.Sprintf("input %d", r.count), r.recall(text))
	chunks := split(src)
	if len(chunks) == 0 { // a comment, perhaps one of another language
		_, ds := syntax.Parse(src)
		ds = slices.DeleteFunc(ds, func(d diag.Diagnostic) bool { return d.Code == diag.EmptyFile })
		return false, !r.show(ds, src)
	}
	for _, c := range chunks {
		if !r.one(ctx, c) {
			return false, false
		}
	}
	return false, true
}

// ask reads an answer; "" when there is none, or when the session was left meanwhile.
func (r *REPL) ask(question string) string {
	r.busy.Unlock()
	answer, err := r.cfg.Lines.Read(question)
	r.busy.Lock()
	if err != nil || r.left {
		return ""
	}
	return strings.ToLower(strings.TrimSpace(answer))
}

// one runs a chunk.
func (r *REPL) one(ctx context.Context, c chunk) bool {
	if c.tokens[0].Is("watch") && !r.known("watch") {
		switch {
		case len(c.tokens) == 1:
			r.view.say("bad", "✗ ", "watch what? Write `watch` and an expression, or a call of a probe")
			return false
		case isOperand(c.tokens[1]):
			return r.watch(ctx, c)
		}
	}
	switch c.classify(r.cfg.Options.Registries, r.callable) {
	case kDeclaration:
		return r.declare(c)
	case kCheck:
		return r.claim(ctx, c)
	case kSection:
		return r.section(ctx, c)
	case kStatement:
		return r.do(ctx, c, inject)
	case kCall:
		return r.call(ctx, c)
	case kExperiment:
		return r.loadSource(c.src, c.from, c.to, "")
	}
	return r.expression(ctx, c)
}

// callable tells whether a name is a definition of the script, or a module.
func (r *REPL) callable(name string) bool { return r.defines(name) != nil }

func stripComments(s string) string {
	for strings.HasPrefix(strings.TrimSpace(s), "//") {
		_, s, _ = strings.Cut(s, "\n")
	}
	return s
}

// show prints diagnostics; it tells whether any is an error.
func (r *REPL) show(list diag.List, sources ...*diag.Source) bool {
	if len(list) == 0 {
		return false
	}
	lookup := func(file string) *diag.Source {
		for _, s := range sources {
			if s.File == file {
				return s
			}
		}
		return nil
	}
	var style diag.Style
	if r.cfg.Colour {
		style = diag.ANSI
	}
	var b strings.Builder
	diag.Render(&b, list, lookup, style)
	io.WriteString(r.view.w, b.String())
	return list.HasErrors()
}

// fails prints why an input failed.
func (r *REPL) fails(ctx context.Context, err error) bool {
	var unfit *runtime.UnfitError
	switch {
	case errors.Is(context.Cause(ctx), errInterrupted):
		r.view.say("warn", "■ ", "cancelled")
	case errors.As(err, &unfit):
		r.show(unfit.Problems)
	case runtime.Aborted(err):
	case err != nil:
		r.view.say("bad", "✗ ", err.Error())
	}
	return false
}

// bind gives the parameters and secrets of a checked book their values.
func (r *REPL) bind(c *checked) (*check.Bound, bool) {
	given, sources := r.cfg.Given, c.sources
	given.Flags = map[string]string{}
	params := c.script.AllParams()
	declared := func(name string) bool {
		return slices.ContainsFunc(params, func(p *check.Param) bool { return p.Name == name })
	}
	for name, v := range r.cfg.Given.Flags { // the others may be declared later
		if declared(name) {
			given.Flags[name] = v
		}
	}
	if given.File != nil {
		file := *given.File
		file.Ignore = func(name string) bool { return !declared(name) }
		given.File, sources = &file, append(slices.Clone(sources), file.Shown(params))
	}
	bound, ds := check.Bind(c.script, params, given)
	for i := range ds {
		ds[i] = c.mapped(ds[i])
	}
	return &bound, !r.show(ds, sources...)
}

// use lets the session see a checked book, for one input.
func (r *REPL) use(c *checked) bool {
	bound, ok := r.bind(c)
	if ok {
		r.session.Use(c.def, bound)
	}
	return ok
}

// adopt makes a checked book the session's.
func (r *REPL) adopt(b *book, c *checked) bool {
	if !r.use(c) {
		return false
	}
	r.book, r.state = b, c
	return true
}

// script is the session as a script, "" while there is nothing in it.
func (r *REPL) script() string {
	text, _ := r.book.script()
	return text
}

// value prints a value, a struct as a table and anything else on a line, and keeps it for `_`.
func (r *REPL) value(v value.Value) {
	r.view.value(v)
	if r.latest = ""; !v.IsMissing() && slices.Contains(value.ParamKinds, v.T.Kind) {
		r.latest = v.String()
	}
}

// recall writes the latest value for each `_`, as a literal: so a script that is saved does not know of it.
func (r *REPL) recall(text string) string {
	if r.latest == "" || !strings.Contains(text, "_") {
		return text
	}
	list := token.Scan(diag.NewSource("input", text)).Tokens
	for i, t := range slices.Backward(list) {
		if t.Kind == token.Name && t.Text == "_" && !(i > 0 && list[i-1].Is(".")) {
			text = text[:t.Off] + r.latest + text[t.Stop():]
		}
	}
	return text
}
