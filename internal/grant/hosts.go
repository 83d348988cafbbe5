package grant

import (
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Host is a host that something of a realm is sent to.
type Host struct {
	// Name is its one spelling. Another port is another host, because somebody
	// else may listen there; so is plain http. It may hold what a secret filled
	// in, and is shown to nobody.
	Name string
	// Written is the host as the realm has it: with {secret.x} in place of what
	// is filled in.
	Written string
}

// Hosts are the hosts that the values of a secret, and the tokens that they give,
// are sent to: those of every recipe, of api and of hosts, and that of a callback
// URL which holds a value. They are sorted. A host that the secret cannot fill in
// is none.
func (p *Program) Hosts(s realm.Secret) []Host {
	v := &values{secret: s.Fields, shared: p.sharedFor(s)}
	return p.hosts(func(name string) (string, bool) {
		value, _ := v.field(name) // empty is no part of a host
		return value.Reveal(), true
	})
}

// SharedHosts are the hosts that the realm's shared fields are sent to beside
// those fields of a secret. What the secret fills in stays as it was written:
// whoever entered the shared fields saw it.
func (p *Program) SharedHosts(s realm.Secret) []Host {
	return p.hosts(func(name string) (string, bool) {
		if _, own := s.Fields[name]; own {
			return "", false
		}
		value, ok := p.sharedFor(s)[name]
		return value.Reveal(), ok
	})
}

// WrittenHosts are all hosts of the realm as they are written.
func (p *Program) WrittenHosts() []Host {
	return p.hosts(func(string) (string, bool) { return "", false })
}

// hosts are the hosts of the realm, with what fill knows in place of the names.
func (p *Program) hosts(fill func(name string) (value string, known bool)) []Host {
	var list []Host
	for _, d := range p.destinations() {
		// By a callback URL a value leaves that stands in it, but not one that is the
		// URL itself: it may be filled in, or moved, after the others were entered.
		isItself := len(d.host) == 1 && d.host[0].isField()
		if d.field == callbackField && (len(d.reads) == 0 || isItself) {
			continue
		}
		if name, ok := d.name(fill); ok {
			list = append(list, Host{Name: name, Written: d.host.written()})
		}
	}
	list = append(list, p.shown(fill)...)
	list = append(list, p.target.way.hosts(fill)...)
	slices.SortFunc(list, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b Host) bool { return a.Name == b.Name })
}

// shown are the ways by which people, and not hosts, get to see a value: as a
// fixed or computed token, which is read out, in the link of an authorization, and by what
// becomes of an expression that the value decides. They count as hosts, one for
// each field, so that nobody who may change a realm has a value shown that was
// entered to be sent.
func (p *Program) shown(fill func(name string) (value string, known bool)) []Host {
	var list []Host
	add := func(name, written string, fields []string) {
		for _, field := range fields {
			if _, known := fill(field); known {
				list = append(list, Host{Name: name + field, Written: written + " ({secret." + field + "})"})
			}
		}
	}
	add("token:", "the token that is read out", p.fixed.fields(nil))
	if p.ComputesToken() { // a key stays hidden behind what it signs
		add("token:", "the token that is read out", p.fetch.local.expr.Open())
	}
	if r := p.authorize; r != nil {
		fields := r.fields()
		if r.holds("callback_url") {
			fields = p.callback.fields(fields)
		}
		add("link:", "the link of the authorization", fields)
	}
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, AuthorizeRecipe, ExchangeRecipe} {
		if r := p.recipe(kind); r != nil {
			add("judged:", "what becomes of an expression", r.judged())
		}
	}
	for _, in := range p.inject {
		if in.expr != nil {
			add("judged:", "what becomes of an expression", in.expr.Judged())
		}
	}
	return list
}

// judged are the fields that decide something in an expression of the recipe,
// also by other arguments that hold them.
func (r *recipe) judged() []string {
	var list []string
	for _, a := range r.arguments() {
		if a.expr == nil {
			continue
		}
		list = append(list, a.expr.Judged()...)
		if a.expr.JudgesArguments() {
			list = append(list, r.fields()...)
		}
	}
	return list
}

// name is the host's spelling with what is filled in; false for a value that is
// no part of a host, which Bind refuses. A name that is not known stays.
func (d destination) name(fill func(name string) (value string, known bool)) (string, bool) {
	var text strings.Builder
	whole := true
	for _, p := range d.host {
		value, known := p.text, true
		if p.name != "" {
			value, known = fill(p.name)
		}
		switch {
		case !known:
			whole, value = false, template{p}.written()
		case p.name != "" && !d.isURL && !hostPart(value):
			return "", false
		}
		text.WriteString(value)
	}
	host := text.String()
	if !whole {
		return d.spelling(host), true
	}
	if d.isURL {
		u, err := url.Parse(host)
		if err != nil || u.Host == "" {
			return "", false
		}
		host, d.plain = u.Host, u.Scheme == "http"
	}
	pattern, err := realm.ParseHostPattern(host)
	if err != nil {
		return d.spelling(strings.ToLower(host)), true
	}
	return d.spelling(pattern.String()), true
}

// spelling takes away the port that the scheme means, and puts plain http in front:
// what was meant for TLS is not sent without.
func (d destination) spelling(host string) string {
	if d.plain {
		return "http://" + strings.TrimSuffix(host, ":80")
	}
	return strings.TrimSuffix(host, ":443")
}

// written is the template as it was typed.
func (t template) written() string {
	var b strings.Builder
	for _, p := range t {
		switch {
		case p.name == "":
			b.WriteString(p.text)
		case p.isField():
			b.WriteString("{secret." + p.name + "}")
		default:
			b.WriteString("{" + p.name + "}")
		}
	}
	return b.String()
}
