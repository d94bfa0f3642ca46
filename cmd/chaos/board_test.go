package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/cmd/chaos/live"
	"chaos/cmd/chaos/live/vt"
	"chaos/runtime/event"

	"golang.org/x/sys/unix"
)

// watched is `chaos script` on a terminal, as a human sees it.
type watched struct {
	*chaosProcess
	keys  *os.File
	shown func() string
	term  *vt.Terminal
	read  int
}

// watch runs a script on a terminal of a size, with a board unless env forbids it.
func watch(t *testing.T, size live.Size, script string, env ...string) *watched {
	t.Helper()
	p, keys, shown := startOnTerminal(t, size, append([]string{"CI=", "NO_COLOR="}, env...), "script", script)
	return &watched{chaosProcess: p, keys: keys, shown: shown, term: vt.New(size.Width, size.Height)}
}

// frameEnd ends each frame.
const frameEnd = "\x1b[?2026l"

// look is the screen as the last whole frame left it.
func (w *watched) look() string {
	w.term.Write([]byte(w.next(strings.LastIndex(w.shown()[w.read:], frameEnd) + len(frameEnd))))
	return w.term.Screen()
}

// next takes n more bytes of what is shown, if it is one frame or more.
func (w *watched) next(n int) string {
	if n < len(frameEnd) {
		return ""
	}
	w.read += n
	return w.shown()[w.read-n : w.read]
}

// wait goes on frame by frame, so that it misses nothing, until a text is on the screen.
func (w *watched) wait(text string) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for {
			frame := w.next(strings.Index(w.shown()[w.read:], frameEnd) + len(frameEnd))
			if frame == "" {
				break
			}
			w.term.Write([]byte(frame))
			if strings.Contains(w.term.Screen(), text) {
				return
			}
		}
	}
	w.t.Fatalf("waited in vain for %q; on the screen:\n%s", text, w.look())
}

// frames waits for n more frames.
func (w *watched) frames(n int) {
	w.t.Helper()
	n += strings.Count(w.shown(), frameEnd)
	waitFor(w.t, "a frame", func() bool { return strings.Count(w.shown(), frameEnd) >= n })
}

// gone waits for the end, and that all which was written is read.
func (w *watched) gone() {
	w.t.Helper()
	w.code()
	for n := -1; n != len(w.shown()); time.Sleep(50 * time.Millisecond) {
		n = len(w.shown())
	}
	w.term.Write([]byte(w.shown()[w.read:]))
	w.read = len(w.shown())
}

// told is the run told again by `chaos report` on a terminal of the same size, which has no board.
func (w *watched) told(size live.Size) string {
	w.t.Helper()
	keys, path, shown := pty(w.t)
	resize(w.t, keys, size)
	tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer tty.Close()
	dir := w.theRun().Dir
	f, err := os.Open(filepath.Join(dir, event.JournalName))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if err := tellAgain(tty, f, dir); err != nil {
		w.t.Fatal(err)
	}
	until(w.t, "the end of the report", func() bool { return strings.Contains(shown(), event.JournalName) })
	term := vt.New(size.Width, size.Height)
	term.Write([]byte(shown()))
	return term.Text()
}

// lively is a script with a wait, faults that last, a check that turns and a text in wide letters.
func lively(t *testing.T, inject string) string {
	return writeScript(t, `experiment "一个 marks come and go" {
  deadline: 1m
  probe there = exec.output("sh", args: ["-c", "ls `+t.TempDir()+`/ | wc -l"]) every 50ms
  probe none = process.count(match: "no such process") every 50ms
  abort when none > 3 for 2s
  steady "nobody is there" { expect none == 0 }
  hypothesis "nobody comes" {
    always none == 0
    eventually there.exit_code > 0 within 300ms
    expect during.none.max == 0
  }
  inject "marks" {
`+inject+`
  }
}
`)
}

const threeActs = `    do "一 two marks, and a title that is too long for a line of any terminal of the test, even of the widest one, at a hundred and sixty" {
      test.mark("mark1") for 1s
      test.mark("mark2")
      log("a word to the log, long enough to be folded on a narrow terminal: 一二三四五六七八九十一二三四五六七八九十")
      wait 700ms
    }
    wait 300ms`

