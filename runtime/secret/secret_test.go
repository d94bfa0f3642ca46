package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("\ufeff# comment\n\nA=x=y \r\n B = z\n", 0o600)
	got, err := ReadFile(path)
	if err != nil || len(got) != 2 || got["A"] != "x=y " || got["B"] != " z" {
		t.Errorf("%q, %v", got, err)
	}
	write("\ufeffA=x\n", 0o600)
	if got, err := ReadFile(path); err != nil || got["A"] != "x" {
		t.Errorf("behind a byte order mark: %q, %v", got, err)
	}
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"A=x\n", 0o640, "chmod 600"},
		{"A=x\n", 0o604, "may be read by others (mode 0604)"},
		{"A=x\nhunter2\n", 0o600, ":2: write NAME=VALUE"},
		{"export\tA=hunter2\n", 0o600, ":1: write NAME=VALUE, without `export`"},
		{"export A=hunter2\n", 0o600, ":1: write NAME=VALUE, without `export`"},
		{"A=x\nA=y\n", 0o600, ":2: A stands here a second time"},
	} {
		write(c.text, c.mode)
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
}

func TestAFileThatHoldsNoSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, []byte("A=x\n"+strings.Repeat("x", longestLine+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err == nil || !strings.HasSuffix(err.Error(), ":2: this line is longer than 1 MiB, so this is no file of secrets") {
		t.Error(err)
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "there is no file ") {
		t.Error(err)
	}
}

func TestRedactor(t *testing.T) {
	if Redactor(nil) != nil || Redactor(map[string]string{"A": "abc"}) != nil {
		t.Error("there is nothing to hide")
	}
	hide := Redactor(map[string]string{"A": `p"ss<w rd&`, "B": "p4ss", "LONG": "p4ssp4ss", "PEM": "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n"})
	for in, want := range map[string]string{
		`it is p"ss<w rd&.`:                    "it is [secret A].",
		`"p\"ss\u003cw rd\u0026"`:              `"[secret A]"`,
		`"p\"ss<w rd&"`:                        `"[secret A]"`,
		`?q=p%22ss%3Cw+rd%26&x`:                "?q=[secret A]&x",
		`?q=p%22ss%3Cw%20rd%26&x`:              "?q=[secret A]&x",
		`{"body":"{\"k\":\"p\\\"ss<w rd&\"}"}`: `{"body":"{\"k\":\"[secret A]\"}"}`,
		"xp4ssp4ssp4ss":                        "x[secret LONG][secret B]",
		"line MIIEvQIBADANBgkqhkiG of the key": "line [secret PEM] of the key",
		"nothing":                              "nothing",
	} {
		if got := hide(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}
