// Package access knows who may use what: clients with their API keys, the rules
// that allow and deny, the limits, and the words that explain a decision.
//
// A Registry holds the clients of a store and outlives configurations. A View is
// what one configuration sees: the clients of its Caddyfile, and behind them
// those of the registry. A request goes Identify, Begin, Decide, End; none of
// them waits for anything.
package access

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Right is a set of rights. No right implies another one.
type Right uint16

// The rights.
const (
	Use Right = 1 << iota
	Read
	Flush
	Authorize
	Push
	AdminRead
	Admin
	Audit

	// Every is all of them.
	Every Right = 1<<iota - 1
)

// rightNames are the words of the rights, in the order of their bits.
var rightNames = []string{"use", "read", "flush", "authorize", "push", "admin_read", "admin", "audit"}

// String is the words of the rights: "use, read".
func (r Right) String() string {
	var words []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, ", ")
}

// ParseRights reads a list of words. The error names the first word that is not
// a right, by its index: "[1]: is not a right; ...".
func ParseRights(words []string) (Right, error) {
	if len(words) == 0 {
		return 0, realm.Fieldf("", "at least one right is required")
	}
	var set Right
	for i, word := range words {
		right, ok := rightOf(word)
		switch {
		case !ok:
			return 0, realm.Fieldf(index("", i), "is not a right; there are %s", Every)
		case set&right != 0:
			return 0, realm.Fieldf(index("", i), "is given twice")
		}
		set |= right
	}
	return set, nil
}

func rightOf(word string) (Right, bool) {
	for i, name := range rightNames {
		if name == word {
			return 1 << i, true
		}
	}
	return 0, false
}

// index is the path of an item of a list: "rules[2]".
func index(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// Caller is what a request shows of who it is. The zero value is nobody.
type Caller struct {
	// Key is an API key, or what may be one: the credential of Authorization:
	// Bearer, or the password of Basic. What is no key is ignored.
	Key string `json:"-"`
	// Subject is that of a verified mTLS certificate.
	Subject string
	// User is whom another authenticator accepted.
	User string
	// Source is the address that the request comes from.
	Source netip.Addr
}

// Format prints a caller without the key, whatever the verb.
func (c Caller) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{key %v, subject %q, user %q, source %v}", realm.Hidden(c.Key), c.Subject, c.User, c.Source)
}

// Question is what a caller wants to do.
type Question struct {
	// Right is the one that it takes. With several, each has to be allowed by
	// the same rule, and none of them denied.
	Right Right
	// Ref is the secret. An empty key stands for the realm itself, an empty
	// realm for what belongs to none; only a rule with * is about these.
	Ref realm.Ref
	// Method and Path are those of a proxied request; they count for Use alone.
	// Path is in the escaped form in which it will be sent, without the query.
	Method, Path string
}

// Decision is the answer to a Question.
type Decision struct {
	Allowed bool
	// Rule is the index of the rule that decided in the client's rules, -1 where
	// none did.
	Rule int
	// Ambiguous: it was refused because the provider may read the path in
	// another way, and the rule goes by paths.
	Ambiguous bool
}
