package grant

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// digestVersion is raised when the form of the digests changes.
const digestVersion = "caddy-tokens digest 1"

// RecipeKind is one of the recipes that a realm may have.
type RecipeKind uint8

// The kinds of recipe.
const (
	FetchRecipe RecipeKind = iota
	RefreshRecipe
	AuthorizeRecipe
	ExchangeRecipe
)

// recipe returns the recipe of that kind, nil where the realm has none.
func (p *Program) recipe(kind RecipeKind) *recipe {
	return [...]*recipe{p.fetch, p.refresh, p.authorize, p.exchange}[kind]
}

// sentForm is all that a realm says about one call: what is sent, and how the
// answer is read. The grant's arguments and what one recipe inherits from
// another are in it already.
type sentForm struct {
	Version     string
	Recipe      realm.Recipe
	Arguments   []realm.Argument
	Lifetime    realm.Lifetime
	FormBasic   bool
	WholeSecret bool
	Timeout     realm.Duration
	// Trusted decides whether the call may go to a private address.
	Trusted  bool
	TimeZone string `json:",omitempty"`
	// Proxy, CA and Certificate decide whether there is an answer at all.
	Proxy       string   `json:",omitempty"`
	CA          string   `json:",omitempty"`
	Certificate []string `json:",omitempty"`
}

// digestPlan covers a plan and what the realm says besides it. The form is JSON
// for the reason that digestRecipes has.
func (p *Program) digestPlan(plan *plan, r *recipe) ([sha256.Size]byte, error) {
	form := sentForm{
		Version: digestVersion, Recipe: plan.recipe, Lifetime: plan.lifetime,
		FormBasic: plan.formBasic, WholeSecret: plan.wholeSecret,
		Timeout: p.realm.Config.Limits.Timeout, Trusted: p.trustsHost(r.url),
		TimeZone: p.realm.Config.TimeZone,
		Proxy:    p.realm.Config.Proxy.Reveal(), CA: p.realm.Config.CA,
	}
	if name := p.realm.Config.ClientCertificate; name != "" {
		form.Certificate = []string{name, p.realm.Config.ClientKey}
	}
	form.Recipe.Arguments = nil // plan.args are those that are used
	for _, a := range plan.args {
		form.Arguments = append(form.Arguments, a.Argument)
	}
	b, err := json.Marshal(form)
	return sha256.Sum256(b), err
}

// Digest identifies what a call of this kind sends and how its answer is read:
// the recipe, and the value of every field of the secret or of the realm that
// it reads, volatile ones as well. It is the same on every node and after every
// restart; zero where the realm has no such recipe.
//
// A failure belongs to the digest that it was recorded with. Once the digest
// is another one, something was corrected, and the next call may succeed. A
// Fingerprint is for another purpose: it decides whether a token that was
// obtained still counts. What a call is given (a refresh token, a code) is in
// neither, unless the secret itself holds it.
func (b *Bound) Digest(kind RecipeKind) realm.Digest {
	p := b.program
	r := p.recipe(kind)
	if r == nil {
		return realm.Digest{}
	}
	text := append([]byte{byte(kind)}, r.digest[:]...)
	names := append(slices.Clone(r.decisiveFields()), p.target.way.fields()...)
	if kind == FetchRecipe && p.wholeSecret {
		names = b.secretFields(names)
	}
	if kind == RefreshRecipe && p.secretHoldsRefreshToken() {
		names = append(names, refreshField)
	}
	if r.holds("callback_url") || kind == AuthorizeRecipe { // a redirect must lead there, be it sent or not
		text = appendPrefixed(text, b.CallbackURL())
	}
	if kind == AuthorizeRecipe { // Judge counts the issuer among what its callback has
		text = appendPrefixed(text, b.expand(p.issuer))
		if name := p.realm.Config.CodeName; name != "" {
			text = appendPrefixed(text, name)
		}
	}
	return digestOf(b.appendFields(b.program.appendKeptNames(text, kind), sortedSet(names)))
}

// RecipeDigest identifies the recipe of this kind alone, without the values of
// the fields that it reads; zero where the realm has no such recipe. A failure
// that holds for all secrets of a realm belongs to it.
func (b *Bound) RecipeDigest(kind RecipeKind) realm.Digest {
	r := b.program.recipe(kind)
	if r == nil {
		return realm.Digest{}
	}
	return digestOf(b.program.appendKeptNames(append([]byte{byte(kind)}, r.digest[:]...), kind))
}

// appendKeptNames appends what is read of an answer besides the token: without it,
// an answer that failed may be a good one. A realm that keeps nothing has the
// digests that it had before there was anything to keep.
func (p *Program) appendKeptNames(text []byte, kind RecipeKind) []byte {
	if kind == AuthorizeRecipe {
		return text
	}
	for _, k := range p.kept {
		text = appendPrefixed(text, k.name)
	}
	return text
}

// ClientDigest identifies the client that an authorization is asked for: the
// endpoints of authorize and exchange, and all that the authorize request
// shows to the provider in its URL, but for what is made for one attempt. The
// client's secret is not in it. The code of an authorization may be exchanged
// only while the digest is the one that its link was made with: what another
// client asked for is none of this one's business, and a client whose secret
// was replaced is still the same. It is zero where the realm does not
// authorize.
func (b *Bound) ClientDigest() realm.Digest {
	p, v := b.program, b.values
	if !p.CanAuthorize() {
		return realm.Digest{}
	}
	text := []byte(digestVersion + " client")
	asked, exchanged := &p.authorize.url, &p.exchange.url
	for _, part := range []string{
		asked.scheme, asked.host.expand(&v, nil), asked.path.expand(&v, nil), asked.query.expand(&v, nil),
		exchanged.scheme, exchanged.host.expand(&v, nil), sample(exchanged.path),
	} {
		text = appendPrefixed(text, part)
	}
	for _, a := range p.authorize.query {
		text = appendPrefixed(appendPrefixed(text, a.name), a.value.expand(&v, nil))
	}
	// Elsewhere in the requests stand passwords and the client's secret too, as
	// they do in what is computed. What both requests read as it is names the
	// client.
	for _, a := range p.authorize.arguments() {
		text = appendPrefixed(appendPrefixed(appendPrefixed(text, a.name), sample(a.value)), a.exprText)
	}
	return digestOf(b.appendFields(text, p.clientFields))
}

// clientFields are the fields that the authorize and the exchange recipe both
// read outside expressions.
func clientFields(authorize, exchange *recipe) []string {
	var both []string
	exchanged := make(map[string]bool)
	for _, name := range exchange.templateFields() {
		exchanged[name] = true
	}
	for _, name := range authorize.templateFields() {
		if exchanged[name] {
			both = append(both, name)
		}
	}
	return sortedSet(both)
}

// appendFields appends the names and values of the fields that are there.
func (b *Bound) appendFields(text []byte, names []string) []byte {
	for _, name := range names {
		value, ok := b.values.field(name)
		if !ok { // of a recipe that is not complete
			continue
		}
		text = appendPrefixed(appendPrefixed(text, name), value.Reveal())
	}
	return text
}

// digestOf cuts the sum to the size of a digest: 128 bits are more than anybody
// can collide by chance.
func digestOf(text []byte) (d realm.Digest) {
	sum := sha256.Sum256(text)
	copy(d[:], sum[:])
	return d
}
