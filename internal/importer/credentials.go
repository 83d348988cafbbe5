package importer

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// tokenColumns are the columns of a token, and of a refresh token where the
// table has such.
type tokenColumns struct {
	access, accessEnd, refresh, refreshEnd string
}

// The members of POST /api/secret that tokensOf makes: two tokens, and when
// each of them ends.
const (
	access, accessEnd   = "token", "expires_at"
	refresh, refreshEnd = "refresh_token", "refresh_expires_at"
)

// checkEnds makes sure that the ends of tokens can be read.
func (t *table) checkEnds(c tokenColumns) error {
	for _, name := range t.only(c.accessEnd, c.refreshEnd) {
		if _, err := t.columns[name].instant("", time.UTC); err != nil {
			return realm.Fieldf(t.name+"."+name, "%v", err)
		}
	}
	return nil
}

// tokensOf are the tokens of a row that still live. An access token without
// an end is not taken: nobody knows for how long it may be served, and asking
// for another one is safe.
func (r *run) tokensOf(t *table, line row, c tokenColumns) (document, error) {
	d, now := document{}, r.now()
	end, err := t.end(line, c.accessEnd, r.Zone)
	if err != nil {
		return nil, err
	}
	if token := line.hidden(c.access); token != "" && end.After(now) {
		d[access], d[accessEnd] = token, end.UnixMilli()
	}
	end, err = t.end(line, c.refreshEnd, r.Zone)
	if err != nil {
		return nil, err
	}
	if token := line.hidden(c.refresh); token != "" && (end.IsZero() || end.After(now)) {
		d[refresh] = token
		if !end.IsZero() {
			d[refreshEnd] = end.UnixMilli()
		}
	}
	return d, nil
}

// end is the time in a column, zero where there is none.
func (t *table) end(line row, name string, zone *time.Location) (time.Time, error) {
	at, err := t.columns[name].instant(line.text(name), zone)
	if err != nil {
		return at, realm.Fieldf(name, "%v", err)
	}
	return at, nil
}

// credential imports a secret with its tokens, and counts the access tokens
// that came along.
func (r *run) credential(ctx context.Context, s Subject, d, tokens document) (int, outcome, error) {
	it := item{
		subject: s, path: secretPath(s), collection: secretCollection,
		create: d, tokens: tokens, update: r.credentialUpdate(s, d, tokens), updateTokens: r.OverwriteTokens,
	}
	if err := r.refuseUnknownRealm(ctx, s.Realm); err != nil {
		return 0, failed, err
	}
	return r.importItem(ctx, it)
}

// credentialUpdate is what an existing secret is overwritten with, besides its
// tokens.
func (r *run) credentialUpdate(s Subject, d, tokens document) document {
	switch {
	case r.Overwrite:
		return d
	case r.OverwriteTokens && len(tokens) > 0:
		return document{"realm": s.Realm, "key": s.ID}
	}
	return nil
}

// refuseUnknownRealm refuses, in a dry run, a secret whose realm is neither there
// nor about to be made, as the API would.
func (r *run) refuseUnknownRealm(ctx context.Context, id string) error {
	if _, ok := r.known.Load(id); ok || !r.DryRun {
		return nil
	}
	_, found, err := r.api.get(ctx, realmPath(id))
	if err == nil && !found {
		return realm.Fieldf("realm", "does not exist")
	}
	return err
}
