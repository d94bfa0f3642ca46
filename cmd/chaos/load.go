package main

import (
	"io"
	"os"

	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/stdlib"

	"golang.org/x/term"
)

// load reads, parses and checks one file. The source is nil when the file could not be read.
func load(path string, cat spec.Catalogue) (*diag.Source, *check.Script, diag.List) {
	src, _, script, diags := loadFile(path, cat)
	return src, script, diags
}

// loadFile is load with the tree, which is nil when there is no source.
func loadFile(path string, cat spec.Catalogue) (*diag.Source, *syntax.File, *check.Script, diag.List) {
	src, diags := source(path)
	if src == nil || diag.List(diags).HasErrors() {
		return src, nil, nil, diags
	}
	file, parsed := syntax.Parse(src)
	script, checked := check.File(file, cat, check.Options{Std: stdlib.FS(), Read: syntax.Load})
	all := append(diag.List(parsed), checked...)
	all.Sort()
	return src, file, script, all
}

// show prints diagnostics with their source lines.
func show(w io.Writer, list diag.List, sources ...*diag.Source) {
	lookup := func(file string) *diag.Source {
		for _, s := range sources {
			if s != nil && s.File == file {
				return s
			}
		}
		return nil
	}
	var style diag.Style
	if colourful(w) {
		style = diag.ANSI
	}
	diag.Render(w, list, lookup, style)
}

// sourcesOf are the texts that diagnostics may point into: of a script and its modules.
func sourcesOf(src *diag.Source, script *check.Script) []*diag.Source {
	if script == nil {
		return []*diag.Source{src}
	}
	return script.Sources
}

// colourful tells a terminal that wants colours; see https://no-color.org.
func colourful(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func count(list diag.List) (errors, warnings int) {
	for _, d := range list {
		if d.Severity == diag.Error {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}
