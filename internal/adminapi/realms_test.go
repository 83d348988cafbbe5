package adminapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// What an update does not name stays, config is replaced as a whole, null
// clears, and a refused update changes nothing.
func TestRealmUpdates(t *testing.T) {
	s := newServer(t)
	const url = `"config":{"url":"https://a.example/t","token_path":"t"}`
	s.must(http.MethodPost, "/api/realm", `{"id":"a",`+url+`,"comment":"one","logic_code":"https://a.example/l"}`)
	for _, tt := range []struct{ send, want string }{
		{`{"id":"a"}`, `{"id":"a",` + url + `,"comment":"one","logic_code":"https://a.example/l"}`},
		{`{"id":"a","comment":"two"}`, `{"id":"a",` + url + `,"comment":"two","logic_code":"https://a.example/l"}`},
		{`{"id":"a","comment":null}`, `{"id":"a",` + url + `,"logic_code":"https://a.example/l"}`},
		{`{"id":"a","logic_code":""}`, `{"id":"a",` + url + `}`},
		{`{"id":"a","config":{"url":"https://b.example/t","token_path":"t"}}`, `{"id":"a","config":{"url":"https://b.example/t","token_path":"t"}}`},
		{
			`{"id":"a","created_at":"x","updated_at":7,"read_only":true,"not_yet_active":["config.grant"]}`,
			`{"id":"a","config":{"url":"https://b.example/t","token_path":"t"}}`,
		},
		{`{"id":"a","config":null}`, `{"id":"a"}`},
	} {
		s.must(http.MethodPost, "/api/realm", tt.send).without("created_at", "updated_at").ok(tt.want)
		s.get("/api/realm/a").without("created_at", "updated_at").ok(tt.want)
	}
	for send, field := range map[string]string{
		`{"id":"a","config":{"url":"ftp://b.example"}}`: "config.url",
		`{"id":"a","config":{"url":"https://a.example","token_path":"t","arguments":[{"name":"x","place":"cookie","value":"y"}]}}`:   "config.arguments[0].place",
		`{"id":"a","config":{"url":"https://a.example","token_path":"t","arguments":[{"name":"x","place":"url","value":"$token"}]}}`: "config.arguments[0].value",
		`{"id":"a","comment":"` + strings.Repeat("字", 5001) + `"}`:                                                                   "comment",
	} {
		s.json(http.MethodPost, "/api/realm", send).wrong(field)
	}
	s.json(http.MethodPost, "/api/realm", `{"id":"a\u0000"}`).wrong("id")
	s.json(http.MethodPost, "/api/realm", `{"id":".."}`).wrong("id")
	s.json(http.MethodPost, "/api/realm", `{"id":"`+strings.Repeat("x", 256)+`"}`).wrong("id")
	s.get("/api/realm/a").without("created_at", "updated_at").ok(`{"id":"a"}`)
	if total := s.get("/api/realm").document()["data"].(map[string]any)["total"]; total != 1.0 {
		t.Errorf("%v realms", total)
	}
}

