package main

import (
	"fmt"
	"strings"

	"chaos/runtime"
)

// markdown is a plan for a pull request.
func (p planned) markdown() string {
	var b strings.Builder
	for i, s := range p.Scripts {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "## Plan of %s\n\n", mdCode(s.Script))
		switch {
		case s.module():
			b.WriteString("There is no experiment in it, so there is no plan.\n")
			continue
		case len(s.Mistakes) > 0:
			b.WriteString("❌ It has mistakes, so there is no plan.\n\n")
			for _, m := range s.Mistakes {
				fmt.Fprintf(&b, "- %s\n", mdText(m))
			}
			continue
		case s.Fit:
			b.WriteString("✅ It fits the machine where this was planned. Nothing was touched.\n")
		default:
			b.WriteString("❌ **It does not fit the machine where this was planned**, so a run would be refused there:\n\n")
			for _, d := range s.Diagnostics {
				text := fmt.Sprintf("line %d: %s", d.Span.Start.Line, d.Message)
				if d.Hint != "" {
					text += "; " + d.Hint
				}
				fmt.Fprintf(&b, "- %s\n", mdText(text))
			}
		}
		if len(s.Params) > 0 {
			b.WriteString("\nParameters: ")
			for i, name := range sortedKeys(s.Params) {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(mdCode(name + " = " + s.Params[name]))
			}
			b.WriteString("\n")
		}
		for _, x := range s.Experiments {
			mdExperiment(&b, x)
		}
	}
	return b.String()
}

func mdExperiment(b *strings.Builder, x *runtime.ExperimentPlan) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", mdText(x.Title), mdText(planAbout(x)))
	rows := 0
	for _, s := range x.Sections {
		rows += len(s.Steps)
	}
	if rows > 0 { // an observation has no steps
		b.WriteString("| | step | target | when chaos is killed | undo |\n|---|---|---|---|---|\n")
	}
	for _, s := range x.Sections {
		for i, row := range s.Steps {
			name := ""
			if i == 0 {
				name = "**" + s.Name + "**"
			}
			step := strings.Repeat("&emsp;", row.Depth) + mdCode(row.Text)
			target, lifetime, undo := "", "", ""
			if row.Kind == "step" {
				target, lifetime, undo = mdStep(row)
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, mdCell(step), mdCell(target), mdCell(lifetime), mdCell(undo))
		}
	}
	if rows > 0 {
		b.WriteString("\n")
	}
	last := ""
	for _, f := range planFacts(x) {
		if f.name != "" && f.name != last {
			fmt.Fprintf(b, "- **%s**: %s\n", f.name, mdText(f.text))
		} else {
			fmt.Fprintf(b, "  - %s\n", mdText(f.text))
		}
		last = f.name
	}
	for _, g := range x.Guards {
		text := mdCode(g.Text)
		if g.Because != "" {
			text += ", because " + mdText(g.Because)
		}
		fmt.Fprintf(b, "- **stops**: %s\n", text)
	}
	if len(x.Guards) == 0 {
		b.WriteString("- **stops**: no guard; the deadline and a signal only\n")
	}
	var probes []string
	for _, p := range x.Probes {
		probes = append(probes, mdCode(p.Name)+" "+mdText(sampling(p)))
	}
	if len(probes) > 0 {
		fmt.Fprintf(b, "- **probes**: %s\n", strings.Join(probes, ", "))
	}
}

// mdStep is the cells of a step that acts.
func mdStep(s runtime.PlannedStep) (target, lifetime, undo string) {
	target = mdText(planTarget(s))
	if s.State == runtime.Unfit {
		target = "❌ " + mdText(s.Why)
	}
	if target == "" {
		target = mdText(s.Does)
	}
	if s.Conditional {
		target = "*perhaps*: " + target
	}
	switch {
	case s.Harmless:
		return target, "", "not needed"
	case s.Final:
		return target, "final", "none: it is meant to stay"
	case s.Irreversible():
		return target, "⚠ **irreversible**", "none"
	}
	var lines []string
	for _, u := range planUndo(s) {
		lines = append(lines, mdText(u))
	}
	return target, fmt.Sprintf("%s: %s", s.Lifetime, lifetimeMeaning[s.Lifetime]), strings.Join(lines, "<br>")
}

// mdCode writes text as code, whatever is in it.
func mdCode(s string) string {
	s = oneLine(s)
	ticks := "`"
	for strings.Contains(s, ticks) {
		ticks += "`"
	}
	if len(ticks) > 1 || strings.HasPrefix(s, "`") {
		return ticks + " " + s + " " + ticks
	}
	return ticks + s + ticks
}

var mdSpecial = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "$", `\$`, "~", `\~`, "@", "@\u200b", "#", `\#`)

// mdText makes text mean itself, so that a script can neither mention people nor write HTML into a comment. What stands
// between backticks is code already.
func mdText(s string) string {
	s = oneLine(s)
	if strings.Count(s, "`")%2 != 0 {
		s = strings.ReplaceAll(s, "`", "'")
	}
	parts := strings.Split(s, "`")
	for i := range parts {
		if i%2 == 0 {
			parts[i] = mdSpecial.Replace(parts[i])
		}
	}
	return strings.Join(parts, "`")
}

// mdCell keeps the bars of a text from ending a cell.
func mdCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
