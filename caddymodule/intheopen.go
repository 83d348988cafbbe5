package caddymodule

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// inTheOpen is the warning about a secret that stands in the Caddyfile itself.
// That is allowed, for tries and practice.
const inTheOpen = "a secret is written in the Caddyfile: it also stands in the adapted JSON, in Caddy's /config/ and in its " +
	"autosave file; write {env.NAME} or {file./absolute/path} in its place"

// warnInTheOpen logs the warning with the place of the secret.
func warnInTheOpen(option, at string) {
	caddy.Log().Named(appName).Warn(inTheOpen, zap.String("option", option), zap.String("at", at))
}

// warnIfOpen warns of the option that the dispenser stands in.
func warnIfOpen(d *caddyfile.Dispenser, option string, isOpen bool) {
	if isOpen {
		warnInTheOpen(option, fmt.Sprintf("%s:%d", d.File(), d.Line()))
	}
}

// unmarshalSource reads a source, on whose name the dispenser stands, and warns of what
// it should not have in the Caddyfile.
func unmarshalSource(d *caddyfile.Dispenser, name string) (caddyfile.Unmarshaler, error) {
	at := fmt.Sprintf("%s:%d", d.File(), d.Line())
	module, err := caddyfile.UnmarshalModule(d, sourceModules+"."+name)
	if guarded, ok := module.(sources.Guarded); ok && err == nil {
		settings := guarded.Confidential()
		for _, setting := range slices.Sorted(maps.Keys(settings)) {
			if isLiteral(settings[setting]) {
				warnInTheOpen("source "+name+" "+setting, at)
			}
		}
	}
	return module, err
}

// fromOutside matches what is replaced when the configuration is loaded.
var fromOutside = regexp.MustCompile(`\{(?:env|file)\.[^}]*\}`)

// isLiteral reports whether a value stands in the Caddyfile itself.
func isLiteral(value string) bool { return value != "" && !fromOutside.MatchString(value) }

// hasLiteralPassword reports whether a data source name, or the URL of a server,
// has a password that is written out.
func hasLiteralPassword(address string) bool {
	address = fromOutside.ReplaceAllString(address, "")
	if u, err := url.Parse(address); err == nil && u.User != nil {
		password, _ := u.User.Password()
		return password != ""
	}
	dsn, err := mysql.ParseDSN(address)
	return err == nil && dsn.Passwd != ""
}

// warnOpenSecrets tells of the secrets of a realm, once for each block of them. A
// value that looks like a variable is told of by warnVariables.
func (p *realmParser) warnOpenSecrets() {
	for i, s := range p.secrets {
		p.warnFields(fmt.Sprintf("secrets[%d].fields.", i), "secret "+s.Key, p.withoutIDs(s.Fields))
	}
	p.warnFields("config.shared.", "shared", p.withoutIDs(p.shared.values))
	if g := p.realm.Config.Grant; g != nil {
		p.warnFields("config.grant.", "grant", p.withoutTemplates(map[string]string{
			"client_secret": g.ClientSecret, "private_key": g.PrivateKey, "token": g.Token,
			"subject_token": g.SubjectToken, "actor_token": g.ActorToken,
		}))
	}
}

// withoutIDs are the fields that may be confidential: all but those of which the
// realm's preset knows that they are an id, a name or the key of a parent.
func (p *realmParser) withoutIDs(fields map[string]string) map[string]string {
	preset, err := presets.Get(p.realm.Config.Preset)
	if err != nil {
		return fields
	}
	rest := maps.Clone(fields)
	for _, f := range preset.Fields {
		if !f.Confidential {
			delete(rest, f.Name)
		}
	}
	return rest
}

// withoutTemplates are the values that no secret is read in.
func (p *realmParser) withoutTemplates(values map[string]string) map[string]string {
	maps.DeleteFunc(values, func(_, value string) bool {
		return strings.Contains(value, "{") || strings.HasPrefix(value, "$")
	})
	return values
}

// warnFields tells of the fields of one block, at the place of the first one.
func (p *realmParser) warnFields(path, block string, fields map[string]string) {
	var open []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if isLiteral(fields[name]) && variableIn(fields[name]) == "" {
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		warnInTheOpen("realm "+p.realm.ID+" "+block+" "+strings.Join(open, ", "), p.at.of(path+open[0]))
	}
}
