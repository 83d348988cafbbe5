package grant

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// compileExpr compiles the expression that computes the value.
func (c *injection) compileExpr(text string) (err error) {
	if c.expr, err = expression.Compile(text, scopeComputed.names); err != nil {
		return realm.Fieldf(c.field+".expr", "%v", err)
	}
	for _, path := range c.expr.Answers() {
		if _, err := parsePath(path); err != nil {
			return realm.Fieldf(c.field+".expr", "answer[%q] does not name a field of the answer: it %v", path, err)
		}
		c.answers = append(c.answers, part{name: answerPrefix + path, from: fromAnswer})
	}
	return checkFields(c.expr, c.source())
}

// source is the field in which the value was typed.
func (c *injection) source() string {
	if c.expr != nil {
		return c.field + ".expr"
	}
	return c.field + ".value"
}

// countExpr is how many expressions there are: 1 or 0.
func (c *injection) countExpr() int {
	if c.expr != nil {
		return 1
	}
	return 0
}

// holdsToken reports whether the value, or the user, is made of the token.
func (c *injection) holdsToken() bool {
	return c.value.holds("token") || c.user.holds("token") || c.expr != nil && c.expr.Reads("token")
}

// fields appends the secret's fields that the injection reads.
func (c *injection) fields(to []string) []string {
	to = c.user.fields(c.value.fields(to))
	if c.expr != nil {
		to = append(to, c.expr.Fields()...)
	}
	return to
}

// templates are what the value and the user are filled in from, and what the
// expression reads of the answer.
func (c *injection) templates() []template { return []template{c.user, c.value, c.answers} }

// isPerRequest reports whether the value differs from request to request. All
// others are computed once for each token.
func (c *injection) isPerRequest() bool {
	return c.expr != nil && (c.expr.Reads("method") || c.expr.Reads("path") || c.expr.Varies())
}

// text is the value before it is written as its place wants it.
func (c *injection) text(v *values, out realm.Outgoing) (string, error) {
	if c.expr == nil {
		return c.value.expand(v, nil), nil
	}
	in := v.input
	in.Secret, in.Answer, in.Names = make(map[string]string), make(map[string]string), make(map[string]any)
	for _, name := range c.expr.Fields() {
		in.Secret[name] = v.get(part{name: name, from: fromSecret})
	}
	for _, p := range c.answers {
		in.Answer[strings.TrimPrefix(p.name, answerPrefix)] = v.get(p)
	}
	for _, name := range c.expr.Names() {
		in.Names[name] = map[string]string{"token": v.token, "method": out.Method, "path": out.Path}[name]
	}
	text, err := c.expr.Eval(in)
	switch {
	case err != nil:
		return "", realm.Fieldf(c.source(), "cannot be computed: %v", err)
	case strings.TrimSpace(text) == "":
		return "", realm.Fieldf(c.source(), "gives no value")
	}
	return text, nil
}

// perRequest is a token with what its values are computed from. It is kept as long
// as the token, and so has nothing of the secret and of the answer that is not read.
type perRequest struct {
	inject []injection
	values values
	placed []string
	realm  string
}

// PerRequest returns what realm.Lease.Computed is for a token that was placed; nil
// where no value differs from request to request.
func (b *Bound) PerRequest(token realm.Hidden, placed []string) func(realm.Outgoing) ([]string, error) {
	var p *perRequest
	for i := range b.program.inject {
		c := &b.program.inject[i]
		if !c.isPerRequest() {
			continue
		}
		if p == nil {
			p = &perRequest{inject: b.program.inject, placed: placed, realm: b.program.realm.ID}
			p.values.token, p.values.secret, p.values.kept = token.Reveal(), make(map[string]realm.Hidden), make(map[string]string)
		}
		for _, name := range c.fields(nil) {
			p.values.secret[name], _ = b.values.field(name)
		}
		for _, k := range appendKept(nil, "inject", c.templates()) {
			p.values.kept[k.name] = b.values.kept[k.name]
		}
	}
	if p == nil {
		return nil
	}
	return p.fill
}

// fill computes the values for a request.
func (p *perRequest) fill(out realm.Outgoing) ([]string, error) {
	v := p.values
	v.input = newInput(out.Now)
	filled := make([]string, len(p.placed))
	copy(filled, p.placed)
	for i := range p.inject {
		c := &p.inject[i]
		if !c.isPerRequest() {
			continue
		}
		var err error
		if filled[i], err = c.fill(&v, out); err != nil {
			return nil, err
		}
		if v.overflow {
			return nil, tooLarge(c.source(), p.realm)
		}
	}
	return filled, nil
}
