package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// Realm is a realm that the configuration defines: a provider, as data. It is
// read-only in the admin API, and realms of the database cannot shadow it.
type Realm struct {
	// The name of the realm: 1 to 255 bytes.
	ID string `json:"id"`

	// What the realm says, as the admin API takes it. Anywhere in it,
	// {env.NAME} and {file./absolute/path} are replaced when the
	// configuration is loaded.
	Config json.RawMessage `json:"config,omitempty"`

	// A URL that gets the secret by POST and answers {"token",
	// "expires_in"}, in seconds. A config that says how to get a token wins
	// over it. Default: none.
	LogicCode string `json:"logic_code,omitempty"`

	// Free text for people, at most 5,000 characters. Default: none.
	Comment string `json:"comment,omitempty"`

	// Where the values of shared fields come from that do not stand in config, by
	// their names; see the sources of a secret. Default: none.
	SharedSourcesRaw map[string]json.RawMessage `json:"shared_sources,omitempty" caddy:"namespace=tokens.sources inline_key=source"`

	// The credential sets of the realm. More can be added by the admin API.
	Secrets []Secret `json:"secrets,omitempty"`
}

// Secret is one credential set of a realm.
type Secret struct {
	// The name of the secret within its realm.
	Key string `json:"key"`

	// The values by name. Write {env.NAME} or {file./absolute/path} instead
	// of a value: what stands here is shown by Caddy's own admin API and kept
	// in its autosave file. The files are read again when they change.
	Fields map[string]string `json:"fields,omitempty"`

	// Where the values of other fields come from, by their names: a module that is
	// asked when a token is fetched. Default: none.
	SourcesRaw map[string]json.RawMessage `json:"sources,omitempty" caddy:"namespace=tokens.sources inline_key=source"`

	// Keep the token of this secret from everybody: it is put into proxied
	// requests, and no answer shows it. Default: false.
	InjectOnly bool `json:"inject_only,omitempty"`
}

// definition turns the realm into what the catalog takes, with everything that
// comes from the environment filled in, but for the fields that are read again.
func (r Realm) definition(from *fieldSources) (catalog.Definition, error) {
	def := catalog.Definition{Realm: realm.Realm{ID: r.ID, LogicCode: r.LogicCode, Comment: r.Comment}}
	if len(r.Config) > 0 {
		if err := realm.Decode(r.Config, "config", &def.Realm.Config); err != nil {
			return def, fmt.Errorf("realm '%s': %w", r.ID, err)
		}
	}
	var err error
	if def.Sources.Shared, err = from.take(def.Realm.Config.Shared, r.SharedSourcesRaw); err != nil {
		return def, fmt.Errorf("realm '%s': config.shared.%w", r.ID, err)
	}
	if err := resolveConfig(&def.Realm.Config); err != nil {
		return def, fmt.Errorf("realm '%s': %w", r.ID, err)
	}
	if err := readCA(&def.Realm.Config); err != nil {
		return def, fmt.Errorf("realm '%s': ca: %w", r.ID, err)
	}
	def.Sources.Secrets = make(map[string]map[string]*sources.Field)
	for _, s := range r.Secrets {
		secret := realm.Secret{Ref: realm.Ref{Realm: r.ID, Key: s.Key}, Fields: hidden(s.Fields), InjectOnly: s.InjectOnly}
		taken, err := from.take(secret.Fields, s.SourcesRaw)
		if err == nil {
			err = resolveFields(secret.Fields)
		}
		if err != nil {
			return def, fmt.Errorf("realm '%s': secret '%s': %w", r.ID, s.Key, err)
		}
		def.Sources.Secrets[s.Key] = taken
		def.Secrets = append(def.Secrets, secret)
	}
	return def, nil
}

// definitions turns all realms into what the catalog takes. The catalog refuses
// doubled ones and checks what they mean.
func definitions(realms []Realm, from *fieldSources) ([]catalog.Definition, error) {
	defs := make([]catalog.Definition, 0, len(realms))
	for _, r := range realms {
		def, err := r.definition(from)
		if err != nil {
			return nil, err
		}
		defs = append(defs, def)
	}
	return defs, nil
}

// checkSecrets checks the names in the secrets of a realm, and the sizes of
// their values. Errors are *realm.FieldError.
func checkSecrets(id string, secrets []Secret) error {
	seen := make(map[string]bool)
	for i, s := range secrets {
		fields := fieldSet{s.Fields, s.SourcesRaw}
		secret := realm.Secret{Ref: realm.Ref{Realm: id, Key: s.Key}, Fields: fields.hidden()}
		at := fmt.Sprintf("secrets[%d]", i)
		var field *realm.FieldError
		if err := secret.Validate(); errors.As(err, &field) {
			return realm.Fieldf(at+"."+field.Field, "%s", field.Reason)
		}
		if seen[s.Key] {
			return realm.Fieldf(at+".key", "'%s' is defined twice", s.Key)
		}
		seen[s.Key] = true
	}
	return nil
}

// hidden makes the values of a map confidential.
func hidden(fields map[string]string) map[string]realm.Hidden {
	if fields == nil {
		return nil
	}
	h := make(map[string]realm.Hidden, len(fields))
	for name, value := range fields {
		h[name] = realm.Hidden(value)
	}
	return h
}
