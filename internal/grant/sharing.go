package grant

import (
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// destination is where something of a realm goes.
type destination struct {
	field string   // of the realm
	host  template // with a port, perhaps
	plain bool     // http, and not https
	// isURL: host is a whole URL, scheme and all, that a secret fills in.
	isURL bool
	// reads are the fields that go there, or were used to get what goes there.
	reads []string
}

// destinations are all hosts that the realm names.
func (p *Program) destinations() []destination {
	var list []destination
	token := p.fixed.fields(nil)
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, AuthorizeRecipe, ExchangeRecipe} {
		r := p.recipe(kind)
		if r == nil {
			continue
		}
		reads := r.fields()
		if r.holds("callback_url") {
			reads = p.callback.fields(reads)
		}
		if r.readsKept() { // what is kept was got with what the other recipes read
			reads = p.tokenFields(reads)
		}
		if r.local == nil { // else nothing is sent but the token
			list = append(list, destination{field: r.url.field, host: r.url.host, plain: r.url.scheme == "http", reads: reads})
		}
		token = append(token, reads...)
	}
	for _, in := range p.inject {
		token = in.fields(token)
	}
	list = append(list, p.apiDestinations(token)...)
	return append(list, p.callbackDestination())
}

// apiDestinations are where API requests go with what token was got with. A host
// that the provider says is none by itself: the requests go to one of hosts, in
// clear too if the realm takes that from the provider.
func (p *Program) apiDestinations(token []string) []destination {
	var list []destination
	api := p.target.api
	if api != nil && !api.isHostKept() {
		list = append(list, destination{
			field: api.field, host: api.host, plain: api.scheme == "http", reads: api.path.fields(api.host.fields(token)),
		})
	}
	for _, h := range p.target.hosts {
		d := destination{field: h.field, host: h.host, reads: h.host.fields(token)}
		list = append(list, d)
		if api != nil && api.base.name != "" && p.target.allowHTTP {
			d.plain = true
			list = append(list, d)
		}
	}
	return list
}

// tokenFields appends the fields that the recipes read which bring a token.
func (p *Program) tokenFields(to []string) []string {
	for _, r := range []*recipe{p.fetch, p.refresh, p.exchange} {
		if r != nil {
			to = append(to, r.fields()...)
		}
	}
	return to
}

// callbackDestination is where a browser goes with what the callback URL holds.
// All of the URL decides about its host where a secret gives the scheme as well.
func (p *Program) callbackDestination() destination {
	d := destination{field: callbackField, host: p.callback, isURL: true, reads: p.callback.fields(nil)}
	var u urlTemplate
	if rest := u.cutScheme(p.callback); u.scheme != "" {
		d.host, _, _ = rest.cut("/?")
		d.plain, d.isURL = u.scheme == "http", false
	}
	return d
}

// checkShared refuses a secret of the API that chooses a host to which a shared
// field of the configuration file would go, or a token that was obtained with
// one. The operator wrote the field for the hosts of the file. Whoever may write
// secrets is not to have it, and would get it by naming a host of his own: also
// by a field of the name that the file itself has as shared.
func (p *Program) checkShared(s realm.Secret) error {
	if !p.trusted || s.Defined {
		return nil
	}
	isOwn := func(name string) bool { _, ok := s.Fields[name]; return ok }
	isShared := func(name string) bool { _, ok := p.realm.Config.Shared[name]; return ok && !isOwn(name) }
	for _, d := range p.destinations() {
		host := d.host.fields(nil)
		chooses := slices.IndexFunc(host, isOwn)
		reads := sortedSet(slices.DeleteFunc(slices.Clone(d.reads), func(name string) bool { return !isShared(name) }))
		if chooses < 0 || len(reads) == 0 {
			continue
		}
		return realm.Fieldf(host[chooses], "names the host of %s, and no host of a secret that was added by the API may get "+
			"shared fields of the configuration file (%s): put these into the secret, or the secret into the file", d.field, strings.Join(reads, ", "))
	}
	return nil
}
