package http

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaos/lang/value"
)

// withLanes lets a load have so many lanes, which clients enter as soon as they can.
func withLanes(t *testing.T, n int) {
	most, first := mostLanes, entry
	t.Cleanup(func() { mostLanes, entry = most, first })
	mostLanes, entry = func() int { return n }, 1
}

const usual = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// Every fifth answer is of another kind. It counts the same with a lane as without, and those around it are not touched.
func TestALaneCountsAsAClientDoes(t *testing.T) {
	say := func(parts ...string) func(net.Conn) bool {
		return func(c net.Conn) bool {
			for i, p := range parts {
				if i > 0 {
					time.Sleep(2 * time.Millisecond)
				}
				if _, err := io.WriteString(c, p); err != nil {
					return false
				}
			}
			return true
		}
	}
	last := func(say func(net.Conn) bool) func(net.Conn) bool {
		return func(c net.Conn) bool { say(c); return false }
	}
	const declared = "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"
	// As long as what a reader takes at once, so that what follows is not in the reader any more.
	padded := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nPad: %s\r\n\r\n2\r\nok\r\n0\r\n\r\n"
	padded = fmt.Sprintf(padded, strings.Repeat("x", 4096-len(padded)+len("%s")))
	for name, odd := range map[string]struct {
		answer func(net.Conn) (goOn bool)
		reason string // "" for a good answer
	}{
		"in three parts":              {say("HTTP/1.1 200 OK\r\nCont", "ent-Length: 2\r\n\r\n", "ok"), ""},
		"body later":                  {say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "o", "k"), ""},
		"a long body":                 {say(declared + strings.Repeat("x", 300_000)), ""},
		"chunked":                     {say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), ""},
		"no content":                  {say("HTTP/1.1 204 No Content\r\n\r\n"), ""},
		"announced":                   {say("HTTP/1.1 103 Early Hints\r\n\r\n" + usual), ""},
		"the last, says so":           {last(say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")), ""},
		"more than it says":           {last(say(usual + "!")), ""},
		"one more than asked for":     {say(padded + "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), ""},
		"until the end":               {last(say("HTTP/1.1 200 OK\r\n\r\nok")), ""},
		"no answer":                   {last(say()), reasonClosed},
		"half a header":               {last(say("HTTP/1.1 200 OK\r\nCont")), "not HTTP"},
		"half a body":                 {last(say(declared + "x")), reasonClosed},
		"half a body, a little later": {last(say(declared, "x")), reasonClosed},
		"another protocol":            {last(say("SSH-2.0-x\r\n\r\n")), "not HTTP"},
		"reset":                       {func(c net.Conn) bool { c.(*net.TCPConn).SetLinger(0); return false }, "connection reset"},
		"reset in the body": {func(c net.Conn) bool {
			io.WriteString(c, declared+"x")
			time.Sleep(2 * time.Millisecond) // a reset throws away what was not read yet
			c.(*net.TCPConn).SetLinger(0)
			return false
		}, "connection reset"},
		"hangs":             {func(c net.Conn) bool { hang(c); return false }, reasonTimeout},
		"hangs in the body": {func(c net.Conn) bool { io.WriteString(c, declared+"x"); hang(c); return false }, reasonTimeout},
	} {
		for _, lanes := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("%s, %d lanes", name, lanes), func(t *testing.T) {
				withLanes(t, lanes)
				var odds, all atomic.Int64
				address := rawServer(t, func(c net.Conn) {
					defer c.Close()
					for n := 1; readSome(c); n++ {
						all.Add(1)
						if n%5 > 0 {
							io.WriteString(c, usual)
							continue
						}
						odds.Add(1)
						if !odd.answer(c) {
							return
						}
					}
				})
				const clients = 16
				timeout := 20 * time.Second
				if odd.reason == reasonTimeout {
					timeout = time.Second // of a busy machine the good answers are in time all the same
				}
				s := startLoad(t, args{"url": str("http://" + address), "concurrency": value.NumberOf(clients), "timeout": value.DurationOf(timeout)})
				time.Sleep(100 * time.Millisecond)
				// By then some client has gone on after an odd answer.
				for end := time.Now().Add(20 * time.Second); (all.Load() < 6*clients || odds.Load() <= clients) && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				g := s.(*generator)
				if len(g.lanes) != lanes {
					t.Errorf("%d lanes", len(g.lanes))
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if g.inFlight != 0 || g.oldest != nil {
					t.Errorf("%d requests are on their way after the end", g.inFlight)
				}
				_, m := s.Next()
				w, expected := m.(*window), int(odds.Load())
				near := func(got, want int) bool { return got <= want && got >= want-clients } // the last are given up
				if total := int(all.Load()); !near(w.requests, total) || w.requests < 5*clients {
					t.Errorf("%d requests, the server saw %d", w.requests, total)
				}
				if odd.reason == "" {
					wantFailures(t, w)
				} else if wantFailures(t, w, odd.reason); !near(w.errors, expected) {
					t.Errorf("%d errors of %d odd answers", w.errors, expected)
				}
			})
		}
	}
}

// What other tests demand of clients in a lane, where the machine has the cores for one, holds for those without.
func TestClientsWithoutALane(t *testing.T) {
	withLanes(t, 0)
	for name, test := range map[string]func(*testing.T){
		"concurrency": TestConcurrencyIsNeverExceeded, "age": TestAHangingServerShowsTheAgeOfTheOldest, "timeouts": TestTimeoutsCountAtTheirTimeout,
		"dead": TestADeadServerIsNoFastServer, "windows": TestMergedWindowsAreTheWhole, "connections": TestConnectionsAreReusedOrNot,
		"warmup": TestTheWarmupIsNotCounted, "behind": TestNothingStaysBehind,
	} {
		t.Run(name, test)
	}
}

// A lane is where the requests are, and it is left when the server says nothing any more.
func TestInTheLane(t *testing.T) {
	var mute atomic.Bool
	address := rawServer(t, func(c net.Conn) {
		defer c.Close()
		for readSome(c) {
			if mute.Load() {
				hang(c)
				return
			}
			io.WriteString(c, usual)
		}
	})
	withLanes(t, 2)
	g := startLoad(t, args{"url": str("http://" + address), "concurrency": value.NumberOf(10), "timeout": value.DurationOf(500 * time.Millisecond)}).(*generator)
	riding := func() (n int) {
		for _, l := range g.lanes {
			l.mu.Lock()
			n += len(l.rides)
			l.mu.Unlock()
		}
		return n
	}
	wait := func(n int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); riding() != n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d of 10 are in a lane, not %d", riding(), n)
			}
		}
	}
	wait(10)
	mute.Store(true)
	wait(0)
}

// A request whose server reads nothing ends at its timeout. A lane would hear nothing of a connection that is full.
func TestALaneTakesNoFullConnection(t *testing.T) {
	withLanes(t, 1)
	address := rawServer(t, func(c net.Conn) { <-t.Context().Done(); c.Close() })
	g := startLoad(t, args{"url": str("http://" + address)}).(*generator)
	c, err := g.sender.way.(*wire).dial(g.sender.first, time.Now().Add(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for err == nil {
		_, err = c.Write(make([]byte, 64<<10))
	}
	c.usual = entry
	u := g.sender.newUser()
	u.keep(c, true)
	f, due := g.begin()
	if g.lanes[0].take(u, f, due) || len(u.conns) != 1 {
		t.Error("the lane has taken it")
	}
	g.land(f, 0, net.ErrClosed)
}
