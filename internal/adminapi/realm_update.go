package adminapi

import (
	"maps"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// realmUpdate is the body of POST /api/realm. What is nil was not sent and
// stays; null was sent for what is empty.
type realmUpdate struct {
	id        string
	config    *realm.Config
	logicCode *string
	comment   *string
}

// readRealmUpdate reads the body. What the API itself adds to a realm is
// accepted, so that a document can be sent back as it came.
func readRealmUpdate(body []byte) (u realmUpdate, err error) {
	o, err := decodeObject(body)
	if err != nil {
		return u, err
	}
	if u.id, err = o.need("id"); err != nil {
		return u, err
	}
	if u.config, err = takeConfig(o); err != nil {
		return u, err
	}
	if u.logicCode, err = takeText(o, "logic_code"); err != nil {
		return u, err
	}
	if u.comment, err = takeText(o, "comment"); err != nil {
		return u, err
	}
	return u, o.end("created_at", "updated_at", "read_only", "not_yet_active", "damaged", "needs_values", "needs_shared", "warnings", "counts", "reads", "truncated")
}

// apply makes the change. It may be called more than once.
func (u realmUpdate) apply(r realm.Realm, _ bool) (realm.Realm, error) {
	if u.config != nil {
		config, err := unmask(*u.config, r.Config.Shared)
		if err != nil {
			return r, err
		}
		if !isMasked(u.config.Shared) {
			r.SharedHosts = nil // all of them are entered now, for the hosts of this config
		}
		r.Config = config
	}
	if u.logicCode != nil {
		r.LogicCode = *u.logicCode
	}
	if u.comment != nil {
		r.Comment = *u.comment
	}
	return r, nil
}

// isMasked reports whether a field is masked.
func isMasked(fields map[string]realm.Hidden) bool {
	for _, value := range fields {
		if value.Reveal() == realm.Mask {
			return true
		}
	}
	return false
}

// unmask gives masked shared fields the values that are stored for them, in a
// copy.
func unmask(c realm.Config, stored map[string]realm.Hidden) (realm.Config, error) {
	if c.Shared == nil {
		return c, nil
	}
	if err := realm.ValidateFields("config.shared", c.Shared); err != nil {
		return c, err
	}
	shared := make(map[string]realm.Hidden, len(c.Shared))
	for _, name := range slices.Sorted(maps.Keys(c.Shared)) {
		value := c.Shared[name]
		if value.Reveal() == realm.Mask {
			known, ok := stored[name]
			if !ok {
				return c, realm.Fieldf("config.shared."+name, "is masked, and no value is stored for it")
			}
			value = known
		}
		shared[name] = value
	}
	c.Shared = shared
	return c, nil
}

func takeConfig(o object) (*realm.Config, error) {
	var c realm.Config
	present, err := o.take("config", &c)
	if !present {
		return nil, err
	}
	return &c, err
}

func takeText(o object, name string) (*string, error) {
	var s string
	present, err := o.take(name, &s)
	if !present {
		return nil, err
	}
	return &s, err
}
