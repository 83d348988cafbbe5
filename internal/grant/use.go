package grant

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// CompileUse compiles what is said about the use of a realm's tokens, see
// realm.Config.ForUse. The program has no recipes: whoever has it takes tokens from
// another instance, and binds no secrets. Errors are *realm.FieldError.
func CompileUse(r realm.Realm) (*Program, error) {
	p := &Program{realm: r}
	if err := p.compileInject(); err != nil {
		return nil, err
	}
	return p, p.compileTarget()
}

// IsPlacedAlone reports whether a token is all that is needed to use it: no field of
// the secret and nothing that is kept with a token decides where it goes, or what
// goes with it.
func (p *Program) IsPlacedAlone() bool {
	return p.target.fixed != nil && !p.target.isAPIKept() && len(p.target.way.fields()) == 0 && !slices.ContainsFunc(p.inject, injection.readsMore)
}

// readsMore reports whether the value is made of anything but the token and the
// request.
func (c injection) readsMore() bool {
	return len(c.fields(nil)) > 0 || slices.ContainsFunc(c.templates(), template.readsKept)
}

// PlaceGiven makes a token of another instance ready for injection: it fills in
// Access, Values, Computed and Target. given is what that instance made of the
// secret; it counts only where the program is not IsPlacedAlone, and may be nil. A
// token that cannot be used here can be read: its Target refuses every request.
func (p *Program) PlaceGiven(lease *realm.Lease, token realm.Hidden, given *realm.Placed) {
	if err := p.placeGiven(lease, token, given); err != nil {
		target := p.target.common
		target.Refused = err
		lease.Access, lease.Values, lease.Computed, lease.Target = token, nil, nil, &target
	}
}

func (p *Program) placeGiven(lease *realm.Lease, token realm.Hidden, given *realm.Placed) *realm.Error {
	b := &Bound{program: p, target: p.target.fixed, values: values{now: sampleInstant}}
	if p.IsPlacedAlone() {
		values, shared, err := b.Place(token)
		if err != nil {
			return cannotUse("the token cannot be injected: "+err.Error(), err)
		}
		lease.Access, lease.Values, lease.Target, lease.Computed = shared, values, b.target, b.PerRequest(token, values)
		return nil
	}
	if len(p.target.way.certificateFields()) > 0 {
		return cannotUse("the realm's API wants a client certificate, which is in the secret; an edge has no secrets", nil)
	}
	if given == nil {
		return cannotUse("the realm's api or inject reads the secret: the instance that has it tells what comes of it only to a client with edge on", nil)
	}
	target, err := p.givenTarget(given)
	if err != nil {
		return err
	}
	if len(given.Values) != len(p.inject) {
		return cannotUse("the realm was changed meanwhile", nil)
	}
	values := make([]string, len(given.Values))
	for i, c := range p.inject {
		if c.isPerRequest() {
			if c.readsMore() {
				return cannotUse("config.inject["+strconv.Itoa(i)+"].expr reads the secret for each request; an edge has no secrets", nil)
			}
			continue
		}
		values[i] = given.Values[i].Reveal()
	}
	lease.Access, lease.Values, lease.Target, lease.Computed = shared(values, token), values, target, b.PerRequest(token, values)
	return nil
}

// givenTarget is the target with what another instance filled in.
func (p *Program) givenTarget(given *realm.Placed) (*realm.Target, *realm.Error) {
	target := p.target.common
	if given.Refused != "" {
		target.Refused = &realm.Error{Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway, Detail: given.Refused}
	}
	if given.API != "" {
		api, err := url.Parse(given.API)
		if err != nil {
			return nil, cannotUse("config.api is no URL with this secret", err)
		}
		target.SetAPI(api)
		if api.Scheme != "https" && !target.AllowHTTP {
			return nil, cannotUse("config.api is not https with this secret, and the realm does not allow that (allow_http)", nil)
		}
	}
	for _, host := range given.Hosts {
		pattern, err := realm.ParseHostPattern(host)
		if err != nil {
			return nil, cannotUse("config.hosts is not understood", err)
		}
		target.Hosts = append(target.Hosts, pattern)
	}
	return &target, nil
}

func cannotUse(why string, err error) *realm.Error {
	return &realm.Error{Code: realm.CodeNotProxyable, Status: http.StatusConflict, Detail: why, Err: err}
}
