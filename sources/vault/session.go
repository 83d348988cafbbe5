package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// loginEvery is how often at most it signs in because a request was refused: the token
// may have been revoked, but more likely it lacks a right.
const loginEvery = 10 * time.Second

// session is who is signed in to a server. It is safe for concurrent use.
type session struct {
	connection Connection
	client     *api.Client
	transport  *http.Transport
	log        *zap.Logger
	now        func() time.Time
	after      func(time.Duration) <-chan time.Time
	// signing is a semaphore of one: whoever signs in.
	signing chan struct{}

	mu sync.Mutex
	// endsAt is when the token of a login is not used any more; zero for no end, and
	// before the first login, when isIn is false.
	endsAt time.Time
	isIn   bool
	inAt   time.Time // of the last login
	logins int       // how many there were
	// keeper renews a token that cannot be replaced.
	keeper    sync.WaitGroup
	base      context.Context
	endKeeper context.CancelFunc
}

func newSession(c Connection, log *zap.Logger) (*session, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	client, transport, err := c.client()
	if err != nil {
		return nil, err
	}
	if c.isInClear() {
		log.Warn("the token of Vault and the values go to its address in clear; use https", zap.String("address", c.Address))
	}
	s := &session{
		connection: c, client: client, transport: transport, log: log,
		now: time.Now, after: time.After, signing: make(chan struct{}, 1),
	}
	if c.Token != "" {
		client.SetToken(c.Token)
	}
	s.base, s.endKeeper = context.WithCancel(context.Background())
	return s, nil
}

// close ends the session on this side.
func (s *session) close() {
	s.endKeeper()
	s.keeper.Wait()
	s.client.ClearToken()
	s.transport.CloseIdleConnections()
}

// read asks for the newest version of a secret. A token that is refused may have been
// revoked: then it signs in again, once, unless somebody else has done so meanwhile.
func (s *session) read(ctx context.Context, at place) (*api.KVSecret, error) {
	isNew, err := s.signIn(ctx)
	if err != nil {
		return nil, err
	}
	login := s.lastLogin()
	secret, err := s.client.KVv2(at.mount).Get(ctx, at.path)
	if statusOf(err) == http.StatusForbidden && !isNew && s.signOut(login) {
		if _, err := s.signIn(ctx); err != nil {
			return nil, err
		}
		secret, err = s.client.KVv2(at.mount).Get(ctx, at.path)
	}
	if err != nil {
		return nil, explainRead(err) //nolint:contextcheck // it only words the error
	}
	return secret, nil
}

// lastLogin is the number of the login whose token is used; 0 for none.
func (s *session) lastLogin() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// signOut forgets the token of a login, unless that was a moment ago. It reports whether
// there is another token, or will be one with the next login.
func (s *session) signOut(login int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if login != s.logins || login > 0 && !s.isIn { // somebody else was faster
		return true
	}
	isOld := s.isIn && !s.now().Before(s.inAt.Add(loginEvery))
	s.isIn = s.isIn && !isOld
	return isOld
}

// isSignedIn reports whether the token of a login is still good.
func (s *session) isSignedIn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isIn && (s.endsAt.IsZero() || s.now().Before(s.endsAt))
}

