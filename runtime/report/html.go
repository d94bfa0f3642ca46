package report

import (
	"bufio"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
)

//go:embed report.html
var htmlText string

// htmlPage is parsed when a report is written: most commands write none.
var htmlPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("report").Funcs(template.FuncMap{
		"mood": mood, "mark": mark, "clock": clock, "plural": plural, "place": place, "table": table, "quoted": quoted,
		"odd":     func(i int) bool { return i%2 == 1 },
		"indent":  func(depth int) float64 { return 0.2 + 1.2*float64(depth) },
		"summary": func(r *Run) string { return tally(r.words()) },
		"params":  (*Run).params,
		"word":    (*Experiment).Word, "results": (*Experiment).results, "leftTitle": (*Experiment).leftTitle, "leftovers": (*Experiment).Leftovers,
		"in": (*Experiment).in, "unmet": (*Experiment).unmet, "failed": (*Experiment).failed, "steady": (*Experiment).steady,
		"undone": (*Experiment).undone, "lines": (*Experiment).lines, "samples": (*Experiment).samples, "chart": (*Experiment).chart,
		"seen": (*Check).seen, "found": (*Check).found, "judged": (*Check).when,
		"what": (*Fault).what, "when": (*Fault).when,
		"failures": (*Probe).failures, "byPhase": (*Probe).byPhase,
	}).Parse(htmlText))
})

// HTML writes a report as one page for people. It needs no script and nothing from elsewhere, so it can be kept, mailed and
// shown by a CI server that forbids both.
func HTML(w io.Writer, r *Report) error {
	buf := bufio.NewWriter(w)
	page := struct {
		*Report
		Title string
	}{r, r.title()}
	if err := htmlPage().Execute(buf, page); err != nil {
		return err
	}
	return buf.Flush()
}

// title is what a browser's tab says.
func (r *Report) title() string {
	var words, names []string
	for _, run := range r.Runs {
		words, names = append(words, run.words()...), append(names, run.Script)
	}
	if len(words) == 1 {
		for _, run := range r.Runs {
			for _, x := range run.Experiments {
				names = []string{x.Title}
			}
		}
	}
	for _, n := range r.NotStarted {
		words, names = append(words, "unfit"), append(names, n.Script)
	}
	if len(words) == 1 {
		return words[0] + ": " + strings.Join(names, ", ")
	}
	if len(names) == 0 {
		return "nothing was started"
	}
	return strings.Join(nonEmpty(tally(words), strings.Join(slices.Compact(names), ", ")), ": ")
}

// mood is how a result, a status or a kind of moment looks.
func mood(word string) string {
	switch word {
	case "":
		return "none"
	case "held", "steady", "done", "restored", "completed", "true":
		return "good"
	case "refuted", "not restored", "failed", "aborted", "false", "guard", "abort":
		return "bad"
	}
	return "warn"
}

func mark(result string) string {
	return map[string]string{"good": "✓", "bad": "✗", "warn": "?"}[mood(result)]
}

// quoted takes a message apart: every second piece stood between backticks, as our own messages quote the script.
func quoted(s string) []string {
	s = oneLine(s)
	if strings.Count(s, "`")%2 != 0 {
		return []string{s}
	}
	return strings.Split(s, "`")
}

// unmet are the checks that did not hold.
func (x *Experiment) unmet() []*Check {
	return slices.DeleteFunc(slices.Clone(x.Checks), func(c *Check) bool { return c.Result == "held" })
}
