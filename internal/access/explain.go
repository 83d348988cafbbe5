package access

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Explanation says in words why a client would or would not be allowed
// something. Whoever knows more about the request (the realm, the host, the
// state of its token) adds reasons.
type Explanation struct {
	Allowed bool
	// Rule is the index of the rule that decided, -1 where none did.
	Rule    int
	Reasons []string
}

// Refuse adds a reason for which the request would be refused nevertheless.
func (e *Explanation) Refuse(reason string) {
	e.Allowed = false
	e.Reasons = append(e.Reasons, reason)
}

// Add adds a reason that changes nothing.
func (e *Explanation) Add(reason string) { e.Reasons = append(e.Reasons, reason) }

// Explain explains how a question of a client would be decided now. The right is
// Use where none is named, and a query behind the path is ignored, as rules do. Nothing is counted. CodeNotFound.
func (v *View) Explain(id string, q Question) (Explanation, error) {
	p := v.own.policies[id]
	if p == nil {
		if p = v.registry.stored.Load().policies[id]; p == nil {
			if e := v.Unavailable(); e != nil {
				return Explanation{}, e
			}
			return Explanation{}, notFound()
		}
	}
	if q.Right == 0 {
		q.Right = Use
	}
	// A path that is copied from a log has its query.
	q.Path, _, _ = strings.Cut(q.Path, "?")
	now := v.registry.now()
	d := p.compile().rules.decide(&q)
	e := Explanation{Allowed: d.Allowed, Rule: d.Rule}
	e.Reasons = p.explainRules(&q, d)
	// What the rules say comes first: it stays true when a limit has room again.
	p.explainEnds(&e, now)
	p.explainLimits(&e, now)
	return e, nil
}

// explainRules says which rule decided and why.
func (p *policy) explainRules(q *Question, d Decision) []string {
	written := p.written.Rules
	switch {
	case d.Ambiguous:
		read, _ := readPath(q.Path)
		return []string{
			fmt.Sprintf("the path %s: the provider may read it in another way than the rules do", read.ambiguous),
			fmt.Sprintf("%s, which goes by paths, so that the request is refused", describe(d.Rule, written[d.Rule])),
		}
	case d.Rule >= 0:
		return []string{describe(d.Rule, written[d.Rule])}
	}
	reasons := []string{"no rule allows " + q.Right.String() + ", and nothing is allowed that no rule allows"}
	if nearest := p.compile().rules.nearest(q); nearest != "" {
		reasons = append(reasons, nearest)
	}
	return reasons
}

// describe says what a rule says: `rule 2 denies use on the realm "a", ...`.
func describe(i int, r tokenstore.Rule) string {
	verb := "allows"
	if r.Effect == effectDeny {
		verb = "denies"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rule %d %s %s on realms %s", i, verb, strings.Join(r.Rights, ", "), quoted(r.Realms))
	for _, l := range []struct {
		name string
		list []string
	}{{"keys", r.Keys}, {"methods", r.Methods}, {"paths", r.Paths}} {
		if len(l.list) > 0 {
			fmt.Fprintf(&b, ", %s %s", l.name, quoted(l.list))
		}
	}
	return b.String()
}

// quoted lists texts, of long lists the first ones.
func quoted(list []string) string {
	const most = 5
	var words []string
	for _, text := range list[:min(len(list), most)] {
		words = append(words, strconv.Quote(text))
	}
	if left := len(list) - most; left > 0 {
		words = append(words, fmt.Sprintf("and %d more", left))
	}
	return strings.Join(words, " ")
}

// nearest says what keeps the rule that comes closest from allowing it; "" where
// no rule is about the realm.
func (c *rules) nearest(q *Question) string {
	p, text := readPath(q.Path)
	least, words := 5, ""
	// Rules for other realms are not near, however much of them fits.
	for i := range c.allowances {
		g := &c.allowances[i]
		if !g.realms.match(q.Ref.Realm) {
			continue
		}
		for j := range g.rules {
			r := &g.rules[j]
			var misses []string
			for _, s := range []struct {
				matches bool
				what    string
			}{
				{r.rights&q.Right == q.Right, "the right"},
				{g.keys.match(q.Ref.Key), "the key"},
				{g.methods.match(q.Method), "the method"},
				{len(r.paths) == 0 || p.ambiguous == "" && r.matchesPath(p.list(), text, p.filter), "the path"},
			} {
				if !s.matches {
					misses = append(misses, s.what)
				}
			}
			if len(misses) < least {
				least, words = len(misses), fmt.Sprintf("rule %d comes closest; it does not fit %s", r.index, strings.Join(misses, ", "))
			}
		}
	}
	return words
}

// readPath takes a path apart, with its decoded text.
func readPath(raw string) (p path, text string) {
	text, p.ambiguous = decode(sent(raw), nil)
	if p.ambiguous == "" {
		p.split(text)
	}
	return p, text
}

// explainEnds says that the client, or what it is identified by, has ended.
func (p *policy) explainEnds(e *Explanation, now time.Time) {
	c := &p.written
	switch {
	case c.Damaged:
		e.Refuse("what is stored of the client is damaged, so that nobody is this client")
		return
	case p.compile().invalid != nil:
		e.Refuse("what is stored of the client cannot be understood: " + p.compile().invalid.Error())
	}
	if end := unixNano(c.ExpiresAt); end != 0 && now.UnixNano() >= end {
		e.Refuse("the client expired at " + c.ExpiresAt.UTC().Format(time.RFC3339))
		return
	}
	// The question names the client and not how it is identified, so that one good
	// identity is enough.
	good := len(c.Users) + len(c.Subjects) + len(c.Sources)
	for _, k := range c.Keys {
		if end := unixNano(k.ExpiresAt); end == 0 || now.UnixNano() < end {
			good++
		}
	}
	switch {
	case good > 0:
	case len(c.Keys) > 0:
		e.Refuse("all keys of the client have expired; rotate makes a new one")
	default:
		e.Refuse("the client has no key, user, subject or source, so that nobody is this client")
	}
}

// explainLimits says which limits of this node are reached now.
func (p *policy) explainLimits(e *Explanation, now time.Time) {
	if running := p.tally.running.Load(); p.concurrency > 0 && running >= p.concurrency {
		e.Refuse(fmt.Sprintf("%d requests of the client are under way on this node, and %d may be", running, p.concurrency))
	}
	for _, l := range []struct {
		bucket *bucket
		what   string
	}{{p.requests, "requests"}, {p.fetches, "token requests"}} {
		if l.bucket == nil {
			continue
		}
		wait := l.bucket.wait(now.UnixNano())
		if wait <= 0 {
			continue
		}
		reason := fmt.Sprintf("the client has used up its %s %s on this node; the next one is free in %s", l.bucket.limit, l.what, wait.Round(time.Millisecond))
		if l.bucket == p.fetches { // a token that is there needs none
			e.Add(reason + ", so that a token that is not there yet is not fetched")
		} else {
			e.Refuse(reason)
		}
	}
}
