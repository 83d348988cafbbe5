package adminapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// auditDocument is an entry of the audit as it is shown.
type auditDocument struct {
	ID      string     `json:"id"`
	Node    string     `json:"node"`
	Seq     int64      `json:"seq"`
	Time    string     `json:"time"`
	Actor   auditActor `json:"actor"`
	Address string     `json:"address,omitempty"`
	Act     string     `json:"act"`
	Realm   string     `json:"realm,omitempty"`
	Key     string     `json:"key,omitempty"`
	// Target is the id of a client or a company.
	Target string `json:"target,omitempty"`
	Result string `json:"result"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Count is how many equal events the entry stands for; absent for one.
	Count int64 `json:"count,omitempty"`
}

// auditActor is who did it.
type auditActor struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
}

func showEntry(e tokenstore.AuditEntry) auditDocument {
	return auditDocument{
		ID: e.ID(), Node: e.Node, Seq: e.Seq, Time: e.Time.UTC().Format(tokenstore.AuditTime), Actor: auditActor{e.ActorKind, e.ActorID},
		Address: e.Address, Act: e.Act, Realm: e.Realm, Key: e.Key, Target: e.Target, Result: e.Result, Code: e.Code, Detail: e.Detail, Count: e.Count,
	}
}

// listAudit shows a page of entries, newest first, or all of them line by line,
// oldest first.
func (a *api) listAudit(ctx context.Context, r *request) (any, error) {
	filter, err := r.query.auditFilter()
	if err != nil {
		return nil, err
	}
	page, err := r.query.page()
	if err != nil {
		return nil, err
	}
	if a.audit == nil {
		return nil, errNoAudit
	}
	if r.lines == nil {
		entries, total, err := a.audit.List(ctx, filter, page)
		if err != nil {
			return nil, catalog.StoreError(err)
		}
		return listOf(entries, total, showEntry), nil
	}
	err = a.audit.Walk(ctx, filter, func(e tokenstore.AuditEntry) error {
		r.lines.send(showEntry(e))
		return ctx.Err()
	})
	if err != nil {
		return nil, catalog.StoreError(err)
	}
	r.lines.start() // there may be no entry
	return reply{status: http.StatusOK}, nil
}

// errNoAudit: this handler was made without one.
var errNoAudit = &realm.Error{Code: realm.CodeNotFound, Status: http.StatusNotFound, Detail: "there is no audit here"}

// auditFilter reads which entries are wanted.
func (q query) auditFilter() (f tokenstore.AuditFilter, err error) {
	for _, p := range []struct {
		name string
		to   *string
	}{{"actor", &f.Actor}, {"realm", &f.Realm}, {"key", &f.Key}, {"act", &f.Act}, {"result", &f.Result}} {
		if *p.to, err = q.text(p.name); err != nil {
			return f, err
		}
	}
	if known := actNames(); f.Act != "" && !slices.Contains(known, f.Act) {
		return f, realm.Fieldf("act", "is none that there is%s; there are %s", spelling.DidYouMean(f.Act, known), strings.Join(known, ", "))
	}
	switch f.Result {
	case "", tokenstore.AuditOK, tokenstore.AuditRefused, tokenstore.AuditFailed:
	default:
		return f, realm.Fieldf("result", "must be ok, refused or failed")
	}
	if f.From, err = q.instant("from"); err != nil {
		return f, err
	}
	f.To, err = q.instant("to")
	return f, err
}

// actNames are the acts that an entry can have, sorted. Of an update the store makes a
// creation where there was nothing.
func actNames() []string {
	names := []string{audit.ActFlush, audit.ActAccess, tokenstore.ActCheckpoint}
	for _, a := range acts {
		names = append(names, a.name)
		if what, ok := strings.CutSuffix(a.name, ".update"); ok {
			names = append(names, what+".create")
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// instant reads a time; the zero one where it is absent.
func (q query) instant(name string) (t time.Time, err error) {
	text, err := q.text(name)
	if err != nil || text == "" {
		return t, err
	}
	if t, err = time.Parse(time.RFC3339, text); err != nil {
		return t, realm.Fieldf(name, "must be a time such as 2027-01-31T12:00:00Z")
	}
	return t, nil
}

// chainDocument is what a verification found of one chain.
type chainDocument struct {
	// Node names the chain; it is empty for the list of the chains.
	Node string `json:"node"`
	// First and Last are the numbers of the entries that were verified.
	First int64 `json:"first,omitempty"`
	Last  int64 `json:"last,omitempty"`
	// Reason is what is wrong, at the entry Seq; absent where nothing is.
	Seq    int64  `json:"seq,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// verification is what was found of all chains.
type verification struct {
	Intact bool            `json:"intact"`
	Chains []chainDocument `json:"chains"`
}

// verifyAudit verifies every chain. The key is here and not with the caller. It
// may take long, so that each chain can be had as a line, once it is verified.
func (a *api) verifyAudit(ctx context.Context, r *request) (any, error) {
	if a.audit == nil {
		return nil, errNoAudit
	}
	found := verification{Intact: true, Chains: []chainDocument{}}
	err := a.audit.Verify(ctx, func(c tokenstore.AuditChain) {
		d := chainDocument{Node: c.Node, First: c.First, Last: c.Last, Seq: c.Seq, Reason: c.Reason}
		found.Intact = found.Intact && c.Reason == ""
		if r.lines != nil {
			r.lines.send(d)
		} else {
			found.Chains = append(found.Chains, d)
		}
	})
	switch {
	case err != nil:
		return nil, catalog.StoreError(err)
	case r.lines != nil:
		r.lines.start() // there may be no chain
		return reply{status: http.StatusOK}, nil
	}
	return found, nil
}