var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func TestTheBoardLeavesTheLinesBehindAndNothingElse(t *testing.T) {
	for _, size := range []live.Size{{Width: 60, Height: 24}, {Width: 100, Height: 30}, {Width: 160, Height: 50}} {
		t.Run(fmt.Sprint(size.Width), func(t *testing.T) {
			w := watch(t, size, lively(t, threeActs))
			w.wait("deadline in")
			w.wait("faults  ⚡")
			w.wait("there.exit_code            0  ▁")
			w.wait("✗ eventually")
			if n := w.term.Wraps(); n > 0 {
				t.Errorf("%d lines went beyond the edge:\n%s", n, w.term.Text())
			}
			w.gone()
			if got, want := w.term.Text(), w.told(size); got != want {
				t.Errorf("on the terminal:\n%s\n\nthe report:\n%s", got, want)
			}
			if !w.term.Fresh() {
				t.Error("the cursor is not on a fresh line")
			}
			if u := w.term.Unknown(); len(u) > 0 {
				t.Errorf("written besides: %q", u)
			}
		})
	}
}

func TestCtrlCShowsHowFarTheUndoIs(t *testing.T) {
	size := live.Size{Width: 80, Height: 24}
	w := watch(t, size, lively(t, `    test.mark("mark1", undo: "slow")
    test.mark("mark2", undo: "slow")
    wait 1h`))
	w.wait("· wait 1h")
	w.keys.WriteString("\x03")
	w.wait("undo  interrupted by SIGINT")
	w.wait("1 of 2 undone")
	w.keys.WriteString("\x03")
	w.wait("still undoing")
	if code := w.code(); code != 4 {
		t.Errorf("exit %d", code)
	}
	w.gone()
	if got, want := w.term.Text(), w.told(size); got != want {
		t.Errorf("on the terminal:\n%s\n\nthe report:\n%s", got, want)
	}
}

func TestAKilledRunLeavesTheTerminalUsable(t *testing.T) {
	w := watch(t, live.Size{Width: 80, Height: 24}, lively(t, `    wait 1h`))
	w.wait("· wait 1h")
	w.wait("▁▁▁")
	w.cmd.Process.Signal(syscall.SIGKILL)
	w.gone()
	if !w.term.Fresh() {
		t.Errorf("the prompt would not stand on a fresh line:\n%s", w.term.Screen())
	}
	if u := w.term.Unknown(); len(u) > 0 { // a hidden cursor, another screen
		t.Errorf("left behind: %q", u)
	}
	if all := w.shown(); strings.LastIndex(all, frameEnd) < strings.LastIndex(all, "\x1b[?2026h") {
		t.Error("the terminal still waits for the end of a frame")
	}
}

// Whoever waits leans on Enter, or types what the shell shall read next.
func TestWhatIsTypedLeavesNoStaleLines(t *testing.T) {
	for _, height := range []int{24, 60} { // the board stands on the last line, and above it
		size := live.Size{Width: 80, Height: height}
		w := watch(t, size, lively(t, `    wait 5s`))
		w.wait("· wait 5s")
		lines := 0
		for _, keys := range []string{"\r", "\r", "\r", "ls -l\r", "\x04", "\r", "not yet"} {
			w.keys.WriteString(keys)
			if strings.HasSuffix(keys, "\r") { // several at once would count as one
				lines += len(keys)
				waitFor(t, keys, func() bool { return queued(t, w.keys) >= lines })
				w.frames(2)
			}
		}
		w.look()
		if n := strings.Count(w.term.Text(), "deadline in"); n != 1 {
			t.Errorf("%d rules of a board:\n%s", n, w.term.Text())
		}
		if n, want := queued(t, w.keys), len("\n\n\nls -l\n\n"); n != want {
			t.Errorf("%d bytes are left for who reads next, not %d", n, want)
		}
		w.gone()
		if got, want := w.term.Text(), w.told(size); got != want {
			t.Errorf("on the terminal:\n%s\n\nthe report:\n%s", got, want)
		}
	}
}

