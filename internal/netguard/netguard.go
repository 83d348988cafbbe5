// Package netguard decides which network addresses may be dialled on behalf
// of realms that did not come from the operator's own configuration file: the
// public ones, and those that the operator allowed. The decision is made
// after name resolution, at the moment of the dial, so that a name cannot
// point elsewhere between check and use.
package netguard

import (
	"context"
	"errors"
	"net"
)

// ErrForbidden is returned by a dial to an address that is not allowed.
var ErrForbidden = errors.New("address is not public and not in allow_private")

// Dialer is the signature of net.Dialer.DialContext.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)
