package dns

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"github.com/miekg/dns"
)

// zone is what the server under test knows.
const zone = `
www.example.test. 60 IN CNAME web.example.test.
web.example.test. 60 IN A 192.0.2.20
web.example.test. 60 IN A 192.0.2.3
web.example.test. 60 IN AAAA 2001:db8::1
example.test. 60 IN MX 20 backup.example.test.
example.test. 60 IN MX 10 mail.example.test.
example.test. 60 IN TXT "v=spf1 " "-all"
example.test. 60 IN NS ns.example.test.
_sip._tcp.example.test. 60 IN SRV 0 5 5060 sip.example.test.
3.2.0.192.in-addr.arpa. 60 IN PTR web.example.test.
xn--bcher-kva.test. 60 IN A 192.0.2.7
`

type server struct {
	address string
	tcp     atomic.Int32 // questions over TCP
	asked   atomic.Int32
}

// serve starts a name server on loopback, on UDP and TCP.
func serve(t *testing.T) *server {
	t.Helper()
	var records []dns.RR
	parser := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	for r, ok := parser.Next(); ok; r, ok = parser.Next() {
		records = append(records, r)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	s := &server{}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		s.asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		_, overTCP := w.LocalAddr().(*net.TCPAddr)
		if overTCP {
			s.tcp.Add(1)
		}
		switch q.Question[0].Name {
		case "silent.test.":
			return
		case "broken.test.":
			m.Rcode = dns.RcodeServerFailure
		case "refused.test.":
			m.Rcode = dns.RcodeRefused
		case "odd.test.":
			m.Rcode = 14
		case "garbage.test.":
			w.Write([]byte{byte(q.Id >> 8), byte(q.Id), 1})
			return
		case "long.test.":
			if m.Truncated = !overTCP; overTCP {
				for i := range 60 {
					m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "long.test.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, byte(i))})
				}
			}
		default:
			s.fill(m, records, q.Question[0])
		}
		w.WriteMsg(m)
	})
	var udp net.PacketConn
	var tcp net.Listener
	for range 20 { // a port that is free for the one need not be for the other
		var err error
		if udp, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		s.address = udp.LocalAddr().String()
		if tcp, err = net.Listen("tcp", s.address); err == nil {
			break
		}
		udp.Close()
	}
	if tcp == nil {
		t.Fatal("no port is free for both")
	}
	for _, d := range []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
		up := make(chan struct{})
		d.NotifyStartedFunc = func() { close(up) }
		ended := make(chan struct{})
		go func() { d.ActivateAndServe(); close(ended) }()
		<-up
		t.Cleanup(func() { d.Shutdown(); <-ended })
	}
	return s
}

