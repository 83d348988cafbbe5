package vault

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// UnmarshalCaddyfile reads the source of a field, or, without a path, what all fields
// have in common:
//
//	source vault [<mount>/<path>#<field>] {
//	    address <url>
//	    namespace <name>
//	    ca <file or PEM>
//	    token <token>
//	    token_file <path>
//	    approle {
//	        role_id <id>
//	        secret_id <id>
//	        secret_id_file <path>
//	        mount <path>
//	    }
//	    kubernetes {
//	        role <name>
//	        jwt_file <path>
//	        mount <path>
//	    }
//	    mount <path>
//	    cache <duration>
//	    lease <duration>
//	    timeout <duration>
//	}
func (v *Vault) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the name
	if d.NextArg() {
		v.Path = d.Val()
		if _, err := parsePlace("any", v.Path); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Errf("source vault: surplus argument '%s'", d.Val())
	}
	return block{
		"address":    text(&v.Address),
		"namespace":  text(&v.Namespace),
		"ca":         text(&v.CA),
		"token":      text(&v.Token),
		"token_file": text(&v.TokenFile),
		"mount":      text(&v.Mount),
		"cache":      duration(&v.Cache),
		"lease":      duration(&v.Lease),
		"timeout":    duration(&v.TimeLimit),
		"approle": func(d *caddyfile.Dispenser) error {
			v.AppRole = new(AppRole)
			return block{
				"role_id":        text(&v.AppRole.RoleID),
				"secret_id":      text(&v.AppRole.SecretID),
				"secret_id_file": text(&v.AppRole.SecretIDFile),
				"mount":          text(&v.AppRole.Mount),
			}.parse(d, "approle")
		},
		"kubernetes": func(d *caddyfile.Dispenser) error {
			v.Kubernetes = new(Kubernetes)
			return block{
				"role":     text(&v.Kubernetes.Role),
				"jwt_file": text(&v.Kubernetes.JWTFile),
				"mount":    text(&v.Kubernetes.Mount),
			}.parse(d, "kubernetes")
		},
	}.parse(d, "source vault")
}

// Confidential are the settings that should not stand in the Caddyfile.
func (v *Vault) Confidential() map[string]string {
	settings := map[string]string{"token": v.Token}
	if v.AppRole != nil {
		settings["approle secret_id"] = v.AppRole.SecretID
	}
	return settings
}

// block are the options that a block may have, each at most once.
type block map[string]func(d *caddyfile.Dispenser) error

func (b block) parse(d *caddyfile.Dispenser, what string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := b[name]
		switch {
		case !ok:
			return d.Errf("unknown %s option '%s'", what, name)
		case seen[name]:
			return d.Errf("%s option '%s' is given twice", what, name)
		}
		seen[name] = true
		if err := parse(d); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("%s option '%s': surplus argument '%s'", what, name, d.Val())
		}
	}
	return nil
}

// text is an option with one argument.
func text(p *string) func(d *caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if !d.NextArg() {
			return d.Errf("option '%s' needs a value", name)
		}
		*p = d.Val()
		return nil
	}
}

// duration is an option with a duration: "10s", "7d".
func duration(p *caddy.Duration) func(d *caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var value string
		if err := text(&value)(d); err != nil {
			return err
		}
		parsed, err := realm.ParseDuration(value)
		if err != nil {
			return d.WrapErr(err)
		}
		*p = caddy.Duration(parsed.Std())
		return nil
	}
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Vault)(nil)
	_ sources.Guarded       = (*Vault)(nil)
)
