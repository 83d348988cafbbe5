package adminapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// text is a value as JSON.
func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Fields can be spelled in two ways; absent and masked ones stay, null and
// empty ones go.
func TestSecretUpdates(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"r"}`)
	const m = `"******************"`
	for _, tt := range []struct{ send, want string }{
		{`"key_1":"a","fields":{"appid":"b","key_12":"c"}`, `"key_1":` + m + `,"key_12":` + m + `,"fields":{"appid":` + m + `}`},
		{``, `"key_1":` + m + `,"key_12":` + m + `,"fields":{"appid":` + m + `}`},
		{`"key_1":` + m + `,"fields":{"appid":` + m + `}`, `"key_1":` + m + `,"key_12":` + m + `,"fields":{"appid":` + m + `}`},
		{`"key_12":null`, `"key_1":` + m + `,"fields":{"appid":` + m + `}`},
		{`"key_1":"","fields":null`, `"fields":{"appid":` + m + `}`},
		{`"key_3":"x","fields":{"key_3":"x"}`, `"key_3":` + m + `,"fields":{"appid":` + m + `}`},
		{`"fields":{"appid":null,"key_3":""}`, ``},
		{`"created_at":"x","updated_at":null,"read_only":true`, ``},
	} {
		if tt.send != "" {
			tt.send = "," + tt.send
		}
		if tt.want != "" {
			tt.want = "," + tt.want
		}
		want := `{"realm":"r","key":"k"` + tt.want + `}`
		s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k"`+tt.send+`}`).without("created_at", "updated_at", "warnings").ok(want)
		s.get("/api/secret/r/k").without("created_at", "updated_at").ok(want)
	}
	s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","key_1":"`+strings.Repeat("x", 64<<10+1)+`"}`).wrong("fields.key_1")
	s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"`+strings.Repeat("x", 256)+`"}`).wrong("key")
	s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","expires_at":4102444800000}`).wrong("expires_at")
	s.get("/api/secret/r/k").without("created_at", "updated_at").ok(`{"realm":"r","key":"k"}`)
}

// TestSecretThatDoesNotFit: the answer says what is missing and what nothing reads, and
// the state is known before anybody asks for the token.
func TestSecretThatDoesNotFit(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"url":"https://x.example/t?i={secret.appid}&s={secret.appsecret}","token_path":"t"}}`)
	saved := s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","fields":{"appid":"a","app_secret":"b"}}`)
	const warnings = `["fields.appsecret: is missing; without it there is no token",` +
		`"fields.app_secret: nothing in the realm reads it; did you mean 'appsecret'?"]`
	if got := text(t, saved.document()["warnings"]); got != warnings {
		t.Errorf("the warnings are %s", got)
	}
	if shown := s.get("/api/secret/r/k").document()["warnings"]; shown != nil {
		t.Errorf("a secret is shown with the warnings %v", shown)
	}
	status := func() string { return s.get("/api/status?attention=true").body }
	if got := status(); !strings.Contains(got, `"state":"failing"`) || !strings.Contains(got, "appsecret: the secret has no such field") {
		t.Errorf("the status: %s", got)
	}
	s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","warnings":[],"fields":{"appsecret":"b","app_secret":null}}`).
		without("created_at", "updated_at").ok(`{"realm":"r","key":"k","fields":{"appid":"******************","appsecret":"******************"}}`)
	if got := status(); strings.Contains(got, "failing") {
		t.Errorf("the status: %s", got)
	}
}

// TestRealmThatSecretsDoNotFit: a change of a realm is answered with how many of its
// stored secrets it makes useless. It was found with the first use of each.
func TestRealmThatSecretsDoNotFit(t *testing.T) {
	s := newServer(t)
	config := func(host, field string) string {
		return `{"id":"r","config":{"url":"https://` + host + `/t?s={secret.` + field + `}","token_path":"t"}}`
	}
	warnings := func(path, body string) string {
		t.Helper()
		return text(t, s.must(http.MethodPost, path, body).document()["warnings"])
	}
	if got := warnings("/api/realm", config("x.example", "a")); got != "null" {
		t.Errorf("a new realm: %s", got)
	}
	for _, key := range []string{"one", "two", "three"} {
		s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"`+key+`","fields":{"a":"1"}}`)
	}
	s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"three","fields":{"b":"2"}}`)
	const want = `["2 of 3 secrets cannot be used with the realm, such as two: fields.b: is missing"]`
	if got := warnings("/api/realm", config("x.example", "b")); got != want {
		t.Errorf("another field: %s", got)
	}
	// Of what is not sent any more, nobody learns whether it would fit.
	if got := warnings("/api/realm", config("y.example", "b")); got != "null" {
		t.Errorf("another host: %s", got)
	}
	if got := warnings("/api/realm?keep_values=true", config("y.example", "b")); !strings.HasPrefix(got, `["2 of 3 secrets cannot`) {
		t.Errorf("the values are kept: %s", got)
	}
	// A warning has a key, and what its secret lacks: that is for who may read the
	// secrets.
	for rules, isTold := range map[string]bool{
		"allow admin r *": false, "allow admin r *; allow admin_read r *": true, "allow admin r *; allow admin_read r *; deny admin_read r two": false,
	} {
		c := s.client(t, "c"+fmt.Sprint(len(rules)), strings.Split(rules, "; ")...)
		a := c.json(http.MethodPost, "/api/realm", config("y.example", "b"))
		if a.status != http.StatusOK || strings.Contains(a.body, "two") != isTold {
			t.Errorf("%s: %d %s", rules, a.status, a.body)
		}
	}
	if shown := s.get("/api/realm/r").document()["warnings"]; shown != nil {
		t.Errorf("a realm is shown with the warnings %v", shown)
	}
	if got := warnings("/api/realm", `{"warnings":[],`+config("y.example", "a")[1:]); got != "null" {
		t.Errorf("back again: %s", got)
	}
	// So does a value that does not fit.
	s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"four","fields":{"a":".."}}`)
	inPath := strings.Replace(config("y.example", "a"), `"token_path"`, `"api":"https://y.example/{secret.a}","token_path"`, 1)
	if got := warnings("/api/realm", inPath); !strings.HasPrefix(got, `["1 of 4 secrets cannot be used with the realm, such as four: config.api: `) {
		t.Errorf("a value that does not fit: %s", got)
	}
}

