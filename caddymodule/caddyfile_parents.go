package caddymodule

import (
	"slices"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// realmParsers are the parsers of the realms of one block, which know where each
// option was written.
type realmParsers []*realmParser

// check says what is wrong between the realms: a token is taken of a realm that is
// not there, or must not be. The order of the realms does not matter. Of several
// blocks that are one, a parent stands in the same block as its child, or in one
// before it. What takes values from its environment is checked when those are known.
func (read realmParsers) check(all []Realm) error {
	var known []realm.Realm
	var unresolved []string
	for _, r := range all {
		if written, ok := read.written(r); ok {
			known = append(known, written)
		} else {
			unresolved = append(unresolved, r.ID)
		}
	}
	id, err := catalog.CheckTogether(known, unresolved)
	if i := slices.IndexFunc(read, func(p *realmParser) bool { return p.realm.ID == id }); i >= 0 {
		return read[i].placed(err)
	}
	return err
}

// written is the realm as this block, or one before it, has it; false if a part of
// it is in the environment.
func (read realmParsers) written(r Realm) (realm.Realm, bool) {
	for _, p := range read {
		if p.realm.ID == r.ID {
			own := p.realm
			own.Config.Shared = p.shared.hidden()
			return own, !fromEnvironment(&own.Config) && !isFile(own.Config.CA)
		}
	}
	before := realm.Realm{ID: r.ID, LogicCode: r.LogicCode}
	if len(r.Config) > 0 && realm.Decode(r.Config, "config", &before.Config) != nil {
		return before, false
	}
	return before, !fromEnvironment(&before.Config) && !isFile(before.Config.CA)
}
