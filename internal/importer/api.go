package importer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var (
	// ErrForbidden: the API does not let the importer in.
	ErrForbidden = errors.New("the API does not let the import in")
	// ErrUnreachable: nothing answers at the API's address.
	ErrUnreachable = errors.New("the API does not answer")
	// ErrNotAPI: something else answers there.
	ErrNotAPI = errors.New("this is not the API")
)

// RefusedError is what the API says of one request that it did not accept.
type RefusedError struct {
	Status int
	Code   realm.Code
	// Field is the one that is wrong, "" where it is not about one.
	Field  string
	Detail string
}

// Error is the API's own text.
func (r *RefusedError) Error() string { return r.Detail }

const (
	maxAnswer = 2 << 20
	// tries bounds how often one request is sent; maxWait how long is waited
	// before the next time, whatever Retry-After says.
	tries   = 5
	maxWait = 30 * time.Second
)

// api is the HTTP API of this product.
type api struct {
	base   string
	auth   realm.Hidden // the header Authorization, "" for none
	client *http.Client
	wait   func(ctx context.Context, d time.Duration) error
	say    func(format string, args ...any)
}

func newAPI(o Options) (*api, error) {
	u, err := url.Parse(o.API)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("the address of the API is not readable: write " + DefaultAPI)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the address of the API is scheme, host, port and path: no user, no password, no query")
	}
	auth, err := authorization(o)
	if err != nil {
		return nil, err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(o.Progress, format+"\n", args...) }
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		say("secrets are sent to %s in clear: use https where others could listen", u.Host)
	}
	return &api{
		base: strings.TrimRight(u.String(), "/"), auth: auth, client: newClient(o.Parallel), wait: o.wait, say: say,
	}, nil
}

// authorization is the header of that name, of which there can be only one.
func authorization(o Options) (realm.Hidden, error) {
	switch basic := o.User != "" || o.Password != ""; {
	case basic && o.Token != "":
		return "", errors.New("give the API's admin_token, or the user and password of the basic_auth in front of it, not both")
	case strings.Contains(o.User, ":"): // RFC 7617 section 2
		return "", errors.New("the user of a basic_auth has no colon")
	case basic:
		return realm.Hidden("Basic " + base64.StdEncoding.EncodeToString([]byte(o.User+":"+o.Password.Reveal()))), nil
	case o.Token != "":
		return "Bearer " + o.Token, nil
	}
	return "", nil
}

func (a *api) close() { a.client.CloseIdleConnections() }

// probe finds out whether there is an API that lets us in.
func (a *api) probe(ctx context.Context) error {
	answer, err := a.send(ctx, http.MethodGet, "/api/status", nil)
	if err != nil {
		return err
	}
	var status struct{ Stores *json.RawMessage }
	if err := a.errorOf(answer); err != nil || json.Unmarshal(answer.body, &status) != nil || status.Stores == nil {
		if errors.Is(err, ErrForbidden) {
			return err
		}
		return fmt.Errorf("%w: %s answers with status %d; --api names the site that has token_admin", ErrNotAPI, a.base, answer.status)
	}
	return nil
}

// get reads one document; found is false where there is none.
func (a *api) get(ctx context.Context, path string) (shown []byte, found bool, err error) {
	shown, err = a.call(ctx, http.MethodGet, path, nil, "")
	var refusal *RefusedError
	if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound && strings.HasSuffix(string(refusal.Code), "_not_found") {
		return nil, false, nil
	}
	return shown, err == nil, err
}

// post writes one document. created is where one that is new is shown then, ""
// for one that exists already.
func (a *api) post(ctx context.Context, collection string, d document, created string) error {
	body, err := d.encode()
	if err != nil {
		return realm.Fieldf("", "cannot be written as JSON")
	}
	_, err = a.call(ctx, http.MethodPost, collection, body, created)
	return err
}

// call sends a request until it is answered, a bounded number of times. What it
// creates may be there without an answer, and its tokens may be in use already: it
// is not sent over that again.
func (a *api) call(ctx context.Context, method, path string, body []byte, created string) ([]byte, error) {
	for n := 1; ; n++ {
		answer, err := a.send(ctx, method, path, body)
		if err == nil && answer.status != http.StatusServiceUnavailable {
			return answer.body, a.errorOf(answer)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if n == tries {
			if err == nil {
				err = fmt.Errorf("%w: status 503 after %d tries", ErrUnreachable, tries)
			}
			return nil, err
		}
		pause := min(max(answer.retryAfter, time.Duration(n)*time.Second), maxWait)
		a.say("the API is not available; next try in %s", pause)
		if err := a.wait(ctx, pause); err != nil {
			return nil, context.Cause(ctx)
		}
		if created != "" {
			if shown, found, err := a.get(ctx, created); err != nil || found {
				return shown, err
			}
		}
	}
}

// answer is an answer that was read.
type answer struct {
	status     int
	problem    bool
	body       []byte
	retryAfter time.Duration
}

// send sends a request once. The error never is the *url.Error itself.
func (a *api) send(ctx context.Context, method, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, realm.Fieldf("", "has an id that cannot stand in an address")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.auth != "" {
		req.Header.Set("Authorization", a.auth.Reveal())
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return answer{}, a.unreachable(err)
	}
	defer resp.Body.Close()
	got := answer{status: resp.StatusCode}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	got.problem = kind == "application/problem+json"
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		got.retryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	if got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return answer{}, a.unreachable(err)
	}
	return got, nil
}

func (a *api) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%w at %s: start it (caddy run, with token_admin in a site), or name its address with --api: %w", ErrUnreachable, a.base, err)
}

// errorOf turns the status of an answer into an error.
func (a *api) errorOf(got answer) error {
	switch {
	case got.status == http.StatusOK:
		return nil
	case got.status == http.StatusUnauthorized, got.status == http.StatusForbidden:
		return fmt.Errorf("%w: status %d from %s; give it token_admin's admin_token in TOKENS_API_TOKEN or --api-token-file, "+
			"the user of a basic_auth in TOKENS_API_USER and TOKENS_API_PASSWORD, or run the import on the API's own machine", ErrForbidden, got.status, a.base)
	case got.status >= 300 && got.status < 400:
		return fmt.Errorf("%w: %s redirects; write the address that it redirects to", ErrNotAPI, a.base)
	}
	var problem struct {
		Code                  realm.Code
		Detail, Field, Reason string
	}
	if !got.problem || json.Unmarshal(got.body, &problem) != nil || problem.Detail == "" {
		return &RefusedError{Status: got.status, Detail: fmt.Sprintf("the API answered with status %d and no reason", got.status)}
	}
	if problem.Reason != "" {
		problem.Detail += ": " + problem.Reason
	}
	return &RefusedError{Status: got.status, Code: problem.Code, Field: problem.Field, Detail: problem.Detail}
}

// apiTimeout bounds one request to the API.
const apiTimeout = time.Minute

// newClient is a client that hands what it sends to nobody else: it follows no
// redirect and uses no proxy of the environment.
func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout:       apiTimeout,
		Transport:     &http.Transport{MaxIdleConnsPerHost: connections, IdleConnTimeout: apiTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
