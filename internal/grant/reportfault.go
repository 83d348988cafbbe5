package grant

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
)

// Fault says why a call got no answer, or was not made.
type Fault string

// The faults of a connection.
const (
	FaultName        Fault = "dns"                 // the host name cannot be resolved
	FaultPrivate     Fault = "private_address"     // the address must not be dialled
	FaultUnreachable Fault = "unreachable"         // nobody listens there, or no way leads there
	FaultClosed      Fault = "closed"              // the connection ended before the answer did
	FaultTimeout     Fault = "timeout"             // no complete answer in time
	FaultNoTLS       Fault = "no_tls"              // the server speaks plain HTTP
	FaultTLS         Fault = "tls_refused"         // the server ended the handshake
	FaultUntrusted   Fault = "certificate_unknown" // its issuer is not known
	FaultOtherHost   Fault = "certificate_of_another_host"
	FaultExpired     Fault = "certificate_expired"
	FaultCertificate Fault = "certificate"
	FaultClear       Fault = "clear" // a proxy would see what is sent
)

// The faults of a proxy.
const (
	FaultProxyUnreachable = Fault(outbound.ProxyUnreachable)
	FaultProxyPrivate     = Fault(outbound.ProxyPrivate)
	FaultProxyCredentials = Fault(outbound.WantsCredentials)
	FaultProxyRefused     = Fault(outbound.Refused)
	FaultProxyNotReached  = Fault(outbound.NotReached)
)

// The faults of calls that were not made.
const (
	FaultParent        Fault = "parent"         // the token of another credential is missing
	FaultUnpushed      Fault = "unpushed"       // a value that is pushed has not come yet
	FaultNotAuthorized Fault = "not_authorized" // a person has to authorize first
	FaultFixed         Fault = "fixed_token"    // there is nothing to fetch
	FaultUnattended    Fault = "unattended"     // a new login would end the one before
	FaultTrial         Fault = "trial"          // a trial config would spend the refresh token
	FaultWaiting       Fault = "waiting"        // the provider is left alone after a failure
)

// FaultOf recognizes the error of a connection; "" for one that is not known.
func FaultOf(ctx context.Context, err error) Fault {
	var (
		dns     *net.DNSError
		errno   syscall.Errno
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		issuer  x509.UnknownAuthorityError
		trust   *tls.CertificateVerificationError
		alert   tls.AlertError
		plain   tls.RecordHeaderError
		timeout net.Error
		proxy   *outbound.Error
	)
	switch {
	case errors.Is(err, netguard.ErrForbidden):
		return FaultPrivate
	case errors.As(err, &proxy):
		return Fault(proxy.Fault)
	case errors.Is(err, outbound.ErrClear):
		return FaultClear
	case ranOut(ctx), errors.As(err, &timeout) && timeout.Timeout():
		return FaultTimeout
	case errors.As(err, &dns):
		return FaultName
	case errors.As(err, &host):
		return FaultOtherHost
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return FaultExpired
	case errors.As(err, &issuer):
		return FaultUntrusted
	case errors.As(err, &trust):
		return FaultCertificate
	case errors.As(err, &alert):
		return FaultTLS
	case errors.As(err, &plain):
		return FaultNoTLS
	case errors.As(err, &errno):
		return FaultUnreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return FaultClosed
	}
	return ""
}
