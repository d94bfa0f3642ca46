// Package secret finds secrets and hides them: where they come from, and in how many spellings they have to be looked for.
package secret

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
)

// EnvName is the environment variable that holds a secret.
func EnvName(name string) string { return "CHAOS_SECRET_" + name }

// longestLine bounds what a file that was chosen by mistake could take.
const longestLine = 1 << 20

// ReadFile reads a file of NAME=VALUE lines. Blank lines and lines that start with # do not count; everything behind the
// first = is the value as it is. A file that others may read is refused.
func ReadFile(path string) (map[string]string, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be read", path)
	case err != nil:
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory", path)
	case info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s may be read by others (mode %04o), and secrets may not: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longestLine)
	n := 1
	for ; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff") // a byte order mark, as some editors write it
		}
		if s := strings.TrimSpace(line); s == "" || s[0] == '#' {
			continue
		}
		name, v, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("%s:%d: write NAME=VALUE", path, n) // never the line itself
		}
		if strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("%s:%d: write NAME=VALUE, without `export` or other words before the name", path, n)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s:%d: %s stands here a second time", path, n, name)
		}
		out[name] = v
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s:%d: this line is longer than %d MiB, so this is no file of secrets", path, n, longestLine>>20)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// Least is the length below which a secret cannot be hidden: it would be found in every other word.
const Least = 4

// Redactor replaces secrets, given by name, wherever they stand in a text: as they are, escaped as in JSON, escaped as in
// a URL. It is nil for no secrets.
func Redactor(secrets map[string]string) func(string) string {
	type spelling struct{ text, name string }
	var all []spelling
	for name, v := range secrets {
		if len(v) < Least {
			continue
		}
		for _, s := range spellings(v) {
			all = append(all, spelling{s, name})
		}
	}
	if len(all) == 0 {
		return nil
	}
	// A longer one first, so that a secret that holds another is not left in part.
	slices.SortFunc(all, func(a, b spelling) int {
		if len(a.text) != len(b.text) {
			return len(b.text) - len(a.text)
		}
		return strings.Compare(a.text+a.name, b.text+b.name)
	})
	var pairs []string
	for _, s := range all {
		pairs = append(pairs, s.text, "[secret "+s.name+"]")
	}
	return strings.NewReplacer(pairs...).Replace
}

func spellings(v string) []string {
	out := []string{v, escaped(v, true), escaped(v, false), url.QueryEscape(v), url.PathEscape(v), strings.ReplaceAll(url.QueryEscape(v), "+", "%20")}
	out = append(out, escaped(out[1], true), escaped(out[2], false)) // JSON in a string of JSON
	for _, line := range strings.Split(v, "\n") {                    // a key of several lines may be shown line by line
		if len(line) >= 16 {
			out = append(out, strings.TrimSuffix(line, "\r"))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func escaped(s string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if enc.Encode(s) != nil {
		return s
	}
	quoted := strings.TrimSuffix(b.String(), "\n")
	return quoted[1 : len(quoted)-1]
}
