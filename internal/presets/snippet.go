package presets

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// ownKey is the key of the secret in the examples.
const ownKey = "main"

// parentField is the field of a secret that names the key of its parent's.
const parentField = "parent"

// Caddyfile is the realm as people write it, for the tokens block: the name of
// the preset, and the fields that have neither a default nor come by a push. The
// values are variables of the environment, see Variable. Presets whose token the
// recipes read stand in front.
func (p Preset) Caddyfile() string {
	var b strings.Builder
	for _, parent := range p.Parents() {
		parent.writeRealm(&b)
	}
	p.writeRealm(&b)
	return b.String()
}

// writeRealm writes the realm of the preset alone.
func (p Preset) writeRealm(b *strings.Builder) {
	b.WriteString("realm " + p.Name + " {\n\tpreset " + p.Name + "\n")
	shared, own := p.writtenFields()
	if len(shared) > 0 {
		p.writeFields(b, "shared", shared)
	}
	p.writeFields(b, "secret "+ownKey, own)
	b.WriteString("}\n")
}

// writtenFields are those that a user writes. Where all of them belong to the
// app, they stand in the secret: one account is what most people have.
func (p Preset) writtenFields() (shared, own []Field) {
	for _, f := range p.Fields {
		switch {
		case f.Default != "" || f.Pushed: // nobody writes them
		case f.Shared:
			shared = append(shared, f)
		default:
			own = append(own, f)
		}
	}
	if len(own) == 0 {
		return nil, shared
	}
	return shared, own
}

var tokenOf = regexp.MustCompile(`\{token_of\.([a-z0-9_]+)[.}]`)

// Parents are the presets whose tokens the recipes read, and those that these
// need in turn: each once, behind its own parents. A realm that has the name of a
// preset is meant to be one of it.
func (p Preset) Parents() []Preset {
	return p.appendParents(nil)
}

func (p Preset) appendParents(list []Preset) []Preset {
	config, err := json.Marshal(p.Config) // #nosec G117 -- the catalogue holds nothing confidential
	if err != nil {
		return list
	}
	for _, m := range tokenOf.FindAllSubmatch(config, -1) {
		parent, err := Get(string(m[1]))
		isListed := slices.ContainsFunc(list, func(o Preset) bool { return o.Name == parent.Name })
		if err != nil || isListed || parent.Name == p.Name {
			continue
		}
		list = append(parent.appendParents(list), parent)
	}
	return list
}

func (p Preset) writeFields(b *strings.Builder, block string, fields []Field) {
	b.WriteString("\t" + block + " {\n")
	for _, f := range fields {
		value := "{env." + p.Variable(f) + "}"
		if f.Name == parentField {
			value = ownKey
		}
		b.WriteString("\t\t" + f.Name + " " + value + "\n")
	}
	b.WriteString("\t}\n")
}

// Variable is the name that the environment variable of a field has in the
// examples: WECHAT_APPID.
func (p Preset) Variable(f Field) string {
	name := strings.ToUpper(f.Name)
	if prefix := strings.ToUpper(p.Name) + "_"; !strings.HasPrefix(name, prefix) {
		name = prefix + name
	}
	return strings.NewReplacer("-", "_", ".", "_").Replace(name)
}

// Curl is a command to try the preset with, where Caddy runs as in the README:
// the call of the example, or, for a token that apps take themselves, that.
func (p Preset) Curl() string {
	e := p.Example
	if e == nil {
		return "curl 'localhost:8081/api/token?realm=" + p.Name + "&key=" + ownKey + "'"
	}
	words := []string{"curl"}
	if e.Method != http.MethodGet && (e.Method != http.MethodPost || e.Body == "") {
		words = append(words, "-X", e.Method)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		words = append(words, "-H", quote(name+": "+e.Header[name]))
	}
	if e.Body != "" {
		words = append(words, "-H", quote("Content-Type: "+e.ContentType))
	}
	words = append(words, quote("localhost:8080/"+p.Name+"/"+ownKey+e.Path))
	if e.Body != "" {
		words = append(words, "--data-binary", quote(e.Body))
	}
	return strings.Join(words, " ")
}

// AuthorizeCurl is the command that begins an authorization by a person.
func (p Preset) AuthorizeCurl() string {
	return "curl localhost:8081/api/secret/" + p.Name + "/" + ownKey + "/authorize"
}

// TokenPush is the line by which a site takes what the provider pushes. It is
// empty where the config names no format.
func (p Preset) TokenPush() string {
	if p.Config.Push == "" {
		return ""
	}
	return "token_push /" + p.Name + "/ticket " + p.Name + " " + ownKey + "\n"
}

// PushCurl is the command by which whoever receives a pushed field brings it.
func (p Preset) PushCurl(field string) string {
	return "curl -H 'Content-Type: application/json' localhost:8081/api/secret/" + p.Name + "/" + ownKey + "/push --data-binary " +
		quote(`{"field": "`+field+`", "value": "..."}`)
}

// quote writes a word as a shell wants it.
func quote(s string) string {
	if !strings.ContainsAny(s, " ?&;*'\"{}[]()<>|$`\\!#~\n") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// NeedsPerson reports whether a person authorizes each account once.
func (p Preset) NeedsPerson() bool {
	authorizes := p.Config.Authorize != nil || p.Config.Grant != nil && p.Config.Grant.AuthorizeURL != ""
	return authorizes && !p.Config.Unattended.IsOn()
}

// HasInject reports whether the proxy puts the token into requests. Otherwise
// apps take it and use it themselves.
func (p Preset) HasInject() bool { return len(p.Config.Inject) > 0 }

// Hosts are those that get the token.
func (p Preset) Hosts() []string {
	if len(p.Config.Hosts) > 0 {
		return slices.Clone(p.Config.Hosts)
	}
	_, rest, _ := strings.Cut(p.Config.API, "://")
	host, _, _ := strings.Cut(rest, "/")
	if host == "" {
		return nil
	}
	return []string{host}
}
