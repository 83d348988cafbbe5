package realm

import (
	"slices"
	"strings"
	"unicode"
)

// The grants, and the authentication methods of a token endpoint.
const (
	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
	GrantAuthorizationCode = "authorization_code"
	GrantJWTBearer         = "jwt_bearer"
	GrantTokenExchange     = "token_exchange"
	GrantComputed          = "computed"
	GrantStatic            = "static"
	GrantDelegate          = "delegate"

	AuthBasic         = "client_secret_basic"
	AuthBasicRaw      = "client_secret_basic_raw" // id and secret as they are, which RFC 6749 does not have
	AuthPost          = "client_secret_post"
	AuthSecretJWT     = "client_secret_jwt"
	AuthPrivateKeyJWT = "private_key_jwt"
	AuthTLS           = "tls_client_auth"
	AuthSelfSignedTLS = "self_signed_tls_client_auth"
	AuthNone          = "none"

	PKCES256 = "S256"
	PKCEOff  = "off"
)

// TakesPublicClients reports whether clients without a secret may use a grant
// (RFC 6749 section 4.4 is for the others only, RFC 8693 section 2.1 for both).
func TakesPublicClients(grant string) bool {
	return grant == GrantAuthorizationCode || grant == GrantRefreshToken || grant == GrantTokenExchange
}

// AuthenticatesByJWT reports whether the client authenticates itself with an
// assertion that it signs (RFC 7523 section 2.2).
func (g *Grant) AuthenticatesByJWT() bool {
	return g.TokenEndpointAuthMethod == AuthPrivateKeyJWT || g.TokenEndpointAuthMethod == AuthSecretJWT
}

// validateGrant checks what the grant needs, and refuses what it would ignore:
// a field without an effect is a mistake that nobody would notice.
func (r *Realm) validateGrant() error {
	g := r.Config.Grant
	if g == nil {
		return nil
	}
	if g.Name == "" {
		return Fieldf("config.grant.name", "is required")
	}
	err := oneOf("config.grant.name", g.Name, GrantClientCredentials, GrantRefreshToken, GrantAuthorizationCode,
		GrantJWTBearer, GrantTokenExchange, GrantComputed, GrantStatic, GrantDelegate)
	if err != nil {
		return err
	}
	for _, u := range []struct{ path, url string }{{"config.grant.token_url", g.TokenURL}, {"config.grant.authorize_url", g.AuthorizeURL}} {
		if u.url == "" {
			continue
		}
		if err := validURL(u.path, u.url, urlQuery); err != nil {
			return err
		}
	}
	return firstError(
		func() error { return r.validateTokenURL(g) },
		func() error { return g.validateSurplus() },
		func() error { return r.validateComputed(g) },
		func() error {
			return oneOf("config.grant.token_endpoint_auth_method", g.TokenEndpointAuthMethod,
				AuthBasic, AuthBasicRaw, AuthPost, AuthSecretJWT, AuthPrivateKeyJWT, AuthTLS, AuthSelfSignedTLS, AuthNone)
		},
		func() error { return r.validateTLSClient(g) },
		func() error { return oneOf("config.grant.pkce", g.PKCE, PKCES256, PKCEOff) },
		func() error { return g.validatePublicClient() },
		func() error { return g.validateTexts() },
		func() error { return oneOf("config.grant.algorithm", g.Algorithm, "RS256", "PS256", "ES256", "HS256") },
		func() error { return g.validateSigned() },
		func() error { return g.validateExchange() },
		func() error { return validateScopes(g.Scopes) },
		func() error { return validateResources(g.Resource) },
	)
}

// validateTokenURL checks that a grant that asks somebody knows whom.
func (r *Realm) validateTokenURL(g *Grant) error {
	switch {
	case g.TokenURL != "" || r.Config.Preset != "" || g.Name == GrantStatic || g.Name == GrantComputed:
		return nil
	case g.Name == GrantDelegate && r.LogicCode != "":
		return nil
	case g.Name == GrantDelegate:
		return Fieldf("config.grant.token_url", "is required: delegate asks it, or the realm's logic_code")
	}
	return Fieldf("config.grant.token_url", "is required")
}

