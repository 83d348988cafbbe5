package access

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Bounds of a client. They are far above what anybody writes by hand, and keep
// one client from slowing the others down.
const (
	maxComment     = 1024
	maxRules       = 1000
	maxListed      = 100 // entries of one list of a rule
	maxIdentities  = 1000
	maxIdentity    = 1024 // bytes of a user or a subject
	maxPattern     = 1024
	maxConcurrency = 1_000_000
)

const (
	effectAllow = "allow"
	effectDeny  = "deny"
)

// Validate checks a client but for its keys and its times. The error is a
// *realm.FieldError with the path that the user typed.
func Validate(c tokenstore.Client) error {
	if err := realm.ValidateID("id", c.ID); err != nil {
		return err
	}
	if len(c.Comment) > maxComment || !utf8.ValidString(c.Comment) {
		return realm.Fieldf("comment", "must be UTF-8 text of at most %d bytes", maxComment)
	}
	if err := checkRules(c.Rules); err != nil {
		return err
	}
	for _, l := range []struct{ field, text string }{{"limits.requests", c.Limits.Requests}, {"limits.fetches", c.Limits.Fetches}} {
		if _, err := ParseLimit(l.text); err != nil {
			return below(l.field, err)
		}
	}
	if n := c.Limits.Concurrency; n < 0 || n > maxConcurrency {
		return realm.Fieldf("limits.concurrency", "must be 1 to %d, or 0 for no limit", maxConcurrency)
	}
	for _, l := range []struct {
		field string
		list  []string
	}{{"users", c.Users}, {"subjects", c.Subjects}} {
		if err := checkList(l.field, l.list, maxIdentities, checkIdentity); err != nil {
			return err
		}
	}
	_, err := canonicalSources(c.Sources)
	return err
}

// below puts the path of a field in front of that of an error.
func below(field string, err error) error {
	var e *realm.FieldError
	if !errors.As(err, &e) {
		return err
	}
	return realm.Fieldf(field+e.Field, "%s", e.Reason)
}

// checkList checks the entries of a list. An entry twice is a slip, or it hides
// one.
func checkList(field string, list []string, most int, check func(string) error) error {
	if len(list) > most {
		return realm.Fieldf(field, "has %d entries; %d is the limit", len(list), most)
	}
	seen := make(map[string]bool, len(list))
	for i, text := range list {
		if seen[text] {
			return realm.Fieldf(index(field, i), "is given twice")
		}
		seen[text] = true
		if err := check(text); err != nil {
			return below(index(field, i), err)
		}
	}
	return nil
}

// checkIdentity checks a user or a subject.
func checkIdentity(text string) error {
	switch {
	case text == "":
		return realm.Fieldf("", "is empty")
	case len(text) > maxIdentity:
		return realm.Fieldf("", "has %d bytes; %d is the limit", len(text), maxIdentity)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return realm.Fieldf("", "must be UTF-8 text without control characters")
	}
	return nil
}

// checkRules checks the rules of a client. What is accepted here can be compiled.
func checkRules(list []tokenstore.Rule) error {
	if len(list) > maxRules {
		return realm.Fieldf("rules", "has %d rules; %d is the limit", len(list), maxRules)
	}
	for i, r := range list {
		if err := checkRule(r); err != nil {
			return below(index("rules", i), err)
		}
	}
	return nil
}

