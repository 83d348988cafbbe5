package adminapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/caddyfile"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxWrittenSecrets and maxWrittenFields bound what one request has written.
const (
	maxWrittenSecrets = 1000
	maxWrittenFields  = 10000
)

// writeCaddyfile answers POST /api/caddyfile: the block of a Caddyfile that says
// the same as the realm of the body. Nothing is stored, no other realm is looked
// at, and no value is taken: a secret has the names of its fields alone.
func (a *api) writeCaddyfile(_ context.Context, r *request) (any, error) {
	o, err := decodeWithoutKey(r.body)
	if err != nil {
		return nil, err
	}
	written, err := takeWrittenRealm(o)
	if err != nil {
		return nil, err
	}
	secrets, err := takeWrittenSecrets(o, written.ID)
	if err != nil {
		return nil, err
	}
	if err := o.end(); err != nil {
		return nil, err
	}
	if err := catalog.CheckSaved(written); err != nil {
		return nil, below("realm", err)
	}
	block, err := caddyfile.Write(written, secrets)
	if err != nil {
		return nil, below("realm", err)
	}
	return plainJSON(struct {
		Caddyfile string `json:"caddyfile"`
	}{block})
}

// below puts the path of an error below the member of the body that is wrong. One
// about the secrets stands there already.
func below(member string, err error) error {
	var field *realm.FieldError
	if !errors.As(err, &field) || strings.HasPrefix(field.Field, "secrets[") {
		return err
	}
	return realm.Fieldf(member+"."+field.Field, "%s", field.Reason)
}

// takeWrittenRealm takes the realm, as POST /api/realm has it. Shared fields may be
// masked, since their values are not written.
func takeWrittenRealm(o object) (r realm.Realm, err error) {
	raw, ok := o["realm"]
	if !ok || isNull(raw) {
		return r, realm.Fieldf("realm", "is required")
	}
	delete(o, "realm")
	u, err := readRealmUpdate(raw)
	if err != nil {
		return r, below("realm", err)
	}
	r.ID = u.id
	if u.config != nil {
		r.Config = *u.config
	}
	if u.logicCode != nil {
		r.LogicCode = *u.logicCode
	}
	if u.comment != nil {
		r.Comment = *u.comment
	}
	return r, nil
}

// takeWrittenSecrets takes the keys of the secrets and the names of their fields.
func takeWrittenSecrets(o object, id string) ([]caddyfile.Secret, error) {
	var list []struct {
		Key        string   `json:"key"`
		Fields     []string `json:"fields"`
		InjectOnly bool     `json:"inject_only"`
	}
	if _, err := o.take("secrets", &list); err != nil {
		return nil, err
	}
	if len(list) > maxWrittenSecrets {
		return nil, realm.Fieldf("secrets", "are %d; %d is the limit", len(list), maxWrittenSecrets)
	}
	var secrets []caddyfile.Secret
	count := 0
	for i, item := range list {
		at := fmt.Sprintf("secrets[%d]", i)
		if count += len(item.Fields); count > maxWrittenFields {
			return nil, realm.Fieldf(at+".fields", "are too many: %d is the limit for all secrets", maxWrittenFields)
		}
		checked := realm.Secret{Ref: realm.Ref{Realm: id, Key: item.Key}, Fields: map[string]realm.Hidden{}}
		for j, name := range item.Fields {
			if slices.Index(item.Fields, name) < j {
				return nil, realm.Fieldf(at+".fields", "name %.64q twice", name)
			}
			checked.Fields[name] = ""
		}
		if err := checked.Validate(); err != nil {
			return nil, below(at, err)
		}
		if slices.ContainsFunc(secrets, func(s caddyfile.Secret) bool { return s.Key == item.Key }) {
			return nil, realm.Fieldf(at+".key", "is given twice")
		}
		secrets = append(secrets, caddyfile.Secret{Key: item.Key, Fields: item.Fields, InjectOnly: item.InjectOnly})
	}
	return secrets, nil
}
