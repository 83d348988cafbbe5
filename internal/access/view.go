package access

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// ViewConfig is what a configuration says about clients.
type ViewConfig struct {
	// Clients are those of the Caddyfile. Their keys are digests, see
	// ParseWrittenKey.
	Clients []tokenstore.Client
	// Require: clients are required, whether there is one or not.
	Require bool
}

// View is a configuration's face of the registry. The clients of the
// configuration come first, and a stored one with the id of one of them does not
// count.
type View struct {
	registry *Registry
	own      *table
	order    []string // the ids of the own clients, as they are written
	require  bool
	release  sync.Once
}

// View makes a view. The error names the client and the field:
// "clients[2].rules[0].effect". A view is released with Close.
func (r *Registry) View(c ViewConfig) (*View, error) {
	v := &View{registry: r, own: newTable(), require: c.Require || len(c.Clients) > 0}
	// All clients are checked before any is registered, so that a configuration
	// that is refused leaves nothing behind.
	clients := make([]tokenstore.Client, len(c.Clients))
	seen := newTable()
	for i, client := range c.Clients {
		checked, err := checkDefined(client, seen)
		if err != nil {
			return nil, below(index("clients", i)+".", err)
		}
		clients[i] = checked
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, client := range clients {
		v.order = append(v.order, client.ID)
		v.own.add(r.newPolicyLocked(client), func(i identity, expires int64) *life {
			// The view of the configuration before this one may have the same
			// identity. They share its life, which ends with the last of them.
			d := r.defined[i]
			if d == nil {
				d = &definedLife{}
				r.defined[i] = d
			}
			d.views++
			d.life = r.carryOn(d.life, expires)
			return d.life
		})
	}
	v.own.index()
	return v, nil
}

// checkDefined checks a client of a Caddyfile, and that seen has none of what
// identifies it. seen has it afterwards.
func checkDefined(c tokenstore.Client, seen *table) (tokenstore.Client, error) {
	if err := Validate(c); err != nil {
		return c, err
	}
	if _, twice := seen.policies[c.ID]; twice {
		return c, realm.Fieldf("id", "two clients have the id %s", c.ID)
	}
	if len(c.Keys) > tokenstore.MaxClientKeys {
		return c, realm.Fieldf("keys", "has %d keys; %d is the limit", len(c.Keys), tokenstore.MaxClientKeys)
	}
	if !isIdentified(c) {
		return c, realm.Fieldf("keys", "the client has no key, user, subject or source, so that nobody would be this client")
	}
	c.Sources, _ = canonicalSources(c.Sources) // Validate has checked them
	if other, field := seen.collides(c); other != "" {
		return c, realm.Fieldf(field, "client %s has the same one", other)
	}
	seen.add(&policy{written: c}, func(identity, int64) *life { return nil })
	return c, nil
}

// isIdentified reports whether anybody can be the client.
func isIdentified(c tokenstore.Client) bool {
	return len(c.Keys)+len(c.Users)+len(c.Subjects)+len(c.Sources) > 0
}

// collides returns another client of the table that is identified by the same as
// c, and the field that says so; "" for none.
func (t *table) collides(c tokenstore.Client) (client, field string) {
	of := func(other *Client, name string) {
		if other != nil && other.ID() != c.ID && client == "" {
			client, field = other.ID(), name
		}
	}
	for _, k := range c.Keys {
		of(t.keys[k.Digest], "keys")
	}
	for _, u := range c.Users {
		of(t.users[u], "users")
	}
	for _, s := range c.Subjects {
		of(t.subjects[s], "subjects")
	}
	for _, s := range c.Sources {
		if prefix, err := parseSource(s); err == nil {
			of(t.sources[prefix], "sources")
		}
	}
	return client, field
}

// Start makes the view count: where it has clients or requires them, the store
// notes for ever that clients are required. It starts the registry, too.
func (v *View) Start() {
	if v.registry.store == nil {
		return
	}
	if v.require {
		v.registry.require()
	}
	v.registry.Start()
}

// Close releases the view: what no other view has of its clients ends.
func (v *View) Close() {
	v.release.Do(func() {
		r := v.registry
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range v.order {
			for _, face := range v.own.policies[id].faces {
				d := r.defined[face.by]
				if d.views--; d.views == 0 {
					d.life.end()
					delete(r.defined, face.by)
				}
			}
			r.releaseLocked(id)
		}
	})
}

// Required reports whether callers have to be clients: there has been one, the
// configuration says so, or nobody knows because the store has not answered yet.
func (v *View) Required() bool {
	return v.require || v.registry.required.Load() || !v.registry.stored.Load().loaded
}

// Shadowed are the ids of stored clients that do not count, because the
// configuration has a client of the same id.
func (v *View) Shadowed() []string {
	stored := v.registry.stored.Load()
	var ids []string
	for _, id := range v.order {
		if stored.policies[id] != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Current is a client as it is now, by what it was identified by; nil where that
// has ended. It is for whoever goes on for longer than a request does: the rights
// of a Client are those of the moment at which it was identified.
func (v *View) Current(c *Client) *Client {
	p := v.own.policies[c.ID()]
	if p == nil { // a stored client with the id of an own one does not count
		p = v.registry.stored.Load().policies[c.ID()]
	}
	if p == nil {
		return nil
	}
	for _, face := range p.faces {
		if face.by == c.by && !face.isOver(v.registry.now) {
			return face
		}
	}
	return nil
}

// Since is Registry.Since.
func (v *View) Since() time.Time { return v.registry.Since() }

// Ready is Registry.Ready.
func (v *View) Ready(ctx context.Context) error { return v.registry.Ready(ctx) }

// Unavailable is 503 store_unavailable while nobody knows the stored clients,
// nil afterwards. It is the refusal of a caller that is no client where clients
// are required: 403 would say more than is known.
func (v *View) Unavailable() *realm.Error {
	if v.registry.stored.Load().loaded {
		return nil
	}
	e := &realm.Error{
		Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable,
		Detail: "the clients are not known yet: the store has not answered", RetryAfter: time.Second,
	}
	if cause := v.registry.cause.Load(); cause != nil {
		e.Err = *cause
	}
	return e
}

// Identify returns the client that a caller is, nil for none. An API key comes
// first, then the subject, the user, and the longest prefix of the source.
//
// A key of ours that is mistyped, unknown or expired is 403 forbidden, whatever
// else the caller shows. What is no key is ignored. What is expired otherwise is
// as if it were not there. While the stored clients are not known, a caller that
// may be one of them gets 503 store_unavailable.
func (v *View) Identify(c Caller) (*Client, error) {
	// One table for all steps: with two, a user who goes from one client to
	// another could be found in neither.
	stored, now := v.registry.stored.Load(), v.registry.now
	if c.Key != "" {
		if client, err := v.identifyKey(stored, c.Key); client != nil || err != nil {
			return client, err
		}
	}
	if c.Subject != "" {
		if client := v.choose(v.own.subjects[c.Subject], stored.subjects[c.Subject], now); client != nil {
			return client, nil
		}
	}
	if c.User != "" {
		if client := v.choose(v.own.users[c.User], stored.users[c.User], now); client != nil {
			return client, nil
		}
	}
	if !stored.loaded && (c.Subject != "" || c.User != "") {
		return nil, v.Unavailable()
	}
	if c.Source.IsValid() && len(v.own.sources)+len(stored.sources) > 0 {
		return v.identifySource(stored, c.Source), nil
	}
	return nil, nil //nolint:nilnil // no client is no fault
}

// Why a key is refused, for logs. A caller is not told which.
var (
	errUnknownKey = errors.New("the API key is of no client")
	errExpiredKey = errors.New("the API key has expired")
)

// identifyKey returns the client of a key, nil without an error for what is no
// key. A text that is not of our form is compared by its digest, too: how long
// that takes tells nothing about how much of a key is right.
func (v *View) identifyKey(stored *table, key string) (*Client, error) {
	ours := IsKey(key)
	if ours {
		if err := CheckKey(key); err != nil {
			return nil, forbidden("the API key is mistyped: "+err.Error(), err)
		}
	} else if len(v.own.keys) == 0 || len(key) < minWrittenKey || len(key) > maxWrittenKey {
		return nil, nil //nolint:nilnil // it is no key
	}
	// Only keys of our form are stored, so that a password is never looked for
	// among them.
	digest := Digest(key)
	client := v.own.keys[digest]
	if client == nil && ours {
		client = v.visible(stored.keys[digest])
	}
	switch {
	case client != nil && !client.isOver(v.registry.now):
		return client, nil
	case client != nil:
		return nil, forbidden(badKey, errExpiredKey)
	case !ours:
		return nil, nil //nolint:nilnil // it is no key
	}
	if e := v.Unavailable(); e != nil {
		return nil, e
	}
	return nil, forbidden(badKey, errUnknownKey)
}

const badKey = "the API key is not valid"

func forbidden(detail string, cause error) *realm.Error {
	return &realm.Error{Code: realm.CodeForbidden, Status: http.StatusForbidden, Detail: detail, Err: cause}
}

// visible returns a stored client unless the configuration has one of its id.
// That one would be shown in its place, and the keys of the stored one would be
// good though nobody sees them.
func (v *View) visible(c *Client) *Client {
	if c != nil && len(v.order) > 0 && v.own.policies[c.ID()] != nil {
		return nil
	}
	return c
}

// ClientOfKey returns a client by its id, as the one of its keys shows it whose
// digest isKey knows; nil where the client is gone or expired, or no longer has
// that key. While the stored clients are not known, it is 503 store_unavailable.
func (v *View) ClientOfKey(id string, isKey func(digest []byte) bool) (*Client, error) {
	stored := v.registry.stored.Load()
	p := v.own.policies[id]
	if p == nil {
		p = stored.policies[id]
	}
	if p == nil {
		if e := v.Unavailable(); e != nil {
			return nil, e
		}
		return nil, nil //nolint:nilnil // no client is no fault
	}
	for _, face := range p.faces {
		if face.by.kind == byKey && isKey([]byte(face.by.value)) && !face.isOver(v.registry.now) {
			return face, nil
		}
	}
	return nil, nil //nolint:nilnil // no client is no fault
}

// choose returns the first client that has not expired.
func (v *View) choose(own, stored *Client, now func() time.Time) *Client {
	if own != nil && !own.isOver(now) {
		return own
	}
	if stored = v.visible(stored); stored != nil && !stored.isOver(now) {
		return stored
	}
	return nil
}

// identifySource finds the client of the longest prefix. Of equal ones, that of
// the configuration comes first.
func (v *View) identifySource(stored *table, source netip.Addr) *Client {
	// A socket for both kinds shows IPv4 within IPv6, and a link-local address
	// has a zone, which no prefix holds.
	source = source.Unmap().WithZone("")
	var found *Client
	longest := -1
	for prefix := range v.own.prefixes.each(source) {
		if c := v.own.sources[prefix]; !c.isOver(v.registry.now) {
			found, longest = c, prefix.Bits()
			break
		}
	}
	for prefix := range stored.prefixes.each(source) {
		if prefix.Bits() <= longest {
			break
		}
		if c := v.visible(stored.sources[prefix]); c != nil && !c.isOver(v.registry.now) {
			return c
		}
	}
	return found
}
