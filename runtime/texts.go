package runtime

import (
	"os"
	"path/filepath"
	"strings"

	"chaos/lang/check"
)

// saveTexts keeps the script in the folder of its run, and in modules/ every module that it used: when the run is read, they
// may long say something else.
func saveTexts(dir string, script *check.Script) error {
	if err := os.WriteFile(filepath.Join(dir, "script.chaos"), []byte(script.Source.Text), 0o600); err != nil {
		return err
	}
	for _, src := range script.Sources {
		if src == script.Source {
			continue
		}
		path := filepath.Join(dir, "modules", within(src.File))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(src.Text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// within is the path of a module as one that leads nowhere else: each `..` is called `up`.
func within(path string) string {
	parts := strings.Split(filepath.ToSlash(filepath.Clean(path)), "/")
	for i, p := range parts {
		if p == ".." {
			parts[i] = "up"
		}
	}
	name := filepath.Join(parts...)
	if filepath.Ext(name) == "" { // one of the library
		name += ".chaos"
	}
	return strings.TrimPrefix(name, "/")
}
