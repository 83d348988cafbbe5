package catalog

import (
	"context"
	"net/http"
	"reflect"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// compileUse compiles a realm of which the store knows only how its tokens are used.
// Errors are *realm.FieldError.
func compileUse(r realm.Realm) (*Realm, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	program, err := grant.CompileUse(r)
	return &Realm{Written: r, Config: r.Config, Program: program}, err
}

// Reread compares a realm that memory has with the store's, which is another
// instance, and drops it if that says something else. A realm that cannot be read
// now stays, and the error tells. Whoever asks at the same time waits for one answer.
func (c *Cache) Reread(ctx context.Context, id string) error {
	return c.once(ctx, question{id, true}, func(ctx context.Context) error {
		r, ok := c.realms.Load(id)
		if !ok {
			return nil
		}
		stored, err := c.store.Realm(ctx, id)
		switch {
		case tokenstore.IsUnavailable(err), IsPassing(err):
			return StoreError(err)
		case err == nil && reflect.DeepEqual(stored, r.Written):
			return nil
		}
		c.invalidateRealm(id)
		return nil
	})
}

// loadUse is loadRealm where the store is another instance: a thousand callers that
// want to know of a realm are one question.
func (c *Cache) loadUse(ctx context.Context, id string) (*Realm, error) {
	var loaded *Realm
	err := c.once(ctx, question{id, false}, func(ctx context.Context) (err error) {
		if _, ok := c.realms.Load(id); !ok {
			loaded, err = c.readRealm(ctx, id)
		}
		return err
	})
	if err != nil || loaded != nil {
		return loaded, err
	}
	if r, ok := c.realms.Load(id); ok { // somebody else has loaded it
		return r, nil
	}
	return c.readRealm(ctx, id) // and it was dropped again
}

// question is one about a realm, which may be known already.
type question struct {
	id      string
	isKnown bool
}

// underWay are the questions that were asked and not answered yet. The zero value is
// ready.
type underWay struct {
	mu  sync.Mutex
	all map[question]*answer
}

type answer struct {
	done chan struct{}
	err  error
}

// once does what a question is for, unless that is under way: then it waits for the
// one answer. The work belongs to nobody who waits.
func (c *Cache) once(ctx context.Context, q question, do func(context.Context) error) error {
	c.asked.mu.Lock()
	a, isUnderWay := c.asked.all[q]
	if !isUnderWay {
		if c.asked.all == nil {
			c.asked.all = map[question]*answer{}
		}
		a = &answer{done: make(chan struct{}), err: errPanicked}
		c.asked.all[q] = a
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenstore.Timeout)
			defer cancel()
			defer func() {
				_ = recover() // whoever waits gets errPanicked
				c.asked.mu.Lock()
				defer c.asked.mu.Unlock()
				delete(c.asked.all, q)
				close(a.done)
			}()
			a.err = do(ctx)
		}()
	}
	c.asked.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return StoreError(ctx.Err())
	}
}

var errPanicked = &realm.Error{Code: realm.CodeInternal, Status: http.StatusInternalServerError, Detail: "internal error"}
