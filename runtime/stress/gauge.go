package stress

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Gauge is how a stressor tells the runner how much it has done: a page that both have in memory. Reading it is no I/O, so
// an expression may, and what a stressor did outlives it when it is killed.
type Gauge struct {
	mu    sync.Mutex
	file  *os.File
	page  *reading // nil once closed
	mem   []byte
	final Progress
}

// reading is the layout of the page; all is read and written atomically.
type reading struct {
	began int64 // nanoseconds of CLOCK_MONOTONIC, 0: not yet
	bytes int64
}

// Progress is what a gauge shows.
type Progress struct {
	Bytes int64
	Took  time.Duration // since the work began; 0: it has not
}

// Rate is in bytes per second; false while there is too little to tell.
func (p Progress) Rate() (float64, bool) {
	if p.Took < 50*time.Millisecond {
		return 0, false
	}
	return float64(p.Bytes) / p.Took.Seconds(), true
}

const gaugeSize = 4096

// NewGauge makes one, in a file without a name and without a disk; see memfd_create(2).
func NewGauge() (*Gauge, error) {
	fd, err := unix.MemfdCreate("chaos-gauge", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory to share with the stressor: %w", err)
	}
	g := &Gauge{file: os.NewFile(uintptr(fd), "gauge")}
	err = g.file.Truncate(gaugeSize)
	if err == nil {
		g.mem, g.page, err = share(fd)
	}
	if err != nil {
		g.file.Close()
		return nil, fmt.Errorf("memory to share with the stressor: %w", err)
	}
	return g, nil
}

func share(fd int) ([]byte, *reading, error) {
	mem, err := unix.Mmap(fd, 0, gaugeSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return mem, (*reading)(unsafe.Pointer(&mem[0])), nil
}

// Path is where the stressor finds it, as long as the runner lives.
func (g *Gauge) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), g.file.Fd()) }

// Read gives the progress until now, or until it was closed.
func (g *Gauge) Read() Progress {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.read()
}

func (g *Gauge) read() Progress {
	if g.page == nil {
		return g.final
	}
	p := Progress{Bytes: atomic.LoadInt64(&g.page.bytes)}
	if began := atomic.LoadInt64(&g.page.began); began > 0 {
		p.Took = clock(unix.CLOCK_MONOTONIC) - time.Duration(began)
	}
	return p
}

// Close keeps what it shows and gives the memory back.
func (g *Gauge) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.page == nil {
		return nil
	}
	g.final, g.page = g.read(), nil
	return errors.Join(unix.Munmap(g.mem), g.file.Close())
}

// openGauge is the stressor's end.
func openGauge(path string) (*reading, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("the runner is gone: %w", err)
	}
	defer f.Close()
	_, page, err := share(int(f.Fd()))
	return page, err
}

func (r *reading) begin() { atomic.StoreInt64(&r.began, int64(clock(unix.CLOCK_MONOTONIC))) }

func (r *reading) add(n int64) { atomic.AddInt64(&r.bytes, n) }
