package repl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/doc"
	"chaos/lang/format"
	"chaos/lang/syntax"
	"chaos/runtime"
)

// command is one of the words behind `:`.
type command struct {
	name, args, help string
	run              func(r *REPL, ctx context.Context, arg string) bool
}

// commands is filled by init: help, which the table names, reads the table.
var commands []command

func init() {
	commands = []command{
		{"doc", "[NAME]", "look up an action, a probe, a function, or everything", (*REPL).doc},
		{"plan", "STATEMENT", "what a step would do, without doing it", (*REPL).plan},
		{"faults", "", "what is in place, with lifetime and time left", (*REPL).faults},
		{"undo", "[N|all]", "undo the newest fault, the one with a number, or all", (*REPL).undo},
		{"judge", "", "undo everything and decide the hypothesis", (*REPL).judge},
		{"script", "", "the session so far, as a script", (*REPL).print},
		{"save", "FILE", "write the session as a script; `:save! FILE` over one that is there", (*REPL).save},
		{"save!", "FILE", "", (*REPL).saveOver},
		{"load", "FILE [TITLE]", "take in a script, to be run section by section", (*REPL).load},
		{"run", "SECTION", "run setup, steady, inject or rollback of what was loaded", (*REPL).runSection},
		{"step", "", "show the next step of what was loaded, confirm it, judge it", (*REPL).step},
		{"help", "", "this list", (*REPL).help},
		{"quit", "", "undo everything and leave, as Ctrl-D does", nil},
	}
}

