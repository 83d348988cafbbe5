package access

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Info is a client as the API shows it.
type Info struct {
	tokenstore.Client
	// ReadOnly: it is defined in the Caddyfile.
	ReadOnly bool
}

// Saved is a client that was created, updated or given another key.
type Saved struct {
	Info
	// Created: there was none before.
	Created bool
	// Key is the new API key, "" where none was made. It cannot be shown again.
	Key realm.Hidden
	// ClosesLoopback: clients were not required before, and are from now on.
	ClosesLoopback bool
}

func notFound() *realm.Error {
	return &realm.Error{Code: realm.CodeNotFound, Status: http.StatusNotFound, Detail: "there is no such client"}
}

func conflict(detail string) *realm.Error {
	return &realm.Error{Code: realm.CodeConflict, Status: http.StatusConflict, Detail: detail}
}

// checkStored returns why a client of this id cannot be changed, nil if it can.
func (v *View) checkStored(id string) error {
	if _, own := v.own.policies[id]; own {
		return &realm.Error{Code: realm.CodeReadOnly, Status: http.StatusConflict, Detail: "the client is defined in the Caddyfile"}
	}
	if v.registry.store == nil {
		return &realm.Error{Code: realm.CodeReadOnly, Status: http.StatusConflict, Detail: "there is no store for clients"}
	}
	return nil
}

// inStore runs f with the store, within the store's time.
func (r *Registry) inStore(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	defer cancel()
	if err := r.prepare(ctx); err != nil {
		return storeError(err)
	}
	return changeError(f(ctx))
}

// changeError turns the error of a store's method into the caller's. What a
// change function returned passes as it is.
func changeError(err error) error {
	var (
		field *realm.FieldError
		own   *realm.Error
		taken *tokenstore.IdentityTakenError
	)
	switch {
	case err == nil, errors.As(err, &field), errors.As(err, &own):
		return err
	case errors.Is(err, tokenstore.ErrClientNotFound):
		return notFound()
	case errors.As(err, &taken):
		return conflict(taken.Error())
	}
	return storeError(err)
}

