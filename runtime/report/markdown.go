package report

import (
	"bufio"
	"fmt"
	"io"

	"strings"
)

// Markdown writes a report for a pull request: the result first, what failed with its values, then the story.
func Markdown(w io.Writer, r *Report) error {
	buf := bufio.NewWriter(w)
	p := &page{w: buf}
	for i, run := range r.Runs {
		if i > 0 {
			p.line("---\n")
		}
		p.run(run)
	}
	if len(r.NotStarted) > 0 {
		if len(r.Runs) > 0 {
			p.line("---\n")
		}
		for _, n := range r.NotStarted {
			p.line("# ⛔ not started: %s\n", code(n.Script))
			p.fence(n.Problems)
		}
	}
	if len(r.Runs)+len(r.NotStarted) == 0 {
		p.line("# ⛔ nothing was started")
	}
	return buf.Flush()
}

// page writes Markdown. Errors stay in the buffered writer until it is flushed.
type page struct{ w *bufio.Writer }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// fence writes lines as they are. The fence is longer than any run of backticks in them.
func (p *page) fence(lines []string) {
	longest := 2
	for _, l := range lines {
		n := 0
		for _, r := range l {
			if r != '`' {
				n = 0
				continue
			}
			n++
			longest = max(longest, n)
		}
	}
	fence := strings.Repeat("`", longest+1)
	p.line("%stext\n%s\n%s\n", fence, strings.Join(lines, "\n"), fence)
}

var icons = map[string]string{
	"held": "✅", "steady": "✅", "refuted": "❌", "inconclusive": "⚠️", "not restored": "🚨", "aborted": "🛑", "unsteady": "⚠️", "failed": "⚠️", "unfit": "⛔", "unfinished": "🚧",
}

func (p *page) run(run *Run) {
	switch len(run.Experiments) {
	case 0:
		p.line("# %s %s\n", icons["unfinished"], code(run.Script))
	case 1:
		p.title("#", run.Experiments[0])
	default:
		words := run.words()
		p.line("# %s %s: %s\n", icons[worst(words)], tally(words), code(run.Script))
	}
	p.line("%s\n", strings.Join(run.facts(), " · "))
	if !run.Ended {
		p.line("> **This run has no end in its journal**: it runs still, or it was killed.\n")
	}
	if run.Skipped > 0 {
		p.line("> Not started: %s.\n", plural(run.Skipped, "further experiment"))
	}
	if len(run.Params) > 0 {
		list := run.params()
		for i, p := range list {
			list[i] = code(p)
		}
		p.line("Parameters: %s\n", strings.Join(list, ", "))
	}
	if len(run.Experiments) > 1 {
		p.line("| | experiment | result | time |\n|---|---|---|---|")
		for _, x := range run.Experiments {
			p.line("| %s | %s | %s | %s |", icons[x.Word()], cell(escape(x.Title)), x.judged(), clock(x.Took))
		}
		p.line("")
	}
	for _, x := range run.Experiments {
		if len(run.Experiments) > 1 {
			p.title("##", x)
		}
		p.experiment(x)
	}
	for _, n := range run.Notes {
		p.line("> %s\n", escape(n.Text))
	}
}

func (r *Run) facts() []string {
	out := []string{code(r.Script), "run " + code(r.ID), r.Began.Format("2 January 2006, 15:04:05 MST"), clock(r.Took), fmt.Sprintf("seed %d", r.Seed)}
	if r.Exit != nil {
		out = append(out, fmt.Sprintf("exit code %d", *r.Exit))
	}
	return append(out, "chaos "+r.Version)
}

func (p *page) title(level string, x *Experiment) {
	p.line("%s %s %s: %s\n", level, icons[x.Word()], x.Word(), escape(x.Title))
}

func (p *page) experiment(x *Experiment) {
	facts := append([]string{"**" + strings.ToUpper(x.Word()) + "**"}, x.results()...)
	if x.Owner != "" {
		facts = append(facts, "owner "+code(x.Owner))
	}
	for _, tag := range x.Tags {
		facts = append(facts, code(tag))
	}
	p.line("%s\n", strings.Join(facts, " · "))
	if x.Reason != "" {
		p.line("> %s\n", escape(x.Reason))
	}
	p.left(x)
	p.checks(x)
	p.failures(x)
	p.steady(x)
	p.faults(x)
	if story := x.story(); len(story) > 0 {
		p.line("<details><summary>Timeline, %s</summary>\n", clock(x.Took))
		p.fence(story)
		p.line("</details>\n")
	}
	p.probes(x)
}