// TestLongRealms: a list of 20, as the console asks for it, has less than 1 MiB with the
// longest realms that can be saved. They could have 1 MiB each.
func TestLongRealms(t *testing.T) {
	s := newServer(t)
	long := func(id string, bytes int) string {
		const body = `{"id":%q,"config":{"url":"https://a.example/t","token_path":"t","arguments":[%s]}}`
		var arguments []string
		for n := 0; n < bytes; n += 4_000 {
			arguments = append(arguments, fmt.Sprintf(`{"place":"url","name":"a%d","value":%q}`, n, strings.Repeat("<", min(bytes-n, 4_000)/6)))
		}
		return fmt.Sprintf(body, id, strings.Join(arguments, ","))
	}
	for i := range 20 {
		s.must(http.MethodPost, "/api/realm", long(fmt.Sprintf("r%d", i), 48_000))
	}
	if got := s.get("/api/realm?pageSize=20&counts=true"); len(got.body) > 1<<20 || len(got.body) < 900_000 {
		t.Errorf("the list has %d bytes", len(got.body))
	}
	refused := s.json(http.MethodPost, "/api/realm", long("r", 49_000))
	if refused.status != http.StatusBadRequest || !strings.Contains(refused.body, `"field":"config"`) || !strings.Contains(refused.body, "48KiB is the limit") {
		t.Errorf("a longer one: %d %.200s", refused.status, refused.body)
	}
	// A dry run says so before somebody saves it.
	s.must(http.MethodPost, "/api/secret", `{"realm":"r0","key":"k","fields":{"a":"b"}}`)
	_, config, _ := strings.Cut(long("r0", 49_000), `"config":`)
	refused = s.json(http.MethodPost, "/api/realm/r0/test", `{"key":"k","config":`+config)
	if refused.status != http.StatusBadRequest || !strings.Contains(refused.body, `"field":"config"`) || !strings.Contains(refused.body, "48KiB is the limit") {
		t.Errorf("a dry run with a longer one: %d %.200s", refused.status, refused.body)
	}
	// What is shown masked is no part of a list.
	s.must(http.MethodPost, "/api/realm", strings.Replace(long("r", 40_000), `"token_path"`, `"shared":{"key":"`+strings.Repeat("k", 60_000)+`"},"token_path"`, 1))
}

// What a realm says about its connections is shown as it was sent, and a user and a
// password of a proxy are no text of a realm.
func TestRealmConnection(t *testing.T) {
	s := newServer(t)
	const config = `{"token_path":"t","shared":{"p":"******************"},"proxy":"http://u:{secret.p}@proxy.example:3128"}`
	s.must(http.MethodPost, "/api/realm", `{"id":"a","config":`+strings.Replace(config, "******************", "pass-word", 1)+`}`)
	s.get("/api/realm/a").without("created_at", "updated_at").ok(`{"id":"a","config":` + config + `}`)
	refused := s.send(http.MethodPost, "/api/realm", strings.NewReader(`{"id":"b","config":{"proxy":"http://u:pass-word@proxy.example:3128"}}`), "Content-Type", "application/json")
	refused.wrong("config.proxy")
	if strings.Contains(refused.body, "pass-word") {
		t.Error("the password is in the error")
	}
}

// Shared fields are shown masked; a masked one that is sent back leaves what
// is stored, so that a served document can be edited and posted.
func TestRealmSharedFields(t *testing.T) {
	s := newServer(t)
	doc := func(shared string) string {
		return `{"id":"wx","config":{"url":"` + s.url + `/cgi-bin/token","allow_http":true,"token_path":"access_token","expires_in_path":"expires_in",
			"arguments":[{"name":"appid","place":"url","value":"{secret.app}"},{"name":"secret","place":"url","value":"{secret.pass}"},
			{"name":"grant_type","place":"url","value":"client_credential"}],"shared":` + shared + `}}`
	}
	const masked = `{"app":"******************","pass":"******************"}`
	s.json(http.MethodPost, "/api/realm", doc(masked)).wrong("config.shared.app")
	s.must(http.MethodPost, "/api/realm", doc(`{"app":"wx1","pass":"wx1-secret"}`)).without("created_at", "updated_at").ok(doc(masked))
	s.must(http.MethodPost, "/api/secret", `{"realm":"wx","key":"k"}`)
	first := s.token("/api/token?realm=wx&key=k", "upstream")

	served := s.get("/api/realm/wx")
	served.without("created_at", "updated_at").ok(doc(masked))
	s.must(http.MethodPost, "/api/realm", served.body)
	if flushed := s.token("/api/token?realm=wx&key=k&flush=true", "upstream"); flushed == first {
		t.Error("the masks became the values")
	}
	s.json(http.MethodPost, "/api/realm", doc(`{"app":"******************","new":"******************"}`)).wrong("config.shared.new")

	config := text(t, served.document()["config"])
	a := s.must(http.MethodPost, "/api/realm/wx/test", `{"key":"k","config":`+config+`}`)
	if a.document()["token"] == nil {
		t.Errorf("a dry run with the served config: %s", a.body)
	}
}

