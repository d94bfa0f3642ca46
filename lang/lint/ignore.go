package lint

import (
	"regexp"
	"slices"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/token"
)

// ignore is one `// lint:ignore NAME reason`.
type ignore struct {
	name string
	at   diag.Span // of the name, or of the comment where there is none
	line int       // that it silences
	used bool      // or wrong in another way already
}

const directive = "lint:ignore"

// almost is how a directive is misspelt. Nothing else would tell the reader why the warning stays.
var almost = regexp.MustCompile(`(?i)^lint(\s*:\s*|-)ignore\b`)

// silence takes away what the file says it knows, and reports ignores that are none.
func (l *linter) silence(list []diag.Diagnostic) []diag.Diagnostic {
	ignores, out := l.ignores()
	for _, d := range list {
		silent := false
		for _, g := range ignores {
			if g.line == d.Span.Start.Line && g.name == d.Code.Lint() {
				g.used, silent = true, true
			}
		}
		if !silent {
			out = append(out, d)
		}
	}
	for _, g := range ignores {
		if !g.used {
			out = append(out, diag.Warningf(diag.IgnoresWrong, g.at, "this silences nothing: there is no `%s` here", g.name).
				WithHint("it stands on the line of the warning or right above: move it there, or remove it"))
		}
	}
	return out
}

// ignores reads the comments. One that stands alone is for the next line that says something.
func (l *linter) ignores() (list []*ignore, bad []diag.Diagnostic) {
	all := token.Scan(l.src).All
	for i, t := range all {
		if t.Kind != token.Comment || !strings.HasPrefix(t.Text, "//") {
			continue
		}
		text := strings.TrimLeft(t.Text[2:], " \t")
		rest, ok := strings.CutPrefix(text, directive)
		if meant := almost.FindString(text); !ok && meant != "" {
			from := t.Off + len(t.Text) - len(text)
			bad = append(bad, diag.Warningf(diag.IgnoresWrong, l.src.Span(from, from+len(meant)), "`%s` silences nothing", meant).WithHint("write `// lint:ignore NAME reason`"))
		}
		if !ok || rest != "" && !strings.ContainsAny(rest[:1], " \t") {
			continue
		}
		from := t.Off + len(t.Text) - len(rest)
		name, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if name == "" {
			bad = append(bad, diag.Warningf(diag.IgnoresWrong, l.src.Span(t.Off, t.Stop()), "this does not say what to ignore").WithHint("write `// lint:ignore NAME reason`"))
			continue
		}
		from += strings.Index(rest, name)
		at := l.src.Span(from, from+len(name))
		if !slices.Contains(diag.LintNames(), name) {
			d := diag.Warningf(diag.IgnoresWrong, at, "there is no warning `%s`", name)
			if lint := diag.Code(name).Lint(); lint != "" {
				d = diag.Warningf(diag.IgnoresWrong, at, "a warning is ignored by its name, not by its code").WithHint("write `// lint:ignore %s …`", lint)
			} else if bare := strings.TrimRight(name, ",:"); slices.Contains(diag.LintNames(), bare) && !namesWarning(reason) {
				d = d.WithHint("write `// lint:ignore %s …`: a blank stands before the reason", bare)
			} else if strings.Contains(name, ",") {
				d = d.WithHint("name one, and write a line for each: `// lint:ignore NAME reason`")
			} else if near, ok := diag.Nearest(name, diag.LintNames()); ok {
				d = d.WithHint("did you mean `%s`?", near)
			} else {
				d = d.WithHint("`chaos explain` lists them")
			}
			bad = append(bad, d)
			continue
		}
		mute := strings.TrimSpace(reason) == ""
		if mute {
			bad = append(bad, diag.Warningf(diag.IgnoresWrong, at, "this does not say why it is ignored").WithHint("write the reason behind it: `// lint:ignore %s because …`", name))
		}
		list = append(list, &ignore{name: name, at: at, line: l.target(all, i), used: mute})
	}
	return list, bad
}

// namesWarning tells that a text begins with the name of a warning, or its code.
func namesWarning(text string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	word = strings.TrimRight(word, ",")
	return slices.Contains(diag.LintNames(), word) || diag.Code(word).Lint() != ""
}

// target is the line that the comment at i speaks of: its own, or the next one that holds more than a comment.
func (l *linter) target(all []token.Token, i int) int {
	line := func(t token.Token) int { return l.src.Pos(t.Off).Line }
	own := line(all[i])
	for j := i - 1; j >= 0 && line(all[j]) == own; j-- {
		if k := all[j].Kind; k != token.End {
			return own
		}
	}
	for _, t := range all[i+1:] {
		if t.Kind != token.Comment && t.Kind != token.End && t.Kind != token.EOF {
			return line(t)
		}
	}
	return own
}
