package adminapi

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// secretUpdate is the body of POST /api/secret.
//
// A field that is null or empty is removed. One that is masked is as good as
// absent: what is stored stays, and where nothing is stored nothing is made
// of the mask. The earlier service's documentation posts masks to create a
// secret, so that is no error; who asks for the token is then told which
// field is missing.
type secretUpdate struct {
	catalog.SecretUpdate
	// masked are the slots that came masked.
	masked []string
}

// readSecretUpdate reads the body. What the API itself adds to a secret is
// accepted, so that a document can be sent back as it came.
func readSecretUpdate(body []byte) (u secretUpdate, err error) {
	o, err := decodeObject(body)
	if err != nil {
		return u, err
	}
	if u.Ref.Realm, err = o.need("realm"); err != nil {
		return u, err
	}
	if u.Ref.Key, err = o.need("key"); err != nil {
		return u, err
	}
	if err = u.takeFields(o); err != nil {
		return u, err
	}
	if u.Token, u.ExpiresAt, err = takeToken(o, "token", "expires_at"); err != nil {
		return u, err
	}
	if u.RefreshToken, u.RefreshExpiresAt, err = takeToken(o, "refresh_token", "refresh_expires_at"); err != nil {
		return u, err
	}
	if _, err = o.take("drop_refresh_token", &u.DropRefreshToken); err != nil {
		return u, err
	}
	if u.InjectOnly, err = takeInjectOnly(o); err != nil {
		return u, err
	}
	return u, intoFields(o.end("created_at", "updated_at", "read_only", "damaged", "needs_values", "warnings", "pushed"))
}

// intoFields adds to the error about an unknown name where named fields belong:
// the earlier service had key_1 to key_5 only, beside realm and key.
func intoFields(err error) error {
	var unknown *realm.FieldError
	if !errors.As(err, &unknown) {
		return err
	}
	return realm.Fieldf(unknown.Field, `%s; a field of the secret goes into "fields": {"%s": ...}`,
		unknown.Reason, strings.Trim(unknown.Field, `"`))
}

// takeFields takes "fields" and the slots, which are two spellings of one
// thing.
func (u *secretUpdate) takeFields(o object) error {
	u.Fields = map[string]*realm.Hidden{}
	if raw, ok := o["fields"]; ok && !isNull(raw) {
		named, err := realm.DecodeObject(raw, "fields")
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(named)) {
			if err := realm.ValidateFields("fields", map[string]realm.Hidden{name: ""}); err != nil {
				return err
			}
			if err := u.set("fields."+name, name, named[name]); err != nil {
				return err
			}
		}
	}
	delete(o, "fields")
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if !slot.MatchString(name) {
			continue
		}
		if err := u.set(name, name, o[name]); err != nil {
			return err
		}
		delete(o, name)
	}
	return nil
}

// set takes one field. path is where the caller wrote it.
func (u *secretUpdate) set(path, name string, raw json.RawMessage) error {
	var value *realm.Hidden
	if !isNull(raw) {
		value = new(realm.Hidden)
		if err := realm.Decode(raw, path, value); err != nil {
			return err
		}
	}
	if value != nil && value.Reveal() == realm.Mask {
		if slot.MatchString(name) {
			u.masked = append(u.masked, name)
		}
		return nil
	}
	if value != nil && *value == "" {
		value = nil
	}
	if other, twice := u.Fields[name]; twice && !equal(other, value) {
		return realm.Fieldf(path, "is given twice, with two values")
	}
	u.Fields[name] = value
	return nil
}

// takeToken takes a token that is imported with the secret, and its end. A
// null, empty, blank or masked one is none: exports of the earlier services have
// such.
func takeToken(o object, name, endName string) (*realm.Hidden, *time.Time, error) {
	var token realm.Hidden
	named, err := o.take(name, &token)
	if err != nil {
		return nil, nil, err
	}
	end, err := takeMillis(o, endName)
	switch {
	case err != nil:
		return nil, nil, err
	case !named:
		return nil, end, nil
	case strings.TrimSpace(token.Reveal()) == "" || token.Reveal() == realm.Mask:
		return nil, nil, nil
	}
	return &token, end, nil
}

// takeInjectOnly takes whether the token is kept from everybody; nil where that
// is not said. null says no, as it clears every other field.
func takeInjectOnly(o object) (*bool, error) {
	raw, ok := o["inject_only"]
	if !ok {
		return nil, nil
	}
	var on bool
	if isNull(raw) {
		delete(o, "inject_only")
		return &on, nil
	}
	_, err := o.take("inject_only", &on)
	return &on, err
}

// lastMillis is the end of the year 9999, the last one that RFC 3339 can say.
const lastMillis = 253402300799999

// takeMillis takes milliseconds since the Unix epoch, nil for null and 0. A
// number in quotes counts: that is how a BIGINT leaves many SQL drivers.
func takeMillis(o object, name string) (*time.Time, error) {
	raw, ok := o[name]
	delete(o, name)
	if !ok || isNull(raw) {
		return nil, nil
	}
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil || n < 0 || n > lastMillis {
		return nil, realm.Fieldf(name, "must be milliseconds since 1970, a whole number")
	}
	if n == 0 {
		return nil, nil
	}
	at := time.UnixMilli(n).UTC()
	return &at, nil
}

// equal reports whether two values are the same, or both none.
func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