// checkRule checks a rule. An absent list of keys, methods or paths stands for
// all of them, but an absent list of realms does not: who forgets it would allow
// everything.
func checkRule(r tokenstore.Rule) error {
	if r.Effect != effectAllow && r.Effect != effectDeny {
		return realm.Fieldf(".effect", "is %q; there are %s and %s", r.Effect, effectAllow, effectDeny)
	}
	rights, err := ParseRights(r.Rights)
	if err != nil {
		return below(".rights", err)
	}
	if len(r.Realms) == 0 {
		return realm.Fieldf(".realms", "is required; * stands for all realms")
	}
	for _, l := range []struct {
		field string
		list  []string
		check func(string) error
	}{
		{".realms", r.Realms, checkIDGlob},
		{".keys", r.Keys, checkIDGlob},
		{".methods", r.Methods, checkMethod},
		{".paths", r.Paths, checkPathGlob},
	} {
		// Whoever made an empty list meant nothing, and not everything.
		if l.list != nil && len(l.list) == 0 {
			return realm.Fieldf(l.field, "is empty; leave it out for all")
		}
		if err := checkList(l.field, l.list, maxListed, l.check); err != nil {
			return err
		}
		// A denial of "read" with a path would deny nothing: reading a token has
		// no path. So it is not accepted.
		if isOfUse := l.field == ".methods" || l.field == ".paths"; isOfUse && len(l.list) > 0 && rights != Use {
			return realm.Fieldf(l.field, "only the right use has methods and paths; write a rule of its own for %s", rights&^Use)
		}
	}
	return nil
}

// checkIDGlob checks a pattern for ids of realms, or for keys.
func checkIDGlob(text string) error {
	if strings.Contains(text, "**") {
		return realm.Fieldf("", "%s: ** is for segments of paths; a single * stands for anything in an id", text)
	}
	return realm.ValidateID("", text)
}

// checkMethod checks a pattern for methods: a token of RFC 9110, section 5.6.2,
// which may hold *.
func checkMethod(text string) error {
	if text == "" || strings.Trim(text, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
		return realm.Fieldf("", "is not a method")
	}
	// Methods are case-sensitive: "get" would never match.
	if upper := strings.ToUpper(text); upper != text {
		return realm.Fieldf("", "is not a method; write %s", upper)
	}
	return nil
}

// checkPathGlob checks a pattern for paths. What could never match is an error:
// a denial with it would deny nothing.
func checkPathGlob(text string) error {
	switch {
	case !strings.HasPrefix(text, "/"):
		return realm.Fieldf("", "must begin with /")
	case len(text) > maxPattern:
		return realm.Fieldf("", "has %d bytes; %d is the limit", len(text), maxPattern)
	case strings.Contains(text, "%"):
		return realm.Fieldf("", "%s: has a %%; write the character that the escape stands for", text)
	}
	segments := strings.Split(text[1:], "/")
	for i, s := range segments {
		if strings.Contains(s, "**") && s != "**" {
			return realm.Fieldf("", "%s: ** stands for whole segments; write /**/, or a single * within a segment", text)
		}
		// It would mean the same, and is more likely to be a slip.
		if i > 0 && s == "**" && segments[i-1] == "**" {
			return realm.Fieldf("", "%s: one ** is enough", text)
		}
	}
	// A * is an ordinary character of a path.
	var p path
	if p.split(text); p.ambiguous != "" {
		return realm.Fieldf("", "%s: %s; such a path is refused whatever a rule says", text, p.ambiguous)
	}
	return nil
}

// parseSource reads a prefix, or a single address. IPv4 in IPv6 is IPv4.
func parseSource(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, realm.Fieldf("", "is not a prefix; write 10.1.0.0/16 or 2001:db8::/32")
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	// 10.1.2.3/16 may stand for the network or for the host. Only the user knows.
	if prefix.Masked() != prefix {
		return netip.Prefix{}, realm.Fieldf("", "has host bits; write %s", prefix.Masked())
	}
	if a := prefix.Addr(); a.Is4In6() { // so that it has no less than 96 bits
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	return prefix, nil
}

// canonicalSources writes prefixes in the one form in which they are compared.
func canonicalSources(list []string) ([]string, error) {
	canonical := slices.Clone(list)
	for i, text := range list {
		prefix, err := parseSource(text)
		if err != nil {
			return nil, below(index("sources", i), err)
		}
		canonical[i] = prefix.String()
	}
	return canonical, checkList("sources", canonical, maxIdentities, func(string) error { return nil })
}

// unixNano is a time in Unix nanoseconds, 0 for the zero time. A time beyond
// what these can say is none.
func unixNano(t time.Time) int64 {
	if t.IsZero() || t.Year() > 2261 {
		return 0
	}
	return max(1, t.UnixNano())
}
