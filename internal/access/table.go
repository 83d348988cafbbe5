package access

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// table is a set of clients, found by what identifies them. It never changes: a
// change makes another one.
type table struct {
	// loaded: it is what the store said, and not the empty one of the start.
	loaded   bool
	policies map[string]*policy
	keys     map[tokenstore.KeyDigest]*Client
	subjects map[string]*Client
	users    map[string]*Client
	sources  map[netip.Prefix]*Client
	// prefixes are those of sources, for finding the longest one.
	prefixes prefixes
}

func newTable() *table {
	return &table{
		policies: make(map[string]*policy),
		keys:     make(map[tokenstore.KeyDigest]*Client),
		subjects: make(map[string]*Client),
		users:    make(map[string]*Client),
		sources:  make(map[netip.Prefix]*Client),
	}
}

// clone copies the maps of a table that is about to be changed.
func (t *table) clone() *table {
	return &table{
		loaded: t.loaded, policies: maps.Clone(t.policies),
		keys: maps.Clone(t.keys), subjects: maps.Clone(t.subjects), users: maps.Clone(t.users),
		sources: maps.Clone(t.sources), prefixes: t.prefixes,
	}
}

// add adds the identities of a client. Those that another client has, too, stay
// his: stores refuse that, so that it can only be an old fault.
func (t *table) add(p *policy, born func(i identity, expires int64) *life) {
	c := &p.written
	t.policies[c.ID] = p
	end := unixNano(c.ExpiresAt)
	for _, k := range c.Keys {
		expires := earlier(end, unixNano(k.ExpiresAt))
		addTo(t.keys, k.Digest, p, identity{c.ID, byKey, string(k.Digest[:])}, expires, born)
	}
	for _, s := range c.Subjects {
		addTo(t.subjects, s, p, identity{c.ID, bySubject, s}, end, born)
	}
	for _, u := range c.Users {
		addTo(t.users, u, p, identity{c.ID, byUser, u}, end, born)
	}
	for _, s := range c.Sources {
		if prefix, err := parseSource(s); err == nil {
			addTo(t.sources, prefix, p, identity{c.ID, bySource, prefix.String()}, end, born)
		}
	}
}

func addTo[K comparable](m map[K]*Client, key K, p *policy, i identity, expires int64, born func(identity, int64) *life) {
	if _, taken := m[key]; !taken {
		m[key] = &Client{policy: p, expires: expires, life: born(i, expires)}
	}
}

// remove removes a client with its identities.
func (t *table) remove(id string) {
	delete(t.policies, id)
	drop := func(c *Client) bool { return c.ID() == id }
	maps.DeleteFunc(t.keys, func(_ tokenstore.KeyDigest, c *Client) bool { return drop(c) })
	maps.DeleteFunc(t.subjects, func(_ string, c *Client) bool { return drop(c) })
	maps.DeleteFunc(t.users, func(_ string, c *Client) bool { return drop(c) })
	maps.DeleteFunc(t.sources, func(_ netip.Prefix, c *Client) bool { return drop(c) })
}

// lives are those of all identities.
func (t *table) lives() map[*life]bool {
	all := make(map[*life]bool)
	for _, l := range t.livesByIdentity() {
		all[l] = true
	}
	return all
}

func (t *table) livesByIdentity() map[identity]*life {
	all := make(map[identity]*life, len(t.keys)+len(t.subjects)+len(t.users)+len(t.sources))
	for digest, c := range t.keys {
		all[identity{c.ID(), byKey, string(digest[:])}] = c.life
	}
	for subject, c := range t.subjects {
		all[identity{c.ID(), bySubject, subject}] = c.life
	}
	for user, c := range t.users {
		all[identity{c.ID(), byUser, user}] = c.life
	}
	for prefix, c := range t.sources {
		all[identity{c.ID(), bySource, prefix.String()}] = c.life
	}
	return all
}

// index makes the table ready for use.
func (t *table) index() *table {
	t.prefixes = newPrefixes(slices.Collect(maps.Keys(t.sources)))
	return t
}

// identity names what a client is identified by.
type identity struct {
	client string
	kind   identityKind
	value  string
}

type identityKind uint8

const (
	byKey identityKind = iota
	bySubject
	byUser
	bySource
)

// earlier is the earlier of two times of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
