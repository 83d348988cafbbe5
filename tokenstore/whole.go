package tokenstore

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// wholeToken is a token with everything that belongs to it, in the form that
// is sealed. Times are microseconds since 1970, 0 for none.
type wholeToken struct {
	Access         string `json:"access,omitempty"`
	Refresh        string `json:"refresh,omitempty"`
	Fingerprint    []byte `json:"fingerprint"` // as bytes: a realm.Fingerprint writes a mask
	Lineage        int64  `json:"lineage,omitempty"`
	Issued         int64  `json:"issued,omitempty"`
	Expires        int64  `json:"expires,omitempty"`
	RefreshExpires int64  `json:"refresh_expires,omitempty"`
	// Kept is missing in what older versions wrote.
	Kept map[string]string `json:"kept,omitempty"`
}

// PlainToken writes a whole token in clear, to be sealed: JSON of a
// realm.Token itself shows masks. Times are kept to the microsecond.
func PlainToken(t realm.Token) ([]byte, error) {
	return json.Marshal(wholeToken{
		Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), Fingerprint: t.Fingerprint[:], Lineage: t.Lineage,
		Issued: unixMicro(t.IssuedAt), Expires: unixMicro(t.ExpiresAt), RefreshExpires: unixMicro(t.RefreshExpiresAt),
		Kept: t.Kept.Reveal(),
	})
}

// ParsePlainToken reads what PlainToken wrote. ErrDamaged when it is something
// else; the error does not quote it.
func ParsePlainToken(plain []byte) (realm.Token, error) {
	var w wholeToken
	if json.Unmarshal(plain, &w) != nil || len(w.Fingerprint) != len(realm.Fingerprint{}) {
		return realm.Token{}, fmt.Errorf("token: %w", ErrDamaged)
	}
	return realm.Token{
		Access: realm.Hidden(w.Access), Refresh: realm.Hidden(w.Refresh), Fingerprint: realm.Fingerprint(w.Fingerprint),
		Lineage: w.Lineage, IssuedAt: fromMicro(w.Issued), ExpiresAt: fromMicro(w.Expires), RefreshExpiresAt: fromMicro(w.RefreshExpires),
		Kept: realm.KeptOf(w.Kept),
	}, nil
}

func unixMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
