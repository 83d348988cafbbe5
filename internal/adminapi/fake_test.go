package adminapi

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// puppet is a broker that does what a test says: it fails with err, or
// panics, or gives the lease; and it remembers what it was asked. It is for
// what a real broker does only when something breaks; all else is tested with
// a real one.
type puppet struct {
	Broker // what is not here panics
	Catalog
	err    error
	panics any
	lease  realm.Lease

	ref     realm.Ref
	flushed bool
	page    tokenstore.Page
	keyword string
	cascade bool
	dropped bool

	// what is asked for an account, and the company that there is
	way     string
	key     string // the realm's default
	company tokenstore.Company
	keys    []string
	cb      grant.Callback
	// onRenew is called for each key of a realm; nil: all get a token.
	onRenew func(ctx context.Context, key string) error
	// backup is what is done with the writer of a backup.
	backup func(w io.Writer) error
}

// newPuppet makes an API over a puppet.
func newPuppet(t *testing.T) (*puppet, caller) {
	t.Helper()
	p := &puppet{lease: realm.Lease{
		Access: "at-1", Expires: realm.InstantOf(noon.Add(2 * time.Hour)), Source: realm.FromMemory,
	}}
	p.key, p.company = "main", tokenstore.Company{ID: 7, TaxpayerID: "9111", Accounts: map[string]string{"jd": "acme"}}
	return p, caller{t, newLocal(p, p, Options{Now: func() time.Time { return noon }})}
}

func (p *puppet) asked(ref realm.Ref) error {
	if p.panics != nil {
		panic(p.panics)
	}
	p.ref = ref
	return p.err
}

func (p *puppet) Read(_ context.Context, ref realm.Ref) (*realm.Lease, error) {
	p.flushed, p.way = false, "token"
	return &p.lease, p.asked(ref)
}

func (p *puppet) ReadBy(
	ctx context.Context, ref realm.Ref, obtain func(context.Context, realm.Ref) (*realm.Lease, error),
) (*realm.Lease, error) {
	return obtain(ctx, ref)
}

func (p *puppet) Flush(_ context.Context, ref realm.Ref) (*realm.Lease, error) {
	p.flushed, p.way = true, "flush"
	return &p.lease, p.asked(ref)
}

func (p *puppet) RealmInfo(_ context.Context, id string) (catalog.RealmInfo, error) {
	return catalog.RealmInfo{Realm: realm.Realm{ID: id}}, p.asked(realm.Ref{Realm: id})
}

func (p *puppet) SourcesOf(realm.Ref) []catalog.SourceStatus { return nil }

func (p *puppet) Realms(_ context.Context, page tokenstore.Page, f tokenstore.RealmFilter) ([]catalog.RealmInfo, int, error) {
	p.page, p.keyword = page, f.Keyword
	return nil, 0, p.asked(realm.Ref{})
}

func (p *puppet) SaveRealm(_ context.Context, id string, change func(realm.Realm, bool) (realm.Realm, error)) (catalog.RealmInfo, error) {
	if err := p.asked(realm.Ref{Realm: id}); err != nil {
		return catalog.RealmInfo{}, err
	}
	r, err := change(realm.Realm{ID: id}, false)
	return catalog.RealmInfo{Realm: r}, err
}

func (p *puppet) SaveRealmKeepingValues(ctx context.Context, id string, change func(realm.Realm, bool) (realm.Realm, error)) (catalog.RealmInfo, error) {
	return p.SaveRealm(ctx, id, change)
}

func (p *puppet) DeleteRealm(_ context.Context, id string, cascade bool) error {
	p.cascade = cascade
	return p.asked(realm.Ref{Realm: id})
}

func (p *puppet) Test(_ context.Context, ref realm.Ref, _ *realm.Config) (grant.Report, error) {
	return grant.Report{}, p.asked(ref)
}

func (p *puppet) SecretInfo(_ context.Context, ref realm.Ref) (catalog.SecretInfo, error) {
	return catalog.SecretInfo{Secret: realm.Secret{Ref: ref}}, p.asked(ref)
}

func (p *puppet) Secrets(_ context.Context, page tokenstore.Page, f tokenstore.SecretFilter) ([]catalog.SecretInfo, int, error) {
	p.page = page
	return nil, 0, p.asked(realm.Ref{Realm: f.Realm})
}

func (p *puppet) SaveSecret(_ context.Context, u catalog.SecretUpdate) (catalog.SecretInfo, error) {
	p.dropped = u.DropRefreshToken
	return catalog.SecretInfo{Secret: realm.Secret{Ref: u.Ref}}, p.asked(u.Ref)
}

func (p *puppet) DeleteSecret(_ context.Context, ref realm.Ref) error { return p.asked(ref) }

func (p *puppet) StatusPage(context.Context, broker.StatusQuery) (broker.Status, int) {
	_ = p.asked(realm.Ref{})
	return broker.Status{}, 0
}

func (p *puppet) Backup(_ context.Context, w io.Writer) error { return p.backup(w) }

func (p *puppet) Authorize(_ context.Context, ref realm.Ref) (*realm.Lease, error) {
	p.way = "authorize"
	return &p.lease, p.asked(ref)
}

func (p *puppet) Authorizable(context.Context, string) error { return nil }

func (p *puppet) AuthorizeURL(_ context.Context, ref realm.Ref) (string, error) {
	return "https://provider.example/authorize?a=1&state=state-1", p.asked(ref)
}

func (p *puppet) Callback(_ context.Context, realmID string, cb grant.Callback) (realm.Ref, error) {
	p.cb = cb
	return realm.Ref{Realm: realmID, Key: `<b>&"main"`}, p.asked(realm.Ref{Realm: realmID})
}

func (p *puppet) Ensure(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	lease, _, err := p.RenewNow(ctx, ref)
	return lease, err
}

func (p *puppet) RenewNow(ctx context.Context, ref realm.Ref) (*realm.Lease, bool, error) {
	if p.onRenew == nil {
		return &realm.Lease{Source: realm.FromUpstream}, false, nil
	}
	return &realm.Lease{Source: realm.FromUpstream}, false, p.onRenew(ctx, ref.Key)
}

func (p *puppet) Keys(_ context.Context, realmID string) ([]string, error) {
	return p.keys, p.asked(realm.Ref{Realm: realmID})
}

func (p *puppet) Concurrency(context.Context, string) (int, error) { return 1, nil }

func (p *puppet) DefaultKey(_ context.Context, realmID string) (string, error) {
	return p.key, p.asked(realm.Ref{Realm: realmID})
}

func (p *puppet) Company(_ context.Context, taxpayerID string) (tokenstore.Company, error) {
	return p.company, p.asked(realm.Ref{Realm: taxpayerID})
}

func (p *puppet) Companies(_ context.Context, page tokenstore.Page, keyword string) ([]tokenstore.Company, int, error) {
	p.page, p.keyword = page, keyword
	return []tokenstore.Company{p.company}, 1, p.asked(realm.Ref{})
}

func (p *puppet) SaveCompany(
	_ context.Context, taxpayerID string, change func(tokenstore.Company, bool) (tokenstore.Company, error),
) (tokenstore.Company, error) {
	if err := p.asked(realm.Ref{Realm: taxpayerID}); err != nil {
		return tokenstore.Company{}, err
	}
	return change(tokenstore.Company{TaxpayerID: taxpayerID}, false)
}

func (p *puppet) DeleteCompany(_ context.Context, taxpayerID string) error {
	return p.asked(realm.Ref{Realm: taxpayerID})
}
