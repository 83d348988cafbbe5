package adminapi

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// query is the query of a request as it was sent. Parameters that a route
// does not know are ignored.
type query string

// text returns a parameter, "" where it is absent. A parameter that is there
// twice is an error: two readers would disagree about which one counts.
func (q query) text(name string) (string, error) {
	value, seen := "", false
	for pairs := string(q); pairs != ""; {
		var pair string
		pair, pairs, _ = strings.Cut(pairs, "&")
		k, v, _ := strings.Cut(pair, "=")
		if k, err := url.QueryUnescape(k); err != nil || k != name {
			continue
		}
		if seen {
			return "", realm.Fieldf(name, "is given twice")
		}
		var err error
		if value, err = url.QueryUnescape(v); err != nil || !utf8.ValidString(value) {
			return "", realm.Fieldf(name, "is not percent-encoded UTF-8")
		}
		seen = true
	}
	return value, nil
}

// flag reads a parameter that is true or false (1 or 0); def where it is
// absent.
func (q query) flag(name string, def bool) (bool, error) {
	s, err := q.text(name)
	if err != nil || s == "" {
		return def, err
	}
	return parseFlag(name, s)
}

// number reads a parameter from 1 to limit; def where it is absent.
func (q query) number(name string, def, limit int) (int, error) {
	s, err := q.text(name)
	if err != nil || s == "" {
		return def, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > limit {
		return 0, realm.Fieldf(name, "must be a number from 1 to %d", limit)
	}
	return n, nil
}

// page reads page and pageSize.
func (q query) page() (tokenstore.Page, error) {
	// The largest page times the largest size still fits every counter.
	number, err := q.number("page", 1, 1_000_000_000)
	if err != nil {
		return tokenstore.Page{}, err
	}
	size, err := q.number("pageSize", 10, 1000)
	return tokenstore.Page{Number: number, Size: size}, err
}

// parseFlag reads what clients of the earlier services send for a boolean.
func parseFlag(name, s string) (bool, error) {
	switch s {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, realm.Fieldf(name, "must be true or false")
}
