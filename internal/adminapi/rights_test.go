package adminapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
)

// client makes a client with these rules, each "<allow|deny> <right> <realm>
// <key>", and returns the API as that client sees it.
func (s *server) client(t *testing.T, id string, rules ...string) caller {
	t.Helper()
	var list []string
	for _, rule := range rules {
		words := strings.Fields(rule)
		list = append(list, fmt.Sprintf(`{"effect":%q,"rights":[%q],"realms":[%q],"keys":[%q]}`, words[0], words[1], words[2], words[3]))
	}
	key, _ := s.must(http.MethodPost, "/api/client", `{"id":"`+id+`","rules":[`+strings.Join(list, ",")+`]}`).document()["key"].(string)
	client, err := s.clients.Identify(access.Caller{Key: key})
	if err != nil || client == nil {
		t.Fatalf("%s: %v %v", id, client, err)
	}
	return caller{t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.h.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), Caller{Kind: KindClient, ID: id, Client: client, Login: loginOf(client)})))
	})}
}

// tries are a request to each route, about the realm r and the key k where it is
// about one, and the rights each of which is enough. {} stands for no right.
var tries = map[string]struct {
	target, body, rights string
}{
	"GET /api/token":                             {"/api/token?realm=r&key=k", "", "read"},
	"POST /api/token":                            {"/api/token", `{"realm":"r","key":"k"}`, "read"},
	"POST /api/keys/rotate":                      {"/api/keys/rotate", "", "admin"},
	"GET /api/backup":                            {"/api/backup", "", "admin"},
	"GET /api/realm":                             {"/api/realm", "", "admin_read"},
	"POST /api/realm":                            {"/api/realm", `{"id":"r"}`, "admin"},
	"GET /api/realm/{id}":                        {"/api/realm/r", "", "read admin_read"},
	"DELETE /api/realm/{id}":                     {"/api/realm/r", "", "admin"},
	"POST /api/realm/{id}/test":                  {"/api/realm/r/test", `{"key":"k"}`, "admin"},
	"GET /api/secret":                            {"/api/secret", "", "admin_read"},
	"POST /api/secret":                           {"/api/secret", `{"realm":"r","key":"k"}`, "admin"},
	"GET /api/secret/{realm}/{key}":              {"/api/secret/r/k", "", "admin_read"},
	"DELETE /api/secret/{realm}/{key}":           {"/api/secret/r/k", "", "admin"},
	"GET /api/secret/{realm}/{key}/authorize":    {"/api/secret/r/k/authorize", "", "authorize"},
	"POST /api/secret/{realm}/{key}/push":        {"/api/secret/r/k/push", `{"field":"ticket","value":"x"}`, "push"},
	"GET /api/company":                           {"/api/company", "", "admin_read"},
	"POST /api/company":                          {"/api/company", `{"taxpayer_id":"9111","accounts":{"r":"k"}}`, "admin"},
	"GET /api/company/{taxpayer_id}":             {"/api/company/9111", "", "admin_read"},
	"DELETE /api/company/{taxpayer_id}":          {"/api/company/9111", "", "admin"},
	"GET /api/client":                            {"/api/client", "", "admin_read"},
	"POST /api/client":                           {"/api/client", `{"id":"new","rules":[]}`, "admin"},
	"GET /api/client/{id}":                       {"/api/client/none", "", "admin_read"},
	"DELETE /api/client/{id}":                    {"/api/client/none", "", "admin"},
	"POST /api/client/{id}/rotate":               {"/api/client/none/rotate", "", "admin"},
	"POST /api/explain":                          {"/api/explain", `{"client":"none","realm":"r","key":"k"}`, "admin_read"},
	"POST /api/renew-due":                        {"/api/renew-due", "", "flush"},
	"GET /api/status":                            {"/api/status", "", "admin_read"},
	"GET /api/activity":                          {"/api/activity", "", "admin_read"},
	"GET /api/watch":                             {"/api/watch", "", "read admin_read"},
	"GET /api/audit":                             {"/api/audit", "", "audit"},
	"POST /api/audit/verify":                     {"/api/audit/verify", "", "audit"},
	"GET /api/preset":                            {"/api/preset", "", every},
	"GET /api/preset/{name}":                     {"/api/preset/suning", "", every},
	"POST /api/caddyfile":                        {"/api/caddyfile", `{"realm":{"id":"r"}}`, every},
	"POST /api/session":                          {"/api/session", "", "admin_read admin audit"},
	"GET /api/session":                           {"/api/session?realm=r&key=k", "", every},
	"DELETE /api/session":                        {"/api/session", "", every},
	"POST /api/session/link":                     {"/api/session/link", "", "admin_read admin audit"},
	"GET /api/openapi.json":                      {"/api/openapi.json", "", every},
	"POST /{realm}-account/get-access-token":     {"/r-account/get-access-token?taxpayerId=9111", "", "read"},
	"POST /{realm}-account/request-access-token": {"/r-account/request-access-token?taxpayerId=9111", "", "flush"},
	"POST /{realm}-account/refresh-token":        {"/r-account/refresh-token?taxpayerId=9111", "", "flush"},
	"POST /{realm}-account/init-all-token":       {"/r-account/init-all-token", "", "flush"},
	"POST /{realm}-account/refresh-all-token":    {"/r-account/refresh-all-token", "", "flush"},
	"GET /{realm}-account/callback-token":        {"/r-account/callback-token?state=x", "", every},
}

