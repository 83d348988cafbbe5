// Package session has the sign-ins of the console: cookies, which this program
// signs, and one-time links, which make one.
//
// A cookie says who signed in and by which credential, and no more: what he may do
// is looked up for each request. It is good as long as its credential is, as long
// as the store has its session, and for 12 hours at most. The package knows
// neither HTTP nor Caddy, and decides about nobody's rights.
package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Errors of this package; failures of the store are tokenstore.ErrUnavailable.
var (
	// ErrForged: the text is no cookie of ours, or somebody altered it.
	ErrForged = errors.New("the cookie of the session is not one of ours")
	// ErrEnded: the session or the link has ended, or was never there.
	ErrEnded = errors.New("the session or the link has ended")
)

const (
	// cookiePurpose, proofPurpose and ownerPurpose tell the keys of the MACs apart.
	cookiePurpose = "session cookie"
	proofPurpose  = "session credential"
	ownerPurpose  = "session owner"
	// tokenPurpose tells the digest of Token from the name of a row in the store.
	tokenPurpose = "session token"
	tokenLength  = 16
	// maxCookie bounds what is decoded: ids and names have 255 bytes at most.
	maxCookie = 2048
)

// encoding is that of both parts of a cookie. It has no "_", so that no cookie
// ever looks like an API key.
var encoding = base64.RawStdEncoding.Strict()

// Identity is who signed in.
type Identity struct {
	// Kind and ID are those of the actor in the audit.
	Kind, ID string
	// Credential is the digest of the key or the admin token that he signed in
	// with; nil for who needs none: he has to be let in anew with each request.
	Credential []byte
	// User is whom an authentication directive named when he signed in; "" for
	// nobody. No other user gets into the session.
	User string
}

// Session is what a cookie says.
type Session struct {
	Kind, ID, User string
	// Ends is when the session ends at the latest.
	Ends time.Time

	hash  tokenstore.SessionHash
	keyID tokenstore.KeyID
	proof []byte
	keys  *tokenstore.Keyring
}

// content is the first part of a cookie, which the second part signs.
type content struct {
	Session string `json:"session"`
	Kind    string `json:"kind"`
	ID      string `json:"id,omitempty"`
	User    string `json:"user,omitempty"`
	Proof   []byte `json:"proof,omitempty"`
	Ends    int64  `json:"ends"` // in Unix seconds
}

