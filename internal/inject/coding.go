package inject

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// narrowAcceptEncoding leaves in Accept-Encoding only the codings that can be
// unpacked, each with the weight that the caller gave it: an answer in another
// coding could not be judged. A field that is missing stays missing, since
// net/http then asks for gzip by itself, and unpacks it. The header is copied
// where it changes.
func narrowAcceptEncoding(h http.Header) http.Header {
	lines := h["Accept-Encoding"]
	if len(lines) == 0 {
		return h
	}
	asked := lines[0]
	if len(lines) > 1 {
		asked = strings.Join(lines, ",")
	}
	narrowed := narrowCodings(asked)
	if narrowed == asked {
		return h
	}
	h = maps.Clone(h)
	h["Accept-Encoding"] = []string{narrowed}
	return h
}

// narrowCodings narrows the value of the field (RFC 9110 section 12.5.3). "*" is
// replaced by the codings that it stands for. Where no coding is left that the
// caller accepts, the result is identity: everybody can read an answer without a
// coding. Where nothing had to be left out, the value stays byte by byte.
func narrowCodings(asked string) string {
	const gzip, zstd = 0, 1
	var kept []string
	var named [2]bool // gzip and zstd have a weight of their own, so "*" does not mean them
	var starWeight string
	var starred, accepted, dropped bool
	for member := range strings.SplitSeq(asked, ",") {
		coding, weight, _ := strings.Cut(strings.Trim(member, " \t"), ";")
		coding = strings.TrimRight(coding, " \t")
		switch {
		case coding == "*":
			starWeight, starred = weight, true
		case canUnpack(coding) || strings.EqualFold(coding, "identity"):
			kept = append(kept, strings.Trim(member, " \t"))
			accepted = accepted || isPositive(weight)
			named[gzip] = named[gzip] || strings.EqualFold(coding, "gzip")
			named[zstd] = named[zstd] || strings.EqualFold(coding, "zstd")
		default:
			dropped = true
		}
	}
	switch {
	case starred && isPositive(starWeight):
		accepted, dropped = true, true
		for i, coding := range [...]string{gzip: "gzip", zstd: "zstd"} {
			if !named[i] {
				kept = append(kept, weighted(coding, starWeight))
			}
		}
	case starred:
		kept = append(kept, weighted("*", starWeight))
	}
	switch {
	case !accepted:
		return "identity"
	case !dropped:
		return asked
	}
	return strings.Join(kept, ", ")
}

// weighted returns a coding with the weight as the caller wrote it.
func weighted(coding, weight string) string {
	if weight == "" {
		return coding
	}
	return coding + ";" + strings.Trim(weight, " \t")
}

// isPositive reports whether a weight is above zero, which means that the caller
// accepts the coding. A weight that is missing or cannot be read counts as one.
func isPositive(weight string) bool {
	_, q, found := strings.Cut(weight, "=")
	if !found {
		return true
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
	return err != nil || f > 0
}
