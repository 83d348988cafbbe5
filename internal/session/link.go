package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// LinkLife is how long a link can be redeemed.
const LinkLife = time.Minute

// linkLabel is what links are sealed to.
const linkLabel = "tokens_sessions.sealed"

// codePurpose tells the MAC of codes from others. codeRandom and codeMark are the
// lengths of the two parts of a code.
const (
	codePurpose = "session link"
	codeRandom  = 24
	codeMark    = 8
)

// Link is what a link is good for: a session of somebody, whichever user an
// authentication directive names then, until an end; zero for none of its own. A link that was made in a session ends with that one, or a
// session could prolong itself for ever.
type Link struct {
	Who   Identity
	Until time.Time
}

// sealedLink is a Link as it is sealed. Expires stands in it, too, so that nobody
// who can write the database gives a link a longer life.
type sealedLink struct {
	Kind       string `json:"kind"`
	ID         string `json:"id,omitempty"`
	Credential []byte `json:"credential,omitempty"`
	Until      int64  `json:"until,omitempty"` // in Unix seconds, as the next one
	Expires    int64  `json:"expires"`
}

// MakeLink makes a link, and returns its code.
func (s *Sessions) MakeLink(ctx context.Context, l Link) (code realm.Hidden, err error) {
	if err := s.open(ctx); err != nil {
		return "", err
	}
	if code, err = s.newCode(); err != nil {
		return "", err
	}
	open := sealedLink{
		Kind: l.Who.Kind, ID: l.Who.ID, Credential: l.Who.Credential, Expires: s.now().Add(LinkLife).Unix(),
	}
	if !l.Until.IsZero() {
		open.Until = l.Until.Unix()
	}
	text, err := json.Marshal(open)
	if err != nil {
		return "", err
	}
	hash := tokenstore.HashSession(code)
	sealed, err := s.keys.Seal(linkAD(hash), text)
	if err != nil {
		return "", err
	}
	return code, s.store.BeginLink(ctx, hash, sealed, LinkLife)
}

// newCode makes the code of a link: 24 random bytes, and a mark of 8 by which a code
// that was good once is told from a guess. It is the store that decides about one.
func (s *Sessions) newCode() (realm.Hidden, error) {
	var raw [codeRandom]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("session: %w", err)
	}
	mac, err := s.keys.MAC(s.keys.IDs()[0], codePurpose, raw[:])
	if err != nil {
		return "", err
	}
	return realm.Hidden(hex.EncodeToString(append(raw[:], mac[:codeMark]...))), nil
}

// wasCode reports whether a code is one that this store's nodes made at some time.
func (s *Sessions) wasCode(code realm.Hidden) bool {
	raw, err := hex.DecodeString(code.Reveal())
	if err != nil || len(raw) != codeRandom+codeMark {
		return false
	}
	for _, id := range s.keys.IDs() {
		mac, err := s.keys.MAC(id, codePurpose, raw[:codeRandom])
		if err == nil && hmac.Equal(mac[:codeMark], raw[codeRandom:]) {
			return true
		}
	}
	return false
}

// Redeem returns what a link is good for, once. ErrEnded for one that was redeemed
// before, or has ended; ErrForged for one that never was.
func (s *Sessions) Redeem(ctx context.Context, code realm.Hidden) (Link, error) {
	if err := s.open(ctx); err != nil {
		return Link{}, err
	}
	hash := tokenstore.HashSession(code)
	sealed, err := s.store.TakeLink(ctx, hash)
	if errors.Is(err, tokenstore.ErrSessionNotFound) {
		if s.wasCode(code) {
			return Link{}, ErrEnded
		}
		return Link{}, ErrForged
	}
	if err != nil {
		return Link{}, err
	}
	var open sealedLink
	text, err := s.keys.Open(linkAD(hash), sealed)
	if err == nil {
		err = json.Unmarshal(text, &open)
	}
	// One that does not open is good for nothing, and is gone by now. The clocks of
	// nodes may differ: twice the time is what this one takes for the end.
	if err != nil || s.now().Unix() > open.Expires+int64(LinkLife.Seconds()) {
		return Link{}, ErrEnded
	}
	l := Link{Who: Identity{Kind: open.Kind, ID: open.ID, Credential: open.Credential}}
	if open.Until != 0 {
		l.Until = time.Unix(open.Until, 0).UTC()
	}
	return l, nil
}

// linkAD binds what is sealed to the code: nobody who can write the database gives
// one person's link to another.
func linkAD(hash tokenstore.SessionHash) tokenstore.AD {
	return tokenstore.AD{Column: linkLabel + " of link " + hex.EncodeToString(hash[:])}
}
