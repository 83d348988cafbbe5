package grant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxKept bounds how many values a realm keeps with each token.
const maxKept = 16

// answerPrefix begins the name of what is kept of an answer.
const answerPrefix = expression.Answer + "."

// keptName is a field of the token's answer, or a parameter of the callback, that
// the realm reads: {answer.instance_url}, {callback.realmId}. It is kept with the
// token.
type keptName struct {
	part
	path path   // in the answer
	by   string // what reads it first: api, inject, refresh or exchange
}

// parseKept reads the name of a value that is kept.
func parseKept(name string, sc scope) (p part, ok bool, err error) {
	if field, is := strings.CutPrefix(name, answerPrefix); is && sc.answer {
		if _, err := parsePath(field); err != nil {
			return p, true, fmt.Errorf("{%s} does not name a field of the answer: it %w", name, err)
		}
		return part{name: name, from: fromAnswer}, true, nil
	}
	parameter, is := strings.CutPrefix(name, "callback.")
	switch {
	case !is || !sc.callback:
		return p, false, nil
	case parameter == "code" || parameter == "state":
		return p, true, fmt.Errorf("{%s} is not kept: it is good for one exchange", name)
	case !validField(parameter):
		return p, true, fmt.Errorf("{%s} does not name a parameter of the callback", name)
	}
	return part{name: name, from: fromCallback}, true, nil
}

// isKept reports whether the part is kept with a token.
func (p part) isKept() bool { return p.from == fromAnswer || p.from == fromCallback }

// readsKept reports whether the template holds anything that is kept.
func (t template) readsKept() bool { return slices.ContainsFunc(t, part.isKept) }

// readsKept reports whether the recipe sends anything that is kept.
func (r *recipe) readsKept() bool { return slices.ContainsFunc(r.templates(), template.readsKept) }

// compileKept finds out what is kept with a token: what api, inject and the
// refresh recipe read of it. What the exchange alone reads of its callback is
// not.
func (p *Program) compileKept() error {
	var api, inject []template
	if u := p.target.api; u != nil {
		api = []template{{u.base}, u.host, u.path}
	}
	for _, in := range p.inject {
		inject = append(inject, in.templates()...)
	}
	p.kept = appendKept(p.kept, "api", api)
	p.kept = appendKept(p.kept, "inject", inject)
	if p.refresh != nil {
		p.sentByRefresh = appendKept(nil, "refresh", p.refresh.templates())
		p.kept = appendKept(p.kept, "refresh", p.refresh.templates())
	}
	if p.exchange != nil {
		p.sentByExchange = appendKept(nil, "exchange", p.exchange.templates())
	}
	for _, k := range append(slices.Clone(p.kept), p.sentByExchange...) {
		if err := p.checkKept(k); err != nil {
			return err
		}
	}
	if len(p.kept) > maxKept {
		return realm.Fieldf("config", "reads %d values of the answer and the callback, and at most %d are kept with a token", len(p.kept), maxKept)
	}
	return nil
}

// appendKept appends what the templates read and is not in the list.
func appendKept(list []keptName, by string, templates []template) []keptName {
	for _, t := range templates {
		for _, p := range t {
			if !p.isKept() || slices.ContainsFunc(list, func(k keptName) bool { return k.name == p.name }) {
				continue
			}
			k := keptName{part: p, by: by}
			if p.from == fromAnswer {
				k.path, _ = parsePath(strings.TrimPrefix(p.name, answerPrefix)) // it was parsed before
			}
			list = append(list, k)
		}
	}
	return list
}

// checkKept refuses a name that no token of the realm can have a value for.
func (p *Program) checkKept(k keptName) error {
	refuse := func(why string) error { return realm.Fieldf("config."+k.by, "reads {%s}, and %s", k.name, why) }
	isText := func(r *recipe) bool { return r != nil && r.reading.text() }
	switch {
	case k.name == "callback."+p.codeName():
		return refuse("the code is not kept: it is good for one exchange")
	case p.isFixed:
		return refuse("a fixed token comes without an answer and a callback")
	case k.from == fromCallback && !p.CanAuthorize():
		return refuse("there is no callback: " + p.noAuthorize)
	case k.from == fromCallback && p.fetch != nil:
		return refuse("a token that is fetched comes without a callback")
	case k.from == fromAnswer && (isText(p.fetch) || isText(p.exchange) || p.fetch == nil && p.exchange == nil && isText(p.refresh)):
		return refuse("the answer is a text without fields")
	case k.by == "refresh" && p.refreshDecides():
		return refuse("nothing is kept before the first refresh")
	}
	return nil
}

// keep takes what the realm reads out of the answer that brought a token. What
// the answer lacks stays as it was before: many providers send it with the first
// answer only, and a refresh has no callback. The error names what is missing.
func (c *call) keep(root gjson.Result) (realm.Kept, error) {
	before := c.request.Kept.Reveal()
	kept := make(map[string]string)
	var missing error
	for _, k := range c.bound.program.kept {
		value, err := k.in(root)
		if err == nil && value == "" {
			value = before[k.name]
		}
		switch {
		case err != nil:
			missing = errors.Join(missing, fmt.Errorf("%s: %w; %s needs it", k.name, err, k.by))
		case value == "":
			missing = errors.Join(missing, errors.New(k.missing()))
		default:
			kept[k.name] = value
		}
	}
	return realm.KeptOf(kept), missing
}

