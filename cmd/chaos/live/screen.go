package live

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// frame is how long a frame stands at least.
const frame = 100 * time.Millisecond

// Screen writes lines that stay and, on a terminal, a board below them that is drawn over itself. Everything is written by
// a goroutine of its own: who prints never waits for a terminal that was stopped with Ctrl-S, or for a slow reader.
//
// The cursor is not hidden and rests at the start of the line below the board, so that a process that is killed leaves the
// terminal as a command that has ended: whole lines, and the prompt on a fresh one.
type Screen struct {
	w    io.Writer
	file *os.File                 // nil where there is no board
	tty  bool                     // somebody may be asked something on it
	draw func(size Size) []string // the board; called by the writing goroutine

	mu     sync.Mutex
	log    bytes.Buffer // lines that are not written yet
	hushed int

	wake  chan struct{}
	quiet chan chan struct{}
	stop  chan struct{}
	wg    sync.WaitGroup

	// Of the goroutine:
	drawn []int  // widths of the board's lines
	last  string // the board as it was written last
	size  Size   // when it was
	typed *enters
}

// NewScreen writes to w. draw may be nil: then there are only lines.
func NewScreen(w io.Writer, draw func(Size) []string) *Screen {
	s := &Screen{w: w, draw: draw, wake: make(chan struct{}, 1), quiet: make(chan chan struct{}), stop: make(chan struct{})}
	f, ok := w.(*os.File)
	s.tty = ok && term.IsTerminal(int(f.Fd()))
	if s.tty && draw != nil {
		s.file = f
		s.wg.Go(s.animate)
	} else {
		s.wg.Go(s.copy)
	}
	return s
}

// Print adds whole lines.
func (s *Screen) Print(text string) {
	s.mu.Lock()
	s.log.WriteString(text)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Hush takes the board away and holds all lines back until resume is called: the terminal is somebody else's.
func (s *Screen) Hush() (resume func()) {
	s.mu.Lock()
	s.hushed++
	s.mu.Unlock()
	done := make(chan struct{})
	select {
	case s.quiet <- done:
		<-done
	case <-s.stop:
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.hushed--
		s.mu.Unlock()
		s.Print("")
	})
}

// Close takes the board away and returns when every line is written.
func (s *Screen) Close() {
	close(s.stop)
	s.wg.Wait()
}

// take removes the lines that may be written now.
func (s *Screen) take(hushed bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hushed > 0 && s.tty && !hushed {
		return ""
	}
	text := s.log.String()
	s.log.Reset()
	return text
}

// copy is the goroutine where there is no board.
func (s *Screen) copy() {
	for {
		select {
		case <-s.wake:
			io.WriteString(s.w, s.take(false))
		case done := <-s.quiet:
			close(done)
		case <-s.stop:
			io.WriteString(s.w, s.take(true))
			return
		}
	}
}

// animate is the goroutine where there is a board.
func (s *Screen) animate() {
	tick := time.NewTicker(frame)
	defer tick.Stop()
	s.typed = watchEnters(s.file)
	defer s.typed.close()
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	for last := time.Now(); ; last = time.Now() {
		select {
		case <-tick.C:
			// After a Ctrl-Z the shell has written below the board. What wakes us comes beside the tick that was missed, and on a
			// busy machine, which misses ticks as well, some time after it.
			if time.Since(last) > 2*frame {
				select {
				case <-continued:
					s.forget()
				case <-time.After(5 * frame):
				case <-s.stop:
				}
			}
			s.frame()
		case <-continued:
			s.forget()
		case done := <-s.quiet:
			s.write(s.take(true), nil, s.measure())
			close(done)
		case <-s.stop:
			s.write(s.take(true), nil, s.measure())
			return
		}
	}
}

func (s *Screen) frame() {
	s.mu.Lock()
	hushed := s.hushed > 0
	s.mu.Unlock()
	if hushed {
		return
	}
	size := s.measure()
	var board []string
	if s.foreground() {
		board = s.board(size)
	} else {
		s.forget()
	}
	s.write(s.take(false), board, size)
}

// board draws, once and for all without a board where drawing has a defect: what must go on is the run.
func (s *Screen) board(size Size) (lines []string) {
	defer func() {
		if r := recover(); r != nil {
			s.draw = func(Size) []string { return nil }
			s.Print(fmt.Sprintf("! a defect of chaos itself: the board is gone, the run goes on (%v)\n", r))
			lines = nil
		}
	}()
	return s.draw(size)
}

// forget leaves what was drawn to whoever has the terminal now.
func (s *Screen) forget() { s.drawn, s.last = nil, "" }

// foreground tells whether the terminal is ours to move about in.
func (s *Screen) foreground() bool {
	group, err := unix.IoctlGetInt(int(s.file.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

func (s *Screen) measure() Size {
	cols, rows, err := term.GetSize(int(s.file.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		return Size{80, 24}
	}
	return Size{cols, rows}
}

// write writes lines where the board was, and the board below them, with one write(2).
func (s *Screen) write(text string, board []string, size Size) {
	now := strings.Join(board, "\n")
	typed := s.typed.take()
	if text == "" && now == s.last && size == s.size && typed == 0 {
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[?2026h") // show it all at once, where that is known; https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036
	b.WriteString(up(s.drawn, typed, size))
	if size != s.size {
		b.WriteString("\x1b[J") // lines that the terminal has wrapped do not lie where they are drawn over
	}
	b.WriteString(strings.ReplaceAll(text, "\n", "\x1b[K\n"))
	s.drawn = s.drawn[:0]
	for _, line := range board {
		b.WriteString(line + "\x1b[K\n")
		s.drawn = append(s.drawn, Width(Stripped(line)))
	}
	b.WriteString("\x1b[J\x1b[?2026l")
	s.last, s.size = now, size
	io.WriteString(s.w, b.String())
}

// up moves to where the board begins, which a narrower terminal has wrapped, from as many lines below it as were typed.
func up(widths []int, typed int, size Size) string {
	rows := typed
	if len(widths) == 0 { // what was typed belongs to whoever had the terminal
		rows = 0
	}
	for _, w := range widths {
		rows += max(1, (w+size.Width-1)/size.Width)
	}
	rows = min(rows, size.Height-1)
	if rows == 0 {
		return "\r"
	}
	return "\r\x1b[" + strconv.Itoa(rows) + "A"
}

// Stripped is a line without its colours.
func Stripped(line string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(line, "\x1b[")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		_, line, _ = strings.Cut(after, "m")
	}
}
