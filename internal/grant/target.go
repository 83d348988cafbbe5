package grant

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// target is where a token may go, before the secret is known.
type target struct {
	api    *urlTemplate // nil: the realm names none
	hosts  []hostTemplate
	common realm.Target // all that no secret decides
	// allowHTTP is the realm's own word: a provider may say http only then.
	allowHTTP bool
	fixed     *realm.Target
	// way is how connections are made; nil where the realm says nothing about it.
	way *way
}

// hostTemplate is an entry of hosts.
type hostTemplate struct {
	field string
	host  template
}

// compileTarget compiles where the token may go. Where no secret decides about
// it, it is bound here, once for all secrets.
func (p *Program) compileTarget() error {
	cfg := &p.realm.Config
	t := &p.target
	t.allowHTTP = cfg.AllowHTTP.IsOn()
	t.common = realm.Target{
		Inject: p.places(), Trusted: p.trusted,
		AllowHTTP: cfg.AllowHTTP.IsOn() || p.trusted, Upgrade: cfg.Upgrade.IsOn(), Scrub: cfg.Scrub.IsOn(), Forwarded: cfg.Forwarded.IsOn(),
		RewriteLinks: cfg.RewriteLinks.IsOn(),
		Pass:         canonicalNames(cfg.Pass), Methods: cfg.Methods,
		ReplayMax: int64(cfg.ReplayMax),
	}
	if cfg.ReplayMax == 0 {
		t.common.ReplayMax = int64(realm.DefaultReplayMax)
	}
	if len(cfg.RenewOn) > 0 {
		dead, err := compileDead(cfg.RenewOn, "config.renew_on")
		if err != nil {
			return err
		}
		t.common.Dead = dead
	}
	if cfg.API != "" {
		api, err := parseURL("config.api", cfg.API, scopeAPI)
		if err != nil {
			return err
		}
		if len(api.query) > 0 {
			return realm.Fieldf("config.api", "must not have a query: it is the base of URLs")
		}
		if err := p.checkScheme(api); err != nil {
			return err
		}
		t.api = &api
		if err := t.checkKeptAPI(cfg.Hosts); err != nil {
			return err
		}
		t.common.Trusted = p.trustsHost(api)
	}
	for i, entry := range cfg.Hosts {
		h, err := parseHostTemplate(entry, "config.hosts["+strconv.Itoa(i)+"]")
		if err != nil {
			return err
		}
		t.hosts = append(t.hosts, h)
	}
	var err error
	if t.way, err = p.compileWay(); err != nil {
		return err
	}
	if len(t.way.fields()) == 0 {
		if t.common.Way, err = t.way.bind(&values{}); err != nil {
			return err
		}
	}
	if len(t.fields()) > 0 {
		return nil
	}
	t.fixed, err = t.bind(&values{})
	return err
}

// canonicalNames returns names of header fields as they stand in a http.Header.
func canonicalNames(names []string) (canonical []string) {
	for _, name := range names {
		canonical = append(canonical, http.CanonicalHeaderKey(name))
	}
	return canonical
}

// trustsHost reports whether the operator named the host of a URL in the
// configuration file. A host that a secret fills in was named by whoever wrote
// the secret, and one that the provider says was named by nobody.
func (p *Program) trustsHost(u urlTemplate) bool {
	return p.trusted && len(u.host.fields(nil)) == 0 && !u.isHostKept()
}

// checkScheme allows http only where somebody said so.
func (p *Program) checkScheme(u urlTemplate) error {
	if u.scheme == "http" && !p.realm.Config.AllowHTTP.IsOn() && !p.trusted {
		return realm.Fieldf(u.field, "must be https; allow_http would allow http")
	}
	return nil
}

// WithoutTLS is the field of the realm with a URL that is not https; "" for none.
func (p *Program) WithoutTLS() string {
	urls := []*urlTemplate{p.target.api}
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, ExchangeRecipe} {
		if r := p.recipe(kind); r != nil && r.local == nil {
			urls = append(urls, &r.url)
		}
	}
	if r := p.authorize; r != nil && p.realm.Config.Unattended.IsOn() { // else a browser sends it
		urls = append(urls, &r.url)
	}
	for _, u := range urls {
		if u != nil && u.scheme == "http" {
			return u.field
		}
	}
	return ""
}

// parseHostTemplate checks an entry of hosts with a sample in place of every
// name.
func parseHostTemplate(entry, field string) (hostTemplate, error) {
	t, err := parseTemplate(entry, scopeTarget)
	if err != nil {
		return hostTemplate{}, realm.Fieldf(field, "%v", err)
	}
	if _, err := realm.ParseHostPattern(sample(t)); err != nil {
		return hostTemplate{}, realm.Fieldf(field, "%v", err)
	}
	return hostTemplate{field, t}, nil
}

// HasWrittenHosts reports whether the realm itself names all hosts that its tokens
// may go to: no field of a secret stands in them.
func (p *Program) HasWrittenHosts() bool {
	t := &p.target
	if len(t.hosts) == 0 {
		return t.api == nil || len(t.api.host.fields(nil)) == 0
	}
	return !slices.ContainsFunc(t.hosts, func(h hostTemplate) bool { return len(h.host.fields(nil)) > 0 })
}

// WrittenTarget is where all tokens of the realm may go, nil where a secret decides
// about it.
func (p *Program) WrittenTarget() *realm.Target { return p.target.fixed }

// fields are the secret's fields that decide where the token may go.
func (t *target) fields() []string {
	var list []string
	if t.api != nil {
		list = t.api.path.fields(t.api.host.fields(list))
	}
	for _, h := range t.hosts {
		list = h.host.fields(list)
	}
	return list
}

// bind fills the secret in. Without hosts, those of the api are meant. A base of
// the API that differs from token to token is not known yet, see Bound.With.
func (t *target) bind(v *values) (*realm.Target, error) {
	bound := t.common
	if t.api != nil && !t.isAPIKept() {
		text, err := t.api.expand(v)
		if err != nil {
			return nil, err
		}
		api, err := url.Parse(text)
		if err != nil {
			return nil, realm.Fieldf("config.api", "is not a valid URL with the fields of this secret")
		}
		bound.SetAPI(api)
	}
	for _, h := range t.hosts {
		pattern, err := h.bind(v)
		if err != nil {
			return nil, err
		}
		bound.Hosts = append(bound.Hosts, pattern)
	}
	if len(t.hosts) == 0 && t.api != nil {
		host, err := expandHost(t.api.host, v, "config.api")
		if err != nil {
			return nil, err
		}
		pattern, err := realm.ParseHostPattern(host)
		if err != nil {
			return nil, realm.Fieldf("config.api", "%v", err)
		}
		bound.Hosts = []realm.HostPattern{pattern}
	}
	return &bound, nil
}

// bind fills one entry in. Every value must be a part of a host by itself: two
// that are good only together could move the end of the host.
func (h hostTemplate) bind(v *values) (realm.HostPattern, error) {
	for _, p := range h.host {
		if p.name != "" && !hostPart(v.get(p)) {
			return realm.HostPattern{}, realm.Fieldf(p.name, "cannot stand in %s: it must be a host name or a part of one", h.field)
		}
	}
	pattern, err := realm.ParseHostPattern(h.host.expand(v, nil))
	if err != nil {
		return pattern, realm.Fieldf(h.field, "%v", err)
	}
	return pattern, nil
}
