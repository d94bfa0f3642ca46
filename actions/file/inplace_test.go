package file

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/needtest"

	"golang.org/x/sys/unix"
)

// mounted is a file that another one is mounted on, as a container's /etc/hosts is.
func mounted(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		needtest.Lacks(t, "this needs root, to mount a file")
	}
	dir := t.TempDir()
	source, path := filepath.Join(dir, "source"), filepath.Join(dir, "hosts")
	os.WriteFile(source, []byte("127.0.0.1 localhost\n"), 0o640)
	os.WriteFile(path, nil, 0o600)
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	if !isMount(path) || isMount(source) {
		t.Fatal("the kernel does not tell what is mounted: it is older than 5.8")
	}
	old := time.Unix(1700000000, 5)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAMountedFileIsWrittenInPlaceAndGivenBack(t *testing.T) {
	path, e := mounted(t), setting(t)
	before, _ := os.Stat(path)
	p, err := planPut(e, path, "10.0.0.1 db\n")
	if err != nil || !strings.Contains(p.Why, "written in place") || len(p.Missing) != 0 {
		t.Fatalf("%+v %v", p, err)
	}
	f, led := mustPut(t, e, path, "10.0.0.1 db\n")
	if got, detail := f.Effect(context.Background()); got != actions.Yes || content(t, path) != "10.0.0.1 db\n" {
		t.Errorf("%s %s: %q", got, detail, content(t, path))
	}
	for range 2 {
		if err := (putReverter{}).Revert(context.Background(), env.Env{}, led.undos[0]); err != nil {
			t.Fatal(err)
		}
	}
	after, _ := os.Stat(path)
	if content(t, path) != "127.0.0.1 localhost\n" || !after.ModTime().Equal(before.ModTime()) || after.Mode() != before.Mode() || !os.SameFile(before, after) {
		t.Errorf("%q %v, was %v", content(t, path), after, before)
	}
}

// A crash in the middle of the writing, or of the undo, leaves a beginning of the new content or of the old.
func TestATornFileIsRestoredAndASomebodyElsesIsNot(t *testing.T) {
	path, e := mounted(t), setting(t)
	_, led := mustPut(t, e, path, "10.0.0.1 db\n")
	for text, want := range map[string]actions.State{
		"": actions.Present, "10.0": actions.Present, "127.0.0.1 local": actions.Present, "10.0.0.1 db\n": actions.Present,
		"127.0.0.1 localhost\n": actions.Gone, "10.0.0.2 mine\n": actions.Foreign, "10.0.0.1 db\nmore\n": actions.Foreign,
	} {
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if s, err := (putReverter{}).State(context.Background(), env.Env{}, led.undos[0]); s != want || err != nil {
			t.Errorf("%q: %s %v, want %s", text, s, err, want)
		}
		if err := (putReverter{}).Revert(context.Background(), env.Env{}, led.undos[0]); err != nil {
			t.Fatal(err)
		}
		switch got := content(t, path); {
		case want == actions.Foreign && got != text:
			t.Errorf("%q of somebody else became %q", text, got)
		case want != actions.Foreign && got != "127.0.0.1 localhost\n":
			t.Errorf("%q became %q", text, got)
		}
	}
}
