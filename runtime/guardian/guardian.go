// Package guardian is the process that undoes a run's faults when the runner cannot: the same binary, in a session of its
// own, which learns each undo record through a pipe before the act. When the pipe ends without a farewell, or a fault
// outlives its deadline, it undoes what is left, newest first, and finishes the journal.
package guardian

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"chaos/actions"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/event"
	"chaos/runtime/recovery"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// Command is the hidden command under which the guardian runs.
const Command = "guard"

// DeadlineGrace is how long the runner may be late with an undo before the guardian does it.
const DeadlineGrace = 5 * time.Second

// message is one line of the pipe; exactly one of its parts is set.
type message struct {
	Hello    *hello         `json:"hello,omitempty"`
	Intended *recovery.Open `json:"intended,omitempty"`
	Deadline int64          `json:"deadline,omitempty"` // of Intended or Until: CLOCK_MONOTONIC in nanoseconds, 0 for none
	Until    string         `json:"until,omitempty"`    // the record whose deadline is set anew
	Reverted string         `json:"reverted,omitempty"`
	Farewell bool           `json:"farewell,omitempty"`
}

type hello struct {
	RunDir    string          `json:"run_dir"`
	ScriptDir string          `json:"script_dir"`
	Started   time.Time       `json:"started"`
	Runner    target.Identity `json:"runner"`
}

// monotonic is CLOCK_MONOTONIC, which all processes of a boot share; see clock_gettime(2).
func monotonic() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// Client is the runner's end.
type Client struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
	mu   sync.Mutex
	died chan struct{}
	bye  bool
}

// Start starts a guardian and returns when it is ready to act. command is how, as ["chaos", "guard"]; nil is this
// executable.
func Start(command []string, runDir, scriptDir string, started time.Time) (*Client, error) {
	if command == nil {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		command = []string{self, Command}
	}
	c := &Client{cmd: exec.Command(command[0], command[1:]...), died: make(chan struct{})}
	// Its own session: no terminal's signal reaches it, and it outlives the runner.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.cmd.Dir = "/"
	log, err := os.OpenFile(filepath.Join(runDir, "guardian.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Stderr = log
	if c.pipe, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	ready, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	up := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(ready).ReadString('\n')
		if err == nil && line != "ready\n" {
			err = fmt.Errorf("it said %q", line)
		}
		up <- err
		c.cmd.Wait()
		close(c.died)
	}()
	runner, err := target.ProcessIdentity(os.Getpid())
	if err == nil {
		err = c.send(message{Hello: &hello{RunDir: runDir, ScriptDir: scriptDir, Started: started, Runner: runner}})
	}
	if err == nil {
		select {
		case err = <-up:
		case <-time.After(10 * time.Second):
			err = errors.New("it is not ready after 10s")
		}
	}
	if err != nil {
		c.pipe.Close()
		c.cmd.Process.Kill()
		if said := firstLine(log.Name()); said != "" {
			err = fmt.Errorf("it has ended, and said: %s", said)
		}
		return nil, err
	}
	return c, nil
}

// firstLine is what a guardian that could not start has said: of a crash, the first line tells why.
func firstLine(path string) string {
	data, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}

func (c *Client) send(m message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.pipe.Write(append(line, '\n'))
	return err
}

// Intend hands over a record before its act. A deadline of zero is none.
func (c *Client) Intend(o recovery.Open, within time.Duration) error {
	m := message{Intended: &o}
	if within > 0 {
		m.Deadline = monotonic() + int64(within)
	}
	return c.send(m)
}

// Until sets a record's deadline anew: within from now.
func (c *Client) Until(id string, within time.Duration) error {
	return c.send(message{Until: id, Deadline: monotonic() + int64(within)})
}

// Reverted takes a record back.
func (c *Client) Reverted(id string) error { return c.send(message{Reverted: id}) }

// Died is closed when the guardian has ended.
func (c *Client) Died() <-chan struct{} { return c.died }

// Pid is the guardian's process.
func (c *Client) Pid() int { return c.cmd.Process.Pid }

// Close says farewell: the runner has done everything that could be done. It waits until the guardian is gone.
func (c *Client) Close() error {
	if c.bye {
		return nil
	}
	c.bye = true
	err := c.send(message{Farewell: true})
	c.pipe.Close()
	select {
	case <-c.died:
	case <-time.After(5 * time.Second):
		c.cmd.Process.Kill()
		<-c.died
		return errors.New("the guardian did not end")
	}
	return err
}

// Serve is the guardian's life. It returns the process' exit code.
func Serve(reg *actions.Registry, in io.Reader, out io.Writer) int {
	// Caught and dropped, not ignored: what is ignored stays so in the commands that an undo runs.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	command.SpareUs()
	lines := make(chan message)
	go func() {
		defer close(lines)
		dec := json.NewDecoder(in)
		for {
			var m message
			if dec.Decode(&m) != nil {
				return
			}
			lines <- m
		}
	}()
	first, ok := <-lines
	if !ok || first.Hello == nil {
		say("this command is for chaos itself: a run starts it")
		return 2
	}
	lock, err := recovery.Lock(first.Hello.RunDir, recovery.GuardianLock)
	if err != nil {
		say("%s cannot be locked, so another guardian or `chaos recover` is at work there: %s", first.Hello.RunDir, err)
		return 2
	}
	defer lock.Close()
	g := &guard{hello: *first.Hello, reg: reg, deadlines: map[string]int64{}}
	fmt.Fprint(out, "ready\n")
	timer := time.NewTimer(time.Hour)
	for {
		timer.Reset(g.next())
		select {
		case m, ok := <-lines:
			if !ok {
				code := g.finish("the runner has died")
				command.EndLitter(g.hello.RunDir)
				return code
			}
			if m.Farewell {
				return 0
			}
			g.take(m)
		case <-timer.C:
			g.overdue()
		case <-term:
			return g.finish("the guardian was asked to end")
		}
	}
}

// say writes a line into guardian.log, which is looked at when something went wrong.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.DateTime)+" guardian: "+format+"\n", args...)
}

