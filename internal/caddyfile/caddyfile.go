// Package caddyfile writes a realm and its secrets as people write them: a block
// for the tokens option of a Caddyfile, which Caddy reads back to the same realm
// and formats as it is.
//
// Values of secrets are never written, since a Caddyfile is often kept with the
// code. Placeholders stand for them, which the module fills in when it loads the
// configuration. What a Caddyfile cannot say is an error that names the field.
//
// Two spellings become one on the way. A request without a method gets the one
// that is meant, where the short form needs it; and a recipe with arguments in
// its body gets the content type that is meant, since the words json, form and
// body of its lines say it.
package caddyfile

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Secret is one credential set, without its values.
type Secret struct {
	Key    string
	Fields []string
	// Files are those of the fields whose values do not fit into a variable, because
	// they have several lines. A name that says so need not stand here: private_key,
	// certificate.
	Files      []string
	InjectOnly bool
}

// Write writes a realm and its secrets. The realm must be valid; its shared
// fields are written as placeholders, too. Errors are *realm.FieldError.
func Write(r realm.Realm, secrets []Secret) (string, error) {
	merged, err := presets.Apply(r.Config)
	if err != nil {
		return "", err
	}
	w := &realmWriter{realm: &r, merged: &merged}
	w.block([]word{{text: "realm"}, {field: "id", text: r.ID}}, func() {
		w.config()
		w.credentials(secrets)
	})
	if w.err != nil {
		return "", w.err
	}
	return string(w.out), nil
}

// realmWriter writes one realm.
type realmWriter struct {
	writer
	realm *realm.Realm
	// merged is the config with its preset: it knows the content types that the
	// realm's own arguments have.
	merged *realm.Config
}

const config = "config."

// config writes the options in the order in which people think of them: where
// the API is, how a token is got, how it is read, where it goes, how a dead one
// looks, and the rest.
func (w *realmWriter) config() {
	c := &w.realm.Config
	w.own("comment", w.realm.Comment)
	w.text(config, "preset", c.Preset)
	w.text(config, "api", c.API)
	w.list(config, "hosts", c.Hosts)
	w.own("logic_code", w.realm.LogicCode)
	w.grant(c.Grant)
	w.fetch()
	w.reading(config, &c.Recipe)
	w.text(config, "lifetime", lifetime(c.Lifetime))
	w.text(config, "time_zone", c.TimeZone)
	w.recipe("refresh", c.Refresh)
	w.text(config, "refresh_semantics", c.RefreshSemantics)
	w.text(config, "refresh_grace", duration(c.RefreshGrace))
	w.recipe("authorize", c.Authorize)
	w.recipe("exchange", c.Exchange)
	w.text(config, "callback_url", c.CallbackURL)
	w.text(config, "code_name", c.CodeName)
	w.switched("unattended", c.Unattended)
	w.inject()
	w.renewOn()
	w.text(config, "semantics", c.Semantics)
	w.text(config, "overlap", duration(c.Overlap))
	w.text(config, "renew_before", c.RenewBefore.String())
	w.switched("keep_warm", c.KeepWarm)
	w.text(config, "default_key", c.DefaultKey)
	w.list(config, "volatile", c.Volatile)
	w.text(config, "push", c.Push)
	w.list(config, "methods", c.Methods)
	w.list(config, "pass", c.Pass)
	w.text(config, "replay_max", size(c.ReplayMax))
	w.switched("upgrade", c.Upgrade)
	w.switched("scrub", c.Scrub)
	w.switched("allow_http", c.AllowHTTP)
	w.switched("forwarded", c.Forwarded)
	w.switched("inject_only", c.InjectOnly)
	w.switched("rewrite_links", c.RewriteLinks)
	w.proxy(c.Proxy)
	w.text(config, "ca", c.CA)
	w.text(config, "client_certificate", c.ClientCertificate)
	w.text(config, "client_key", c.ClientKey)
	w.limits()
}

// own writes an option of the realm beside its config, in which the module fills
// in nothing.
func (w *realmWriter) own(name, value string) {
	if value != "" {
		w.line(word{text: name}, word{field: name, text: value})
	}
}

