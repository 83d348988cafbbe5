package access

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// rules are those of one client, compiled. Denials win, so that they come first.
//
// A decision has to take less than a microsecond with a hundred rules. Three
// things make that possible: rules that differ in their paths alone are one
// group; the path is taken apart once for all rules; and a filter of two words
// tells most patterns that do not match without looking at a segment.
type rules struct {
	denials, allowances []group
	// byPath: a rule has paths.
	byPath bool
}

// group are the rules of one effect that have realms, keys and methods in
// common, so that these are compared once for all of them. Groups and the rules
// in them are in the order in which the rules are written.
type group struct {
	realms, keys, methods globs
	rights                Right // of all its rules together
	rules                 []rule
}

// rule is what a rule has besides.
type rule struct {
	index  int // among the rules as they are written
	rights Right
	// filter is what all of its patterns have in common.
	filter filter
	paths  []pathGlob // none: any path
}

// compileRules compiles rules, of which the error says what is wrong.
func compileRules(written []tokenstore.Rule) (rules, error) {
	var c rules
	if err := checkRules(written); err != nil {
		return c, err
	}
	known := make(map[string]int) // the index of a group, by what its rules have in common
	for i, w := range written {
		rights, err := ParseRights(w.Rights)
		if err != nil {
			return c, err
		}
		r, denies := rule{index: i, rights: rights, filter: filter{^uint64(0), ^uint64(0)}}, w.Effect == effectDeny
		for _, pattern := range w.Paths {
			p := newPathGlob(pattern, denies)
			r.paths, c.byPath = append(r.paths, p), true
			r.filter.segments &= p.filter.segments
			r.filter.chars &= p.filter.chars
		}
		groups := &c.allowances
		if denies {
			groups = &c.denials
		}
		name := w.Effect
		for _, list := range [][]string{w.Realms, w.Keys, w.Methods} {
			name += "\x01" + strings.Join(list, "\x00") // no pattern has a control character
		}
		at, ok := known[name]
		if !ok {
			at = len(*groups)
			known[name] = at
			*groups = append(*groups, group{realms: newGlobs(w.Realms), keys: newGlobs(w.Keys), methods: newGlobs(w.Methods)})
		}
		g := &(*groups)[at]
		g.rights |= rights
		g.rules = append(g.rules, r)
	}
	return c, nil
}

// decide answers a question: denied by the first denial that matches, else
// allowed by the first rule that allows it. It does not allocate, but for long
// paths.
//
// An ambiguous path matches no pattern and fails none. Where a rule with paths
// would have a say in the decision, it is refused.
func (c *rules) decide(q *Question) Decision {
	var p path
	if !c.byPath || q.Right&Use == 0 {
		return c.weigh(q, &p, "")
	}
	if strings.IndexByte(q.Path, '%') >= 0 {
		return c.decideEscaped(q)
	}
	text := sent(q.Path)
	p.split(text)
	return c.weigh(q, &p, text)
}