// Pages are counted from 1, newest first, and keywords are plain text.
func TestRealmList(t *testing.T) {
	s := newServer(t, definition())
	for i := range 12 {
		s.must(http.MethodPost, "/api/realm", fmt.Sprintf(`{"id":"r%02d","comment":"Comment %d%%"}`, i, i))
	}
	s.must(http.MethodPost, "/api/realm", `{"id":"微信_公众号"}`)
	for query, want := range map[string]struct {
		ids   string
		total float64
	}{
		"":                        {"file 微信_公众号 r11 r10 r09 r08 r07 r06 r05 r04", 14},
		"page=2":                  {"r03 r02 r01 r00", 14},
		"page=3":                  {"", 14},
		"page=1000000000":         {"", 14},
		"page=2&pageSize=4":       {"r09 r08 r07 r06", 14},
		"pageSize=1":              {"file", 14},
		"keyword=r1":              {"r11 r10", 2},
		"keyword=comment+1":       {"r11 r10 r01", 3},
		"keyword=%25":             {"r11 r10 r09 r08 r07 r06 r05 r04 r03 r02", 12},
		"keyword=_":               {"微信_公众号", 1},
		"keyword=%E5%BE%AE":       {"微信_公众号", 1},
		"keyword=fil":             {"file", 1},
		"keyword=%5C":             {"", 0},
		"keyword=r%25":            {"", 0},
		"keyword=x'+or+1%3D1+--+": {"", 0},
		"keyword=1%25&pageSize=2": {"r11 r01", 2},
	} {
		a := s.get("/api/realm?" + query)
		data, _ := a.document()["data"].(map[string]any)
		var ids []string
		list, _ := data["list"].([]any)
		for _, item := range list {
			ids = append(ids, item.(map[string]any)["id"].(string))
		}
		if got := strings.Join(ids, " "); got != want.ids || data["total"] != want.total {
			t.Errorf("%s: %v of %v, want %s of %v", query, got, data["total"], want.ids, want.total)
		}
	}
}

// The Caddyfile's realms and secrets are shown, and nothing can be done to
// them.
func TestReadOnly(t *testing.T) {
	s := newServer(t, definition())
	const want = `{"id":"file","config":{"grant":{"name":"static"},"shared":{"app_key":"******************"}},"read_only":true}`
	s.get("/api/realm/file").ok(want)
	s.get("/api/secret/file/main").ok(`{"realm":"file","key":"main","key_1":"******************","fields":{"token":"******************"},"read_only":true}`)
	s.json(http.MethodPost, "/api/realm", want).refused(http.StatusConflict, "read_only", "")
	s.json(http.MethodDelete, "/api/realm/file?cascade=true", "").refused(http.StatusConflict, "read_only", "")
	s.json(http.MethodPost, "/api/secret", `{"realm":"file","key":"main","key_1":"x"}`).refused(http.StatusConflict, "read_only", "")
	s.json(http.MethodDelete, "/api/secret/file/main", "").refused(http.StatusConflict, "read_only", "")
	s.must(http.MethodPost, "/api/secret", `{"realm":"file","key":"other","fields":{"token":"fixed-2"}}`)
	if got := s.must(http.MethodGet, "/api/token?realm=file&key=main", "").document()["token"]; got != "fixed-1" {
		t.Errorf("token %v", got)
	}
}

