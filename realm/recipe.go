package realm

// Places of an argument in a token request, and of a token in an API request.
const (
	PlaceURL    = "url" // the query
	PlaceHeader = "header"
	PlaceBody   = "body"
	PlaceBasic  = "basic" // Authorization: Basic; Name is the user, Value the password
	PlacePath   = "path"
	PlaceCookie = "cookie" // of a token in an API request only
)

// Content types of a token request's body and of its answer.
const (
	ContentJSON = "json"
	ContentForm = "form"
	ContentText = "text"
)

// Units of an expiry.
const (
	UnitSeconds      = "s"
	UnitMilliseconds = "ms"
	UnitEpoch        = "epoch_s"
	UnitEpochMillis  = "epoch_ms"
	UnitRFC3339      = "rfc3339"
	UnitJWT          = "jwt" // exp of the JWT that stands there
)

// What becomes of a refresh token that was used (refresh_semantics).
const (
	RefreshStable = "stable" // it never changes
	RefreshGrace  = "grace"  // a new one each time; the old one stays good for refresh_grace
	RefreshStrict = "strict" // one use
	RefreshFamily = "family" // one use, and another one ends all (RFC 9700 section 4.14.2)
)

// Types of a JSON argument.
const (
	TypeString  = "string"
	TypeNumber  = "number"
	TypeBoolean = "boolean"
)

// Recipe is one HTTP request as data, and how its answer is read.
type Recipe struct {
	// URL of the request. It may hold {secret.x}.
	URL string `json:"url,omitempty"`
	// Method: GET (default), POST or PUT.
	Method string `json:"method,omitempty"`
	// Arguments of the request.
	Arguments []Argument `json:"arguments,omitempty"`
	// ContentType of the body and of the answer: json (default), form or
	// text. The header of the answer is never trusted alone.
	ContentType string `json:"content_type,omitempty"`

	// TokenPath leads to the token in the answer: names and array indexes
	// joined by dots, or $ where the answer is the token as a JSON string.
	// Absent for text: the whole answer is the token, without the quotes of a
	// JSON string.
	TokenPath string `json:"token_path,omitempty"`
	// TokenHeader is the header field of the answer that holds the token, and
	// TokenCookie the cookie that it sets. Either takes the place of TokenPath.
	// The end of the cookie is that of the token, where no other is said.
	TokenHeader string `json:"token_header,omitempty"`
	TokenCookie string `json:"token_cookie,omitempty"`
	// ExpiresInHeader is the header field that holds the expiry, in place of
	// ExpiresInPath.
	ExpiresInHeader string `json:"expires_in_header,omitempty"`
	// ExpiresInPath leads to the expiry, ExpiresInUnit is its unit: s
	// (default), ms, epoch_s, epoch_ms, rfc3339 (also the dates of HTTP, and
	// those without a zone; see Config.TimeZone) or jwt. With jwt, the exp of the
	// JWT at the path counts, or without a path that of the token itself; its
	// signature is not checked.
	ExpiresInPath string `json:"expires_in_path,omitempty"`
	ExpiresInUnit string `json:"expires_in_unit,omitempty"`
	// Success rules must all match, or the answer is a refusal.
	Success []Rule `json:"success,omitempty"`
	// ReauthOn, HopelessOn and ThrottledOn tell what a refusal means, whatever
	// its status, where the words of the provider are not known without them;
	// any rule of a list. ReauthOn: the refresh token is dead, and somebody must
	// authorize again; of a fetch, the same as HopelessOn. HopelessOn: the
	// secret or the realm must be corrected. ThrottledOn: too often. If several
	// match, the first of them in this order counts.
	ReauthOn    []Rule `json:"reauth_on,omitempty"`
	HopelessOn  []Rule `json:"hopeless_on,omitempty"`
	ThrottledOn []Rule `json:"throttled_on,omitempty"`

	// RefreshTokenPath, RefreshExpiresInPath and RefreshExpiresInUnit read
	// the refresh token.
	RefreshTokenPath     string `json:"refresh_token_path,omitempty"`
	RefreshExpiresInPath string `json:"refresh_expires_in_path,omitempty"`
	RefreshExpiresInUnit string `json:"refresh_expires_in_unit,omitempty"`
}

// Argument is one part of a token request.
type Argument struct {
	// Name of the parameter, header or field. In a JSON body, dots nest it
	// (auth.user) and indexes make lists (auth.methods.0). Arguments of one
	// name in a query or a form are repeated parameters.
	Name string `json:"name"`
	// Place: url, header, body, basic or path. A path argument replaces
	// {name} in the URL's path.
	Place string `json:"place"`
	// Value is a template: "$key_1", "{secret.appid}", plain text.
	Value string `json:"value,omitempty"`
	// Expr is a computed value (CEL), instead of Value: signatures, digests,
	// timestamps, JWTs. At most 4,096 characters.
	Expr string `json:"expr,omitempty"`
	// Type of a JSON body's value: string (default), number or boolean. What
	// an Expr gives has a type of its own, which is then the default.
	Type string `json:"type,omitempty"`
}

// Rule is a condition on an answer. All of what one rule says must hold.
type Rule struct {
	// Status is the set of HTTP statuses that match; empty for any.
	Status []int `json:"status,omitempty"`
	// JSON is a path into the answer, Values what may stand there; without
	// values, anything but null may. Numbers and numeric strings compare equal. The
	// step "*" stands for any element of a list; a member of that name is \*.
	JSON   string   `json:"json,omitempty"`
	Values []Scalar `json:"values,omitempty"`
	// Absent lets a missing path pass, or null.
	Absent bool `json:"absent,omitempty"`
	// Text is a text that stands in the first 64 KiB of the answer's body, which is
	// JSON, XML, text (but no event stream) or one of Types. In renew_on only.
	Text string `json:"text,omitempty"`
	// Header is the name of a header field or trailer, and Values what its value may
	// be, letter by letter; without values, it may be anything. It does not stand
	// beside JSON, and beside Text only the header counts. In renew_on only.
	Header string `json:"header,omitempty"`
	// Types are media types, such as "application/x-javascript", beside those that
	// JSON and Text look into. In renew_on only.
	Types []string `json:"types,omitempty"`
}
