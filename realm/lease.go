package realm

import (
	"fmt"
	"net/url"
	"time"
)

// Lease is a token made ready for injection: immutable, and shared by all
// requests that use it until it is replaced. There may be a million of them
// in memory, so it holds only what differs from token to token; what all
// leases of a realm share is in Target.
type Lease struct {
	// Access is the token itself. Where it can, it shares its memory with
	// Values.
	Access Hidden
	// Values are Target.Inject filled in, one for one, as they go out: a
	// query value is escaped already, a header value complete ("Bearer ..."). That
	// of a body is the text alone, because the request says how it is written.
	// Values[i:i+1:i+1] can stand in an http.Header without an allocation; it
	// is shared and must not be changed.
	Values []string
	// Computed returns Values for one request, where some are computed from what
	// the request is; those are empty in Values. It is nil where none is. Its
	// error names the field of the realm, and no value.
	Computed func(Outgoing) ([]string, error)
	// Target says where the token may go, and in which places.
	Target *Target
	// Expires is the end of the token.
	Expires Instant
	// Lineage is that of the token; 0 for one that no store has: a fixed one, or
	// one that serves only those who waited for it.
	Lineage int64
	// Source tells where the token came from.
	Source Source
	// InjectOnly: nobody is shown the token, see Config.InjectOnly.
	InjectOnly bool
}

// Outgoing is what a value may be computed from.
type Outgoing struct {
	// Method of the request, and its path as it goes to the provider: escaped,
	// without the query and without a segment with the token.
	Method, Path string
	// Now is the instant at which it is sent.
	Now time.Time
}

// String tells that there is a token, where it came from and when it ends.
// Values hold the token in clear, so that nothing else of a lease is printed.
func (l Lease) String() string {
	end := "without an end"
	if l.Expires != 0 {
		end = "until " + l.Expires.Time().Format(time.RFC3339)
	}
	return fmt.Sprintf("lease %v from %s, %s", l.Access, l.Source, end)
}

// Format is String, for every verb.
func (l Lease) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(l.String())) }

// MarshalText is String, for encoders that would list the fields.
func (l Lease) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Target is what the requests of a realm may do. It is immutable and the same
// pointer for all leases of a realm whose api and hosts hold no {secret.x}, and
// that keeps nothing with a token.
type Target struct {
	// API is the base of the provider's API; nil where the realm names none. SetAPI
	// sets it.
	API *url.URL
	// Dial is where the connections to API go; nil without one.
	Dial *Address
	// Hosts may get the token.
	Hosts []HostPattern
	// Inject are the places of the token.
	Inject []Place
	// Refused is why no request may go to API, whose host the provider says and
	// which is nil then; nil if one may.
	Refused *Error
	// Kept is what was kept with the token; empty where nothing is read of it.
	Kept Kept
	// Way is how connections are made; nil where the realm says nothing about it.
	Way *Way
	// Trusted targets were named by the operator in the Caddyfile; any other
	// may be reached on public addresses only.
	Trusted bool
	// AllowHTTP, Upgrade, Scrub and Forwarded are the realm's.
	AllowHTTP bool
	Upgrade   bool
	Scrub     bool
	Forwarded bool
	// RewriteLinks is the realm's.
	RewriteLinks bool
	// Pass are the realm's, in canonical form; nil for none.
	Pass []string
	// Methods may be used; nil for all that are not refused everywhere.
	Methods []string
	// Dead tells a dead token by the API's answers; nil where the realm has no
	// renew_on.
	Dead DeadRule
	// ReplayMax is how many bytes of a request's body are kept, so that it can
	// be sent again with another token.
	ReplayMax int64
}

// SetAPI sets the base of the API; nil for none.
func (t *Target) SetAPI(api *url.URL) {
	t.API, t.Dial = api, nil
	if api != nil {
		address := AddressOf(api)
		t.Dial = &address
	}
}

// String lists the hosts. A secret's field may stand in the path of API.
func (t Target) String() string { return fmt.Sprintf("hosts %v", t.Hosts) }

// Format is String, for every verb.
func (t Target) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// MarshalText is String, for encoders that would list the fields.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Place is one place of the token in an outgoing request.
type Place struct {
	// In is PlaceURL, PlaceHeader (basic is a header by now), PlaceBody,
	// PlaceCookie or PlacePath.
	In string
	// Name as the provider spells it; for a header, in canonical form.
	Name string
	// Pair is the name of a query pair, escaped, or of a cookie, with its "=",
	// ready to stand in front of the value. Of a path: what stands in front of
	// the value there, from its "/" on ("/bot").
	Pair string
	// Public: the value holds neither the token, nor a field of the secret, nor
	// what is kept with the token.
	Public bool
}

// Instant is a point in time in microseconds since the Unix epoch: what a
// time.Time says, in a third of its size. Zero stands for "never" or "not
// known", as the zero time.Time does.
type Instant int64

// InstantOf converts a time; the zero time gives zero.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMicro())
}

// Time converts back, to UTC.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(i)).UTC()
}

// Add returns the instant d later, or earlier for a negative d; what d has below
// a microsecond is dropped. Zero stays zero: never does not come nearer.
func (i Instant) Add(d time.Duration) Instant {
	if i == 0 {
		return 0
	}
	return i + Instant(d.Microseconds())
}

// Sub returns the time from o to i, negative where o is the later one. Neither
// may be zero, which is at no distance from anything.
func (i Instant) Sub(o Instant) time.Duration {
	return time.Duration(i-o) * time.Microsecond
}

// Source tells where a token was found.
type Source uint8

// The levels of the cache, and the provider behind them.
const (
	FromMemory Source = iota + 1
	FromRedis
	FromDatabase
	FromUpstream
)

// String is the word for it on the wire: memory, redis, database or upstream;
// nothing for the zero value.
func (s Source) String() string {
	return [...]string{"", "memory", "redis", "database", "upstream"}[s]
}
