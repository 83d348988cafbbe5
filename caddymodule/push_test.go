package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	pushToken  = canary + "-push-token"
	pushAESKey = "CANARYaesCANARYaesCANARYaesCANARYaesCANARYa" // 43 characters
)

// pushKeys encrypt and sign as the providers do.
var pushKeys = fakeprovider.PushKeys{Token: pushToken, AESKey: pushAESKey}

// pushed is a request of a provider: what stands behind the path, its body and its
// header fields.
type pushed struct {
	query, body string
	header      []string
}

// ofTencent is a message for an app, as WeChat and WeCom send it, also as the
// echostr of a request that verifies the address.
func ofTencent(receiver, message string) pushed {
	p := pushKeys.Tencent(receiver, message)
	return pushed{query: p.Query + "&echostr=" + url.QueryEscape(p.Encrypted), body: p.Body}
}

// ofFeishu is an event of Feishu.
func ofFeishu(event string) pushed {
	p := pushKeys.Feishu(event)
	var header []string
	for name := range p.Header {
		header = append(header, name, p.Header.Get(name))
	}
	return pushed{body: p.Body, header: header}
}

// pushing is a realm of a format, and how its provider pushes a ticket.
type pushing struct {
	format, field, fields string
	ticket                func(ticket string) pushed
	success               string
}

var pushings = []pushing{
	{"wechat", "component_verify_ticket", "component_appid wx1", func(ticket string) pushed {
		return ofTencent("wx1", "<xml><InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>"+ticket+"</ComponentVerifyTicket></xml>")
	}, "success"},
	{"wecom", "suite_ticket", "suite_id ww1\ncorpid corp1", func(ticket string) pushed {
		return ofTencent("ww1", "<xml><InfoType>suite_ticket</InfoType><SuiteTicket>"+ticket+"</SuiteTicket></xml>")
	}, "success"},
	{"feishu", "app_ticket", "app_id cli_1", func(ticket string) pushed {
		return ofFeishu(`{"token":"` + pushToken + `","type":"event_callback","event":{"type":"app_ticket","app_id":"cli_1","app_ticket":"` + ticket + `"}}`)
	}, "{}"},
}

// ticketProvider gives a token for a ticket, and counts.
func ticketProvider(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.URL.Query().Get("ticket")))
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "T-" + hex.EncodeToString(sum[:8]), "expires_in": 7200})
	}))
	t.Cleanup(s.Close)
	return s
}

func tokenOfTicket(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return "T-" + hex.EncodeToString(sum[:8])
}

