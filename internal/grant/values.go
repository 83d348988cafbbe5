package grant

import (
	"slices"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// values are what the names of a template stand for. They are copied for every
// call, because a call adds its own: the instant, the code, what was computed.
type values struct {
	secret, shared map[string]realm.Hidden
	token          string
	refresh        realm.Hidden
	authorization  Authorization
	code           realm.Hidden
	callback       template // the realm's callback URL
	// parents are the tokens of other credentials, by the names that the recipes
	// have for them. nil is for a check without a call: each is "1" then.
	parents  map[realm.Ref]Parent
	force    bool
	path     map[string]string // the arguments of the URL's path
	kept     map[string]string // what is kept with the token, by name
	now      time.Time         // of the call, for expressions
	input    expression.Input  // of a proxied request, for its expressions
	computed map[*expression.Expression]string
	// masked values are for showing: every one that is confidential is
	// realm.Mask, and none is escaped.
	masked bool

	// written is how many bytes were filled in; overflow: they were too many,
	// and what was made is not whole.
	written  int
	overflow bool
}

// sharedFor are the shared fields that a secret is used with.
func (p *Program) sharedFor(s realm.Secret) map[string]realm.Hidden {
	if s.Shared != nil {
		return s.Shared
	}
	return p.realm.Config.Shared
}

// maxRendered bounds what a realm and a secret give together, in bytes. A realm
// of 64 KiB can name a field of 64 KiB six thousand times.
const maxRendered = 1 << 20

// mayWrite counts bytes that are about to be filled in, and reports whether
// there is room for them.
func (v *values) mayWrite(n int) bool {
	if v.overflow = v.overflow || n > maxRendered-v.written; v.overflow {
		return false
	}
	v.written += n
	return true
}

// tooLarge is the error of a part of a realm that is too large with the fields
// of this secret.
func tooLarge(field, realmID string) error {
	return realm.Fieldf(field, "gives realm %q more than 1 MiB to send with the fields of this secret", realmID)
}

// field returns a field of the secret, else the realm's shared one.
func (v *values) field(name string) (realm.Hidden, bool) {
	if value, ok := v.secret[name]; ok {
		return value, true
	}
	value, ok := v.shared[name]
	return value, ok
}

// get returns the value of a name. Bind has made sure that fields exist.
func (v *values) get(p part) string {
	if value, ok := v.path[p.name]; ok && p.from == fromCall {
		return value
	}
	switch {
	case v.masked && (p.isField() || p.isKept() || p.isParent() || slices.Contains(confidentialNames, p.name)):
		return realm.Mask
	case p.isField():
		value, _ := v.field(p.name)
		return value.Reveal()
	case p.isKept():
		return v.kept[p.name]
	case p.isParent() && v.parents == nil:
		return "1"
	case p.isParent():
		return v.parents[p.parent].Token.Reveal()
	}
	switch p.name {
	case "token":
		return v.token
	case "refresh_token":
		return v.refresh.Reveal()
	case "force":
		return strconv.FormatBool(v.force)
	case "state":
		return v.authorization.State.Reveal()
	case "code":
		return v.code.Reveal()
	case "code_verifier":
		return v.authorization.Verifier.Reveal()
	case "code_challenge":
		return v.authorization.challenge()
	case "callback_url":
		return v.callback.expand(v, nil)
	}
	return ""
}

// confidentialNames are those of a scope that no masked rendering shows.
var confidentialNames = []string{"refresh_token", "state", "code", "code_verifier", "code_challenge"}
