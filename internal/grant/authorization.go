package grant

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Authorization is what one request for an authorization is tied to its
// callback with. It is for one attempt and never used again.
type Authorization struct {
	// State comes back with the code (RFC 6749 section 10.12).
	State realm.Hidden
	// Verifier proves at the exchange that the code was asked for here (RFC
	// 7636 section 4.1). It is made whether or not the realm uses it.
	Verifier realm.Hidden
}

// NewAuthorization makes an authorization of 256 random bits each, in 43
// characters.
func NewAuthorization() Authorization {
	return Authorization{State: randomText(), Verifier: randomText()}
}

func randomText() realm.Hidden {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return realm.Hidden(base64.RawURLEncoding.EncodeToString(b[:]))
}

// challenge is S256 of the verifier (RFC 7636 section 4.2).
func (a Authorization) challenge() string {
	sum := sha256.Sum256([]byte(a.Verifier.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// isAnsweredBy reports whether a callback answers this authorization. The
// comparison takes the same time for every state, so that none can be guessed
// byte by byte.
func (a Authorization) isAnsweredBy(cb *Callback) bool {
	return a.State != "" && subtle.ConstantTimeCompare([]byte(a.State.Reveal()), []byte(cb.State.Reveal())) == 1
}
