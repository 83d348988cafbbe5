package catalog

import (
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Realm is a realm with what was compiled from it. It never changes: when the
// realm is saved, there is a new one. So two pointers are equal only if nothing
// about the realm changed between them.
type Realm struct {
	// Written is the realm as it was written, Config what it says together with
	// its preset.
	Written realm.Realm
	Config  realm.Config
	Program *grant.Program
	// Secrets are those that a configuration defines, by key; the store may
	// have more.
	Secrets map[string]realm.Secret
	// Defined in a configuration: read-only for the API.
	Defined bool
	// sources are those of the fields of a realm that a configuration defines.
	sources Sources
}

// compile lays a realm over its preset, and gives a meaning to both together.
// Errors are *realm.FieldError.
func compile(r realm.Realm, trusted bool) (*Realm, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	c := &Realm{Written: r, Defined: trusted}
	var err error
	if c.Config, err = presets.Apply(r.Config); err != nil {
		return nil, err
	}
	c.Config.Preset = "" // it is in there: what is missing now is missing
	r.Config = c.Config
	if err := r.Validate(); err != nil {
		return nil, err
	}
	c.Program, err = grant.Compile(r, trusted)
	return c, err
}

// Check reports what is wrong with a realm that a configuration defines.
// Errors are *realm.FieldError.
func Check(r realm.Realm) error {
	_, err := compile(r, true)
	return err
}

// CheckSaved reports what is wrong with a realm that the API would save, but for
// what its parents have to do with it. Errors are *realm.FieldError.
func CheckSaved(r realm.Realm) error {
	if err := refuseLong(r); err != nil {
		return err
	}
	_, err := compile(r, false)
	return err
}

// With is the realm with another config, for a dry run; nil for its own.
// CodeReadOnly for a realm that a configuration defines: its secrets would go
// where the caller says.
func (r *Realm) With(config *realm.Config) (*Realm, error) {
	switch {
	case config == nil:
		return r, nil
	case r.Defined:
		return nil, readOnly("the realm")
	}
	other := r.Written
	other.Config = *config
	if err := refuseLong(other); err != nil { // what works here can be saved
		return nil, err
	}
	c, err := compile(other, false)
	if err != nil {
		return nil, err
	}
	if !keepsAny(r.Written.Config.Shared, config.Shared) { // the caller brings all that is sent
		c.Written.SharedHosts = c.sharedHosts()
	}
	return c, nil
}

// keepsAny reports whether a field still has the value that is stored.
func keepsAny(stored, fields map[string]realm.Hidden) bool {
	for name, value := range fields {
		if old, ok := stored[name]; ok && old == value {
			return true
		}
	}
	return false
}

// EndsPrevious reports whether a new token ends the one before at once.
func (r *Realm) EndsPrevious() bool {
	return r.Config.Semantics == realm.SemanticsRotate && r.Config.Overlap == 0
}

// GetsTokens reports whether the realm has token requests that can be made.
func (r *Realm) GetsTokens() bool { return r.Program.Fetches() && r.Program.Inactive() == "" }

// KeptWarm reports whether the tokens of the realm are kept alive when nobody
// uses them: where the realm says so, and those of accounts that the server
// itself authorizes.
func (r *Realm) KeptWarm() bool { return r.Config.KeepWarm.IsOn() || r.Program.Unattended() }
