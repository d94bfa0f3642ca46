package stress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Disk takes space on a file system and keeps it.
type Disk struct {
	Dir   string `json:"dir"`
	File  string `json:"file,omitempty"` // a path in Dir, where a file without a name cannot be had
	Size  int64  `json:"size,omitempty"` // bytes; or else
	Leave int64  `json:"leave"`          // bytes that stay available; 0: none, not even those reserved for root
	Keep  int64  `json:"keep"`           // bytes that stay available in any case
}

// step is how much is allocated at once: not so much that others cannot get at the file system in between.
const step = 256 << 20

// Space is what a file system has, in bytes.
type Space struct {
	Size      int64 // in all
	Available int64 // to everybody
	Free      int64 // with what is reserved for root
}

// Statfs reads the space of the file system that a path is on; see statfs(2).
func Statfs(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, err
	}
	return space(st), nil
}

func space(st unix.Statfs_t) Space {
	unit := int64(st.Bsize)
	if st.Frsize > 0 {
		unit = int64(st.Frsize)
	}
	return Space{Size: int64(st.Blocks) * unit, Available: int64(st.Bavail) * unit, Free: int64(st.Bfree) * unit}
}

// Unnamed tells whether a folder's file system can hold a file without a name, by asking the kernel: the file is gone when
// this returns. See O_TMPFILE in open(2).
func Unnamed(dir string) (bool, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return true, unix.Close(fd)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return false, nil
	}
	return false, err
}

func (d *Disk) run(say func(string)) error {
	f, err := d.open()
	if err != nil {
		return err
	}
	g := &growing{file: f, fd: int(f.Fd())}
	if err := d.fill(g); err != nil {
		return err
	}
	say(fmt.Sprintf("%s %d", saidFull, g.size))
	given := int64(0)
	for range time.Tick(watch) {
		n, err := g.giveBack(d.Keep)
		if err != nil {
			return err
		}
		if given += n; n > 0 {
			say(saidGave + strconv.FormatInt(given, 10))
		}
	}
	runtime.KeepAlive(f) // the collector would close a file that nobody refers to any more
	return nil
}

// giveBack gives back what others need, once they have brought the file system below what has to stay.
func (g *growing) giveBack(keep int64) (int64, error) {
	now, err := g.space()
	if err != nil {
		return 0, err
	}
	n := min(keep-now.Available, g.size)
	if n <= 0 {
		return 0, nil
	}
	g.size -= n
	return n, unix.Ftruncate(g.fd, g.size)
}

func (d *Disk) open() (*os.File, error) {
	if d.File != "" {
		return os.OpenFile(d.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	fd, err := unix.Open(d.Dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("a file without a name in %s: %w", d.Dir, err)
	}
	return os.NewFile(uintptr(fd), "fill"), nil
}

// fill takes the space, never more than leaves Keep. What a file system needs for its own books is only known afterwards,
// so the end is approached.
func (d *Disk) fill(g *growing) error {
	for range 1 << 20 {
		now, err := g.space()
		if err != nil {
			return err
		}
		more := now.Available - d.Leave
		if d.Size > 0 {
			more = d.Size - g.size
		} else if d.Leave == 0 {
			more = max(now.Available, now.Free)
		}
		if d.Keep > 0 {
			more = min(more, now.Available-d.Keep)
		}
		if more <= 0 {
			return g.settle(d)
		}
		err = g.grow(min(more, step))
		switch {
		case err == nil:
		case !errors.Is(err, unix.ENOSPC):
			return fmt.Errorf("taking space in %s: %w", d.Dir, err)
		case d.Size > 0:
			return fmt.Errorf("taking space in %s: it is full after %s of %s", d.Dir, sizeText(g.size), sizeText(d.Size))
		case d.Leave > 0 || !g.squeeze(more): // almost full: what fits is found by halves
			return g.settle(d)
		}
	}
	return errors.New("the file system takes everything and never fills up")
}

// growing is the file that takes the space.
type growing struct {
	file *os.File
	fd   int
	size int64
	// plain: the file system knows no fallocate(2), so bytes are written.
	plain bool
	noise []byte
}

func (g *growing) space() (Space, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(g.fd, &st); err != nil {
		return Space{}, err
	}
	return space(st), nil
}

func (g *growing) grow(n int64) error {
	if !g.plain {
		err := fallocate(g.fd, g.size, n)
		if err == nil {
			g.size += n
			return nil
		}
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
			// One that fails half way may keep what it got.
			var st unix.Stat_t
			if unix.Fstat(g.fd, &st) == nil {
				g.size = max(g.size, st.Size)
			}
			return err
		}
		g.plain = true
	}
	return g.write(n)
}

func fallocate(fd int, offset, n int64) error {
	for {
		if err := unix.Fallocate(fd, 0, offset, n); err != unix.EINTR {
			return err
		}
	}
}

// write writes what no file system can compress to nothing, or leave out as a hole.
func (g *growing) write(n int64) error {
	if g.noise == nil {
		g.noise = noise(1 << 20)
	}
	for n > 0 {
		done, err := g.file.WriteAt(g.noise[:min(n, int64(len(g.noise)))], g.size)
		g.size += int64(done)
		n -= int64(done)
		if err != nil {
			return err
		}
	}
	// Space that is only promised to pages in memory does not count everywhere yet.
	return unix.Fsync(g.fd)
}

// noise is what no disk can compress.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

// squeeze takes what still fits of n bytes, by halves; false where nothing does.
func (g *growing) squeeze(n int64) bool {
	before := g.size
	for n /= 2; n >= 4096; n /= 2 {
		if err := g.grow(n &^ 4095); err != nil && !errors.Is(err, unix.ENOSPC) {
			return false
		}
	}
	return g.size > before
}

// settle gives back what the file system's own books took on top, so that what was to stay available stays.
func (g *growing) settle(d *Disk) error {
	if d.Size > 0 {
		return nil
	}
	now, err := g.space()
	if err != nil {
		return err
	}
	if short := max(d.Leave, d.Keep) - now.Available; short > 0 && short < g.size {
		g.size -= short
		return unix.Ftruncate(g.fd, g.size)
	}
	return nil
}
