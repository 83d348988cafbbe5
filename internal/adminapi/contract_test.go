package adminapi

import (
	"net/http"
	"strings"
	"testing"
)

// The documents that users of the earlier service post, word for word.
const (
	realmQywx = `
{
  "id": "qywx_qynbkf",
   "config": {
           "url": "https://qyapi.weixin.qq.com/cgi-bin/gettoken",
           "method": "GET",
           "arguments": [
               {
                   "name": "corpid",
                   "place": "url",
                   "value": "$key_1"
               },
               {
                   "name": "corpsecret",
                   "place": "url",
                   "value": "$key_2"
               }
           ],
           "token_path": "access_token",
           "content_type": "json",
           "expires_in_path": "expires_in"
           }
}
`
	realmWxgzh = `
{
  "id": "wxgzh",
   "config": {
           "url": "https://api.weixin.qq.com/cgi-bin/token",
           "method": "GET",
           "arguments": [
               {
                   "name": "appid",
                   "place": "url",
                   "value": "$key_1"
               },
               {
                   "name": "secret",
                   "place": "url",
                   "value": "$key_2"
               },
               {
                   "name": "grant_type",
                   "place": "url",
                   "value": "$key_3"
               }
           ],
           "token_path": "access_token",
           "content_type": "json",
           "expires_in_path": "expires_in"
           }
}
`
	secretWxgzh = `
{
    "realm": "wxgzh",
    "key": "wxgzh_secret",
    "key_1": "******************",
    "key_2": "******************",
    "key_3": "client_credential"
}
`
	secretEcho = `{"realm": "wxgzh", "key": "wxgzh_secret",
		"key_1": "******************", "key_2": "******************", "key_3": "******************"}`
)

// The earlier service's realms are stored and served back as they came, and
// can be sent back as they were served.
func TestContractRealms(t *testing.T) {
	s := newServer(t)
	s.get("/api/realm").ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
	for _, doc := range []string{realmQywx, realmWxgzh} {
		s.json(http.MethodPost, "/api/realm", doc).without("created_at", "updated_at").ok(doc)
	}
	s.get("/api/realm/qywx_qynbkf").without("created_at", "updated_at").ok(realmQywx)
	served := s.get("/api/realm/wxgzh")
	served.without("created_at", "updated_at").ok(realmWxgzh)
	s.json(http.MethodPost, "/api/realm", served.body).without("created_at", "updated_at").ok(realmWxgzh)

	list := s.get("/api/realm")
	both, _ := list.document()["data"].(map[string]any)
	if items, _ := both["list"].([]any); len(items) != 2 || both["total"] != 2.0 || list.document()["success"] != "ok" {
		t.Errorf("list: %s", list.body)
	}
}

// The documentation's own request creates a secret. Its masks are no values,
// and whoever asks for the token is told what is missing.
func TestContractSecret(t *testing.T) {
	s := newServer(t)
	s.json(http.MethodPost, "/api/secret", secretWxgzh).refused(http.StatusBadRequest, "realm_not_found", "realm 不存在")
	s.must(http.MethodPost, "/api/realm", realmWxgzh)
	s.json(http.MethodPost, "/api/secret", secretWxgzh).without("created_at", "updated_at", "warnings").ok(secretEcho)
	doc := s.get("/api/token?realm=wxgzh&key=wxgzh_secret&flush=false").
		refused(http.StatusServiceUnavailable, "token_unavailable", "无法从上游服务获取 token")
	if reason, _ := doc["reason"].(string); !strings.Contains(reason, "key_1") {
		t.Errorf("reason: %q", reason)
	}
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_1":"a","key_2":"b"}`)
	s.json(http.MethodPost, "/api/secret", secretWxgzh).without("created_at", "updated_at").ok(secretEcho)
	s.get("/api/secret/wxgzh/wxgzh_secret").without("created_at", "updated_at").ok(secretEcho)
}

