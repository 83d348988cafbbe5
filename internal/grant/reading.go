package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxToken bounds a token: larger ones fit no header.
const maxToken = 64 << 10

// reading is how the answer of a recipe is read.
type reading struct {
	contentType string
	// token is the path of the token, tokenHeader the header field and
	// tokenCookie the cookie; without any of them the whole answer is the token.
	token                    path
	tokenHeader, tokenCookie string
	tokenName                string // the option and its value, for messages
	expiry                   expiry
	success                  []rule
	refusals                 refusalRules
	refresh                  path // nil: there is none
	refreshEnd               expiry
}

// compileReading checks what a plan says about its answer.
func (p *plan) compileReading() (reading, error) {
	r := reading{contentType: p.recipe.ContentType}
	err := p.compileTokenPlace(&r)
	if err != nil {
		return r, err
	}
	if r.expiry, err = compileExpiry(p.recipe.ExpiresInPath, p.recipe.ExpiresInUnit, p.field+".expires_in", p.zone, p.lifetime); err != nil {
		return r, err
	}
	if err := r.expiry.readHeader(p.recipe.ExpiresInHeader, p.field); err != nil {
		return r, err
	}
	if p.recipe.RefreshTokenPath != "" {
		if r.refresh, err = parsePath(p.recipe.RefreshTokenPath); err != nil {
			return r, realm.Fieldf(p.field+".refresh_token_path", "%v", err)
		}
	}
	if r.refreshEnd, err = compileExpiry(p.recipe.RefreshExpiresInPath, p.recipe.RefreshExpiresInUnit, p.field+".refresh_expires_in", p.zone, realm.Lifetime{}); err != nil {
		return r, err
	}
	return r, p.compileJudging(&r)
}

// compileJudging compiles the rules that tell an answer from a refusal.
func (p *plan) compileJudging(r *reading) (err error) {
	if r.success, err = compileRules(p.recipe.Success, p.field+".success"); err != nil {
		return err
	}
	r.refusals, err = p.compileRefusalRules()
	return err
}

// rootPath is the token_path of an answer whose document is the token: a JSON
// string.
const rootPath = "$"

// parseTokenPath reads a path that may be the root.
func parseTokenPath(s string) (path, error) {
	if s == rootPath {
		return path{}, nil
	}
	return parsePath(s)
}

// isRoot reports whether the whole document is the token.
func (r *reading) isRoot() bool { return r.token != nil && len(r.token) == 0 }

// text is an answer that is the token as a whole.
func (r *reading) text() bool { return r.token == nil && r.tokenHeader == "" && r.tokenCookie == "" }

// accessToken reads the token out of an answer to a request that was sent at
// that instant.
func (r *reading) accessToken(a *answer, root gjson.Result, sent time.Time) (token realm.Hidden, err error) {
	switch {
	case r.text():
		return textToken(a.body)
	case r.isRoot() && root.Type == gjson.JSON:
		return "", errNotString
	case r.tokenHeader != "":
		token, err = r.headerToken(a.header)
	case r.tokenCookie != "":
		token, err = r.cookieToken(a.header, sent)
	default:
		token, err = tokenAt(root, r.token)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", r.tokenName, err)
	case token == "":
		return "", fmt.Errorf("%s: %w", r.tokenName, errNoToken)
	}
	return token, nil
}

// end reads the end of an access token.
func (r *reading) end(a *answer, root gjson.Result, token realm.Hidden, sent time.Time) (ending, error) {
	value, err := r.expiry.value(a.header, root, token)
	if err != nil {
		return ending{}, err
	}
	if life, ok := r.cookieEnd(a.header, sent); ok && (!value.Exists() || value.Type == gjson.Null) {
		end := clampLife("the end of the cookie "+r.tokenCookie, life, sent)
		end.from = endFromCookie
		return end, nil
	}
	return r.expiry.read(value, sent), nil
}

// Reasons why a value is no token.
var (
	errNoToken      = errors.New("there is no token")
	errNotText      = errors.New("the answer is a text and no token; a token_path would lead into a document")
	errNotString    = errors.New("token_path $: the answer is an object or array, and no string")
	errTokenType    = errors.New("the token is neither a string nor a number")
	errTokenLong    = errors.New("the token is longer than 64 KiB")
	errTokenControl = errors.New("the token holds control characters")
)

// tokenAt reads a token from a document; "" and no error where it is absent,
// null, empty or blank.
func tokenAt(root gjson.Result, p path) (realm.Hidden, error) {
	value, err := p.in(root)
	if err != nil {
		return "", err
	}
	switch {
	case !value.Exists(), value.Type == gjson.Null, value.Type == gjson.String && blank(value.Str):
		return "", nil
	case value.Type == gjson.Number:
		return realm.Hidden(strings.Clone(value.Raw)), nil
	case value.Type != gjson.String:
		return "", errTokenType
	}
	// A copy: the token must not keep the whole answer in memory.
	token := strings.Clone(value.String())
	return realm.Hidden(token), checkToken(token)
}

// blank reports whether a text is empty, or of white space and characters that
// take no room alone. It is no token, code or key: sent, it would be refused,
// and in the place of a real one it would be the end of that one.
func blank(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsSpace(c) && !unicode.Is(unicode.Cf, c) })
}

// checkToken refuses what could break out of a header or a query.
func checkToken(token string) error {
	switch {
	case len(token) > maxToken:
		return errTokenLong
	case !utf8.ValidString(token), strings.ContainsFunc(token, unicode.IsControl):
		return errTokenControl
	}
	return nil
}

// textToken reads an answer that is the token as a whole. Some servers write it
// as a JSON string, in quotes, which are no part of it. A sentence, a page or
// a document in its place is a failure that the provider describes.
func textToken(body []byte) (realm.Hidden, error) {
	token := strings.TrimSpace(string(withoutBOM(body)))
	if strings.HasPrefix(token, `"`) && json.Valid([]byte(token)) {
		token = strings.TrimSpace(gjson.Parse(token).String())
	}
	switch {
	case blank(token):
		return "", errNoToken
	case isScriptCall(token), strings.ContainsFunc(token, unicode.IsSpace), strings.ContainsAny(token[:1], "<{["):
		return "", errNotText
	}
	return realm.Hidden(token), checkToken(token)
}

// refreshToken reads the refresh token. A broken one is a warning and not a
// failure: the access token is good.
func (r *reading) refreshToken(root gjson.Result, sent time.Time) (token realm.Hidden, end time.Time, warning string) {
	if r.refresh == nil {
		return "", end, ""
	}
	token, err := tokenAt(root, r.refresh)
	if err != nil {
		return "", end, "the refresh token is not kept: " + err.Error()
	}
	return token, r.refreshEnding(root, token, sent), ""
}

// refreshEnding is the end of the refresh token, zero for none known: to
// believe in an end that is not certain would throw a good one away.
func (r *reading) refreshEnding(root gjson.Result, token realm.Hidden, sent time.Time) time.Time {
	if !r.refreshEnd.isSaid() {
		return time.Time{}
	}
	value, err := r.refreshEnd.value(nil, root, token)
	if err != nil {
		return time.Time{}
	}
	life, ok := r.refreshEnd.remaining(value, sent)
	if !ok || life <= 0 || life > realm.MaxLifetime {
		return time.Time{}
	}
	return sent.Add(life)
}
