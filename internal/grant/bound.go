package grant

import (
	"fmt"
	"io"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Bound is a program with one secret's values. Making one is cheap; it holds
// the values in clear and is not kept.
type Bound struct {
	program *Program
	ref     realm.Ref
	values  values
	target  *realm.Target
	kept    realm.Kept // with the token that it is placed with
}

// Bind fills the program with a secret. A field of the secret that is missing,
// or cannot stand where the realm puts it, is a *realm.FieldError that names
// it. Only a volatile field may be missing, see Unpushed.
func (p *Program) Bind(s realm.Secret) (*Bound, error) {
	b := &Bound{
		program: p, ref: s.Ref, target: p.target.fixed,
		values: values{secret: s.Fields, shared: p.sharedFor(s), callback: p.callback, now: sampleInstant},
	}
	for _, name := range p.required {
		if _, ok := b.values.field(name); !ok {
			return nil, realm.Fieldf(name, "the secret has no such field")
		}
	}
	if err := p.checkShared(s); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	var err error
	if b.target == nil {
		v := b.values
		if b.target, err = p.target.bind(&v); v.overflow {
			err = tooLarge("config.api", p.realm.ID)
		}
	}
	if err == nil && len(p.target.way.fields()) > 0 {
		own := *b.target
		own.Way, err = p.target.way.bind(&b.values)
		b.target = &own
	}
	return b, err
}

// check renders every request that the realm can send, so that a value that
// cannot stand in one is found now and not in the middle of a call.
func (b *Bound) check() error {
	if p := b.program; p.fetch != nil && b.unpushed(p.fetch) == nil {
		if _, err := p.fetch.render(b.values, b.ref); err != nil {
			return err
		}
	}
	if p := b.program; p.CanRefresh() && b.unpushed(p.refresh) == nil {
		v := b.values
		v.refresh, v.kept = "1", p.sampleKept() // samples: good wherever a token may stand
		if _, err := p.refresh.render(v, b.ref); err != nil {
			return err
		}
	}
	return b.checkAuthorization()
}

// checkAuthorization is check for what an authorization sends.
func (b *Bound) checkAuthorization() error {
	if !b.program.CanAuthorize() {
		return nil
	}
	v := b.values
	callback := b.program.callback.expand(&v, nil)
	if v.overflow {
		return tooLarge(callbackField, b.program.realm.ID)
	}
	if _, err := b.program.parseCallbackURL(callback); err != nil {
		return err
	}
	v.written = 0
	v.authorization, v.code = Authorization{State: "1", Verifier: "1"}, "1"
	v.kept = b.program.sampleKept()
	for _, r := range []*recipe{b.program.authorize, b.program.exchange} {
		if b.unpushed(r) != nil {
			continue
		}
		if _, err := r.render(v, b.ref); err != nil {
			return err
		}
	}
	return nil
}

// expand fills a template in with the secret alone.
func (b *Bound) expand(t template) string {
	v := b.values
	return t.expand(&v, nil)
}

// Target is where the token may go. It is the same pointer for every secret of a
// program whose api and hosts hold no {secret.x}, that keeps nothing with a
// token, and whose connections need nothing of a secret.
func (b *Bound) Target() *realm.Target { return b.target }

// Format is the reference alone, for every verb: fmt would print the values of
// unexported fields in clear, because it cannot call their own methods.
func (b Bound) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "secret "+b.ref.String()) }

// Format is the realm's id alone, for the same reason: its shared fields are
// confidential.
func (p Program) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "realm "+p.realm.ID) }
