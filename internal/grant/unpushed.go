package grant

import "fmt"

// Unpushed is the failure of a call that reads a volatile field which has no value
// now: none was pushed yet, or the last one has ended. It is nil where the call
// can be made, or the realm has no such recipe. Nothing about it is worth
// remembering: the next value that is pushed ends it.
func (b *Bound) Unpushed(kind RecipeKind) *Error {
	if r := b.program.recipe(kind); r != nil {
		return b.unpushed(r)
	}
	return nil
}

func (b *Bound) unpushed(r *recipe) *Error {
	if len(b.program.realm.Config.Volatile) == 0 {
		return nil
	}
	for _, name := range r.fields() {
		if _, ok := b.values.field(name); !ok && b.program.isVolatile(name) {
			return &Error{
				Class: Retryable, Kind: KindRequest, NotSent: true,
				Detail: fmt.Sprintf("no current value of the field %q has been pushed", name),
			}
		}
	}
	return nil
}
