package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// ways are the three ways to a token, by what the broker is asked.
func ways(s *Service) map[string]func(context.Context, string, string, time.Duration) (realm.Hidden, error) {
	return map[string]func(context.Context, string, string, time.Duration) (realm.Hidden, error){
		"authorize": s.RequestAccessToken, "token": s.GetAccessToken, "flush": s.RefreshToken,
	}
}

// late is the text after the timeout, by what the broker is asked.
var late = map[string]string{
	"authorize": "请求第三方token超时，请稍后重试", "token": "获取第三方token超时，请稍后重试", "flush": "请求第三方token超时，请稍后重试",
}

func TestWhoseToken(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.companies["9111"] = tokenstore.Company{Accounts: map[string]string{"jd": "acme", "x": "y"}}
	for way, ask := range ways(s) {
		// MySQL, in which the earlier service looked, does not see a blank behind a text.
		for id, ref := range map[string]string{"": "jd/main", "9111": "jd/acme", "9111 ": "jd/acme"} {
			token, err := ask(t.Context(), "jd", id, 0)
			if err != nil || token != "at-1" {
				t.Errorf("%s of %q: %v %v", way, id, token, err)
			}
			p.did(t, way+" "+ref)
		}
		_, err := ask(t.Context(), "sn", "", 0)
		if e := refusal(t, err, 404, realm.CodeSecretNotFound); !strings.Contains(e.Detail, "default_key") {
			t.Error(e)
		}
		_, err = ask(t.Context(), "sn", "9111", 0)
		if e := refusal(t, err, 404, realm.CodeSecretNotFound); !strings.Contains(e.Detail, "company") {
			t.Error(e)
		}
		_, err = ask(t.Context(), "jd", "9112", 0)
		refusal(t, err, 404, realm.CodeCompanyNotFound)
		for _, id := range []string{"", "9111"} {
			_, err = ask(t.Context(), "x", id, 0)
			refusal(t, err, 404, realm.CodeRealmNotFound)
		}
		for _, id := range []string{"91 11", " ", "　"} { // blanks alone do not mean the default account
			_, err = ask(t.Context(), "jd", id, 0)
			wrongField(t, err, "taxpayerId")
		}
		for _, timeout := range []time.Duration{-1, time.Second - 1, time.Minute + 1} {
			_, err = ask(t.Context(), "jd", "", timeout)
			wrongField(t, err, "timeout")
		}
		p.did(t)
	}
}

// A caller waits for as long as it said, and is told so in the earlier words.
// Whoever waits longer gets the token that was under way.
func TestTimeouts(t *testing.T) {
	for way := range late {
		synctest.Test(t, func(t *testing.T) {
			p, s, _ := newPuppet(t)
			p.answer = func(ctx context.Context, _ string, _ realm.Ref) (*realm.Lease, bool, error) {
				select {
				case <-time.After(10 * time.Second):
					return &realm.Lease{Access: "at-2"}, false, nil
				case <-ctx.Done():
					return nil, false, &realm.Error{Code: realm.CodeTokenUnavailable, Status: 504, Err: ctx.Err()}
				}
			}
			for timeout, waits := range map[time.Duration]time.Duration{0: 3 * time.Second, time.Second: time.Second, 9 * time.Second: 9 * time.Second} {
				start := time.Now()
				_, err := ways(s)[way](t.Context(), "jd", "", timeout)
				if e := refusal(t, err, 504, realm.CodeTokenUnavailable); e.Detail != late[way] {
					t.Error(e.Detail)
				}
				if waited := time.Since(start); waited != waits {
					t.Errorf("%s: waited %s, not %s", way, waited, waits)
				}
			}
			if token, err := ways(s)[way](t.Context(), "jd", "", time.Minute); err != nil || token != "at-2" {
				t.Errorf("%s: %v %v", way, token, err)
			}
		})
	}
}