// sent is the path that is sent for an empty one.
func sent(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// decideEscaped is decide for a path with escapes. Only such a path needs the
// buffer.
func (c *rules) decideEscaped(q *Question) Decision {
	var (
		p      path
		buffer [escapedPath]byte
	)
	text, ambiguous := decode(q.Path, buffer[:0])
	if p.ambiguous = ambiguous; ambiguous == "" {
		p.split(text)
	}
	return c.weigh(q, &p, text)
}

// weigh decides. text is the decoded path.
func (c *rules) weigh(q *Question, p *path, text string) Decision {
	// A provider may take "delete" for DELETE: a denial holds for it, too.
	denied, unclear := first(c.denials, true, q, strings.ToUpper(q.Method), p, text)
	switch {
	case denied >= 0:
		return Decision{Rule: denied}
	case unclear >= 0:
		return Decision{Rule: unclear, Ambiguous: true}
	}
	allowed, unclear := first(c.allowances, false, q, q.Method, p, text)
	if allowed >= 0 {
		return Decision{Allowed: true, Rule: allowed}
	}
	return Decision{Rule: unclear, Ambiguous: unclear >= 0}
}

// first returns the index of the first rule that matches, -1 for none, and of
// the first one of which that is unclear because the path is ambiguous. One
// right of several is enough for a denial; a rule that allows has to allow all.
func first(groups []group, denies bool, q *Question, method string, p *path, text string) (match, unclear int) {
	match, unclear = -1, -1
	segments := p.list()
	for i := range groups {
		g := &groups[i]
		// Another group may have an earlier rule, but not if all of its rules stand
		// behind the one that was found.
		if match >= 0 && g.rules[0].index > match {
			break
		}
		// A denial of one secret is one of the realm that is meant as a whole: who may
		// not change the secret may not change the realm.
		isAbout := g.keys.match(q.Ref.Key) || denies && q.Ref.Key == ""
		if !isAbout || !has(g.rights, q.Right, denies) || !g.realms.match(q.Ref.Realm) || !g.methods.match(method) {
			continue
		}
		for j := range g.rules {
			r := &g.rules[j]
			if match >= 0 && r.index > match {
				break
			}
			if !has(r.rights, q.Right, denies) {
				continue
			}
			if len(r.paths) == 0 {
				match = r.index
				break
			}
			// Whether the pattern matches depends on who reads the path. The search
			// goes on: a rule without paths may decide whatever the path is.
			if p.ambiguous != "" {
				if unclear < 0 || r.index < unclear {
					unclear = r.index
				}
				continue
			}
			if r.matchesPath(segments, text, p.filter) || denies && p.slash && r.matchesPath(segments[:len(segments)-1], text, p.filter) {
				match = r.index
				break
			}
		}
	}
	return match, unclear
}

// has reports whether a rule's rights are about those that are asked for.
func has(rights, asked Right, denies bool) bool {
	if denies {
		return rights&asked != 0
	}
	return asked != 0 && rights&asked == asked
}

// matchesPath reports whether one of the rule's patterns matches.
func (r *rule) matchesPath(segments []segment, text string, f filter) bool {
	if !f.passes(r.filter) {
		return false
	}
	for i := range r.paths {
		if r.paths[i].match(segments, text, f) {
			return true
		}
	}
	return false
}

// mayAny reports whether there is a method and a path, and with an empty key
// also a key, for which one of the rights is allowed. A denial that has methods,
// paths, or keys when none is named, leaves others.
func (c *rules) mayAny(rights Right, realmID, key string) bool {
	var allowed Right
	for i := range c.allowances {
		if g := &c.allowances[i]; g.realms.match(realmID) && (key == "" || g.keys.match(key)) {
			allowed |= g.rights
		}
	}
	// What is denied for some methods, paths or keys is still allowed for others.
	if allowed &= rights; allowed == 0 {
		return false
	}
	for i := range c.denials {
		g := &c.denials[i]
		if !g.methods.any || !g.realms.match(realmID) || !g.keys.match(key) {
			continue
		}
		for _, r := range g.rules {
			if len(r.paths) == 0 {
				allowed &^= r.rights
			}
		}
	}
	return allowed != 0
}

// maySomewhere reports whether a rule allows one of the rights for anything.
func (c *rules) maySomewhere(rights Right) bool {
	for i := range c.allowances {
		if c.allowances[i].rights&rights != 0 {
			return true
		}
	}
	return false
}

// mayAll reports whether all of the rights are allowed everywhere: rules with
// the realm * and any key allow them, and no rule denies any of them to any.
func (c *rules) mayAll(rights Right) bool {
	// A denial for one realm is enough: who may change clients, but not of one
	// realm, could make a client for that one.
	for i := range c.denials {
		if c.denials[i].rights&rights != 0 {
			return false
		}
	}
	var allowed Right
	for i := range c.allowances {
		g := &c.allowances[i]
		if !g.realms.any || !g.keys.any || !g.methods.any {
			continue
		}
		for _, r := range g.rules {
			if len(r.paths) == 0 {
				allowed |= r.rights
			}
		}
	}
	return rights != 0 && rights&^allowed == 0
}
