package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/doc"
	"chaos/lang/spec"
	"chaos/runtime"

	"github.com/spf13/cobra"
)

var doctorFormats = []string{"text", "json"}

func newDoctor(code *int) *cobra.Command {
	var format, runs string
	c := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "say what each action and probe needs, and whether this machine has it",
		Long: `For each action and probe: the privileges, kernel features and tools that it needs, whether they are
here, how to get them, and what ends its faults if chaos is killed. Without root it also says what root
would add. With a FILE, only for what that script uses.

✓ it is here · ◐ a part of it is · ✗ it is not

Exits with 0, or with 2 when a FILE uses what is not here. "chaos plan FILE" is more exact: it looks at
the very targets.`,
		Example: `  chaos doctor
  chaos doctor game-day.chaos
  sudo chaos doctor
  chaos doctor --format json | jq -r '.families[].calls[] | select(.status == "no") | .name'`,
		Args:              atMostOne,
		ValidArgsFunction: completeScripts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(doctorFormats, format) {
				return noFormat(format, doctorFormats)
			}
			reg := registries()
			uses := everything(reg)
			if len(args) > 0 {
				src, script, diags := load(args[0], reg)
				show(os.Stderr, diags, sourcesOf(src, script)...)
				if diags.HasErrors() {
					*code = exitUsage
					return nil
				}
				uses = usesOf(script, filepath.Dir(args[0]))
			}
			d := diagnose(lookAround(runs), uses)
			if len(args) > 0 {
				d.File = args[0]
				if !d.OK {
					*code = exitUsage
				}
			}
			return d.write(cmd.OutOrStdout(), format)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the output: text or json")
	c.Flags().StringVar(&runs, "runs", "", runsHelp)
	c.RegisterFlagCompletionFunc("format", fixed(doctorFormats...))
	return c
}

// use is a call that is to be looked at.
type use struct {
	spec  *spec.Call
	tools []string // the commands that the script names in it
	dir   string   // where a relative command starts
	given bool     // the argument without which the action is irreversible; true without a script
}

func everything(reg runtime.Registries) []use {
	var out []use
	for _, name := range reg.Names() {
		c, _ := reg.Call(name)
		out = append(out, use{spec: c, given: true})
	}
	return out
}