// TestShopThatIsNoHost: a value that cannot stand in the API's host is refused
// when it is saved. Where the realm is changed afterwards, both ways to the
// token name the field.
func TestShopThatIsNoHost(t *testing.T) {
	for name, config := range map[string]string{
		"fetched": `"url":"https://x.example/t","token_path":"t"`,
		"fixed":   `"grant":{"name":"static"}`,
	} {
		s := newServer(t)
		inject := `,"inject":[{"place":"url","name":"t"}]`
		after := `{"id":"r","config":{` + config + inject + `,"api":"https://{secret.shop}.example.com"}}`
		secret := `{"realm":"r","key":"k","fields":{"shop":"a b/","token":"T"}}`

		s.must(http.MethodPost, "/api/realm", after)
		s.json(http.MethodPost, "/api/secret", secret).wrong("fields.shop")
		s.get("/api/secret/r/k").refused(http.StatusNotFound, "secret_not_found", "")

		s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{`+config+inject+`,"api":"https://x.example.com"}}`)
		s.must(http.MethodPost, "/api/secret", secret)
		s.must(http.MethodPost, "/api/realm", after)
		doc := s.get("/api/token?realm=r&key=k").refused(http.StatusConflict, "invalid_field", "")
		if doc["field"] != "fields.shop" {
			t.Errorf("%s: GET /api/token names the field %v", name, doc["field"])
		}
		_, err := s.view.Proxyable(t.Context(), realm.Ref{Realm: "r", Key: "k"})
		if d := problem.From(err); d.Status != http.StatusConflict || d.Code != realm.CodeInvalidField || d.Field != "fields.shop" {
			t.Errorf("%s: the proxy answers %+v", name, d)
		}
	}
}

// A changed value drops the token, an unchanged one does not.
func TestSecretChangeDropsToken(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	const target = "/api/token?realm=wxgzh&key=wxgzh_secret"
	s.token(target, "upstream")
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_1":"wx1","key_2":"******************"}`)
	if got := s.get(target).document()["source"]; got == "upstream" {
		t.Error("nothing changed, and the token was dropped")
	}
	s.provider.SetSecret("wx1", "new-secret")
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_2":"new-secret"}`)
	s.token(target, "upstream")
}

// The refresh token goes only where that was asked for.
func TestDropRefreshToken(t *testing.T) {
	p, c := newPuppet(t)
	for sent, want := range map[string]bool{"": false, `,"drop_refresh_token":true`: true, `,"drop_refresh_token":false`: false, `,"drop_refresh_token":null`: false} {
		c.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","key_1":"v"`+sent+`}`).ok(`{"realm":"r","key":"k"}`)
		if p.dropped != want {
			t.Errorf("%s: dropped is %v", sent, p.dropped)
		}
	}
}

// A token of the earlier service moves over with its secret.
func TestSecretImport(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	end := time.Now().Add(90 * time.Minute).UnixMilli()
	for i, spelled := range []string{fmt.Sprint(end), fmt.Sprintf(`"%d"`, end)} { // a BIGINT leaves many drivers as text
		key := fmt.Sprintf("moved-%d", i)
		s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"`+key+`","key_1":"wx1","key_2":"wx1-secret","key_3":"client_credential",
			"token":"old-`+key+`","expires_at":`+spelled+`}`)
		doc := s.must(http.MethodGet, "/api/token?realm=wxgzh&key="+key, "").document()
		if doc["token"] != "old-"+key || doc["expires_at"] != float64(end) || doc["source"] == "upstream" {
			t.Errorf("%v", doc)
		}
	}
	for _, none := range []string{`"token":null,"expires_at":null`, `"token":"","expires_at":0`, `"token":null,"expires_at":1`, `"token":" \t\n","expires_at":1`, `"refresh_token":"  "`, `"token":"******************","expires_at":1`} {
		s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"moved-0",`+none+`}`)
		if got := s.get("/api/token?realm=wxgzh&key=moved-0").document()["token"]; got != "old-moved-0" {
			t.Errorf("%s: the token is %v", none, got)
		}
	}
}

