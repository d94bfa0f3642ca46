package report

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// Formats are the forms that a report can be written in.
var Formats = []string{"md", "html", "json", "junit"}

// extensions of report files and their forms.
var extensions = map[string]string{".md": "md", ".html": "html", ".json": "json", ".xml": "junit"}

// FormatOf is the form that a file's name asks for.
func FormatOf(path string) (string, error) {
	ext := strings.ToLower(filepath.Ext(path))
	if f, ok := extensions[ext]; ok {
		return f, nil
	}
	what := "it has no extension"
	if ext != "" {
		what = fmt.Sprintf("no report is written as `%s`", ext)
	}
	return "", fmt.Errorf("%s; name the file .html, .md (Markdown), .json or .xml (JUnit)", what)
}

// Write writes a report in one of the Formats.
func Write(w io.Writer, format string, r *Report) error {
	switch format {
	case "md":
		return Markdown(w, r)
	case "html":
		return HTML(w, r)
	case "json":
		return JSON(w, r)
	case "junit":
		return JUnit(w, r)
	}
	return fmt.Errorf("there is no format `%s`: one of %s", format, strings.Join(Formats, ", "))
}

// JSON writes a report for programs; docs/report.md describes it.
func JSON(w io.Writer, r *Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// short is a duration for eyes.
func short(d event.Seconds) string { return value.DurationOf(time.Duration(d)).Short() }

// clock is a moment of a run for eyes, to a tenth of a second.
func clock(s event.Seconds) string {
	d := time.Duration(s).Round(100 * time.Millisecond)
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%04.1fs", int(d.Minutes()), (d - d.Truncate(time.Minute)).Seconds())
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func place(p event.Place) string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// table aligns the names of operands, one a line.
func table(list []event.Operand) []string {
	longest := 0
	for _, o := range list {
		longest = max(longest, len([]rune(o.Text)))
	}
	out := make([]string, len(list))
	for i, o := range list {
		out[i] = fmt.Sprintf("%-*s = %s", longest, o.Text, o.Value)
	}
	return out
}

// found says in one line why a check did not hold: what was seen, and when.
func (c *Check) found() string {
	var parts []string
	if c.Detail != "" && (c.Kind != "expect" || c.Result != "refuted" || c.Section != "hypothesis") {
		parts = append(parts, c.Detail)
	}
	if c.Moment != nil && c.Kind != "expect" {
		parts = append(parts, "first "+clock(*c.Moment)+" after the injection")
	}
	return strings.Join(parts, ", ")
}

// in lists the checks of a section.
func (x *Experiment) in(section string) []*Check {
	return slices.DeleteFunc(slices.Clone(x.Checks), func(c *Check) bool { return c.Section != section })
}

// judged is the result in words: "refuted · completed · restored".
func (x *Experiment) judged() string {
	if !x.Ended {
		return "no end is recorded"
	}
	return fmt.Sprintf("%s · %s · %s", x.Verdict, x.Outcome, x.Restoration)
}