// in reads the value in an answer; "" for none there.
func (k *keptName) in(root gjson.Result) (string, error) {
	if k.from != fromAnswer {
		return "", nil
	}
	value, err := k.path.in(root)
	if err != nil {
		return "", err
	}
	if value.IsObject() || value.IsArray() {
		return "", errors.New("is a list or an object, and no single value")
	}
	text, ok := scalarText(value)
	if !ok { // nothing, or null
		return "", nil
	}
	// A copy: it must not keep the whole answer in memory.
	return strings.Clone(text), checkKeptValue(text)
}

// checkKeptValue refuses what is too long to be kept, and what could break out of
// a header or a URL.
func checkKeptValue(text string) error {
	switch {
	case len(text) > realm.MaxKept:
		return errors.New("is longer than 4 KiB")
	case checkToken(text) != nil:
		return errors.New("holds control characters, or is not UTF-8")
	}
	return nil
}

// missing tells of a value that the provider did not send.
func (k *keptName) missing() string {
	where := "answer"
	if k.from == fromCallback {
		where = "callback"
	}
	return k.name + ": is not in the " + where + "; " + k.by + " needs it"
}

// KeptOf is what the realm reads of a callback: for Request.Kept of the exchange,
// which keeps the rest of it with the token.
func (b *Bound) KeptOf(cb Callback) realm.Kept {
	kept := make(map[string]string)
	parameters := cb.Parameters.Reveal()
	for _, k := range b.program.readOfCallback() {
		if value := parameters[k.parameter()]; value != "" {
			kept[k.name] = value
		}
	}
	return realm.KeptOf(kept)
}

// readOfCallback is what the realm reads of a callback.
func (p *Program) readOfCallback() []keptName {
	list := append(slices.Clone(p.kept), p.sentByExchange...)
	return slices.DeleteFunc(list, func(k keptName) bool { return k.from != fromCallback })
}

// parameter is the name of the value in the callback.
func (k *keptName) parameter() string { return strings.TrimPrefix(k.name, "callback.") }

// lacksOfCallback is the failure of a callback without something that the realm
// reads of it; nil if there is all.
func (b *Bound) lacksOfCallback(cb Callback) *Error {
	parameters := cb.Parameters.Reveal()
	for _, k := range b.program.readOfCallback() {
		value, why := parameters[k.parameter()], ""
		if err := checkKeptValue(value); err != nil {
			why = k.name + ": " + err.Error() + "; " + k.by + " needs it"
		} else if value == "" {
			why = k.missing()
		}
		if why != "" {
			return &Error{Class: Retryable, Kind: KindBadResponse, NotSent: true, Detail: why}
		}
	}
	return nil
}

// Lacks names a value that the realm reads and that is not among those that were
// kept with a token; "" if there is all. A token that was brought by the API, or
// that was obtained before the realm read the value, lacks it: it is of no use to
// the realm, and another one has to be obtained.
func (b *Bound) Lacks(kept realm.Kept) string {
	if k := firstMissing(b.program.kept, kept); k != nil {
		return k.name + ": is not kept with the token; " + k.by + " needs it"
	}
	return ""
}

// MayRefresh reports whether a refresh can bring a token that the realm can use,
// by what was kept with the token that is refreshed: a refresh sends some of it
// again, and brings no callback.
func (b *Bound) MayRefresh(kept realm.Kept) bool {
	p := b.program
	ofCallback := slices.DeleteFunc(slices.Clone(p.kept), func(k keptName) bool { return k.from != fromCallback })
	return firstMissing(p.sentByRefresh, kept) == nil && firstMissing(ofCallback, kept) == nil
}

// firstMissing is the first of the names that has no value; nil for none.
func firstMissing(names []keptName, kept realm.Kept) *keptName {
	if len(names) == 0 {
		return nil
	}
	values := kept.Reveal()
	i := slices.IndexFunc(names, func(k keptName) bool { return values[k.name] == "" })
	if i < 0 {
		return nil
	}
	return &names[i]
}

// With is the secret together with what was kept with a token of it: for Place,
// and for Target, which may differ from token to token.
func (b *Bound) With(kept realm.Kept) *Bound {
	p := b.program
	if len(p.kept) == 0 {
		return b
	}
	with := *b
	with.kept, with.values.kept = kept, kept.Reveal()
	target := *b.target
	target.Kept = kept
	if p.target.isAPIKept() && b.Lacks(kept) == "" {
		v := with.values
		api, refused := p.target.bindAPI(&v, target.Hosts)
		target.SetAPI(api)
		target.Refused = refused
	}
	with.target = &target
	return &with
}

// WithSample is With for a token with which nothing was kept yet.
func (b *Bound) WithSample() *Bound { return b.With(realm.KeptOf(b.program.sampleKept())) }

// sampleKept has a value for everything that is kept: good in a header, in a URL
// and in a part of one, or, in the place of a whole URL, that of a host that is
// reserved for examples.
func (p *Program) sampleKept() map[string]string {
	sample := make(map[string]string)
	for _, k := range append(slices.Clone(p.kept), p.sentByExchange...) {
		sample[k.name] = "1"
	}
	if api := p.target.api; api != nil && api.base.name != "" {
		sample[api.base.name] = "https://api.example"
	}
	return sample
}