// TestPushOfProviders: each provider's own callback brings its ticket, and what
// does not prove itself gets one answer, whatever is wrong with it. No log has the
// ticket, the token or the key.
func TestPushOfProviders(t *testing.T) {
	i := newInstance(t)
	provider := ticketProvider(t)
	var realms, site strings.Builder
	for _, p := range pushings {
		fmt.Fprintf(&realms, `
			realm %[1]s {
				fetch GET %[2]s/token {
					query ticket {secret.%[3]s}
				}
				token_path access_token
				expires_in_path expires_in
				volatile %[3]s
				push %[1]s
				shared {
					push_token %[4]s
				}
				secret main {
					push_aes_key %[5]s
					%[6]s
				}
			}`, p.format, provider.URL, p.field, pushToken, pushAESKey, p.fields)
		fmt.Fprintf(&site, "token_push /%[1]s %[1]s main\n", p.format)
	}
	site.WriteString("token_push /nobody nobody main\n")
	i.load(realms.String(), site.String())
	send := func(method, path string, p pushed) answer {
		return i.do(method, "http://"+i.host+path+p.query, p.body, p.header...)
	}
	for _, p := range pushings {
		path := "/" + p.format
		if a := i.call(http.MethodGet, "/api/token?realm="+p.format+"&key=main", ""); a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, "no current value of the field") {
			t.Errorf("%s: without a ticket: %s %s", p.format, a.Status, a.body)
		}
		ticket := canary + "-ticket-" + p.format
		good := p.ticket(ticket)
		unsigned := good
		unsigned.query, unsigned.header = strings.Replace(good.query, "msg_signature", "x", 1), nil
		large := good
		large.body += strings.Repeat(" ", 64<<10)
		var refusals []string
		for name, a := range map[string]answer{
			"unsigned": send(http.MethodPost, path, unsigned), "empty": send(http.MethodPost, path, pushed{}),
			"PUT": send(http.MethodPut, path, good), "large": send(http.MethodPost, path, large), "HEAD": send(http.MethodHead, path, good),
			"of another realm": send(http.MethodPost, "/nobody", good),
		} {
			if a.StatusCode != http.StatusForbidden || name != "HEAD" && a.body != "Forbidden\n" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s, %s: %s %q", p.format, name, a.Status, a.body)
			}
			a.Header.Del("Date")
			refusals = append(refusals, fmt.Sprint(a.Header))
		}
		if slices.Sort(refusals); len(slices.Compact(refusals)) != 1 {
			t.Errorf("%s: the refusals differ: %v", p.format, refusals)
		}
		if a := send(http.MethodPost, path, good); a.StatusCode != http.StatusOK || a.body != p.success {
			t.Fatalf("%s: %s %s", p.format, a.Status, a.body)
		}
		if a := i.call(http.MethodGet, "/api/token?realm="+p.format+"&key=main", ""); !strings.Contains(a.body, tokenOfTicket(ticket)) {
			t.Errorf("%s: %s %s", p.format, a.Status, a.body)
		}
		if shown := i.must(http.MethodGet, "/api/secret/"+p.format+"/main", ""); !strings.Contains(shown, `"pushed":{"`+p.field+`":`) {
			t.Errorf("%s: %s", p.format, shown)
		}
	}
	echo := ofTencent("corp1", "161614")
	if a := send(http.MethodGet, "/wecom", pushed{query: echo.query}); a.StatusCode != http.StatusOK || a.body != "161614" {
		t.Errorf("the URL of WeCom: %s %s", a.Status, a.body)
	}
	challenge := ofFeishu(`{"token":"` + pushToken + `","type":"url_verification","challenge":"c1"}`)
	if a := send(http.MethodPost, "/feishu", challenge); a.StatusCode != http.StatusOK || a.body != `{"challenge":"c1"}` {
		t.Errorf("the URL of Feishu: %s %s", a.Status, a.body)
	}
	entries := i.must(http.MethodGet, "/api/audit?act=secret.push&result=ok", "")
	if n := strings.Count(entries, `"kind":"system"`); n != len(pushings) || !strings.Contains(entries, `"address":"127.0.0.1"`) {
		t.Errorf("%d entries: %s", n, entries)
	}
	for name, text := range map[string]string{"log": i.log(), "audit": entries} {
		if leaks(text) != nil || strings.Contains(text, pushAESKey) {
			t.Errorf("the %s shows a secret:\n%s", name, around(text))
		}
	}
	if log := i.log(); !strings.Contains(log, "took a pushed value") || !strings.Contains(log, "the signature is wrong") {
		t.Error("the log does not tell what was taken and why not")
	}
}

// TestPushByClient: a client with the right push brings a value of a realm of the
// API, and nobody else does.
func TestPushByClient(t *testing.T) {
	i := newInstance(t)
	provider := ticketProvider(t)
	i.load("allow_private 127.0.0.1", "respond 404")
	i.must(http.MethodPost, "/api/realm", `{"id":"open","config":{"url":"`+provider.URL+`/token?ticket={secret.ticket}","allow_http":true,"token_path":"access_token","volatile":["ticket"]}}`)
	i.must(http.MethodPost, "/api/secret", `{"realm":"open","key":"main","fields":{"appid":"a"}}`)
	keys := map[string]string{}
	for _, right := range []string{"push", "admin"} {
		var made struct{ Key string }
		body := i.must(http.MethodPost, "/api/client", `{"id":"`+right+`","rules":[{"effect":"allow","rights":["`+right+`"],"realms":["open"]}]}`)
		if err := json.Unmarshal([]byte(body), &made); err != nil || made.Key == "" {
			t.Fatal(body)
		}
		keys[right] = made.Key
	}
	push := func(key string) answer {
		return i.do(http.MethodPost, "http://"+i.api+"/api/secret/open/main/push", `{"field":"ticket","value":"t1","expires_in":600}`,
			"Content-Type", "application/json", "Authorization", "Bearer "+key)
	}
	if a := push(keys["admin"]); a.StatusCode != http.StatusForbidden {
		t.Errorf("with the right admin: %s", a.Status)
	}
	if a := push(keys["push"]); a.StatusCode != http.StatusOK {
		t.Errorf("with the right push: %s %s", a.Status, a.body)
	}
	if a := i.call(http.MethodGet, "/api/token?realm=open&key=main", ""); !strings.Contains(a.body, tokenOfTicket("t1")) {
		t.Errorf("%s %s", a.Status, a.body)
	}
}

