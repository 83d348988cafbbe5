package grant

import (
	"errors"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// filledPlace is a place of a URL that a secret fills in, and the check of what
// it gives.
type filledPlace struct {
	template template
	check    func(v *values) error
}

// filledPlaces are all places of the realm's URLs that a secret fills in.
func (p *Program) filledPlaces() []filledPlace {
	var list []filledPlace
	addURL := func(u *urlTemplate) {
		list = append(list, filledPlace{slices.Concat(u.host, u.path), func(v *values) error { _, err := u.expand(v); return err }})
	}
	if p.target.api != nil {
		addURL(p.target.api)
	}
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, AuthorizeRecipe, ExchangeRecipe} {
		if r := p.recipe(kind); r != nil {
			addURL(&r.url)
		}
	}
	for _, h := range p.target.hosts {
		list = append(list, filledPlace{h.host, func(v *values) error { _, err := h.bind(v); return err }})
	}
	return append(list, filledPlace{p.callback, func(v *values) error {
		_, err := p.parseCallbackURL(p.callback.expand(v, nil))
		return err
	}})
}

// CheckSecret finds a value that cannot stand in a URL where the realm puts it,
// such as "a b/" in the host of its API, or must not: see checkShared. It also
// finds a key that an expression cannot use. It is for a secret that is being
// saved and need not be whole yet: fields that it lacks are not missed, as they
// are by Bind. An error is a *realm.FieldError of a path such as fields.shop.
func (p *Program) CheckSecret(s realm.Secret) error {
	if fault := (*realm.FieldError)(nil); errors.As(p.checkShared(s), &fault) {
		return realm.Fieldf("fields."+fault.Field, "%s", fault.Reason)
	}
	v := &values{secret: s.Fields, shared: p.sharedFor(s), callback: p.callback, kept: p.sampleKept()}
	for _, f := range p.filledPlaces() {
		names := f.template.fields(nil)
		own := slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, ok := s.Fields[name]; return !ok })
		whole := !slices.ContainsFunc(names, func(name string) bool { _, ok := v.field(name); return !ok })
		if len(own) == 0 || !whole {
			continue
		}
		v.written, v.overflow = 0, false
		var fault *realm.FieldError
		err := f.check(v)
		if v.overflow {
			return realm.Fieldf("fields."+own[0], "is too long: it makes a URL of the realm larger than 1 MiB")
		}
		if !errors.As(err, &fault) {
			continue
		}
		if slices.Contains(own, fault.Field) {
			return realm.Fieldf("fields."+fault.Field, "%s", fault.Reason)
		}
		// The fault is in what several values give together.
		return realm.Fieldf("fields."+own[0], "does not fit %s, which %s", fault.Field, fault.Reason)
	}
	return p.checkKeys(v, s)
}

// checkKeys finds a field of the secret that is not the key that an expression
// needs. Fields that are not there yet count as empty, and are not blamed. What the expression says of other values may depend on the call, and is
// found by Bind.
func (p *Program) checkKeys(v *values, s realm.Secret) error {
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, AuthorizeRecipe, ExchangeRecipe} {
		r := p.recipe(kind)
		if r == nil {
			continue
		}
		for _, a := range r.arguments() {
			if a.expr == nil || len(a.expr.Keys()) == 0 || a.expr.ReadsArguments() {
				continue
			}
			_, err := a.eval(v, expression.Input{Now: sampleInstant})
			for _, name := range a.expr.Keys() {
				if value, ok := s.Fields[name]; ok && expression.IsFaultOf(err, value.Reveal()) {
					return realm.Fieldf("fields."+name, "does not fit %s: %v", a.source(), err)
				}
			}
		}
	}
	return nil
}