// usesOf lists the calls of a script, each once.
func usesOf(s *check.Script, dir string) []use {
	var out []use
	add := func(c *check.Call) {
		i := slices.IndexFunc(out, func(u use) bool { return u.spec == c.Spec })
		if i < 0 {
			out = append(out, use{spec: c.Spec, dir: dir, given: true})
			i = len(out) - 1
		}
		if e, ok := c.Args["command"]; ok {
			if v, ok := e.Const(); ok && !slices.Contains(out[i].tools, v.Text()) {
				out[i].tools = append(out[i].tools, v.Text())
			}
		}
		if c.Spec.UndoArg != "" {
			_, given := c.Args[c.Spec.UndoArg]
			out[i].given = out[i].given && given
		}
	}
	var visit func([]check.Stmt)
	visit = func(list []check.Stmt) {
		for _, s := range list {
			switch s := s.(type) {
			case *check.Step:
				add(s.Call)
			case *check.Composite:
				visit(s.Body)
			case *check.Repeat:
				visit(s.Body)
			case *check.When:
				visit(s.Then)
				visit(s.Else)
			case *check.Parallel:
				visit(s.Branches)
			case *check.Do:
				visit(s.Body)
			}
		}
	}
	for _, x := range s.Experiments {
		for _, p := range x.Probes {
			add(p.Call)
		}
		for _, section := range []*check.Section{x.Setup, x.Inject, x.Rollback} {
			if section != nil {
				visit(section.Body)
			}
		}
	}
	slices.SortFunc(out, func(a, b use) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return out
}

// The JSON of `chaos doctor`; docs/plan.md describes it. Fields may be added.
type (
	diagnosis struct {
		OK       bool           `json:"ok"`
		File     string         `json:"file,omitempty"`
		User     string         `json:"user"`
		Root     bool           `json:"root"`
		Kernel   string         `json:"kernel"`
		Chaos    []doctorNeed   `json:"chaos"` // what every run needs
		Families []doctorFamily `json:"families"`
		RootAdds []string       `json:"root_adds,omitempty"`
	}
	doctorFamily struct {
		Family string       `json:"family"`
		Calls  []doctorCall `json:"calls"`
	}
	doctorCall struct {
		Name     string       `json:"name"`
		Kind     spec.Kind    `json:"kind"`
		Status   status       `json:"status"`
		Lifetime string       `json:"lifetime,omitempty"` // of an action: the class that results here
		Note     string       `json:"note,omitempty"`
		Needs    []doctorNeed `json:"needs"`
	}
	doctorNeed struct {
		Kind     string `json:"kind"`
		Name     string `json:"name"`
		Status   status `json:"status"`
		Detail   string `json:"detail,omitempty"`
		How      string `json:"how,omitempty"`       // to get it
		RootAdds string `json:"root_adds,omitempty"` // where root would help
	}
)

// diagnose compares what is used with what is here.
func diagnose(m machine, uses []use) diagnosis {
	d := diagnosis{OK: true, User: m.user(), Root: m.uid == 0, Kernel: m.kernel, Chaos: m.basics(), Families: []doctorFamily{}}
	for _, n := range d.Chaos {
		d.OK = d.OK && n.Status != no
		if n.RootAdds != "" {
			d.RootAdds = append(d.RootAdds, n.RootAdds)
		}
	}
	for _, u := range uses {
		c := callHere(m, u)
		d.OK = d.OK && c.Status != no
		family := doc.FamilyOf(u.spec.Name)
		i := slices.IndexFunc(d.Families, func(f doctorFamily) bool { return f.Family == family })
		if i < 0 {
			d.Families = append(d.Families, doctorFamily{Family: family})
			i = len(d.Families) - 1
		}
		d.Families[i].Calls = append(d.Families[i].Calls, c)
		for _, n := range c.Needs {
			if n.RootAdds != "" {
				d.RootAdds = append(d.RootAdds, c.Name+": "+n.RootAdds)
			}
			if n.RootAdds == allOfIt {
				break
			}
		}
	}
	return d
}

// callHere says what one call needs. Of alternatives, such as a cgroup controller for each limit, one is enough.
func callHere(m machine, u use) doctorCall {
	c := doctorCall{Name: u.spec.Name, Kind: u.spec.Kind, Status: yes, Lifetime: u.spec.Lifetime, Needs: []doctorNeed{}}
	switch {
	case u.spec.Irreversible(func(string) bool { return u.given }):
		c.Lifetime = string(actions.Irreversible)
	case u.spec.UndoArg != "" && u.dir == "":
		c.Note = "without `" + u.spec.UndoArg + ":` irreversible"
	}
	alternatives, found := 0, 0
	for _, n := range u.spec.Needs {
		f := m.need(n)
		c.Needs = append(c.Needs, f.doctorNeed)
		if f.lifetime != "" {
			c.Lifetime, c.Note = f.lifetime, "for want of "+n.Name
		}
		if f.alternative {
			if alternatives++; f.Status == yes {
				found++
			}
			f.Status = max(f.Status, partly)
		}
		c.Status = min(c.Status, f.Status)
	}
	for _, name := range u.tools {
		f := m.tool(u.dir, name)
		c.Needs = append(c.Needs, f)
		c.Status = min(c.Status, f.Status)
	}
	if alternatives > 0 && found == 0 {
		c.Status = no
	}
	if proc := m.kernelFeature("/proc", "").doctorNeed; proc.Status != yes && needsProc(u.spec, c.Lifetime) {
		proc.Detail, proc.How = "see above", ""
		c.Needs, c.Status = append(c.Needs, proc), no
	}
	if c.Status == no {
		c.Lifetime = ""
	}
	return c
}

// lacks is what the machine lacks for a call, whoever its target will be.
func (m machine) lacks(c *spec.Call) []spec.Need {
	here := callHere(m, use{spec: c, given: true})
	if here.Status != no {
		return nil
	}
	var out []spec.Need
	for _, n := range here.Needs {
		if n.Status != no {
			continue
		}
		need := spec.Need{Kind: n.Kind, Name: n.Name, Install: cmp.Or(n.How, n.Detail)}
		if n.Name == "root" {
			return []spec.Need{need} // and the rest may come with it
		}
		out = append(out, need)
	}
	return out
}

// needsProc tells what reads /proc, or has something to undo: the helper and the guardian start from /proc/self/exe.
func needsProc(c *spec.Call, lifetime string) bool {
	family := doc.FamilyOf(c.Name)
	elsewhere := c.Name == "host.disk" || c.Name == "host.kernel_log" // by statfs(2), and in /dev
	return family == "process" || family == "host" && !elsewhere || c.Kind == spec.Action && !c.Harmless && lifetime != string(actions.Irreversible)
}

func (d diagnosis) write(w io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	}
	l := &layout{style: newPlanStyle(w)}
	d.text(l)
	_, err := io.WriteString(w, l.String())
	return err
}

