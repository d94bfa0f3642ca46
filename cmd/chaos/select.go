package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/runtime/event"

	"github.com/spf13/cobra"
)

// selection says which experiments of the scripts are meant.
type selection struct {
	only []string // titles; nil for all
	tags []string // any of them; nil for all
	list string   // "text" or "json": list them, run nothing
}

func (s *selection) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&s.only, "only", nil, "run only the experiment with this `TITLE` (repeatable)")
	c.Flags().StringArrayVar(&s.tags, "tag", nil, "run only experiments with this tag `T` (repeatable: any of them)")
	c.Flags().StringVar(&s.list, "list", "", "list the experiments and parameters, as `FORMAT` text or json, and run nothing")
	c.Flags().Lookup("list").NoOptDefVal = "text"
	c.RegisterFlagCompletionFunc("only", ofScripts(completeTitles))
	c.RegisterFlagCompletionFunc("tag", ofScripts(completeTags))
	c.RegisterFlagCompletionFunc("list", fixed("text", "json"))
}

// valid refuses what no script could make right.
func (s *selection) valid(paths []string) error {
	for _, format := range paths { // a FORMAT behind a blank is taken for a file
		if s.list == "text" && (format == "text" || format == "json") {
			if _, err := os.Stat(format); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("--list %s: write --list=%s", format, format)
			}
		}
	}
	if s.list != "" && s.list != "text" && s.list != "json" {
		return fmt.Errorf("--list=%s: write --list or --list=json", s.list)
	}
	return nil
}

// experiments of all scripts, in order.
func experiments(scripts []*check.Script) []*check.Experiment {
	var out []*check.Experiment
	for _, s := range scripts {
		out = append(out, s.Experiments...)
	}
	return out
}

func titlesOf(list []*check.Experiment) []string {
	var out []string
	for _, x := range list {
		out = append(out, x.Title)
	}
	return out
}