func TestOutcomes(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
		code   realm.Code
		detail string // {late} for the text of the way
	}{
		"refused": {
			&realm.Error{Code: realm.CodeTokenUnavailable, Status: 502, Detail: "wrong password"},
			502, realm.CodeTokenUnavailable, "请求第三方token异常：wrong password",
		},
		"backing off": {
			&realm.Error{Code: realm.CodeTokenUnavailable, Status: 503, Detail: "waiting"},
			502, realm.CodeTokenUnavailable, "请求第三方token异常：waiting",
		},
		"a person is needed": {
			&realm.Error{Code: realm.CodeReauthRequired, Status: 502, Detail: "authorize first"},
			502, realm.CodeReauthRequired, "请求第三方token异常：authorize first",
		},
		"budget spent": {
			&realm.Error{Code: realm.CodeBudgetSpent, Status: 503, Detail: "no call now"},
			503, realm.CodeBudgetSpent, "请求第三方token异常：no call now",
		},
		"a flush that backs off": {
			&realm.Error{Code: realm.CodeBudgetSpent, Status: 503, Detail: "waiting", Err: errors.New("refused")},
			502, realm.CodeTokenUnavailable, "请求第三方token异常：waiting",
		},
		"the provider was late": {
			&realm.Error{Code: realm.CodeTokenUnavailable, Status: 504, Detail: "timeout"},
			504, realm.CodeTokenUnavailable, "{late}",
		},
		"the store is away": {
			&realm.Error{Code: realm.CodeUnavailable, Status: 503, Detail: "away"}, 503, realm.CodeUnavailable, "away",
		},
		"no recipe": {
			&realm.Error{Code: realm.CodeNotAuthorizable, Status: 409, Detail: "no recipe"}, 409, realm.CodeNotAuthorizable, "no recipe",
		},
		"no secret": {
			&realm.Error{Code: realm.CodeSecretNotFound, Status: 404, Detail: "none"}, 404, realm.CodeSecretNotFound, "none",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s, _ := newPuppet(t)
			var given *realm.Error
			if !errors.As(tt.err, &given) {
				t.Fatal("not one of ours")
			}
			given.RetryAfter, given.ProviderCode, given.ProviderMessage = time.Second, "7", "no"
			p.answer = func(context.Context, string, realm.Ref) (*realm.Lease, bool, error) {
				return nil, false, fmt.Errorf("wrapped: %w", tt.err)
			}
			for way, ask := range ways(s) {
				_, err := ask(t.Context(), "jd", "", 0)
				e := refusal(t, err, tt.status, tt.code)
				if want := strings.ReplaceAll(tt.detail, "{late}", late[way]); e.Detail != want {
					t.Errorf("%s: %q, want %q", way, e.Detail, want)
				}
				if tt.status != 504 && (e.RetryAfter != time.Second || e.ProviderCode != "7" || e.ProviderMessage != "no") {
					t.Errorf("%s: the provider's words are lost: %+v", way, e)
				}
			}
			if strings.HasPrefix(given.Detail, "请求") {
				t.Error("the broker's own error was changed")
			}
		})
	}
}

// A caller that leaves is no timeout, and an unknown error keeps its identity.
func TestOtherErrors(t *testing.T) {
	p, s, _ := newPuppet(t)
	gone, leave := context.WithCancel(t.Context())
	p.answer = func(ctx context.Context, _ string, _ realm.Ref) (*realm.Lease, bool, error) {
		leave()
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	if _, err := s.GetAccessToken(gone, "jd", "", 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	p.answer = func(ctx context.Context, _ string, _ realm.Ref) (*realm.Lease, bool, error) {
		<-ctx.Done()
		return nil, false, &realm.Error{Code: realm.CodeSecretNotFound, Status: 404} // it came with the deadline
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := s.GetAccessToken(t.Context(), "jd", "", 0)
		refusal(t, err, 404, realm.CodeSecretNotFound)
	})
	broken := errors.New("broken")
	p.away = broken
	if _, err := s.GetAccessToken(t.Context(), "jd", "", 0); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// A realm that cannot be authorized says so to everybody, also to those who
// name no account that there is.
func TestNotAuthorizable(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.person = true
	for _, taxpayer := range []string{"", "nobody"} {
		_, err := s.RequestAccessToken(t.Context(), "sn", taxpayer, 0)
		var e *realm.Error
		if !errors.As(err, &e) || e.Code != realm.CodeNotAuthorizable || e.Status != 409 {
			t.Errorf("%q: %v", taxpayer, err)
		}
	}
	if len(p.asked) > 0 {
		t.Errorf("asked: %v", p.asked)
	}
}
