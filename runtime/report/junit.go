package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaos/runtime/event"
)

// The elements of JUnit's form as CI servers read them; see https://github.com/testmoapp/junitxml.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		File       string          `xml:"file,attr,omitempty"`
		Properties *junitProps     `xml:"properties"`
		Cases      []junitCase     `xml:"testcase"`
		Out        *junitCharacter `xml:"system-out"`
	}
	junitProps struct {
		List []junitProp `xml:"property"`
	}
	junitProp struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Time    string        `xml:"time,attr,omitempty"`
		Failure *junitProblem `xml:"failure"`
		Error   *junitProblem `xml:"error"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",cdata"`
	}
	junitCharacter struct {
		Text string `xml:",cdata"`
	}
)

// JUnit writes a report as CI servers read it: one suite an experiment, one case a check, and two more cases: that the
// experiment was completed, and that everything is restored. A failure is what was found out (a refuted check, something
// left behind); an error is what kept us from finding out.
func JUnit(w io.Writer, r *Report) error {
	all := junitSuites{Name: "chaos"}
	var took event.Seconds
	for _, run := range r.Runs {
		took += run.Took
		for _, x := range run.Experiments {
			all.Suites = append(all.Suites, suite(run, x))
		}
	}
	for _, n := range r.NotStarted {
		c := junitCase{Name: "started", Class: n.Script, File: n.Script,
			Error: &junitProblem{Type: "not started", Message: "nothing was started", Text: text(n.Problems)}}
		all.Suites = append(all.Suites, counted(junitSuite{Name: n.Script, File: n.Script, Time: seconds(0), Cases: []junitCase{c}}))
	}
	for _, s := range all.Suites {
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	}
	all.Time = seconds(took)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func suite(run *Run, x *Experiment) junitSuite {
	s := junitSuite{Name: x.Title, Time: seconds(x.Took), File: x.At.File, Properties: &junitProps{List: properties(run, x)},
		Timestamp: run.Began.Add(time.Duration(x.Began)).UTC().Format("2006-01-02T15:04:05Z")}
	for _, c := range x.Checks {
		s.Cases = append(s.Cases, checkCase(x, c))
	}
	s.Cases = append(s.Cases, completedCase(x), restoredCase(x))
	if story := x.story(); len(story) > 0 {
		s.Out = &junitCharacter{Text: text(story)}
	}
	return counted(s)
}

func counted(s junitSuite) junitSuite {
	s.Tests = len(s.Cases)
	for _, c := range s.Cases {
		if c.Failure != nil {
			s.Failures++
		}
		if c.Error != nil {
			s.Errors++
		}
	}
	return s
}

func properties(run *Run, x *Experiment) []junitProp {
	out := []junitProp{{"run", run.ID}, {"seed", strconv.FormatUint(run.Seed, 10)}, {"script", run.Script}, {"chaos", run.Version}}
	add := func(name, v string) {
		if v != "" {
			out = append(out, junitProp{name, v})
		}
	}
	if x.Exit != nil {
		add("exit", strconv.Itoa(*x.Exit))
	}
	add("verdict", string(x.Verdict))
	add("outcome", string(x.Outcome))
	add("restoration", string(x.Restoration))
	add("owner", x.Owner)
	add("tags", strings.Join(x.Tags, " "))
	for _, name := range slices.Sorted(maps.Keys(run.Params)) {
		add("param."+name, run.Params[name])
	}
	return out
}

func checkCase(x *Experiment, c *Check) junitCase {
	out := junitCase{Name: c.Text, Class: x.Title + "." + c.Section, File: c.At.File, Line: c.At.Line}
	if c.Result == "held" {
		return out
	}
	lines := append(table(c.Operands), "at "+place(c.At))
	if c.Because != "" {
		lines = append(lines, "because "+c.Because)
	}
	p := &junitProblem{Message: c.found(), Type: c.Result, Text: text(lines)}
	if p.Message == "" {
		p.Message = values(c.Operands)
	}
	if c.Result == "refuted" {
		out.Failure = p
	} else {
		out.Error = p
	}
	return out
}

// completedCase says whether the experiment could find anything out.
func completedCase(x *Experiment) junitCase {
	out := junitCase{Name: "completed", Class: x.Title + ".run", Time: seconds(x.Took)}
	problem := func(kind, message string) {
		if message == "" {
			message = "the experiment is " + kind
		}
		out.Error = &junitProblem{Message: message, Type: kind, Text: text(x.failed())}
	}
	unclear := slices.ContainsFunc(x.in("hypothesis"), func(c *Check) bool { return c.Result == "inconclusive" })
	switch {
	case !x.Ended:
		problem("unfinished", "no end is recorded: it runs still, or it was killed")
	case x.Outcome != event.Completed:
		problem(string(x.Outcome), x.Reason)
	case x.Verdict == event.Inconclusive && !unclear:
		problem(string(x.Verdict), x.Reason)
	}
	return out
}

// failed are the steps that failed or did not bite, one a line.
func (x *Experiment) failed() []string {
	var out []string
	for _, s := range x.Steps {
		switch {
		case s.Status == "failed":
			out = append(out, fmt.Sprintf("%s: %s (at %s)", s.Text, oneLine(s.Error), place(s.At)))
		case s.Effect == "no":
			out = append(out, fmt.Sprintf("%s: no effect: %s (at %s)", s.Text, s.Detail, place(s.At)))
		}
	}
	return out
}

func restoredCase(x *Experiment) junitCase {
	out := junitCase{Name: "restored", Class: x.Title + ".run"}
	left := x.Leftovers()
	if x.Ended && x.Restoration != event.Incomplete || len(left) == 0 {
		return out
	}
	var lines []string
	for _, l := range left {
		lines = append(lines, l.Text+": "+l.Error)
		if l.Manual != "" {
			lines = append(lines, "  by hand: "+l.Manual)
		}
	}
	out.Failure = &junitProblem{Message: "not restored: " + left[0].Text, Type: "not restored", Text: text(lines)}
	return out
}

// text joins lines for a CDATA section, which unlike an attribute is written as it is: without the characters that XML
// does not have at all, see https://www.w3.org/TR/xml/#charsets.
func text(lines []string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' || r == 0xFFFE || r == 0xFFFF {
			return 0xFFFD
		}
		return r
	}, strings.ToValidUTF8(strings.Join(lines, "\n"), "\uFFFD"))
}

func seconds(s event.Seconds) string {
	return strconv.FormatFloat(time.Duration(s).Seconds(), 'f', 3, 64)
}
