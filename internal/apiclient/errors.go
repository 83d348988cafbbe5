package apiclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var (
	// ErrForbidden: the API does not let the caller in.
	ErrForbidden = errors.New("the API does not let this command in")
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

// waysIn tells what an API may be shown.
const waysIn = "give it token_admin's admin_token in TOKENS_API_TOKEN or --api-token-file (where none is configured, it is what " +
	"the file tokens.admin holds), or the key of a client with the right there, or the user of a basic_auth in TOKENS_API_USER and " +
	"TOKENS_API_PASSWORD"

// Error turns an answer without success into an error; nil for one with.
func (c *Client) Error(a Answer) error {
	switch {
	case a.Status >= 200 && a.Status < 300:
		return nil
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		none := ""
		if !c.HasCredential() {
			none = "no token was sent (that of tokens.admin goes to no address but that of the instance that wrote it), so write --api-token-file: "
		}
		return fmt.Errorf("%w: status %d from %s; %s%s", ErrForbidden, a.Status, c.base, none, waysIn)
	case a.Status >= 300 && a.Status < 400:
		return fmt.Errorf("%w: %s redirects; write the address that it redirects to", ErrNotAPI, c.base)
	}
	var problem struct {
		Code                  realm.Code
		Detail, Field, Reason string
	}
	if !a.problem || json.Unmarshal(a.Body, &problem) != nil || problem.Detail == "" {
		return &RefusedError{Status: a.Status, Detail: fmt.Sprintf("the API answered with status %d and no reason", a.Status)}
	}
	switch {
	case problem.Reason != "" && strings.ContainsFunc(problem.Detail, isHan):
		problem.Detail = problem.Reason // the same, in the language of the commands
	case problem.Reason != "":
		problem.Detail += ": " + problem.Reason
	}
	return &RefusedError{Status: a.Status, Code: problem.Code, Field: problem.Field, Detail: problem.Detail}
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

func (c *Client) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%w at %s: start it (caddy run, with token_admin in a site), or name its address with --api: %w", ErrUnreachable, c.base, err)
}
