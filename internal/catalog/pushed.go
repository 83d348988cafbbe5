package catalog

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// readPushed are values that were pushed, and when this node read them, by its
// own clock. They are good for the secret as it was then, which was written at
// writtenAt: another one may be for another host.
type readPushed struct {
	tokenstore.Pushed
	at, writtenAt time.Time
}

// Push sets the value of a volatile field of a secret for so long; 0: without an
// end. The secret may be one of the Caddyfile. Neither does it end a token nor
// cause a fetch: the value counts when the next one is made, and lies over the
// secret's own until it ends.
//
// CodeRealmNotFound, CodeSecretNotFound; for a field that is not volatile
// CodeReadOnly if the secret is one of the Caddyfile; CodeHostNotAllowed for a
// value that would lead the secret to a host, or a parent, that it was not entered
// for.
func (c *Catalog) Push(ctx context.Context, ref realm.Ref, field string, value realm.Hidden, life time.Duration) (tokenstore.PushedValue, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout) // for all uses of the store
	defer cancel()
	r, err := c.Realm(ctx, ref.Realm)
	if err != nil {
		return tokenstore.PushedValue{}, err
	}
	s, err := c.ownSecret(ctx, r, ref)
	if err != nil {
		return tokenstore.PushedValue{}, err
	}
	if err := r.checkPush(s, field, value, life); err != nil {
		return tokenstore.PushedValue{}, err
	}
	if err := c.cache.open(ctx); err != nil {
		return tokenstore.PushedValue{}, StoreError(err)
	}
	saved, err := c.cache.store.Push(ctx, ref, field, value, life)
	if err != nil {
		return tokenstore.PushedValue{}, changeError(err)
	}
	c.cache.changed(Change{Ref: ref, Event: Pushed})
	return saved, nil
}

// checkPush refuses what may not be pushed to a secret. Its errors name the
// members of the request.
func (r *Realm) checkPush(s realm.Secret, field string, value realm.Hidden, life time.Duration) error {
	switch {
	case !slices.Contains(r.Config.Volatile, field):
		return r.notVolatile(s)
	case value == "":
		return realm.Fieldf("value", "is required")
	case value == realm.Mask:
		return realm.Fieldf("value", "is the mask, and no value")
	case life < 0 || life > realm.MaxLifetime:
		return realm.Fieldf("expires_in", "must be 1 to %d seconds; leave it out for a value without an end", int64(realm.MaxLifetime/time.Second))
	}
	// A value that stands in the URL of a host must not lead the others elsewhere,
	// and none chooses a parent: nobody asked whether its token may be used.
	known := slices.Concat(s.Hosts, namesOf(r.boundTo(s)))
	s.Fields = mergeFields(s.Fields, map[string]*realm.Hidden{field: &value})
	var fault *realm.FieldError
	if err := cmp.Or(s.Validate(), r.Program.CheckSecret(s)); errors.As(err, &fault) {
		return realm.Fieldf("value", "%s", fault.Reason)
	} else if err != nil {
		return err
	}
	if _, isNew := firstNew(known, r.Program.ParentHosts(s)); isNew {
		return &realm.Error{
			Code: realm.CodeHostNotAllowed, Status: http.StatusConflict,
			Detail: "a value that is pushed cannot name another parent: save the secret with its field " + grant.ParentField,
		}
	}
	if host, isNew := firstNew(known, r.Program.Hosts(s)); isNew {
		return notEnteredFor("the secret was", host, "a value that is pushed cannot name another one")
	}
	return nil
}

// notVolatile is the error of a push to another field.
func (r *Realm) notVolatile(s realm.Secret) error {
	list := ": " + strings.Join(r.Config.Volatile, ", ")
	if len(r.Config.Volatile) == 0 {
		list = "; the realm has no volatile fields"
	}
	if s.Defined {
		return &realm.Error{
			Code: realm.CodeReadOnly, Status: http.StatusConflict,
			Detail: "the secret is defined in the Caddyfile, and only volatile fields are pushed to it" + list,
		}
	}
	return realm.Fieldf("field", "is none of the realm's volatile fields%s", list)
}

// layPushed lays what was pushed to a secret over its own fields, until it ends.
// A row that is damaged counts as no value: it must not keep anybody from a token
// that lives.
func (c *Catalog) layPushed(ctx context.Context, r *Realm, s realm.Secret) (realm.Secret, error) {
	pushed, err := c.cache.loadPushed(ctx, s)
	if err != nil && !isDamaged(err) {
		if !tokenstore.IsUnavailable(err) || r.lacksVolatile(s) {
			return s, StoreError(err)
		}
		return s, nil
	}
	fields := make(map[string]realm.Hidden, len(s.Fields)+len(pushed.Fields))
	maps.Copy(fields, s.Fields)
	for _, name := range r.Config.Volatile {
		if v, ok := pushed.Fields[name]; ok && !v.HasEnded(pushed.Now) {
			fields[name] = v.Value
		}
	}
	s.Fields = fields
	return s, nil
}

// lacksVolatile reports whether the secret itself has no value of a volatile
// field, so that one has to be pushed.
func (r *Realm) lacksVolatile(s realm.Secret) bool {
	return slices.ContainsFunc(r.Config.Volatile, func(name string) bool { _, ok := s.Fields[name]; return !ok })
}

// loadPushed reads what was pushed to a secret, and remembers it. While the store
// cannot be used, what was read last is good, as long as it lives and the secret is
// the same.
func (c *Cache) loadPushed(ctx context.Context, s realm.Secret) (tokenstore.Pushed, error) {
	ctx, cancel, err := c.begin(ctx)
	defer cancel()
	var p tokenstore.Pushed
	if err == nil {
		p, err = c.store.Pushed(ctx, s.Ref)
	}
	if err != nil {
		if old, ok := c.pushed.find(s.Ref); ok && old.writtenAt.Equal(s.UpdatedAt) && tokenstore.IsUnavailable(err) {
			old.Now = old.Now.Add(c.now().Sub(old.at))
			return old.Pushed, nil
		}
		return p, err
	}
	c.pushed.keep(s.Ref, readPushed{p, c.now(), s.UpdatedAt})
	return p, nil
}
