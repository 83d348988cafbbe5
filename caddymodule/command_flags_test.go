package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestFlagsReachTheAPI: what a flag says is in the request. A flag that is ignored
// shows in no answer of a small instance.
func TestFlagsReachTheAPI(t *testing.T) {
	withoutCredentials(t)
	var asked []string
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body))
		switch r.URL.Path {
		case "/api/realm/x/test":
			_, _ = io.WriteString(w, `{"error": "the provider refuses"}`)
		case "/api/realm/x":
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, `{"code": "realm_not_found", "detail": "none"}`)
			}
		case "/api/token":
			_, _ = io.WriteString(w, `{"token": "t", "expires_in": 1000, "lineage": 2}`)
		default:
			_, _ = io.WriteString(w, `{"data": {"list": [], "total": 0}}`)
		}
	})
	for words, c := range map[string]struct{ input, want, err string }{
		"realm list --keyword acme":               {"", "GET /api/realm?keyword=acme&", ""},
		"client list --keyword acme":              {"", "GET /api/client?keyword=acme&", ""},
		"secret set x k --drop-refresh-token":     {"a=b", `"drop_refresh_token":true`, ""},
		"realm delete x --cascade --yes":          {"", "DELETE /api/realm/x?cascade=true", ""},
		"refresh x k":                             {"", `"flush":true`, ""},
		"realm new --preset wechat --id x --test": {`{"appid": "a", "appsecret": "b"}`, "POST /api/realm/x/test", "exiting with status 2"},
	} {
		asked = nil
		_, _, err := tokensWith(t, c.input, append(strings.Fields(words), "--api", base)...)
		if !strings.Contains(strings.Join(asked, "\n"), c.want) {
			t.Errorf("%s: no %s in %q", words, c.want, asked)
		}
		if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s: %v, want %q", words, err, c.err)
		}
	}
}