const every = "use read flush authorize push admin_read admin audit"

// forEachTry runs f with each route's request, as a client with these rules sends it.
func (s *server) forEachTry(t *testing.T, id string, rules []string, f func(route string, rights []string, a answer)) {
	t.Helper()
	c := s.client(t, id, rules...)
	for _, rt := range routes {
		route := rt.method + " " + rt.path
		try, ok := tries[route]
		if !ok {
			t.Errorf("%s is not tried", route)
			continue
		}
		f(route, strings.Fields(try.rights), c.json(rt.method, try.target, try.body))
	}
}

// TestRightsOfRoutes: each route wants its right, and no other one is enough.
func TestRightsOfRoutes(t *testing.T) {
	s := newServer(t)
	for _, right := range strings.Fields(every) {
		s.forEachTry(t, "only-"+right, []string{"allow " + right + " * *"}, func(route string, rights []string, a answer) {
			if want := slices.Contains(rights, right); want == (a.status == http.StatusForbidden) {
				t.Errorf("%s with %s: %d %s", route, right, a.status, a.body)
			}
		})
	}
}

// instants are times in an answer, which go on meanwhile.
var instants = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"]*"`)

// TestNoRightTellsNothing: whoever lacks the right gets the same answer whether
// the realm, the key and the company exist or not.
func TestNoRightTellsNothing(t *testing.T) {
	s := newServer(t)
	rules := []string{"deny use x x"}
	for _, right := range strings.Fields(every) {
		rules = append(rules, "allow "+right+" other *")
	}
	collect := func(id string) map[string]string {
		got := map[string]string{}
		s.forEachTry(t, id, rules, func(route string, rights []string, a answer) {
			text := instants.ReplaceAllString(a.body, "")
			got[route] = strings.ReplaceAll(fmt.Sprint(a.status, text), `"id":"`+id+`"`, `"id":"its own"`)
			isOpen := len(rights) > 2 || slices.Contains([]string{"GET /api/realm", "GET /api/secret", "GET /api/company", "GET /api/status", "GET /api/watch", "GET /api/activity", "POST /api/renew-due"}, route)
			if !isOpen && a.status != http.StatusForbidden {
				t.Errorf("%s about a realm of others: %d %s", route, a.status, a.body)
			}
		})
		return got
	}
	before := collect("before")
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"url":"`+s.url+`","allow_http":true,"token_path":"access_token"}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k"}`)
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"9111","accounts":{"r":"k"}}`)
	after := collect("after")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("answers before and after there is something:\n%s", diff)
	}
}

// TestNoRightLooksNothingUp: a client that has the right of a route for nothing
// that the path could be about asks no store, so that the time of the refusal
// tells nothing either.
func TestNoRightLooksNothingUp(t *testing.T) {
	s := newServer(t)
	key, _ := s.must(http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["*"]}]}`).document()["key"].(string)
	client, err := s.clients.Identify(access.Caller{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	p, c := newPuppet(t)
	p.panics = "something was looked up"
	for _, rt := range routes {
		try := tries[rt.method+" "+rt.path]
		if try.rights == every {
			continue
		}
		r := httptest.NewRequestWithContext(t.Context(), rt.method, try.target, strings.NewReader(try.body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), Caller{Kind: KindClient, ID: "app", Client: client})))
		if w.Code != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", rt.method, rt.path, w.Code, w.Body)
		}
	}
}

