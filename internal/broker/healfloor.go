package broker

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// firstFloor is how long no token is fetched for another refusal after one
	// that did not help. It doubles up to longestFloor.
	firstFloor   = time.Second
	longestFloor = time.Minute
	// maxExceptions is how many heals in a row may go below the floor. With two
	// of them, at most four tokens are fetched within 10 s, whatever is refused:
	// at 0, twice at once, and after 4 s.
	maxExceptions = 2
)

// healFloor bounds how often a token of a (realm, key) is fetched because the
// API refused the one before. Many APIs refuse a request that lacks a right as
// they refuse a dead token; fetching a token for each of those would spend the
// provider's quota, or a rotating refresh token, for nothing.
//
// A heal that helps shows that the token was really dead, and lifts the floor:
// real deaths in quick succession are always healed. The zero value has no
// floor. It has neither clock nor lock.
type healFloor struct {
	// bought is the token that the last heal fetched, of which nobody knows yet
	// that it helped.
	bought realm.Hidden
	// at is when that heal was, until the end of the floor, floor its length.
	at, until realm.Instant
	floor     time.Duration
	// exceptions counts the heals below the floor.
	exceptions uint8
}

// waitFor returns how long no token is to be fetched for a refusal; 0 if one may
// be fetched now. A request that the API accepted before may go below the floor,
// since its token has probably died. A floor of the future does not count: the
// clock went back.
func (f *healFloor) waitFor(now realm.Instant, blame realm.Blame) time.Duration {
	if now < f.at || now >= f.until {
		return 0
	}
	if blame == realm.BlameToken && f.exceptions < maxExceptions {
		return 0
	}
	return f.until.Sub(now)
}

// record notes that a heal fetched a token. After a quiet while the floor
// begins anew: nobody reports every heal that helped.
func (f *healFloor) record(now realm.Instant, token realm.Hidden) {
	if now < f.at || now >= f.until.Add(longestFloor) {
		*f = healFloor{}
	}
	if now < f.until {
		f.exceptions++
	}
	f.floor = min(max(2*f.floor, firstFloor), longestFloor)
	f.bought, f.at, f.until = token, now, now.Add(f.floor)
}

// lift lifts the floor if the token is the last one that was bought, and
// reports whether it is.
func (f *healFloor) lift(token realm.Hidden) bool {
	if f.bought == "" || f.bought != token {
		return false
	}
	*f = healFloor{}
	return true
}
