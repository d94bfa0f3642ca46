package http

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lane carries the connections of many clients of the closed model in one goroutine. With a goroutine for each, the runtime
// wakes threads for them all the time, and those take the processor from the server, which often is on the same machine: a
// quarter fewer requests on two cores.
//
// It knows requests and answers of the usual kind only: a request that a socket takes at once, an answer that skim
// understands. For everything else, each failure among it, the client gets its connection back, as it was, and goes on by
// itself; so what counts as what is decided in one place.
type lane struct {
	g      *generator
	set    int // an epoll(7) instance
	bell   int // in it: an eventfd(2), which ends the waiting
	events [64]unix.EpollEvent
	buffer [32 << 10]byte

	mu     sync.Mutex
	closed bool
	rides  map[int]*ride // by file descriptor
	alarm  time.Time     // when to look whose time is up; zero with nobody in the lane
}

// ride is a client in the lane, with a request on its way. The lane has its socket for itself: to the runtime's poller each
// answer would be a reason to wake a thread.
type ride struct {
	pending
	u      *user
	fd     int  // a duplicate of the connection's, which is closed
	fresh  bool // the request is still to be sent
	status int  // of the answer whose body is coming
	left   int  // of that answer, bytes that are still to come
}

// pending is a request that a client goes on with.
type pending struct {
	f      *flight
	due    time.Time   // when its time is up
	c      *connection // that it is on its way on; nil: it is not sent yet
	unsent []byte      // the part of it that is still to be sent
	failed error       // why the connection was lost
}

// perLane is for how many clients one more lane is opened.
const perLane = 8

// mostLanes are as many as leave half of the machine to others. A lane waits in the kernel and keeps a processor of the
// runtime's while it does, so a runtime with only one has none.
var mostLanes = func() int { return runtime.GOMAXPROCS(0) / 2 }

// entry is after how many answers of the usual kind in a row a client may enter a lane. To enter and leave costs as much as
// some requests, so it is not for servers whose answers are now of this kind and now of that.
var entry = 16

// openLanes makes lanes for the clients of a load, none where its requests are not of the kind.
func (g *generator) openLanes() {
	w, wire := g.sender.way.(*wire)
	h := g.sender.first
	if !wire || !w.keep || g.sender.follow || g.sender.cookies || h.message.url.Scheme != "http" || h.request.Method == http.MethodHead || len(h.raw) > small {
		return
	}
	for range min((g.limit+perLane-1)/perLane, mostLanes()) {
		l, err := newLane(g)
		if err != nil {
			return
		}
		g.lanes = append(g.lanes, l)
	}
}

func newLane(g *generator) (*lane, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(set)
		return nil, err
	}
	l := &lane{g: g, set: set, bell: bell, rides: map[int]*ride{}}
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(bell)}); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// close gives up what is on its way.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, r := range l.rides {
		unix.Close(r.fd)
		l.g.land(r.f, 0, context.Cause(l.g.ctx))
	}
	clear(l.rides)
	unix.Close(l.set)
	unix.Close(l.bell)
}

// wake ends the waiting.
func (l *lane) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		_, _ = unix.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// take takes a client over, with a request to send; false where its connection is not of the kind, or full.
func (l *lane) take(u *user, f *flight, due time.Time) bool {
	if len(u.conns) != 1 || u.conns[0].usual < entry {
		return false
	}
	c, fd, err := u.conns[0], 0, error(nil)
	failed := c.raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if failed != nil || err != nil {
		return false
	}
	r := &ride{pending: pending{f: f, due: due}, u: u, fd: fd, fresh: true}
	// It can be written to, so the lane hears of it at once. A full one, whose server does not read, would not wake the lane,
	// which then would not see that the time is up.
	if !writable(fd) || l.enter(r, unix.EPOLLOUT) != nil {
		unix.Close(fd)
		return false
	}
	return true
}

func writable(fd int) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	return n == 1
}

func (l *lane) enter(r *ride, events uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	if err := l.listen(r, unix.EPOLL_CTL_ADD, events); err != nil {
		return err
	}
	l.rides[r.fd] = r
	if l.alarm.IsZero() {
		l.alarm = r.due
	}
	r.u.conns[0].drop() // here, so that the lane cannot give it back before
	r.u.conns = r.u.conns[:0]
	return nil
}