// TestListsAreFiltered: who may administrate some realms or keys sees those.
func TestListsAreFiltered(t *testing.T) {
	s := newServer(t)
	for _, id := range []string{"a", "b", "c"} {
		s.must(http.MethodPost, "/api/realm", `{"id":"`+id+`","config":{"url":"`+s.url+`","allow_http":true,"token_path":"access_token"}}`)
		for _, key := range []string{"k1", "k2"} {
			s.must(http.MethodPost, "/api/secret", `{"realm":"`+id+`","key":"`+key+`"}`)
		}
		s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"of-`+id+`","accounts":{"`+id+`":"k1"}}`)
		_ = s.get("/api/token?realm=" + id + "&key=k1") // so that the status knows of it
	}
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"mixed","accounts":{"a":"k1","b":"k1"}}`)
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"bare"}`)
	c := s.client(t, "some", "allow admin_read a *", "allow admin_read b k1", "deny admin_read a k2")
	for target, want := range map[string]string{
		"/api/realm":                     "b a",
		"/api/realm?pageSize=1&page=2":   "a",
		"/api/secret":                    "b/k1 a/k1",
		"/api/secret?realm=c":            "",
		"/api/secret?pageSize=1&page=2":  "a/k1",
		"/api/company":                   "mixed of-b of-a",
		"/api/company?keyword=mix":       "mixed",
		"/api/company?pageSize=2&page=2": "of-a",
	} {
		var got []string
		data, _ := c.get(target).document()["data"].(map[string]any)
		list, _ := data["list"].([]any)
		for _, item := range list {
			item := item.(map[string]any)
			switch {
			case item["key"] != nil:
				got = append(got, fmt.Sprint(item["realm"], "/", item["key"]))
			case item["id"] != nil && item["taxpayer_id"] == nil:
				got = append(got, fmt.Sprint(item["id"]))
			default:
				got = append(got, fmt.Sprint(item["taxpayer_id"]))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", target, got, want)
		}
		if total, _ := data["total"].(float64); !strings.Contains(target, "page") && int(total) != len(got) {
			t.Errorf("%s: %v in all, and %d are shown", target, total, len(got))
		}
	}
	data, _ := c.get("/api/realm?counts=true").document()["data"].(map[string]any)
	list, _ := data["list"].([]any)
	var counts []any
	for _, item := range list {
		counts = append(counts, item.(map[string]any)["counts"])
	}
	want := `[{"attention":1,"secrets":1,"states":{"failing":1}},{"attention":1,"secrets":1,"states":{"failing":1}}]`
	if got, err := json.Marshal(counts); err != nil || string(got) != want {
		t.Errorf("the counts are %s, not %s", got, want)
	}
	var seen []string
	tokens, _ := c.get("/api/status").document()["tokens"].([]any)
	for _, token := range tokens {
		seen = append(seen, fmt.Sprint(token.(map[string]any)["realm"]))
	}
	if !slices.Equal(seen, []string{"a", "b"}) {
		t.Errorf("the status shows %v", seen)
	}
}

// TestRealmForItsUsers: who may read tokens learns how they are used, and
// nothing of the recipe.
func TestRealmForItsUsers(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"r","comment":"ours","config":{"api":"https://api.example.com","url":"https://login.example.com/token",
		"token_path":"access_token","shared":{"appid":"wx1"},"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}],
		"renew_on":[{"status":[401]}],"hosts":["api.example.com"]}}`)
	s.client(t, "reader", "allow read r k").get("/api/realm/r").ok(`{"id":"r","config":{"api":"https://api.example.com","hosts":["api.example.com"],
		"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}],"renew_on":[{"status":[401]}]}}`)
	if a := s.client(t, "reads-all", "allow admin_read r *").get("/api/realm/r"); !strings.Contains(a.body, "login.example.com") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestRightsOfCompanies: a company needs the right for each of its accounts,
