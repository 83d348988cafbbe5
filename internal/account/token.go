package account

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// DefaultTimeout is how long a caller waits that gives no timeout.
	DefaultTimeout = 3 * time.Second
	// MaxTimeout is the longest that one may ask for.
	MaxTimeout = 60 * time.Second
)

// The earlier service's texts, which its clients show or compare. What went
// wrong follows TextFailed.
const (
	TextRequestLate = "请求第三方token超时，请稍后重试"
	TextGetLate     = "获取第三方token超时，请稍后重试"
	TextFailed      = "请求第三方token异常："
)

// RequestAccessToken has the account authorized anew, without a person, and
// returns the token that it got. taxpayerID is "" for the realm's default
// account; timeout is how long the caller waits (0: DefaultTimeout), and ends
// nothing but the wait: the request goes on for later callers.
//
// Errors: those of lookup; status 504 after the timeout; 502 where the
// provider gave no token; CodeBudgetSpent (503) where the realm's limits allow
// no call now; CodeForbidden for a token that nobody is shown (inject_only);
// CodeNotAuthorizable (409) for a realm that cannot
// authorize, or needs a person; CodeUnavailable where the store is away.
func (s *Service) RequestAccessToken(ctx context.Context, realmID, taxpayerID string, timeout time.Duration) (realm.Hidden, error) {
	return s.token(ctx, request{realmID, taxpayerID, timeout, TextRequestLate}, s.authorize)
}

// GetAccessToken returns the live token of the account; where there is none it
// is refreshed or requested. Otherwise it is like RequestAccessToken.
func (s *Service) GetAccessToken(ctx context.Context, realmID, taxpayerID string, timeout time.Duration) (realm.Hidden, error) {
	return s.token(ctx, request{realmID, taxpayerID, timeout, TextGetLate}, s.of(s.broker.Read))
}

// RefreshToken renews the token of the account and returns the new one.
// Otherwise it is like RequestAccessToken.
func (s *Service) RefreshToken(ctx context.Context, realmID, taxpayerID string, timeout time.Duration) (realm.Hidden, error) {
	return s.token(ctx, request{realmID, taxpayerID, timeout, TextRequestLate}, s.of(s.by(s.broker.Flush)))
}

// request is whose token is asked for, how long the caller waits, and the text
// that it then gets.
type request struct {
	realmID, taxpayerID string
	timeout             time.Duration
	late                string
}

// ask is a way of asking for a token.
type ask func(ctx context.Context, realmID, taxpayerID string) (*realm.Lease, error)

// of asks the broker for the token of an account that is looked up.
func (s *Service) of(token func(context.Context, realm.Ref) (*realm.Lease, error)) ask {
	return func(ctx context.Context, realmID, taxpayerID string) (*realm.Lease, error) {
		ref, err := s.lookup(ctx, realmID, taxpayerID)
		if err != nil {
			return nil, s.reason(realmID, err)
		}
		if err := s.allow(ref); err != nil {
			return nil, err
		}
		return token(ctx, ref)
	}
}

// by obtains a token for the caller, who is shown it.
func (s *Service) by(obtain func(context.Context, realm.Ref) (*realm.Lease, error)) func(context.Context, realm.Ref) (*realm.Lease, error) {
	return func(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
		return s.broker.ReadBy(ctx, ref, obtain)
	}
}

// authorize asks for a new authorization. A realm that has none says so,
// whosever account is meant.
func (s *Service) authorize(ctx context.Context, realmID, taxpayerID string) (*realm.Lease, error) {
	if err := s.broker.Authorizable(ctx, realmID); err != nil {
		return nil, s.reason(realmID, err)
	}
	return s.of(s.by(s.broker.Authorize))(ctx, realmID, taxpayerID)
}

func (s *Service) token(ctx context.Context, r request, get ask) (realm.Hidden, error) {
	timeout := cmp.Or(r.timeout, DefaultTimeout)
	if timeout < time.Second || timeout > MaxTimeout {
		return "", realm.Fieldf("timeout", "must be from 1 to %d seconds", int(MaxTimeout.Seconds()))
	}
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	lease, err := get(waiting, r.realmID, r.taxpayerID)
	switch {
	case err == nil:
		return lease.Access, nil
	case errors.Is(waiting.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded):
		return "", timedOut(r.late, err)
	}
	return "", inEarlierWords(r.late, err)
}

// inEarlierWords puts an error of the broker into the words of the earlier service.
// What has nothing to do with the provider stays as it is.
func inEarlierWords(late string, err error) error {
	var e *realm.Error
	if !errors.As(err, &e) {
		return err
	}
	told := *e
	switch {
	case e.Code == realm.CodeTokenUnavailable && e.Status == http.StatusGatewayTimeout:
		return timedOut(late, e)
	case e.Code == realm.CodeBudgetSpent && e.Err != nil:
		// A flush while the provider is left alone after a failure.
		told.Code, told.Status = realm.CodeTokenUnavailable, http.StatusBadGateway
	case e.Code == realm.CodeTokenUnavailable, e.Code == realm.CodeReauthRequired:
		told.Status = http.StatusBadGateway
	case e.Code != realm.CodeBudgetSpent:
		return err
	}
	told.Detail = TextFailed + e.Detail
	return &told
}

func timedOut(late string, err error) *realm.Error {
	return &realm.Error{Code: realm.CodeTokenUnavailable, Status: http.StatusGatewayTimeout, Detail: late, Err: err}
}
