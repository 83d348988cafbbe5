package inject

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// narrow leaves in Accept-Encoding only the codings that can be unpacked, each
// with the weight that the caller gave it. A field that is not there stays
// away: net/http then asks for gzip by itself, and unpacks it. The header is
// copied where it changes.
func narrow(h http.Header) http.Header {
	lines := h["Accept-Encoding"]
	if len(lines) == 0 {
		return h
	}
	said := lines[0]
	if len(lines) > 1 {
		said = strings.Join(lines, ",")
	}
	narrowed := narrowCodings(said)
	if narrowed == said {
		return h
	}
	h = maps.Clone(h)
	h["Accept-Encoding"] = []string{narrowed}
	return h
}

// narrowCodings does that to the value of the field (RFC 9110 section 12.5.3).
// "*" becomes the codings that it stands for. Where nothing is left that the
// caller takes, it is identity: everybody can read an answer without a coding.
func narrowCodings(said string) string {
	const gzip, zstd = 0, 1
	var kept []string
	var named [2]bool
	rest, starred, taken, dropped := "", false, false, false
	for member := range strings.SplitSeq(said, ",") {
		coding, weight, _ := strings.Cut(strings.Trim(member, " \t"), ";")
		coding = strings.TrimRight(coding, " \t")
		switch {
		case coding == "*":
			rest, starred = weight, true
		case canUnpack(coding) || strings.EqualFold(coding, "identity"):
			kept = append(kept, strings.Trim(member, " \t"))
			taken = taken || takes(weight)
			named[gzip] = named[gzip] || strings.EqualFold(coding, "gzip")
			named[zstd] = named[zstd] || strings.EqualFold(coding, "zstd")
		default:
			dropped = true
		}
	}
	switch {
	case starred && takes(rest):
		taken, dropped = true, true
		for i, coding := range [...]string{gzip: "gzip", zstd: "zstd"} {
			if !named[i] {
				kept = append(kept, weighted(coding, rest))
			}
		}
	case starred:
		kept = append(kept, weighted("*", rest))
	}
	switch {
	case !taken:
		return "identity"
	case !dropped:
		return said
	}
	return strings.Join(kept, ", ")
}

func weighted(coding, weight string) string {
	if weight == "" {
		return coding
	}
	return coding + ";" + strings.Trim(weight, " \t")
}

// takes says whether a weight is above zero. One that cannot be read is.
func takes(weight string) bool {
	_, q, found := strings.Cut(weight, "=")
	if !found {
		return true
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
	return err != nil || f > 0
}