// before and after a change, and for everything where it has none.
func TestRightsOfCompanies(t *testing.T) {
	s := newServer(t)
	for _, id := range []string{"a", "b"} {
		s.must(http.MethodPost, "/api/realm", `{"id":"`+id+`","config":{"url":"`+s.url+`","allow_http":true,"token_path":"access_token"}}`)
	}
	c := s.client(t, "of-a", "allow admin a *", "allow admin_read a *")
	post := func(body string) answer { t.Helper(); return c.json(http.MethodPost, "/api/company", body) }
	forbidden := func(a answer) {
		t.Helper()
		a.refused(http.StatusForbidden, "forbidden", "the caller has no right to do this")
	}

	forbidden(post(`{"taxpayer_id":"1"}`))
	forbidden(post(`{"taxpayer_id":"1","accounts":{"b":"k"}}`))
	forbidden(post(`{"taxpayer_id":"1","accounts":{"a":"k","b":"k"}}`))
	forbidden(post(`{"taxpayer_id":"1","accounts":{"unknown":"k"}}`))
	if a := post(`{"taxpayer_id":"1","accounts":{"a":"k"}}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	forbidden(post(`{"taxpayer_id":"1","accounts":{"a":null}}`)) // it would belong to nobody
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"2","accounts":{"b":"k"}}`)
	forbidden(post(`{"taxpayer_id":"2","accounts":{"a":"k","b":null}}`))
	for _, id := range []string{"2", "unknown"} {
		forbidden(c.get("/api/company/" + id))
		forbidden(c.json(http.MethodDelete, "/api/company/"+id, ""))
	}
	if a := s.get("/api/company/2"); !strings.Contains(a.body, `"b":"k"`) {
		t.Errorf("%s", a.body)
	}
	if a := c.json(http.MethodDelete, "/api/company/1", ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestRightsOfRealms: a realm belongs to who administrates all of its keys; a
// config that is tried takes as much.
func TestRightsOfRealms(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"url":"`+s.url+`","allow_http":true,"token_path":"access_token"}}`)
	for name, rules := range map[string][]string{
		"one-key":     {"allow admin r k"},
		"all-but-one": {"allow admin r *", "deny admin r x"},
	} {
		c := s.client(t, name, rules...)
		for _, a := range []answer{
			c.json(http.MethodPost, "/api/realm", `{"id":"r","comment":"mine"}`),
			c.json(http.MethodDelete, "/api/realm/r?cascade=true", ""),
			c.json(http.MethodPost, "/api/realm/r/test", `{"key":"k","config":{"url":"https://example.com"}}`),
			c.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"x"}`),
		} {
			a.refused(http.StatusForbidden, "forbidden", "")
		}
		if a := c.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k"}`); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestFlushTakesItsRight: to read a token is not to fetch one anew.
func TestFlushTakesItsRight(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	reads := s.client(t, "reads", "allow read wxgzh *")
	flushes := s.client(t, "flushes", "allow flush wxgzh *")
	const target = "/api/token?realm=wxgzh&key=wxgzh_secret"
	for _, tt := range []struct {
		c      caller
		target string
		status int
	}{
		{reads, target, 200}, {reads, target + "&flush=true", 403}, {flushes, target, 403}, {flushes, target + "&flush=true", 200},
	} {
		if a := tt.c.get(tt.target); a.status != tt.status {
			t.Errorf("%s: %d %s", tt.target, a.status, a.body)
		}
	}
	if a := reads.send(http.MethodGet, "/api/token", strings.NewReader(`{"realm":"wxgzh","key":"wxgzh_secret","flush":true}`)); a.status != 403 {
		t.Errorf("in the body: %d %s", a.status, a.body)
	}
}

