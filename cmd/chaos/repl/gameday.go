package repl

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/syntax"
)

// game is a script that was loaded, to be run by hand.
type game struct {
	title    string
	steadied bool
	stage    int // of the stages that `:step` goes through
}

// stages of a game day that `:step` goes through; the steps of `inject` and `rollback` are confirmed one by one.
var stages = []where{setup, steady, inject, rollback}

// load takes in a script.
func (r *REPL) load(_ context.Context, arg string) bool {
	file, title, _ := strings.Cut(arg, " ")
	if quoted, is := strings.CutPrefix(arg, `"`); is { // a name with spaces
		file, title, _ = strings.Cut(quoted, `"`)
	}
	if file == "" {
		r.view.say("bad", "✗ ", "which file? `:load game-day.chaos`")
		return false
	}
	return r.loadFile(file, strings.Trim(strings.TrimSpace(title), `"`))
}

// loadFile takes in the experiment of a title, "" for the only one.
func (r *REPL) loadFile(file, title string) bool {
	path := r.path(file)
	if strings.HasPrefix(file, "~/") {
		file = path
	}
	src, ds := syntax.Load(file) // as it was typed: that is the name in messages
	if src == nil {
		r.show(ds)
		return false
	}
	src = diag.NewSource(file, src.Text)
	dir := filepath.Dir(path)
	if dir != r.cfg.Options.Dir && !r.session.SetFolder(dir) {
		r.view.say("bad", "✗ ", "a script of another folder must be loaded before anything runs: its paths start there")
		return false
	}
	r.book.path = filepath.Join(dir, "session")
	return r.loadSource(src, 0, len(src.Text), title)
}

// loadSource puts the pieces of a script into the book; nothing of it runs.
func (r *REPL) loadSource(src *diag.Source, from, to int, title string) bool {
	part := chunk{src: src, from: from, to: to}
	file, ds := part.syntaxOf()
	if r.show(ds, src) {
		return false
	}
	if r.game != nil || len(r.book.pieces) > 0 && len(r.book.in(inject)) > 0 {
		r.view.say("bad", "✗ ", "this session has steps of its own already: load the script into a fresh one")
		return false
	}
	b := *r.book
	b.titles = map[where]string{}
	b.pieces = slices.Clone(b.pieces)
	put := func(st syntax.Stmt, w where, name string) {
		p := &piece{src: src, from: withComment(src.Text, st.At().Start.Offset), to: st.At().End.Offset, where: w, name: name}
		statement(p, st)
		b.pieces = append(b.pieces, p)
	}
	var titles []string
	var chosen *syntax.Experiment
	for _, item := range file.Items {
		switch s := item.(type) {
		case *syntax.Experiment:
			titles = append(titles, s.Title.Value)
			if chosen == nil && (title == "" || title == s.Title.Value) {
				chosen = s
			}
		case *syntax.Use:
			put(s, inFile, moduleName(s))
		case *syntax.Param:
			put(s, inFile, s.Name.Text)
		case *syntax.Let:
			put(s, inFile, s.Name.Text)
		case *syntax.Probe:
			put(s, inFile, s.Name.Text)
		case *syntax.Action:
			put(s, inFile, s.Name.Text)
		default:
			put(s, inFile, "")
		}
	}
	if chosen == nil || title == "" && len(titles) > 1 {
		r.view.say("bad", "✗ ", fmt.Sprintf("which experiment? `:load %s TITLE`: %s", src.File, strings.Join(titles, ", ")))
		return false
	}
	b.title = chosen.Title.Raw
	for _, m := range chosen.Body.Stmts {
		switch s := m.(type) {
		case *syntax.Section:
			w := where(s.Kind)
			b.titles[w] = ""
			if s.Title != nil {
				b.titles[w] = s.Title.Raw
			}
			for _, st := range s.Body.Stmts {
				put(st, w, "")
			}
		case *syntax.Let:
			put(s, inMember, s.Name.Text)
		case *syntax.Probe:
			put(s, inMember, s.Name.Text)
		case *syntax.Param:
			put(s, inMember, s.Name.Text)
		case *syntax.Attr:
			put(s, inMember, s.Name.Text+":")
		default:
			put(s, inMember, "")
		}
	}
	c := b.check()
	if r.show(c.diags, c.sources...) || !r.adopt(&b, c) {
		return false
	}
	r.game = &game{title: chosen.Title.Value}
	var parts []string
	for _, w := range stages {
		if n := len(b.in(w)); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", w, n))
		}
	}
	r.view.say("head", "▸ ", joined(chosen.Title.Value, strings.Join(parts, ", ")))
	r.view.say("dim", "  ", "`:step` goes on step by step; `:run SECTION` runs a whole section")
	return true
}

