// Package netfail says in plain words why a network operation failed. Every family that talks to a server uses it, so that
// the same failure reads the same everywhere: "connection refused by 127.0.0.1:8001".
package netfail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"chaos/lang/value"
)

// errnos are the failures that the operating system names, each with a phrase that takes the peer.
var errnos = []struct {
	errno  syscall.Errno
	phrase string
}{
	{syscall.ECONNREFUSED, "connection refused by %s"},
	{syscall.ECONNRESET, "connection reset by %s"},
	{syscall.EPIPE, "connection closed by %s"},
	{syscall.ECONNABORTED, "connection to %s aborted"},
	{syscall.EHOSTUNREACH, "no route to %s"},
	{syscall.ENETUNREACH, "no network towards %s"},
	{syscall.ENETDOWN, "the network interface towards %s is down"},
	{syscall.ETIMEDOUT, "%s does not acknowledge what is sent"},
	{syscall.EADDRNOTAVAIL, "this machine has no free local port towards %s"},
	{syscall.EMFILE, "this process may not open more files, so there is no connection to %s"},
	{syscall.ENFILE, "this machine may not open more files, so there is no connection to %s"},
	{syscall.EACCES, "this machine does not permit a connection to %s"},
	{syscall.EPERM, "this machine does not permit a connection to %s"},
}

// IsTimeout tells whether err means that time ran out.
func IsTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// Timeout is the text for an operation that got no answer in time.
func Timeout(peer string, within time.Duration) string {
	return fmt.Sprintf("no answer from %s within %s", peer, value.DurationOf(within))
}

// Text is the failure in plain words, without the layers of the network library. peer is what the script named, host:port;
// where the error knows the address that was really used, that one is printed.
func Text(err error, peer string) string {
	if err == nil {
		return ""
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		peer = op.Addr.String()
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		switch {
		case dns.IsNotFound:
			return fmt.Sprintf("there is no host called %s", dns.Name)
		case dns.IsTimeout:
			return fmt.Sprintf("no answer from the name server about %s", dns.Name)
		}
		return fmt.Sprintf("the name %s cannot be looked up", dns.Name)
	}
	for _, e := range errnos {
		if errors.Is(err, e.errno) {
			return fmt.Sprintf(e.phrase, peer)
		}
	}
	if text := tlsText(err, peer); text != "" {
		return text
	}
	switch {
	case IsTimeout(err):
		return fmt.Sprintf("no answer from %s in time", peer)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return fmt.Sprintf("%s closed the connection before its answer was complete", peer)
	}
	return innermost(err)
}

func tlsText(err error, peer string) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		alert    tls.AlertError
	)
	switch {
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate of %s is signed by nobody this machine trusts; `insecure: true` accepts it", peer)
	case errors.As(err, &hostname):
		return fmt.Sprintf("the certificate of %s is for another host than %s; `insecure: true` accepts it", peer, hostname.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s has expired or is not valid yet; `insecure: true` accepts it", peer)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate of %s is not valid; `insecure: true` accepts it", peer)
	case errors.As(err, &record):
		return fmt.Sprintf("%s does not speak TLS", peer)
	case errors.As(err, &alert):
		return fmt.Sprintf("%s refused the TLS handshake", peer)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Sprintf("%s does not speak TLS", peer)
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "malformed MIME header"):
		return fmt.Sprintf("%s did not answer in HTTP", peer)
	}
	return ""
}

// innermost is the text at the core of an error that nothing above knows, without the operations wrapped around it.
func innermost(err error) string {
	for {
		switch e := err.(type) {
		case *url.Error:
			err = e.Err
			continue
		case *net.OpError:
			err = e.Err
			continue
		case *os.SyscallError:
			err = e.Err
			continue
		}
		text := err.Error()
		for _, prefix := range []string{"net/http: ", "http: ", "net: ", "tls: ", "x509: "} {
			text = strings.TrimPrefix(text, prefix)
		}
		return text
	}
}
