package adminapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// An id is decoded once, whatever it holds, and by nobody else.
func TestIDsInPaths(t *testing.T) {
	p, c := newPuppet(t)
	for _, id := range []string{
		"wxgzh", "a/b", "a//b", "/", "//", "a b", "微信公众号", "100%", "%2F", "%252F", "a+b", "a;b", "a?b#c",
		"..", ".", "../realm", "a/../b", "test", "a/test", "{id}", `a"b\c`, "a\x00b", "\xff",
	} {
		p.ref = realm.Ref{}
		c.get("/api/realm/" + url.PathEscape(id))
		if p.ref.Realm != id {
			t.Errorf("realm %q arrives as %q", id, p.ref.Realm)
		}
		c.json(http.MethodPost, "/api/realm/"+url.PathEscape(id)+"/test", `{"key":"k"}`)
		if p.ref != (realm.Ref{Realm: id, Key: "k"}) {
			t.Errorf("test of %q arrives as %v", id, p.ref)
		}
		c.get("/api/secret/" + url.PathEscape(id) + "/" + url.PathEscape("k/"+id))
		if p.ref != (realm.Ref{Realm: id, Key: "k/" + id}) {
			t.Errorf("secret of %q arrives as %v", id, p.ref)
		}
	}
}

// Paths that are nearly right are not made right: no redirect, no cleaning.
func TestUnknownPaths(t *testing.T) {
	p, c := newPuppet(t)
	for _, path := range []string{
		"/", "/api", "/api/", "/api/realms", "/api/realm/", "/api//realm", "//api/realm", "/api/realm//", "/api/./realm",
		"/api/x/../realm", "/api/realm/a/../b", "/api/realm/a/b", "/api/realm/a/test/", "/api/realm//test", "/api/secret/a",
		"/api/secret/a/", "/api/secret//b", "/api/secret/a/b/c", "/api%2Frealm", "/api/real%6D", "/API/REALM", "/api/token/",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			p.ref = realm.Ref{Realm: "untouched"}
			c.json(method, path, `{"id":"a"}`).refused(http.StatusNotFound, "not_found", "")
			if p.ref.Realm != "untouched" {
				t.Errorf("%s %s reached the broker as %v", method, path, p.ref)
			}
		}
	}
}

// Every method that a path does not have is refused with those that it has.
func TestMethods(t *testing.T) {
	allowed := map[string]string{}
	for _, rt := range routes {
		allowed[rt.path] = appendMethods(allowed[rt.path], &rt)
	}
	_, c := newPuppet(t)
	for path, allow := range allowed {
		target := strings.NewReplacer("{id}", "a", "{name}", "jd", "{realm}", "b", "{key}", "c", "{taxpayer_id}", "9111").Replace(path)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "X"} {
			a := c.json(method, target, "{}")
			if strings.Contains(", "+allow+",", ", "+method+",") {
				if a.status == http.StatusMethodNotAllowed {
					t.Errorf("%s %s is refused", method, path)
				}
				continue
			}
			a.refused(http.StatusMethodNotAllowed, "method_not_allowed", "")
			if got := a.header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got, allow)
			}
		}
	}
}
