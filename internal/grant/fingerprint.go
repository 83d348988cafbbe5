package grant

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// fingerprintVersion is raised when the form of the digest changes.
const fingerprintVersion = "caddy-tokens fingerprint 1"

// decisive is everything in a realm that decides about its tokens. What only
// decides about their use (inject, hosts, renew_on, limits, comment) is not
// in it: to change that must not throw tokens away. The refresh recipe is in
// it only where it stands for the fetch recipe, because there is none: beside
// one, it decides about the next token and not about this one.
type decisive struct {
	Version   string
	Recipe    realm.Recipe
	Lifetime  realm.Lifetime
	Refresh   *realm.Recipe
	Authorize *realm.Recipe
	Exchange  *realm.Recipe
	Grant     *realm.Grant
	LogicCode string
	TimeZone  string `json:",omitempty"`
}

// digestRecipes covers the recipes. The form is JSON, whose order is that of the
// struct: the same in every process.
func (p *Program) digestRecipes() ([sha256.Size]byte, error) {
	cfg := &p.realm.Config
	d := decisive{
		Version: fingerprintVersion, Recipe: *withoutRefusals(&cfg.Recipe), Lifetime: cfg.Lifetime,
		Authorize: withoutRefusals(cfg.Authorize), Exchange: withoutRefusals(cfg.Exchange), Grant: cfg.Grant,
		TimeZone: cfg.TimeZone,
	}
	if g := cfg.Grant; g != nil && g.Name == realm.GrantAuthorizationCode {
		plain := *g
		plain.PKCE, plain.Issuer = "", "" // they secure the way to a token, and do not make another one
		d.Grant = &plain
	}
	if p.refreshDecides() {
		d.Refresh = withoutRefusals(cfg.Refresh)
	}
	if p.fetch != nil && p.fetch.url.field == "logic_code" { // config does not win over it
		d.LogicCode = p.realm.LogicCode
	}
	b, err := json.Marshal(d)
	return sha256.Sum256(b), err
}

// withoutRefusals is a recipe without its rules about refusals: they decide what
// becomes of a failure, and not about a token that was obtained.
func withoutRefusals(r *realm.Recipe) *realm.Recipe {
	if r == nil {
		return nil
	}
	plain := *r
	plain.ReauthOn, plain.HopelessOn, plain.ThrottledOn = nil, nil, nil
	return &plain
}

// Fingerprint identifies recipe and secret together: the recipes, and the
// values of the fields that they read, but for those that the realm names as
// volatile: a ticket that is pushed every ten minutes must not end a token of
// two hours. Its end is that of the secret's own refresh token, where there is
// one.
func (b *Bound) Fingerprint() realm.Fingerprint {
	text := slices.Clone(b.program.recipesDigest[:])
	text = b.appendFields(text, b.decisiveFields())
	sum := sha256.Sum256(text)
	f := realm.Fingerprint(sum[:len(realm.Fingerprint{})])
	if seed, ok := b.seedDigest(); ok {
		copy(f[len(f)-seedSize:], seed[:])
	}
	return f
}

// decisiveFields are the fields that decide about the token: those that the
// recipes read, without the volatile ones.
func (b *Bound) decisiveFields() []string {
	names := b.program.decides
	if b.program.wholeSecret {
		names = sortedSet(b.secretFields(slices.Clone(names)))
	}
	volatile := b.program.realm.Config.Volatile
	if len(volatile) == 0 {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(volatile, name) })
}

// secretFields appends the names of all fields that the secret has.
func (b *Bound) secretFields(names []string) []string {
	return slices.AppendSeq(names, maps.Keys(b.values.secret))
}

// appendPrefixed appends a text behind its length, so that two lists of texts
// never have the same form.
func appendPrefixed(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}
