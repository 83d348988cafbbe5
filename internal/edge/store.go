package edge

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// ErrReadOnly refuses what an edge cannot do: it has nothing that could be changed.
var ErrReadOnly = &realm.Error{
	Code: realm.CodeReadOnly, Status: http.StatusConflict,
	Detail: "this instance is an edge, without a database: it takes its tokens from another instance, and that is where this is done",
}

// Secret implements tokenstore.SecretStore. Whether there is such a secret is known
// with its token.
func (*Store) Secret(_ context.Context, ref realm.Ref) (realm.Secret, error) {
	return realm.Secret{Ref: ref}, nil
}

// Token implements tokenstore.TokenStore: nothing is stored.
func (*Store) Token(context.Context, realm.Ref) (realm.Token, realm.Source, error) {
	return realm.Token{}, 0, tokenstore.ErrTokenNotFound
}

// Pushed implements tokenstore.PushedStore: nothing is pushed to an edge.
func (*Store) Pushed(context.Context, realm.Ref) (tokenstore.Pushed, error) {
	return tokenstore.Pushed{}, nil
}

// Peek implements tokenstore.Coordinator: an edge makes no calls to providers.
func (*Store) Peek(context.Context, realm.Ref) (tokenstore.State, error) {
	return tokenstore.State{}, ErrReadOnly
}

// Coordinate implements tokenstore.Coordinator.
func (*Store) Coordinate(context.Context, realm.Ref, func(*tokenstore.State) error) (tokenstore.State, error) {
	return tokenstore.State{}, ErrReadOnly
}

// Once implements tokenstore.Coordinator.
func (*Store) Once(context.Context, string, time.Time) (bool, error) { return false, ErrReadOnly }

// Realms implements tokenstore.RealmStore: only the other instance has lists.
func (*Store) Realms(context.Context, tokenstore.Page, tokenstore.RealmFilter) ([]realm.Realm, int, error) {
	return nil, 0, nil
}

// UpdateRealm implements tokenstore.RealmStore.
func (*Store) UpdateRealm(context.Context, string, func(realm.Realm, bool) (realm.Realm, error)) (realm.Realm, error) {
	return realm.Realm{}, ErrReadOnly
}

// DeleteRealm implements tokenstore.RealmStore.
func (*Store) DeleteRealm(context.Context, string, bool) error { return ErrReadOnly }

// Secrets implements tokenstore.SecretStore.
func (*Store) Secrets(context.Context, tokenstore.Page, tokenstore.SecretFilter) ([]realm.Secret, int, error) {
	return nil, 0, nil
}

// CountSecrets implements tokenstore.SecretStore.
func (*Store) CountSecrets(context.Context, []string, func(realm.Ref) bool) (map[string]int, error) {
	return map[string]int{}, nil
}

// UpdateSecret implements tokenstore.SecretStore.
func (*Store) UpdateSecret(
	context.Context, realm.Ref, func(realm.Secret, bool) (realm.Secret, tokenstore.TokenChange, error),
) (realm.Secret, error) {
	return realm.Secret{}, ErrReadOnly
}

// DeleteSecret implements tokenstore.SecretStore.
func (*Store) DeleteSecret(context.Context, realm.Ref) error { return ErrReadOnly }

// Push implements tokenstore.PushedStore.
func (*Store) Push(context.Context, realm.Ref, string, realm.Hidden, time.Duration) (tokenstore.PushedValue, error) {
	return tokenstore.PushedValue{}, ErrReadOnly
}

// BeginAuthorization implements tokenstore.AuthorizationStore.
func (*Store) BeginAuthorization(context.Context, tokenstore.Authorization, time.Duration) error {
	return ErrReadOnly
}

// TakeAuthorization implements tokenstore.AuthorizationStore.
func (*Store) TakeAuthorization(context.Context, tokenstore.StateHash) (tokenstore.Authorization, error) {
	return tokenstore.Authorization{}, ErrReadOnly
}

// Company implements tokenstore.CompanyStore.
func (*Store) Company(context.Context, string) (tokenstore.Company, error) {
	return tokenstore.Company{}, tokenstore.ErrCompanyNotFound
}

// Companies implements tokenstore.CompanyStore.
func (*Store) Companies(context.Context, tokenstore.Page, string) ([]tokenstore.Company, int, error) {
	return nil, 0, nil
}

// UpdateCompany implements tokenstore.CompanyStore.
func (*Store) UpdateCompany(context.Context, string, func(tokenstore.Company, bool) (tokenstore.Company, error)) (tokenstore.Company, error) {
	return tokenstore.Company{}, ErrReadOnly
}

// DeleteCompany implements tokenstore.CompanyStore.
func (*Store) DeleteCompany(context.Context, string) error { return ErrReadOnly }

// Client implements tokenstore.ClientStore: an edge has the clients of its
// configuration.
func (*Store) Client(context.Context, string) (tokenstore.Client, error) {
	return tokenstore.Client{}, tokenstore.ErrClientNotFound
}

// Clients implements tokenstore.ClientStore.
func (*Store) Clients(context.Context) ([]tokenstore.Client, bool, error) { return nil, false, nil }

// UpdateClient implements tokenstore.ClientStore.
func (*Store) UpdateClient(context.Context, string, func(tokenstore.Client, bool) (tokenstore.Client, error)) (tokenstore.Client, error) {
	return tokenstore.Client{}, ErrReadOnly
}

// DeleteClient implements tokenstore.ClientStore.
func (*Store) DeleteClient(context.Context, string) error { return ErrReadOnly }

// RequireClients implements tokenstore.ClientStore.
func (*Store) RequireClients(context.Context) error { return ErrReadOnly }

// ClientsUsed implements tokenstore.ClientStore.
func (*Store) ClientsUsed(context.Context, map[string]time.Time) error { return ErrReadOnly }

// AppendAudit implements tokenstore.AuditStore: the audit is that of the other
// instance.
func (*Store) AppendAudit(context.Context, ...*tokenstore.AuditEntry) error { return ErrReadOnly }

// Audit implements tokenstore.AuditStore.
func (*Store) Audit(context.Context, tokenstore.AuditFilter, tokenstore.Page) ([]tokenstore.AuditEntry, int, error) {
	return nil, 0, nil
}

// WalkAudit implements tokenstore.AuditStore.
func (*Store) WalkAudit(context.Context, tokenstore.AuditFilter, func(tokenstore.AuditEntry) error) error {
	return ErrReadOnly
}

// VerifyAudit implements tokenstore.AuditStore.
func (*Store) VerifyAudit(context.Context, func(tokenstore.AuditChain)) error { return ErrReadOnly }

// PruneAudit implements tokenstore.AuditStore.
func (*Store) PruneAudit(context.Context, time.Time) (int, error) { return 0, ErrReadOnly }
