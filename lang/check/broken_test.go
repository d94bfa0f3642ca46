package check

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"chaos/lang/check/checktest"
	"chaos/lang/diag"
	"chaos/lang/syntax"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	errorComment = regexp.MustCompile(`// ERROR(@-1)?((?: "(?:[^"\\]|\\.)*")+)`)
	quoted       = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// TestBroken checks broken scripts two ways. A comment `// ERROR "regexp"` demands a diagnostic on its line (or, with @-1,
// on the line before), and every diagnostic needs one; and the file beside each script holds what a terminal shows.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.chaos")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".chaos"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			src := diag.NewSource(filepath.Base(path), string(data))
			_, list := parseAndCheck(t, src)
			matchComments(t, src, list)
			golden(t, strings.TrimSuffix(path, ".chaos")+".golden", list, src)
		})
	}
}

// TestBrokenModules does the same with scripts of several files. The first file is the script, `std/…` is the library.
func TestBrokenModules(t *testing.T) {
	paths, err := filepath.Glob("testdata/modules/*.txtar")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d archives, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			script, list := checkArchive(t, path)
			for _, d := range list {
				if !slices.ContainsFunc(script.Sources, func(s *diag.Source) bool { return s.File == d.Span.File }) {
					t.Errorf("not in a source: %v", d)
				}
			}
			for _, src := range script.Sources {
				var own diag.List
				for _, d := range list {
					if d.Span.File == src.File {
						own = append(own, d)
					}
				}
				matchComments(t, src, own)
			}
			golden(t, strings.TrimSuffix(path, ".txtar")+".golden", list, script.Sources...)
		})
	}
}

// checkArchive checks the script of an archive.
func checkArchive(t *testing.T, path string) (*Script, diag.List) {
	t.Helper()
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts, main := archive(a)
	file, ds := syntax.Parse(main)
	script, more := File(file, checktest.New(), opts)
	list := diag.List(append(ds, more...))
	list.Sort()
	return script, list
}

func archive(a *txtar.Archive) (Options, *diag.Source) {
	std := fstest.MapFS{}
	files := map[string]string{}
	for _, f := range a.Files {
		if name, ok := strings.CutPrefix(f.Name, "std/"); ok {
			std[name] = &fstest.MapFile{Data: f.Data}
		}
		files[f.Name] = string(f.Data)
	}
	return Options{Std: std, Read: func(path string) (*diag.Source, []diag.Diagnostic) {
		if text, ok := files[path]; ok {
			return diag.NewSource(path, text), nil
		}
		return nil, []diag.Diagnostic{diag.Errorf(diag.BadFile, diag.Span{File: path}, "there is no file `%s`", path)}
	}}, diag.NewSource(a.Files[0].Name, string(a.Files[0].Data))
}

func matchComments(t *testing.T, src *diag.Source, list diag.List) {
	t.Helper()
	want := map[int][]*regexp.Regexp{}
	for i, line := range strings.Split(src.Text, "\n") {
		m := errorComment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at := i + 1
		if m[1] != "" {
			at--
		}
		for _, q := range quoted.FindAllString(m[2], -1) {
			text, err := strconv.Unquote(strings.ReplaceAll(strings.ReplaceAll(q, `\\`, `\`), `\(`, `\\(`))
			if err != nil {
				text = strings.Trim(q, `"`)
			}
			want[at] = append(want[at], regexp.MustCompile(text))
		}
	}
	for _, d := range list {
		line, found := d.Span.Start.Line, false
		for i, re := range want[line] {
			if re.MatchString(d.Message) || re.MatchString(d.Hint) {
				want[line] = append(want[line][:i:i], want[line][i+1:]...)
				found = true
				break
			}
		}
		if !found {
			t.Errorf("not expected: %v", d)
		}
	}
	for line, rest := range want {
		for _, re := range rest {
			t.Errorf("line %d: no diagnostic matches %q", line, re)
		}
	}
}

func golden(t *testing.T, path string, list diag.List, sources ...*diag.Source) {
	t.Helper()
	var b strings.Builder
	diag.Render(&b, list, func(file string) *diag.Source {
		for _, s := range sources {
			if s.File == file {
				return s
			}
		}
		return nil
	}, nil)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the rendered text differs from %s (run with -update and look at it):\n%s", path, b.String())
	}
}

// TestMessagesAreFitForPeople guards the house style: lower case, no full stop, no words of Go or of the parser.
func TestMessagesAreFitForPeople(t *testing.T) {
	files, _ := filepath.Glob("testdata/broken/*.chaos")
	archives, _ := filepath.Glob("testdata/modules/*.txtar")
	for _, path := range append(files, archives...) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var list diag.List
		if strings.HasSuffix(path, ".txtar") {
			_, list = checkArchive(t, path)
		} else {
			_, list = parseAndCheck(t, diag.NewSource(path, string(data)))
		}
		for _, d := range list {
			for _, text := range []string{d.Message, d.Hint} {
				if strings.HasSuffix(text, ".") || text != "" && text[0] >= 'A' && text[0] <= 'Z' {
					t.Errorf("%s: %q", d.Span, text)
				}
				for _, bad := range []string{"float64", "interface {", "map[", "time.", "struct", "token", "participle", "EOF", "nil pointer"} {
					if strings.Contains(text, bad) {
						t.Errorf("%s: %q says %q", d.Span, text, bad)
					}
				}
			}
		}
	}
}
