package curl

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// grantParams are the parameters that a standard grant says by itself. A request
// that has others is a recipe.
var grantParams = []string{"grant_type", "client_id", "client_secret", "scope", "audience", "resource", "refresh_token", "assertion"}

// grant recognizes a standard (RFC 6749, RFC 7523): a POST of a form, without
// anything that the standard does not know.
func (b *builder) grant(params []param) (bool, error) {
	r := b.request
	get := func(name string) string {
		i := slices.IndexFunc(params, func(p param) bool { return p.name == name })
		if i < 0 {
			return ""
		}
		return params[i].value
	}
	kind := get("grant_type")
	if kind == "authorization_code" {
		return false, errors.New("the request spends an authorization code, which is good once: use the grant authorization_code, or a preset, in which a person authorizes the account")
	}
	if r.Method != http.MethodPost || r.URL.RawQuery != "" || r.isJSON() || !r.HasBody {
		return false, nil
	}
	for i, p := range params {
		isTwice := slices.ContainsFunc(params[:i], func(o param) bool { return o.name == p.name })
		if !slices.Contains(grantParams, p.name) || isTwice && p.name != "resource" {
			return false, nil
		}
	}
	if slices.ContainsFunc(r.Header, func(h Pair) bool { return !isOwnHeader(h.Name) }) {
		return false, nil
	}
	g := &realm.Grant{TokenURL: b.address(r.URL), Scopes: strings.Fields(get("scope")), Audience: get("audience")}
	for _, p := range params {
		if p.name == "resource" {
			g.Resource = append(g.Resource, p.value)
		}
	}
	switch kind {
	case "client_credentials":
		if !r.HasBasic && get("client_secret") == "" {
			return false, nil
		}
		g.Name = realm.GrantClientCredentials
	case "refresh_token":
		if g.Audience != "" || g.Resource != nil || get("refresh_token") == "" {
			return false, nil
		}
		g.Name, b.draft.RefreshToken = realm.GrantRefreshToken, realm.Hidden(get("refresh_token"))
		if !r.HasBasic && get("client_secret") == "" {
			g.TokenEndpointAuthMethod = "none"
		}
	case jwtBearer:
		if r.HasBasic || get("client_secret") != "" || g.Audience != "" || g.Resource != nil {
			return false, nil
		}
		if !b.assertion(g, get("assertion")) {
			return false, nil
		}
	default:
		return false, nil
	}
	b.client(g, get("client_id"), get("client_secret"))
	b.draft.Config.Grant = g
	if r.URL.Scheme == "http" {
		b.draft.Config.AllowHTTP = realm.On
	}
	return true, nil
}

// client says how the client shows who it is.
func (b *builder) client(g *realm.Grant, id, secret string) {
	r := b.request
	switch {
	case r.HasBasic:
		b.field("client_id", r.User)
		b.field("client_secret", r.Password)
		// curl does not encode the two, which RFC 6749 section 2.3.1 asks for.
		if url.QueryEscape(r.User) != r.User || url.QueryEscape(r.Password) != r.Password {
			g.TokenEndpointAuthMethod = "client_secret_basic_raw"
		}
	case secret != "":
		b.field("client_id", id)
		b.field("client_secret", secret)
		g.TokenEndpointAuthMethod = "client_secret_post"
	case id != "":
		b.field("client_id", id)
	}
}

// assertion reads what a JWT of the command says, so that the realm can make its
// own: that of the command ends soon. The key that signs is not in it.
func (b *builder) assertion(g *realm.Grant, token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Scope string
		Aud             any
	}
	for i, to := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, to) != nil {
			return false
		}
	}
	if !slices.Contains([]string{"RS256", "PS256", "ES256", "HS256"}, header.Alg) || claims.Iss == "" {
		return false
	}
	g.Name, g.Algorithm = realm.GrantJWTBearer, header.Alg
	g.Issuer = b.field("issuer", claims.Iss)
	if claims.Sub != "" {
		g.Subject = b.field("subject", claims.Sub)
	}
	if header.Kid != "" {
		g.KeyID = b.field("key_id", header.Kid)
	}
	if audience, ok := claims.Aud.(string); ok {
		g.Audience = literal(audience)
	}
	if len(g.Scopes) == 0 {
		g.Scopes = strings.Fields(claims.Scope)
	}
	b.draft.Missing = append(b.draft.Missing, "private_key")
	b.note("the assertion of the command ends soon: the realm makes its own, and needs the private key that signs it")
	return true
}

// presetURL is where a preset asks for its token.
type presetURL struct{ preset, host, path string }

// presetURLs are those of the catalogue, which never changes.
var presetURLs = sync.OnceValue(func() (all []presetURL) {
	for _, p := range presets.List() {
		addresses := []string{p.Config.URL}
		if p.Config.Refresh != nil {
			addresses = append(addresses, p.Config.Refresh.URL)
		}
		if p.Config.Grant != nil {
			addresses = append(addresses, p.Config.Grant.TokenURL)
		}
		for _, address := range addresses {
			if u, err := url.Parse(address); err == nil && u.Host != "" {
				all = append(all, presetURL{p.Name, u.Host, u.Path})
			}
		}
	}
	return all
})

// presetsOf are the presets whose token request goes to the host of a URL, those
// with the same path first.
func presetsOf(u *url.URL) (names []string) {
	for _, wantsPath := range []bool{true, false} {
		for _, known := range presetURLs() {
			isFit := strings.EqualFold(known.host, u.Host) && (known.path == u.Path || !wantsPath)
			if isFit && !slices.Contains(names, known.preset) {
				names = append(names, known.preset)
			}
		}
	}
	return names
}

// ForPreset takes from a request the values that a preset needs: those whose
// parameters have the same names in its recipe, or the names of its fields.
func (r *Request) ForPreset(p presets.Preset) (map[string]realm.Hidden, error) {
	params, err := r.params()
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, param := range params {
		values[strings.ToLower(param.name)] = param.value
	}
	if r.HasBasic {
		values["client_id"], values["client_secret"] = r.User, r.Password
	}
	fields := map[string]realm.Hidden{}
	for _, f := range p.Fields {
		if value, ok := values[strings.ToLower(f.Name)]; ok {
			fields[f.Name] = realm.Hidden(value)
		}
	}
	for _, a := range p.Config.Arguments {
		name, isField := strings.CutPrefix(strings.TrimSuffix(a.Value, "}"), "{secret.")
		if value, ok := values[strings.ToLower(a.Name)]; ok && isField && fields[name] == "" {
			fields[name] = realm.Hidden(value)
		}
	}
	return fields, nil
}
