package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// memory is a database within this process, for the model, which needs
// thousands of transactions in a second. It passes the suite of all stores,
// but for what is about sealing: it writes nothing down.
type memory struct {
	now func() time.Time
	// committed is told of every transaction that Coordinate wrote, before
	// anybody can read what it wrote, and whether it concluded that a person
	// has to authorize again; nil for nobody.
	committed func(ref realm.Ref, before, after tokenstore.State, lapses bool)
	// took is told of every authorization that was taken; nil for nobody.
	took func(tokenstore.Authorization)

	mu       sync.Mutex
	lapses   bool      // the transaction that runs has called lapsing
	stamp    time.Time // of the last realm or secret: no two have the same
	realms   map[string]realm.Realm
	secrets  map[realm.Ref]realm.Secret
	pushed   map[realm.Ref]map[string]tokenstore.PushedValue
	tokens   map[realm.Ref]memoryToken
	attempts map[realm.Ref]tokenstore.Claim
	budgets  map[string]tokenstore.Budget
	runs     map[string]bool
	changes  []tokenstore.Change

	authorizations map[tokenstore.StateHash]tokenstore.Authorization
	superseded     map[tokenstore.StateHash]bool // by a newer link
	companies      map[string]tokenstore.Company
	company        int64 // the last id

	clients         map[string]tokenstore.Client
	clientsRequired bool
}

// memoryToken is a token, or how far the lineage of a deleted one had counted.
type memoryToken struct {
	realm.Token
	deleted bool
}

func newMemory(now func() time.Time) *memory {
	return &memory{
		now: now, realms: map[string]realm.Realm{}, secrets: map[realm.Ref]realm.Secret{}, pushed: map[realm.Ref]map[string]tokenstore.PushedValue{}, tokens: map[realm.Ref]memoryToken{},
		attempts: map[realm.Ref]tokenstore.Claim{}, budgets: map[string]tokenstore.Budget{}, runs: map[string]bool{},
		authorizations: map[tokenstore.StateHash]tokenstore.Authorization{}, superseded: map[tokenstore.StateHash]bool{}, companies: map[string]tokenstore.Company{},
		clients: map[string]tokenstore.Client{},
	}
}

// TestMemoryStore: the model's store is no fiction.
func TestMemoryStore(t *testing.T) {
	storetest.Run(t, storetest.Backend{Shared: true, Unsealed: true, Fresh: func(*testing.T) storetest.Database {
		db := newMemory(time.Now)
		return storetest.Database{Handle: func(*testing.T, *tokenstore.Keyring) tokenstore.Store { return &memoryStore{db: db} }}
	}})
}

// memoryStore is a handle of a memory.
type memoryStore struct {
	noAudit

	db *memory
	// around lets a test harm a transaction of Coordinate, or of an
	// authorization; nil for none.
	around func(ctx context.Context, ref realm.Ref, run func(context.Context) error) error
	// fails is asked before everything else; nil for never.
	fails func() error

	mu           sync.Mutex
	open, closed bool
}

var _ tokenstore.ChangeFeed = (*memoryStore)(nil)

func (s *memoryStore) Open(ctx context.Context) error {
	s.mu.Lock()
	s.open = !s.closed
	s.mu.Unlock()
	return s.Ping(ctx)
}

func (s *memoryStore) Ping(ctx context.Context) error { return s.usable(ctx) }

func (s *memoryStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open, s.closed = false, true
	return nil
}

