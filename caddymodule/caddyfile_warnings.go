package caddymodule

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
)

// shellVariable matches a value that is a variable as a shell, docker compose
// or cmd.exe writes it: $NAME, ${NAME}, %NAME%.
var shellVariable = regexp.MustCompile(`^(?:\$([A-Z][A-Z0-9_]*)|\$\{([A-Z][A-Z0-9_]*)\}|%([A-Z][A-Z0-9_]*)%)$`)

// warn logs what is allowed in a realm and is hardly meant, with the place
// where it was written. The place is known only here, while the Caddyfile is
// read; of a value it is not known what it will be in the environment.
func (p *realmParser) warn() {
	log := caddy.Log().Named(appName)
	tell := func(field, message string) {
		log.Warn(message, zap.String("realm", p.realm.ID), zap.String("field", strings.TrimPrefix(field, "config.")),
			zap.String("at", p.at.of(field)))
	}
	p.warnVariables(tell)
	p.warnOpenSecrets()
	p.warnFieldNames(tell)
	if !p.realm.Config.AllowHTTP.IsOn() {
		p.warnHTTP(tell)
	}
}

// warnVariables tells of values that are taken literally though they look like
// variables of the environment.
func (p *realmParser) warnVariables(tell func(field, message string)) {
	for i, s := range p.secrets {
		for _, name := range slices.Sorted(maps.Keys(s.Fields)) {
			if variable := variableIn(s.Fields[name]); variable != "" {
				tell(fmt.Sprintf("secrets[%d].fields.%s", i, name), literally(variable))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.shared.values)) {
		if variable := variableIn(p.shared.values[name]); variable != "" {
			tell("config.shared."+name, literally(variable))
		}
	}
	for _, v := range p.values() {
		if variable := variableIn(v.text); variable != "" && (v.text != "$"+variable || !p.mayHaveField(variable)) {
			tell(v.field, literally(variable))
		}
	}
}

// warnFieldNames tells of fields that look like slips of those that the realm's
// preset reads. They are allowed, because a secret may hold more than is read; but
// an optional field under another name would leave its default in force, silently.
func (p *realmParser) warnFieldNames(tell func(field, message string)) {
	preset, err := presets.Get(p.realm.Config.Preset)
	if err != nil {
		return
	}
	var known []string
	for _, f := range preset.Fields {
		known = append(known, f.Name)
	}
	look := func(path string, fields map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if near := spelling.DidYouMean(name, known); near != "" && !slices.Contains(known, name) {
				tell(path+name, "the preset "+preset.Name+" reads no field of this name"+near)
			}
		}
	}
	for i, s := range p.secrets {
		look(fmt.Sprintf("secrets[%d].fields.", i), s.Fields)
	}
	look("config.shared.", p.shared.values)
}

// variableIn is the name of the variable that a value looks like, "" for none.
func variableIn(value string) string {
	if m := shellVariable.FindStringSubmatch(value); m != nil {
		return m[1] + m[2] + m[3] // one of them
	}
	return ""
}

// literally is the warning. It names a variable only where it surely is one: a
// password may begin with a dollar sign, and must not get into a log.
func literally(variable string) string {
	name := variable
	if _, set := os.LookupEnv(name); !set && !strings.Contains(name, "_") {
		name = "NAME"
	}
	return fmt.Sprintf("the value is taken literally; for the environment variable, write {env.%s}", name)
}

// mayHaveField reports whether $name can be a field of a secret in a recipe:
// secrets that the API adds may have it where the Caddyfile has none.
func (p *realmParser) mayHaveField(name string) bool {
	if len(p.secrets) == 0 {
		return true
	}
	_, ok := p.shared.values[name]
	return ok || slices.ContainsFunc(p.secrets, func(s Secret) bool {
		_, ok := s.Fields[name]
		return ok
	})
}

// fieldText is a text of a realm and its path in the JSON.
type fieldText struct{ field, text string }

// values are the texts of a realm that may hold credentials.
func (p *realmParser) values() (all []fieldText) {
	for _, r := range p.recipes {
		for i, a := range r.recipe.Arguments {
			all = append(all, fieldText{fmt.Sprintf("%s.arguments[%d]", r.path, i), a.Value})
		}
	}
	if g := p.realm.Config.Grant; g != nil {
		for _, f := range []fieldText{
			{"client_id", g.ClientID},
			{"client_secret", g.ClientSecret},
			{"private_key", g.PrivateKey},
			{"key_id", g.KeyID},
			{"issuer", g.Issuer},
			{"subject", g.Subject},
			{"token", g.Token},
			{"certificate", g.Certificate},
			{"subject_token", g.SubjectToken},
			{"actor_token", g.ActorToken},
		} {
			all = append(all, fieldText{"config.grant." + f.field, f.text})
		}
	}
	return all
}

// warnHTTP tells of addresses to which credentials and tokens go in clear. A
// realm of the database may not have them without allow_http.
func (p *realmParser) warnHTTP(tell func(field, message string)) {
	c := &p.realm.Config
	urls := []fieldText{{"config.api", c.API}, {"logic_code", p.realm.LogicCode}}
	for _, r := range p.recipes {
		urls = append(urls, fieldText{r.path + ".url", r.recipe.URL})
	}
	if g := c.Grant; g != nil {
		urls = append(urls, fieldText{"config.grant.token_url", g.TokenURL}, fieldText{"config.grant.authorize_url", g.AuthorizeURL})
	}
	for _, u := range urls {
		if inClear(u.text) {
			tell(u.field, "credentials and tokens go to this address in clear; use https, or write allow_http if that is meant")
		}
	}
}

// inClear reports whether a URL is http to another machine. Where the
// environment or the secret gives the host, that is not known.
func inClear(address string) bool {
	const scheme = "http://"
	if len(address) < len(scheme) || !strings.EqualFold(address[:len(scheme)], scheme) {
		return false
	}
	host, _, _ := strings.Cut(address[len(scheme):], "/")
	return !strings.Contains(host, "{") && !localHost(host)
}