// A realm goes with its secrets only where that was asked for.
func TestDeleting(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.json(http.MethodDelete, "/api/realm/wxgzh", "").refused(http.StatusConflict, "conflict", "")
	s.json(http.MethodDelete, "/api/realm/wxgzh?cascade=false", "").refused(http.StatusConflict, "conflict", "")
	s.json(http.MethodDelete, "/api/secret/wxgzh/wxgzh_secret", "").ok(`{"success":"ok"}`)
	s.json(http.MethodDelete, "/api/secret/wxgzh/wxgzh_secret", "").refused(http.StatusNotFound, "secret_not_found", "secret 不存在")
	s.json(http.MethodDelete, "/api/realm/wxgzh", "").ok(`{"success":"ok"}`)
	s.json(http.MethodDelete, "/api/realm/wxgzh", "").refused(http.StatusNotFound, "realm_not_found", "realm 不存在")

	s.wxgzh()
	s.token("/api/token?realm=wxgzh&key=wxgzh_secret", "upstream")
	s.json(http.MethodDelete, "/api/realm/wxgzh?cascade=true", "").ok(`{"success":"ok"}`)
	s.get("/api/secret").ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
	s.get("/api/token?realm=wxgzh&key=wxgzh_secret").refused(http.StatusBadRequest, "realm_not_found", "该 key 指定的 secret 不存在")
}

// Ids of every kind name one thing from the body to the path.
func TestIDsEndToEnd(t *testing.T) {
	s := newServer(t)
	ids := []string{"a", "a ", " a", "a#c", "微信", "é", "e\u0301", "...", "a;b&c=d", `"'`}
	for _, id := range ids {
		quoted := fmt.Sprintf("%q", id)
		s.must(http.MethodPost, "/api/realm", `{"id":`+quoted+`,"config":{"grant":{"name":"static"}}}`)
		s.must(http.MethodPost, "/api/secret", `{"realm":`+quoted+`,"key":`+quoted+`,"token":`+fmt.Sprintf("%q", "token of "+id)+`}`)
	}
	for _, upper := range []string{
		`/api/realm {"id":"A","config":{"grant":{"name":"static"}}}`,
		`/api/secret {"realm":"a","key":"A","token":"t"}`,
	} {
		path, body, _ := strings.Cut(upper, " ")
		detail := fmt.Sprint(s.json(http.MethodPost, path, body).refused(http.StatusConflict, "conflict", "")["detail"])
		if !strings.Contains(detail, `"a"`) {
			t.Errorf("the other one is not named: %s", detail)
		}
	}
	for _, id := range ids {
		if got := s.get("/api/realm/" + url.PathEscape(id)).document()["id"]; got != id {
			t.Errorf("realm %q is %v", id, got)
		}
		if got := s.get("/api/secret/" + url.PathEscape(id) + "/" + url.PathEscape(id)).document()["key"]; got != id {
			t.Errorf("secret %q is %v", id, got)
		}
		if got := s.get("/api/token?realm=" + url.QueryEscape(id) + "&key=" + url.QueryEscape(id)).document()["token"]; got != "token of "+id {
			t.Errorf("token of %q is %v", id, got)
		}
		s.json(http.MethodDelete, "/api/realm/"+url.PathEscape(id)+"?cascade=1", "").ok(`{"success":"ok"}`)
	}
	s.get("/api/realm").ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
	// What a matcher in front of the proxy may read as another path.
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"grant":{"name":"static"}}}`)
	for _, id := range []string{"a/b", "/", "%2F", "a%", "a?b", `a\b`, ".", "..", "a\n"} {
		quoted := fmt.Sprintf("%q", id)
		s.json(http.MethodPost, "/api/realm", `{"id":`+quoted+`,"config":{"grant":{"name":"static"}}}`).wrong("id")
		s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":`+quoted+`,"token":"t"}`).wrong("key")
	}
}

