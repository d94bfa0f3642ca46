package http

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"

	"chaos/runtime/netfail"
)

// The reasons for which requests of a load fail, in few words and without the peer's name, so that a script can name one:
// `load.failures["connection refused"]`. Those of refusals by status read "status 503".
const (
	reasonTimeout   = "no answer in time"
	reasonClosed    = "closed before the answer"
	reasonRedirects = "too many redirects"
	reasonOther     = "other"
)

// reasons are what the operating system says, in an order in which the first that fits is the best.
var reasons = []struct {
	text   string
	errnos []syscall.Errno
}{
	{"connection refused", []syscall.Errno{syscall.ECONNREFUSED}},
	{"connection reset", []syscall.Errno{syscall.ECONNRESET}},
	{reasonClosed, []syscall.Errno{syscall.EPIPE, syscall.ECONNABORTED}},
	{"no route", []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN}},
	{"no free local port", []syscall.Errno{syscall.EADDRNOTAVAIL}},
	{"too many open files", []syscall.Errno{syscall.EMFILE, syscall.ENFILE}},
	{"not permitted", []syscall.Errno{syscall.EACCES, syscall.EPERM}},
}

// otherReasons are found out in other ways.
var otherReasons = []string{reasonTimeout, "no such host", "certificate not trusted", "TLS failed", "not HTTP", "not HTTP/2", "stream reset", reasonRedirects}

// knownReasons are all that have a name here. They are in every sample, so that `== 0` can hold.
var knownReasons = func() []string {
	out := otherReasons
	for _, r := range reasons {
		out = append(out, r.text)
	}
	return out
}()

var errNotHTTP2 = errors.New("not HTTP/2")

// reason names a failure. What nobody knows keeps its own words, shortened; windows bound how many of those they keep.
func reason(err error) string {
	if errors.Is(err, errRedirects) {
		return reasonRedirects
	}
	if netfail.IsTimeout(err) {
		return reasonTimeout
	}
	for _, r := range reasons {
		for _, errno := range r.errnos {
			if errors.Is(err, errno) {
				return r.text
			}
		}
	}
	var (
		dns      *net.DNSError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		alert    tls.AlertError
	)
	text := err.Error()
	switch {
	case errors.As(err, &dns):
		return "no such host"
	case errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &invalid):
		return "certificate not trusted"
	case errors.Is(err, errNotHTTP2):
		return "not HTTP/2"
	case strings.Contains(text, "no application protocol"), strings.Contains(text, "frame too large"):
		return "not HTTP/2"
	case errors.As(err, &record), errors.As(err, &alert), strings.HasPrefix(text, "tls: "), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "TLS failed"
	case strings.Contains(text, "stream error"), strings.Contains(text, "REFUSED_STREAM"):
		return "stream reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.Contains(text, "GOAWAY"), strings.Contains(text, "http2: client conn"), strings.Contains(text, "connection is unavailable"):
		return reasonClosed
	case strings.Contains(text, "malformed"), strings.Contains(text, "invalid header"), strings.Contains(text, "bad Content-Length"),
		strings.Contains(text, "transfer encoding"), strings.Contains(text, "chunk"):
		return "not HTTP"
	}
	return shorten(netfail.Text(err, "the server"))
}

// shorten cuts a text that has no bound of its own.
func shorten(text string) string {
	const most = 80
	if text = strings.ToValidUTF8(text, "\uFFFD"); len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func statusReason(status int) string { return "status " + strconv.Itoa(status) }
