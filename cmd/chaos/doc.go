package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"chaos/lang/doc"
	"chaos/lang/expr"
	"chaos/lang/syntax"
	"chaos/stdlib"

	"github.com/spf13/cobra"
)

//go:generate go run . doc --out ../../docs/reference

// docFormats are the forms that chaos doc writes.
var docFormats = []string{"text", "json", "md"}

func newDoc() *cobra.Command {
	var format, out string
	c := &cobra.Command{
		Use:   "doc [NAME]",
		Short: "look up actions, probes, functions and modules",
		Long: `Shows what scripts can do. Without NAME everything is listed; NAME is a family (process), an
action or a probe (http.get), functions, one function (len), std, or one module of the standard
library (std/web). In a signature name?: is an argument that may be left out, and of those joined by |
exactly one is given. Into a pipe every line of a list is written whole.

With --format json the output is
` + doc.JSONShape + `
where ? marks what is left out when empty; defaults are literals of the language.`,
		Example: `  chaos doc
  chaos doc process
  chaos doc http.get
  chaos doc std/web
  chaos doc --format json | jq -r '.calls[].name'`,
		Args:              atMostOne,
		ValidArgsFunction: completeDoc,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := reference()
			if out != "" {
				return writeReference(ref, out)
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			t, err := ref.Find(name)
			if err != nil {
				if form, ok := syntax.Usage(name); ok {
					return fmt.Errorf("`%s` is a word of the language, and this looks up what is called; write `%s`", name, form)
				}
				return err
			}
			w := cmd.OutOrStdout()
			switch format {
			case "text":
				switch {
				case colourful(w):
					return doc.Text(w, t, docColours)
				case isTerminal(w):
					return doc.Text(w, t, nil)
				}
				return doc.Plain(w, t)
			case "md":
				return doc.Markdown(w, t)
			case "json":
				return doc.JSON(w, t)
			}
			return noFormat(format, docFormats)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the output: text, json or md")
	c.Flags().StringVar(&out, "out", "", "write the whole reference as Markdown pages into the folder `DIR`")
	c.RegisterFlagCompletionFunc("format", fixed(docFormats...))
	return c
}

// reference is that of this program.
func reference() *doc.Reference {
	var functions []doc.Function
	for _, f := range expr.Functions() {
		functions = append(functions, doc.Function(f))
	}
	modules, err := doc.Modules(stdlib.FS())
	if err != nil { // a module of this binary that does not parse: any test finds it
		panic(err)
	}
	return doc.New(registries(), functions).With(modules)
}

func docColours(kind, text string) string {
	codes := map[string]string{"head": "1;36", "name": "1", "dim": "2"}
	return "\x1b[" + codes[kind] + "m" + text + "\x1b[0m"
}

// writeReference writes the pages into a folder. A page that it wrote for a family that is gone is removed; a file that it
// did not write stays.
func writeReference(ref *doc.Reference, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	pages := ref.Pages()
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, stays := pages[filepath.Base(path)]; stays || !generated(path) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for name, text := range pages {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil && !generated(path) {
			return errors.New("--out: " + path + " was not written by chaos doc, so it is not written over")
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	return nil
}

func generated(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && strings.HasPrefix(string(data), strings.TrimSpace(doc.Generated))
}
