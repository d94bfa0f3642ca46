package tcp

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/needtest"
)

func open1(t *testing.T, a map[string]value.Value) (probes.Sampler, error) {
	t.Helper()
	p, ok := probes.NewRegistry(All()...).Probe("tcp.connect")
	if !ok {
		t.Fatal("there is no tcp.connect")
	}
	o, err := p.Open(context.Background(), env.Env{}, a)
	if err != nil {
		return nil, err
	}
	return o.(probes.Sampler), nil
}

func sample(t *testing.T, ctx context.Context, a map[string]value.Value) (value.Value, error) {
	t.Helper()
	s, err := open1(t, a)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Sample(ctx)
}

func TestListeningAndDead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := map[string]value.Value{"address": value.StringOf(l.Addr().String())}
	v, err := sample(t, context.Background(), a)
	if err != nil || !v.Get("ok").Bool() || v.Get("latency").Duration() <= 0 || v.Get("error").Text() != "" || v.Get("error").IsMissing() {
		t.Errorf("a listener is %s (%v)", v, err)
	}
	l.Close()
	v, err = sample(t, context.Background(), a)
	if err != nil || v.Get("ok").Bool() || !v.Get("latency").IsMissing() || v.Get("error").Text() != "connection refused by "+l.Addr().String() {
		t.Errorf("a dead port is %s (%v)", v, err)
	}
}

// fullListener is an address whose backlog is full, so that the kernel answers no further connection.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	full := 0
	for range 8 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			full = 0
		} else if full++; full == 3 { // one alone may be this machine, which slept for that long
			return address
		}
	}
	needtest.Lacks(t, "this kernel accepts beyond the backlog")
	return ""
}

func TestATimeoutKeepsTheTimeWaited(t *testing.T) {
	address := fullListener(t)
	a := map[string]value.Value{"address": value.StringOf(address), "timeout": value.DurationOf(200 * time.Millisecond)}
	begun := time.Now()
	v, err := sample(t, context.Background(), a)
	if l := v.Get("latency").Duration(); err != nil || v.Get("ok").Bool() || l < 200*time.Millisecond || l > time.Since(begun) {
		t.Errorf("a silent listener is %s (%v)", v, err)
	}
	if e := v.Get("error").Text(); e != "no answer from "+address+" within "+value.DurationOf(200*time.Millisecond).String() {
		t.Errorf("the error reads %q", e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	a["timeout"] = value.DurationOf(time.Minute)
	if v, err := sample(t, ctx, a); err == nil {
		t.Errorf("a cancelled sample is %s", v)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("cancelling took %v", took)
	}
}

func TestBadAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1":             "`address`: \"127.0.0.1\" is not host:port",
		"":                      "`address` must not be empty",
		"host:":                 "`address`: \"host:\" is not host:port",
		"host:99999":            "`address`: \"99999\" is no port",
		"http://127.0.0.1:80/x": "`address`: \"http://127.0.0.1:80/x\" is a URL, not host:port; write \"127.0.0.1:80\"",
	} {
		if _, err := open1(t, map[string]value.Value{"address": value.StringOf(address)}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, p := range All() {
		for _, f := range p.Spec().Result.Fields {
			if f.Help == "" {
				t.Errorf("%s lacks help", f.Name)
			}
		}
	}
}
