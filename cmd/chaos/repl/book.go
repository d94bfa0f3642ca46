// Package repl is the prompt: a session whose inputs grow a script. What is entered is checked like a script and run by the
// same engine, so what works here works there, and the session can be saved as one.
package repl

import (
	"slices"
	"strings"
	"time"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/syntax"
)

// where a piece of the script stands.
type where string

const (
	inFile     where = "file"
	inMember   where = "experiment"
	setup      where = "setup"
	steady     where = "steady"
	hypothesis where = "hypothesis"
	inject     where = "inject"
	rollback   where = "rollback"
)

// sections in the order in which a script has them.
var sections = []where{setup, steady, hypothesis, inject, rollback}

// piece is a part of the growing script: what was entered, and what became of it.
type piece struct {
	src      *diag.Source // the input or the file that it comes from
	from, to int
	prefix   string // what is put in front of it to make it a statement
	where    where
	name     string // that it declares
	hidden   bool   // only for one check: an expression, a call of a probe

	done   bool // its statement has run
	begun  time.Time
	at     time.Time // when it had run
	faults []int     // that it left
	as     string    // the name of what it returned
	lasts  [2]int    // where its `for` stands, from and to in src
}

func (p *piece) text() string { return p.src.Text[p.from:p.to] }

// without is the text without its `for`.
func (p *piece) without() string {
	if p.lasts[1] == 0 {
		return p.text()
	}
	return strings.TrimRight(p.src.Text[p.from:p.lasts[0]], " \t\n") + p.src.Text[p.lasts[1]:p.to]
}

// book is the growing script.
type book struct {
	cat    spec.Catalogue
	opts   check.Options
	path   string // where it would stand, for relative `use`
	title  string
	titles map[where]string // of sections, as they stand in the source
	pieces []*piece
	ended  func(fault int) (at time.Time, timed bool) // when a fault was undone, zero while it lasts; whether by its own `for`
}

func newBook(cat spec.Catalogue, opts check.Options, path string, ended func(int) (time.Time, bool)) *book {
	return &book{cat: cat, opts: opts, path: path, title: `"session"`, titles: map[where]string{}, ended: ended}
}

// in lists the pieces of a place.
func (b *book) in(w where) []*piece {
	var out []*piece
	for _, p := range b.pieces {
		if p.where == w {
			out = append(out, p)
		}
	}
	return out
}

// pending are the statements of a section that have not run.
func (b *book) pending(w where) []*piece {
	return slices.DeleteFunc(b.in(w), func(p *piece) bool { return p.done })
}

// with is the book with one more piece: a declaration in place of the one of the same name, a statement behind those that
// have run.
func (b *book) with(p *piece) *book {
	out := *b
	out.pieces = nil
	put := false
	for _, q := range b.pieces {
		if q.where == p.where && !q.done && !put && (p.where == inject || p.where == setup) {
			out.pieces, put = append(out.pieces, p), true
		}
		if p.name != "" && q.name == p.name && (q.where == p.where || q.where == inFile || q.where == inMember) {
			if !put && q.where == p.where {
				out.pieces, put = append(out.pieces, p), true
			}
			continue
		}
		out.pieces = append(out.pieces, q)
	}
	if !put {
		out.pieces = append(out.pieces, p)
	}
	return &out
}

// placed is a piece in the rendered script.
type placed struct {
	p   *piece
	off int // of its text
	len int
}

// writer renders a book.
type writer struct {
	b      strings.Builder
	placed []placed
	saving bool
}

func (w *writer) line(text string) { w.b.WriteString(text + "\n") }

// apart sets the next block off from what stands above it, where somebody will read it.
func (w *writer) apart() {
	if s := w.b.String(); w.saving && s != "" && !strings.HasSuffix(s, "{\n") {
		w.line("")
	}
}