// left names what a human has to do, before anything else.
func (p *page) left(x *Experiment) {
	left := x.Leftovers()
	if len(left) == 0 {
		return
	}
	p.line("### 🚨 %s\n", x.leftTitle())
	for _, l := range left {
		p.line("- **%s**: %s", escape(l.Text), escape(l.Error))
		if l.Manual != "" {
			p.line("\n  by hand: %s", code(l.Manual))
		}
	}
	p.line("")
}

func (p *page) checks(x *Experiment) {
	list := x.in("hypothesis")
	if len(list) == 0 {
		return
	}
	title := "Hypothesis"
	if x.Hypothesis != "" {
		title += ": " + escape(x.Hypothesis)
	}
	p.line("### %s\n", title)
	p.line("| | check | seen | where |\n|---|---|---|---|")
	for _, c := range list {
		p.line("| %s | %s | %s | %s:%d |", icons[c.Result], cell(code(c.Text)), cell(escape(c.seen())), cell(escape(c.At.File)), c.At.Line)
	}
	p.line("")
}

// failures shows each check that did not hold with its operands.
func (p *page) failures(x *Experiment) {
	for _, c := range x.Checks {
		if c.Result == "held" {
			continue
		}
		found := c.found()
		if found != "" {
			found = ": " + found
		}
		p.line("**%s %s**%s, at %s%s\n", icons[c.Result], code(c.Text), c.when(), place(c.At), escape(found))
		if len(c.Operands) > 0 {
			p.fence(table(c.Operands))
		}
		if c.Because != "" {
			p.line("> because %s\n", escape(c.Because))
		}
	}
	if failed := x.failed(); len(failed) > 0 {
		p.line("**⚠️ Steps that did not do what they should**\n")
		p.fence(failed)
	}
	for _, g := range x.Guards {
		p.line("**🛑 %s** tripped at %s, %s\n", code(g.Text), clock(g.T), place(g.At))
		if g.NoData != "" {
			p.line("No data counts as true: %s\n", escape(g.NoData))
		}
		if len(g.Operands) > 0 {
			p.fence(table(g.Operands))
		}
		if g.Because != "" {
			p.line("> because %s\n", escape(g.Because))
		}
	}
}

// steady puts what was judged before beside what was judged after.
func (p *page) steady(x *Experiment) {
	list := x.steady()
	if len(list) == 0 {
		return
	}
	p.line("### Steady state\n")
	p.line("| check | before | after |\n|---|---|---|")
	for _, c := range list {
		p.line("| %s | %s | %s |", cell(code(c.Text)), icons[c.Before], icons[c.After])
	}
	p.line("")
}

func (p *page) faults(x *Experiment) {
	if len(x.Faults) == 0 {
		return
	}
	p.line("### Undone: %d of %s\n", x.undone(), plural(len(x.Faults), "fault"))
	p.line("| | what | lifetime | undone |\n|---|---|---|---|")
	for _, f := range x.Faults {
		icon := "↶"
		if !f.Undone {
			icon = "🚨"
		}
		p.line("| %s | %s | %s | %s |", icon, cell(escape(f.what())), cell(escape(f.Lifetime)), cell(escape(f.when())))
	}
	p.line("")
}

func (p *page) probes(x *Experiment) {
	if len(x.Probes) == 0 {
		return
	}
	p.line("<details><summary>%s of %s</summary>\n", plural(x.samples(), "sample"), plural(len(x.Probes), "probe"))
	p.line("| probe | samples | failed | ticks missed | by phase |\n|---|---|---|---|---|")
	for _, pr := range x.Probes {
		p.line("| %s | %d | %s | %d | %s |", cell(code(pr.Name)), pr.Samples, cell(escape(pr.failures())), pr.Skipped, pr.byPhase())
	}
	p.line("\n</details>\n")
}

// code is an inline code span, whatever backticks the text has.
func code(s string) string {
	s = oneLine(s)
	if s == "" {
		return ""
	}
	longest, n := 0, 0
	for _, r := range s {
		if r == '`' {
			n++
			longest = max(longest, n)
		} else {
			n = 0
		}
	}
	ticks := strings.Repeat("`", longest+1)
	if longest > 0 {
		return ticks + " " + s + " " + ticks
	}
	return ticks + s + ticks
}

var special = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "$", `\$`, "~", `\~`)

// escape makes text mean itself on one line. Backticks stay: they quote the script's words in our own messages.
func escape(s string) string {
	s = oneLine(s)
	if strings.Count(s, "`")%2 != 0 {
		s = strings.ReplaceAll(s, "`", "'")
	}
	// What stands between backticks is code, where nothing needs an escape.
	parts := strings.Split(s, "`")
	for i := range parts {
		if i%2 == 0 {
			parts[i] = special.Replace(parts[i])
		}
	}
	return strings.Join(parts, "`")
}

// cell keeps the bars of a text from ending a cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
