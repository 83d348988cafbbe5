package adminapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
)

// TestKeyInBody: a key that stood where another text belongs was kept in clear as
// the id, the comment or a user of a client, with an entry of the audit that named
// it; or an error quoted it.
func TestKeyInBody(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/client", `{"id":"app","rules":[]}`)
	made, _ := access.NewKey()
	key := made.Reveal()
	for path, bodies := range map[string][]string{
		"/api/client": {
			`{"id":%q,"rules":[]}`, `{"id":"b","comment":%q}`, `{"id":"b","users":[%q]}`, `{"id":"b","rules":[{"effect":%q}]}`,
			`{"id":"b","limits":{"requests":"1/%s"}}`, `{"id":"b","key":%q}`,
		},
		"/api/client/app/rotate": {`{"keep":%q}`},
		"/api/caddyfile":         {`{"realm":{"id":%q}}`, `{"realm":{"id":"r"},"secrets":[{"key":%q}]}`},
		"/api/explain":           {`{"client":%q,"realm":"r","key":"k"}`, `{"client":"app","realm":"r","key":%q}`},
	} {
		for _, body := range bodies {
			a := s.json(http.MethodPost, path, fmt.Sprintf(body, key))
			a.wrong("")
			if strings.Contains(a.body, key[:20]) {
				t.Errorf("%s %s: the answer quotes the key: %s", path, body, a.body)
			}
		}
	}
	if list := s.get("/api/client").body + s.get("/api/audit").body + s.log.String(); strings.Contains(list, key[:20]) {
		t.Errorf("a key was kept: %s", list)
	}
	s.must(http.MethodPost, "/api/client", `{"id":"c","comment":"ctk_ begins a key"}`)
}