// meant is the command that an input is, with its colon, or is meant to be, without; "" for a statement or an expression.
func (r *REPL) meant(text string) string {
	if strings.HasPrefix(text, ":") {
		return text
	}
	first, rest, _ := strings.Cut(text, " ")
	word := strings.TrimSuffix(strings.TrimPrefix(first, `\`), "()")
	switch {
	case r.known(word):
	case rest == "" && slices.Contains([]string{"help", "quit", "exit", "?"}, word), first == `\q`: // what everybody tries first
		return ":" + strings.Replace(word, "?", "help", 1)
	case word == "help":
		return "doc " + rest
	case slices.ContainsFunc(commands, func(c command) bool { return c.name == word }):
		// `undo = 3` and `plan.x` are something else
		if next, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " "); next == "" || !strings.ContainsAny(next[:1], "=:<>!+*.?|&") {
			return strings.TrimSpace(word + " " + rest)
		}
	}
	return ""
}

func (r *REPL) command(ctx context.Context, text string) (quit, ok bool) {
	name, arg, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(text, ":")), " ")
	if name == "quit" || name == "q" || name == "exit" {
		return true, true
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == name })
	if i < 0 {
		names := make([]string, len(commands))
		var begin []string // with what was typed
		for i, c := range commands {
			names[i] = c.name
			if c.help != "" && name != "" && strings.HasPrefix(c.name, name) {
				begin = append(begin, c.name)
			}
		}
		if len(begin) == 1 {
			return r.command(ctx, ":"+begin[0]+" "+arg)
		}
		hint := "`:help` lists what there is"
		if len(begin) > 1 {
			hint = "which of `:" + strings.Join(begin, "`, `:") + "`?"
		} else if near, ok := diag.Nearest(name, names); ok {
			hint = "did you mean `:" + near + "`?"
		}
		r.view.say("bad", "✗ ", fmt.Sprintf("there is no command `:%s`; %s", name, hint))
		return false, false
	}
	return false, commands[i].run(r, ctx, strings.TrimSpace(arg))
}

func (r *REPL) help(context.Context, string) bool {
	for _, c := range commands {
		if c.help == "" { // named by another
			continue
		}
		r.view.say("", "  ", fmt.Sprintf("%-19s %s", strings.TrimSpace(":"+c.name+" "+c.args), c.help))
	}
	r.view.say("", "  ", fmt.Sprintf("%-19s %s", "watch EXPRESSION", "draw it live, or a call of a probe, until Ctrl-C"))
	r.view.say("", "  ", fmt.Sprintf("%-19s %s", "_", "the value that was printed last"))
	r.view.say("dim", "", "anything else is a statement or an expression; `:doc` lists actions and probes")
	return true
}

func (r *REPL) doc(_ context.Context, arg string) bool {
	t, err := r.cfg.Reference().Find(arg)
	if err != nil {
		r.view.say("bad", "✗ ", err.Error())
		return false
	}
	var style doc.Style
	if r.cfg.Colour {
		style = func(kind, text string) string {
			if kind == "name" {
				kind = "bold"
			}
			return r.view.paint(kind, text)
		}
	}
	var b strings.Builder
	if err := doc.Text(&b, t, style); err != nil {
		return false
	}
	fmt.Fprint(r.view.w, b.String())
	return true
}

// plan shows what the steps of a statement would do.
func (r *REPL) plan(ctx context.Context, arg string) bool {
	if arg == "" {
		r.view.say("bad", "✗ ", "plan what? Write `:plan` and a step")
		return false
	}
	r.count++
	src := diag.NewSource(fmt.Sprintf("input %d", r.count), arg)
	for _, c := range split(src) {
		if k := c.classify(r.cfg.Options.Registries, r.callable); k != kCall && k != kStatement {
			r.view.say("bad", "✗ ", "`:plan` says what a step would do, and this is none: "+c.text())
			return false
		}
		if _, ds := c.syntaxOf(); r.show(ds, src) {
			return false
		}
		p := &piece{src: src, from: c.from, to: c.to, where: inject, hidden: true}
		ck := r.book.with(p).check()
		if r.show(ck.diags, ck.sources...) {
			return false
		}
		for _, plan := range r.session.Plan(ctx, ck.of(p)) {
			if !r.planned(plan) {
				return false
			}
		}
	}
	return true
}

// planned shows a step's plan at length.
func (r *REPL) planned(plan runtime.Planned) bool {
	switch {
	case plan.Err != nil:
		r.view.say("bad", "✗ ", plan.Step.Text+"\n"+plan.Err.Error())
		return false
	case plan.Later != "":
		r.view.say("act", "→ ", plan.Step.Text)
		r.view.say("dim", "  ", "known when it is reached")
		return true
	}
	r.view.say("act", "→ ", plan.Does)
	if plan.Missing != "" {
		r.view.say("bad", "  ", plan.Missing)
	}
	for _, t := range plan.Targets {
		r.view.say("dim", "  ", "target    "+t)
	}
	switch {
	case plan.Irreversible:
		r.view.say("warn", "  ", "undo      nothing can undo this")
	case plan.Harmless:
		r.view.say("dim", "  ", "undo      not needed")
	default:
		for _, u := range plan.Undo {
			r.view.say("dim", "  ", "undo      "+u)
		}
		r.view.say("dim", "  ", "lifetime  "+plan.Lifetime)
	}
	return true
}

func (r *REPL) faults(context.Context, string) bool {
	list := r.session.Faults()
	if len(list) == 0 {
		r.view.say("dim", "", "nothing is in place")
		return true
	}
	r.view.faults(list)
	return true
}

func (r *REPL) undo(_ context.Context, arg string) bool {
	number := 0
	switch {
	case arg == "all":
		ok := true
		list := r.session.Faults()
		for _, f := range slices.Backward(list) {
			if !f.Setup {
				done, err := r.session.Undo(f.Number)
				ok = ok && done && err == nil
			}
		}
		if len(list) == 0 {
			r.view.say("dim", "", "nothing is in place")
		}
		return ok
	case arg != "":
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			r.view.say("bad", "✗ ", fmt.Sprintf("`%s` is no number of a fault; `:faults` lists them", arg))
			return false
		}
		number = n
	}
	ok, err := r.session.Undo(number)
	switch {
	case errors.Is(err, runtime.ErrNoFault) && number == 0:
		r.view.say("dim", "", "nothing is in place")
		return true
	case err != nil:
		r.view.say("bad", "✗ ", fmt.Sprintf("there is no fault %d; `:faults` lists what is in place", number))
		return false
	}
	return ok
}

func (r *REPL) judge(ctx context.Context, _ string) bool {
	if !r.session.Injected() {
		r.view.say("dim", "", "nothing was injected, so there is nothing to judge")
		return true
	}
	if err := r.session.Judge(ctx); err != nil {
		return r.fails(ctx, err)
	}
	return true
}

// script is the canonical text of the session; complete tells whether a run of it would be accepted.
func (b *book) script() (string, diag.List) {
	if len(b.pieces) == 0 {
		return "", nil
	}
	var text string
	var all diag.List
	for _, blocks := range []bool{true, false} {
		src := diag.NewSource(b.path, b.render(true, blocks).b.String())
		formatted, ds := format.Source(src)
		if formatted == "" {
			return src.Text, ds
		}
		src = diag.NewSource(b.path, formatted)
		file, parsed := syntax.Parse(src)
		_, more := check.File(file, b.cat, b.opts)
		text, all = formatted, append(diag.List(parsed), more...)
		if !all.HasErrors() {
			break
		}
	}
	return text, all
}

func (r *REPL) print(context.Context, string) bool {
	text, _ := r.book.script()
	if text == "" {
		r.view.say("dim", "", "nothing was entered that a script would keep")
		return true
	}
	fmt.Fprint(r.view.w, text)
	return true
}

// save writes the session as a script that checks and runs. It writes over no file, saveOver does.
func (r *REPL) save(_ context.Context, arg string) bool { return r.write(arg, os.O_EXCL) }

func (r *REPL) saveOver(_ context.Context, arg string) bool { return r.write(arg, os.O_TRUNC) }

func (r *REPL) write(arg string, existing int) bool {
	if arg == "" {
		r.view.say("bad", "✗ ", "into which file? `:save game-day.chaos`")
		return false
	}
	text, ds := r.book.script()
	if text == "" {
		r.view.say("bad", "✗ ", "nothing was entered that a script would keep")
		return false
	}
	if ds.HasErrors() {
		r.show(ds, diag.NewSource(r.book.path, text))
		r.view.say("bad", "✗ ", "not written: it would not check")
		return false
	}
	if r.session.Redact(text) != text {
		r.view.say("bad", "✗ ", "not written: the value of a secret stands in it; write `secret(\"NAME\")` instead")
		return false
	}
	path := r.path(arg)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|existing, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	switch {
	case errors.Is(err, os.ErrExist):
		r.view.say("bad", "✗ ", fmt.Sprintf("there is a file `%s` already: choose another name, or write over it with `:save! %s`", arg, arg))
	case err != nil:
		r.view.say("bad", "✗ ", fmt.Sprintf("`%s` cannot be written: %s", arg, plain(err)))
	default:
		r.view.say("dim", "", fmt.Sprintf("written: `chaos script %s` runs it", arg))
		return true
	}
	return false
}

func plain(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// path is a file as it was typed; relative ones start where chaos was started.
func (r *REPL) path(arg string) string {
	if rest, ok := strings.CutPrefix(arg, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(arg) {
		return arg
	}
	return filepath.Join(r.cfg.Options.Dir, arg)
}