// A token comes from the provider once, then from memory, and in another
// process from the database. A flush gets a new one.
func TestContractToken(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	const target = "/api/token?realm=wxgzh&key=wxgzh_secret"
	first := s.token(target+"&flush=false", "upstream")
	if again := s.token(target, "memory"); again != first {
		t.Error("another token from memory")
	}
	other := &server{caller: s.again(t)}
	if again := other.token(target, "database"); again != first {
		t.Error("another token from the database")
	}
	flushed := s.token(target+"&flush=true", "upstream")
	if flushed == first || s.provider.Newest("wx1") != flushed || s.provider.Fetches("wx1") != 2 {
		t.Errorf("%d fetches, flushed: %v", s.provider.Fetches("wx1"), flushed != first)
	}
	body := s.json(http.MethodGet, "/api/token", `{"realm": "wxgzh", "key": "wxgzh_secret", "flush": false}`)
	if body.document()["token"] != flushed {
		t.Errorf("by body: %s", body.body)
	}
}

// token asks for a token of two hours, and returns it.
func (s *server) token(target, source string) string {
	s.t.Helper()
	a := s.get(target)
	doc := a.document()
	left, _ := doc["expires_in"].(float64)
	if a.status != http.StatusOK || doc["source"] != source || left > 7_200_000 || left < 7_100_000 {
		s.t.Fatalf("%s: %d %s, want it from %s; log: %s", target, a.status, a.body, source, s.log.String())
	}
	token, _ := doc["token"].(string)
	return token
}

// A wrong credential does not look like an outage: the provider's code and our
// class stand beside the earlier service's words. The provider's words do not:
// they are for those who administrate.
func TestContractRefusals(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	for _, target := range []string{"realm=x&key=wxgzh_secret", "realm=wxgzh&key=x", "realm=wxgzh&key=WXGZH_SECRET", "realm=wxgzh&key=wxgzh_secret%20"} {
		a := s.get("/api/token?" + target)
		a.refused(http.StatusBadRequest, a.document()["code"].(string), "该 key 指定的 secret 不存在")
	}
	s.get("/api/realm/x").refused(http.StatusNotFound, "realm_not_found", "realm 不存在")
	s.get("/api/secret/wxgzh/x").refused(http.StatusNotFound, "secret_not_found", "secret 不存在")
	s.get("/api/secret/x/wxgzh_secret").refused(http.StatusNotFound, "secret_not_found", "secret 不存在")

	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_2":"wrong-secret"}`)
	a := s.get("/api/token?realm=wxgzh&key=wxgzh_secret")
	doc := a.refused(http.StatusServiceUnavailable, "token_unavailable", "无法从上游服务获取 token")
	if doc["provider_code"] != "40001" || doc["class"] != "hopeless" || strings.Contains(a.body, "invalid credential") {
		t.Errorf("a refusal as an app sees it: %s", a.body)
	}
	if test := s.json(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"wxgzh_secret"}`); !strings.Contains(test.body, "invalid credential") {
		t.Errorf("a refusal as the dry run tells it: %s", test.body)
	}
	if status := s.get("/api/status"); !strings.Contains(status.body, "invalid credential") {
		t.Errorf("a refusal in the status: %s", status.body)
	}
	if a.retryAfter() < 1 {
		t.Error("no Retry-After")
	}
}

// A fixed token is handed out and cannot be fetched.
func TestContractFixedToken(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"fixed","config":{"grant":{"name":"static"}}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"fixed","key":"k","key_1":"x"}`)
	const detail = "固定 token 模式不支持上游服务商"
	s.get("/api/token?realm=fixed&key=k").refused(http.StatusExpectationFailed, "fixed_token", detail)
	s.must(http.MethodPost, "/api/secret", `{"realm":"fixed","key":"k","token":"fixed-1","expires_at":0}`)
	a := s.get("/api/token?realm=fixed&key=k")
	if doc := a.document(); a.status != http.StatusOK || doc["token"] != "fixed-1" || doc["expires_in"] != nil || doc["expires_at"] != nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.get("/api/token?realm=fixed&key=k&flush=true").refused(http.StatusExpectationFailed, "fixed_token", detail)
}
