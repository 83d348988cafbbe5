package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// realmParser reads one realm block.
type realmParser struct {
	realm   realm.Realm
	shared  fieldSet
	secrets []Secret
	recipes []*recipeParser
	at      places
}

// parseRealm reads a realm. Every field of a realm's JSON is an option of the
// same name; recipes, injections and secrets have short forms:
//
//	realm <id> {
//	    preset <name>
//	    api <url>
//	    hosts <hosts...>
//	    fetch <method> <url> { ... }             # see recipeParser.parse
//	    <any field of the fetch recipe>
//	    refresh|exchange|authorize [<method> <url>] { ... }
//	    grant <name> { ... }                     # see parseGrant
//	    inject query|header|basic|body|path|cookie <name> [<value>]
//	    renew_on <rule> { ... }                  # see renewOn
//	    secret <key> { <field> <value or source> ... ; inject_only [on|off] }
//	    shared { <field> <value or source> ... }
//	    limits { ... }                           # see parseLimits
//	    lifetime <duration>|unlimited
//	    time_zone <name>
//	    callback_url <url>
//	    code_name <name>
//	    default_key <key>
//	    pass <header>...
//	    methods <method>...
//	    proxy <url> [resolve] | off
//	    ca <file or PEM>
//	    client_certificate <field>
//	    client_key <field>
//	    unattended|upgrade|allow_http|forwarded|... [on|off]
//	    ...
//	}
func parseRealm(d *caddyfile.Dispenser) (*realmParser, error) {
	p, err := readUnchecked(d)
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	p.warn()
	return p, nil
}

// readUnchecked reads a realm, and does not judge it yet.
func readUnchecked(d *caddyfile.Dispenser) (*realmParser, error) {
	p := &realmParser{at: places{}}
	id, err := arg(d)
	if err != nil {
		return nil, err
	}
	p.realm.ID = id
	p.at.here(d, "")
	if d.NextArg() {
		return nil, d.Errf("realm '%s': surplus argument '%s'", id, d.Val())
	}
	if err := p.options().parse(d, "realm"); err != nil {
		return nil, err
	}
	for _, r := range p.recipes {
		if err := r.finish(d); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *realmParser) options() options {
	c := &p.realm.Config
	fetch := p.recipe(&c.Recipe, "config")
	o := maps.Clone(fetch.fields)
	maps.Copy(o, options{
		"fetch":      {parse: fetch.parse},
		"refresh":    p.recipeBlock(&c.Refresh, "config.refresh"),
		"authorize":  p.recipeBlock(&c.Authorize, "config.authorize"),
		"exchange":   p.recipeBlock(&c.Exchange, "config.exchange"),
		"grant":      {parse: p.grant},
		"inject":     {parse: p.inject, repeat: true},
		"renew_on":   {parse: p.renewOn, repeat: true},
		"secret":     {parse: p.secret, repeat: true},
		"shared":     {parse: p.parseShared},
		"limits":     {parse: p.limits},
		"logic_code": p.at.tracked("logic_code", text(&p.realm.LogicCode)),
		"comment":    p.at.tracked("comment", text(&p.realm.Comment)),
	})
	for name, field := range map[string]option{
		"api":                text(&c.API),
		"hosts":              list(&c.Hosts),
		"volatile":           list(&c.Volatile),
		"push":               text(&c.Push),
		"pass":               list(&c.Pass),
		"methods":            list(&c.Methods),
		"preset":             text(&c.Preset),
		"lifetime":           value(&c.Lifetime, realm.ParseLifetime),
		"time_zone":          text(&c.TimeZone),
		"refresh_semantics":  text(&c.RefreshSemantics),
		"refresh_grace":      duration(&c.RefreshGrace),
		"semantics":          text(&c.Semantics),
		"overlap":            duration(&c.Overlap),
		"renew_before":       value(&c.RenewBefore, realm.ParseLead),
		"default_key":        text(&c.DefaultKey),
		"callback_url":       text(&c.CallbackURL),
		"code_name":          text(&c.CodeName),
		"proxy":              proxyOption(&c.Proxy),
		"ca":                 text(&c.CA),
		"client_certificate": text(&c.ClientCertificate),
		"client_key":         text(&c.ClientKey),
		"replay_max":         value(&c.ReplayMax, realm.ParseSize),
		"unattended":         switched(&c.Unattended),
		"keep_warm":          switched(&c.KeepWarm),
		"upgrade":            switched(&c.Upgrade),
		"scrub":              switched(&c.Scrub),
		"allow_http":         switched(&c.AllowHTTP),
		"forwarded":          switched(&c.Forwarded),
		"inject_only":        switched(&c.InjectOnly),
		"rewrite_links":      switched(&c.RewriteLinks),
	} {
		o[name] = p.at.tracked("config."+name, field)
	}
	return o
}

func (p *realmParser) recipe(r *realm.Recipe, path string) *recipeParser {
	parser := newRecipeParser(r, path, p.at)
	p.recipes = append(p.recipes, parser)
	return parser
}

func (p *realmParser) recipeBlock(to **realm.Recipe, path string) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		*to = new(realm.Recipe)
		return p.recipe(*to, path).parse(d)
	}}
}

// check says what is wrong with the realm, with the place where it was
// written. The shape of a realm that takes values from its environment is
// known only when those are.
func (p *realmParser) check() error {
	if err := checkSecrets(p.realm.ID, p.secrets); err != nil {
		return p.placed(err)
	}
	r := p.realm
	if fromEnvironment(&r.Config) {
		return nil
	}
	r.Config.Shared = p.shared.hidden()
	if isFile(r.Config.CA) {
		r.Config.CA = "" // it is read when the configuration is loaded
	}
	return p.placed(catalog.Check(r)) // here the line of a wrong template or expression is known
}

// placed says in which realm and on which line a field is wrong.
func (p *realmParser) placed(err error) error {
	var field *realm.FieldError
	if !errors.As(err, &field) {
		return err
	}
	name := strings.TrimPrefix(field.Field, "config.")
	return fmt.Errorf("realm '%s': %s: %s, at %s", p.realm.ID, name, field.Reason, p.at.of(field.Field))
}

// result is the realm as it stands in the configuration. realm.Config would
// marshal its shared fields and the proxy's password masked, so they are written
// beside it.
func (p *realmParser) result() Realm {
	config := struct {
		realm.Config
		Shared map[string]string `json:"shared,omitempty"`
		Proxy  string            `json:"proxy,omitempty"`
	}{p.realm.Config, p.shared.values, p.realm.Config.Proxy.Reveal()}
	return Realm{
		ID: p.realm.ID, Config: caddyconfig.JSON(config, nil),
		LogicCode: p.realm.LogicCode, Comment: p.realm.Comment, Secrets: p.secrets,
		SharedSourcesRaw: p.shared.sources,
	}
}