// listen changes what the lane hears of a connection.
func (l *lane) listen(r *ride, op int, events uint32) error {
	return unix.EpollCtl(l.set, op, r.fd, &unix.EpollEvent{Events: events, Fd: int32(r.fd)})
}

// run serves the lane until the load ends.
func (l *lane) run() {
	defer l.close()
	defer context.AfterFunc(l.g.ctx, l.wake)()
	for {
		n, _ := unix.EpollWait(l.set, l.events[:], l.patience())
		if l.g.ctx.Err() != nil {
			return
		}
		for _, e := range l.events[:max(n, 0)] {
			l.mu.Lock()
			r := l.rides[int(e.Fd)]
			l.mu.Unlock()
			if r != nil {
				l.serve(r)
			}
		}
		l.expire()
	}
}

// patience is how many milliseconds there are until the alarm.
func (l *lane) patience() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alarm.IsZero() {
		return -1
	}
	return int(max(0, time.Until(l.alarm)+time.Millisecond-1) / time.Millisecond)
}

// serve goes on with a client whose connection has something to say.
func (l *lane) serve(r *ride) {
	if r.fresh {
		r.fresh = false
		if err := l.listen(r, unix.EPOLL_CTL_MOD, unix.EPOLLIN); err != nil {
			l.giveBack(r, nil, err)
			return
		}
		l.send(r)
		return
	}
	n, err := unix.Read(r.fd, l.buffer[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		l.giveBack(r, nil, os.NewSyscallError("read", err))
		return
	case n == 0:
		l.giveBack(r, nil, io.EOF)
		return
	}
	if r.left == 0 {
		var ok bool
		if r.status, r.left, ok = skim(l.buffer[:n]); !ok {
			l.giveBack(r, bytes.Clone(l.buffer[:n]), nil)
			return
		}
	}
	if r.left -= n; r.left > 0 {
		return
	}
	l.g.land(r.f, r.status, nil)
	more := r.left < 0 // than the answer said: nobody knows what it is
	r.left = 0
	if r.f, r.due = l.g.begin(); more {
		l.anew(r)
	} else {
		l.send(r)
	}
}

// send sends a request.
func (l *lane) send(r *ride) {
	if !quiet(r.fd) {
		l.anew(r)
		return
	}
	request := r.u.s.first.raw
	switch n, err := unix.Write(r.fd, request); {
	case err != nil && err != unix.EAGAIN && err != unix.EINTR:
		l.giveBack(r, nil, os.NewSyscallError("write", err)) // a socket says only once what happened to it
	case n < len(request):
		r.unsent = request[max(n, 0):]
		l.giveBack(r, nil, nil)
	}
}

// leave takes a client out of the lane.
func (l *lane) leave(r *ride) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.rides, r.fd)
	_ = l.listen(r, unix.EPOLL_CTL_DEL, 0)
}

// giveBack gives a client its connection back, with the request on its way, what came of the answer, and how the reading ended.
func (l *lane) giveBack(r *ride, begun []byte, ended error) {
	l.leave(r)
	l.g.running.Go(func() {
		w := l.g.sender.way.(*wire)
		f := os.NewFile(uintptr(r.fd), "")
		bare, err := net.FileConn(f)
		f.Close()
		if err == nil {
			r.c, err = w.adopt(&connection{Conn: bare, origin: l.g.sender.first.origin, prefix: begun, ended: ended})
		}
		r.failed = err
		l.g.client(l, r.u, &r.pending)
	})
}

// anew sends a client away without its connection, with a request to send.
func (l *lane) anew(r *ride) {
	l.leave(r)
	unix.Close(r.fd)
	l.g.running.Go(func() { l.g.client(l, r.u, &r.pending) })
}

// expire gives those clients their connection back whose time is up.
func (l *lane) expire() {
	l.mu.Lock()
	now := time.Now()
	if l.alarm.IsZero() || now.Before(l.alarm) {
		l.mu.Unlock()
		return
	}
	var late []*ride
	l.alarm = time.Time{}
	for _, r := range l.rides {
		switch {
		case !r.due.After(now):
			late = append(late, r)
		case l.alarm.IsZero() || r.due.Before(l.alarm):
			l.alarm = r.due
		}
	}
	l.mu.Unlock()
	for _, r := range late {
		l.giveBack(r, nil, os.ErrDeadlineExceeded)
	}
}
