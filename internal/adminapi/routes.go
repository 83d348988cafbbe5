package adminapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// route is one method on one path.
type route struct {
	method string
	// path has {names} for ids: whole segments, or what is left of one in
	// front of a suffix.
	path   string
	handle func(*api, context.Context, *request) (any, error)
	takes  bodyRule
	// words are the statuses and texts of this route for errors of the broker.
	words vocabulary
	kind  kind
	// right is what a caller needs, for what scope says.
	right access.Right
	scope scope
	edge  edgeRule
}

// edgeRule tells whether an edge, which has no database, answers the route.
type edgeRule bool

// What a route changes, or lists, is on the instance that the edge takes its tokens
// from.
const (
	notOnEdge  edgeRule = false
	alsoOnEdge edgeRule = true
)

// kind sets a route apart from those that answer JSON to who may call.
type kind uint8

const (
	kindPlain kind = iota
	// kindConfidential: the URL, or a header of the answer, is confidential.
	kindConfidential
	// callback is kindConfidential, is opened by a browser that another site, the
	// provider, sends here, and answers with pages.
	kindCallback
)

// routes are all there are, the busiest one first; openapi.json describes each.
var routes = []route{
	{http.MethodGet, "/api/token", (*api).token, bodyOptional, tokenWords, kindPlain, access.Read, scopeHandler, alsoOnEdge},
	{http.MethodPost, "/api/token", (*api).token, bodyNeeded, tokenWords, kindPlain, access.Read, scopeHandler, alsoOnEdge},
	{http.MethodGet, "/api/realm", (*api).listRealms, bodyIgnored, realmWords, kindPlain, access.AdminRead, scopeSomewhere, notOnEdge},
	{http.MethodPost, "/api/realm", (*api).saveRealm, bodyNeeded, realmWords, kindPlain, access.Admin, scopeHandler, notOnEdge},
	{http.MethodGet, "/api/realm/{id}", (*api).getRealm, bodyIgnored, realmWords, kindPlain, access.AdminRead, scopeHandler, alsoOnEdge},
	{http.MethodDelete, "/api/realm/{id}", (*api).deleteRealm, bodyIgnored, realmWords, kindPlain, access.Admin, scopeRealm, notOnEdge},
	{http.MethodPost, "/api/realm/{id}/test", (*api).testRealm, bodyNeeded, testWords, kindPlain, access.Admin, scopeHandler, notOnEdge},
	{http.MethodGet, "/api/secret", (*api).listSecrets, bodyIgnored, secretWords, kindPlain, access.AdminRead, scopeSomewhere, notOnEdge},
	{http.MethodPost, "/api/secret", (*api).saveSecret, bodyNeeded, saveSecretWords, kindPlain, access.Admin, scopeHandler, notOnEdge},
	{http.MethodGet, "/api/secret/{realm}/{key}", (*api).getSecret, bodyIgnored, secretWords, kindPlain, access.AdminRead, scopeSecret, notOnEdge},
	{http.MethodDelete, "/api/secret/{realm}/{key}", (*api).deleteSecret, bodyIgnored, secretWords, kindPlain, access.Admin, scopeSecret, notOnEdge},
	{http.MethodGet, "/api/secret/{realm}/{key}/authorize", (*api).authorize, bodyIgnored, secretWords, kindConfidential, access.Authorize, scopeSecret, notOnEdge},
	{http.MethodPost, "/api/secret/{realm}/{key}/push", (*api).push, bodyNeeded, secretWords, kindPlain, access.Push, scopeSecret, notOnEdge},
	{http.MethodGet, "/api/company", (*api).listCompanies, bodyIgnored, nil, kindPlain, access.AdminRead, scopeSomewhere, notOnEdge},
	{http.MethodPost, "/api/company", (*api).saveCompany, bodyNeeded, nil, kindPlain, access.Admin, scopeSomewhere, notOnEdge},
	{http.MethodGet, "/api/company/{taxpayer_id}", (*api).getCompany, bodyIgnored, nil, kindPlain, access.AdminRead, scopeSomewhere, notOnEdge},
	{http.MethodDelete, "/api/company/{taxpayer_id}", (*api).deleteCompany, bodyIgnored, nil, kindPlain, access.Admin, scopeSomewhere, notOnEdge},
	{http.MethodGet, "/api/client", (*api).listClients, bodyIgnored, clientWords, kindPlain, access.AdminRead, scopeAll, alsoOnEdge},
	{http.MethodPost, "/api/client", (*api).saveClient, bodyNeeded, clientWords, kindPlain, access.Admin, scopeAll, notOnEdge},
	{http.MethodGet, "/api/client/{id}", (*api).getClient, bodyIgnored, clientWords, kindPlain, access.AdminRead, scopeAll, alsoOnEdge},
	{http.MethodDelete, "/api/client/{id}", (*api).deleteClient, bodyIgnored, clientWords, kindPlain, access.Admin, scopeAll, notOnEdge},
	{http.MethodPost, "/api/client/{id}/rotate", (*api).rotateClient, bodyJSON, clientWords, kindPlain, access.Admin, scopeAll, notOnEdge},
	{http.MethodPost, "/api/explain", (*api).explain, bodyNeeded, nil, kindPlain, access.AdminRead, scopeHandler, alsoOnEdge},
	{http.MethodPost, "/api/renew-due", (*api).renewDue, bodyIgnored, realmWords, kindPlain, access.Flush, scopeSomewhere, notOnEdge},
	{http.MethodPost, "/api/keys/rotate", (*api).rotateKeys, bodyIgnored, nil, kindPlain, access.Admin, scopeAll, notOnEdge},
	{http.MethodGet, backupPath, (*api).backup, bodyIgnored, nil, kindPlain, access.Admin, scopeAll, notOnEdge},
	{http.MethodGet, "/api/status", (*api).status, bodyIgnored, nil, kindPlain, access.AdminRead, scopeSomewhere, alsoOnEdge},
	{http.MethodGet, "/api/activity", (*api).activity, bodyIgnored, nil, kindPlain, access.AdminRead, scopeSomewhere, alsoOnEdge},
	{http.MethodGet, watchPath, (*api).watch, bodyIgnored, nil, kindPlain, access.Read | access.AdminRead, scopeSomewhere, alsoOnEdge},
	{http.MethodGet, "/api/audit", (*api).listAudit, bodyIgnored, nil, kindPlain, access.Audit, scopeAll, notOnEdge},
	{http.MethodPost, "/api/audit/verify", (*api).verifyAudit, bodyIgnored, nil, kindPlain, access.Audit, scopeAll, notOnEdge},
	{http.MethodGet, "/api/preset", (*api).listPresets, bodyIgnored, nil, kindPlain, 0, scopeOpen, alsoOnEdge},
	{http.MethodGet, "/api/preset/{name}", (*api).getPreset, bodyIgnored, nil, kindPlain, 0, scopeOpen, alsoOnEdge},
	{http.MethodPost, "/api/caddyfile", (*api).writeCaddyfile, bodyNeeded, nil, kindPlain, 0, scopeOpen, alsoOnEdge},
	{http.MethodPost, sessionPath, (*api).signIn, bodyJSON, nil, kindPlain, 0, scopeOpen, notOnEdge},
	{http.MethodGet, sessionPath, (*api).showSession, bodyIgnored, nil, kindPlain, 0, scopeOpen, alsoOnEdge},
	{http.MethodDelete, sessionPath, (*api).signOut, bodyIgnored, nil, kindPlain, 0, scopeOpen, notOnEdge},
	{http.MethodPost, "/api/session/link", (*api).makeLink, bodyIgnored, nil, kindPlain, 0, scopeOpen, notOnEdge},
	{http.MethodGet, "/api/openapi.json", (*api).openAPI, bodyIgnored, nil, kindPlain, 0, scopeOpen, alsoOnEdge},

	{http.MethodPost, "/{realm}-account/get-access-token", (*api).getAccessToken, bodyParameters, realmWords, kindPlain, access.Read, scopeSome, notOnEdge},
	{http.MethodPost, "/{realm}-account/request-access-token", (*api).requestAccessToken, bodyParameters, realmWords, kindPlain, access.Flush, scopeSome, notOnEdge},
	{http.MethodPost, "/{realm}-account/refresh-token", (*api).refreshToken, bodyParameters, realmWords, kindPlain, access.Flush, scopeSome, notOnEdge},
	{http.MethodPost, "/{realm}-account/init-all-token", (*api).initAll, bodyIgnored, realmWords, kindPlain, access.Flush, scopeSome, notOnEdge},
	{http.MethodPost, "/{realm}-account/refresh-all-token", (*api).refreshAll, bodyIgnored, realmWords, kindPlain, access.Flush, scopeSome, notOnEdge},
	{http.MethodGet, "/{realm}-account/callback-token", (*api).callback, bodyIgnored, nil, kindCallback, 0, scopeOpen, notOnEdge},
}

