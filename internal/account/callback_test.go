package account

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestCallback(t *testing.T) {
	p, s, _ := newPuppet(t)
	if ref, err := s.Callback(t.Context(), "jd", "code=c1&state=s1"); err != nil || ref != (realm.Ref{Realm: "jd", Key: "main"}) {
		t.Fatal(ref, err)
	}
	p.did(t, "callback jd/")
	if cb := p.callbacks[0]; cb.Code != "c1" || cb.State != "s1" {
		t.Errorf("%q %q", cb.Code.Reveal(), cb.State.Reveal())
	}
	away := &realm.Error{Code: realm.CodeUnavailable, Status: 503}
	p.answer = func(context.Context, string, realm.Ref) (*realm.Lease, bool, error) { return nil, false, away }
	if _, err := s.Callback(t.Context(), "jd", "code=c1&state=s1"); !errors.Is(err, away) {
		t.Error(err)
	}
	p.did(t, "callback jd/")
}

// What cannot be read reaches nobody, and is not repeated.
func TestUnreadableCallback(t *testing.T) {
	p, s, _ := newPuppet(t)
	for _, query := range []string{"code=canary&code=canary&state=s", "code=canary&state=%zz", "code=" + strings.Repeat("canary", 2000)} {
		_, err := s.Callback(t.Context(), "jd", query)
		if e := refusal(t, err, 400, realm.CodeBadCallback); strings.Contains(e.Detail, "canary") {
			t.Error(e)
		}
	}
	p.did(t)
}

// The browser that brings the code may be closed, which the broker is told and
// nobody waits any longer; nor for an exchange that hangs.
func TestCallbackEndsItsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, _ := newPuppet(t)
		p.answer = func(ctx context.Context, _ string, _ realm.Ref) (*realm.Lease, bool, error) {
			<-ctx.Done()
			return nil, false, ctx.Err()
		}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if _, err := s.Callback(ctx, "jd", "code=c&state=s"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := s.Callback(t.Context(), "jd", "code=c&state=s"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