// runSection runs what is left of a section.
func (r *REPL) runSection(ctx context.Context, arg string) bool {
	w := where(arg)
	if arg == "" {
		r.view.say("bad", "✗ ", "which section? `:run setup`, `:run steady`, `:run inject` or `:run rollback`")
		return false
	}
	if !slices.Contains(stages, w) {
		r.view.say("bad", "✗ ", fmt.Sprintf("there is no section `%s` to run: setup, steady, inject or rollback", arg))
		return false
	}
	if w == steady {
		return r.lookSteady(ctx)
	}
	list := r.book.pending(w)
	if len(list) == 0 {
		r.view.say("dim", "", fmt.Sprintf("nothing is left to run in `%s`", w))
		return true
	}
	if w == inject && !r.readyToInject(ctx) {
		return false
	}
	if w == rollback {
		r.undo(ctx, "all") // as in a run: rollback repairs what the undo left
	}
	for _, p := range list {
		if !r.next(ctx, p) {
			return false
		}
	}
	if w == inject {
		r.standings()
	}
	return true
}

// withComment is where the comment begins that stands directly above a statement.
func withComment(text string, off int) int {
	start := off
	for at := strings.LastIndexByte(text[:off], '\n') + 1; at > 0; {
		above := strings.LastIndexByte(text[:at-1], '\n') + 1
		if !strings.HasPrefix(strings.TrimSpace(text[above:at]), "//") {
			break
		}
		start, at = above, above
	}
	return start
}

func (r *REPL) lookSteady(ctx context.Context) bool {
	if !r.afterSetup() {
		return false
	}
	what, err := r.session.Steady(ctx)
	if err != nil {
		return r.fails(ctx, err)
	}
	if r.game != nil {
		r.game.steadied = what == ""
	}
	return what == ""
}

// afterSetup tells whether setup has run, and says so if it has not.
func (r *REPL) afterSetup() bool {
	if len(r.book.pending(setup)) > 0 {
		r.view.say("bad", "✗ ", "setup has not run: `:run setup`")
		return false
	}
	return true
}

// readyToInject looks first whether the system is steady, as a run does, unless that was done.
func (r *REPL) readyToInject(ctx context.Context) bool {
	if !r.afterSetup() {
		return false
	}
	if r.session.Injected() || r.game == nil || r.game.steadied || len(r.book.in(steady)) == 0 {
		return true
	}
	return r.lookSteady(ctx)
}

// next runs a piece of the book where it stands.
func (r *REPL) next(ctx context.Context, p *piece) bool {
	if !r.shown {
		r.view.say("bold", "» ", p.line())
	}
	list := r.state.of(p)
	if len(list) == 0 { // a guard among the steps
		p.done = true
		return true
	}
	return r.perform(ctx, p, r.book, r.state)
}

// line is a piece on one line, without its comments.
func (p *piece) line() string {
	if text, ok := oneEntry(stripComments(p.text())); ok {
		return text
	}
	return syntax.OneLine(p.src, p.src.Span(p.from, p.to))
}

// step shows the next step of what was loaded, runs it when it is confirmed, and tells how the hypothesis stands.
func (r *REPL) step(ctx context.Context, _ string) bool {
	if r.game == nil {
		r.view.say("bad", "✗ ", "nothing is loaded: `:load FILE`")
		return false
	}
	for ; r.game.stage < len(stages); r.game.stage++ {
		w := stages[r.game.stage]
		if w == steady {
			if r.game.steadied || len(r.book.in(steady)) == 0 {
				continue
			}
			return r.lookSteady(ctx)
		}
		list := r.book.pending(w)
		if len(list) == 0 {
			continue
		}
		if w == rollback && len(r.session.Faults()) > 0 {
			r.undo(ctx, "all")
		}
		return r.confirmed(ctx, w, list[0], len(list))
	}
	r.view.say("dim", "", "every step has run; `:judge` undoes everything and decides")
	return true
}

func (r *REPL) confirmed(ctx context.Context, w where, p *piece, left int) bool {
	r.view.say("head", "▸ ", fmt.Sprintf("%s, %d to go", w, left))
	r.view.say("", "  ", p.line())
	for _, plan := range r.session.Plan(ctx, r.state.of(p)) {
		r.planned(plan)
	}
	if r.cfg.Terminal {
		switch answer := r.ask("run it? [y]es [s]kip [N]o "); {
		case slices.Contains(yes, answer):
		case answer == "s" || answer == "skip":
			r.skip(p)
			return true
		default:
			r.view.say("dim", "", "not run")
			return true
		}
	}
	r.shown = true
	ok := r.next(ctx, p)
	r.shown = false
	if ok && w == inject {
		r.standings()
	}
	return ok
}

// skip leaves a step out, if the rest does without it.
func (r *REPL) skip(p *piece) {
	b := *r.book
	b.pieces = slices.DeleteFunc(slices.Clone(b.pieces), func(q *piece) bool { return q == p })
	c := b.check()
	if r.show(c.diags, c.sources...) {
		return
	}
	if r.adopt(&b, c) {
		r.view.say("dim", "", "skipped: it is left out of the session's script too")
	}
}

// standings tells how each check of the hypothesis stands.
func (r *REPL) standings() {
	marks := map[string][2]string{"held": {"good", "✓ "}, "refuted": {"bad", "✗ "}, "inconclusive": {"warn", "? "}}
	for _, s := range r.session.Standings() {
		m := marks[s.Result]
		r.view.say(m[0], m[1], joined(s.Text, s.Detail))
	}
}
