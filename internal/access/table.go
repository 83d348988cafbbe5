package access

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// table is a set of clients, found by what identifies them. It never changes: a
// change makes another one, and a pointer goes from one to the other. So a
// request needs no lock, and sees all of a change or nothing of it.
//
// What an identity is found by leads to a Client of its own, which knows when it
// expires and whether it has ended. So nothing has to be made for a request.
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
		sources: maps.Clone(t.sources),
	}
}

// born returns the life of an identity that gets into a table.
type born func(by identity, expires int64) *life

// add adds a client with its identities. One that another client has, too, is
// the new one's from now on: stores refuse that, so that the other one has lost
// it, and this node has not heard of that yet.
func (t *table) add(p *policy, life born) {
	c := &p.written
	t.policies[c.ID] = p
	end := unixNano(c.ExpiresAt)
	for _, k := range c.Keys {
		addTo(t.keys, k.Digest, p, identity{c.ID, byKey, string(k.Digest[:])}, earlier(end, unixNano(k.ExpiresAt)), life)
	}
	for _, subject := range c.Subjects {
		addTo(t.subjects, subject, p, identity{c.ID, bySubject, subject}, end, life)
	}
	for _, user := range c.Users {
		addTo(t.users, user, p, identity{c.ID, byUser, user}, end, life)
	}
	for _, source := range c.Sources {
		if prefix, err := parseSource(source); err == nil {
			addTo(t.sources, prefix, p, identity{c.ID, bySource, prefix.String()}, end, life)
		}
	}
}

func addTo[K comparable](m map[K]*Client, key K, p *policy, by identity, expires int64, life born) {
	face := &Client{policy: p, by: by, expires: expires, life: life(by, expires)}
	m[key] = face
	p.faces = append(p.faces, face)
}

// adopt adds a client as it was in another table, with the same lives: nothing
// about it has changed.
func (t *table) adopt(p *policy) {
	t.policies[p.written.ID] = p
	for _, face := range p.faces {
		switch face.by.kind {
		case byKey:
			t.keys[tokenstore.KeyDigest([]byte(face.by.value))] = face
		case bySubject:
			t.subjects[face.by.value] = face
		case byUser:
			t.users[face.by.value] = face
		case bySource:
			t.sources[netip.MustParsePrefix(face.by.value)] = face
		}
	}
}

// remove removes a client with its identities, but for those that are another
// one's by now (see add). Otherwise a late notice about the client that lost a
// user would take him from the client that got him.
func (t *table) remove(id string) {
	p := t.policies[id]
	if p == nil {
		return
	}
	delete(t.policies, id)
	for _, face := range p.faces {
		switch face.by.kind {
		case byKey:
			removeFrom(t.keys, tokenstore.KeyDigest([]byte(face.by.value)), face)
		case bySubject:
			removeFrom(t.subjects, face.by.value, face)
		case byUser:
			removeFrom(t.users, face.by.value, face)
		case bySource:
			removeFrom(t.sources, netip.MustParsePrefix(face.by.value), face)
		}
	}
}

func removeFrom[K comparable](m map[K]*Client, key K, face *Client) {
	if m[key] == face {
		delete(m, key)
	}
}

// index makes the table ready for use.
func (t *table) index() *table {
	t.prefixes = newPrefixes(slices.Collect(maps.Keys(t.sources)))
	return t
}

// earlier is the earlier of two times of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
