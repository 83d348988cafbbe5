package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// due asks for what is due in the realms that there are.
func due(t *testing.T, s *Service, mayAny func(string) bool) []string {
	t.Helper()
	list := []string{}
	err := s.RenewDue(t.Context(), mayAny, func(r DueResult) {
		list = append(list, fmt.Sprintf("%s/%s %s %s", r.Realm, r.Key, r.Result.Result, r.Reason))
	})
	if err != nil {
		t.Error(err)
	}
	slices.Sort(list)
	return list
}

func everywhere(string) bool { return true }

// Only what is due is renewed, and no failure stops anything else: a key that
// fails, a realm that is deleted meanwhile.
func TestRenewDue(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.realms, p.keys = []string{"jd", "deleted"}, []string{"due", "fresh", "never", "refused", "unreadable"}
	p.due = map[string]bool{"due": true, "refused": true}
	p.answer = func(_ context.Context, method string, ref realm.Ref) (*realm.Lease, bool, error) {
		switch {
		case method == "is due" && ref.Key == "unreadable", method == "ensure" && ref.Key == "refused":
			return nil, false, &realm.Error{Code: realm.CodeTokenUnavailable, Detail: "no " + method}
		case method == "is due":
			return nil, ref.Key != "never", nil
		}
		return &realm.Lease{Source: realm.FromUpstream, Expires: 1}, false, nil
	}
	want := []string{
		"jd/due ok ", "jd/fresh skipped the token is not due", "jd/never skipped nobody has asked for a token yet",
		"jd/refused failed no ensure", "jd/unreadable failed no is due",
	}
	if got := due(t, s, everywhere); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	p.did(t, "ensure jd/due", "ensure jd/refused",
		"is due jd/due", "is due jd/fresh", "is due jd/never", "is due jd/refused", "is due jd/unreadable")
}

// A caller learns of the other keys of a realm in which he may renew one, as with
// refresh-all, and nothing of the other realms.
func TestRenewDueOfAllowedKeys(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.realms, p.keys, p.due = []string{"jd", "sn"}, []string{"mine", "other"}, map[string]bool{"mine": true, "other": true}
	s = s.For(func(ref realm.Ref) error {
		if ref.Key == "mine" {
			return nil
		}
		return errors.New("forbidden")
	})
	got := due(t, s, func(id string) bool { return id == "jd" })
	if want := []string{"jd/mine ok ", "jd/other skipped forbidden"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	p.did(t, "is due jd/mine", "ensure jd/mine")
}

// A provider that hangs holds up its own realm, and results of all realms come
// one at a time.
func TestRenewDueOfManyRealms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, _ := newPuppet(t)
		p.realms, p.keys, p.due = []string{"jd", "sn"}, []string{"a", "b"}, map[string]bool{"a": true, "b": true}
		p.answer = func(_ context.Context, method string, ref realm.Ref) (*realm.Lease, bool, error) {
			if method == "ensure" && ref == (realm.Ref{Realm: "jd", Key: "a"}) {
				time.Sleep(time.Minute) // of the bubble
			}
			return &realm.Lease{Source: realm.FromUpstream, Expires: 1}, true, nil
		}
		began := time.Now()
		var others time.Duration
		telling := false
		err := s.RenewDue(t.Context(), everywhere, func(r DueResult) {
			if telling {
				t.Error("two at once")
			}
			telling = true
			time.Sleep(time.Second)
			telling = false
			if r.Realm == "sn" {
				others = time.Since(began)
			}
		})
		if err != nil || others > 10*time.Second {
			t.Errorf("%v; the other realm was done after %s", err, others)
		}
	})
}

// What cannot be listed is an error, and so is a realm that fails as a whole: the
// timer's log shows it. Nothing is begun for a caller that has gone.
func TestRenewDueFails(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.realms, p.keys = []string{"jd"}, []string{"a"}
	unexpected := func(r DueResult) { t.Errorf("unexpected: %v", r) }
	p.away = &realm.Error{Code: realm.CodeUnavailable, Status: 503}
	refusal(t, s.RenewDue(t.Context(), everywhere, unexpected), 503, realm.CodeUnavailable)
	p.away = nil
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if err := s.RenewDue(ctx, everywhere, unexpected); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
