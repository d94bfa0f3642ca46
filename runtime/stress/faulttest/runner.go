package faulttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/runtime/env"
	"chaos/runtime/hold"
	"chaos/runtime/target"
)

// inRunner holds the order for a test binary that is to be the runner.
const inRunner = "CHAOS_FAULTTEST"

type order struct {
	Action  string
	Args    Args
	Dir     string // of the script and of the run
	Records string
}

// MaybeRun makes this process a runner, if it was started as one: it injects one fault and holds it until it is killed, or
// its standard input ends.
func MaybeRun(register func(*actions.Registry)) {
	var o order
	if json.Unmarshal([]byte(os.Getenv(inRunner)), &o) != nil || o.Action == "" {
		return
	}
	os.Unsetenv(inRunner)
	if err := o.run(register); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (o order) run(register func(*actions.Registry)) error {
	file, err := os.OpenFile(o.Records, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	h := hold.NewClient(nil)
	defer h.Close()
	e := env.Env{Dir: o.Dir, RunDir: o.Dir, Runs: o.Dir, Hold: h, Rand: rand.New(rand.NewPCG(1, 2)), Log: func(string) {}}
	act, ok := Of(register).reg.Action(o.Action)
	if !ok {
		return fmt.Errorf("no action %s", o.Action)
	}
	values, err := Values(act.Spec(), o.Args)
	if err != nil {
		return err
	}
	p, err := act.Plan(context.Background(), e, values)
	if err != nil {
		return err
	}
	fmt.Println("planned")
	f, err := p.Inject(context.Background(), &Ledger{file: file})
	if err != nil {
		return err
	}
	fmt.Println("injected")
	effect, detail := f.Effect(context.Background())
	fmt.Println("effect", effect, detail)
	io.Copy(io.Discard, os.Stdin)
	if f.Hold != nil {
		return f.Hold.Close()
	}
	return nil
}

// Runner is another process that injects a fault.
type Runner struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	lines   chan string
	records string
}

// NewRunner starts one; more are arguments for the test binary, in a package whose TestMain is not Main.
func NewRunner(t *testing.T, action string, args Args, more ...string) *Runner {
	t.Helper()
	dir := runDir(t)
	o := order{Action: action, Args: args, Dir: dir, Records: filepath.Join(dir, "records")}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{cmd: exec.Command("/proc/self/exe", more...), lines: make(chan string, 100), records: o.Records}
	r.cmd.Args[0] = os.Args[0]
	r.cmd.Env = append(os.Environ(), inRunner+"="+string(text))
	r.cmd.Stderr = os.Stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	go func() {
		defer close(r.lines)
		in := bufio.NewScanner(out)
		for in.Scan() {
			r.lines <- in.Text()
		}
	}()
	return r
}

// Await waits until the runner has said a word: "planned", "injected", "effect".
func (r *Runner) Await(t *testing.T, word string) string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case line, ok := <-r.lines:
			if !ok || strings.HasPrefix(line, "error") {
				t.Fatalf("the runner ended before it %s: %s", word, line)
			}
			if strings.HasPrefix(line, word) {
				return line
			}
		case <-late:
			t.Fatalf("the runner never %s", word)
		}
	}
}

// Kill kills the runner with SIGKILL, and waits for it alone: its helper may live a moment longer.
func (r *Runner) Kill() {
	r.cmd.Process.Kill()
	r.cmd.Process.Wait()
}

// Identity is who the runner is.
func (r *Runner) Identity() target.Identity {
	id, _ := target.ProcessIdentity(r.cmd.Process.Pid)
	return id
}

// Undos reads the records that were on disk when the runner died.
func (r *Runner) Undos(t *testing.T) []actions.Undo {
	t.Helper()
	data, err := os.ReadFile(r.records)
	if err != nil {
		return nil
	}
	var out []actions.Undo
	for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var u actions.Undo
		if json.Unmarshal(line, &u) == nil {
			out = append(out, u)
		}
	}
	return out
}

// KillAnyTime kills a runner again and again, each at a random instant between its plan and some time after. check is
// called right after each death.
func KillAnyTime(t *testing.T, times int, within time.Duration, start func() *Runner, check func(*Runner)) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for range times {
		runner := start()
		runner.Await(t, "planned")
		<-time.After(time.Duration(r.Int64N(int64(within))))
		runner.Kill()
		check(runner)
		if t.Failed() {
			return
		}
	}
}