// List returns a page of the clients whose id or comment contains the keyword:
// those of the configuration first, then the stored ones, the newest first.
func (v *View) List(ctx context.Context, page tokenstore.Page, keyword string) ([]Info, int, error) {
	var all []Info
	for _, id := range v.order {
		all = append(all, v.info(v.own.policies[id].written))
	}
	if v.registry.store != nil {
		var stored []tokenstore.Client
		err := v.registry.inStore(ctx, func(ctx context.Context) (err error) {
			stored, _, err = v.registry.store.Clients(ctx)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		slices.SortStableFunc(stored, func(a, b tokenstore.Client) int {
			return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
		})
		for _, c := range stored {
			if v.own.policies[c.ID] == nil {
				all = append(all, v.info(c))
			}
		}
	}
	// The store has no pages of clients: it seals each as a whole, and there are
	// thousands at most.
	all = slices.DeleteFunc(all, func(i Info) bool { return !contains(i.ID, keyword) && !contains(i.Comment, keyword) })
	total := len(all)
	from := min(max(page.Number-1, 0)*page.Size, total)
	return all[from:min(from+page.Size, total)], total, nil
}

// contains compares without regard to case, as the other lists do.
func contains(s, keyword string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(keyword))
}

// info adds what only memory knows.
func (v *View) info(c tokenstore.Client) Info {
	p, own := v.own.policies[c.ID]
	if !own {
		p = v.registry.stored.Load().policies[c.ID]
	}
	if p != nil {
		if used := hourTime(p.tally.used.Load()); used.After(c.UsedAt) && used.Unix() > 0 {
			c.UsedAt = used
		}
	}
	return Info{Client: c, ReadOnly: own}
}

// Get returns one client. CodeNotFound.
func (v *View) Get(ctx context.Context, id string) (Info, error) {
	if p, own := v.own.policies[id]; own {
		return v.info(p.written), nil
	}
	if v.registry.store == nil {
		return Info{}, notFound()
	}
	var c tokenstore.Client
	err := v.registry.inStore(ctx, func(ctx context.Context) (err error) {
		c, err = v.registry.store.Client(ctx, id)
		return err
	})
	if err != nil {
		return Info{}, err
	}
	return v.info(c), nil
}

// Save creates or updates a client: change gets the stored one (found false and
// only the id set where there is none) and returns what is to be stored; it may
// be called more than once. It cannot change the id, the keys, or what the store
// notes. A client that is created without a user, a subject or a source gets a
// key. CodeReadOnly; CodeConflict where another client is identified by the same.
func (v *View) Save(ctx context.Context, id string, change func(c tokenstore.Client, found bool) (tokenstore.Client, error)) (Saved, error) {
	if err := realm.ValidateID("id", id); err != nil {
		return Saved{}, err
	}
	if err := v.checkStored(id); err != nil {
		return Saved{}, err
	}
	var result Saved
	err := v.update(ctx, id, &result, func(stored tokenstore.Client, found bool) (tokenstore.Client, error) {
		result = Saved{Created: !found}
		if !found {
			if err := realm.ValidateNewID("id", id); err != nil {
				return stored, err
			}
		}
		c, err := change(stored, found)
		if err != nil {
			return c, err
		}
		c.ID, c.Keys, c.CreatedAt, c.UsedAt = id, stored.Keys, stored.CreatedAt, stored.UsedAt
		if err := Validate(c); err != nil {
			return c, err
		}
		now := v.registry.now()
		// Only a new end has to lie ahead: the comment of a client that has expired
		// may be changed, and the same end be sent with it.
		if !c.ExpiresAt.IsZero() && !c.ExpiresAt.Equal(stored.ExpiresAt) && !c.ExpiresAt.After(now) {
			return c, realm.Fieldf("expires_at", "is in the past")
		}
		c.Sources, _ = canonicalSources(c.Sources) // Validate has checked them
		switch {
		case isIdentified(c):
		case found:
			return c, realm.Fieldf("users", "the client has no key, so that it needs a user, a subject or a source; rotate gives it a key")
		default:
			key, digest := NewKey()
			result.Key, c.Keys = key, []tokenstore.ClientKey{{Digest: digest, CreatedAt: now}}
		}
		// The store knows its own clients; those of the Caddyfile it does not.
		if other, field := v.own.collides(c); other != "" {
			return c, conflict(field + ": client " + other + " of the Caddyfile has the same one")
		}
		return c, nil
	})
	return result, err
}

// Rotate gives a client a new key. The one before it stays good for keep, older
// ones end at once. CodeNotFound, CodeReadOnly.
func (v *View) Rotate(ctx context.Context, id string, keep time.Duration) (Saved, error) {
	if err := v.checkStored(id); err != nil {
		return Saved{}, err
	}
	if keep < 0 {
		return Saved{}, realm.Fieldf("keep", "must not be negative")
	}
	var result Saved
	err := v.update(ctx, id, &result, func(c tokenstore.Client, found bool) (tokenstore.Client, error) {
		if !found {
			return c, notFound()
		}
		now := v.registry.now()
		key, digest := NewKey()
		keys := []tokenstore.ClientKey{{Digest: digest, CreatedAt: now}}
		if keep > 0 && len(c.Keys) > 0 {
			old := c.Keys[0]
			if end := now.Add(keep); old.ExpiresAt.IsZero() || end.Before(old.ExpiresAt) {
				old.ExpiresAt = end
			}
			if old.ExpiresAt.After(now) {
				keys = append(keys, old)
			}
		}
		c.Keys = keys
		result = Saved{Key: key}
		return c, nil
	})
	return result, err
}

// update changes a stored client, and takes notice of it at once.
func (v *View) update(ctx context.Context, id string, result *Saved, change func(tokenstore.Client, bool) (tokenstore.Client, error)) error {
	r := v.registry
	if err := r.Ready(ctx); err != nil { // else nobody knows whether clients were required
		return err
	}
	// Asked before the change: afterwards there is a client.
	required := v.Required()
	var saved tokenstore.Client
	err := r.inStore(ctx, func(ctx context.Context) (err error) {
		saved, err = r.store.UpdateClient(ctx, id, change)
		return err
	})
	if err != nil {
		*result = Saved{}
		return err
	}
	result.ClosesLoopback = !required
	if !required {
		r.log.Info("the first client was created: from now on the proxy serves clients only, and the admin API clients, the admin token and, with auth local, this machine", zap.String("client", id))
	}
	r.required.Store(true)
	r.notice(ctx, id, &saved)
	result.Info = v.info(saved)
	return nil
}

// notice publishes a change that this node made before the caller hears of it.
// It is read again, because another node may have changed the client since; if
// that fails, what was saved counts until it succeeds.
func (r *Registry) notice(ctx context.Context, id string, saved *tokenstore.Client) {
	// The change is made, whether the caller still waits or not.
	ctx = context.WithoutCancel(ctx)
	err := r.inTurn(ctx, func(ctx context.Context) error {
		err := r.loadOne(ctx, id)
		if err != nil {
			r.replace(map[string]*tokenstore.Client{id: saved})
		}
		return err
	})
	if err != nil {
		r.Changed(id)
	}
}

// Delete deletes a client. by is the id of the client that asks for it, "" for
// none: nobody deletes himself. CodeNotFound, CodeReadOnly, CodeConflict.
func (v *View) Delete(ctx context.Context, id, by string) error {
	if err := v.checkStored(id); err != nil {
		return err
	}
	// Who deletes himself cannot undo it, and nobody else may be left who can.
	if by != "" && id == by {
		return conflict("this is the client that you are using; another one has to delete it")
	}
	r := v.registry
	err := r.inStore(ctx, func(ctx context.Context) error { return r.store.DeleteClient(ctx, id) })
	if err != nil {
		return err
	}
	r.notice(ctx, id, nil)
	return nil
}

// Warnings says what is odd about a client, though it can be saved: a rule that
// names a realm that there is not. hasRealm reports whether there is one; where
// that cannot be told, there is no warning.
func Warnings(c tokenstore.Client, hasRealm func(id string) bool) []string {
	var list []string
	for i, r := range c.Rules {
		for j, id := range r.Realms {
			if !strings.Contains(id, "*") && !hasRealm(id) {
				list = append(list, index(index("rules", i)+".realms", j)+": there is no realm "+strconv.Quote(id))
			}
		}
	}
	return list
}
