package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestTruncatedRealms: a page has no room for all realms, but a list and an export
// have all that each says.
func TestTruncatedRealms(t *testing.T) {
	withoutCredentials(t)
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/realm":
			_, _ = fmt.Fprint(w, `{"data":{"list":[{"id":"whole","config":{"api":"https://whole.example"}},{"id":"lo ng","truncated":true},{"id":"gone","truncated":true}],"total":3},"success":"ok"}`)
		case "/api/realm/lo ng":
			_, _ = fmt.Fprint(w, `{"id":"lo ng","comment":"all of it","config":{"api":"https://long.example"}}`)
		case "/api/realm/gone": // deleted meanwhile
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = fmt.Fprint(w, `{"data":{"list":[],"total":0},"success":"ok"}`)
		}
	})
	for _, verb := range []string{"realm list", "export"} {
		stdout, stderr, err := tokens(t, append(strings.Fields(verb), "--api", base)...)
		if err != nil || !json.Valid([]byte(stdout)) || !strings.Contains(stdout, "https://long.example") || !strings.Contains(stdout, "https://whole.example") || strings.Contains(stdout, "truncated") {
			t.Errorf("%s: %v\n%s%s", verb, err, stdout, stderr)
		}
	}
}
