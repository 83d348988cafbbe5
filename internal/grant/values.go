package grant

import (
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// values are what the names of a template stand for.
type values struct {
	secret, shared map[string]realm.Hidden
	token          string
	refresh        realm.Hidden
	force          bool
	path           map[string]string // the arguments of the URL's path
	now            time.Time         // of the call, for expressions
	computed       map[*expression.Expression]string
	// masked values are for showing: every one that is confidential is
	// realm.Mask, and none is escaped.
	masked bool
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
	switch {
	case v.masked && (p.field || p.name == "refresh_token"):
		return realm.Mask
	case p.field:
		value, _ := v.field(p.name)
		return value.Reveal()
	case p.name == "token":
		return v.token
	case p.name == "refresh_token":
		return v.refresh.Reveal()
	case p.name == "force":
		return strconv.FormatBool(v.force)
	}
	return v.path[p.name]
}