var (
	// callbackRoutes are those of the routes that are open to everybody.
	callbackRoutes = slices.DeleteFunc(slices.Clone(routes), func(rt route) bool { return rt.kind != kindCallback })
	// confidentialRoutes are those of which no access log may have a line.
	confidentialRoutes = slices.DeleteFunc(slices.Clone(routes), func(rt route) bool { return rt.kind == kindPlain })
)

// Serves reports whether a path is one of the API's: anything below /api/ and
// /{realm}-account/. What is not there is refused, and by nobody else: the
// empty answer of a server that knows nothing of it would be taken for a token.
// The URL is taken as it was sent.
func Serves(u *url.URL) bool {
	if u.Path == "/api" || strings.HasPrefix(u.Path, "/api/") {
		return true
	}
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		return false
	}
	first, rest := segment(path)
	_, ok := match(accounts, first)
	return ok && rest != ""
}

// accounts is where the routes of accounts begin.
const accounts = "/{realm}-account"

// ServesCallback reports whether a path is a provider's callback.
func ServesCallback(u *url.URL) bool { return slices.ContainsFunc(callbackRoutes, onPath(u)) }

// IsConfidential reports whether the URL of a request, or the headers of its answer,
// are confidential, so that no access log may hold them.
func IsConfidential(u *url.URL) bool { return slices.ContainsFunc(confidentialRoutes, onPath(u)) }