func TestSecretList(t *testing.T) {
	s := newServer(t, definition())
	s.must(http.MethodPost, "/api/realm", `{"id":"r"}`)
	s.must(http.MethodPost, "/api/realm", `{"id":"other"}`)
	for i := range 11 {
		s.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm":"r","key":"k%02d","key_1":"v"}`, i))
	}
	s.must(http.MethodPost, "/api/secret", `{"realm":"other","key":"k"}`)
	for query, want := range map[string]struct {
		keys  string
		total float64
	}{
		"":                          {"main k k10 k09 k08 k07 k06 k05 k04 k03", 13},
		"page=2":                    {"k02 k01 k00", 13},
		"realm=r&pageSize=2":        {"k10 k09", 11},
		"realm=other":               {"k", 1},
		"realm=file":                {"main", 1},
		"realm=nobody":              {"", 0},
		"realm=r&page=6&pageSize=2": {"k00", 11},
	} {
		data, _ := s.get("/api/secret?" + query).document()["data"].(map[string]any)
		list, _ := data["list"].([]any)
		var keys []string
		for _, item := range list {
			keys = append(keys, item.(map[string]any)["key"].(string))
		}
		if got := strings.Join(keys, " "); got != want.keys || data["total"] != want.total {
			t.Errorf("%s: %s of %v, want %s of %v", query, got, data["total"], want.keys, want.total)
		}
	}
}

// A store that cannot be used is a 503 that says so, with a line in the log.
func TestStoreUnavailable(t *testing.T) {
	s := newServer(t)
	s.path = t.TempDir() // a directory is no database
	c := s.again(t)
	for _, target := range []string{"/api/realm", "/api/realm/a", "/api/secret", "/api/secret/a/b", "/api/token?realm=a&key=b"} {
		a := c.get(target)
		a.refused(http.StatusServiceUnavailable, "store_unavailable", "")
		if a.retryAfter() < 1 {
			t.Errorf("%s: no Retry-After", target)
		}
		if strings.Contains(a.body, s.path) {
			t.Errorf("%s shows the path: %s", target, a.body)
		}
	}
	if !strings.Contains(s.log.String(), "admin request failed") {
		t.Error("nothing is logged")
	}
}

// Whoever names a field of the secret beside realm and key is told where it
// goes.
func TestNamedFieldsAtTheTop(t *testing.T) {
	_, c := newPuppet(t)
	for name, want := range map[string]string{
		"corpid": `corpid: is not known; a field of the secret goes into "fields": {"corpid": ...}`,
		"key_0":  `key_0: is not known; a field of the secret goes into "fields": {"key_0": ...}`,
	} {
		a := c.json(http.MethodPost, "/api/secret", `{"realm": "r", "key": "k", "`+name+`": "x"}`)
		a.wrong(name)
		if got := a.document()["detail"]; got != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}

// A list of secrets may be searched, and have the status of each token; both as far
// as the caller may see it.
func TestSecretsWithStatusAndKeyword(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	for _, key := range []string{"shop-a", "shop-b", "other"} {
		s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"`+key+`","key_1":"wx1","key_2":"wx1-secret","key_3":"client_credential"}`)
	}
	s.token("/api/token?realm=wxgzh&key=shop-b", "upstream")
	list := func(c caller, query string) string {
		t.Helper()
		data, _ := c.get("/api/secret" + query).document()["data"].(map[string]any)
		var shown []string
		items, _ := data["list"].([]any)
		for _, item := range items {
			doc := item.(map[string]any)
			text := doc["key"].(string)
			if status, ok := doc["status"].(map[string]any); ok {
				text += " " + status["state"].(string)
			}
			shown = append(shown, text)
		}
		return fmt.Sprint(shown, data["total"])
	}
	client := s.client(t, "app", "allow admin_read wxgzh shop-b", "allow admin_read wxgzh other")
	for _, c := range []struct {
		caller      caller
		query, want string
	}{
		{s.caller, "", "[other shop-b shop-a wxgzh_secret] 4"},
		{s.caller, "?status=true", "[other shop-b live shop-a wxgzh_secret] 4"},
		{s.caller, "?keyword=SHOP&status=1", "[shop-b live shop-a] 2"},
		{s.caller, "?keyword=shop&page=2&pageSize=1", "[shop-a] 2"},
		{s.caller, "?keyword=gzh", "[other shop-b shop-a wxgzh_secret] 4"},
		{s.caller, "?keyword=%25", "[] 0"},
		{client, "?status=true", "[other shop-b live] 2"},
		{client, "?keyword=shop", "[shop-b] 1"},
	} {
		if got := list(c.caller, c.query); got != c.want {
			t.Errorf("%q: %s, not %s", c.query, got, c.want)
		}
	}
	s.get("/api/secret?status=perhaps").wrong("status")
}
