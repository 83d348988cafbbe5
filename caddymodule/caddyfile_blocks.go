package caddymodule

import (
	"encoding/json"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// injectPlaces are the words for the places of a token.
var injectPlaces = map[string]string{
	"query":  realm.PlaceURL,
	"header": realm.PlaceHeader,
	"basic":  realm.PlaceBasic,
	"body":   realm.PlaceBody,
	"path":   realm.PlacePath,
	"cookie": realm.PlaceCookie,
}

// grant reads a grant, a named constructor of recipes:
//
//	grant <name> {
//	    token_url <url>
//	    client_id <value>
//	    client_secret <value>
//	    scopes <scopes...>
//	    token_endpoint_auth_method <client_secret_basic|client_secret_basic_raw|client_secret_post|
//	        client_secret_jwt|private_key_jwt|tls_client_auth|self_signed_tls_client_auth|none>
//	    authorize_url <url>                                  # of authorization_code
//	    pkce S256|off                                        # of authorization_code
//	    issuer <value>                                       # of that, and of jwt_bearer
//	    subject <value>                                      # of jwt_bearer
//	    audience <value>                                     # of that, client_credentials and token_exchange
//	    resource <uris...>                                   # of client_credentials and token_exchange
//	    private_key|key_id <value>                           # of jwt_bearer and of a client that signs
//	    algorithm <RS256|PS256|ES256|HS256>                  # of the same
//	    certificate <value>                                  # of private_key_jwt
//	    subject_token|subject_token_type <value>             # of token_exchange
//	    actor_token|actor_token_type <value>                 # of token_exchange
//	    requested_token_type <value>                         # of token_exchange
//	    token <value>                                        # of static
//	    expr <expression>                                    # of computed
//	}
func (p *realmParser) grant(d *caddyfile.Dispenser) error {
	p.at.here(d, "config.grant")
	name, err := arg(d)
	if err != nil {
		return err
	}
	if d.NextArg() {
		return d.Errf("grant '%s': surplus argument '%s'", name, d.Val())
	}
	g := &realm.Grant{Name: name}
	p.realm.Config.Grant = g
	o := options{
		"token_url":                  text(&g.TokenURL),
		"client_id":                  text(&g.ClientID),
		"client_secret":              text(&g.ClientSecret),
		"scopes":                     list(&g.Scopes),
		"token_endpoint_auth_method": text(&g.TokenEndpointAuthMethod),
		"authorize_url":              text(&g.AuthorizeURL),
		"pkce":                       text(&g.PKCE),
		"issuer":                     text(&g.Issuer),
		"subject":                    text(&g.Subject),
		"audience":                   text(&g.Audience),
		"private_key":                text(&g.PrivateKey),
		"key_id":                     text(&g.KeyID),
		"algorithm":                  text(&g.Algorithm),
		"token":                      text(&g.Token),
		"expr":                       text(&g.Expr),
		"resource":                   list(&g.Resource),
		"certificate":                text(&g.Certificate),
		"subject_token":              text(&g.SubjectToken),
		"subject_token_type":         text(&g.SubjectTokenType),
		"actor_token":                text(&g.ActorToken),
		"actor_token_type":           text(&g.ActorTokenType),
		"requested_token_type":       text(&g.RequestedTokenType),
	}
	for name, field := range o {
		o[name] = p.at.tracked("config.grant."+name, field)
	}
	return o.parse(d, "grant")
}

// inject reads one place of the token; all of them are filled:
//
//	inject query|header|basic|body|path|cookie <name> [<value>]
//
// The value is {token} where none is given. In its place, one that is computed
// (CEL) may stand:
//
//	inject <place> <name> expr <expression>
func (p *realmParser) inject(d *caddyfile.Dispenser) error {
	p.at.here(d, fmt.Sprintf("config.inject[%d]", len(p.realm.Config.Inject)))
	words := d.RemainingArgs()
	isComputed := len(words) == 4 && words[2] == "expr"
	if len(words) < 2 || len(words) > 3 && !isComputed {
		return d.Errf("option 'inject' needs a place, a name and perhaps a value")
	}
	place, ok := injectPlaces[words[0]]
	if !ok {
		return d.Errf("option 'inject': the place '%s' is not query, header, basic, body, path or cookie", words[0])
	}
	in := realm.Injection{Place: place, Name: words[1]}
	switch {
	case isComputed:
		in.Expr = words[3]
	case len(words) == 3:
		in.Value = words[2]
	}
	p.realm.Config.Inject = append(p.realm.Config.Inject, in)
	return nil
}

// secret reads one credential set, named by its key:
//
//	secret <key> {
//	    <field> <value>
//	    <field> source <name> ...       # see fieldSet.parse
//	    inject_only [on|off]
//	}
func (p *realmParser) secret(d *caddyfile.Dispenser) error {
	key, err := arg(d)
	if err != nil {
		return err
	}
	at := fmt.Sprintf("secrets[%d]", len(p.secrets))
	p.at.here(d, at)
	for _, s := range p.secrets {
		if s.Key == key {
			return d.Errf("secret '%s' is given twice", key)
		}
	}
	if d.NextArg() {
		return d.Errf("secret '%s': surplus argument '%s'", key, d.Val())
	}
	s := Secret{Key: key}
	fields, err := p.fields(d, "secret", at+".fields", options{"inject_only": onOff(&s.InjectOnly)})
	s.Fields, s.SourcesRaw = fields.values, fields.sources
	p.secrets = append(p.secrets, s)
	return err
}

// parseShared reads the fields that all secrets of the realm share:
//
//	shared {
//	    <field> <value>
//	    <field> source <name> ...       # see fieldSet.parse
//	}
func (p *realmParser) parseShared(d *caddyfile.Dispenser) (err error) {
	p.at.here(d, "config.shared")
	if d.NextArg() {
		return d.Errf("realm option 'shared': surplus argument '%s'", d.Val())
	}
	p.shared, err = p.fields(d, "shared", "config.shared", nil)
	return err
}

// limits reads the bounds of the calls to the token endpoint:
//
//	limits {
//	    timeout <duration>
//	    concurrency <number>
//	    min_interval <duration>
//	    backoff_cap <duration>
//	    windows <calls> <duration>
//	}
func (p *realmParser) limits(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("realm option 'limits': surplus argument '%s'", d.Val())
	}
	l := &p.realm.Config.Limits
	o := options{
		"timeout":      duration(&l.Timeout),
		"concurrency":  value(&l.Concurrency, number),
		"min_interval": duration(&l.MinInterval),
		"backoff_cap":  duration(&l.BackoffCap),
		"windows":      {parse: p.window, repeat: true},
	}
	for name, field := range o {
		o[name] = p.at.tracked("config.limits."+name, field)
	}
	return o.parse(d, "limits")
}

