// Package sources knows where the values of fields come from that do not stand in
// the configuration: files, variables of the environment, commands, and what other
// modules of Caddy's namespace tokens.sources ask. A value is asked for when a token
// is fetched, and is kept in memory alone.
package sources

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Source is where the value of one field comes from. Modules of Caddy in the
// namespace tokens.sources implement it.
type Source interface {
	// Read asks for the value. Its errors name what is wrong, and never a value.
	Read(ctx context.Context) (Value, error)
	// String names the source for people, as the configuration has it: "file
	// /run/secrets/appsecret". Nothing confidential is in it.
	String() string
}

// Value is what a source gave.
type Value struct {
	Text realm.Hidden
	// Fresh is how long it is used without asking again; 0: until a Local source
	// says that it has changed.
	Fresh time.Duration
	// Lease is how long it is used while the source cannot be asked, at least
	// Fresh; 0: without an end.
	Lease time.Duration
}

// check refuses what no field may have.
func (v Value) check() error {
	return realm.ValidateFields("", map[string]realm.Hidden{"value": v.Text})
}

// ErrRefused is in the errors of sources that answered, and gave no value: there
// is none, or it may not be read. The value before it is not used any more. After
// all other errors it is, to the end of its lease.
var ErrRefused = errors.New("no value")

// Local is a source on this machine. It is read when the configuration is loaded,
// which fails without a value, and it tells without reading whether it has changed.
type Local interface {
	Source
	IsChanged() bool
	// Files are the files that it reads.
	Files() []string
}

// Patient is a source that says how long its Read may take; see DefaultTimeout.
type Patient interface{ Timeout() time.Duration }

// Heir is a source that can have settings from the tokens block, which are a module
// of the same name: the connection of all fields, and who is signed in.
type Heir interface {
	// Inherit takes over what the field itself does not say.
	Inherit(from any) error
}

// Starter is a source, or what the tokens block says of it, that does something by itself
// while the configuration is in force. A configuration that is only checked is not
// started. Its Cleanup ends what Start began.
type Starter interface{ Start() }

// Guarded is a source, or what the tokens block says of it, with settings that are
// confidential. Whoever writes one out in the Caddyfile is warned.
type Guarded interface {
	// Confidential are those settings, by name; "" for one that is not given.
	Confidential() map[string]string
}

// Status is the state of a field.
type Status struct {
	// Source names it.
	Source string
	// Err is why it could not be asked the last time; nil if it gave a value, or was
	// not asked yet.
	Err error
	// Until is how long the last value is used although it cannot be asked; zero
	// for no end, and for no value.
	Until time.Time
	// IsKnown: there is a value.
	IsKnown bool
}
