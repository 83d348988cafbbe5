package grant

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Bounds of a callback: anybody may send one.
const (
	maxCallback = 8 << 10
	maxCode     = 4 << 10
	maxState    = 512
)

// Callback is how a provider answers a request for an authorization (RFC 6749
// sections 4.1.2 and 4.1.2.1, RFC 9207). Nothing in it can be believed
// before its state is known. Error, Description and Issuer may quote anything:
// they are for Judge and not to be shown.
type Callback struct {
	Code, State                realm.Hidden
	Error, Description, Issuer string
	// Parameters are all but code and state, by their names.
	Parameters realm.Kept
}

// Format is the same for every callback and verb: only Judge cleans the words.
func (cb Callback) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "a callback") }

// Why a callback cannot be read.
var (
	errCallbackLong    = errors.New("the callback is too long")
	errCallbackEncoded = errors.New("the callback is not well encoded")
	errCallbackDoubled = errors.New("the callback has a parameter twice")
)

// ParseCallback reads the query of a callback: at most 8 KiB, with a code of
// at most 4 KiB and a state of at most 512 bytes. A parameter that stands
// twice is an error (RFC 6749 section 3.1), and so is one that cannot be
// decoded. Errors show nothing of the query.
func ParseCallback(rawQuery string) (Callback, error) {
	p, err := parseParameters(rawQuery)
	if err != nil {
		return Callback{}, err
	}
	cb := Callback{
		Code: realm.Hidden(p["code"]), State: realm.Hidden(p["state"]),
		Error: p["error"], Description: p["error_description"], Issuer: p["iss"],
	}
	switch {
	case len(cb.Code) > maxCode, len(cb.State) > maxState:
		return Callback{}, errCallbackLong
	case !plainText(p["code"]), !plainText(p["state"]):
		return Callback{}, errCallbackEncoded
	}
	delete(p, "code")
	delete(p, "state")
	cb.Parameters = realm.KeptOf(p)
	return cb, nil
}

// ReadCode returns the callback with the code that stands under the realm's
// code_name, where it has one: that of the standard name does not count then.
// What no code can be is none, and Judge says so.
func (b *Bound) ReadCode(cb Callback) Callback {
	name := b.program.realm.Config.CodeName
	if name == "" || name == "code" {
		return cb
	}
	cb.Code = ""
	if code := cb.Parameters.Reveal()[name]; len(code) <= maxCode && plainText(code) {
		cb.Code = realm.Hidden(code)
	}
	return cb
}

// codeName is the name of the code in callbacks of the realm.
func (p *Program) codeName() string { return orDefault(p.realm.Config.CodeName, "code") }

// parseParameters decodes the pairs of a query, each name of which stands
// once.
func parseParameters(rawQuery string) (map[string]string, error) {
	if len(rawQuery) > maxCallback {
		return nil, errCallbackLong
	}
	parameters := make(map[string]string)
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, bad := url.QueryUnescape(rawName)
		value, worse := url.QueryUnescape(rawValue)
		if bad != nil || worse != nil {
			return nil, errCallbackEncoded
		}
		if _, twice := parameters[name]; twice {
			return nil, errCallbackDoubled
		}
		parameters[name] = value
	}
	return parameters, nil
}

// plainText reports whether a code or state is text without control characters
// (RFC 6749 appendix A.5 and A.11 have even less).
func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// Judge says why a callback brings no code: nil if it does. The issuer counts
// first: without it nothing else is known to be the provider's word (RFC 9207
// section 2.4).
func (b *Bound) Judge(cb Callback) *Error {
	switch {
	case !b.isFromIssuer(cb):
		return &Error{Class: Hopeless, Kind: KindRefused, Detail: b.program.wrongIssuer()}
	case cb.Error != "":
		return b.denied(cb)
	case blank(cb.Code.Reveal()):
		return &Error{Class: Retryable, Kind: KindRefused, Detail: "the callback has no " + b.program.codeName()}
	}
	return b.lacksOfCallback(cb)
}

// denied is a callback of RFC 6749 section 4.1.2.1.
func (b *Bound) denied(cb Callback) *Error {
	confidential := append(b.confidentialOf(cb.State), cb.Code.Reveal())
	for _, value := range b.KeptOf(cb).Reveal() {
		confidential = append(confidential, value)
	}
	redact := newRedactor(confidential)
	class, _ := classify(0, wordOf(cb.Error))
	e := &Error{
		Class: class, Kind: KindRefused,
		ProviderCode: redact.text(cb.Error), ProviderMessage: redact.text(cb.Description),
	}
	if strings.EqualFold(cb.Error, "access_denied") {
		e.Kind = KindDenied
	}
	return e
}

// confidentialOf lists what the words of a callback may quote of the request:
// the secret, the state, and what was computed from them.
func (b *Bound) confidentialOf(state realm.Hidden) []string {
	list := append(b.confidential(), state.Reveal())
	v := b.values
	v.authorization.State = state
	if r := b.program.authorize; r == nil || r.compute(&v) != nil {
		return list
	}
	return append(list, v.computedTexts()...)
}