// window reads a quota of the provider:
//
//	windows <calls> <duration>
func (p *realmParser) window(d *caddyfile.Dispenser) error {
	var calls, per string
	if !d.Args(&calls, &per) {
		return d.Errf("option 'windows' needs a number of calls and a duration")
	}
	n, err := number(calls)
	if err != nil {
		return d.Errf("option 'windows': %v", err)
	}
	dur, err := realm.ParseDuration(per)
	if err != nil {
		return d.Errf("option 'windows': %v", err)
	}
	l := &p.realm.Config.Limits
	l.Windows = append(l.Windows, realm.Window{Calls: n, Per: dur})
	return nil
}

// fields reads a block of names with one value each, among which options may
// stand. path is where the fields stand in the JSON.
func (p *realmParser) fields(d *caddyfile.Dispenser, what, path string, others options) (fieldSet, error) {
	fields, seen := fieldSet{values: make(map[string]string)}, make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		option, isOption := others[name]
		switch {
		case seen[name] && isOption:
			return fields, d.Errf("%s option '%s' is given twice", what, name)
		case seen[name]:
			return fields, d.Errf("%s field '%s' is given twice", what, name)
		case isOption:
			if err := option.parse(d); err != nil {
				return fields, err
			}
		case !d.NextArg():
			return fields, d.Errf("%s field '%s' needs a value", what, name)
		default:
			p.at.here(d, path+"."+name)
			if err := fields.parse(d, name); err != nil {
				return fields, err
			}
		}
		seen[name] = true
		if err := endOfLine(d, what, name); err != nil {
			return fields, err
		}
	}
	return fields, nil
}

// fieldSet are the fields of a secret or of a realm: those that have a value, and
// those that have a source, by their names.
type fieldSet struct {
	values  map[string]string
	sources map[string]json.RawMessage
}

// parse reads the value of a field, on which the dispenser stands, or where it comes
// from. A value that is the word source stands alone.
//
//	<field> <value>
//	<field> source file <path>
//	<field> source env <name>
//	<field> source exec <path> <args...> { ... }
//	<field> source <other module> ...
func (f *fieldSet) parse(d *caddyfile.Dispenser, field string) error {
	if value := d.Val(); value != sourceKey || !d.NextArg() {
		f.values[field] = value
		return nil
	}
	name := d.Val()
	if err := checkSourceName(name); err != nil {
		return d.Errf("field '%s': %v", field, err)
	}
	module, err := unmarshalSource(d, name)
	if err != nil {
		return err
	}
	if f.sources == nil {
		f.sources = make(map[string]json.RawMessage)
	}
	f.sources[field] = caddyconfig.JSONModuleObject(module, sourceKey, name, nil)
	return nil
}

// hidden are the fields as a realm has them, those with a source without a value.
func (f *fieldSet) hidden() map[string]realm.Hidden {
	all := hidden(f.values)
	for name := range f.sources {
		all[name] = ""
	}
	return all
}
