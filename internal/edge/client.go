package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// maxAnswer bounds an answer.
	maxAnswer = 1 << 20
	// maxRetryAfter bounds what the other instance may ask to wait for.
	maxRetryAfter = 24 * time.Hour
)

// send sends a request with the key. The error is one of tokenstore.ErrUnavailable,
// or that of ctx; it quotes no address with a query.
func (s *Store) send(ctx context.Context, method, path string, query url.Values, body []byte, accept string) (*http.Response, error) {
	to := *s.base
	to.Path, to.RawPath = "", ""
	address := to.String() + s.base.EscapedPath() + path
	if query != nil {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, &realm.Error{Code: realm.CodeInvalidField, Status: http.StatusBadRequest, Detail: "the id cannot stand in an address"}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Authorization", "Bearer "+s.key.Reveal())
	resp, err := s.client.Do(req) // #nosec G704 -- the operator wrote the address
	if err == nil {
		return resp, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// The text of any other error may quote the answer, and so a token.
	why := outbound.Reason(ctx, err)
	if public := (*publicError)(nil); errors.As(err, &public) {
		why = public.Error()
	}
	return nil, fmt.Errorf("%w: %s: %s", tokenstore.ErrUnavailable, s.base.Host, why)
}

// ask sends a request, and reads the answer into out. The error is a *realm.Error
// where the other instance refuses.
func (s *Store) ask(ctx context.Context, method, path string, query url.Values, body []byte, out any) error {
	resp, err := s.send(ctx, method, path, query, body, "application/json")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%w: %s: its answer was cut off", tokenstore.ErrUnavailable, s.base.Host)
	case resp.StatusCode != http.StatusOK:
		return s.refusal(resp, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return s.stranger("is not understood") // the error may quote the answer
	}
	return nil
}

// stranger is the error of an answer that another instance does not give.
func (s *Store) stranger(why string) error {
	return fmt.Errorf("%w: what %s answers %s", tokenstore.ErrUnavailable, s.base.Host, why)
}

// refusal is the error of an answer without success.
func (s *Store) refusal(resp *http.Response, text []byte) error {
	var said struct {
		Code           realm.Code
		Detail, Reason string
		Class          string
		ProviderCode   string `json:"provider_code"`
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(text, &said) != nil || !said.Code.IsKnown() || resp.StatusCode < http.StatusBadRequest {
		return s.stranger("with status " + strconv.Itoa(resp.StatusCode) + " is no answer of token_admin")
	}
	if said.Code == realm.CodeNotFound || said.Code == realm.CodeMethod { // it knows less than this version
		return s.stranger("is that it does not know what it was asked")
	}
	if said.Reason != "" { // the detail is a text of the earlier services then
		said.Detail = said.Reason
	}
	return &realm.Error{
		Code: said.Code, Status: statusOf(said.Code, resp.StatusCode), Detail: said.Detail, RetryAfter: retryAfter(resp),
		Class: said.Class, ProviderCode: said.ProviderCode,
	}
}

// statusOf is the status of a refusal on the proxy's side; some differ on
// /api/token.
func statusOf(code realm.Code, sent int) int {
	switch code {
	case realm.CodeRealmNotFound, realm.CodeSecretNotFound:
		return http.StatusNotFound
	case realm.CodeReauthRequired:
		return http.StatusBadGateway
	default:
		return sent
	}
}

// retryAfter is how long the other instance wants to be left alone; 0 for not said.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, int(maxRetryAfter.Seconds())))*time.Second, maxRetryAfter)
}

// Ping implements tokenstore.Store: whether the other instance answers, be it with a
// refusal.
func (s *Store) Ping(ctx context.Context) error {
	err := s.ask(ctx, http.MethodGet, "/api/session", nil, nil, new(struct{}))
	var refused *realm.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
