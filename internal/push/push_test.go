package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// vector is a request as another implementation made it, see testdata/vectors.py.
type vector struct{ Encrypted, Body, Signature, Timestamp, Nonce string }

type vectors struct {
	Token, AES            string
	WeChat, WeCom, Feishu map[string]vector
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vectors) keys(receivers ...realm.Hidden) Keys {
	return Keys{Token: realm.Hidden(v.Token), AESKey: realm.Hidden(v.AES), Receivers: receivers}
}

// now is when the vectors were made.
var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// tencent is the request of a vector.
func (v vector) tencent() Request {
	return Request{
		Method: http.MethodPost, Now: now,
		Query: url.Values{"timestamp": {v.Timestamp}, "nonce": {v.Nonce}, "encrypt_type": {"aes"}, "msg_signature": {v.Signature}},
		Body:  []byte("<xml><ToUserName><![CDATA[x]]></ToUserName><Encrypt><![CDATA[" + v.Encrypted + "]]></Encrypt></xml>"),
	}
}

func (v vector) feishu() Request {
	h := http.Header{}
	for name, value := range map[string]string{"Timestamp": v.Timestamp, "Nonce": v.Nonce} {
		h.Set("X-Lark-Request-"+name, value)
	}
	h.Set("X-Lark-Signature", v.Signature)
	return Request{Method: http.MethodPost, Now: now, Header: h, Body: []byte(v.Body)}
}

// wantRefused expects a refusal for this reason.
func wantRefused(t *testing.T, what string, a Answer, err error, why string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), why) || a.Field != "" || a.Body != nil {
		t.Errorf("%s: %+v, %v, want %q", what, a, err, why)
	}
}

func wantTicket(t *testing.T, what string, a Answer, err error, field, value string, life time.Duration, body string) {
	t.Helper()
	if err != nil || a.Field != field || a.Value.Reveal() != value || a.Life != life || string(a.Body) != body {
		t.Errorf("%s: field %q, life %s, body %q, %v", what, a.Field, a.Life, a.Body, err)
	}
}

func TestWeChat(t *testing.T) {
	v := readVectors(t)
	keys := v.keys("of another field", "wxcomponent1")
	a, err := Read(realm.PushWeChat, keys, v.WeChat["ticket"].tencent())
	wantTicket(t, "ticket", a, err, "component_verify_ticket", "ticket@@@wechat-1", 12*time.Hour, "success")
	a, err = Read(realm.PushWeChat, keys, v.WeChat["other event"].tencent())
	wantTicket(t, "other event", a, err, "", "", 0, "success")
	for name, why := range map[string]string{"another app": "another app", "no xml": "no XML", "a document type": "document type"} {
		a, err := Read(realm.PushWeChat, keys, v.WeChat[name].tencent())
		wantRefused(t, name, a, err, why)
	}
	echo := v.WeCom["echo"].tencent()
	echo.Method = http.MethodGet
	a, err = Read(realm.PushWeChat, keys, echo)
	wantRefused(t, "GET", a, err, "not POST")
}

func TestWeCom(t *testing.T) {
	v := readVectors(t)
	keys := v.keys("ww4asffe99e54c0f", "wwcorp")
	a, err := Read(realm.PushWeCom, keys, v.WeCom["ticket"].tencent())
	wantTicket(t, "ticket", a, err, "suite_ticket", "ticket-wecom-1", 30*time.Minute, "success")
	a, err = Read(realm.PushWeCom, keys, v.WeCom["no ticket"].tencent())
	wantRefused(t, "no ticket", a, err, "no ticket")

	echo := v.WeCom["echo"].tencent()
	echo.Method, echo.Body = http.MethodGet, nil
	echo.Query.Set("echostr", v.WeCom["echo"].Encrypted)
	a, err = Read(realm.PushWeCom, keys, echo)
	wantTicket(t, "echo", a, err, "", "", 0, "1616140317555161061")
	echo.Query.Set("nonce", "another")
	a, err = Read(realm.PushWeCom, keys, echo)
	wantRefused(t, "echo, altered", a, err, "signature")
}