func (w *realmWriter) grant(g *realm.Grant) {
	if g == nil {
		return
	}
	const path = config + "grant."
	w.block([]word{{text: "grant"}, of(path+"name", g.Name)}, func() {
		w.text(path, "token_url", g.TokenURL)
		w.text(path, "authorize_url", g.AuthorizeURL)
		w.text(path, "pkce", g.PKCE)
		w.text(path, "client_id", g.ClientID)
		w.text(path, "client_secret", g.ClientSecret)
		w.text(path, "token_endpoint_auth_method", g.TokenEndpointAuthMethod)
		w.list(path, "scopes", g.Scopes)
		w.text(path, "issuer", g.Issuer)
		w.text(path, "subject", g.Subject)
		w.text(path, "audience", g.Audience)
		w.list(path, "resource", g.Resource)
		w.text(path, "private_key", g.PrivateKey)
		w.text(path, "key_id", g.KeyID)
		w.text(path, "algorithm", g.Algorithm)
		w.text(path, "certificate", g.Certificate)
		w.text(path, "subject_token", g.SubjectToken)
		w.text(path, "subject_token_type", g.SubjectTokenType)
		w.text(path, "actor_token", g.ActorToken)
		w.text(path, "actor_token_type", g.ActorTokenType)
		w.text(path, "requested_token_type", g.RequestedTokenType)
		w.text(path, "token", g.Token)
		w.text(path, "expr", g.Expr)
	})
}

// proxy writes the URL of the proxy. A user and a password that stand in it are not
// written out.
func (w *realmWriter) proxy(p realm.ProxyURL) {
	words := plain("proxy")
	for i, text := range strings.Fields(p.String()) {
		if i == 0 && p.HasPassword() {
			words = append(words, word{field: config + "proxy", text: strings.Replace(text, realm.Mask, "{env.PROXY_CREDENTIALS}", 1)})
			continue
		}
		words = append(words, of(config+"proxy", text))
	}
	if len(words) > 1 {
		w.line(words...)
	}
}

// injectWords are the words for the places of a token.
var injectWords = map[string]string{
	realm.PlaceURL:    "query",
	realm.PlaceHeader: "header",
	realm.PlaceBasic:  "basic",
	realm.PlaceBody:   "body",
	realm.PlacePath:   "path",
	realm.PlaceCookie: "cookie",
}

func (w *realmWriter) inject() {
	for i, in := range w.realm.Config.Inject {
		path := indexed(config+"inject", i)
		place, ok := injectWords[in.Place]
		if !ok {
			w.refuse(path+".place", "is not one of a token")
		}
		words := []word{{text: "inject"}, {text: place}, of(path+".name", in.Name)}
		switch {
		case in.Expr != "":
			words = append(words, word{text: "expr"}, of(path+".expr", in.Expr))
		case in.Value != "":
			words = append(words, of(path+".value", in.Value))
		}
		w.line(words...)
	}
}

func (w *realmWriter) limits() {
	l := &w.realm.Config.Limits
	if l.IsZero() {
		return
	}
	w.block(plain("limits"), func() {
		const path = config + "limits."
		w.text(path, "timeout", duration(l.Timeout))
		if l.Concurrency != 0 {
			w.line(plain("concurrency", strconv.Itoa(l.Concurrency))...)
		}
		w.text(path, "min_interval", duration(l.MinInterval))
		w.text(path, "backoff_cap", duration(l.BackoffCap))
		for _, window := range l.Windows {
			w.line(plain("windows", strconv.Itoa(window.Calls), window.Per.String())...)
		}
	})
}

// credentials writes the shared fields and the secrets, with placeholders in
// place of their values.
func (w *realmWriter) credentials(secrets []Secret) {
	names := newNames(w.realm)
	if shared := w.realm.Config.Shared; len(shared) > 0 {
		w.block(plain("shared"), func() {
			w.fields(config+"shared.", names, Secret{Fields: slices.Sorted(maps.Keys(shared)), Files: multiline(shared)})
		})
	}
	for i, s := range secrets {
		path := indexed("secrets", i)
		w.block([]word{{text: "secret"}, {field: path + ".key", text: s.Key}}, func() {
			w.fields(path+".fields.", names, s)
			w.flag("inject_only", s.InjectOnly)
		})
	}
}

// multiline are the fields whose values have several lines.
func multiline(fields map[string]realm.Hidden) (names []string) {
	for name, value := range fields {
		if IsMultiline(value) {
			names = append(names, name)
		}
	}
	return names
}

// fields writes the fields of one block.
func (w *realmWriter) fields(path string, names *names, s Secret) {
	for _, field := range s.Fields {
		if field == "import" {
			w.refuse(path+field, "cannot be written: import at the beginning of a line is Caddy's own, even in quotes")
		}
		w.line(plain(field, names.placeholder(s, field))...)
	}
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func duration(d realm.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func lifetime(l realm.Lifetime) string {
	if l.IsZero() {
		return ""
	}
	return l.String()
}

func size(z realm.Size) string {
	if z == 0 {
		return ""
	}
	return z.String()
}