type guard struct {
	hello     hello
	reg       *actions.Registry
	open      []recovery.Open
	deadlines map[string]int64
}

func (g *guard) take(m message) {
	switch {
	case m.Intended != nil:
		g.open = append(g.open, *m.Intended)
		if m.Deadline > 0 {
			g.deadlines[m.Intended.ID] = m.Deadline
		}
	case m.Until != "":
		g.deadlines[m.Until] = m.Deadline
	case m.Reverted != "":
		g.drop(m.Reverted)
	}
}

func (g *guard) drop(id string) {
	delete(g.deadlines, id)
	g.open = slices.DeleteFunc(g.open, func(o recovery.Open) bool { return o.ID == id })
}

// next is the time until the earliest deadline.
func (g *guard) next() time.Duration {
	least := int64(time.Hour)
	for _, d := range g.deadlines {
		least = min(least, d+int64(DeadlineGrace)-monotonic())
	}
	return time.Duration(max(least, 0))
}

// overdue acts for a runner that is still there, but stuck or stopped, and should have undone something long ago. What
// only the runner's end can undo is undone by ending it.
func (g *guard) overdue() {
	now := monotonic()
	var late []recovery.Open
	hung := false
	for _, o := range g.open {
		if d, ok := g.deadlines[o.ID]; ok && d+int64(DeadlineGrace) <= now {
			late = append(late, o)
			hung = hung || o.Undo.Lifetime == actions.Kernel || o.Undo.Held
		}
	}
	switch {
	case hung:
		say("%s should have undone a fault %s ago and did not: killing it, and undoing what it left", g.hello.Runner, DeadlineGrace)
		if err := g.hello.Runner.Signal(unix.SIGKILL); err != nil && !errors.Is(err, target.ErrGone) {
			say("the runner cannot be killed: %s; kill it by hand: kill -KILL %s", err, g.hello.Runner.ID)
		}
		g.deadlines = map[string]int64{} // the end of its pipe brings the rest
	case len(late) > 0:
		g.undo(late, "a deadline passed and the runner did nothing")
	}
}

func (g *guard) finish(why string) int {
	if len(g.open) == 0 {
		return 0
	}
	if !g.undo(g.open, why) {
		return 1
	}
	return 0
}

// undo reverts records, newest first, and journals it. The undo itself does not wait for the journal: the disk may be
// what is broken.
func (g *guard) undo(list []recovery.Open, why string) bool {
	list = slices.Clone(list)
	var stream *event.Stream
	journal, err := event.ReopenJournal(g.hello.RunDir)
	if err != nil {
		say("the journal cannot be written, so `chaos recover` will undo once more what is undone now: %s", err)
		stream = event.NewStream(nil)
	} else {
		defer journal.Close()
		stream = event.ResumeStream(journal, g.hello.Started, recovery.LastSeq(g.hello.RunDir))
	}
	stream.Emit(event.Note{Text: "guardian: " + why + "; undoing what is left"})
	e := env.Env{Dir: g.hello.ScriptDir, RunDir: g.hello.RunDir, Log: func(string) {}}
	clean := true
	for _, o := range slices.Backward(list) {
		if left, ok := recovery.UndoOne(g.reg, e, stream, o); !ok {
			clean = false
			say("NOT UNDONE %s: %s; try `chaos recover %s`", left.Text, left.Error, g.hello.RunDir)
			if left.Manual != "" {
				say("by hand: %s", left.Manual)
			}
			delete(g.deadlines, o.ID) // tried again when the runner has died
			continue
		}
		g.drop(o.ID)
	}
	return clean
}