// TestOfficialSamples: what the providers' own samples say (WXBizMsgCrypt, and the
// page on encrypted events of Feishu).
func TestOfficialSamples(t *testing.T) {
	keys := Keys{Token: "QDG6eK", AESKey: "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", Receivers: []realm.Hidden{"wx5823bf96d3bd56c7"}}
	const echo = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
	a, err := Read(realm.PushWeCom, keys, Request{
		Method: http.MethodGet, Now: time.Unix(1409659589, 0),
		Query: url.Values{
			"msg_signature": {"5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"}, "timestamp": {"1409659589"}, "nonce": {"263014780"}, "echostr": {echo},
		},
	})
	wantTicket(t, "echo", a, err, "", "", 0, "1616140317555161061")
	const message = "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvuJTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q=="
	r := vector{Encrypted: message, Signature: "477715d11cdb4164915debcba66cb864d751f3e6", Timestamp: "1409659813", Nonce: "1372623149"}.tencent()
	r.Now = time.Unix(1409659813, 0)
	plain, err := open(keys, r, message)
	if err != nil || !strings.Contains(string(plain), "<FromUserName><![CDATA[mycreate]]></FromUserName>") {
		t.Errorf("message: %q, %v", plain, err)
	}
	sample, err := openFeishu(Keys{AESKey: "test key"}, Request{Body: []byte(`{"encrypt":"P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="}`)})
	if err != nil || string(sample) != "hello world" {
		t.Errorf("Feishu: %q, %v", sample, err)
	}
}

func TestFeishu(t *testing.T) {
	v := readVectors(t)
	keys := v.keys("cli_1")
	for name, ticket := range map[string]string{"ticket": "ticket-feishu-1", "second form": "ticket-feishu-2"} {
		a, err := Read(realm.PushFeishu, keys, v.Feishu[name].feishu())
		wantTicket(t, name, a, err, "app_ticket", ticket, 12*time.Hour, "{}")
	}
	a, err := Read(realm.PushFeishu, keys, v.Feishu["other event"].feishu())
	wantTicket(t, "other event", a, err, "", "", 0, "{}")
	challenge := v.Feishu["challenge"].feishu()
	for range 2 { // with and without a signature
		a, err = Read(realm.PushFeishu, keys, challenge)
		wantTicket(t, "challenge", a, err, "", "", 0, `{"challenge":"c-1"}`)
		challenge.Header = http.Header{}
	}
	for name, why := range map[string]string{"another app": "another app", "wrong token": "verification token"} {
		a, err := Read(realm.PushFeishu, keys, v.Feishu[name].feishu())
		wantRefused(t, name, a, err, why)
	}
	unsigned := v.Feishu["ticket"].feishu()
	unsigned.Header = http.Header{}
	a, err = Read(realm.PushFeishu, keys, unsigned)
	wantRefused(t, "unsigned", a, err, "not signed")

	// Without an encrypt key the token proves it; with one, nothing else does.
	const clear = `{"token":"push-token-1","type":"event_callback","event":{"app_id":"cli_1","app_ticket":"clear","type":"app_ticket"}}`
	open := Keys{Token: keys.Token, Receivers: keys.Receivers}
	r := Request{Method: http.MethodPost, Now: now, Header: http.Header{}, Body: []byte(clear)}
	a, err = Read(realm.PushFeishu, open, r)
	wantTicket(t, "in clear", a, err, "app_ticket", "clear", 12*time.Hour, "{}")
	a, err = Read(realm.PushFeishu, keys, r)
	wantRefused(t, "in clear, with a key", a, err, "not encrypted")
	for name, body := range map[string]string{
		"no token":    strings.Replace(clear, "push-token-1", "", 1),
		"wrong token": strings.Replace(clear, "push-token-1", "push-token-2", 1),
	} {
		r.Body = []byte(body)
		a, err = Read(realm.PushFeishu, open, r)
		wantRefused(t, name, a, err, "verification token")
	}
}

