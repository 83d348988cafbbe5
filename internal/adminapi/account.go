package adminapi

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func (a *api) requestAccessToken(ctx context.Context, r *request) (any, error) {
	return r.accountToken(ctx, a.accountsFor(r).RequestAccessToken)
}

func (a *api) getAccessToken(ctx context.Context, r *request) (any, error) {
	return r.accountToken(ctx, a.accountsFor(r).GetAccessToken)
}

func (a *api) refreshToken(ctx context.Context, r *request) (any, error) {
	return r.accountToken(ctx, a.accountsFor(r).RefreshToken)
}

// accountsFor is the account service as the caller may use it on this route.
func (a *api) accountsFor(r *request) *account.Service {
	return a.accounts.For(r.caller.refusing(r.route.right))
}

// accountToken answers with the token alone, as the earlier service did. It is
// confidential, and leaves here. In a session nothing is left of that answer.
func (r *request) accountToken(
	ctx context.Context, ask func(ctx context.Context, realmID, taxpayerID string, timeout time.Duration) (realm.Hidden, error),
) (any, error) {
	p, err := r.accountParameters()
	if err != nil {
		return nil, err
	}
	token, err := ask(ctx, r.ids[0], p.taxpayerID, p.timeout)
	if err != nil {
		return nil, err
	}
	if r.caller.isInSession() {
		return reply{status: http.StatusNoContent}, nil
	}
	return reply{status: http.StatusOK, kind: "text/plain; charset=utf-8", body: []byte(token.Reveal())}, nil
}

// accountParameters say whose token is wanted, and how long the caller waits
// for it; zero for what it does not say.
type accountParameters struct {
	taxpayerID string
	timeout    time.Duration
}

// accountParameters reads the query and the body. What is in both must be the
// same.
func (r *request) accountParameters() (p accountParameters, err error) {
	if p, err = r.query.account(); err != nil || len(r.body) == 0 {
		return p, err
	}
	sent, err := r.sentParameters()
	switch {
	case err != nil:
		return p, err
	case p.taxpayerID != "" && sent.taxpayerID != "" && p.taxpayerID != sent.taxpayerID:
		return p, realm.Fieldf("taxpayerId", "is given twice, with two values")
	case p.timeout != 0 && sent.timeout != 0 && p.timeout != sent.timeout:
		return p, realm.Fieldf("timeout", "is given twice, with two values")
	}
	return accountParameters{cmp.Or(p.taxpayerID, sent.taxpayerID), cmp.Or(p.timeout, sent.timeout)}, nil
}

// sentParameters reads the body.
func (r *request) sentParameters() (accountParameters, error) {
	form, ok, err := formOf(r.header, r.body)
	switch {
	case err != nil:
		return accountParameters{}, err
	case ok:
		return form.account()
	}
	return accountOf(r.body)
}

// maxSeconds is the longest timeout.
const maxSeconds = int(account.MaxTimeout / time.Second)

func (q query) account() (p accountParameters, err error) {
	if p.taxpayerID, err = q.text("taxpayerId"); err != nil {
		return p, err
	}
	seconds, err := q.number("timeout", 0, maxSeconds)
	p.timeout = time.Duration(seconds) * time.Second
	return p, err
}

// accountOf reads a JSON body. A number in quotes counts.
func accountOf(body []byte) (p accountParameters, err error) {
	o, err := decodeObject(body)
	if err != nil {
		return p, err
	}
	if _, err = o.take("taxpayerId", &p.taxpayerID); err != nil {
		return p, err
	}
	if raw, ok := o["timeout"]; ok && !isNull(raw) {
		seconds, err := strconv.Atoi(strings.Trim(string(raw), `"`))
		if err != nil || seconds < 1 || seconds > maxSeconds {
			return p, realm.Fieldf("timeout", "must be a number from 1 to %d", maxSeconds)
		}
		p.timeout = time.Duration(seconds) * time.Second
	}
	return p, o.end("timeout")
}