func (s *memoryStore) usable(ctx context.Context) error {
	s.mu.Lock()
	open := s.open
	s.mu.Unlock()
	if !open {
		return tokenstore.ErrUnavailable
	}
	if s.fails != nil {
		if err := s.fails(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// locked runs f alone, if the handle can be used.
func (s *memoryStore) locked(ctx context.Context, f func(*memory) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	return f(s.db)
}

func (s *memoryStore) Realm(ctx context.Context, id string) (r realm.Realm, err error) {
	err = s.locked(ctx, func(m *memory) error {
		var ok bool
		if r, ok = m.realms[id]; !ok {
			return tokenstore.ErrRealmNotFound
		}
		r.Config.Shared = maps.Clone(r.Config.Shared)
		return nil
	})
	return r, err
}

func (s *memoryStore) Realms(ctx context.Context, page tokenstore.Page, f tokenstore.RealmFilter) (list []realm.Realm, total int, err error) {
	err = s.locked(ctx, func(m *memory) error {
		for _, r := range m.realms {
			if strings.Contains(strings.ToLower(r.ID+"\x00"+r.Comment), strings.ToLower(f.Keyword)) && (f.Keep == nil || f.Keep(r.ID)) {
				list = append(list, r)
			}
		}
		slices.SortFunc(list, func(a, b realm.Realm) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
		list, total = pageOf(list, page), len(list)
		return nil
	})
	return list, total, err
}

func pageOf[T any](list []T, p tokenstore.Page) []T {
	from := len(list)
	if p.Number-1 <= len(list)/p.Size {
		from = min((p.Number-1)*p.Size, len(list))
	}
	return list[from:min(from+p.Size, len(list))]
}

func (s *memoryStore) UpdateRealm(ctx context.Context, id string, change func(realm.Realm, bool) (realm.Realm, error)) (saved realm.Realm, err error) {
	err = s.locked(ctx, func(m *memory) error {
		old, found := m.realms[id]
		now := m.tick()
		created := old.CreatedAt
		if !found {
			for other := range m.realms {
				if strings.EqualFold(other, id) {
					return &tokenstore.TwinError{Other: other}
				}
			}
			created = now
		}
		old.ID, old.Config.Shared = id, maps.Clone(old.Config.Shared)
		r, err := change(old, found)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		r.ID, r.CreatedAt, r.UpdatedAt = id, created, now
		m.realms[id], saved = r, r
		m.changed(realm.Ref{Realm: id})
		return nil
	})
	return saved, err
}

// tick is the time of a write.
func (m *memory) tick() time.Time {
	now := microsOf(m.now())
	if !now.After(m.stamp) {
		now = m.stamp.Add(time.Microsecond)
	}
	m.stamp = now
	return now
}

func (m *memory) changed(ref realm.Ref) {
	m.changes = append(m.changes, tokenstore.Change{Ref: ref, At: m.now()})
}

func (s *memoryStore) DeleteRealm(ctx context.Context, id string, cascade bool) error {
	return s.locked(ctx, func(m *memory) error {
		if _, ok := m.realms[id]; !ok {
			return tokenstore.ErrRealmNotFound
		}
		for ref := range m.secrets {
			if ref.Realm == id && !cascade {
				return tokenstore.ErrRealmHasSecrets
			}
		}
		delete(m.realms, id)
		delete(m.budgets, id)
		m.dropAuthorizations(func(ref realm.Ref) bool { return ref.Realm == id })
		of := func(ref realm.Ref) bool { return ref.Realm == id }
		maps.DeleteFunc(m.pushed, func(ref realm.Ref, _ map[string]tokenstore.PushedValue) bool { return of(ref) })
		m.changed(realm.Ref{Realm: id})
		if !cascade {
			return nil
		}
		maps.DeleteFunc(m.secrets, func(ref realm.Ref, _ realm.Secret) bool { return of(ref) })
		maps.DeleteFunc(m.attempts, func(ref realm.Ref, _ tokenstore.Claim) bool { return of(ref) })
		for ref := range m.tokens {
			if of(ref) {
				m.clear(ref)
			}
		}
		return nil
	})
}

// clear removes a token and keeps its lineage.
func (m *memory) clear(ref realm.Ref) {
	if old, ok := m.tokens[ref]; ok {
		m.tokens[ref] = memoryToken{Token: realm.Token{Lineage: old.Lineage}, deleted: true}
	}
}

// token is the stored token of a reference; the zero one where there is none.
func (m *memory) token(ref realm.Ref) realm.Token {
	if t := m.tokens[ref]; !t.deleted {
		return t.Token
	}
	return realm.Token{}
}

// put saves a token with the next lineage.
func (m *memory) put(ref realm.Ref, t realm.Token) realm.Token {
	t.Lineage = m.tokens[ref].Lineage + 1
	m.tokens[ref] = memoryToken{Token: microToken(t)}
	return m.tokens[ref].Token
}

func (s *memoryStore) Secret(ctx context.Context, ref realm.Ref) (secret realm.Secret, err error) {
	err = s.locked(ctx, func(m *memory) error {
		var ok bool
		if secret, ok = m.secrets[ref]; !ok {
			return tokenstore.ErrSecretNotFound
		}
		secret.Fields = maps.Clone(secret.Fields)
		return nil
	})
	return secret, err
}

func (s *memoryStore) Secrets(ctx context.Context, page tokenstore.Page, f tokenstore.SecretFilter) (list []realm.Secret, total int, err error) {
	err = s.locked(ctx, func(m *memory) error {
		for ref, secret := range m.secrets {
			if (f.Realm == "" || ref.Realm == f.Realm) && (f.Keep == nil || f.Keep(ref)) {
				list = append(list, secret)
			}
		}
		slices.SortFunc(list, func(a, b realm.Secret) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
		list, total = pageOf(list, page), len(list)
		return nil
	})
	return list, total, err
}

func (s *memoryStore) CountSecrets(ctx context.Context, realms []string, keep func(realm.Ref) bool) (map[string]int, error) {
	counts := map[string]int{}
	err := s.locked(ctx, func(m *memory) error {
		for ref := range m.secrets {
			if slices.Contains(realms, ref.Realm) && (keep == nil || keep(ref)) {
				counts[ref.Realm]++
			}
		}
		return nil
	})
	return counts, err
}

func (s *memoryStore) UpdateSecret(ctx context.Context, ref realm.Ref, change func(realm.Secret, bool) (realm.Secret, tokenstore.TokenChange, error)) (saved realm.Secret, err error) {
	err = s.locked(ctx, func(m *memory) error {
		old, found := m.secrets[ref]
		now := m.tick()
		created := old.CreatedAt
		if !found {
			for other := range m.secrets {
				if other.Realm == ref.Realm && strings.EqualFold(other.Key, ref.Key) {
					return &tokenstore.TwinError{Other: other.Key}
				}
			}
			created = now
		}
		old.Ref, old.Fields = ref, maps.Clone(old.Fields)
		secret, token, err := change(old, found)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		secret.Ref, secret.CreatedAt, secret.UpdatedAt = ref, created, now
		m.secrets[ref], saved = secret, secret
		if token.DropPushed || !found {
			delete(m.pushed, ref)
		}
		m.changeToken(ref, token)
		m.changed(ref)
		return nil
	})
	return saved, err
}

// changeToken does to a token what an update of its secret asks for.
func (m *memory) changeToken(ref realm.Ref, c tokenstore.TokenChange) {
	if a, ok := m.attempts[ref]; ok && c.DropRefresh {
		a.Candidates, a.Dropped = nil, cmp.Or(a.ID, a.Dropped)
		m.attempts[ref] = a
	}
	t := m.token(ref)
	lineage := t.Lineage
	t = c.Apply(t)
	switch {
	case c.Set != nil:
		m.put(ref, t)
		return
	case lineage == 0:
		return
	}
	m.tokens[ref] = memoryToken{Token: t}
	if t.Access == "" && t.Refresh == "" {
		m.clear(ref)
	}
}

func (s *memoryStore) DeleteSecret(ctx context.Context, ref realm.Ref) error {
	return s.locked(ctx, func(m *memory) error {
		if _, ok := m.secrets[ref]; !ok {
			return tokenstore.ErrSecretNotFound
		}
		delete(m.secrets, ref)
		delete(m.pushed, ref)
		delete(m.attempts, ref)
		m.dropAuthorizations(func(r realm.Ref) bool { return r == ref })
		m.clear(ref)
		m.changed(ref)
		return nil
	})
}

func (s *memoryStore) Pushed(ctx context.Context, ref realm.Ref) (p tokenstore.Pushed, err error) {
	err = s.locked(ctx, func(m *memory) error {
		p = tokenstore.Pushed{Fields: maps.Clone(m.pushed[ref]), Now: m.now()}
		return nil
	})
	return p, err
}

func (s *memoryStore) Push(ctx context.Context, ref realm.Ref, field string, value realm.Hidden, life time.Duration) (v tokenstore.PushedValue, err error) {
	err = s.locked(ctx, func(m *memory) error {
		v = tokenstore.PushedValue{Value: value, UpdatedAt: m.now().UTC().Truncate(time.Microsecond)}
		if life > 0 {
			v.ExpiresAt = v.UpdatedAt.Add(life)
		}
		if m.pushed[ref] == nil {
			m.pushed[ref] = map[string]tokenstore.PushedValue{}
		}
		m.pushed[ref][field] = v
		m.changed(ref)
		return nil
	})
	return v, err
}

func (s *memoryStore) Token(ctx context.Context, ref realm.Ref) (t realm.Token, source realm.Source, err error) {
	err = s.locked(ctx, func(m *memory) error {
		if t, source = m.token(ref), realm.FromDatabase; t.Lineage == 0 {
			return tokenstore.ErrTokenNotFound
		}
		return nil
	})
	return t, source, err
}

func (s *memoryStore) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (state tokenstore.State, err error) {
	run := func(ctx context.Context) error {
		return s.locked(ctx, func(m *memory) error {
			tokenstore.Queued(ctx) // whoever comes now waits for the lock
			state, err = m.coordinate(ref, decide)
			return err
		})
	}
	if err = s.harmed(ctx, ref, run); err != nil {
		return tokenstore.State{}, err
	}
	return state, nil
}

func (s *memoryStore) harmed(ctx context.Context, ref realm.Ref, run func(context.Context) error) error {
	if s.around == nil {
		return run(ctx)
	}
	return s.around(ctx, ref, run)
}

func (m *memory) coordinate(ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	before, after := m.state(ref), m.state(ref)
	m.lapses = false
	if err := decide(&after); err != nil {
		return after, err
	}
	after.Now, after.Token, after.Open = before.Now, before.Token, before.Open
	after.Claim, after.Budget = microAttempt(after.Claim), microBudget(after.Budget)
	m.attempts[ref], m.budgets[ref.Realm] = after.Claim, after.Budget
	if after.Save != nil {
		after.Token, after.Save = m.put(ref, *after.Save), nil
		m.changed(ref)
	}
	if m.committed != nil {
		m.committed(ref, before, after, m.lapses)
	}
	after.Claim, after.Budget = microAttempt(after.Claim), microBudget(after.Budget)
	return after, nil
}

// state is a copy of all that the nodes share about a reference.
func (m *memory) state(ref realm.Ref) tokenstore.State {
	s := tokenstore.State{
		Now: microsOf(m.now()), Token: m.token(ref),
		Claim: microAttempt(m.attempts[ref]), Budget: microBudget(m.budgets[ref.Realm]),
	}
	for other, a := range m.attempts {
		if other.Realm == ref.Realm && other != ref && a.Phase == tokenstore.PhaseCalling && a.Deadline.After(s.Now) &&
			a.Deadline.Before(s.Now.Add(10*time.Minute)) {
			s.Open++
		}
	}
	return s
}

// lapsing is for Pool.concluded, which is called within a transaction.
func (m *memory) lapsing(realm.Ref) { m.lapses = true }

func (s *memoryStore) Peek(ctx context.Context, ref realm.Ref) (state tokenstore.State, err error) {
	err = s.locked(ctx, func(m *memory) error { state = m.state(ref); return nil })
	return state, err
}

func (s *memoryStore) Once(ctx context.Context, name string, at time.Time) (ours bool, err error) {
	err = s.locked(ctx, func(m *memory) error {
		run := fmt.Sprint(at.UnixMicro(), " ", name)
		ours, m.runs[run] = !m.runs[run], true
		return nil
	})
	return ours, err
}

func (s *memoryStore) BeginAuthorization(ctx context.Context, a tokenstore.Authorization, life time.Duration) error {
	return s.harmed(ctx, a.Ref, func(ctx context.Context) error {
		return s.locked(ctx, func(m *memory) error {
			a.ExpiresAt = microsOf(m.now().Add(min(life, tokenstore.MaxAuthorizationLife)))
			for state, other := range m.authorizations {
				if isByPerson(a) && isByPerson(other) && other.Ref == a.Ref {
					delete(m.authorizations, state)
					m.superseded[state] = true
				}
			}
			m.authorizations[a.State] = a
			return nil
		})
	})
}

func (s *memoryStore) TakeAuthorization(ctx context.Context, state tokenstore.StateHash) (taken tokenstore.Authorization, err error) {
	err = s.harmed(ctx, realm.Ref{}, func(ctx context.Context) error {
		return s.locked(ctx, func(m *memory) error {
			a := m.authorizations[state]
			delete(m.authorizations, state)
			if !a.ExpiresAt.After(m.now()) {
				return tokenstore.ErrAuthorizationNotFound
			}
			if taken = a; m.took != nil {
				m.took(a)
			}
			return nil
		})
	})
	if err != nil {
		return tokenstore.Authorization{}, err
	}
	return taken, nil
}

func (m *memory) dropAuthorizations(of func(realm.Ref) bool) {
	maps.DeleteFunc(m.authorizations, func(_ tokenstore.StateHash, a tokenstore.Authorization) bool { return of(a.Ref) })
}

func (s *memoryStore) Company(ctx context.Context, taxpayerID string) (c tokenstore.Company, err error) {
	err = s.locked(ctx, func(m *memory) error {
		var ok bool
		if c, ok = m.companies[taxpayerID]; !ok {
			return tokenstore.ErrCompanyNotFound
		}
		c.Accounts = maps.Clone(c.Accounts)
		return nil
	})
	return c, err
}

func (s *memoryStore) Companies(ctx context.Context, page tokenstore.Page, keyword string) (list []tokenstore.Company, total int, err error) {
	err = s.locked(ctx, func(m *memory) error {
		for _, c := range m.companies {
			if strings.Contains(strings.ToLower(c.TaxpayerID+"\x00"+c.Name), strings.ToLower(keyword)) {
				c.Accounts = maps.Clone(c.Accounts)
				list = append(list, c)
			}
		}
		slices.SortFunc(list, func(a, b tokenstore.Company) int { return b.UpdatedAt.Compare(a.UpdatedAt) })
		list, total = pageOf(list, page), len(list)
		return nil
	})
	return list, total, err
}

func (s *memoryStore) UpdateCompany(ctx context.Context, taxpayerID string, change func(tokenstore.Company, bool) (tokenstore.Company, error)) (saved tokenstore.Company, err error) {
	err = s.locked(ctx, func(m *memory) error {
		old, found := m.companies[taxpayerID]
		now := m.tick()
		id, created := old.ID, old.CreatedAt
		if !found {
			id, created = m.company+1, now
		}
		old.TaxpayerID, old.Accounts = taxpayerID, maps.Clone(old.Accounts)
		c, err := change(old, found)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if c.Accounts = maps.Clone(c.Accounts); len(c.Accounts) == 0 {
			c.Accounts = nil
		}
		c.ID, c.TaxpayerID, c.CreatedAt, c.UpdatedAt = id, taxpayerID, created, now
		m.companies[taxpayerID], m.company, saved = c, max(id, m.company), c
		return nil
	})
	return saved, err
}

func (s *memoryStore) DeleteCompany(ctx context.Context, taxpayerID string) error {
	return s.locked(ctx, func(m *memory) error {
		if _, ok := m.companies[taxpayerID]; !ok {
			return tokenstore.ErrCompanyNotFound
		}
		delete(m.companies, taxpayerID)
		return nil
	})
}

func (s *memoryStore) Client(ctx context.Context, id string) (c tokenstore.Client, err error) {
	err = s.locked(ctx, func(m *memory) error {
		var ok bool
		if c, ok = m.clients[id]; !ok {
			return tokenstore.ErrClientNotFound
		}
		c = microClient(c)
		return nil
	})
	return c, err
}

func (s *memoryStore) Clients(ctx context.Context) (list []tokenstore.Client, required bool, err error) {
	err = s.locked(ctx, func(m *memory) error {
		for _, id := range slices.Sorted(maps.Keys(m.clients)) {
			list = append(list, microClient(m.clients[id]))
		}
		required = m.clientsRequired
		return nil
	})
	return list, required, err
}

func (s *memoryStore) UpdateClient(ctx context.Context, id string, change func(tokenstore.Client, bool) (tokenstore.Client, error)) (saved tokenstore.Client, err error) {
	err = s.locked(ctx, func(m *memory) error {
		old, found := m.clients[id]
		now, created, used := m.tick(), old.CreatedAt, old.UsedAt
		if !found {
			created = now
		}
		old = microClient(old)
		old.ID = id
		c, err := change(old, found)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		c.ID, c.CreatedAt, c.UpdatedAt, c.UsedAt, c.Damaged = id, created, now, used, false
		for _, other := range m.clients {
			if field := sharedIdentity(c, other); field != "" && other.ID != id {
				return &tokenstore.IdentityTakenError{Field: field, Client: other.ID}
			}
		}
		saved = microClient(c)
		m.clients[id], m.clientsRequired = microClient(c), true
		m.changes = append(m.changes, tokenstore.Change{Client: id, At: m.now()})
		return nil
	})
	return saved, err
}

// sharedIdentity names the field of what tells two clients alike.
func sharedIdentity(a, b tokenstore.Client) string {
	both := func(a, b []string) bool {
		return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
	}
	hasKey := func(key tokenstore.ClientKey) bool {
		return slices.ContainsFunc(b.Keys, func(other tokenstore.ClientKey) bool { return other.Digest == key.Digest })
	}
	switch {
	case slices.ContainsFunc(a.Keys, hasKey):
		return "keys"
	case both(a.Users, b.Users):
		return "users"
	case both(a.Subjects, b.Subjects):
		return "subjects"
	case both(a.Sources, b.Sources):
		return "sources"
	}
	return ""
}

func (s *memoryStore) DeleteClient(ctx context.Context, id string) error {
	return s.locked(ctx, func(m *memory) error {
		if _, ok := m.clients[id]; !ok {
			return tokenstore.ErrClientNotFound
		}
		delete(m.clients, id)
		m.changes = append(m.changes, tokenstore.Change{Client: id, At: m.now()})
		return nil
	})
}

func (s *memoryStore) RequireClients(ctx context.Context) error {
	return s.locked(ctx, func(m *memory) error {
		if !m.clientsRequired {
			m.changes = append(m.changes, tokenstore.Change{At: m.now()})
		}
		m.clientsRequired = true
		return nil
	})
}

func (s *memoryStore) ClientsUsed(ctx context.Context, at map[string]time.Time) error {
	return s.locked(ctx, func(m *memory) error {
		for id, t := range at {
			c, ok := m.clients[id]
			if hour := t.UTC().Truncate(time.Hour); ok && hour.After(c.UsedAt) {
				c.UsedAt = hour
				m.clients[id] = c
			}
		}
		return nil
	})
}

var errForeignCursor = errors.New("is not a cursor of this store")

func (s *memoryStore) Changes(ctx context.Context, since string) (list []tokenstore.Change, next string, err error) {
	err = s.locked(ctx, func(m *memory) error {
		from := len(m.changes)
		if since != "" {
			n, err := strconv.Atoi(since)
			if err != nil || n > from {
				return errForeignCursor
			}
			from = n
		}
		list, next = slices.Clone(m.changes[from:]), strconv.Itoa(len(m.changes))
		return nil
	})
	return list, next, err
}

// microsOf is a time as databases keep it.
func microsOf(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

func microToken(t realm.Token) realm.Token {
	t.IssuedAt, t.ExpiresAt, t.RefreshExpiresAt = microsOf(t.IssuedAt), microsOf(t.ExpiresAt), microsOf(t.RefreshExpiresAt)
	return t
}

// microClient is a client that shares nothing with another one.
func microClient(c tokenstore.Client) tokenstore.Client {
	c.Rules, c.Keys = slices.Clone(c.Rules), slices.Clone(c.Keys)
	c.Users, c.Subjects, c.Sources = slices.Clone(c.Users), slices.Clone(c.Subjects), slices.Clone(c.Sources)
	c.ExpiresAt = microsOf(c.ExpiresAt)
	for i, key := range c.Keys {
		c.Keys[i].CreatedAt, c.Keys[i].ExpiresAt = microsOf(key.CreatedAt), microsOf(key.ExpiresAt)
	}
	return c
}

func microTrouble(t tokenstore.Failure) tokenstore.Failure {
	t.At, t.Until = microsOf(t.At), microsOf(t.Until)
	return t
}

func microAttempt(a tokenstore.Claim) tokenstore.Claim {
	a.Started, a.Deadline, a.Doubt.At = microsOf(a.Started), microsOf(a.Deadline), microsOf(a.Doubt.At)
	a.Failure, a.Settled, a.Candidates = microTrouble(a.Failure), slices.Clone(a.Settled), slices.Clone(a.Candidates)
	for i, t := range a.Candidates {
		a.Candidates[i] = microToken(t)
	}
	return a
}

func microBudget(b tokenstore.Budget) tokenstore.Budget {
	b.Failure, b.Windows = microTrouble(b.Failure), slices.Clone(b.Windows)
	for i, w := range b.Windows {
		calls := slices.Clone(w.Calls)
		for j, c := range calls {
			calls[j].First, calls[j].Last = microsOf(c.First), microsOf(c.Last)
		}
		b.Windows[i].Calls = calls
	}
	return b
}
