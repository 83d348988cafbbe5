package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Tokens are stored with the store's times, which all nodes share: the clocks
// of two nodes may differ by minutes. In memory they have this machine's.

// sameClock is up to which difference two clocks are taken for the same: it is
// no more than the slack at a token's end.
const sameClock = time.Second

// setClock takes notice of the store's time; sent is when it was asked for. The
// store looked at its clock at some moment since: what is believed of it stays
// as long as that can be. An answer that took its time proves little, and a
// token that is saved with a wrong end would be served beyond it elsewhere.
func (p *Pool) setClock(store, sent time.Time) {
	least, most := store.Sub(p.now()), store.Sub(sent)
	ahead := min(max(time.Duration(p.ahead.Load()), least), most)
	if ahead.Abs() < sameClock {
		ahead = 0
	}
	p.ahead.Store(int64(ahead))
}

// settleClock asks the store for its time.
func (p *Pool) settleClock(ctx context.Context) error {
	sent := p.now()
	s, err := p.store.Peek(ctx, realm.Ref{})
	if err != nil {
		return fmt.Errorf("the store's clock: %w", err)
	}
	p.setClock(s.Now, sent)
	return nil
}

// local is a stored token with this machine's times.
func (p *Pool) local(t realm.Token) realm.Token { return shifted(t, -time.Duration(p.ahead.Load())) }

// remote is a token with the store's times.
func (p *Pool) remote(t realm.Token) realm.Token { return shifted(t, time.Duration(p.ahead.Load())) }

func shifted(t realm.Token, d time.Duration) realm.Token {
	for _, at := range []*time.Time{&t.IssuedAt, &t.ExpiresAt, &t.RefreshExpiresAt} {
		if d != 0 && !at.IsZero() {
			*at = at.Add(d)
		}
	}
	return t
}
