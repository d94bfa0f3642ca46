package lint

import (
	"path"
	"strings"

	"chaos/lang/diag"
	"chaos/lang/syntax"
	"chaos/lang/token"
)

// unused looks for declarations that nothing reads.
func (l *linter) unused() {
	whole := l.mentions(l.file.Span)
	sampled := map[string]bool{}
	for _, x := range l.script.Experiments {
		for _, p := range x.Probes {
			sampled[p.Name] = true
		}
	}
	l.declared(l.file.Items, whole, sampled, "no experiment")
	i := 0
	for _, s := range l.file.Items {
		e, ok := s.(*syntax.Experiment)
		if !ok {
			continue
		}
		sampled := map[string]bool{}
		if i < len(l.script.Experiments) {
			for _, p := range l.script.Experiments[i].Probes {
				sampled[p.Name] = true
			}
		}
		i++
		inside := l.mentions(e.Span)
		l.declared(e.Body.Stmts, inside, sampled, "nothing in the experiment")
		for _, m := range e.Body.Stmts {
			if sec, ok := m.(*syntax.Section); ok {
				l.lets(sec.Body.Stmts, inside)
			}
		}
	}
}

// declared judges the declarations of one list.
func (l *linter) declared(list []syntax.Stmt, mentions map[string]int, sampled map[string]bool, who string) {
	for _, s := range list {
		switch s := s.(type) {
		case *syntax.Param:
			if mentions[s.Name.Text] <= 1 { // the declaration itself
				l.report(diag.Warningf(diag.UnusedParam, s.Name.Span, "the parameter `%s` changes nothing: %s reads it", s.Name.Text, who).WithHint("use it, or remove it"))
			}
		case *syntax.Let:
			l.let(s, mentions)
		case *syntax.Use:
			name, own := path.Base(strings.TrimSuffix(s.Path.Value, ".chaos")), 0
			if s.As != nil {
				name, own = s.As.Text, 1
			}
			if mentions[name] <= own {
				l.report(diag.Warningf(diag.UnusedUse, s.Path.Span, "nothing of `%s` is used here", name).WithHint("use it, or remove it"))
			}
		case *syntax.Action:
			if mentions[s.Name.Text] <= 1 {
				l.report(diag.Warningf(diag.UnusedAction, s.Name.Span, "the action `%s` is defined and never called", s.Name.Text).WithHint("call it as a step: `%s(…)`, or remove it", s.Name.Text))
			}
			l.lets(s.Body.Stmts, l.mentions(s.Span))
		case *syntax.Probe:
			switch {
			case s.Formals != nil && mentions[s.Name.Text] <= 1:
				l.report(diag.Warningf(diag.UnusedProbe, s.Name.Span, "the probe `%s` is defined and never used", s.Name.Text).WithHint("write `probe name = %s(…)`, or remove it", s.Name.Text))
			case s.Formals == nil && !sampled[s.Name.Text]:
				l.report(diag.Warningf(diag.UnusedProbe, s.Name.Span, "the probe `%s` is never sampled: %s mentions it", s.Name.Text, who).WithHint("claim something about it: `expect %s…`, or remove it", s.Name.Text))
			}
		}
	}
}

// lets judges those inside a section, however deep.
func (l *linter) lets(list []syntax.Stmt, mentions map[string]int) {
	for _, s := range list {
		switch s := s.(type) {
		case *syntax.Let:
			l.let(s, mentions)
		case *syntax.Repeat:
			l.lets(s.Body.Stmts, mentions)
		case *syntax.Do:
			l.lets(s.Body.Stmts, mentions)
		case *syntax.Parallel:
			l.lets(s.Body.Stmts, mentions)
		case *syntax.When:
			for w := s; w != nil; w = w.ElseWhen {
				l.lets(w.Then.Stmts, mentions)
				if w.Else != nil {
					l.lets(w.Else.Stmts, mentions)
				}
			}
		}
	}
}

func (l *linter) let(s *syntax.Let, mentions map[string]int) {
	if mentions[s.Name.Text] <= 1 {
		l.report(diag.Warningf(diag.UnusedLet, s.Name.Span, "nothing reads `%s`", s.Name.Text).WithHint("use it, or remove it"))
	}
}

// mentions counts the names in a part of the file: as values, not as fields, arguments or keys. Words decide and not
// meanings, which errs on the side of silence.
func (l *linter) mentions(at diag.Span) map[string]int {
	out := map[string]int{}
	var scan func(from, to int)
	scan = func(from, to int) {
		all := token.ScanRange(l.src, from, to).Tokens
		for i, t := range all {
			switch t.Kind {
			case token.String:
				for _, h := range holes(t.Text) {
					scan(t.Off+h[0], t.Off+h[1])
				}
			case token.Name:
				if i > 0 && (all[i-1].Is(".") || all[i-1].Is("?.")) {
					continue
				}
				key := i+1 < len(all) && all[i+1].Is(":") && i > 0 && (all[i-1].Is("(") || all[i-1].Is(",") || all[i-1].Is("{") || all[i-1].Kind == token.End)
				if !key {
					out[t.Text]++
				}
			}
		}
	}
	scan(at.Start.Offset, at.End.Offset)
	return out
}

// holes are the places of the expressions in a string. One that holds braces of its own may end late, which finds more
// names, never fewer.
func holes(text string) [][2]int {
	if text[0] == '\'' {
		return nil
	}
	var out [][2]int
	for i := 0; ; {
		j := strings.Index(text[i:], "${")
		if j < 0 {
			return out
		}
		from := i + j + 2
		depth, to := 1, from
		for to < len(text) && depth > 0 {
			switch text[to] {
			case '{':
				depth++
			case '}':
				depth--
			}
			to++
		}
		out = append(out, [2]int{from, max(to-1, from)})
		i = to
	}
}
