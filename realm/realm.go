// Package realm says what a provider is, as data: how a token is requested,
// where it is put, which hosts may get it, how a dead token looks and how
// often one may be fetched. It holds the words that every other package
// shares (Realm, Recipe, Secret, Token, Injection, Rule), their JSON form,
// the validation of their shape and their redaction.
//
// Nothing here touches a network, a store or Caddy. What a recipe means
// (templates, answer paths, grants) is compiled by internal/grant.
package realm

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Realm is one provider, or one way of using it.
type Realm struct {
	// ID names the realm in URLs, in the Caddyfile and in the API. Ids are
	// case-sensitive bytes: 1 to 255 bytes of UTF-8 without control characters.
	ID string `json:"id"`
	// Config is what the realm says.
	Config Config `json:"config,omitzero"`
	// LogicCode is the earlier service's delegate: a URL that gets the secret
	// by POST and answers {"token", "expires_in"}. Config wins over it.
	LogicCode string `json:"logic_code,omitempty"`
	// Comment is free text for people, at most 5,000 characters.
	Comment string `json:"comment,omitempty"`

	// CreatedAt and UpdatedAt are set by the store (zero for realms of the
	// Caddyfile).
	CreatedAt time.Time `json:"created_at,omitzero"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`

	// SharedHosts are the hosts that the shared fields were entered for, as the
	// realm had them: with {secret.x} in place of what a secret fills in. Nil in
	// an update says that they are entered now.
	SharedHosts []string `json:"-"`

	// Damaged is set in lists: what is stored cannot be opened, and only the id
	// is known.
	Damaged bool `json:"damaged,omitempty"`
}