// TestPushWithoutAFormat: a realm of the Caddyfile that no provider pushes to is a
// mistake, found at the start.
func TestPushWithoutAFormat(t *testing.T) {
	i := newInstance(t)
	err := i.tryLoad("realm a {\nfetch GET https://x.example/t\ntoken_path t\n}", "token_push a main")
	if err == nil || !strings.Contains(err.Error(), "the realm 'a' has no push") {
		t.Errorf("%v", err)
	}
}

// TestPushWithoutTheStore: the provider is told to come again.
func TestPushWithoutTheStore(t *testing.T) {
	away := func(context.Context) error { return tokenstore.ErrUnavailable }
	cache := catalog.NewCache(catalog.Config{Open: away, Now: time.Now, Changed: func(catalog.Change) {}})
	config := realm.Config{
		Recipe:   realm.Recipe{URL: "https://x.example/t?t={secret.component_verify_ticket}", TokenPath: "t"},
		Volatile: []string{"component_verify_ticket"}, Push: realm.PushWeChat,
	}
	ref := realm.Ref{Realm: "wechat", Key: "main"}
	c, err := catalog.New(cache, []catalog.Definition{{Realm: realm.Realm{ID: "wechat", Config: config}, Secrets: []realm.Secret{{
		Ref: ref, Fields: map[string]realm.Hidden{"push_token": pushToken, "push_aes_key": pushAESKey, "component_appid": "wx1", "component_verify_ticket": "first"},
	}}}}, false)
	if err != nil {
		t.Fatal(err)
	}
	p := &Push{Realm: "wechat", Key: "main", catalog: c, log: zap.NewNop(), refusals: zap.NewNop(), slots: make(chan struct{}, 1)}
	good := pushings[0].ticket("ticket")
	for body, want := range map[string]int{good.body: http.StatusServiceUnavailable, "<xml><a>1</a></xml>": http.StatusForbidden} {
		r := httptest.NewRequest(http.MethodPost, "/wechat"+good.query, strings.NewReader(body))
		w := httptest.NewRecorder()
		if err := p.ServeHTTP(w, r, nil); err != nil || w.Code != want || (w.Header().Get("Retry-After") == "1") != (want == http.StatusServiceUnavailable) {
			t.Errorf("%.20s: %v, %d %s", body, err, w.Code, w.Body)
		}
	}
}

// TestPushesOfAFlood: forged requests do not take all of the store, because anybody
// may send them. One that waits for its turn in vain comes again.
func TestPushesOfAFlood(t *testing.T) {
	var asking, most atomic.Int64
	free := make(chan struct{})
	hanging := func(context.Context) error {
		now := asking.Add(1)
		defer asking.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		<-free
		return tokenstore.ErrUnavailable
	}
	c, err := catalog.New(catalog.NewCache(catalog.Config{Open: hanging, Now: time.Now, Changed: func(catalog.Change) {}}), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	p := &Push{Realm: "wechat", Key: "main", catalog: c, log: zap.NewNop(), refusals: zap.NewNop(), slots: make(chan struct{}, pushSlots)}
	send := func(ctx context.Context) int {
		w := httptest.NewRecorder()
		if err := p.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/wechat", strings.NewReader("<xml>")), nil); err != nil {
			t.Error(err)
		}
		return w.Code
	}
	var group sync.WaitGroup
	for range 3 * pushSlots {
		group.Go(func() { send(t.Context()) })
	}
	for asking.Load() < pushSlots {
		runtime.Gosched()
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if code := send(left); code != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", code)
	}
	close(free)
	group.Wait()
	if most.Load() != pushSlots || len(p.slots) != 0 {
		t.Errorf("%d asked the store at once, %d slots are taken", most.Load(), len(p.slots))
	}
}
