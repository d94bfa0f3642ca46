// Package dns watches what a name server answers.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/netfail"

	"github.com/miekg/dns"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{lookup()} }

type lookupArgs struct {
	Name    string        `chaos:"name,required,positional,filled" help:"the whole name, without search domains; for type PTR an IP address will do"`
	Server  string        `chaos:"server" help:"the name server, as host or host:port; without it the first one of /etc/resolv.conf"`
	Type    string        `chaos:"type" default:"A" enum:"A AAAA CNAME MX TXT NS SRV PTR" help:"what to ask for"`
	Timeout time.Duration `chaos:"timeout" default:"5s" range:">0s" help:"how long to wait for the answer"`
}

// Sample is one answer, or its absence.
type Sample struct {
	OK      bool           `chaos:"ok" help:"the name has at least one record of this type"`
	Answers []string       `chaos:"answers" help:"the records of this type, sorted, without the dot at the end of names: addresses for A and AAAA, \"10 mail.example.org\" for MX, \"0 5 5060 sip.example.org\" for SRV"`
	Latency *time.Duration `chaos:"latency" help:"from sending to the whole answer; of a timeout the time waited; absent when asking failed at once"`
	RCode   *string        `chaos:"rcode" help:"what the server says: NOERROR, NXDOMAIN, SERVFAIL, REFUSED…; absent without an answer"`
	Error   string         `chaos:"error" help:"why there is no record, in words; empty when there is one"`
}

func lookup() probes.Probe {
	return probes.Define(spec.Call{
		Name: "dns.lookup",
		Summary: "Asks a name server for the records of a name; that there is none, or no answer, is a sample too. " +
			"It asks once, so that a lost packet shows, and looks into neither /etc/hosts nor a cache.",
		Example: `probe name = dns.lookup("db.example.org", server: "127.0.0.1:53", timeout: 1s) every 1s`,
	}, open)
}

func open(_ context.Context, _ env.Env, in lookupArgs) (probes.Take[Sample], error) {
	name, err := fullName(in.Name, in.Type)
	if err != nil {
		return nil, err
	}
	server := ""
	if in.Server != "" {
		if server, err = address(in.Server); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (Sample, error) {
		at := server
		if at == "" { // read each time: DHCP and VPNs rewrite it
			if at, err = systemServer("/etc/resolv.conf"); err != nil {
				return Sample{}, err
			}
		}
		return take(ctx, question{name: name, kind: dns.StringToType[in.Type], server: at, timeout: in.Timeout})
	}, nil
}

// fullName is the name as it goes over the wire.
func fullName(name, kind string) (string, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		if kind == "PTR" {
			return dns.ReverseAddr(ip.Unmap().WithZone("").String())
		}
		return "", fmt.Errorf("`name`: %s is an address; its name is found with `type: \"PTR\"`", value.Quote(name))
	}
	if strings.Contains(name, "://") {
		return "", fmt.Errorf("`name`: %s is a URL; write the host alone", value.Quote(name))
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		return "", fmt.Errorf("`name`: %s is not ASCII; write it as it goes over the wire, as in \"xn--bcher-kva.example\"", value.Quote(name))
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" || strings.ContainsAny(name, " \t\n\\/:") {
		return "", fmt.Errorf("`name`: %s is no name", value.Quote(name))
	}
	return dns.Fqdn(name), nil
}

// address is host:port of what a script writes, with 53 as the port.
func address(server string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(server, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = server, "53"
	}
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.ContainsAny(server, " /[]") || strings.Contains(host, ":")) {
		return "", fmt.Errorf("`server`: %s is neither host nor host:port, as in \"127.0.0.1:53\"", value.Quote(server))
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("`server`: %s is no port", value.Quote(port))
	}
	return net.JoinHostPort(host, port), nil
}

// systemServer is the first name server of a resolv.conf(5); without one it is this machine.
func systemServer(path string) (string, error) {
	config, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return "", fmt.Errorf("%s cannot be read; name a `server`", path)
	}
	if len(config.Servers) == 0 {
		return "127.0.0.1:53", nil
	}
	return net.JoinHostPort(config.Servers[0], config.Port), nil
}

type question struct {
	name    string
	kind    uint16
	server  string // host:port
	timeout time.Duration
}

// take asks once: over UDP, and where the answer does not fit into a datagram again over TCP, see RFC 1035 and RFC 7766.
func take(parent context.Context, q question) (Sample, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(parent, q.timeout)
	defer cancel()
	m := new(dns.Msg).SetQuestion(q.name, q.kind)
	answer, err := exchange(ctx, "udp", q.server, m)
	if err == nil && answer.Truncated {
		answer, err = exchange(ctx, "tcp", q.server, m)
	}
	took := time.Since(start)
	if errors.Is(parent.Err(), context.Canceled) {
		return Sample{}, parent.Err()
	}
	out := Sample{Answers: []string{}}
	switch {
	case err != nil && (ctx.Err() != nil || netfail.IsTimeout(err)):
		out.Latency, out.Error = &took, netfail.Timeout(q.server, q.timeout)
		return out, nil
	case err != nil:
		out.Error = text(err, q.server)
		return out, nil
	}
	rcode, ok := dns.RcodeToString[answer.Rcode]
	if !ok {
		rcode = strconv.Itoa(answer.Rcode)
	}
	out.Latency, out.RCode = &took, &rcode
	for _, r := range answer.Answer {
		if r.Header().Rrtype == q.kind {
			out.Answers = append(out.Answers, show(r))
		}
	}
	slices.Sort(out.Answers)
	out.OK = answer.Rcode == dns.RcodeSuccess && len(out.Answers) > 0
	name, kind := strings.TrimSuffix(q.name, "."), dns.TypeToString[q.kind]
	switch {
	case out.OK:
	case answer.Rcode == dns.RcodeNameError:
		out.Error = fmt.Sprintf("%s says that there is no name %s", q.server, name)
	case answer.Rcode == dns.RcodeSuccess:
		out.Error = fmt.Sprintf("%s has no record of type %s", name, kind)
	default:
		out.Error = fmt.Sprintf("%s answers %s", q.server, rcode)
	}
	return out, nil
}

// exchange sends one message on a connection of its own and waits for the answer to it.
func exchange(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the library knows deadlines, but not cancellation
	defer stop()
	client := &dns.Client{Net: network, Timeout: time.Hour} // the context ends it
	answer, _, err := client.ExchangeWithConnContext(ctx, m, &dns.Conn{Conn: conn})
	return answer, err
}

// text is netfail's, and what only this protocol knows.
func text(err error, server string) string {
	var malformed *dns.Error
	if errors.As(err, &malformed) {
		return server + " did not answer in DNS"
	}
	return netfail.Text(err, server)
}

// show is the data of a record as a script compares it.
func show(r dns.RR) string {
	host := func(name string) string { return strings.TrimSuffix(name, ".") }
	switch r := r.(type) {
	case *dns.A:
		return r.A.String()
	case *dns.AAAA:
		return r.AAAA.String()
	case *dns.CNAME:
		return host(r.Target)
	case *dns.MX:
		return fmt.Sprintf("%d %s", r.Preference, host(r.Mx))
	case *dns.TXT:
		return strings.ToValidUTF8(strings.Join(r.Txt, ""), "\uFFFD")
	case *dns.NS:
		return host(r.Ns)
	case *dns.SRV:
		return fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, host(r.Target))
	case *dns.PTR:
		return host(r.Ptr)
	}
	return strings.TrimPrefix(r.String(), r.Header().String())
}
