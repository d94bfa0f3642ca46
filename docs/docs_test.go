// Package docs holds the guides, and the test that what they say is so.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"chaos/cmd/families"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/format"
	"chaos/lang/syntax"
	"chaos/stdlib"
)

const root = ".."

func TestEveryScriptInTheDocsChecks(t *testing.T) {
	reg := families.All(nil)
	blocks := 0
	for _, file := range files(t, ".md") {
		all := chaosBlocks(t, file)
		for _, b := range all {
			blocks++
			t.Run(fmt.Sprintf("%s:%d", b.file, b.line), func(t *testing.T) {
				text, shift := b.complete()
				src := diag.NewSource(b.path(), text)
				tree, found := syntax.Parse(src)
				_, more := check.File(tree, reg, check.Options{Std: stdlib.FS(), Read: among(all)})
				for _, d := range append(found, more...) {
					t.Errorf("%s:%d: %s: %s (%s)", b.file, b.line+d.Span.Start.Line-shift, d.Code, d.Message, d.Hint)
				}
				canonical(t, src)
			})
		}
	}
	if blocks < 10 {
		t.Errorf("only %d blocks were found: the search is broken", blocks)
	}
}

func TestEveryExampleChecks(t *testing.T) {
	reg := families.All(nil)
	scripts := 0
	for _, file := range files(t, ".chaos") {
		if !strings.HasPrefix(file, "examples/") {
			continue // elsewhere some are broken on purpose
		}
		scripts++
		src, found := syntax.Load(filepath.Join(root, file))
		if src == nil {
			t.Error(found)
			continue
		}
		tree, parsed := syntax.Parse(src)
		script, checked := check.File(tree, reg, check.Options{Std: stdlib.FS(), Read: syntax.Load})
		for _, d := range slices.Concat(found, parsed, checked) {
			t.Errorf("%s:%d:%d: %s: %s (%s)", file, d.Span.Start.Line, d.Span.Start.Col, d.Code, d.Message, d.Hint)
		}
		if script == nil || len(script.Experiments) == 0 {
			t.Errorf("%s: there is no experiment in it", file)
		}
		canonical(t, src)
	}
	if scripts < 10 {
		t.Errorf("only %d scripts were found: the search is broken", scripts)
	}
}

// canonical demands what `chaos fmt` writes.
func canonical(t *testing.T, src *diag.Source) {
	t.Helper()
	switch out, broken := format.Source(src); {
	case diag.List(broken).HasErrors():
		t.Errorf("%s cannot be formatted: %v", src.File, broken)
	case out != src.Text:
		t.Errorf("%s is not in canonical form, which is\n%s", src.File, out)
	}
}

// The tables of actions and probes are those whose first cell is `family.name`.
func TestTheReadmeListsEveryActionAndProbe(t *testing.T) {
	reg := families.All(nil)
	text := read(t, "README.md")
	for _, c := range []struct {
		head  string
		names []string
	}{
		{"| action | does |", reg.Actions.Names()},
		{"| probe | watches |", reg.Probes.Names()},
	} {
		_, table, ok := strings.Cut(text, c.head)
		if !ok {
			t.Errorf("README.md has no table that starts with %q", c.head)
			continue
		}
		table, _, _ = strings.Cut(table, "\n\n")
		var rows []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
			rows = append(rows, m[1])
		}
		slices.Sort(rows)
		if !slices.Equal(rows, c.names) {
			t.Errorf("README.md lists under %q\n%v, and the registry has\n%v", c.head, rows, c.names)
		}
	}
}

// The tests that the README and safety.md call proof must exist, in the folder that they name.
func TestTheTestsThatTheDocsNameExist(t *testing.T) {
	named := regexp.MustCompile("((?:`Test[\\w/-]+`(?:,| and)? ?)+)in ([a-z/]+)").FindAllStringSubmatch(read(t, "README.md")+read(t, "docs/safety.md"), -1)
	if len(named) < 5 {
		t.Fatalf("only %d were found: the search is broken", len(named))
	}
	for _, m := range named {
		var code strings.Builder
		sources, _ := filepath.Glob(filepath.Join(root, m[2], "*_test.go"))
		for _, s := range sources {
			data, err := os.ReadFile(s)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(data)
		}
		for _, name := range regexp.MustCompile(`Test[\w/-]+`).FindAllString(m[1], -1) {
			name, script, one := strings.Cut(name, "/")
			if _, err := os.Stat(filepath.Join(root, m[2], "testdata/script", script+".txtar")); one && err != nil {
				t.Errorf("the docs name the script %s in %s: %v", script, m[2], err)
			}
			if !strings.Contains(code.String(), "\nfunc "+name+"(") {
				t.Errorf("the docs name %s in %s: it is not there", name, m[2])
			}
		}
	}
}