var statusMarks = map[status][2]string{yes: {"✓", "good"}, partly: {"◐", "warn"}, no: {"✗", "bad"}}

func (d diagnosis) text(l *layout) {
	about := d.User
	if d.File != "" {
		about = "what " + d.File + " needs, for " + about
	}
	l.put(0, "", "", about+" on "+d.Kernel, "bold")
	l.WriteString("\n  " + l.paint("head", "chaos itself") + "\n")
	for _, n := range d.Chaos {
		l.need(n, 4)
	}
	name := 0
	for _, f := range d.Families {
		for _, c := range f.Calls {
			name = max(name, len(c.Name))
		}
	}
	for _, f := range d.Families {
		l.WriteString("\n  " + l.paint("head", f.Family) + "\n")
		for _, c := range f.Calls {
			l.call(c, name)
		}
	}
	l.WriteString("\n")
	if !d.Root && len(d.RootAdds) > 0 {
		l.put(0, "", "", "root would add", "bold")
		for _, text := range d.RootAdds {
			l.put(2, "· ", "dim", text, "")
		}
		l.WriteString("\n")
	}
	switch {
	case d.OK && d.File != "":
		l.put(0, "✓ ", "good", "all that it needs is here; `chaos plan "+d.File+"` looks at the very targets", "")
	case d.OK:
		l.put(0, "✓ ", "good", "everything can run here", "")
	case d.File != "":
		l.put(0, "✗ ", "bad", "not all that it needs is here", "")
	default:
		l.put(0, "✗ ", "bad", "not everything can run here; `chaos doctor FILE` says what a script needs", "")
	}
}

func (l *layout) call(c doctorCall, column int) {
	m := statusMarks[c.Status]
	class := c.Lifetime
	switch {
	case c.Kind == spec.Probe:
		class = "probe"
	case class == "" && c.Status == no:
		class = "refused"
	case class == "":
		class = "harmless"
	}
	var here []string
	for _, n := range c.Needs {
		if n.Status == yes {
			here = append(here, n.Name)
		}
	}
	var about []string
	if len(here) > 0 {
		about = append(about, strings.Join(here, ", ")+": here")
	}
	if c.Note != "" {
		about = append(about, c.Note)
	}
	line := fmt.Sprintf("%-*s  %-12s  %s", column, c.Name, class, strings.Join(about, "; "))
	fmt.Fprintf(l, "    %s %s\n", l.paint(m[1], m[0]), strings.TrimRight(line, " "))
	for _, n := range c.Needs {
		if n.Status != yes {
			l.need(n, 8)
		}
	}
}

func (l *layout) need(n doctorNeed, indent int) {
	m := statusMarks[n.Status]
	text := n.Kind + " " + n.Name
	if n.Detail != "" {
		text += ": " + n.Detail
	}
	if n.Status != yes && n.How != "" {
		text += " – " + n.How
	}
	l.put(indent, m[0]+" ", m[1], text, "")
}
