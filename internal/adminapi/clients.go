package adminapi

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Clients is what the API needs of an access.View; its methods are documented
// there.
type Clients interface {
	List(ctx context.Context, page tokenstore.Page, keyword string) ([]access.Info, int, error)
	Get(ctx context.Context, id string) (access.Info, error)
	Save(ctx context.Context, id string, change func(c tokenstore.Client, found bool) (tokenstore.Client, error)) (access.Saved, error)
	Rotate(ctx context.Context, id string, keep time.Duration) (access.Saved, error)
	Delete(ctx context.Context, id, by string) error
	Required() bool
	Since() time.Time
	Current(c *access.Client) *access.Client
	Explain(id string, q access.Question) (access.Explanation, error)
}

var _ Clients = (*access.View)(nil)

// clientDocument is a client as it is shown. Lists are [] and never null.
type clientDocument struct {
	ID       string                  `json:"id"`
	Comment  string                  `json:"comment"`
	Rules    []tokenstore.Rule       `json:"rules"`
	Limits   tokenstore.ClientLimits `json:"limits"`
	Users    []string                `json:"users"`
	Subjects []string                `json:"subjects"`
	Sources  []string                `json:"sources"`
	Edge     bool                    `json:"edge"`
	// Keys are those that are kept, the newest first; the keys themselves are
	// not.
	Keys      []clientKey `json:"keys"`
	ExpiresAt *time.Time  `json:"expires_at"`
	CreatedAt time.Time   `json:"created_at,omitzero"`
	UpdatedAt time.Time   `json:"updated_at,omitzero"`
	// UsedAt is the hour in which the client was seen last.
	UsedAt   time.Time `json:"used_at,omitzero"`
	ReadOnly bool      `json:"read_only,omitempty"`
	Damaged  bool      `json:"damaged,omitempty"`
}