// validateSurplus refuses fields that the grant would ignore.
func (g *Grant) validateSurplus() error {
	oauth := []string{GrantClientCredentials, GrantRefreshToken, GrantAuthorizationCode, GrantJWTBearer, GrantTokenExchange}
	exchange := []string{GrantTokenExchange}
	signing, certified := []string{GrantJWTBearer}, []string(nil) // signing has a key of its own
	if g.AuthenticatesByJWT() {
		signing = oauth
	}
	if g.TokenEndpointAuthMethod == AuthPrivateKeyJWT {
		certified = oauth
	}
	for _, f := range []struct {
		name   string
		isSaid bool
		grants []string // that have it
	}{
		{"token", g.Token != "", []string{GrantStatic}},
		{"expr", g.Expr != "", []string{GrantComputed}},
		{"token_url", g.TokenURL != "", append([]string{GrantDelegate}, oauth...)},
		{"authorize_url", g.AuthorizeURL != "", []string{GrantAuthorizationCode}},
		{"pkce", g.PKCE != "", []string{GrantAuthorizationCode}},
		{"client_id", g.ClientID != "", oauth},
		{"client_secret", g.ClientSecret != "", oauth},
		{"scopes", len(g.Scopes) > 0, oauth},
		{"token_endpoint_auth_method", g.TokenEndpointAuthMethod != "", oauth},
		{"issuer", g.Issuer != "", []string{GrantJWTBearer, GrantAuthorizationCode}},
		{"subject", g.Subject != "", []string{GrantJWTBearer}},
		{"audience", g.Audience != "", []string{GrantJWTBearer, GrantClientCredentials, GrantTokenExchange}},
		{"resource", len(g.Resource) > 0, []string{GrantClientCredentials, GrantTokenExchange}},
		{"private_key", g.PrivateKey != "", signing},
		{"key_id", g.KeyID != "", signing},
		{"algorithm", g.Algorithm != "", signing},
		{"certificate", g.Certificate != "", certified},
		{"subject_token", g.SubjectToken != "", exchange},
		{"subject_token_type", g.SubjectTokenType != "", exchange},
		{"actor_token", g.ActorToken != "", exchange},
		{"actor_token_type", g.ActorTokenType != "", exchange},
		{"requested_token_type", g.RequestedTokenType != "", exchange},
	} {
		switch {
		case !f.isSaid || slices.Contains(f.grants, g.Name):
		case slices.Contains([]string{"private_key", "key_id", "algorithm", "certificate"}, f.name) && slices.Contains(oauth, g.Name):
			return Fieldf("config.grant."+f.name, "is for the assertion of a client with token_endpoint_auth_method private_key_jwt")
		default:
			return Fieldf("config.grant."+f.name, "has no meaning for the grant %s", g.Name)
		}
	}
	return nil
}

// validateTexts checks the fields that are values.
func (g *Grant) validateTexts() error {
	for _, f := range []struct{ name, text string }{
		{"client_id", g.ClientID},
		{"client_secret", g.ClientSecret},
		{"token", g.Token},
		{"issuer", g.Issuer},
		{"subject", g.Subject},
		{"audience", g.Audience},
		{"private_key", g.PrivateKey},
		{"key_id", g.KeyID},
		{"expr", g.Expr},
		{"certificate", g.Certificate},
		{"subject_token", g.SubjectToken},
		{"subject_token_type", g.SubjectTokenType},
		{"actor_token", g.ActorToken},
		{"actor_token_type", g.ActorTokenType},
		{"requested_token_type", g.RequestedTokenType},
	} {
		if err := validText("config.grant."+f.name, f.text); err != nil {
			return err
		}
	}
	return nil
}

// validateComputed checks a token that is computed here. Nobody but the realm
// says when it ends.
func (r *Realm) validateComputed(g *Grant) error {
	switch {
	case g.Name != GrantComputed || r.Config.Preset != "":
		return nil
	case g.Expr == "":
		return Fieldf("config.grant.expr", "is required: it computes the token")
	case r.Config.Lifetime.IsZero():
		return Fieldf("config.lifetime", "is required: nothing else says when a computed token ends")
	}
	return nil
}

// validatePublicClient checks a client without a secret.
func (g *Grant) validatePublicClient() error {
	switch {
	case g.TokenEndpointAuthMethod != AuthNone:
	case !TakesPublicClients(g.Name):
		return Fieldf("config.grant.token_endpoint_auth_method", "must not be none: the grant %s is for clients with a secret", g.Name)
	case g.ClientSecret != "":
		return Fieldf("config.grant.client_secret", "has no meaning for a client with token_endpoint_auth_method none")
	case g.PKCE == PKCEOff:
		// RFC 9700 section 2.1.1
		return Fieldf("config.grant.pkce", "must not be off: it is all that protects the code of a client without a secret")
	}
	return nil
}

