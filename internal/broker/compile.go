package broker

import (
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// compiled is a realm with what was compiled from it. A lease belongs to one
// compiled realm: when the realm changes there is a new one, and the leases
// of the old one are not handed out any more.
type compiled struct {
	// own is the realm as it was written, config what it says together with
	// its preset.
	own     realm.Realm
	config  realm.Config
	program *grant.Program
	// secrets are those that a configuration defines; the store may have more.
	secrets map[string]realm.Secret
	// defined in a configuration: read-only for the API.
	defined bool
}

// compile lays a realm over its preset, and gives a meaning to both together.
// Errors are *realm.FieldError.
func compile(r realm.Realm, trusted bool) (*compiled, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	c := &compiled{own: r, defined: trusted}
	var err error
	if c.config, err = presets.Apply(r.Config); err != nil {
		return nil, err
	}
	c.config.Preset = "" // it is in there: what is missing now is missing
	r.Config = c.config
	if err := r.Validate(); err != nil {
		return nil, err
	}
	c.program, err = grant.Compile(r, trusted)
	return c, err
}

// Check says what is wrong with a realm that a configuration defines. Errors
// are *realm.FieldError.
func Check(r realm.Realm) error {
	_, err := compile(r, true)
	return err
}
