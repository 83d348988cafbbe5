// Package vault gives fields values of the KV version 2 engine of HashiCorp Vault or
// OpenBao: the Caddy module tokens.sources.vault. The plugin does not import it, so
// that only those have Vault's client in their program who ask for it:
//
//	xcaddy build --with github.com/caddy-tokens/caddy-tokens \
//	    --with github.com/caddy-tokens/caddy-tokens/sources/vault
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

const (
	// defaultCache is how long a value is used without asking.
	defaultCache = 5 * time.Minute
	// defaultLease is how long the last value is used while Vault cannot be asked,
	// where Vault does not say it. The values of KV version 2 have no lease.
	defaultLease = time.Hour
	// maxTimeout bounds the timeout: whoever fetches a token waits.
	maxTimeout = time.Minute
)

func init() { caddy.RegisterModule((*Vault)(nil)) }

// Vault gives a field a value of the KV version 2 engine of HashiCorp Vault or OpenBao.
// In the tokens block, it has what all such fields have in common; a field with an
// address of its own has nothing in common with them.
//
// It signs in when the first value is needed, and again when its token has ended. No
// value and no token of Vault is kept anywhere but in memory.
type Vault struct {
	// How the server is reached, and who is signed in.
	Connection

	// Where the value is: <mount>/<path>#<field>, such as kv/wx#appsecret. Required
	// in a field.
	Path string `json:"path,omitempty"`

	// The mount of the engine, where that has a slash in its name. Default: the path
	// to its first slash.
	Mount string `json:"mount,omitempty"`

	// How long a value is used without asking again. Default: 5m.
	Cache caddy.Duration `json:"cache,omitempty"`

	// How long the last value is used while Vault cannot be asked. Default: what Vault
	// says, which is nothing for this engine; then 1h.
	Lease caddy.Duration `json:"lease,omitempty"`

	// How long Vault may take, at most 1m. Default: 10s.
	TimeLimit caddy.Duration `json:"timeout,omitempty"`

	place   place
	session *session
	// own is the session that this module made; nil if it is that of the tokens block.
	own *session
}

// CaddyModule returns the Caddy module information.
func (*Vault) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tokens.sources.vault", New: func() caddy.Module { return new(Vault) }}
}

// Provision checks the settings. Nothing is connected.
func (v *Vault) Provision(ctx caddy.Context) error {
	for name, d := range map[string]caddy.Duration{"cache": v.Cache, "lease": v.Lease} {
		if d < 0 || time.Duration(d) > realm.MaxLifetime {
			return fmt.Errorf("%s is out of range", name)
		}
	}
	if v.TimeLimit < 0 || time.Duration(v.TimeLimit) > maxTimeout {
		return errors.New("timeout must be at most a minute")
	}
	if v.Path != "" {
		var err error
		if v.place, err = parsePlace(v.Mount, v.Path); err != nil {
			return err
		}
	}
	if v.Address == "" {
		return v.refuseLone()
	}
	var err error
	if v.own, err = newSession(v.Connection, ctx.Logger()); err != nil {
		return err
	}
	v.session = v.own
	return nil
}

// Inherit takes over the connection, and the times, of the tokens block.
func (v *Vault) Inherit(from any) error {
	if v.Path == "" {
		return errors.New("needs a path: kv/wx#appsecret")
	}
	shared, ok := from.(*Vault)
	if !ok {
		if v.session == nil {
			return errors.New("needs an address, here or in the tokens block")
		}
		return nil
	}
	if v.session == nil {
		v.session = shared.session
	}
	if v.session == nil {
		return errors.New("the tokens block has no address of it")
	}
	for own, other := range map[*caddy.Duration]caddy.Duration{&v.Cache: shared.Cache, &v.Lease: shared.Lease, &v.TimeLimit: shared.TimeLimit} {
		if *own == 0 {
			*own = other
		}
	}
	return nil
}

// Start begins to keep a token of the configuration alive, whether it is used or not.
func (v *Vault) Start() {
	if v.own != nil {
		v.own.keepToken()
	}
}

// Cleanup ends the session.
func (v *Vault) Cleanup() error {
	if v.own != nil {
		v.own.close()
	}
	return nil
}

// String names the value.
func (v *Vault) String() string { return "vault " + v.Path }

// Timeout is how long Read may take.
func (v *Vault) Timeout() time.Duration { return time.Duration(v.TimeLimit) }

// Read asks for the newest version of the secret.
func (v *Vault) Read(ctx context.Context) (sources.Value, error) {
	secret, err := v.session.read(ctx, v.place)
	if err != nil {
		return sources.Value{}, err
	}
	if secret.Data == nil {
		return sources.Value{}, fmt.Errorf("%w: the newest version of the secret was deleted (404)", sources.ErrRefused)
	}
	text, ok := textOf(secret.Data[v.place.field])
	if !ok {
		return sources.Value{}, fmt.Errorf("%w: the secret has no field '%s' that is a text", sources.ErrRefused, v.place.field)
	}
	value := sources.Value{Text: realm.Hidden(text), Fresh: orDefault(v.Cache, defaultCache)}
	value.Lease = orDefault(v.Lease, defaultLease)
	if seconds := secret.Raw.LeaseDuration; seconds > 0 && v.Lease == 0 {
		value.Lease = time.Duration(min(seconds, int(realm.MaxLifetime/time.Second))) * time.Second
	}
	value.Fresh = min(value.Fresh, value.Lease)
	return value, nil
}

func orDefault(d caddy.Duration, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return time.Duration(d)
}

// textOf is the text of a member of a secret.
func textOf(member any) (string, bool) {
	switch m := member.(type) {
	case string:
		return m, m != ""
	case json.Number:
		return m.String(), true
	case bool:
		return strconv.FormatBool(m), true
	}
	return "", false
}

// place is where a value is.
type place struct{ mount, path, field string }

// parsePlace reads <mount>/<path>#<field>. A mount that is given may be left out of
// the path.
func parsePlace(mount, text string) (place, error) {
	path, field, _ := strings.Cut(text, "#")
	p := place{mount: strings.Trim(mount, "/"), path: path, field: field}
	if p.mount == "" {
		p.mount, p.path, _ = strings.Cut(path, "/")
	} else {
		p.path = strings.TrimPrefix(path, p.mount+"/")
	}
	if p.mount == "" || p.path == "" || p.field == "" {
		return p, fmt.Errorf("the path '%s' is not <mount>/<path>#<field>, such as kv/wx#appsecret", text)
	}
	for step := range strings.SplitSeq(p.mount+"/"+p.path, "/") {
		if step == "" || step == "." || step == ".." || strings.ContainsAny(step, "?%\\") {
			return p, fmt.Errorf("the path '%s' has a step that no path of Vault has", text)
		}
	}
	return p, nil
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Vault)(nil)
	_ caddy.CleanerUpper = (*Vault)(nil)
	_ sources.Source     = (*Vault)(nil)
	_ sources.Patient    = (*Vault)(nil)
	_ sources.Heir       = (*Vault)(nil)
	_ sources.Starter    = (*Vault)(nil)
)
