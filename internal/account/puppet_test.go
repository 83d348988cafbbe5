package account

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// puppet is a broker with two realms, jd (its default is main) and sn (without
// one), that does with tokens what a test says. A broker that is real is
// behind the tests of adminapi.
type puppet struct {
	Broker // what a test does not expect panics
	Catalog

	// answer is what comes of asking for a token; method is which way.
	answer func(ctx context.Context, method string, ref realm.Ref) (*realm.Lease, bool, error)
	realms []string
	keys   []string
	due    map[string]bool // by key
	width  int
	// measured is called when the width is asked for.
	measured func()
	away     error // of the store
	person   bool  // no realm can be authorized without one

	mu        sync.Mutex
	asked     []string
	callbacks []grant.Callback
	companies map[string]tokenstore.Company
}

func newPuppet(t *testing.T) (*puppet, *Service, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	p := &puppet{companies: map[string]tokenstore.Company{}, width: 2}
	p.answer = func(context.Context, string, realm.Ref) (*realm.Lease, bool, error) {
		return &realm.Lease{Access: "at-1", Source: realm.FromUpstream, Expires: 1}, false, nil
	}
	return p, New(p, p, zap.New(core)), logs
}

func (p *puppet) ask(ctx context.Context, method string, ref realm.Ref) (*realm.Lease, bool, error) {
	p.mu.Lock()
	p.asked = append(p.asked, method+" "+ref.String())
	p.mu.Unlock()
	return p.answer(ctx, method, ref)
}

func (p *puppet) Read(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	l, _, err := p.ask(ctx, "token", ref)
	return l, err
}

func (p *puppet) ReadBy(
	ctx context.Context, ref realm.Ref, obtain func(context.Context, realm.Ref) (*realm.Lease, error),
) (*realm.Lease, error) {
	return obtain(ctx, ref)
}

func (p *puppet) Flush(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	l, _, err := p.ask(ctx, "flush", ref)
	return l, err
}

func (p *puppet) Authorize(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	l, _, err := p.ask(ctx, "authorize", ref)
	return l, err
}

func (p *puppet) Authorizable(ctx context.Context, realmID string) error {
	if p.person {
		return &realm.Error{Code: realm.CodeNotAuthorizable, Status: http.StatusConflict, Detail: "needs a person"}
	}
	_, err := p.DefaultKey(ctx, realmID)
	return err
}

func (p *puppet) Ensure(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	l, _, err := p.ask(ctx, "ensure", ref)
	return l, err
}

func (p *puppet) RenewNow(ctx context.Context, ref realm.Ref) (*realm.Lease, bool, error) {
	return p.ask(ctx, "renew", ref)
}

func (p *puppet) IsDue(ctx context.Context, ref realm.Ref) (due, found bool, err error) {
	_, found, err = p.ask(ctx, "is due", ref)
	return p.due[ref.Key], found, err
}

func (p *puppet) RealmsWithTokens(context.Context) ([]string, error) { return p.realms, nil }

func (p *puppet) Callback(ctx context.Context, realmID string, cb grant.Callback) (realm.Ref, error) {
	p.callbacks = append(p.callbacks, cb)
	_, _, err := p.ask(ctx, "callback", realm.Ref{Realm: realmID})
	return realm.Ref{Realm: realmID, Key: "main"}, err
}

func (p *puppet) Keys(ctx context.Context, realmID string) ([]string, error) {
	_, err := p.DefaultKey(ctx, realmID)
	return p.keys, err
}

func (p *puppet) Concurrency(context.Context, string) (int, error) {
	if p.measured != nil {
		p.measured()
	}
	return p.width, nil
}

func (p *puppet) DefaultKey(ctx context.Context, realmID string) (string, error) {
	if p.away != nil {
		return "", p.away
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	key, ok := map[string]string{"jd": "main", "sn": ""}[realmID]
	if !ok {
		return "", &realm.Error{Code: realm.CodeRealmNotFound, Status: http.StatusNotFound, Detail: "no realm"}
	}
	return key, nil
}

func (p *puppet) Company(_ context.Context, taxpayerID string) (tokenstore.Company, error) {
	c, ok := p.companies[taxpayerID]
	if !ok {
		return c, companyNotFound()
	}
	return c, nil
}

func (p *puppet) SaveCompany(
	_ context.Context, taxpayerID string, change func(tokenstore.Company, bool) (tokenstore.Company, error),
) (tokenstore.Company, error) {
	old, found := p.companies[taxpayerID]
	old.TaxpayerID = taxpayerID
	for range 2 { // a store may ask again
		c, err := change(old, found)
		if err != nil {
			return c, err
		}
		p.companies[taxpayerID] = c
	}
	return p.companies[taxpayerID], nil
}

func companyNotFound() *realm.Error {
	return &realm.Error{Code: realm.CodeCompanyNotFound, Status: http.StatusNotFound, Detail: "no company"}
}

// did expects what the broker was asked, in any order, and forgets it.
func (p *puppet) did(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.asked)
	slices.Sort(want)
	if !slices.Equal(p.asked, want) {
		t.Errorf("the broker was asked %v, want %v", p.asked, want)
	}
	p.asked = nil
}

// refusal expects a *realm.Error.
func refusal(t *testing.T, err error, status int, code realm.Code) *realm.Error {
	t.Helper()
	var e *realm.Error
	if !errors.As(err, &e) || e.Status != status || e.Code != code {
		t.Fatalf("want %d %s, got %+v", status, code, err)
	}
	return e
}

// wrongField expects a *realm.FieldError.
func wrongField(t *testing.T, err error, field string) {
	t.Helper()
	var e *realm.FieldError
	if !errors.As(err, &e) || e.Field != field {
		t.Errorf("want a fault of %s, got %v", field, err)
	}
}
