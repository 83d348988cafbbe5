package grant

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxComputed bounds the computed arguments of one recipe: each may take some
// hundredths of a second.
const maxComputed = 16

// sampleInstant stands for the time of a call where there is none yet.
var sampleInstant = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// compileExpr compiles the expression of an argument. Only a JSON body can carry
// a list or a map, and only as what it is, or as a text of it.
func (a *argument) compileExpr(text string, sc scope, inJSON bool) (err error) {
	compile := expression.Compile
	if inJSON && a.typ != realm.TypeNumber && a.typ != realm.TypeBoolean {
		compile = expression.CompileJSON
	}
	if a.expr, err = compile(text, append([]string{expression.Args}, sc.names...)); err != nil {
		return realm.Fieldf(a.at(".expr"), "%v", err)
	}
	return checkFields(a.expr, a.source())
}

// checkFields refuses what an expression reads of the secret and no secret can have.
func checkFields(e *expression.Expression, source string) error {
	for _, name := range e.Fields() {
		if !validField(name) {
			return realm.Fieldf(source, "secret[%q] does not name a field", name)
		}
	}
	return nil
}

// source is the field in which the argument's value was typed.
func (a *argument) source() string {
	if a.expr != nil {
		return a.at(".expr")
	}
	return a.at(".value")
}

// expand is the argument's value, as it was computed or filled in.
func (a *argument) expand(v *values) string {
	if a.expr != nil {
		return v.computed[a.expr]
	}
	return a.value.expand(v, nil)
}

// arguments are those of every place.
func (r *recipe) arguments() []argument {
	list := slices.Concat(r.query, r.path, r.header, r.body.args)
	if r.basic != nil {
		list = append(list, *r.basic)
	}
	if r.local != nil {
		list = append(list, *r.local)
	}
	return list
}

// parameters are what an expression reads as args: the arguments of the query
// and the body. One that is itself computed from args is none of them.
func (r *recipe) parameters() []argument {
	return slices.DeleteFunc(slices.Concat(r.query, r.body.args), func(a argument) bool {
		return a.expr != nil && a.expr.ReadsArguments()
	})
}

// checkComputed judges the expressions when all arguments are known.
func (r *recipe) checkComputed() error {
	known := make(map[string]bool)
	var doubled []string
	for _, a := range r.parameters() {
		if known[a.name] {
			doubled = append(doubled, a.name)
		}
		known[a.name] = true
	}
	computed := 0
	for _, a := range r.arguments() {
		if a.expr == nil {
			continue
		}
		if computed++; computed > maxComputed {
			return realm.Fieldf(a.source(), "is one too many: a request has at most %d computed arguments", maxComputed)
		}
		if a.expr.ReadsArguments() && len(doubled) > 0 {
			return realm.Fieldf(a.source(), "cannot read args: there are two arguments %q", doubled[0])
		}
		for _, name := range a.expr.Arguments() {
			if !known[name] {
				return realm.Fieldf(a.source(), "args[%q] is no other argument of the query or the body, or is itself computed from args", name)
			}
		}
	}
	return nil
}

// compute evaluates the expressions: first those that need no other argument,
// then those that sign the others.
func (r *recipe) compute(v *values) error {
	v.computed = make(map[*expression.Expression]string)
	in := newInput(v.now)
	for _, signing := range []bool{false, true} {
		if signing {
			in.Arguments = make(map[string]string)
			for _, a := range r.parameters() {
				in.Arguments[a.name] = a.expand(v)
			}
			if v.overflow { // to sign what is not whole is of no use
				return nil
			}
		}
		for _, a := range r.arguments() {
			if a.expr == nil || a.expr.ReadsArguments() != signing {
				continue
			}
			if err := a.compute(v, in); err != nil {
				return err
			}
		}
	}
	return nil
}

// compute evaluates one expression and keeps its text.
func (a *argument) compute(v *values, in expression.Input) error {
	if v.masked {
		v.computed[a.expr] = realm.Mask
		return nil
	}
	text, err := a.eval(v, in)
	if err != nil {
		return realm.Fieldf(a.source(), "cannot be computed with the fields of this secret: %v", err)
	}
	v.computed[a.expr] = text
	return nil
}

// eval evaluates the expression with what it reads besides what is in the input.
func (a *argument) eval(v *values, in expression.Input) (string, error) {
	in.Secret, in.Names = make(map[string]string), make(map[string]any)
	for _, name := range a.expr.Fields() {
		in.Secret[name] = v.get(part{name: name, from: fromSecret})
	}
	for _, name := range a.expr.Names() {
		in.Names[name] = v.get(part{name: name})
	}
	if _, ok := in.Names["force"]; ok {
		in.Names["force"] = v.force
	}
	return a.expr.Eval(in)
}

// computedTexts are what was computed. They are confidential, as what they
// were computed from.
func (v *values) computedTexts() []string { return slices.Collect(maps.Values(v.computed)) }

// newInput is what all expressions of one request have in common.
func newInput(now time.Time) expression.Input {
	in := expression.Input{Now: now, UUID: newUUID()}
	_, _ = rand.Read(in.Seed[:]) // never fails
	return in
}

// newUUID makes a random UUID (RFC 9562 section 5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// typeJSON is the type of a list or a map that was computed. No realm can say it:
// the expression does.
const typeJSON = "json"

// jsonType is the type that a value has in JSON where the realm says none: a
// boolean, a whole number, a list or a map that was computed is one.
func (a *argument) jsonType() string {
	switch {
	case a.typ != "":
		return a.typ
	case a.expr != nil && a.expr.Type() == expression.Number:
		return realm.TypeNumber
	case a.expr != nil && a.expr.Type() == expression.JSON:
		return typeJSON
	case a.expr != nil && a.expr.Type() == expression.Boolean, a.value.is("force"):
		return realm.TypeBoolean
	}
	return realm.TypeString
}