// TestAllSkipsForbiddenKeys: of all accounts of a realm, those are renewed that
// the client may renew.
func TestAllSkipsForbiddenKeys(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"other"}`)
	c := s.client(t, "one", "allow flush wxgzh wxgzh_secret")
	c.json(http.MethodPost, "/wxgzh-account/init-all-token", "").ok(`{"data":{"list":[
		{"key":"other","result":"skipped","reason":"forbidden","code":"forbidden"},{"key":"wxgzh_secret","result":"ok"}],"total":2},"success":"ok"}`)
}

// TestRenewDueOfWhatACallerMayFlush: a client's timer renews its own keys. Of
// realms of which it may flush nothing it does not learn that they are there.
func TestRenewDueOfWhatACallerMayFlush(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"other"}`)
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
	c := s.client(t, "one", "allow flush wxgzh wxgzh_secret")
	const nothing = `{"data":{"list":[
		{"realm":"wxgzh","key":"other","result":"skipped","reason":"forbidden","code":"forbidden"},
		{"realm":"wxgzh","key":"wxgzh_secret","result":"skipped","reason":"the token is not due"}],"total":2},"success":"ok"}`
	fetched := s.provider.Fetches()
	c.json(http.MethodPost, "/api/renew-due", "").ok(nothing)
	if n := s.provider.Fetches(); n != fetched {
		t.Errorf("%d fetches of what is not due", n-fetched)
	}
	s.must(http.MethodPost, "/api/realm", strings.NewReplacer("https://api.weixin.qq.com", s.url, `"method"`, `"allow_http": true, "method"`,
		`"arguments": [`, `"arguments": [{"name": "v", "place": "url", "value": "2"}, `).Replace(realmWxgzh)) // the token is of another recipe
	c.json(http.MethodPost, "/api/renew-due", "").ok(`{"data":{"list":[
		{"realm":"wxgzh","key":"other","result":"skipped","reason":"forbidden","code":"forbidden"},
		{"realm":"wxgzh","key":"wxgzh_secret","result":"ok"}],"total":2},"success":"ok"}`)
	c.json(http.MethodPost, "/api/renew-due", "").ok(nothing)
	if n := s.provider.Fetches(); n != fetched+1 {
		t.Errorf("%d fetches", n-fetched)
	}
	s.client(t, "stranger", "allow flush elsewhere *").json(http.MethodPost, "/api/renew-due", "").
		ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
}

// TestNobodyMayDoNothing: a request of which nobody said who makes it is refused
// everywhere but at the callback, the presets and the description.
func TestNobodyMayDoNothing(t *testing.T) {
	p, _ := newPuppet(t)
	c := caller{t, New(p, p, Options{})}
	for _, rt := range routes {
		try := tries[rt.method+" "+rt.path]
		body := strings.NewReader(try.body)
		r := httptest.NewRequest(rt.method, try.target, body)
		r.Header.Set("Content-Type", "application/json")
		isOpen := try.rights == every && !IsAboutSession(r)
		if a := c.do(r); (a.status == http.StatusForbidden) == isOpen {
			t.Errorf("%s %s: %d %s", rt.method, rt.path, a.status, a.body)
		}
	}
}

// TestProviderMessageByRight: the provider's words are for clients that may read
// all about the realm, on the routes of apps, too.
func TestProviderMessageByRight(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wrong","key_1":"wx1","key_2":"no","key_3":"client_credential"}`)
	const target = "/api/token?realm=wxgzh&key=wrong"
	app := s.client(t, "app", "allow read wxgzh *").get(target)
	operator := s.client(t, "operator", "allow read wxgzh *", "allow admin_read wxgzh *").get(target)
	if app.document()["provider_code"] == nil || app.document()["provider_message"] != nil {
		t.Errorf("an app gets %s", app.body)
	}
	if operator.document()["provider_message"] == nil {
		t.Errorf("an operator gets %s", operator.body)
	}
}
