// Package account is the account service: the secrets of a realm under the
// names that its earlier clients know, a company's taxpayer id or nothing.
// It finds the secret, asks the broker for its token, and reports failures in
// the texts that those clients compare; it renews the accounts of a realm all
// at once; and it keeps the companies.
package account

import (
	"context"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Broker is what the service needs of a broker.View; its methods are
// documented there.
type Broker interface {
	Read(ctx context.Context, ref realm.Ref) (*realm.Lease, error)
	ReadBy(ctx context.Context, ref realm.Ref, obtain func(context.Context, realm.Ref) (*realm.Lease, error)) (*realm.Lease, error)
	Flush(ctx context.Context, ref realm.Ref) (*realm.Lease, error)
	Authorize(ctx context.Context, ref realm.Ref) (*realm.Lease, error)
	Authorizable(ctx context.Context, realmID string) error
	Callback(ctx context.Context, realmID string, cb grant.Callback) (realm.Ref, error)

	Ensure(ctx context.Context, ref realm.Ref) (*realm.Lease, error)
	RenewNow(ctx context.Context, ref realm.Ref) (lease *realm.Lease, fresh bool, err error)
	IsDue(ctx context.Context, ref realm.Ref) (due, found bool, err error)

	Concurrency(ctx context.Context, realmID string) (int, error)
}

// Catalog is what the service needs of a catalog.Catalog; its methods are
// documented there.
type Catalog interface {
	Keys(ctx context.Context, realmID string) ([]string, error)
	RealmsWithTokens(ctx context.Context) ([]string, error)
	DefaultKey(ctx context.Context, realmID string) (string, error)

	Company(ctx context.Context, taxpayerID string) (tokenstore.Company, error)
	Companies(ctx context.Context, page tokenstore.Page, keyword string) ([]tokenstore.Company, int, error)
	SaveCompany(ctx context.Context, taxpayerID string, change func(c tokenstore.Company, found bool) (tokenstore.Company, error)) (tokenstore.Company, error)
	DeleteCompany(ctx context.Context, taxpayerID string) error
}

// Service is the account service. It has no state of its own: whatever waits
// for something waits in the broker, which any node may wake.
type Service struct {
	broker  Broker
	catalog Catalog
	log     *zap.Logger
	// may is what the caller may do, see For; nil for everything.
	may func(realm.Ref) error
}

// For is the service as one caller may use it. may returns nil for a secret that
// the caller may do something with, for a realm (without a key) with whose
// secrets he may all do it, and for the zero reference if he may do it
// everywhere; else the refusal. A caller who is refused learns nothing about
// what there is.
func (s *Service) For(may func(realm.Ref) error) *Service {
	own := *s
	own.may = may
	return &own
}

// allow is nil if the caller may.
func (s *Service) allow(ref realm.Ref) error {
	if s.may == nil {
		return nil
	}
	return s.may(ref)
}

// reason is an error about a realm, for a caller who may hear of all that is in
// it, and the refusal for others.
func (s *Service) reason(realmID string, err error) error {
	if refused := s.allow(realm.Ref{Realm: realmID}); refused != nil {
		return refused
	}
	return err
}

// New makes the service. The log gets internal errors of accounts, and nothing
// confidential; nil for none.
func New(b Broker, c Catalog, log *zap.Logger) *Service {
	if log == nil {
		log = zap.NewNop()
	}
	return &Service{broker: b, catalog: c, log: log}
}