// Config is what Sessions are made of.
type Config struct {
	Store tokenstore.SessionStore
	Keys  *tokenstore.Keyring
	// Open opens the store, if that was not done yet; nil for one that is open.
	Open func(ctx context.Context) error
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Sessions makes sessions and links, and knows them again. All configurations with
// the same store share one.
type Sessions struct {
	store tokenstore.SessionStore
	keys  *tokenstore.Keyring
	open  func(ctx context.Context) error
	now   func() time.Time

	mu    sync.Mutex
	found map[tokenstore.SessionHash]finding
}

// New makes Sessions.
func New(c Config) *Sessions {
	s := &Sessions{store: c.Store, keys: c.Keys, open: c.Open, now: c.Now, found: make(map[tokenstore.SessionHash]finding)}
	if s.open == nil {
		s.open = func(context.Context) error { return nil }
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Begin begins a session, and returns its cookie. It ends after 12 hours, or at
// until, if that is earlier and not zero. Somebody has tokenstore.MaxSessions by one
// credential at a time: those end that would have ended first.
func (s *Sessions) Begin(ctx context.Context, who Identity, until time.Time) (cookie realm.Hidden, ends time.Time, err error) {
	life := tokenstore.MaxSessionLife
	if !until.IsZero() {
		life = min(life, until.Sub(s.now()))
	}
	if err := s.open(ctx); err != nil {
		return "", time.Time{}, err
	}
	id, err := newSecret()
	if err != nil {
		return "", time.Time{}, err
	}
	keyID := s.keys.IDs()[0] // a store that is open has loaded them
	owner, err := ownerOf(s.keys, keyID, who)
	if err != nil {
		return "", time.Time{}, err
	}
	if ends, err = s.store.BeginSession(ctx, tokenstore.HashSession(id), owner, life); err != nil {
		return "", time.Time{}, err
	}
	c := content{Session: id.Reveal(), Kind: who.Kind, ID: who.ID, User: who.User, Ends: ends.Unix()}
	if c.Proof, err = proofOf(s.keys, keyID, who.Kind, who.Credential); err != nil {
		return "", time.Time{}, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "", time.Time{}, err
	}
	mac, err := s.keys.MAC(keyID, cookiePurpose, text)
	if err != nil {
		return "", time.Time{}, err
	}
	signature := append(keyID[:], mac...)
	return realm.Hidden(encoding.EncodeToString(text) + "." + encoding.EncodeToString(signature)), time.Unix(c.Ends, 0).UTC(), nil
}

// Read reads a cookie, and verifies its signature. It does not ask the store, see
// Check. The error is ErrForged, or ErrEnded for a session whose time is over.
func (s *Sessions) Read(cookie realm.Hidden) (*Session, error) {
	if len(cookie) > maxCookie {
		return nil, ErrForged
	}
	body, tail, _ := strings.Cut(cookie.Reveal(), ".")
	text, err := encoding.DecodeString(body)
	signature, wrong := encoding.DecodeString(tail)
	var keyID tokenstore.KeyID
	if err != nil || wrong != nil || len(signature) < len(keyID) {
		return nil, ErrForged
	}
	copy(keyID[:], signature)
	mac, err := s.keys.MAC(keyID, cookiePurpose, text)
	if err != nil && !errors.Is(err, tokenstore.ErrKey) { // the keys are not loaded yet
		return nil, fmt.Errorf("%w: %w", tokenstore.ErrUnavailable, err)
	}
	if err != nil || !hmac.Equal(mac, signature[len(keyID):]) {
		return nil, ErrForged
	}
	var c content
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, ErrForged // nobody but us signs
	}
	ends := time.Unix(c.Ends, 0).UTC()
	if !s.now().Before(ends) {
		return nil, ErrEnded
	}
	return &Session{
		Kind: c.Kind, ID: c.ID, User: c.User, Ends: ends,
		hash: tokenstore.HashSession(realm.Hidden(c.Session)), keyID: keyID, proof: c.Proof, keys: s.keys,
	}, nil
}

// HasCredential reports whether the session is bound to a credential. One that is
// not is only for who is let in without.
func (x *Session) HasCredential() bool { return len(x.proof) > 0 }

// IsOf reports whether the session was begun with a credential, by its digest.
func (x *Session) IsOf(credential []byte) bool {
	proof, err := proofOf(x.keys, x.keyID, x.Kind, credential)
	return err == nil && len(proof) > 0 && hmac.Equal(proof, x.proof)
}

// proofOf is what a cookie says of a credential. The digest itself stays here: an
// operator may have chosen an admin token that can be guessed from it.
func proofOf(keys *tokenstore.Keyring, id tokenstore.KeyID, kind string, credential []byte) ([]byte, error) {
	if credential == nil {
		return nil, nil
	}
	return keys.MAC(id, proofPurpose, append([]byte(kind+"\x00"), credential...))
}

// Token names the session to the page that shows it, which sends it back, so that
// no other session of the browser stands for it. It is not confidential: nobody gets
// in by it.
func (x *Session) Token() string {
	digest := sha256.Sum256(append([]byte(tokenPurpose), x.hash[:]...))
	return hex.EncodeToString(digest[:tokenLength])
}

// IsToken reports whether a text has the form of what Token returns.
func IsToken(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == tokenLength
}

// ownerOf is by which the store tells the sessions of somebody with one credential
// from those of others.
func ownerOf(keys *tokenstore.Keyring, id tokenstore.KeyID, who Identity) (owner tokenstore.SessionOwner, err error) {
	mac, err := keys.MAC(id, ownerPurpose, append([]byte(who.Kind+"\x00"+who.ID+"\x00"), who.Credential...))
	copy(owner[:], mac)
	return owner, err
}

// newSecret is an id or a code of 256 random bits, in hex: it has no character
// that means something in a URL.
func newSecret() (realm.Hidden, error) {
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("session: %w", err)
	}
	return realm.Hidden(hex.EncodeToString(raw[:])), nil
}
