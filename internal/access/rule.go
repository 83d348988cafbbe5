package access

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// rule is a rule of a client, compiled.
type rule struct {
	index                 int // among the rules as they are written
	rights                Right
	realms, keys, methods globs
	paths                 []pathGlob // none: any path
}

// rules are those of one client. Denials win, so that they come first, and the
// order among the others does not matter.
type rules struct {
	denials, allowances []rule
}

// compileRules compiles rules that checkRules accepts.
func compileRules(written []tokenstore.Rule) (rules, error) {
	var c rules
	if err := checkRules(written); err != nil {
		return c, err
	}
	for i, w := range written {
		rights, err := ParseRights(w.Rights)
		if err != nil {
			return c, err
		}
		r := rule{index: i, rights: rights, realms: newGlobs(w.Realms), keys: newGlobs(w.Keys), methods: newGlobs(w.Methods)}
		denies := w.Effect == effectDeny
		for _, pattern := range w.Paths {
			r.paths = append(r.paths, newPathGlob(pattern, denies))
		}
		if denies {
			c.denials = append(c.denials, r)
		} else {
			c.allowances = append(c.allowances, r)
		}
	}
	return c, nil
}

// isAbout reports whether a rule says something about a right to a secret.
func (r *rule) isAbout(q *Question) bool {
	return r.realms.match(q.Ref.Realm) && r.keys.match(q.Ref.Key)
}

// matchesPath reports whether one of the rule's patterns matches. A path with a
// slash at the end is denied as the one without it, too.
func (r *rule) matchesPath(p *path, denies bool) bool {
	for i := range r.paths {
		if r.paths[i].match(p.segments, p.bits) {
			return true
		}
		if denies && p.slash && r.paths[i].match(p.segments[:len(p.segments)-1], p.bits) {
			return true
		}
	}
	return false
}

// decide answers a question: denied by the first denial that matches, else
// allowed by the first rule that allows it. It does not allocate.
//
// An ambiguous path matches no pattern and fails none. Where a rule with paths
// would have a say in the decision, it is refused.
func (c *rules) decide(q *Question) Decision {
	var (
		p         path
		isRead    bool
		buffer    [escapedPath]byte
		ambiguous = -1
	)
	// A provider may take "delete" for DELETE: a denial holds for it, too.
	method := strings.ToUpper(q.Method)
	for i := range c.denials {
		r := &c.denials[i]
		if r.rights&q.Right == 0 || !r.isAbout(q) || !r.methods.match(method) {
			continue
		}
		if len(r.paths) > 0 {
			if !isRead {
				p.read(q.Path, buffer[:0])
				isRead = true
			}
			if p.ambiguous != "" {
				if ambiguous < 0 {
					ambiguous = r.index
				}
				continue
			}
			if !r.matchesPath(&p, true) {
				continue
			}
		}
		return Decision{Rule: r.index}
	}
	if ambiguous >= 0 {
		return Decision{Rule: ambiguous, Ambiguous: true}
	}
	for i := range c.allowances {
		r := &c.allowances[i]
		if q.Right == 0 || r.rights&q.Right != q.Right || !r.isAbout(q) || !r.methods.match(q.Method) {
			continue
		}
		if len(r.paths) > 0 {
			if !isRead {
				p.read(q.Path, buffer[:0])
				isRead = true
			}
			if p.ambiguous != "" {
				if ambiguous < 0 {
					ambiguous = r.index
				}
				continue
			}
			if !r.matchesPath(&p, false) {
				continue
			}
		}
		return Decision{Allowed: true, Rule: r.index}
	}
	return Decision{Rule: ambiguous, Ambiguous: ambiguous >= 0}
}

// mayAny reports whether there is a method and a path, and with an empty key
// also a key, for which one of the rights is allowed. A denial that has methods,
// paths, or keys when none is named, leaves others.
func (c *rules) mayAny(rights Right, realmID, key string) bool {
	for i := range c.allowances {
		r := &c.allowances[i]
		if r.realms.match(realmID) && (key == "" || r.keys.match(key)) {
			if left := r.rights & rights &^ c.deniedWhole(realmID, key); left != 0 {
				return true
			}
		}
	}
	return false
}

// deniedWhole is the rights that are denied whatever the method and the path.
func (c *rules) deniedWhole(realmID, key string) Right {
	var denied Right
	for i := range c.denials {
		r := &c.denials[i]
		if r.methods.any && len(r.paths) == 0 && r.realms.match(realmID) && r.keys.match(key) {
			denied |= r.rights
		}
	}
	return denied
}

// mayAll reports whether all of the rights are allowed everywhere: rules with
// the realm * and any key allow them, and no rule denies any of them to any.
func (c *rules) mayAll(rights Right) bool {
	var allowed Right
	for i := range c.denials {
		if c.denials[i].rights&rights != 0 {
			return false
		}
	}
	for i := range c.allowances {
		if r := &c.allowances[i]; r.realms.any && r.keys.any && r.methods.any && len(r.paths) == 0 {
			allowed |= r.rights
		}
	}
	return rights != 0 && rights&^allowed == 0
}
