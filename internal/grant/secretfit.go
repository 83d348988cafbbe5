package grant

import (
	"maps"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// MissingFields are the fields without which there is no token, and which neither the
// secret nor the realm has, sorted.
func (p *Program) MissingFields(s realm.Secret) []string {
	v := values{secret: s.Fields, shared: p.sharedFor(s)}
	return slices.DeleteFunc(p.NeededFields(), func(name string) bool { _, ok := v.field(name); return ok })
}

// UnreadFields are the fields of a secret that nothing in the realm reads, sorted: they
// may be misspelt.
func (p *Program) UnreadFields(s realm.Secret) []string {
	read := append(slices.Concat(p.required, p.realm.Config.Volatile, p.realm.Config.PushFields()), ParentField)
	if p.CanRefresh() {
		read = append(read, refreshField)
	}
	if p.isFixed {
		read = append(read, "token", endField)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Fields)), func(name string) bool { return slices.Contains(read, name) })
}