func tagsOf(list []*check.Experiment) []string {
	var out []string
	for _, x := range list {
		for _, t := range x.Tags {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	sort.Strings(out)
	return out
}

// apply narrows each script to the experiments that are meant. The scripts given are not changed. A title or a tag that
// no script has, and a selection of nothing, is an error that says what there is.
func (s *selection) apply(scripts []*check.Script) ([]*check.Script, error) {
	all := experiments(scripts)
	for _, title := range s.only {
		if !slices.Contains(titlesOf(all), title) {
			return nil, unknown("--only", "experiment", title, titlesOf(all))
		}
	}
	for _, tag := range s.tags {
		if !slices.Contains(tagsOf(all), tag) {
			return nil, unknown("--tag", "tag", tag, tagsOf(all))
		}
	}
	out := make([]*check.Script, len(scripts))
	for i, script := range scripts {
		copied := *script
		copied.Experiments = slices.DeleteFunc(slices.Clone(script.Experiments), func(x *check.Experiment) bool { return !s.means(x) })
		out[i] = &copied
	}
	if len(all) > 0 && len(experiments(out)) == 0 {
		var have []string
		for _, x := range all {
			line := quote(x.Title)
			if len(x.Tags) > 0 {
				line += ", tagged " + strings.Join(x.Tags, " ")
			}
			have = append(have, line)
		}
		return nil, fmt.Errorf("no experiment is both named by --only and tagged by --tag; there are\n  %s", strings.Join(have, "\n  "))
	}
	return out, nil
}

func (s *selection) means(x *check.Experiment) bool {
	return (len(s.only) == 0 || slices.Contains(s.only, x.Title)) &&
		(len(s.tags) == 0 || slices.ContainsFunc(x.Tags, func(t string) bool { return slices.Contains(s.tags, t) }))
}

// unknown says what there is instead of a name.
func unknown(flag, noun, name string, have []string) error {
	text := fmt.Sprintf("%s: there is no %s %s", flag, noun, quote(name))
	if near, ok := diag.Nearest(name, have); ok {
		return fmt.Errorf("%s; did you mean %s?", text, quote(near))
	}
	if len(have) == 0 {
		return fmt.Errorf("%s, nor any other", text)
	}
	quoted := make([]string, len(have))
	for i, h := range have {
		quoted[i] = quote(h)
	}
	return fmt.Errorf("%s; there are\n  %s", text, strings.Join(quoted, "\n  "))
}

// quote writes a title or a tag as a script writes it.
func quote(s string) string { return fmt.Sprintf("%q", s) }

// known keeps of the parameters given those that the narrowed script still has, and those that no script ever had, so
// that a misspelt name is still refused: a parameter of an experiment that is left out hurts nobody.
func known(given check.Given, whole, narrowed *check.Script) check.Given {
	has := func(s *check.Script, name string) bool {
		return slices.ContainsFunc(allParams(s), func(p *check.Param) bool { return p.Name == name })
	}
	leftOut := func(name string) bool { return !has(narrowed, name) && has(whole, name) }
	given.Flags = maps.Clone(given.Flags)
	maps.DeleteFunc(given.Flags, func(name, _ string) bool { return leftOut(name) })
	if given.File != nil {
		file := *given.File
		file.Ignore = leftOut
		given.File = &file
	}
	return given
}

// The JSON form of --list; fields may be added.
type (
	listing struct {
		Scripts []listedScript `json:"scripts"`
	}
	listedScript struct {
		Script      string             `json:"script"`
		Params      []listedParam      `json:"params"`
		Experiments []listedExperiment `json:"experiments"`
	}
	listedExperiment struct {
		Title      string        `json:"title"`
		Help       string        `json:"help,omitempty"`
		Owner      string        `json:"owner,omitempty"`
		Tags       []string      `json:"tags,omitempty"`
		Hypothesis string        `json:"hypothesis,omitempty"`
		At         event.Place   `json:"at"`
		Params     []listedParam `json:"params"`
	}
	listedParam struct {
		Name     string `json:"name"`
		Type     string `json:"type"`
		Default  string `json:"default,omitempty"` // an expression; none: it must be given
		Required bool   `json:"required,omitempty"`
		In       string `json:"in,omitempty"`
		Help     string `json:"help,omitempty"`
	}
)

func listScripts(w io.Writer, format string, scripts []*check.Script) error {
	out := listing{Scripts: []listedScript{}}
	for _, s := range scripts {
		ls := listedScript{Script: s.Source.File, Params: listParams(s.Params), Experiments: []listedExperiment{}}
		for _, x := range s.Experiments {
			lx := listedExperiment{Title: x.Title, Help: x.Help, Owner: x.Owner, Tags: x.Tags, Params: listParams(x.Params),
				At: event.Place{File: x.Span.File, Line: x.Span.Start.Line, Col: x.Span.Start.Col}}
			if x.Hypothesis != nil {
				lx.Hypothesis = x.Hypothesis.Title
			}
			ls.Experiments = append(ls.Experiments, lx)
		}
		out.Scripts = append(out.Scripts, ls)
	}
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	bold, dim := func(s string) string { return s }, func(s string) string { return s }
	if colourful(w) {
		bold, dim = func(s string) string { return docColours("name", s) }, func(s string) string { return docColours("dim", s) }
	}
	var b strings.Builder
	params := func(indent string, list []listedParam) {
		for _, p := range list {
			text := p.Name + ": " + p.Type
			if p.Required {
				text += ", must be given"
			} else {
				text += " = " + p.Default
			}
			if p.In != "" {
				text += " in " + p.In
			}
			fmt.Fprintf(&b, "%s--param %s\n", indent, text)
			if p.Help != "" {
				fmt.Fprintf(&b, "%s    %s\n", indent, dim(oneLine(p.Help)))
			}
		}
	}
	for i, s := range out.Scripts {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s  %s\n", bold(s.Script), dim(plural(len(s.Experiments), "experiment")))
		params("  ", s.Params)
		for _, x := range s.Experiments {
			fmt.Fprintf(&b, "\n  %s\n", bold(quote(x.Title)))
			facts := []string{fmt.Sprintf("%s:%d", x.At.File, x.At.Line)}
			if x.Owner != "" {
				facts = append(facts, "owner "+x.Owner)
			}
			if len(x.Tags) > 0 {
				facts = append(facts, "tags "+strings.Join(x.Tags, " "))
			}
			fmt.Fprintf(&b, "    %s\n", dim(strings.Join(facts, " · ")))
			if x.Help != "" {
				fmt.Fprintf(&b, "    %s\n", oneLine(x.Help))
			}
			params("    ", x.Params)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func listParams(list []*check.Param) []listedParam {
	out := []listedParam{}
	for _, p := range list {
		lp := listedParam{Name: p.Name, Type: p.Type.String(), Help: p.Help, Required: p.Default == nil}
		if p.Default != nil {
			lp.Default = p.Default.Text()
		}
		if p.In != nil {
			lp.In = p.In.Text()
		}
		out = append(out, lp)
	}
	return out
}