// signIn sees to it that there is a token, and reports whether it comes from a login
// of this moment.
func (s *session) signIn(ctx context.Context) (isNew bool, err error) {
	c := &s.connection
	switch {
	case c.TokenFile != "":
		token, err := readFile(c.TokenFile)
		if err != nil {
			return false, err
		}
		s.client.SetToken(token)
		return false, nil
	case c.Token != "":
		return false, nil
	}
	select {
	case s.signing <- struct{}{}:
		defer func() { <-s.signing }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if s.isSignedIn() {
		return false, nil
	}
	return true, s.logIn(ctx)
}

// logIn gets a token by AppRole or Kubernetes.
func (s *session) logIn(ctx context.Context) error {
	path, credentials, err := s.connection.login()
	if err != nil {
		return err
	}
	secret, err := s.client.Logical().WriteWithContext(ctx, path, credentials)
	if err != nil {
		return explainLogin(err) //nolint:contextcheck // it only words the error
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return errors.New("the login brought no token")
	}
	s.client.SetToken(secret.Auth.ClientToken)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isIn, s.inAt, s.endsAt = true, s.now(), time.Time{}
	s.logins++
	if life := time.Duration(secret.Auth.LeaseDuration) * time.Second; life > 0 {
		s.endsAt = s.now().Add(life - life/10) // a request still has to reach the server
	}
	return nil
}

// login is the path and the body of a login. Its credentials are read anew from files.
func (c *Connection) login() (path string, body map[string]any, err error) {
	if k := c.Kubernetes; k != nil {
		jwt, err := readFile(or(k.JWTFile, defaultJWT))
		return "auth/" + or(k.Mount, "kubernetes") + "/login", map[string]any{"role": k.Role, "jwt": jwt}, err
	}
	a := c.AppRole
	body = map[string]any{"role_id": a.RoleID}
	secretID := a.SecretID
	if a.SecretIDFile != "" {
		secretID, err = readFile(a.SecretIDFile)
	}
	if secretID != "" {
		body["secret_id"] = secretID
	}
	return "auth/" + or(a.Mount, "approle") + "/login", body, err
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// keepToken begins to renew the token of the configuration, which no login replaces.
func (s *session) keepToken() {
	if s.connection.Token != "" {
		s.keeper.Go(s.renewToken)
	}
}

// renewToken renews the token at the half of its life, until the session ends, or the
// token cannot be renewed.
func (s *session) renewToken() {
	const retry = time.Minute
	life := time.Duration(0)
	for wait := time.Duration(0); ; {
		if wait > 0 {
			select {
			case <-s.after(wait):
			case <-s.base.Done():
				return
			}
		}
		var err error
		if life == 0 {
			life, err = s.lifeOfToken()
		} else {
			life, err = s.renewed(life)
		}
		switch {
		case s.base.Err() != nil:
			return
		case statusOf(err) == http.StatusForbidden:
			s.log.Error("the token of Vault is not renewed", zap.Error(explainLogin(err)))
			return
		case err != nil:
			s.log.Warn("the token of Vault was not renewed; trying again", zap.Error(explainLogin(err)))
			wait = retry
			if life > 0 {
				wait = min(retry, life/8)
			}
		case life == 0: // it has no end, or cannot be renewed
			return
		default:
			wait = life / 2
		}
	}
}

// lifeOfToken is how long the token still lives; 0 if it has no end, or cannot be
// renewed.
func (s *session) lifeOfToken() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(s.base, sources.DefaultTimeout)
	defer cancel()
	secret, err := s.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return 0, err
	}
	if isRenewable, _ := secret.Data["renewable"].(bool); !isRenewable {
		return 0, nil
	}
	ttl, _ := secret.Data["ttl"].(json.Number)
	seconds, err := ttl.Int64()
	return time.Duration(seconds) * time.Second, err
}

// renewed renews the token, and returns how long it lives now.
func (s *session) renewed(life time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(s.base, sources.DefaultTimeout)
	defer cancel()
	secret, err := s.client.Auth().Token().RenewSelfWithContext(ctx, 0)
	if err != nil {
		return life, err
	}
	if secret == nil || secret.Auth == nil {
		return life, errors.New("the renewal brought no token")
	}
	return time.Duration(secret.Auth.LeaseDuration) * time.Second, nil
}

// statusOf is the status that the server answered with; 0 for none.
func statusOf(err error) int {
	var answer *api.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// explainRead says why there is no secret. What the server wrote is not told, and
// neither is what the client says of it: both may quote what was sent.
func explainRead(err error) error {
	switch status := statusOf(err); {
	case errors.Is(err, api.ErrSecretNotFound), status == http.StatusNotFound:
		return fmt.Errorf("%w: there is no such secret, or no such engine (404)", sources.ErrRefused)
	case status == http.StatusForbidden:
		return fmt.Errorf("%w: permission denied (403): no policy of the token allows to read it, or the token has ended", sources.ErrRefused)
	default:
		return explain(err, status)
	}
}

// explainLogin says why there is no token.
func explainLogin(err error) error {
	switch status := statusOf(err); status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		return fmt.Errorf("Vault refuses who signs in (%d)", status)
	default:
		return explain(err, status)
	}
}

func explain(err error, status int) error {
	var network *url.Error
	switch {
	case status == http.StatusServiceUnavailable:
		return errors.New("Vault is sealed or in maintenance (503)")
	case status != 0:
		return fmt.Errorf("Vault answered with the status %d", status)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errors.New("Vault did not answer in time")
	case errors.As(err, &network):
		// Callers of the proxy read it: no address of the network is in it.
		return errors.New("Vault cannot be reached: " + outbound.Reason(context.Background(), network.Err))
	}
	return errors.New("the answer is not one of the KV engine, version 2")
}