func (w *writer) piece(p *piece, text string) {
	w.b.WriteString(p.prefix)
	w.placed = append(w.placed, placed{p, w.b.Len(), len(text)})
	w.line(text)
}

// render is the script. With blocks, a fault that was undone stands in a block that ends where it was.
func (b *book) render(saving, blocks bool) *writer {
	w := &writer{saving: saving}
	for _, p := range b.in(inFile) {
		w.piece(p, p.text())
	}
	w.apart()
	w.line("experiment " + b.title + " {")
	for _, p := range b.in(inMember) {
		w.piece(p, p.text())
	}
	for _, s := range sections {
		list := b.in(s)
		if saving {
			list = slices.DeleteFunc(list, func(p *piece) bool { return p.hidden })
		}
		title, titled := b.titles[s]
		if len(list) == 0 && !titled {
			continue
		}
		w.apart()
		w.line(strings.TrimRight(string(s)+" "+title, " ") + " {")
		if s == inject {
			b.renderInject(w, list, saving, blocks)
		} else {
			for _, p := range list {
				w.piece(p, p.text())
			}
		}
		w.line("}")
	}
	w.line("}")
	return w
}

// endOf is when the last fault of a piece was undone, zero while one lasts or where it left none; timed tells that its own
// `for` did it.
func (b *book) endOf(p *piece) (last time.Time, timed bool) {
	timed = p.lasts[1] > 0
	for _, n := range p.faults {
		t, own := b.ended(n)
		if t.IsZero() {
			return t, false
		}
		last, timed = later(last, t), timed && own
	}
	return last, timed
}

