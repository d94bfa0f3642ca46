package netfail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRealFailuresReadPlainly(t *testing.T) {
	closed := deadAddress(t)
	if _, err := net.Dial("tcp", closed); Text(err, closed) != "connection refused by "+closed {
		t.Errorf("a refused dial reads %q", Text(err, closed))
	}
	if _, err := http.Get("http://" + closed + "/"); Text(err, closed) != "connection refused by "+closed {
		t.Errorf("a refused request reads %q", Text(err, closed))
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	host := strings.TrimPrefix(plain.URL, "http://")
	if _, err := http.Get("https://" + host + "/"); Text(err, host) != host+" does not speak TLS" {
		t.Errorf("TLS against a plain server reads %q", Text(err, host))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if !IsTimeout(ctx.Err()) {
		t.Error("an expired context is a timeout")
	}
}

func TestConstructedFailuresReadPlainly(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{io.EOF, "p closed the connection before its answer was complete"},
		{fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), "p closed the connection before its answer was complete"},
		{&net.DNSError{Name: "nowhere.test", IsNotFound: true}, "there is no host called nowhere.test"},
		{&net.DNSError{Name: "nowhere.test", IsTimeout: true}, "no answer from the name server about nowhere.test"},
		{context.DeadlineExceeded, "no answer from p in time"},
		{&net.OpError{Op: "dial", Err: errors.New("odd")}, "odd"},
	} {
		if got := Text(c.err, "p"); got != c.want {
			t.Errorf("Text(%v) = %q, want %q", c.err, got, c.want)
		}
	}
	if got := Timeout("p", 90*time.Second); got != "no answer from p within 1m30s" {
		t.Errorf("a timeout reads %q", got)
	}
}

// deadAddress is a loopback address on which nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
