package logfile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

// follower reads the lines that are appended to a path, whatever file stands there.
//
// Rotated logs come in two ways. Renamed: another file stands at the path. The old one is kept open and read on for a while,
// since its writer changes over only when it is told to. Truncated (logrotate's copytruncate): the same file is shorter, or
// no longer holds what was just read from it, which tells a file that has already grown beyond its old length.
//
// What is lost: a file that came and went between two reads, and lines that were truncated away before they were read.
type follower struct {
	path string
	line func([]byte)
	now  func() time.Time

	files []*tail // oldest first; the last one is the present one
	begun bool    // the path was looked at: a file that appears later is all new
}

// linger is how long a file that was renamed away is read on.
const linger = 10 * time.Second

// begin finds the file and its end. Before there is one, every line will be new.
func (f *follower) begin() error {
	t, err := openTail(f.path)
	if err != nil && !filefail.IsAbsent(err) {
		return err
	}
	f.begun = true
	if err == nil {
		t.skipAll()
		f.files = []*tail{t}
	}
	return nil
}

func (f *follower) close() {
	for _, t := range f.files {
		t.file.Close()
	}
	f.files = nil
}

// read hands over all lines that are complete. It returns early, in a state to go on from, when the context ends.
func (f *follower) read(ctx context.Context) error {
	if !f.begun {
		return f.begin() // perhaps readable by now; what it holds came unseen, and counts as the past
	}
	// First the path, then the files: what is written to the old file before the new one is found is read from the old.
	next, err := f.successor()
	for _, t := range f.files {
		if err := t.read(ctx, f.line); err != nil {
			if next != nil {
				next.file.Close()
			}
			return err
		}
	}
	f.expire()
	if err != nil {
		return err
	}
	if next == nil {
		return nil
	}
	for _, t := range f.files {
		if t.left.IsZero() {
			t.left = f.now()
		}
	}
	f.files = append(f.files, next)
	return next.read(ctx, f.line)
}

// successor opens the file at the path, if it is another one than the present. A path with nothing is one in between.
func (f *follower) successor() (*tail, error) {
	info, err := os.Stat(f.path)
	if filefail.IsAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, t := range f.files {
		if os.SameFile(t.info, info) {
			t.left = time.Time{} // an older one may have come back to its name
			return nil, nil
		}
	}
	t, err := openTail(f.path)
	if filefail.IsAbsent(err) {
		return nil, nil
	}
	return t, err
}

// expire lets go of what was renamed away long enough ago: an open file keeps its room on the disk.
func (f *follower) expire() {
	kept := f.files[:0]
	for _, t := range f.files {
		if !t.left.IsZero() && f.now().Sub(t.left) > linger {
			t.flush(f.line)
			t.file.Close()
			continue
		}
		kept = append(kept, t)
	}
	f.files = kept
}

const (
	maxLine = 64 << 10 // how much of a line is matched, in bytes; the rest is read and dropped
	maxMark = 256      // how much of what was just read is compared at the next read
)

// tail is one file, read from a place onwards.
type tail struct {
	file   *os.File
	info   fs.FileInfo // who it is
	offset int64       // up to which it was read
	mark   []byte      // the last bytes before offset
	part   []byte      // the beginning of a line that has no end yet
	left   time.Time   // when another file took its name
}

func openTail(path string) (*tail, error) {
	// Without blocking: opening a pipe would wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no plain file")
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &tail{file: file, info: info}, nil
}

// skipAll goes to the end. Should that be in the middle of a line, the rest of it counts as a line of its own.
func (t *tail) skipAll() {
	t.offset = t.info.Size()
	t.mark = make([]byte, min(t.offset, maxMark))
	if n, err := t.file.ReadAt(t.mark, t.offset-int64(len(t.mark))); err != nil {
		t.mark = t.mark[:n]
	}
}

// read hands over the complete lines up to the present end.
func (t *tail) read(ctx context.Context, line func([]byte)) error {
	if t.truncated() {
		t.flush(line)
		t.offset, t.mark = 0, nil
	}
	buffer := make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := t.file.ReadAt(buffer, t.offset)
		t.offset += int64(n)
		t.remember(buffer[:n])
		t.split(buffer[:n], line)
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// truncated tells whether the file no longer is what was read.
func (t *tail) truncated() bool {
	info, err := t.file.Stat()
	if err != nil {
		return false // the read says why
	}
	if info.Size() < t.offset {
		return true
	}
	now := make([]byte, len(t.mark))
	n, err := t.file.ReadAt(now, t.offset-int64(len(t.mark)))
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	return !bytes.Equal(now[:n], t.mark)
}

func (t *tail) remember(data []byte) {
	t.mark = append(t.mark, data[max(0, len(data)-maxMark):]...)
	t.mark = append([]byte(nil), t.mark[max(0, len(t.mark)-maxMark):]...)
}

// split cuts data into lines; what has no end yet is kept, up to maxLine.
func (t *tail) split(data []byte, line func([]byte)) {
	for len(data) > 0 {
		piece, rest, ended := bytes.Cut(data, []byte("\n"))
		data = rest
		if room := maxLine - len(t.part); room > 0 {
			t.part = append(t.part, piece[:min(room, len(piece))]...)
		}
		if ended {
			line(bytes.TrimSuffix(t.part, []byte("\r")))
			t.part = t.part[:0]
		}
	}
}

// flush hands over a last line without an end, of a file that ends here.
func (t *tail) flush(line func([]byte)) {
	if len(t.part) > 0 {
		line(t.part)
		t.part = t.part[:0]
	}
}
