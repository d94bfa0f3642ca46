package host

import (
	"context"
	stdio "io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What follows makes each kind of traffic that host.network and host.tcp count, in a network of the test's own.

func echo(ctx context.Context) (string, bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", false
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				stdio.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String(), true
}

// traffic sends messages over one connection and gets them back, and opens another ten times a second.
func traffic(ctx context.Context) {
	address, ok := echo(ctx)
	if !ok {
		return
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer c.Close()
	message, n := make([]byte, 4000), 0
	every(ctx, 5*time.Millisecond, func() {
		c.Write(message)
		stdio.ReadFull(c, message)
		if n++; n%20 == 0 {
			if other, err := net.Dial("tcp", address); err == nil {
				other.Close()
			}
		}
	})
}

// resets ends established connections without a farewell.
func resets(ctx context.Context) {
	address, ok := echo(ctx)
	if !ok {
		return
	}
	every(ctx, 50*time.Millisecond, func() {
		if c, err := net.Dial("tcp", address); err == nil {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
}

// unanswered knocks where nobody answers, so that the kernel knocks again each second.
func unanswered(ctx context.Context) {
	every(ctx, 50*time.Millisecond, func() {
		go func() {
			d := net.Dialer{Timeout: 2500 * time.Millisecond}
			if c, err := d.DialContext(ctx, "tcp", "10.77.0.2:9"); err == nil {
				c.Close()
			}
		}()
	})
}

// damaged sends segments with a wrong checksum.
func damaged(ctx context.Context) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	segment := make([]byte, 20)
	segment[12], segment[13], segment[16] = 5<<4, 1<<4, 0xbe // five words, an ACK
	every(ctx, 50*time.Millisecond, func() { unix.Sendto(fd, segment, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) })
}

// strange sends frames of a protocol that nobody knows, which the other end drops.
func strange(ctx context.Context) {
	i, err := net.InterfaceByName("here")
	if err != nil {
		return
	}
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	frame := make([]byte, 100)
	for n := range 6 {
		frame[n] = 0xff
	}
	frame[12], frame[13] = 0x88, 0xb5 // for local experiments; IEEE 802
	every(ctx, 20*time.Millisecond, func() { syscall.Sendto(fd, frame, 0, &syscall.SockaddrLinklayer{Ifindex: i.Index}) })
}
