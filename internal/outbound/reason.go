package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
)

// Reason describes why there is no connection, or no answer on it, in words that hold
// nothing confidential. Other errors, whose text may hold anything, are "the exchange
// failed".
func Reason(ctx context.Context, err error) string {
	var (
		proxy *Error
		dns   *net.DNSError
		errno syscall.Errno
		trust *tls.CertificateVerificationError
		alert tls.AlertError
		plain tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, netguard.ErrForbidden):
		return netguard.ErrForbidden.Error()
	case errors.Is(err, ErrClear):
		return ErrClear.Error()
	case errors.As(err, &proxy):
		return proxy.Error()
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return "no complete answer in time"
	case ctx.Err() != nil:
		return "the call was given up"
	case errors.As(err, &dns):
		return "the host name cannot be resolved: " + dns.Err
	case errors.As(err, &trust):
		return "the certificate is not trusted: " + certificateFault(trust.Err)
	case errors.As(err, &alert):
		return alert.Error()
	case errors.As(err, &plain):
		return "the server does not speak TLS"
	case errors.As(err, &errno):
		return errno.Error()
	case IsTimeout(ctx, err):
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer was complete"
	}
	return "the exchange failed"
}

// IsTimeout reports whether an error is that of somebody who waited too long.
func IsTimeout(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.Is(context.Cause(ctx), context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// certificateFault describes why a certificate is not trusted, in words that
// quote nothing of it.
func certificateFault(err error) string {
	var (
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		issuer  x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &host):
		return "it is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired or is not valid yet"
	case errors.As(err, &issuer):
		return "its issuer is unknown"
	}
	return "it is not valid"
}
