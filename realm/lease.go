package realm

import (
	"net/url"
	"time"
)

// Lease is a token made ready for injection: immutable, and shared by all
// requests that use it until it is replaced.
type Lease struct {
	Ref   Ref
	Token Token
	// ServeUntil is the instant from which on the token is not handed out
	// any more (its end less a second); zero for never.
	ServeUntil time.Time
	// Placed are the realm's injections with the token filled in.
	Placed []Placed
	// Target says where the token may go.
	Target *Target
	// Source tells where the token came from: memory, redis, database or
	// upstream.
	Source Source
}

// Placed is one injection, filled in.
type Placed struct {
	// Place is PlaceURL or PlaceHeader (basic is a header by now).
	Place string
	// Name as the provider spells it; for a header, in canonical form.
	Name string
	// Pair is the query pair "name=value", both escaped. Set for PlaceURL.
	Pair string
	// Values is the header's value, as http.Header wants it. Set for
	// PlaceHeader; it is shared and must not be changed.
	Values []string
}

// Target is what a request with a realm's token may do.
type Target struct {
	// API is the base of the provider's API; nil where the realm names none.
	API *url.URL
	// Hosts may get the token.
	Hosts []HostPattern
	// Trusted targets were named by the operator in the Caddyfile; any other
	// may be reached on public addresses only.
	Trusted bool
	// AllowHTTP, Upgrade and Forwarded are the realm's.
	AllowHTTP bool
	Upgrade   bool
	Forwarded bool
}

// Source tells where a token was found.
type Source string

// The levels of the cache, and the provider behind them.
const (
	FromMemory   Source = "memory"
	FromRedis    Source = "redis"
	FromDatabase Source = "database"
	FromUpstream Source = "upstream"
)