// Config is the body of a realm. The embedded Recipe is the fetch recipe;
// its fields stand flat in the JSON, as clients of the earlier service send
// them.
type Config struct {
	// API is the base URL of the provider's API. Its host and port are the
	// default of Hosts. It may hold {secret.x}.
	API string `json:"api,omitempty"`
	// Hosts may get the token: host or host:port, "*." for one label; without
	// a port, the scheme's default. They may hold {secret.x}.
	Hosts []string `json:"hosts,omitempty"`
	// Preset names a realm that ships with the product, under this one.
	Preset string `json:"preset,omitempty"`

	Recipe

	// Lifetime is used where an answer has no readable expiry.
	Lifetime Lifetime `json:"lifetime,omitzero"`
	// TimeZone is the zone of dates in answers that have none: a name of the
	// IANA database, such as Asia/Shanghai. Where it is not said, such a date
	// cannot be read.
	TimeZone string `json:"time_zone,omitempty"`

	// RefreshSemantics says what becomes of a refresh token that was used:
	// stable, grace, strict or family (reuse revokes all; the default).
	RefreshSemantics string `json:"refresh_semantics,omitempty"`
	// RefreshGrace is how long the previous refresh token stays good, for
	// the semantics grace.
	RefreshGrace Duration `json:"refresh_grace,omitempty"`

	// Refresh, Authorize and Exchange are the other recipes of the realm: the
	// one that spends a {refresh_token}, the request for an authorization
	// (RFC 6749 section 4.1.1), with {state}, and the one that makes a token
	// of its {code} (section 4.1.3). What Refresh and Exchange do not say
	// about reading an answer, the fetch recipe says; of Authorize, only
	// ContentType and Success have a meaning, for an unattended realm.
	//
	// Beside the grant authorization_code, a recipe without a URL adds its
	// arguments to those of the grant; one with a URL stands in its place.
	Refresh   *Recipe `json:"refresh,omitempty"`
	Authorize *Recipe `json:"authorize,omitempty"`
	Exchange  *Recipe `json:"exchange,omitempty"`

	// Grant constructs the recipes of a standard instead.
	Grant *Grant `json:"grant,omitempty"`

	// Inject says where the token is put; all of them, in this order.
	Inject []Injection `json:"inject,omitempty"`
	// RenewOn says how a dead token looks in the API's answers; any of them.
	RenewOn []Rule `json:"renew_on,omitempty"`

	// Semantics says what fetching again does to the token before: same,
	// rotate or parallel. Overlap is how long the old one lives on.
	Semantics string   `json:"semantics,omitempty"`
	Overlap   Duration `json:"overlap,omitempty"`

	// RenewBefore is how long ahead of its end a token is renewed, where it is
	// not what the configuration says for all realms.
	RenewBefore Lead `json:"renew_before,omitzero"`

	// DefaultKey is the account that is meant where none is named.
	DefaultKey string `json:"default_key,omitempty"`
	// CallbackURL is where the provider sends the authorization code, as it is
	// registered there (RFC 6749 section 3.1.2): an absolute http or https URL
	// without a fragment. It may hold {secret.x}, or be one. A realm that
	// authorizes needs it.
	CallbackURL string `json:"callback_url,omitempty"`
	// CodeName is the name of the code in the callback, where it is another than
	// code: auth_code, authorization_code, app_auth_code. The standard name
	// then does not count.
	CodeName string `json:"code_name,omitempty"`
	// Unattended realms are authorized by the server itself, without a person:
	// it calls Authorize, and takes the code out of the redirect to
	// CallbackURL, or out of the provider's own call of it.
	Unattended Switch `json:"unattended,omitempty"`

	// Shared fields are read as {secret.x} where the secret lacks x. They are
	// sealed at rest and masked like a secret's.
	Shared map[string]Hidden `json:"shared,omitempty"`

	// Volatile names the fields that somebody pushes again and again, as a
	// suite_ticket is: another value does not end the token that there is, and
	// is sent from the next request on. A recipe must read each of them.
	Volatile []string `json:"volatile,omitempty"`
	// Push is the format in which the provider itself pushes a volatile field, to a
	// site with token_push: wechat (component_verify_ticket), wecom (suite_ticket)
	// or feishu (app_ticket). None by default.
	Push string `json:"push,omitempty"`

	// KeepWarm renews the token even when nobody uses it.
	KeepWarm Switch `json:"keep_warm,omitempty"`
	// ReplayMax bounds the request bodies that are kept for a replay after
	// the API refused the token; 1MiB by default, at most 64MiB.
	ReplayMax Size `json:"replay_max,omitempty"`
	// Upgrade allows WebSocket and other upgrades.
	Upgrade Switch `json:"upgrade,omitempty"`
	// Scrub masks the token in the bodies of answers, in clear and in the usual
	// encodings. Upgrades are refused, and answers are always whole.
	Scrub Switch `json:"scrub,omitempty"`
	// AllowHTTP allows plain http for the API and for token requests.
	AllowHTTP Switch `json:"allow_http,omitempty"`
	// Forwarded sends X-Forwarded-*, Forwarded and Via on to the provider.
	Forwarded Switch `json:"forwarded,omitempty"`
	// Pass names header fields that go through, although they are removed
	// otherwise: Authorization and Cookie of the caller, and Set-Cookie of the
	// provider. It cannot name one that belongs to a connection, carries the
	// token, or changes what a request does.
	Pass []string `json:"pass,omitempty"`
	// Methods may be used in proxied requests; all but TRACE, TRACK and CONNECT
	// by default.
	Methods []string `json:"methods,omitempty"`

	// InjectOnly keeps the tokens of the realm from everybody: they are put into
	// proxied requests, and no answer shows one, whatever rights the caller has.
	InjectOnly Switch `json:"inject_only,omitempty"`

	// RewriteLinks makes links in the answers' header fields Location and Link, which
	// lead to API, lead through the proxy instead.
	RewriteLinks Switch `json:"rewrite_links,omitempty"`

	// Proxy is the http, https or socks5 URL of a proxy for token requests and API
	// calls, which are https then. Its user and password may be {secret.x}; in a realm of
	// the API, the password must be. off goes without the proxy of the configuration, which is
	// the default. In a configuration file, resolve may stand behind the URL.
	Proxy ProxyURL `json:"proxy,omitempty"`
	// CA are the certificates, in PEM, to which those of the provider's servers must
	// lead, in place of those that the system knows. In a configuration file it may
	// be the absolute path of a file with them.
	CA string `json:"ca,omitempty"`
	// ClientCertificate and ClientKey name the fields of the secret, or shared ones,
	// with the certificate and key, in PEM, that are shown to the provider's servers
	// where they ask for one (RFC 8705).
	ClientCertificate string `json:"client_certificate,omitempty"`
	ClientKey         string `json:"client_key,omitempty"`

	// Limits bound the calls to the token endpoint.
	Limits Limits `json:"limits,omitzero"`
}

