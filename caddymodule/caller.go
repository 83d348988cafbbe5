package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// caller is who was let in.
type caller struct {
	kind adminapi.CallerKind
	// client has the caller's rights; nil for one that has every right.
	client *access.Client
	// key is the credential that the client was known by; "" for none.
	key string
	// user is the name of a user that is no client.
	user string
	// session is the one that the caller is signed in by; nil for none. digest is
	// that of the credential behind it, or of the admin token.
	session *session.Session
	digest  []byte
}

// id is what the caller is called: a client, or a user; "" for others.
func (c caller) id() string {
	if c.client != nil {
		return c.client.ID()
	}
	return c.user
}

// admitKey returns the client whose key a caller sent. A key decides, whatever
// else would let the caller in: one of ours that is wrong is refused. Anything
// else in the headers (a user's password, an SDK's dummy) is no key, and the
// client is nil.
//
// Wrong keys are counted like wrong admin tokens. A right one is served also
// while its address has to wait: a key has 256 random bits, so that nobody finds
// one, and apps that share an address must not shut each other out.
func (a *admission) admitKey(r *http.Request, given credentials) (caller, *realm.Error) {
	for _, key := range given.keys() {
		if key == "" {
			continue
		}
		if access.IsKey(key) {
			_ = a.clients.Ready(r.Context()) // Identify knows what its failure means
		}
		client, err := a.clients.Identify(access.Caller{Key: key})
		if client != nil {
			return caller{kind: adminapi.KindClient, client: client, key: key}, nil
		}
		if err != nil {
			return caller{}, a.refuseKey(r, err)
		}
	}
	return caller{}, nil
}

// isKeyOfClient reports whether a credential is the key of a client.
func (a *admission) isKeyOfClient(credential string) bool {
	if a.clients == nil || credential == "" {
		return false
	}
	client, err := a.clients.Identify(access.Caller{Key: credential})
	return err == nil && client != nil
}

// refuseKey is the answer to a wrong key.
func (a *admission) refuseKey(r *http.Request, err error) *realm.Error {
	refused := refusalOf(err)
	if refused.Code != realm.CodeForbidden { // nobody knows whether it is wrong
		return refused
	}
	from := addressOf(r)
	wait := a.failures.wait(from)
	if wait == 0 {
		wait = a.failures.record(from, false)
	}
	if wait > 0 {
		return errTooManyFailures(wait)
	}
	return refused
}

// refusalOf is an error of the clients as a refusal.
func refusalOf(err error) *realm.Error {
	var refused *realm.Error
	if errors.As(err, &refused) {
		return refused
	}
	return &realm.Error{Code: realm.CodeInternal, Status: http.StatusInternalServerError, Detail: "the caller could not be identified", Err: err}
}

// admitKeyless lets in callers that sent no key.
//
// Before clients are required, these are users, and who is on this machine. From
// then on they have to be clients by another identity, except where the block
// itself is open to them.
func (a *admission) admitKeyless(r *http.Request, repl *caddy.Replacer) (caller, *realm.Error) {
	user := a.user(repl)
	isLocal := a.local && local(r) && localHost(r.Host)
	isOpen := a.none && a.mayHaveHost(r) || isLocal && !a.isProxy
	if isOpen && user == "" {
		return caller{kind: adminapi.KindLocal}, nil
	}
	if !a.requiresClients(r) {
		switch {
		case user != "":
			return caller{kind: adminapi.KindUser, user: user}, nil
		case isLocal:
			return caller{kind: adminapi.KindLocal}, nil
		case a.none:
			return caller{}, errForeignHost
		}
		return caller{}, errLocalOnly
	}
	if isOpen {
		return caller{kind: adminapi.KindLocal}, nil
	}
	return a.admitClient(r, user)
}

// requiresClients reports whether callers have to be clients.
func (a *admission) requiresClients(r *http.Request) bool {
	if a.clients == nil {
		return false
	}
	_ = a.clients.Ready(r.Context()) // Required is true as long as it fails
	return a.clients.Required()
}

// admitClient lets in who is a client without a key: by its certificate, by the
// user, or by its address. The last is no credential, so that the Host is
// checked.
func (a *admission) admitClient(r *http.Request, user string) (caller, *realm.Error) {
	client, err := a.clients.Identify(access.Caller{Subject: subjectOf(r), User: user})
	if err != nil {
		return caller{}, refusalOf(err)
	}
	if client == nil {
		if client, err = a.clients.Identify(access.Caller{Source: addressOf(r)}); err != nil {
			return caller{}, refusalOf(err)
		}
		if client != nil && !a.mayHaveHost(r) {
			return caller{}, errForeignHost
		}
	}
	if client != nil {
		return caller{kind: adminapi.KindClient, client: client}, nil
	}
	if away := a.clients.Unavailable(); away != nil {
		return caller{}, away
	}
	if a.none {
		return caller{}, errForeignHost
	}
	return caller{}, errClientsOnly
}

// subjectOf is the subject of the caller's certificate, if Caddy verified it
// (client_auth) to a root of the operator's; "" for none. Others are what the
// caller says of itself.
func subjectOf(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return r.TLS.PeerCertificates[0].Subject.String()
}

// errClientsOnly tells a caller that is no client what clients are.
var errClientsOnly = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden,
	Detail: "only clients are served: send an API key in Authorization as Bearer, as token or as the password of Basic, or be a client by a certificate, " +
		"a user or an address; or 'auth none' is written",
}