// IsOfTLS reports whether a client authenticates itself by the certificate of the
// connection (RFC 8705 section 2), so that no request has a secret.
func (g *Grant) IsOfTLS() bool {
	return g.TokenEndpointAuthMethod == AuthTLS || g.TokenEndpointAuthMethod == AuthSelfSignedTLS
}

// validateTLSClient checks a client that its certificate authenticates.
func (r *Realm) validateTLSClient(g *Grant) error {
	switch {
	case !g.IsOfTLS():
	case r.Config.ClientCertificate == "":
		return Fieldf("config.client_certificate", "is required: a client with token_endpoint_auth_method %s has nothing else", g.TokenEndpointAuthMethod)
	case g.ClientSecret != "":
		return Fieldf("config.grant.client_secret", "has no meaning for a client with token_endpoint_auth_method %s", g.TokenEndpointAuthMethod)
	case strings.HasPrefix(g.TokenURL, "http:"):
		return Fieldf("config.grant.token_url", "must be https: a client with token_endpoint_auth_method %s shows its certificate there", g.TokenEndpointAuthMethod)
	}
	return nil
}

// validateSigned checks what a client signs with that authenticates itself by a
// JWT. Beside jwt_bearer, the algorithm is that of the grant's assertion.
func (g *Grant) validateSigned() error {
	switch {
	case g.TokenEndpointAuthMethod == AuthPrivateKeyJWT && g.ClientSecret != "":
		return Fieldf("config.grant.client_secret", "has no meaning for a client with token_endpoint_auth_method private_key_jwt")
	case g.TokenEndpointAuthMethod == AuthPrivateKeyJWT && g.Algorithm == "HS256":
		return Fieldf("config.grant.algorithm", "must not be HS256: private_key_jwt signs with a private key")
	case g.TokenEndpointAuthMethod != AuthSecretJWT || g.Name == GrantJWTBearer:
		return nil
	case g.PrivateKey != "":
		return Fieldf("config.grant.private_key", "has no meaning for client_secret_jwt, which signs with the client_secret")
	case g.Algorithm != "" && g.Algorithm != "HS256":
		return Fieldf("config.grant.algorithm", "must be HS256: client_secret_jwt signs with the client_secret")
	}
	return nil
}

// validateExchange checks the tokens of an exchange: the type of an actor's
// stands beside that token only (RFC 8693 section 2.1).
func (g *Grant) validateExchange() error {
	if g.ActorTokenType != "" && g.ActorToken == "" {
		return Fieldf("config.grant.actor_token_type", "has no meaning without an actor_token")
	}
	return nil
}

// maxResources bounds the resources of a token request.
const maxResources = 16

// validateResources checks the entries: each is an absolute URI without a
// fragment (RFC 8707 section 2), of which a secret may give a part.
func validateResources(resources []string) error {
	if len(resources) > maxResources {
		return Fieldf("config.grant.resource", "must be at most %d", maxResources)
	}
	for i, s := range resources {
		path := indexPath("config.grant.resource", i)
		if err := validText(path, s); err != nil {
			return err
		}
		switch first := slices.Index(resources, s); {
		case s == "":
			return Fieldf(path, "is empty")
		case strings.Contains(s, "#"):
			return Fieldf(path, "must not have a fragment (#)")
		case !strings.Contains(s, ":") && !strings.Contains(s, "{") && !strings.HasPrefix(s, "$"):
			return Fieldf(path, "must be an absolute URI, such as https://api.example.com/")
		case first < i:
			return Fieldf(path, "is the same as resource[%d]", first)
		}
	}
	return nil
}

// validateScopes checks that each entry is one scope (RFC 6749 section 3.3: a
// scope token has no blank).
func validateScopes(scopes []string) error {
	seen := make(map[string]int)
	for i, s := range scopes {
		path := indexPath("config.grant.scopes", i)
		if err := validText(path, s); err != nil {
			return err
		}
		if s == "" {
			return Fieldf(path, "is empty")
		}
		if strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }) {
			return Fieldf(path, "has a blank: each entry is one scope")
		}
		if first, ok := seen[s]; ok {
			return Fieldf(path, "is the same as scopes[%d]", first)
		}
		seen[s] = i
	}
	return nil
}
