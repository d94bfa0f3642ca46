package file

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/stress"
	"chaos/runtime/stress/faulttest"
)

// The test binary is also the other process that undoes a record, or that is killed while it acts.
func TestMain(m *testing.M) {
	// The race detector makes a process linger for a second at its end, and the other processes here are built with it.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	hold.MaybeServe()
	stress.MaybeServe()
	faulttest.MaybeRun(Register)
	switch what := os.Getenv("FILE_TEST_AS"); what {
	case "":
		os.Exit(m.Run())
	case "opener":
		opener()
	case "reverter":
		var u actions.Undo
		if err := json.NewDecoder(os.Stdin).Decode(&u); err != nil {
			fail(err)
		}
		if err := (putReverter{}).Revert(context.Background(), env.Env{}, u); err != nil {
			fail(err)
		}
		state, err := (putReverter{}).State(context.Background(), env.Env{}, u)
		if err != nil {
			fail(err)
		}
		fmt.Print(state)
	case "victim", "planner":
		a := args{"path": value.StringOf(os.Getenv("FILE_TEST_PATH")), "content": value.StringOf(os.Getenv("FILE_TEST_CONTENT"))}
		p, err := All()[0].Plan(context.Background(), env.Env{Dir: "/", RunDir: os.Getenv("FILE_TEST_RUN")}, a)
		if err != nil {
			fail(err)
		}
		if what == "planner" {
			for _, n := range p.Missing {
				fmt.Printf("%s %s: %s", n.Kind, n.Name, n.Install)
			}
			return
		}
		fmt.Println("ready") // to be killed from here on
		if _, err := p.Inject(context.Background(), &diskLedger{path: os.Getenv("FILE_TEST_JOURNAL")}); err != nil {
			fail(err)
		}
		select {}
	}
}

func fail(err error) {
	fmt.Print(err)
	os.Exit(1)
}

// diskLedger writes its one record as the journal does: complete or not at all.
type diskLedger struct{ path string }

func (l *diskLedger) Intend(u actions.Undo) (string, error) {
	data, err := json.Marshal(u)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(l.path+".new", data, 0o600); err != nil {
		return "", err
	}
	return "1", os.Rename(l.path+".new", l.path)
}

func (*diskLedger) Applied(string) error { return nil }

// ledger keeps records in memory.
type ledger struct {
	mu       sync.Mutex
	undos    []actions.Undo
	applied  int
	onIntend func(actions.Undo) error
}

func (l *ledger) Intend(u actions.Undo) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undos = append(l.undos, u)
	if l.onIntend != nil {
		if err := l.onIntend(u); err != nil {
			return "", err
		}
	}
	return fmt.Sprint(len(l.undos)), nil
}

func (l *ledger) Applied(string) error { l.mu.Lock(); l.applied++; l.mu.Unlock(); return nil }

type args = map[string]value.Value

func setting(t *testing.T) env.Env {
	t.Helper()
	return env.Env{Dir: t.TempDir(), RunDir: t.TempDir()}
}

func planPut(e env.Env, path, content string) (actions.Plan, error) {
	return All()[0].Plan(context.Background(), e, args{"path": value.StringOf(path), "content": value.StringOf(content)})
}

func tryPut(t *testing.T, e env.Env, path, content string) (actions.Fault, *ledger, error) {
	t.Helper()
	p, err := planPut(e, path, content)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Missing) > 0 {
		t.Fatalf("missing: %v", p.Missing)
	}
	led := &ledger{}
	f, err := p.Inject(context.Background(), led)
	return f, led, err
}

func mustPut(t *testing.T, e env.Env, path, content string) (actions.Fault, *ledger) {
	t.Helper()
	f, led, err := tryPut(t, e, path, content)
	if err != nil {
		t.Fatal(err)
	}
	return f, led
}

func stateOf(t *testing.T, u actions.Undo) actions.State {
	t.Helper()
	s, err := putReverter{}.State(context.Background(), env.Env{}, u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func revert(t *testing.T, u actions.Undo) actions.State {
	t.Helper()
	if err := (putReverter{}).Revert(context.Background(), env.Env{}, u); err != nil {
		t.Fatal(err)
	}
	return stateOf(t, u)
}

// elsewhere reverts in another process, which knows nothing but the record.
func elsewhere(t *testing.T, u actions.Undo) string {
	t.Helper()
	data, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FILE_TEST_AS=reverter")
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(string(data))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// snapshot is everything that a put must bring back: names, contents, modes, owners, times, attributes.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %s %d:%d %d %d", e.Name(), info.Mode(), st.Uid, st.Gid, st.Nlink, info.Size())
		if info.Mode().IsRegular() {
			now, err := look(path)
			if err != nil {
				t.Fatal(err)
			}
			x, err := xattrs(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %s %q %s", info.ModTime(), x, now.hash)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func store(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, data []byte) actions.Undo {
	t.Helper()
	var u actions.Undo
	if err := json.Unmarshal(data, &u); err != nil {
		t.Fatal(err)
	}
	return u
}