// A dry run tells what happened, with nothing confidential in it, and leaves
// no trace.
func TestRealmTest(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	const target = "/api/realm/wxgzh/test"
	a := s.must(http.MethodPost, target, `{"key":"wxgzh_secret"}`)
	if token, _ := a.document()["token"].(map[string]any); token["length"] != 32.0 || strings.Contains(a.body, "wx1") {
		t.Errorf("report: %s", a.body)
	}
	s.token("/api/token?realm=wxgzh&key=wxgzh_secret", "upstream")

	config := s.get("/api/realm/wxgzh").document()["config"]
	config.(map[string]any)["token_path"] = "data.token"
	a = s.must(http.MethodPost, target, `{"key":"wxgzh_secret","config":`+text(t, config)+`}`)
	if reason, _ := a.document()["error"].(string); reason == "" {
		t.Errorf("a wrong path is no error: %s", a.body)
	}
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wrong","key_1":"wx1","key_2":"not-it","key_3":"client_credential"}`)
	a = s.must(http.MethodPost, target, `{"key":"wrong"}`)
	if response, _ := a.document()["response"].(map[string]any); response["provider_code"] != "40001" {
		t.Errorf("the provider's refusal: %s", a.body)
	}
	s.json(http.MethodPost, "/api/realm/x/test", `{"key":"k"}`).refused(http.StatusNotFound, "realm_not_found", "realm 不存在")
	s.json(http.MethodPost, target, `{"key":"k"}`).refused(http.StatusNotFound, "secret_not_found", "secret 不存在")
	s.json(http.MethodPost, target, `{"key":"wxgzh_secret","config":{"url":"ftp://x"}}`).wrong("config.url")
}

func TestStatus(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.token("/api/token?realm=wxgzh&key=wxgzh_secret", "upstream")
	doc := s.get("/api/status").document()
	stores, _ := doc["stores"].([]any)
	tokens, _ := doc["tokens"].([]any)
	if len(stores) != 1 || stores[0].(map[string]any)["ok"] != true || len(tokens) != 1 {
		t.Fatalf("status: %v", doc)
	}
	if token := tokens[0].(map[string]any); token["realm"] != "wxgzh" || token["key"] != "wxgzh_secret" || token["state"] != "live" {
		t.Errorf("status: %v", token)
	}
}

// The times are those of the store, in UTC.
func TestTimes(t *testing.T) {
	s := newServer(t)
	before := time.Now().Add(-time.Second)
	doc := s.must(http.MethodPost, "/api/realm", `{"id":"a"}`).document()
	for _, name := range []string{"created_at", "updated_at"} {
		text, _ := doc[name].(string)
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || at.Before(before) || !strings.HasSuffix(text, "Z") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// Two people who change two things of one realm at once both see their change
// kept.
func TestConcurrentUpdates(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"a"}`)
	for i := range 10 {
		comment := fmt.Sprintf(`{"id":"a","comment":"c%d"}`, i)
		code := fmt.Sprintf(`{"id":"a","logic_code":"https://a.example/%d"}`, i)
		var wg sync.WaitGroup
		for _, body := range []string{comment, code} {
			wg.Go(func() {
				if a := s.json(http.MethodPost, "/api/realm", body); a.status != http.StatusOK {
					t.Errorf("%s: %d %s", body, a.status, a.body)
				}
			})
		}
		wg.Wait()
		s.get("/api/realm/a").without("created_at", "updated_at").
			ok(fmt.Sprintf(`{"id":"a","comment":"c%d","logic_code":"https://a.example/%d"}`, i, i))
	}
}

// A crowd that asks for a token that nobody has yet costs one fetch, and all
// get the same.
func TestColdCrowd(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	var wg sync.WaitGroup
	tokens := make([]any, 300)
	for i := range tokens {
		wg.Go(func() {
			tokens[i] = s.get("/api/token?realm=wxgzh&key=wxgzh_secret").document()["token"]
		})
	}
	wg.Wait()
	if n := s.provider.Fetches("wx1"); n != 1 {
		t.Errorf("%d fetches", n)
	}
	for _, token := range tokens {
		if token != any(s.provider.Newest("wx1")) {
			t.Fatalf("token %v", token)
		}
	}
}
