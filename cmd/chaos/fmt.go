package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"chaos/lang/diag"
	"chaos/lang/format"
	"chaos/lang/syntax"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
)

type fmtFlags struct {
	write, check, diff bool
}

// exitUnformatted is the code of `fmt --check` when a file is not in canonical form.
const exitUnformatted = 1

// stdin is what stdin is called in messages.
const stdin = "stdin"

func newFmt(code *int) *cobra.Command {
	var f fmtFlags
	c := &cobra.Command{
		Use:   "fmt FILE…",
		Short: "write scripts in their canonical form",
		Long: `Formats scripts: two spaces a level, one space around operators, at most one blank line, line
breaks and comments as they are. There are no options about style. The result goes to stdout; - reads
stdin. A file with mistakes is left alone.

Exit codes: 0 done; with --check, all are formatted · 1 with --check: the listed files are not · 2 a file is
broken or cannot be read or written`,
		Example: `  chaos fmt -w experiments/*.chaos
  chaos fmt --check --diff *.chaos
  chaos fmt - < game-day.chaos`,
		Args: atLeastOne("chaos fmt FILE…"),
		RunE: func(_ *cobra.Command, args []string) error {
			if f.write && f.check {
				return errors.New("--check changes nothing and -w does: choose one")
			}
			if f.write && slices.Contains(args, "-") {
				return errors.New("stdin has no place to write to: leave out -w")
			}
			var err error
			*code, err = fmtFiles(args, f)
			return err
		},
	}
	c.ValidArgsFunction = completeScripts
	c.Flags().BoolVarP(&f.write, "write", "w", false, "write the result to the file; print the names of those that changed")
	c.Flags().BoolVar(&f.check, "check", false, "change nothing; print the names of files that are not formatted")
	c.Flags().BoolVar(&f.diff, "diff", false, "print what would change, or changes, as a unified diff")
	return c
}

// fmtFiles formats each file, whatever becomes of the others.
func fmtFiles(paths []string, f fmtFlags) (code int, err error) {
	for _, path := range paths {
		src, diags := source(path)
		text := ""
		if src != nil {
			text, diags = format.Source(src)
		}
		show(os.Stderr, diags, src)
		if n, _ := count(diags); n > 0 {
			fmt.Fprintf(os.Stderr, "\n%s: %s, not formatted\n", diags[0].Span.File, plural(n, "error"))
			code = exitUsage
			continue
		}
		changed := text != src.Text
		if changed && f.check && code == 0 {
			code = exitUnformatted
		}
		if changed && f.write {
			if err := replace(path, text); err != nil {
				fmt.Fprintf(os.Stderr, "chaos: %s: %s\n", path, err)
				code = exitUsage
				continue
			}
		}
		if _, err := io.WriteString(os.Stdout, report(src, text, f)); err != nil {
			return exitUsage, err
		}
	}
	return code, nil
}

// called is what a path is called in messages.
func called(path string) string {
	if path == "-" {
		return stdin
	}
	return path
}

// source reads a script from a file, or from stdin where the path is `-`.
func source(path string) (*diag.Source, diag.List) {
	if path != "-" {
		return syntax.Load(path)
	}
	start := diag.NewSource(stdin, "").Span(0, 0)
	data, err := io.ReadAll(io.LimitReader(os.Stdin, syntax.MaxSize+1))
	switch {
	case err != nil:
		return nil, diag.List{diag.Errorf(diag.BadFile, start, "stdin cannot be read: %s", err)}
	case len(data) > syntax.MaxSize:
		return nil, diag.List{diag.Errorf(diag.BadFile, start, "stdin is too large for a script").WithHint("a script may have up to 10MiB")}
	}
	if d, bad := syntax.Encoding(stdin, data); bad {
		return nil, diag.List{d}
	}
	return diag.NewSource(stdin, string(data)), nil
}

// report is what stdout gets for a file.
func report(src *diag.Source, text string, f fmtFlags) string {
	switch {
	case !f.diff && !f.check && !f.write:
		return text
	case text == src.Text:
		return ""
	case !f.diff:
		return src.File + "\n"
	}
	out := string(diff.Diff(src.File+".orig", []byte(src.Text), src.File, []byte(text)))
	if !colourful(os.Stdout) {
		return out
	}
	lines := strings.SplitAfter(out, "\n")
	for i, l := range lines {
		codes := map[byte]string{'-': "31", '+': "32", '@': "36", 'd': "1"}
		if l != "" && codes[l[0]] != "" {
			lines[i] = "\x1b[" + codes[l[0]] + "m" + strings.TrimSuffix(l, "\n") + "\x1b[0m\n"
		}
	}
	return strings.Join(lines, "")
}

// replace puts text in the place of a file, whole or not at all. A symbolic link stays one, and the file keeps its mode and,
// where we may, its owner.
func replace(path, text string) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return cause(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return cause(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("this is no regular file and has no place to write to: leave out -w")
	}
	// Renaming asks for the folder's permission only; a file that is meant not to be written stays as it is.
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return cause(err)
	}
	old.Close()
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("the new text cannot be written beside it: %w", cause(err))
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
			err = cause(err)
		}
	}()
	if _, err = io.WriteString(tmp, text); err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		tmp.Chown(int(s.Uid), int(s.Gid)) // what we may not give away becomes ours, as with any editor
	}
	if err = tmp.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// cause is an error without the paths in it: the message names the script, and temporary files concern nobody.
func cause(err error) error {
	var perr *fs.PathError
	var lerr *os.LinkError
	switch {
	case errors.As(err, &perr):
		return perr.Err
	case errors.As(err, &lerr):
		return lerr.Err
	}
	return err
}