// TestAltered: nothing of a request can be changed, and no secret that lacks
// something takes one.
func TestAltered(t *testing.T) {
	v := readVectors(t)
	for format, c := range map[string]struct {
		request  func() Request
		receiver realm.Hidden
	}{
		realm.PushWeChat: {v.WeChat["ticket"].tencent, "wxcomponent1"},
		realm.PushWeCom:  {v.WeCom["ticket"].tencent, "ww4asffe99e54c0f"},
		realm.PushFeishu: {v.Feishu["ticket"].feishu, "cli_1"},
	} {
		keys := v.keys(c.receiver)
		for name, alter := range map[string]func(r *Request, k *Keys){
			"too late":        func(r *Request, _ *Keys) { r.Now = now.Add(Window + time.Second) },
			"too early":       func(r *Request, _ *Keys) { r.Now = now.Add(-Window - time.Second) },
			"another method":  func(r *Request, _ *Keys) { r.Method = http.MethodPut },
			"no body":         func(r *Request, _ *Keys) { r.Body = nil },
			"another token":   func(_ *Request, k *Keys) { k.Token = "x" },
			"no token":        func(_ *Request, k *Keys) { k.Token = "" },
			"another key":     func(_ *Request, k *Keys) { k.AESKey = "bbcdefghijklmnopqrstuvwxyz0123456789ABCDEFG" },
			"no key":          func(_ *Request, k *Keys) { k.AESKey = "" },
			"a short key":     func(_ *Request, k *Keys) { k.AESKey = "abc" },
			"no receiver":     func(_ *Request, k *Keys) { k.Receivers = nil },
			"empty receiver":  func(_ *Request, k *Keys) { k.Receivers = []realm.Hidden{""} },
			"other timestamp": func(r *Request, _ *Keys) { r.set("timestamp", "X-Lark-Request-Timestamp", "1795341601") },
			"other nonce":     func(r *Request, _ *Keys) { r.set("nonce", "X-Lark-Request-Nonce", "n") },
			"other signature": func(r *Request, _ *Keys) {
				r.set("msg_signature", "X-Lark-Signature", "0123456789012345678901234567890123456789")
			},
			"no signature": func(r *Request, _ *Keys) { r.set("msg_signature", "X-Lark-Signature", "") },
		} {
			r, k := c.request(), keys
			alter(&r, &k)
			a, err := Read(format, k, r)
			wantRefused(t, format+", "+name, a, err, "")
		}
		whole := c.request().Body
		for i := range whole {
			r := c.request()
			r.Body[i] ^= 1
			if a, err := Read(format, keys, r); err == nil && (format == realm.PushFeishu || string(a.Value) == "") {
				t.Errorf("%s: byte %d can be changed", format, i)
			}
		}
	}
	if a, err := Read("", v.keys(), Request{}); err == nil {
		t.Errorf("without a format: %+v", a)
	}
}

func (r *Request) set(parameter, field, value string) {
	if r.Query != nil {
		r.Query.Set(parameter, value)
	} else {
		r.Header.Set(field, value)
	}
}

func TestParseXML(t *testing.T) {
	for text, want := range map[string]string{
		"<xml><a>1</a><b><![CDATA[<2>]]></b></xml>":                 "map[a:1 b:<2>]",
		"<?xml version=\"1.0\"?>\n<xml>\n <a> &lt;1 </a>\n</xml>\n": "map[a: <1 ]",
		"<xml><a>1<c>2</c>3</a><b>4</b></xml>":                      "map[b:4]",
		"<xml><a>1</a><a>2</a></xml>":                               "",
		"<xml><a>&e;</a></xml>":                                     "",
		"<!DOCTYPE xml><xml><a>1</a></xml>":                         "",
		"<xml><a>1</a>":                                             "",
		"<xml></xml>":                                               "",
		"":                                                          "",
		"<xml><a>1</a></xml><":                                      "",
		"<?xml version=\"1.0\" encoding=\"gbk\"?><xml><a>1</a></xml>": "",
		"<xml>" + strings.Repeat("<a>", 20000) + "</xml>":             "",
		"<xml>" + many(maxElements) + "</xml>":                        "map",
		"<xml>" + many(maxElements+1) + "</xml>":                      "",
	} {
		got, err := parseXML([]byte(text))
		if (err != nil) != (want == "") || err == nil && !strings.HasPrefix(fmt.Sprint(got), want) {
			t.Errorf("%.60q: %v, %v", text, got, err)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<e%d>1</e%[1]d>", i)
	}
	return b.String()
}

// FuzzRead: whatever is sent, there is no panic, and nothing is taken that was not
// signed.
func FuzzRead(f *testing.F) {
	v := readVectors(f)
	f.Add("feishu", []byte(v.Feishu["ticket"].Body), "a", "1795341600")
	f.Add("wechat", v.WeChat["ticket"].tencent().Body, v.WeChat["ticket"].Signature+"x", "1795341600")
	f.Fuzz(func(t *testing.T, format string, body []byte, signature, timestamp string) {
		if signature == v.WeChat["ticket"].Signature || signature == v.Feishu["ticket"].Signature {
			return
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := vector{Signature: signature, Timestamp: timestamp}.feishu()
			r.Query, r.Method, r.Body = vector{Signature: signature, Timestamp: timestamp}.tencent().Query, method, body
			if a, err := Read(format, v.keys("wxcomponent1", "ww4asffe99e54c0f", "cli_1"), r); err == nil {
				t.Fatalf("taken: %+v", a)
			}
		}
	})
}