// queued is how many bytes of whole lines wait to be read from a terminal.
func queued(t *testing.T, keys *os.File) int {
	t.Helper()
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := openTTY(fmt.Sprintf("/dev/pts/%d", number))
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	n, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// As after Ctrl-Z, a few commands, and fg.
func TestWhatAShellWroteWhileTheRunWasStoppedStays(t *testing.T) {
	w := watch(t, live.Size{Width: 80, Height: 40}, lively(t, `    wait 1h`))
	w.wait("· wait 1h")
	w.frames(1) // not in the middle of one
	w.cmd.Process.Signal(syscall.SIGSTOP)
	waitFor(t, "the stop", func() bool { s, _ := readStat(w.cmd.Process.Pid); return s.state == "T" })
	w.look()
	w.term.Write([]byte("$ echo here\r\nhere\r\n")) // the shell has the terminal
	time.Sleep(300 * time.Millisecond)              // it is stopped for longer than a frame
	w.cmd.Process.Signal(syscall.SIGCONT)
	w.frames(2)
	if text := w.look(); strings.Count(text, "$ echo here\nhere\n── ") != 1 {
		t.Errorf("the board does not follow what the shell wrote:\n%s", text)
	}
	w.keys.WriteString("\x03")
	w.gone()
	if text := w.term.Text(); !strings.Contains(text, "$ echo here\nhere\n   ") {
		t.Errorf("drawn over what the shell wrote:\n%s", text)
	}
}

func TestAResizedTerminalHasOneBoard(t *testing.T) {
	w := watch(t, live.Size{Width: 120, Height: 40}, lively(t, `    test.mark("mark1")
    log("`+strings.Repeat("many words ", 12)+`")
    wait 1h`))
	w.wait("· wait 1h")
	for _, size := range []live.Size{{Width: 80, Height: 40}, {Width: 61, Height: 30}, {Width: 50, Height: 30}, {Width: 100, Height: 9}, {Width: 100, Height: 30}, {Width: 160, Height: 50}} {
		w.look()
		w.term.Resize(size.Width, size.Height)
		resize(t, w.keys, size)
		w.frames(2)
		screen := w.look()
		rules, status := strings.Count(w.term.Text(), "deadline in"), strings.Count(w.term.Text(), " inject · wait 1h")
		want := 1
		if size.Width < 60 || size.Height < 10 {
			want = 0
		}
		if rules != want || status != 1-want {
			t.Errorf("at %v: %d boards and %d lines of status:\n%s", size, rules, status, screen)
		}
	}
	w.keys.WriteString("\x03")
	w.gone()
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	got := words(w.term.Text())
	for _, l := range []string{"inject marks", strings.TrimSpace(strings.Repeat("many words ", 12)), "ABORTED"} {
		if strings.Count(got, l) != 1 {
			t.Errorf("%q is there %d times:\n%s", l, strings.Count(got, l), w.term.Text())
		}
	}
	if strings.Contains(got, "deadline in") {
		t.Errorf("left over:\n%s", w.term.Text())
	}
}

func TestWhereThereIsNoBoard(t *testing.T) {
	script := lively(t, "    wait 300ms")
	for _, tc := range []struct {
		env           string
		board, colour bool
	}{{"CI=true", false, true}, {"TERM=dumb", false, false}, {"NO_COLOR=1", true, false}, {"CI=", true, true}} {
		w := watch(t, live.Size{Width: 80, Height: 24}, script, tc.env)
		w.gone()
		all := w.shown()
		if got := sgr.MatchString(all); got != tc.colour {
			t.Errorf("%s: colours: %v", tc.env, got)
		}
		if got := strings.Contains(all, "deadline in"); got != tc.board {
			t.Errorf("%s: a board: %v", tc.env, got)
		}
		if got := strings.Contains(sgr.ReplaceAllString(all, ""), "\x1b"); got != tc.board {
			t.Errorf("%s: sequences: %v", tc.env, got)
		}
	}
}

// A terminal that was stopped with Ctrl-S takes no byte. The run goes on all the same, and undoes.
func TestAStoppedTerminalStopsNoRun(t *testing.T) {
	script := lively(t, "    test.mark(\"mark1\")\n    wait 500ms")
	w := watch(t, live.Size{Width: 80, Height: 24}, script)
	w.wait("deadline in")
	w.keys.WriteString("\x13")
	waitFor(t, "the end of the run", func() bool { return w.theRun().Ended })
	if got := marked(filepath.Dir(script)); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	w.keys.WriteString("\x11")
	w.gone()
	if !strings.Contains(w.look(), "exit 1 · ") {
		t.Errorf("what was held back is lost:\n%s", w.look())
	}
}

func TestADefectOfTheBoardEndsTheBoardOnly(t *testing.T) {
	_, path, shown := pty(t)
	tty, err := openTTY(path)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	screen := live.NewScreen(tty, func(live.Size) []string { panic("a defect of the test") })
	screen.Print("one\n")
	until(t, "the defect", func() bool {
		return strings.Contains(shown(), "the board is gone, the run goes on (a defect of the test)")
	})
	screen.Print("two\n")
	screen.Close()
	until(t, "the lines", func() bool { return strings.Contains(shown(), "one") && strings.Contains(shown(), "two") })
}
