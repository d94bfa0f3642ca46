package repl

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"chaos/lang/diag"
	"chaos/lang/token"

	"github.com/chzyer/readline"
)

// Lines is where inputs come from and where answers go.
type Lines interface {
	// Read returns one line, ErrInterrupted for Ctrl-C, io.EOF at the end.
	Read(prompt string) (string, error)
	// Remember puts an input into the history.
	Remember(input string)
	// Completer sets what answers Tab: the candidates for what stands before the cursor, and how much of it each replaces.
	Completer(func(before string) (candidates []string, replaced int))
	Out() io.Writer
	// Restore gives the terminal back, from any goroutine.
	Restore()
}

// ErrInterrupted is Ctrl-C at the prompt.
var ErrInterrupted = errors.New("interrupted")

// Piped reads inputs from a file or a pipe.
func Piped(in io.Reader, out io.Writer) Lines {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 64<<10), 10<<20)
	return &piped{s, out}
}

type piped struct {
	in  *bufio.Scanner
	out io.Writer
}

func (p *piped) Read(string) (string, error) {
	if !p.in.Scan() {
		if err := p.in.Err(); err != nil {
			return "", err
		}
		return "", io.EOF
	}
	return p.in.Text(), nil
}

func (p *piped) Remember(string)                            {}
func (p *piped) Completer(func(string) (c []string, n int)) {}
func (p *piped) Out() io.Writer                             { return p.out }
func (p *piped) Restore()                                   {}

// historyLimit is how many inputs are kept.
const historyLimit = 1000

// Terminal reads from the terminal, with editing, history and completion. history is the file of the history, "" for none.
func Terminal(history string, width func() int) (Lines, error) {
	t := &terminal{history: history}
	cfg := &readline.Config{
		Prompt: prompt, DisableAutoSaveHistory: true, HistoryLimit: historyLimit, InterruptPrompt: "^C", EOFPrompt: "^D",
		AutoComplete: t, FuncGetWidth: width, FuncMakeRaw: t.mode.enter, FuncExitRaw: t.mode.exit,
		// A stopped chaos would hold its faults and look at nothing.
		FuncFilterInputRune: func(r rune) (rune, bool) { return r, r != readline.CharCtrlZ },
	}
	rl, err := readline.NewEx(cfg)
	if err != nil {
		return nil, err
	}
	t.rl = rl
	for _, line := range readHistory(history) {
		rl.SaveHistory(line)
	}
	return t, nil
}

// rawMode is the terminal's: left by whoever reads, or by a signal.
type rawMode struct {
	mu    sync.Mutex
	state *readline.State
}

func (m *rawMode) enter() (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state, err = readline.MakeRaw(int(os.Stdin.Fd()))
	return err
}

func (m *rawMode) exit() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil {
		return nil
	}
	return readline.Restore(int(os.Stdin.Fd()), m.state)
}

type terminal struct {
	mode     rawMode
	rl       *readline.Instance
	reading  atomic.Bool // readline's own flag lags behind: what is written right after Enter would be taken for a prompt's
	given    atomic.Bool // back, so that nothing is read any more
	history  string
	complete func(string) ([]string, int)
	latest   string   // entry of the history
	before   []string // the lines above of an input of several
}

func (t *terminal) Read(p string) (string, error) {
	if t.given.Load() {
		return "", io.EOF
	}
	t.rl.SetPrompt(p)
	t.reading.Store(true)
	line, err := t.rl.Readline()
	t.reading.Store(false)
	switch {
	case errors.Is(err, readline.ErrInterrupt):
		t.before = nil
		return "", ErrInterrupted
	case err != nil:
		return "", err
	}
	if p == prompt {
		t.before = nil
	}
	t.before = append(t.before, line)
	return line, nil
}

func (t *terminal) Out() io.Writer { return t }

// Write puts a line above the prompt while somebody types.
func (t *terminal) Write(b []byte) (int, error) {
	if t.reading.Load() {
		return t.rl.Stdout().Write(b)
	}
	return t.rl.Config.Stdout.Write(b)
}

// Restore does not close the editor: that hangs while somebody reads.
func (t *terminal) Restore() {
	t.given.Store(true)
	t.mode.exit()
	if t.reading.Swap(false) {
		io.WriteString(t.rl.Config.Stdout, "\r\x1b[J")
	}
}

func (t *terminal) Completer(f func(string) ([]string, int)) { t.complete = f }

// Do is readline's question for completions.
func (t *terminal) Do(line []rune, pos int) ([][]rune, int) {
	if t.complete == nil {
		return nil, 0
	}
	before := string(line[:pos])
	if strings.HasPrefix(t.rl.Config.Prompt, continued) {
		before = strings.Join(append(t.before, before), "\n")
	}
	list, n := t.complete(before)
	out := make([][]rune, 0, len(list))
	for _, c := range list {
		if r := []rune(c); len(r) >= n {
			out = append(out, r[n:])
		}
	}
	return out, n
}

// Remember keeps an input as one entry, a block too. What holds a secret is not kept.
func (t *terminal) Remember(input string) {
	entry, ok := oneEntry(input)
	if !ok || entry == t.latest {
		return
	}
	t.latest = entry
	t.rl.SaveHistory(entry)
	appendHistory(t.history, entry)
}

// oneEntry puts an input on one line, with `;` where statements end.
func oneEntry(input string) (string, bool) {
	if strings.Contains(input, "secret(") || strings.TrimSpace(input) == "" {
		return "", false
	}
	if !strings.Contains(input, "\n") {
		return strings.TrimSpace(input), true
	}
	src := diag.NewSource("input", input)
	var b strings.Builder
	end := 0
	for _, t := range token.Scan(src).Tokens {
		switch {
		case t.Kind == token.EOF:
		case t.Kind == token.End:
			if s := b.String(); s != "" && !strings.HasSuffix(s, ";") && !strings.HasSuffix(s, "{") {
				b.WriteString(";")
			}
			end = t.Stop()
			continue
		case strings.Contains(t.Text, "\n"): // a string of several lines
			return "", false
		default:
			if b.Len() > 0 && (t.Off > end || strings.HasSuffix(b.String(), ";")) {
				b.WriteString(" ")
			}
			b.WriteString(t.Text)
		}
		end = t.Stop()
	}
	return strings.ReplaceAll(strings.TrimRight(b.String(), "; "), "; }", " }"), true
}

func readHistory(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) > 2*historyLimit {
		shortenHistory(path, lines[len(lines)-historyLimit:])
	}
	return lines[max(len(lines)-historyLimit, 0):]
}

// shortenHistory replaces a history that has grown. What another prompt appends at this very moment may get lost.
func shortenHistory(path string, lines []string) {
	f, err := os.CreateTemp(filepath.Dir(path), "history-") // readable for the user alone
	if err != nil {
		return
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

// appendHistory writes one line, readable for the user alone. A history that cannot be written is no reason to stop.
func appendHistory(path, line string) {
	if path == "" || os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().Perm() != 0o600 {
		f.Chmod(0o600)
	}
	f.WriteString(line + "\n")
}
