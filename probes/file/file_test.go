package file

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"golang.org/x/sys/unix"
)

type args = map[string]value.Value

func open(t *testing.T, name, dir string, a args) (probes.Sampler, error) {
	t.Helper()
	p, ok := probes.NewRegistry(All()...).Probe(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	o, err := p.Open(context.Background(), env.Env{Dir: dir}, a)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { o.Close() })
	return o.(probes.Sampler), nil
}

func sample(t *testing.T, name, dir string, a args) (value.Value, error) {
	t.Helper()
	s, err := open(t, name, dir, a)
	if err != nil {
		t.Fatal(err)
	}
	return s.Sample(context.Background())
}

func TestStat(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	hour := time.Now().Add(-time.Hour)
	os.Chtimes(path, hour, hour)
	os.Symlink("f", filepath.Join(dir, "link"))
	os.Symlink("nowhere", filepath.Join(dir, "dangling"))
	for _, name := range []string{"f", path, "link"} {
		v, err := sample(t, "file.stat", dir, args{"path": value.StringOf(name)})
		if age := v.Get("age").Duration(); err != nil || !v.Get("exists").Bool() || v.Get("size").String() != "5B" || age < time.Hour || age > time.Hour+time.Minute {
			t.Errorf("%s is %s (%v)", name, v, err)
		}
	}
	for _, name := range []string{"missing", "dangling", "f/below", "missing/below"} {
		v, err := sample(t, "file.stat", dir, args{"path": value.StringOf(name)})
		if err != nil || v.Get("exists").IsMissing() || v.Get("exists").Bool() || !v.Get("size").IsMissing() || !v.Get("age").IsMissing() {
			t.Errorf("%s is %s (%v)", name, v, err)
		}
	}
	v, err := sample(t, "file.stat", dir, args{"path": value.StringOf(".")})
	if err != nil || !v.Get("exists").Bool() || !v.Get("size").IsMissing() || v.Get("age").IsMissing() {
		t.Errorf("a folder is %s (%v)", v, err)
	}
	soon := time.Now().Add(time.Hour)
	os.Chtimes(path, soon, soon)
	if v, _ = sample(t, "file.stat", dir, args{"path": value.StringOf("f")}); v.Get("age").Duration() != 0 {
		t.Errorf("a file from the future is %s", v)
	}
	os.Symlink("circle", filepath.Join(dir, "circle"))
	if v, err = sample(t, "file.stat", dir, args{"path": value.StringOf("circle")}); err == nil || !strings.Contains(err.Error(), "cannot be looked at: its symbolic links lead in a circle") {
		t.Errorf("a circle is %s (%v)", v, err)
	}
}

func TestText(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("f", "role=primary\n")
	write("odd", "a\xffb")
	write("long", strings.Repeat("x", 100_000))
	for name, want := range map[string]string{"f": "role=primary\n", "odd": "a\uFFFDb", "long": strings.Repeat("x", 64<<10)} {
		if v, err := sample(t, "file.text", dir, args{"path": value.StringOf(name)}); err != nil || v.Get("text").Text() != want {
			t.Errorf("%s holds %d bytes (%v)", name, len(v.Get("text").Text()), err)
		}
	}
	if v, err := sample(t, "file.text", dir, args{"path": value.StringOf("f"), "most": value.SizeOf(4)}); err != nil || v.Get("text").Text() != "role" {
		t.Errorf("%s (%v)", v, err)
	}
	// A file that says nothing of its length.
	if v, err := sample(t, "file.text", dir, args{"path": value.StringOf("/proc/self/comm")}); err != nil || v.Get("text").Text() == "" {
		t.Errorf("%s (%v)", v, err)
	}
	unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)
	for name, want := range map[string]string{
		"missing": "there is no file " + dir + "/missing", "f/below": "there is no file " + dir + "/f/below",
		".": dir + " is no plain file", "pipe": dir + "/pipe is no plain file", "/dev/zero": "/dev/zero is no plain file",
	} {
		if _, err := sample(t, "file.text", dir, args{"path": value.StringOf(name)}); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// It is read anew each time.
	s, err := open(t, "file.text", dir, args{"path": value.StringOf("later")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sample(context.Background()); err == nil {
		t.Error("a missing file has a text")
	}
	write("later", "now")
	if v, err := s.Sample(context.Background()); err != nil || v.Get("text").Text() != "now" {
		t.Errorf("%s (%v)", v, err)
	}
}

func TestBadArguments(t *testing.T) {
	for want, a := range map[string]args{
		"`path` must not be empty":   {"path": value.StringOf("")},
		"`path` holds a zero byte":   {"path": value.StringOf("a\x00")},
		"`path`: \"~/x\" begins":     {"path": value.StringOf("~/x")},
		"`most: 2MiB` must be from ": {"path": value.StringOf("x"), "most": value.SizeOf(2 << 20)},
	} {
		if _, err := open(t, "file.text", t.TempDir(), a); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestTheSpecs(t *testing.T) {
	for _, p := range All() {
		s := p.Spec()
		if s.Summary == "" || !strings.Contains(s.Example, s.Name) {
			t.Errorf("the spec is %+v", s)
		}
		for _, p := range s.Params {
			if p.Help == "" {
				t.Errorf("%s lacks help", p.Name)
			}
		}
		for _, f := range s.Result.Fields {
			if f.Help == "" {
				t.Errorf("%s lacks help", f.Name)
			}
		}
	}
}