// onPath reports whether a route has the path of u, whatever its method.
func onPath(u *url.URL) func(route) bool {
	path := u.EscapedPath()
	return func(rt route) bool {
		_, ok := rt.fits(path)
		return ok
	}
}

// find returns the route and the ids of a request. The error is a 404, or a
// 405 where only the method is wrong; allow then lists the right ones.
//
// It is not an http.ServeMux because that redirects paths such as //x and
// /../x to where the caller did not go, POST included. Here the path is split
// as it was sent, each id is decoded once, and nothing else is done to it: an
// id may hold slashes, dots and percent signs.
func find(routes []route, r *http.Request) (req *request, allow string, err error) {
	path, isConfidential := r.URL.EscapedPath(), false
	for i := range routes {
		rt := &routes[i]
		ids, ok := rt.fits(path)
		switch {
		case ok && rt.answers(r.Method):
			return &request{route: rt, words: rt.words, ids: ids, query: query(r.URL.RawQuery)}, "", nil
		case ok:
			allow = appendMethods(allow, rt)
			isConfidential = isConfidential || rt.kind != kindPlain
		}
	}
	none := &route{path: "none"}
	if isConfidential {
		none.kind = kindConfidential
	}
	req = &request{route: none}
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

// fits compares a path, as it was sent, with the route's. One slash behind the
// path of an account is nothing: the earlier service took it, and a provider may
// know the callback with it.
func (rt *route) fits(path string) (ids [2]string, ok bool) {
	if strings.HasPrefix(rt.path, accounts+"/") {
		path = strings.TrimSuffix(path, "/")
	}
	return match(rt.path, path)
}

// answers reports whether the route takes a method.
func (rt *route) answers(method string) bool {
	return method == rt.method || method == http.MethodHead && rt.head()
}

// administrates reports whether the route is for those who administrate, and
// not for the apps and browsers that get a token or a link by it.
func (rt *route) administrates() bool {
	return rt.kind == kindPlain && rt.path != "/api/token" && !strings.HasPrefix(rt.path, accounts+"/")
}

// head reports whether the route answers HEAD. What looks at links ahead of their
// reader must neither begin an authorization nor spend its code, and nobody wants
// the headers of a whole backup, or of a stream.
func (rt *route) head() bool {
	return rt.method == http.MethodGet && rt.kind == kindPlain && rt.streams() == ""
}

// streams is the media type of the lines that the route answers with, whatever
// the caller accepts; "" for the routes that do not.
func (rt *route) streams() string {
	switch rt.path {
	case backupPath:
		return typeLines
	case watchPath:
		return typeEvents
	}
	return ""
}

const (
	backupPath = "/api/backup"
	watchPath  = "/api/watch"
)

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
		_, suffix, _ := strings.Cut(want, "}")
		name, ok := strings.CutSuffix(got[1:], suffix)
		id, err := url.PathUnescape(name)
		if !ok || err != nil || id == "" {
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

func appendMethods(allow string, rt *route) string {
	if allow != "" {
		allow += ", "
	}
	if rt.head() {
		return allow + "GET, HEAD"
	}
	return allow + rt.method
}