// IsZero tells encoding/json that nothing was said. Empty lists say nothing:
// written, they are left out.
func (c Config) IsZero() bool { return saysNothing(c) }

// IsZero tells encoding/json that nothing was said.
func (l Limits) IsZero() bool { return saysNothing(l) }

// saysNothing asks encoding/json itself, so that a field that is added later
// counts without being listed here.
func saysNothing(v any) bool {
	text, err := json.Marshal(v)
	return err == nil && string(text) == "{}"
}

// What fetching again does to the token before.
const (
	SemanticsSame     = "same"     // the provider gives it again until it is about to end
	SemanticsRotate   = "rotate"   // the new one ends it, after an overlap
	SemanticsParallel = "parallel" // both live
)

// Grant is a named constructor of recipes for a standard.
type Grant struct {
	// Name: client_credentials, refresh_token, authorization_code,
	// jwt_bearer, token_exchange, computed, static or delegate.
	Name string `json:"name"`
	// TokenURL is the token endpoint (RFC 6749 section 3.2); for delegate,
	// the URL that is asked.
	TokenURL string `json:"token_url,omitempty"`
	// AuthorizeURL is the authorization endpoint (RFC 6749 section 3.1), for
	// authorization_code.
	AuthorizeURL string `json:"authorize_url,omitempty"`
	// PKCE is the proof that the code comes back to the one who asked for it (RFC
	// 7636), for authorization_code: S256 (default) or off.
	PKCE string `json:"pkce,omitempty"`
	// ClientID and ClientSecret are values, usually {secret.client_id} and
	// {secret.client_secret}, which are also their defaults.
	ClientID     string `json:"client_id,omitempty"`
	ClientSecret string `json:"client_secret,omitempty"`
	// Scopes are sent space-delimited (RFC 6749 section 3.3); with
	// authorization_code in the request for an authorization only.
	Scopes []string `json:"scopes,omitempty"`
	// TokenEndpointAuthMethod is how the client authenticates itself:
	// client_secret_basic (default; id and secret are form-encoded first, RFC 6749
	// section 2.3.1), client_secret_basic_raw (they are not), client_secret_post;
	// client_secret_jwt or private_key_jwt, with an assertion that ClientSecret or
	// PrivateKey signs (RFC 7523 section 2.2); tls_client_auth or
	// self_signed_tls_client_auth, by the realm's client_certificate (RFC 8705
	// section 2); or none: a public client, which has no secret (RFC 7591 section
	// 2), for authorization_code, refresh_token and token_exchange.
	TokenEndpointAuthMethod string `json:"token_endpoint_auth_method,omitempty"`
	// Issuer, Subject and Audience are claims of the assertion, for
	// jwt_bearer (RFC 7523 section 3). The issuer is the client_id by default,
	// the audience the token_url; there need not be a subject. For
	// client_credentials and token_exchange, Audience is a parameter of the
	// request; none by default.
	//
	// For authorization_code, Issuer is the iss that every callback must have
	// (RFC 9207 section 2.4): set it for a server that announces
	// authorization_response_iss_parameter_supported. Where it is not set, a
	// callback need not have an iss, and one that is there must have the
	// origin of the authorize URL.
	Issuer   string `json:"issuer,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Audience string `json:"audience,omitempty"`
	// PrivateKey signs the assertion of jwt_bearer, and that of the client with
	// private_key_jwt: {secret.private_key} by default, in PEM or base64; KeyID is
	// the kid of its header. Algorithm: RS256 (default), PS256, ES256 or HS256;
	// private_key_jwt has all but the last, client_secret_jwt that one alone.
	PrivateKey string `json:"private_key,omitempty"`
	KeyID      string `json:"key_id,omitempty"`
	Algorithm  string `json:"algorithm,omitempty"`
	// Token is the value of the fixed token, for static; {secret.token} by
	// default.
	Token string `json:"token,omitempty"`
	// Expr computes the token (CEL), for computed: a JWT that the API itself
	// takes. There is no request, and the realm's Lifetime is that of the token.
	Expr string `json:"expr,omitempty"`
	// Resource are the services that the token is for (RFC 8707), for
	// client_credentials and token_exchange: absolute URIs, each sent as a
	// parameter of its own.
	Resource []string `json:"resource,omitempty"`
	// Certificate is that of PrivateKey, in PEM or base64, whose thumbprint is the
	// x5t#S256 of the client's assertion (RFC 7515 section 4.1.8), for
	// private_key_jwt: Microsoft Entra wants it. None by default.
	Certificate string `json:"certificate,omitempty"`
	// SubjectToken is the token that is exchanged, {secret.subject_token} by
	// default, and SubjectTokenType what it is,
	// urn:ietf:params:oauth:token-type:access_token by default (RFC 8693 section
	// 2.1), for token_exchange.
	SubjectToken     string `json:"subject_token,omitempty"`
	SubjectTokenType string `json:"subject_token_type,omitempty"`
	// ActorToken is that of the party who acts for the subject, ActorTokenType
	// what it is, an access token by default; none by default.
	ActorToken     string `json:"actor_token,omitempty"`
	ActorTokenType string `json:"actor_token_type,omitempty"`
	// RequestedTokenType is what is asked for; the server's choice by default.
	RequestedTokenType string `json:"requested_token_type,omitempty"`
}

// Injection is one place for the token in an outgoing request.
type Injection struct {
	// Place: url (a query parameter), header, body, basic, path or cookie.
	Place string `json:"place"`
	// Name of the parameter, header, field or cookie. The dots of a field's name
	// lead into objects of a JSON body. For path: how the segment
	// with the token begins ("bot" for /bot<token>/), with the segments in front
	// of it ("file/bot"); "/" where it is the token alone. Of several path
	// entries one is used: that with which the caller's path begins, whose segment
	// is replaced, else the first one, which is put in front.
	Name string `json:"name,omitempty"`
	// Value with {token}, and {secret.x} where it needs more; {token} by
	// default.
	Value string `json:"value,omitempty"`
	// Expr is a computed value (CEL), instead of Value: of token, secret.x, and
	// the method and path of the request. At most 4,096 characters.
	Expr string `json:"expr,omitempty"`
}

// Limits bound the calls to a realm's token endpoint, over all nodes.
type Limits struct {
	// Timeout of one call, in total; 10s by default, at most 5m.
	Timeout Duration `json:"timeout,omitempty"`
	// Concurrency is how many calls may be under way; 4 by default.
	Concurrency int `json:"concurrency,omitempty"`
	// MinInterval between two calls for one secret.
	MinInterval Duration `json:"min_interval,omitempty"`
	// BackoffCap is the longest wait after failures; 60s by default.
	BackoffCap Duration `json:"backoff_cap,omitempty"`
	// Windows are quotas: so many calls per so much time.
	Windows []Window `json:"windows,omitempty"`
}

// Window is a quota of the provider: Calls per Per.
type Window struct {
	Calls int      `json:"calls"`
	Per   Duration `json:"per"`
}

// AllowsMethod reports whether proxied requests may have a method. Case counts
// (RFC 9110 section 9.1).
func (c *Config) AllowsMethod(method string) bool {
	if len(c.Methods) > 0 {
		return slices.Contains(c.Methods, method)
	}
	switch strings.ToUpper(method) {
	case "TRACE", "TRACK", "CONNECT":
		return false
	}
	return true
}