var (
	links = regexp.MustCompile(`\[[^\]\n]*\]\(([^)\s]+)\)`)
	spans = regexp.MustCompile("`[^`\n]*`")
)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, file := range files(t, ".md") {
		fenced := false
		for n, line := range strings.Split(read(t, file), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, m := range links.FindAllStringSubmatch(spans.ReplaceAllString(line, "x"), -1) {
				to, anchor, _ := strings.Cut(m[1], "#")
				if strings.Contains(to, ":") {
					continue // of the web
				}
				if path.IsAbs(to) {
					t.Errorf("%s:%d: %s is not relative", file, n+1, m[1])
					continue
				}
				goal := file
				if to != "" {
					goal = path.Join(path.Dir(file), to)
				}
				if _, err := os.Stat(filepath.Join(root, goal)); err != nil {
					t.Errorf("%s:%d: %s leads nowhere", file, n+1, m[1])
					continue
				}
				if anchor != "" && !slices.Contains(anchors(read(t, goal)), anchor) {
					t.Errorf("%s:%d: %s has no heading #%s", file, n+1, goal, anchor)
				}
			}
		}
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		kept := regexp.MustCompile(`[^\p{L}\p{N}_\- ]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(kept, " ", "-"))
	}
	return out
}

// files lists the project's files with this ending, relative to its root, without what git and builds keep.
func files(t *testing.T, ending string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) { // a test beside this one may be cleaning up
				return nil
			}
			return err
		}
		if d.IsDir() && p != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() && d.Name() == "explain" { // its wrong examples are wrong on purpose; cmd/chaos tests them
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(p, ending) {
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// block is a fenced piece of code in the language.
type block struct {
	file string
	line int // of its first line
	text string
}

func chaosBlocks(t *testing.T, file string) []block {
	t.Helper()
	var out []block
	var now *block
	fence, indent := "", ""
	for n, line := range strings.Split(read(t, file), "\n") {
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case fence == "" && strings.HasPrefix(trimmed, "```"):
			fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
			indent = line[:len(line)-len(trimmed)]
			if strings.TrimSpace(strings.TrimPrefix(trimmed, fence)) == "chaos" {
				now = &block{file: file, line: n + 2}
			}
		case fence != "" && strings.TrimSpace(line) == fence:
			if now != nil {
				out = append(out, *now)
			}
			fence, now = "", nil
		case now != nil:
			now.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if fence != "" {
		t.Errorf("%s: a code block is never closed", file)
	}
	return out
}

// assumed is what the pieces of experiments in the docs talk about without declaring it.
var assumed = []struct{ name, declaration string }{
	{"home", `probe home = http.get("http://127.0.0.1:8003/") every 200ms`},
	{"load", `probe load = http.load("http://127.0.0.1:8003/", rate: 200/s)`},
	{"workers", `probe workers = process.count(match: "fizzbuzz api")`},
}

var (
	experiment = regexp.MustCompile(`(?m)^experiment\b`)
	fileName   = regexp.MustCompile(`^// \./(\S+\.chaos)\b`)
)

// name is that of the file which the block shows: one that starts with the comment `// ./NAME.chaos` is a module, and
// what the other blocks of the page mean by `use "./NAME.chaos"`.
func (b block) name() string {
	if m := fileName.FindStringSubmatch(b.text); m != nil {
		return m[1]
	}
	return ""
}

// path is where the file would be.
func (b block) path() string {
	if name := b.name(); name != "" {
		return path.Join(path.Dir(b.file), name)
	}
	return b.file
}

// among reads the modules of a page.
func among(blocks []block) func(string) (*diag.Source, []diag.Diagnostic) {
	return func(file string) (*diag.Source, []diag.Diagnostic) {
		for _, b := range blocks {
			if b.name() != "" && b.path() == filepath.ToSlash(file) {
				return diag.NewSource(file, b.text), nil
			}
		}
		return nil, []diag.Diagnostic{diag.Errorf(diag.BadFile, diag.Span{File: file}, "no block of the page starts with `// ./%s`", path.Base(file))}
	}
}

// complete makes a script of a piece of one: a block that is no module, without an `experiment` at the start of a line, is
// the inside of an experiment, with the probes that it names and does not declare. Shift is how many lines stand before
// its first.
func (b block) complete() (text string, shift int) {
	if b.name() != "" || experiment.MatchString(b.text) {
		return b.text, 1
	}
	var script strings.Builder
	script.WriteString("experiment \"a piece of one\" {\n")
	for _, a := range assumed {
		if regexp.MustCompile(`\b`+a.name+`\b`).MatchString(b.text) && !strings.Contains(b.text, "probe "+a.name+" ") {
			script.WriteString("  " + a.declaration + "\n")
		}
	}
	shift = 1 + strings.Count(script.String(), "\n")
	for line := range strings.Lines(b.text) {
		if line != "\n" {
			script.WriteString("  ")
		}
		script.WriteString(line)
	}
	return script.String() + "}\n", shift
}
