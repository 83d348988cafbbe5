// Package audit writes down who did what to what, when, from where and with
// what result. A change of the store and its entry are one transaction, so that
// the store writes those entries; the Recorder writes all others: read-outs,
// flushes, authorizations, logins, refusals and proxied requests. How entries
// are chained and verified is the store's business.
//
// The package knows neither HTTP nor Caddy. Nothing confidential is handed to
// it.
package audit

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// The kinds of actors.
const (
	KindClient = "client" // known by a key, a subject or a source; the id is the client's
	KindUser   = "user"   // an authentication directive named him
	KindAdmin  = "admin"  // had the admin token
	KindLocal  = "local"  // had no key and needed none
	KindSystem = "system" // this program
)

// The acts of which the Recorder writes entries, and ActPush, of which the store
// writes them. Those of other changes are "realm.update", "realm.delete" and so
// on; the store turns an update into a creation.
const (
	ActPush      = "secret.push"
	ActRead      = "token.read"
	ActFlush     = "token.flush"
	ActAuthorize = "account.authorize"
	ActCallback  = "account.callback"
	ActLogin     = "login"
	ActAccess    = "access" // a proxied request
)

// Actor is who did it.
type Actor struct{ Kind, ID string }

// Event is what happens.
type Event struct {
	Actor Actor
	// Address is the IP address that the request comes from, in its one form.
	Address string
	Act     string
	Ref     realm.Ref
	// Target is the id of a client or a company.
	Target string
	// Code is that of an error; Detail says more, in our words.
	Code, Detail string
}

// entry is the event with a result.
func (e Event) entry(result string, at time.Time) *tokenstore.AuditEntry {
	return &tokenstore.AuditEntry{
		Time: at, ActorKind: e.Actor.Kind, ActorID: e.Actor.ID, Address: e.Address, Act: e.Act,
		Realm: e.Ref.Realm, Key: e.Ref.Key, Target: e.Target, Result: result, Code: e.Code, Detail: e.Detail,
	}
}

// Unavailable is the error of what is not done because it could not be written
// down.
func Unavailable(err error) error {
	return &realm.Error{
		Code: realm.CodeAuditUnavailable, Status: http.StatusServiceUnavailable,
		Detail: "the audit cannot be written now, and nothing is done without it", RetryAfter: time.Second, Err: err,
	}
}

// Store is what a Recorder needs of a tokenstore.Store.
type Store interface {
	tokenstore.AuditStore
}

// Change returns a context whose changes of the store write the event in their
// own transactions.
func (r *Recorder) Change(ctx context.Context, e Event) context.Context {
	if r == nil {
		return ctx
	}
	return tokenstore.WithAudit(ctx, *e.entry(tokenstore.AuditOK, r.now()))
}
