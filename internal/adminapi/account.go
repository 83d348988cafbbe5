package adminapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func (a *api) requestAccessToken(ctx context.Context, r *request) (any, error) {
	return r.accountToken(ctx, a.accounts.RequestAccessToken)
}

func (a *api) getAccessToken(ctx context.Context, r *request) (any, error) {
	return r.accountToken(ctx, a.accounts.GetAccessToken)
}

func (a *api) refreshToken(ctx context.Context, r *request) (any, error) {
	return r.accountToken(ctx, a.accounts.RefreshToken)
}

// accountToken answers with the token alone, as the earlier service did. It is
// confidential, and leaves here.
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
	var sent accountParameters
	if r.form {
		sent, err = query(r.body).account()
	} else {
		sent, err = accountOf(r.body)
	}
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

func (a *api) initAll(ctx context.Context, r *request) (any, error) {
	return r.all(ctx, a.accounts.InitAll)
}

func (a *api) refreshAll(ctx context.Context, r *request) (any, error) {
	return r.all(ctx, a.accounts.RefreshAll)
}

// all answers with what became of each account: by key and in the end, or line
// by line as it happens.
func (r *request) all(ctx context.Context, run func(ctx context.Context, realmID string, progress func(account.Result)) error) (any, error) {
	results := []account.Result{}
	err := run(ctx, r.ids[0], func(result account.Result) {
		results = append(results, result)
		if r.lines != nil {
			r.lines.send(result)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case r.lines != nil:
		r.lines.send(sumOf(results))
		return reply{status: http.StatusOK}, nil
	}
	slices.SortFunc(results, func(a, b account.Result) int { return strings.Compare(a.Key, b.Key) })
	return listOf(results, len(results), func(r account.Result) account.Result { return r }), nil
}

// sum is the last line: how many there were of each.
type sum struct {
	Total   int `json:"total"`
	OK      int `json:"ok"`
	Skipped int `json:"skipped"`
	Failed  int `json:"failed"`
}

func sumOf(results []account.Result) sum {
	s := sum{Total: len(results)}
	for _, r := range results {
		switch r.Result {
		case account.OK:
			s.OK++
		case account.Skipped:
			s.Skipped++
		case account.Failed:
			s.Failed++
		}
	}
	return s
}

// authorization is where a person authorizes. The URL holds the state.
type authorization struct {
	URL string `json:"url"`
}

// authorize begins an authorization by a person, and shows where to go or
// leads there.
func (a *api) authorize(ctx context.Context, r *request) (any, error) {
	redirect, err := r.query.flag("redirect", false)
	if err != nil {
		return nil, err
	}
	to, err := a.broker.AuthorizeURL(ctx, r.secretRef())
	if err != nil {
		return nil, err
	}
	if redirect {
		return reply{status: http.StatusFound, header: map[string]string{"Location": to, "Referrer-Policy": "no-referrer"}}, nil
	}
	return plainJSON(authorization{to})
}

// plainJSON is JSON in which "&" is not escaped: somebody may copy the URL out
// of it.
func plainJSON(v any) (json.RawMessage, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return json.RawMessage(b.String()), err
}