// fill answers as a server does: the alias first, then what it stands for.
func (s *server) fill(m *dns.Msg, records []dns.RR, q dns.Question) {
	known, name := false, q.Name
	for _, r := range records {
		h := r.Header()
		if !strings.EqualFold(h.Name, name) {
			continue
		}
		known = true
		if h.Rrtype == q.Qtype {
			m.Answer = append(m.Answer, r)
		} else if alias, ok := r.(*dns.CNAME); ok {
			m.Answer = append(m.Answer, r)
			name = alias.Target
		}
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
}

type args = map[string]value.Value

func open1(a args) (probes.Sampler, error) {
	p, _ := probes.NewRegistry(All()...).Probe("dns.lookup")
	o, err := p.Open(context.Background(), env.Env{}, a)
	if err != nil {
		return nil, err
	}
	return o.(probes.Sampler), nil
}

func ask(t *testing.T, ctx context.Context, server, name, kind string, timeout time.Duration) (value.Value, error) {
	t.Helper()
	a := args{"name": value.StringOf(name), "server": value.StringOf(server)}
	if kind != "" {
		a["type"] = value.StringOf(kind)
	}
	if timeout != 0 {
		a["timeout"] = value.DurationOf(timeout)
	}
	s, err := open1(a)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Sample(ctx)
}

func answers(v value.Value) string {
	var out []string
	for _, i := range v.Get("answers").Items() {
		out = append(out, i.Text())
	}
	return strings.Join(out, ", ")
}

func TestRecords(t *testing.T) {
	s := serve(t)
	for _, c := range []struct{ name, kind, want string }{
		{"web.example.test", "", "192.0.2.20, 192.0.2.3"},
		{"WEB.example.test.", "A", "192.0.2.20, 192.0.2.3"},
		{"www.example.test", "A", "192.0.2.20, 192.0.2.3"},
		{"www.example.test", "CNAME", "web.example.test"},
		{"web.example.test", "AAAA", "2001:db8::1"},
		{"example.test", "MX", "10 mail.example.test, 20 backup.example.test"},
		{"example.test", "TXT", "v=spf1 -all"},
		{"example.test", "NS", "ns.example.test"},
		{"_sip._tcp.example.test", "SRV", "0 5 5060 sip.example.test"},
		{"192.0.2.3", "PTR", "web.example.test"},
		{"3.2.0.192.in-addr.arpa", "PTR", "web.example.test"},
		{"xn--bcher-kva.test", "A", "192.0.2.7"},
	} {
		v, err := ask(t, context.Background(), s.address, c.name, c.kind, 0)
		if err != nil || !v.Get("ok").Bool() || answers(v) != c.want || v.Get("rcode").Text() != "NOERROR" || v.Get("error").Text() != "" || v.Get("latency").Duration() <= 0 {
			t.Errorf("%s %s is %s (%v)", c.name, c.kind, v, err)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := serve(t)
	for _, c := range []struct{ name, kind, rcode, err string }{
		{"nowhere.test", "A", "NXDOMAIN", s.address + " says that there is no name nowhere.test"},
		{"web.example.test", "MX", "NOERROR", "web.example.test has no record of type MX"},
		{"www.example.test", "MX", "NOERROR", "www.example.test has no record of type MX"},
		{"broken.test", "A", "SERVFAIL", s.address + " answers SERVFAIL"},
		{"refused.test", "A", "REFUSED", s.address + " answers REFUSED"},
		{"odd.test", "A", "14", s.address + " answers 14"},
	} {
		v, err := ask(t, context.Background(), s.address, c.name, c.kind, 0)
		if err != nil || v.Get("ok").Bool() || v.Get("rcode").Text() != c.rcode || v.Get("error").Text() != c.err || answers(v) != "" || v.Get("answers").IsMissing() || v.Get("latency").IsMissing() {
			t.Errorf("%s %s is %s (%v)", c.name, c.kind, v, err)
		}
	}
}

func TestATruncatedAnswerIsAskedForOverTCP(t *testing.T) {
	s := serve(t)
	v, err := ask(t, context.Background(), s.address, "long.test", "A", 0)
	if err != nil || !v.Get("ok").Bool() || len(v.Get("answers").Items()) != 60 || s.tcp.Load() != 1 {
		t.Errorf("%s, %d questions over TCP (%v)", v.Short(), s.tcp.Load(), err)
	}
}

func TestNoAnswer(t *testing.T) {
	s := serve(t)
	asked := time.Now()
	v, err := ask(t, context.Background(), s.address, "silent.test", "A", 200*time.Millisecond)
	if l := v.Get("latency").Duration(); err != nil || v.Get("ok").Bool() || !v.Get("rcode").IsMissing() || l < 200*time.Millisecond || l > time.Since(asked) ||
		v.Get("error").Text() != "no answer from "+s.address+" within 200ms" {
		t.Errorf("silence is %s (%v)", v, err)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("it asked %d times", n)
	}
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	v, err = ask(t, context.Background(), dead.LocalAddr().String(), "web.example.test", "A", 0)
	if err != nil || v.Get("ok").Bool() || !v.Get("latency").IsMissing() || v.Get("error").Text() != "connection refused by "+dead.LocalAddr().String() {
		t.Errorf("a dead server is %s (%v)", v, err)
	}
	v, err = ask(t, context.Background(), s.address, "garbage.test", "A", 500*time.Millisecond)
	if err != nil || v.Get("ok").Bool() || v.Get("error").Text() == "" || strings.Contains(v.Get("error").Text(), "dns:") {
		t.Errorf("garbage is %s (%v)", v, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	begun := time.Now()
	if v, err := ask(t, ctx, s.address, "silent.test", "A", time.Minute); !errors.Is(err, context.Canceled) || time.Since(begun) > 20*time.Second {
		t.Errorf("cancelled it is %s (%v) after %v", v, err, time.Since(begun))
	}
}

func TestBadArguments(t *testing.T) {
	for want, a := range map[string]args{
		"`name` must not be empty":                       {"name": value.StringOf("")},
		"`name`: \"bücher.test\" is not ASCII":           {"name": value.StringOf("bücher.test")},
		"`name`: \"a b\" is no name":                     {"name": value.StringOf("a b")},
		"`name`: \"a..b\" is no name":                    {"name": value.StringOf("a..b")},
		"`name`: \"http://x/\" is a URL":                 {"name": value.StringOf("http://x/")},
		"`name`: \"192.0.2.1\" is an address":            {"name": value.StringOf("192.0.2.1")},
		"`server`: \"a:b:c\" is neither":                 {"name": value.StringOf("x"), "server": value.StringOf("a:b:c")},
		"`server`: \"99999\" is no port":                 {"name": value.StringOf("x"), "server": value.StringOf("h:99999")},
		"`timeout: 0s` must be more than 0s":             {"name": value.StringOf("x"), "timeout": value.DurationOf(0)},
		"`server`: \"udp://h\" is neither host nor host": {"name": value.StringOf("x"), "server": value.StringOf("udp://h")},
	} {
		if _, err := open1(a); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestServers(t *testing.T) {
	for given, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:53", "10.0.0.1:5353": "10.0.0.1:5353", "ns.test": "ns.test:53", "::1": "[::1]:53", "[::1]": "[::1]:53", "[::1]:54": "[::1]:54",
	} {
		if got, err := address(given); err != nil || got != want {
			t.Errorf("%s is %s (%v)", given, got, err)
		}
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for content, want := range map[string]string{"nameserver 192.0.2.53\nnameserver 192.0.2.54\n": "192.0.2.53:53", "nameserver fe80::1%eth0\n": "[fe80::1%eth0]:53", "search x\n": "127.0.0.1:53"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := systemServer(path); err != nil || got != want {
			t.Errorf("%q: %s (%v)", content, got, err)
		}
	}
	if _, err := systemServer(path + ".missing"); err == nil || !strings.Contains(err.Error(), "name a `server`") {
		t.Error(err)
	}
}

func TestTheSpec(t *testing.T) {
	s := All()[0].Spec()
	if s.Summary == "" || !strings.Contains(s.Example, s.Name) {
		t.Errorf("the spec is %+v", s)
	}
	for _, p := range s.Params {
		if p.Help == "" {
			t.Errorf("%s lacks help", p.Name)
		}
	}
	for _, f := range s.Result.Fields {
		if f.Help == "" {
			t.Errorf("%s lacks help", f.Name)
		}
	}
}
