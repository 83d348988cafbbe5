package adminapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// route is one method on one path.
type route struct {
	method string
	// path has {names} for segments that are ids.
	path   string
	handle func(*api, context.Context, *request) (any, error)
	takes  bodyRule
	// words are the statuses and texts of this route for errors of the broker.
	words vocabulary
}

// routes are all there are, the busiest one first; openapi.json describes each.
var routes = []route{
	{http.MethodGet, "/api/token", (*api).token, bodyOptional, tokenWords},
	{http.MethodGet, "/api/realm", (*api).listRealms, bodyIgnored, realmWords},
	{http.MethodPost, "/api/realm", (*api).saveRealm, bodyNeeded, realmWords},
	{http.MethodGet, "/api/realm/{id}", (*api).getRealm, bodyIgnored, realmWords},
	{http.MethodDelete, "/api/realm/{id}", (*api).deleteRealm, bodyIgnored, realmWords},
	{http.MethodPost, "/api/realm/{id}/test", (*api).testRealm, bodyNeeded, testWords},
	{http.MethodGet, "/api/secret", (*api).listSecrets, bodyIgnored, secretWords},
	{http.MethodPost, "/api/secret", (*api).saveSecret, bodyNeeded, saveSecretWords},
	{http.MethodGet, "/api/secret/{realm}/{key}", (*api).getSecret, bodyIgnored, secretWords},
	{http.MethodDelete, "/api/secret/{realm}/{key}", (*api).deleteSecret, bodyIgnored, secretWords},
	{http.MethodGet, "/api/status", (*api).status, bodyIgnored, nil},
	{http.MethodGet, "/api/openapi.json", (*api).openAPI, bodyIgnored, nil},
}

// find returns the route and the ids of a request. The error is a 404, or a
// 405 where only the method is wrong; allow then lists the right ones.
//
// It is not an http.ServeMux because that redirects paths such as //x and
// /../x to where the caller did not go, POST included. Here the path is split
// as it was sent, each id is decoded once, and nothing else is done to it: an
// id may hold slashes, dots and percent signs.
func find(r *http.Request) (req *request, allow string, err error) {
	method, path := r.Method, r.URL.EscapedPath()
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range routes {
		rt := &routes[i]
		ids, ok := match(rt.path, path)
		switch {
		case ok && rt.method == method:
			return &request{route: rt, words: rt.words, ids: ids, query: query(r.URL.RawQuery)}, "", nil
		case ok:
			allow = appendMethod(allow, rt.method)
		}
	}
	req = &request{route: &route{path: "none"}}
	if allow == "" {
		return req, "", &realm.Error{
			Code: realm.CodeNotFound, Status: http.StatusNotFound,
			Detail: "nothing is at this path; GET /api/openapi.json lists what there is",
		}
	}
	return req, allow, &realm.Error{
		Code: realm.CodeMethod, Status: http.StatusMethodNotAllowed,
		Detail: "this path answers only " + allow,
	}
}

// match compares a path, as it was sent, with the path of a route.
func match(pattern, path string) (ids [2]string, ok bool) {
	n := 0
	for pattern != "" && path != "" {
		var want, got string
		want, pattern = segment(pattern)
		got, path = segment(path)
		if !strings.HasPrefix(want, "/{") {
			if want != got {
				return ids, false
			}
			continue
		}
		id, err := url.PathUnescape(got[1:])
		if err != nil || id == "" {
			return ids, false
		}
		ids[n] = id
		n++
	}
	return ids, pattern == "" && path == ""
}

// segment cuts "/a" off the front of "/a/b".
func segment(path string) (first, rest string) {
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[:i+1], path[i+1:]
	}
	return path, ""
}

func appendMethod(allow, method string) string {
	if allow != "" {
		allow += ", "
	}
	if method == http.MethodGet {
		return allow + "GET, HEAD"
	}
	return allow + method
}