// clientKey is what is known of an API key.
type clientKey struct {
	CreatedAt time.Time  `json:"created_at,omitzero"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// savedClient is a client that was created, updated or given a key.
type savedClient struct {
	clientDocument
	// Key is the new API key: confidential, and shown here alone.
	Key string `json:"key,omitempty"`
	// ClosesLoopback: clients are required from now on, and were not before.
	ClosesLoopback bool `json:"closes_loopback,omitempty"`
	// Warnings are about what was saved, and may be a slip.
	Warnings []string `json:"warnings,omitempty"`
}

// clientWords: the clients' errors keep their own.
var clientWords vocabulary

func showClient(info access.Info) clientDocument {
	d := clientDocument{
		ID: info.ID, Comment: info.Comment, Rules: orEmpty(info.Rules), Limits: info.Limits,
		Users: orEmpty(info.Users), Subjects: orEmpty(info.Subjects), Sources: orEmpty(info.Sources), Edge: info.Edge,
		Keys: make([]clientKey, 0, len(info.Keys)), ExpiresAt: endOf(info.ExpiresAt),
		CreatedAt: info.CreatedAt.UTC(), UpdatedAt: info.UpdatedAt.UTC(), UsedAt: info.UsedAt.UTC(),
		ReadOnly: info.ReadOnly, Damaged: info.Damaged,
	}
	for _, k := range info.Keys {
		d.Keys = append(d.Keys, clientKey{CreatedAt: k.CreatedAt.UTC(), ExpiresAt: endOf(k.ExpiresAt)})
	}
	return d
}

// orEmpty is the list, or an empty one for nil.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// endOf is when something ends; nil for never.
func endOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (a *api) listClients(ctx context.Context, r *request) (any, error) {
	return search(ctx, r, a.clients.List, showClient, func(access.Info) bool { return true })
}

func (a *api) getClient(ctx context.Context, r *request) (any, error) {
	info, err := a.clients.Get(ctx, r.ids[0])
	return showClient(info), err
}

func (a *api) saveClient(ctx context.Context, r *request) (any, error) {
	u, err := readClientUpdate(r.body)
	r.target = u.id
	if err != nil {
		return nil, err
	}
	saved, err := a.clients.Save(ctx, u.id, u.apply)
	if err != nil {
		return nil, err
	}
	return a.showSaved(ctx, saved), nil
}

// rotateClient gives a client a new key; the one before stays good for a while,
// if the caller says so.
func (a *api) rotateClient(ctx context.Context, r *request) (any, error) {
	var keep realm.Duration
	if len(r.body) > 0 {
		o, err := decodeWithoutKey(r.body)
		if err != nil {
			return nil, err
		}
		if _, err := o.take("keep", &keep); err != nil {
			return nil, err
		}
		if err := o.end(); err != nil {
			return nil, err
		}
	}
	saved, err := a.clients.Rotate(ctx, r.ids[0], keep.Std())
	if err != nil {
		return nil, err
	}
	return a.showSaved(ctx, saved), nil
}

// showSaved shows a client that was saved, with the warnings about it.
func (a *api) showSaved(ctx context.Context, saved access.Saved) savedClient {
	return savedClient{
		clientDocument: showClient(saved.Info), Key: saved.Key.Reveal(), ClosesLoopback: saved.ClosesLoopback,
		Warnings: access.Warnings(saved.Client, func(id string) bool {
			_, err := a.catalog.RealmInfo(ctx, id)
			var e *realm.Error
			return !errors.As(err, &e) || e.Code != realm.CodeRealmNotFound
		}),
	}
}

func (a *api) deleteClient(ctx context.Context, r *request) (any, error) {
	by := ""
	if r.caller.Kind == KindClient {
		by = r.caller.ID
	}
	return done{success}, a.clients.Delete(ctx, r.ids[0], by)
}

// clientUpdate is the body of POST /api/client. What was not sent stays; null is
// sent for what is empty.
type clientUpdate struct {
	id  string
	set []func(*tokenstore.Client)
}

// readClientUpdate reads the body. What the API itself adds to a client is
// accepted, so that a document can be sent back as it came.
func readClientUpdate(body []byte) (u clientUpdate, err error) {
	o, err := decodeWithoutKey(body)
	if err != nil {
		return u, err
	}
	if u.id, err = o.need("id"); err != nil {
		return u, err
	}
	for _, take := range []func() error{
		func() error {
			return takeInto(&u, o, "comment", func(c *tokenstore.Client, v string) { c.Comment = v })
		},
		func() error {
			return takeInto(&u, o, "rules", func(c *tokenstore.Client, v []tokenstore.Rule) { c.Rules = v })
		},
		func() error {
			return takeInto(&u, o, "limits", func(c *tokenstore.Client, v tokenstore.ClientLimits) { c.Limits = v })
		},
		func() error { return takeInto(&u, o, "users", func(c *tokenstore.Client, v []string) { c.Users = v }) },
		func() error {
			return takeInto(&u, o, "subjects", func(c *tokenstore.Client, v []string) { c.Subjects = v })
		},
		func() error {
			return takeInto(&u, o, "sources", func(c *tokenstore.Client, v []string) { c.Sources = v })
		},
		func() error { return takeInto(&u, o, "edge", func(c *tokenstore.Client, v bool) { c.Edge = v }) },
		func() error { return u.takeEnd(o) },
	} {
		if err := take(); err != nil {
			return u, err
		}
	}
	return u, o.end("keys", "created_at", "updated_at", "used_at", "read_only", "damaged", "closes_loopback", "warnings")
}

// decodeWithoutKey decodes a body in which no API key has a place. One that stands
// there by a slip would be kept, audited or quoted in clear.
func decodeWithoutKey(body []byte) (object, error) {
	if access.HoldsKey(string(body)) {
		return nil, realm.Fieldf("", "an API key stands in the body, where none may; replace it if others can see what you sent")
	}
	return decodeObject(body)
}

// takeInto takes a field that replaces one of the client.
func takeInto[T any](u *clientUpdate, o object, name string, set func(*tokenstore.Client, T)) error {
	var v T
	present, err := o.take(name, &v)
	if present {
		u.set = append(u.set, func(c *tokenstore.Client) { set(c, v) })
	}
	return err
}

// takeEnd takes expires_at; null and "" are for no end.
func (u *clientUpdate) takeEnd(o object) error {
	var text string
	present, err := o.take("expires_at", &text)
	if err != nil || !present {
		return err
	}
	var end time.Time
	if text != "" {
		if end, err = time.Parse(time.RFC3339, text); err != nil {
			return realm.Fieldf("expires_at", "must be a time such as 2027-01-31T12:00:00Z")
		}
	}
	u.set = append(u.set, func(c *tokenstore.Client) { c.ExpiresAt = end })
	return nil
}

// apply makes the change. It may be called more than once.
func (u clientUpdate) apply(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
	for _, set := range u.set {
		set(&c)
	}
	return c, nil
}
