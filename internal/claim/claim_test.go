package claim

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var (
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	print1 = realm.Fingerprint{1}
)

// middle draws the middle, so that waits are known.
func middle(n time.Duration) time.Duration { return n - 1 }

// digests are those of what is sent: the secret's version, and the recipe's.
type digests struct{ secret, recipe byte }

func (d digests) Digest(kind grant.RecipeKind) realm.Digest {
	return realm.Digest{d.secret, d.recipe, byte(kind) + 1}
}

func (d digests) RecipeDigest(kind grant.RecipeKind) realm.Digest {
	return realm.Digest{d.recipe, byte(kind) + 1}
}

// current are the digests of what is sent now.
var current = digests{1, 1}

// failureOf is a failure of what is sent now.
func failureOf(f tokenstore.Failure) tokenstore.Failure {
	f.Recipe, f.Digest = "fetch", current.Digest(grant.FetchRecipe)
	return f
}

// rejected is a refresh token that was refused with what is sent now.
func rejected(lineage int64) tokenstore.Rejected {
	return tokenstore.Rejected{Refresh: lineage, Digest: current.Digest(grant.RefreshRecipe)}
}

// request is one of a realm with the grant client_credentials.
func request(p Purpose) *Request {
	return &Request{
		Terms: Terms{CanFetch: true, Concurrency: 4, BackoffCap: time.Minute, Timeout: 10 * time.Second},
		ID:    tokenstore.NewCallID(), Node: "n", Key: "k", Purpose: p, Fingerprint: print1, Digests: current, Random: middle,
		IsReseeded: func(f realm.Fingerprint) bool { return f == realm.Fingerprint{9} },
		IsUsable:   func(t realm.Token) bool { return t.Fingerprint == print1 && t.ExpiresAt.After(noon) },
	}
}

// refreshRequest is one of a realm that can only refresh, strictly.
func refreshRequest(p Purpose) *Request {
	r := request(p)
	r.CanFetch, r.CanRefresh = false, true
	return r
}

// settle settles a call with an outcome that set completes.
func settle(s *tokenstore.State, r *Request, d Decision, set func(*Outcome)) {
	o := NewOutcome(r, d)
	set(o)
	o.Settle(s)
}

// tokenOf is a token with an hour of life, of which left remains.
func tokenOf(access, refresh string, lineage int64, left time.Duration) realm.Token {
	return realm.Token{
		Access: realm.Hidden(access), Refresh: realm.Hidden(refresh), Lineage: lineage, Fingerprint: print1,
		IssuedAt: noon.Add(left - time.Hour), ExpiresAt: noon.Add(left),
	}
}

func cause(class grant.Class) string {
	return encodeCause(&grant.Error{Class: class, Kind: grant.KindRefused})
}

func failure(class grant.Class, kind grant.Kind, notSent bool) *grant.Error {
	return &grant.Error{Class: class, Kind: kind, NotSent: notSent}
}
