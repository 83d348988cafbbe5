package tokenstore

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ErrSessionNotFound: there is no such session, or no such link. It is unknown,
// was ended or taken before, or its time is over.
var ErrSessionNotFound = errors.New("session not found")

// MaxSessionLife bounds how long a session is kept. One that ends in more than
// twice that time was written before a clock went back, and counts as ended.
const MaxSessionLife = 12 * time.Hour

// MaxSessions is how many sessions somebody has at a time. It is far more than the
// browsers of a team that shares a token, and bounds what a program leaves behind
// that signs in for each of its requests.
const MaxSessions = 100

// SessionOwner tells whose sessions are whose, and nothing else: a digest under a key
// that the database does not have.
type SessionOwner [sha256.Size]byte

// SessionHash names a session or a link: the SHA-256 of its id or its code, so
// that whoever reads a database learns neither.
type SessionHash [sha256.Size]byte

// HashSession is the name of the session with this id, or of the link with this
// code.
func HashSession(id realm.Hidden) SessionHash { return sha256.Sum256([]byte(id.Reveal())) }

// SessionStore keeps the sessions of the console, and the one-time links that
// make one. All nodes of a store see the same ones. Who a session or a link is
// for is sealed by whoever makes it; a store knows only that it exists, and which
// sessions have one owner.
type SessionStore interface {
	// BeginSession notes that somebody signed in. The session ends at the time
	// that is returned, by the store's clock: after life, which is cut to
	// MaxSessionLife. If the owner has MaxSessions already, those end that would
	// have ended first.
	BeginSession(ctx context.Context, id SessionHash, owner SessionOwner, life time.Duration) (time.Time, error)
	// FindSession is nil for a session that has not ended, else
	// ErrSessionNotFound.
	FindSession(ctx context.Context, id SessionHash) error
	// EndSession ends a session on all nodes. That there is none is no error.
	EndSession(ctx context.Context, id SessionHash) error
	// BeginLink keeps what is sealed of a link for so long.
	BeginLink(ctx context.Context, code SessionHash, sealed []byte, life time.Duration) error
	// TakeLink removes the link and returns what was kept: to one caller only, of
	// all nodes.
	TakeLink(ctx context.Context, code SessionHash) (sealed []byte, _ error)
}

// macInfo tells the keys that MAC derives from all else that is derived from an
// encryption key; the purpose stands behind it (RFC 5869 section 3.2).
const macInfo = "caddy-tokens mac v1 "

// MAC is the HMAC-SHA256 of a message, under a key that HKDF derives from an
// encryption key for one purpose: nodes with the same encryption keys agree on
// it, and no MAC of another purpose stands for it. ErrKey, as a *KeyError, where
// the ring does not have that encryption key, or no longer: one that was taken
// out of the key file signs for nobody.
func (k *Keyring) MAC(id KeyID, purpose string, message []byte) ([]byte, error) {
	keys, err := k.loaded()
	if err != nil {
		return nil, err
	}
	i := indexOf(keys, id)
	if i < 0 && k.reread() {
		if keys, err = k.loaded(); err != nil {
			return nil, err
		}
		i = indexOf(keys, id)
	}
	if i < 0 || keys[i].discarded {
		return nil, &KeyError{Missing: []KeyID{id}}
	}
	key, err := hkdf.Expand(sha256.New, keys[i].derived, macInfo+purpose, sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil), nil
}
