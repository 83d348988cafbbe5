package access

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Client is a client as one of its identities shows it: one of its keys, users,
// subjects or prefixes. It never changes but for what it counts; a change of the
// client makes new ones.
type Client struct {
	policy *policy
	by     identity
	life   *life
	// expires is the end of the identity or of the client, whichever is earlier,
	// in Unix nanoseconds; 0 for none.
	expires int64
}

// policy is what all identities of a client have in common.
type policy struct {
	written tokenstore.Client
	// compiled is nil until somebody asks: of ten thousand clients few may come.
	compiled atomic.Pointer[compilation]
	log      *zap.Logger
	// badLimits is what is wrong with the limits.
	badLimits   error
	concurrency int64
	requests    *bucket
	fetches     *bucket
	tally       *tally
	// faces are the client as each of its identities shows it.
	faces []*Client
}

// ID is the client's id.
func (c *Client) ID() string { return c.policy.written.ID }

// IsEdge reports whether the client is an instance that takes its tokens from
// this one.
func (c *Client) IsEdge() bool { return c.policy.written.Edge }

// Rules are the client's rules as they are written.
func (c *Client) Rules() []tokenstore.Rule { return slices.Clone(c.policy.written.Rules) }

// Decide answers a question by the client's rules. It does not allocate, but for
// the first one.
func (c *Client) Decide(q Question) Decision { return c.policy.compile().rules.decide(&q) }

// MayAny reports whether there is a method and a path for which the client has
// one of the rights to a secret. With an empty key it reports whether there may
// be such a secret in the realm.
func (c *Client) MayAny(rights Right, realmID, key string) bool {
	return c.policy.compile().rules.mayAny(rights, realmID, key)
}

// MaySomewhere reports whether one of the rights is allowed for anything at all,
// as far as no rule denies it.
func (c *Client) MaySomewhere(rights Right) bool {
	return c.policy.compile().rules.maySomewhere(rights)
}

// MayAll reports whether the client has each of the rights everywhere: by rules
// for the realm * and all keys, and with no rule that denies it to any. Without
// this, who may change clients could give himself what he lacks.
func (c *Client) MayAll(rights Right) bool { return c.policy.compile().rules.mayAll(rights) }

// Revoked is closed when what the client was identified by ends: the key was
// deleted, replaced or has expired, the client no longer has that user, subject
// or prefix, or the client itself is gone. Other changes of the client count
// from the next request on.
func (c *Client) Revoked() <-chan struct{} { return c.life.wait() }

// compilation is what becomes of the rules of a client as they are written.
type compilation struct {
	rules rules
	// invalid: the client cannot be understood, so that it has no right. A newer
	// version may have written it.
	invalid error
}

// compile compiles the rules, once.
func (p *policy) compile() *compilation {
	if r := p.compiled.Load(); r != nil {
		return r
	}
	list, err := compileRules(p.written.Rules)
	r := &compilation{rules: list, invalid: errors.Join(err, p.badLimits)}
	if r.invalid != nil {
		r.rules = rules{}
		p.log.Error("a stored client cannot be understood; it has no rights", zap.String("client", p.written.ID), zap.Error(r.invalid))
	}
	p.compiled.CompareAndSwap(nil, r)
	return p.compiled.Load()
}

// identity is one thing that a client is identified by.
type identity struct {
	client string
	kind   identityKind
	value  string // a subject or a user, the bytes of a digest, the text of a prefix
}

type identityKind uint8

const (
	byKey identityKind = iota
	bySubject
	byUser
	bySource
)

// isOver reports whether the identity has expired.
func (c *Client) isOver(now func() time.Time) bool {
	return c.expires != 0 && now().UnixNano() >= c.expires
}
