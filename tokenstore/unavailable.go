package tokenstore

import (
	"context"
	"errors"
	"time"
)

// Timeout bounds what a caller waits for one use of the store: a server that
// hangs, or a lock that somebody else holds, becomes an error in the end.
const Timeout = 10 * time.Second

// IsUnavailable reports whether an error of a store means that the store
// cannot be used now. A store that does not answer within its Timeout counts
// as unavailable, too.
func IsUnavailable(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}
