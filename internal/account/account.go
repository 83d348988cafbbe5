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

	Concurrency(ctx context.Context, realmID string) (int, error)
}

// Catalog is what the service needs of a catalog.Catalog; its methods are
// documented there.
type Catalog interface {
	Keys(ctx context.Context, realmID string) ([]string, error)
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
}

// New makes the service. The log gets internal errors of accounts, and nothing
// confidential; nil for none.
func New(b Broker, c Catalog, log *zap.Logger) *Service {
	if log == nil {
		log = zap.NewNop()
	}
	return &Service{broker: b, catalog: c, log: log}
}
