package adminapi

import (
	"net/http"
	"strings"
)

// The headers of an answer that may come without the token (RFC 7240). They are
// read only, since every answer has the same ones.
var (
	varyByPrefer      = map[string]string{"Vary": "Prefer"}
	preferenceApplied = map[string]string{"Vary": "Prefer", "Preference-Applied": "return=minimal"}
)

// prefersMinimal reports whether the caller asks for an answer without the token:
// Prefer: return=minimal (RFC 7240 section 4.2). The first return counts, as
// section 2 says.
func prefersMinimal(h http.Header) bool {
	for _, line := range h["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			preference, _, _ = strings.Cut(preference, ";") // parameters say nothing here
			name, value, _ := strings.Cut(preference, "=")
			if strings.EqualFold(strings.TrimSpace(name), "return") {
				return strings.Trim(value, "\" \t") == "minimal"
			}
		}
	}
	return false
}
