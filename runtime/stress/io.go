package stress

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// IO writes to a disk, or reads from it, past the file cache: over and over within files without a name.
type IO struct {
	Dir     string  `json:"dir"`
	File    string  `json:"file,omitempty"` // a path in Dir, for a moment, where a file without a name cannot be had
	Read    bool    `json:"read,omitempty"`
	Rate    float64 `json:"rate,omitempty"` // bytes per second of all workers together; 0: as fast as it goes
	Size    int64   `json:"size"`           // bytes of all files together
	Block   int64   `json:"block"`          // bytes of one write or read
	Sync    bool    `json:"sync,omitempty"` // each write is on the disk, with all that belongs to it, before the next one
	Workers int     `json:"workers"`
	Keep    int64   `json:"keep"` // bytes that stay available; below, it ends by itself
	Gauge   string  `json:"gauge"`
}

const (
	// Sector is what direct I/O is aligned to: the largest logical block of a disk.
	Sector = 4096
	// saidCached tells that there is no way past the file cache.
	saidCached = "cached"
	// lag is how far the work may fall behind its rate before that is forgiven: making up for more would be a burst.
	lag = 500 * time.Millisecond
)

func (o *IO) run(say func(string)) error {
	if o.Workers < 1 || o.Block < Sector || o.Block%Sector != 0 || o.Size < o.Block*int64(o.Workers) {
		return errors.New("the stressor got an order that makes no sense")
	}
	page, err := openGauge(o.Gauge)
	if err != nil {
		return err
	}
	all := make([]*scratch, o.Workers)
	for i := range all {
		if all[i], err = o.prepare(); err != nil {
			return err
		}
		if !all[i].direct && i == 0 {
			say(saidCached)
		}
	}
	if err := o.floor(all[0].fd); err != nil {
		return err
	}
	ended := make(chan error, o.Workers+1)
	pace := &pace{rate: o.Rate, start: time.Now()}
	page.begin()
	say(saidFull)
	for _, s := range all {
		go func() { ended <- s.work(o, pace, page) }()
	}
	go func() {
		for range time.Tick(watch) {
			if err := o.floor(all[0].fd); err != nil {
				ended <- err
			}
		}
	}()
	return <-ended
}

// floor is an error once others have left too little space.
func (o *IO) floor(fd int) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	if now := space(st); now.Available < o.Keep {
		return fmt.Errorf("it ended by itself: %s is available in %s, and the floor is %s", sizeText(now.Available), o.Dir, sizeText(o.Keep))
	}
	return nil
}

// scratch is the file of one worker.
type scratch struct {
	fd     int
	size   int64 // a multiple of the block
	block  []byte
	direct bool
}

// prepare makes a file with all its space, filled if it is to be read.
func (o *IO) prepare() (*scratch, error) {
	fd, err := o.open()
	if err != nil {
		return nil, fmt.Errorf("a file in %s: %w", o.Dir, err)
	}
	s := &scratch{fd: fd, size: o.Size / int64(o.Workers) / o.Block * o.Block, direct: setDirect(fd) == nil}
	// Direct I/O wants memory that starts at a page.
	if s.block, err = unix.Mmap(-1, 0, int(o.Block), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
		return nil, err
	}
	copy(s.block, noise(int(o.Block)))
	err = fallocate(fd, 0, s.size)
	if o.Read || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = s.fill()
	}
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", sizeText(s.size), o.Dir, err)
	}
	return s, nil
}

func (o *IO) open() (int, error) {
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if o.Sync {
		flags |= unix.O_DSYNC
	}
	if o.File == "" {
		return unix.Open(o.Dir, flags|unix.O_TMPFILE, 0o600)
	}
	fd, err := unix.Open(o.File, flags|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err == nil {
		err = os.Remove(o.File)
	}
	return fd, err
}

func setDirect(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	return err
}

func (s *scratch) fill() error {
	for at := int64(0); at < s.size; at += int64(len(s.block)) {
		if err := full(unix.Pwrite, s.fd, s.block, at); err != nil {
			return err
		}
	}
	return unix.Fsync(s.fd)
}

// full repeats a write or read until the whole block is done.
func full(do func(int, []byte, int64) (int, error), fd int, block []byte, at int64) error {
	for len(block) > 0 {
		n, err := do(fd, block, at)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return errors.New("the file ends early")
		}
		block, at = block[n:], at+int64(n)
	}
	return nil
}

// work goes round and round in the file.
func (s *scratch) work(o *IO, p *pace, page *reading) error {
	n := int64(len(s.block))
	for at := int64(0); ; at = (at + n) % s.size {
		p.wait(n)
		var err error
		if o.Read {
			err = full(unix.Pread, s.fd, s.block, at)
		} else {
			err = full(unix.Pwrite, s.fd, s.block, at)
		}
		if err == nil && !s.direct {
			err = s.through(o, at, n)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.Dir, err)
		}
		page.add(n)
	}
}

// through sees to it that what went through the file cache reaches the disk, and that the next read comes from there.
func (s *scratch) through(o *IO, at, n int64) error {
	if !o.Read {
		if err := unix.Fdatasync(s.fd); err != nil {
			return err
		}
	}
	return unix.Fadvise(s.fd, at, n, unix.FADV_DONTNEED)
}

// pace holds a rate over all workers.
type pace struct {
	mu    sync.Mutex
	rate  float64
	start time.Time
	bytes int64 // of which the turn has come
}

// wait waits for the turn of n more bytes.
func (p *pace) wait(n int64) {
	if p.rate <= 0 {
		return
	}
	p.mu.Lock()
	due := p.start.Add(time.Duration(float64(p.bytes) / p.rate * float64(time.Second)))
	if late := time.Since(due) - lag; late > 0 {
		p.start, due = p.start.Add(late), due.Add(late)
	}
	p.bytes += n
	p.mu.Unlock()
	time.Sleep(time.Until(due))
}