func (b *book) renderInject(w *writer, list []*piece, saving, blocks bool) {
	n := len(list)
	ends, closes, timed := make([]time.Time, n), make([]int, n), make([]bool, n)
	for i, p := range list {
		ends[i], timed[i] = b.endOf(p)
		closes[i] = n + 1
		if len(p.faults) == 0 {
			closes[i] = i + 1
			continue
		}
		if ends[i].IsZero() {
			continue
		}
		closes[i] = n
		for j := i + 1; j < n; j++ {
			if !list[j].done || list[j].begun.After(ends[i]) {
				closes[i] = j
				break
			}
		}
	}
	for i := n - 1; i >= 0; i-- { // a block holds those that begin in it
		if ends[i].IsZero() {
			continue
		}
		for j := i + 1; j < closes[i] && j < n; j++ {
			if len(list[j].faults) > 0 && closes[j] > closes[i] {
				closes[i] = closes[j]
			}
		}
	}
	type level struct {
		close int
		end   time.Time
		last  time.Time
	}
	var open []level
	lasting := false
	for i, p := range list {
		for len(open) > 0 && open[len(open)-1].close <= i {
			l := open[len(open)-1]
			open = open[:len(open)-1]
			b.dwell(w, saving, l.last, l.end)
			w.line("}")
			if k := len(open); k > 0 {
				open[k-1].last = later(open[k-1].last, l.end)
			}
		}
		ended := !ends[i].IsZero() && closes[i] <= n
		alone := ended && closes[i] == i+1 && timed[i]
		switch {
		case alone && blocks: // its own time went by before anything else happened
			w.piece(p, p.text())
		case ended && blocks:
			w.line("do {")
			text := p.text()
			if saving {
				text = p.without()
			}
			w.piece(p, text)
			open = append(open, level{closes[i], ends[i], p.at})
		case saving && p.done && len(p.faults) > 0 && !alone:
			lasting = lasting || ends[i].IsZero()
			w.piece(p, p.without())
		default:
			w.piece(p, p.text())
		}
		if k := len(open); k > 0 {
			open[k-1].last = later(open[k-1].last, p.at)
		}
	}
	for k := len(open) - 1; k >= 0; k-- {
		b.dwell(w, saving, open[k].last, open[k].end)
		w.line("}")
		if k > 0 {
			open[k-1].last = later(open[k-1].last, open[k].end)
		}
	}
	if lasting && n > 0 && list[n-1].done {
		b.dwell(w, saving, list[n-1].at, time.Now())
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// longestDwell is the most that a saved script waits where somebody thought.
const longestDwell = time.Minute

// dwell writes how long faults lasted before they were undone, so that the script gives the checks the same time.
func (b *book) dwell(w *writer, saving bool, from, to time.Time) {
	d := to.Sub(from).Round(100 * time.Millisecond)
	if !saving || from.IsZero() || d <= 0 {
		return
	}
	w.line("wait " + min(d, longestDwell).String())
}

// checked is a book that was checked.
type checked struct {
	script  *check.Script
	def     *check.Experiment
	diags   diag.List
	sources []*diag.Source
	placed  []placed
}

// check looks at the script as it is by now. Diagnostics are about the inputs that its pieces come from.
func (b *book) check() *checked {
	c := b.checkAs(true)
	if c.diags.HasErrors() { // a name of an undone fault may still be in use
		if flat := b.checkAs(false); !flat.diags.HasErrors() {
			return flat
		}
	}
	return c
}

func (b *book) checkAs(blocks bool) *checked {
	w := b.render(false, blocks)
	src := diag.NewSource(b.path, w.b.String())
	file, parsed := syntax.Parse(src)
	script, more := check.File(file, b.cat, b.opts)
	c := &checked{script: script, placed: w.placed}
	if len(script.Experiments) > 0 {
		c.def = script.Experiments[0]
	}
	c.sources = script.Sources
	for _, p := range w.placed {
		if !slices.Contains(c.sources, p.p.src) {
			c.sources = append(c.sources, p.p.src)
		}
	}
	for _, d := range append(diag.List(parsed), more...) {
		if d.Code == diag.NeedsSteady { // whoever sits at the prompt is asked instead
			continue
		}
		c.diags = append(c.diags, c.mapped(d))
	}
	return c
}

// mapped moves a diagnostic to what was entered.
func (c *checked) mapped(d diag.Diagnostic) diag.Diagnostic {
	d.Span = c.move(d.Span)
	d.Notes = slices.Clone(d.Notes)
	for i := range d.Notes {
		d.Notes[i].Span = c.move(d.Notes[i].Span)
	}
	return d
}

func (c *checked) move(at diag.Span) diag.Span {
	if at.File != c.script.Source.File {
		return at
	}
	off := at.Start.Offset
	for _, p := range c.placed {
		if off < p.off || off > p.off+p.len {
			continue
		}
		from := p.p.from + off - p.off
		to := min(from+at.End.Offset-off, p.p.to)
		return p.p.src.Span(from, max(to, from))
	}
	last := c.placed[len(c.placed)-1].p // the frame around what was entered
	return last.src.Span(last.from, last.from)
}

// of finds the statements that a piece became.
func (c *checked) of(p *piece) []check.Stmt {
	var body []check.Stmt
	for _, s := range []*check.Section{c.def.Setup, c.def.Inject, c.def.Rollback} {
		if s != nil {
			body = append(body, s.Body...)
		}
	}
	var out []check.Stmt
	for _, st := range body {
		if c.holds(p, st.At()) {
			out = append(out, st)
		}
	}
	return out
}

// claims finds the checks that a piece became.
func (c *checked) claims(p *piece) []*check.Check {
	var out []*check.Check
	for _, s := range []*check.Section{c.def.Steady, c.def.Hypothesis} {
		if s == nil {
			continue
		}
		for _, k := range s.Checks {
			if c.holds(p, k.Span) {
				out = append(out, k)
			}
		}
	}
	return out
}

func (c *checked) holds(p *piece, at diag.Span) bool {
	for _, q := range c.placed {
		if q.p == p && at.Start.Offset >= q.off-len(p.prefix) && at.Start.Offset < q.off+q.len {
			return true
		}
	}
	return false
}
