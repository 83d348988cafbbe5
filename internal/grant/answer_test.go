package grant

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

const plainRealm = `{"url":"@/t","token_path":"access_token","expires_in_path":"expires_in"}`

// fetchFrom fetches once from a provider that gives the answer.
func fetchFrom(t *testing.T, config string, answer http.HandlerFunc) (Result, *Error) {
	t.Helper()
	p := newProvider(t, answer)
	b := bind(t, realmOf(t, config, p.URL), map[string]string{"appsecret": "SECRET-a/b+c"})
	got, err := b.Fetch(context.Background(), testClient(t), Request{})
	if len(p.requests) != 1 {
		t.Errorf("%d requests were sent", len(p.requests))
	}
	if err == nil {
		return got, nil
	}
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("error %T", err)
	}
	return got, failed
}

// TestAnswersRead has a line for every readable form of an answer that some
// provider gives.
func TestAnswersRead(t *testing.T) {
	deep := strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000)
	for _, c := range []struct {
		name, config, contentType, body string
		status                          int
		token                           string
	}{
		{"JSON", plainRealm, "application/json", goodAnswer, 200, "TOKEN-0123456789"},
		{"JSON as text", plainRealm, "text/plain", goodAnswer, 200, "TOKEN-0123456789"},
		{"JSON as HTML", plainRealm, "text/html; charset=gbk", goodAnswer, 200, "TOKEN-0123456789"},
		{"JSON as form", plainRealm, "application/x-www-form-urlencoded", goodAnswer, 200, "TOKEN-0123456789"},
		{"201 (GitHub)", plainRealm, "", goodAnswer, 201, "TOKEN-0123456789"},
		{"a byte order mark", plainRealm, "", "\xef\xbb\xbf" + goodAnswer, 200, "TOKEN-0123456789"},
		{"blanks around", plainRealm, "", " \r\n" + goodAnswer + "\n", 200, "TOKEN-0123456789"},
		{"a number", plainRealm, "", `{"access_token":12345678901234567890}`, 200, "12345678901234567890"},
		{"escapes", plainRealm, "", `{"access\u005ftoken":"a\/b\u00e9"}`, 200, "a/bé"},
		{"nested (Douyin)", `{"url":"@","token_path":"data.access_token"}`, "", `{"data":{"access_token":"T"},"access_token":"no"}`, 200, "T"},
		{"indexed", `{"url":"@","token_path":"items.1.token"}`, "", `{"items":[{"token":"no"},{"token":"T"}]}`, 200, "T"},
		{"an array on top", `{"url":"@","token_path":"0.t"}`, "", `[{"t":"T"}]`, 200, "T"},
		{"a dot in the name", `{"url":"@","token_path":"a\\.b.c"}`, "", `{"a.b":{"c":"T"},"a":{"b":{"c":"no"}}}`, 200, "T"},
		{"names that mean something to gjson", `{"url":"@","token_path":"#.*.\u0040this.a|b"}`, "", `{"#":{"*":{"@this":{"a|b":"T"}}}}`, 200, "T"},
		{"deep nesting elsewhere", plainRealm, "", `{"x":` + deep + `,"access_token":"T"}`, 200, "T"},
		{"a doubled name elsewhere", plainRealm, "", `{"x":1,"x":2,"access_token":"T","y":{"access_token":"no"}}`, 200, "T"},
		{"form", `{"url":"@","method":"POST","content_type":"form","token_path":"access_token"}`, "text/plain", "access_token=a%2Fb&scope=x+y", 200, "a/b"},
		{"form asked, JSON given", `{"url":"@","method":"POST","content_type":"form","token_path":"access_token"}`, "", goodAnswer, 200, "TOKEN-0123456789"},
		{"text body sent, JSON answered", `{"url":"@","content_type":"text","token_path":"access_token"}`, "", goodAnswer, 200, "TOKEN-0123456789"},
		{"text", `{"url":"@","content_type":"text"}`, "text/html", "\xef\xbb\xbf  TOKEN.a-b_c=  \r\n", 200, "TOKEN.a-b_c="},
		{"text as a JSON string", `{"url":"@","content_type":"text"}`, "application/json", "\xef\xbb\xbf \"eyJhbGciOi.a\\/b\" \n", 200, "eyJhbGciOi.a/b"},
		{"text with half a quote", `{"url":"@","content_type":"text"}`, "", `"a`, 200, `"a`},
		{"text that is a number", `{"url":"@","content_type":"text"}`, "", `0123`, 200, `0123`},
		{"the root", `{"url":"@","token_path":"$"}`, "text/plain", " \"eyJhbGciOi.a\\/b\"\n", 200, "eyJhbGciOi.a/b"},
		{"the root, a number", `{"url":"@","token_path":"$"}`, "", `12345678901234567890`, 200, "12345678901234567890"},
		{"the root, and content_type text", `{"url":"@","content_type":"text","token_path":"$"}`, "", `"T"`, 200, "T"},
		{"errcode 0", `{"url":"@","token_path":"t","success":[{"json":"errcode","values":[0],"absent":true}]}`, "", `{"errcode":0,"errmsg":"ok","t":"T"}`, 200, "T"},
		{"errcode absent", `{"url":"@","token_path":"t","success":[{"json":"errcode","values":[0],"absent":true}]}`, "", `{"t":"T"}`, 200, "T"},
		{"errcode null", `{"url":"@","token_path":"t","success":[{"json":"errcode","values":[0],"absent":true}]}`, "", `{"errcode":null,"t":"T"}`, 200, "T"},
		{"errcode as a string", `{"url":"@","token_path":"t","success":[{"json":"errcode","values":[0]}]}`, "", `{"errcode":"0","t":"T"}`, 200, "T"},
		{"result 1 (Kuaishou)", `{"url":"@","token_path":"t","success":[{"json":"result","values":[1]}]}`, "", `{"result":1,"t":"T"}`, 200, "T"},
		{"ok true (Slack)", `{"url":"@","token_path":"t","success":[{"json":"ok","values":[true]}]}`, "", `{"ok":true,"t":"T"}`, 200, "T"},
		{"data.error_code (Douyin)", `{"url":"@","token_path":"data.t","success":[{"json":"data.error_code","values":[0]}]}`, "", `{"data":{"error_code":0,"t":"T"}}`, 200, "T"},
		{"a path that must exist", `{"url":"@","token_path":"t","success":[{"json":"t"}]}`, "", `{"t":"T"}`, 200, "T"},
		{"a status of the realm's", `{"url":"@","token_path":"t","success":[{"status":[400,200]}]}`, "", `{"t":"T"}`, 400, "T"},
		{"a status, and then another rule", `{"url":"@","token_path":"t","success":[{"status":[400]},{"json":"t"}]}`, "", `{"t":"T"}`, 400, "T"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, failed := fetchFrom(t, c.config, answering(c.status, c.contentType, c.body))
			if failed != nil {
				t.Fatal(failed)
			}
			if got.Token.Access.Reveal() != c.token {
				t.Errorf("token %q, want %q", got.Token.Access.Reveal(), c.token)
			}
		})
	}
}

// TestAnswersRefused has a line for every answer that gives no token, with
// the class and the words of the provider.
func TestAnswersRefused(t *testing.T) {
	const rule0 = `{"url":"@","token_path":"access_token","success":[{"json":"errcode","values":[0],"absent":true}]}`
	const text = `{"url":"@","content_type":"text"}`
	const root = `{"url":"@","token_path":"$"}`
	for _, c := range []struct {
		name, config string
		status       int
		body         string
		kind         Kind
		class        Class
		code, msg    string
	}{
		{"the root of an object", root, 200, `{"access_token":"T"}`, KindBadResponse, Retryable, "", ""},
		{"the root of a list", root, 200, `["T"]`, KindBadResponse, Retryable, "", ""},
		{"the root of a refusal", root, 200, `{"errcode":40013,"errmsg":"invalid appid"}`, KindRefused, Hopeless, "40013", "invalid appid"},
		{"the root of a refusal with a status", root, 401, `"wrong password"`, KindRefused, Hopeless, "", ""},
		{"the root of a text", root, 200, `eyJhbGciOi`, KindBadResponse, Retryable, "", ""},
		{"an empty root", root, 200, `""`, KindBadResponse, Retryable, "", ""},
		{"an empty JSON string for a text", text, 200, `" "`, KindBadResponse, Retryable, "", ""},
		{"a sentence in quotes for a text", text, 200, `"wrong password"`, KindBadResponse, Retryable, "", ""},
		{"a document in quotes for a text", text, 200, `"{\"a\":1}"`, KindBadResponse, Retryable, "", ""},
		{"a control character in quotes for a text", text, 200, `"a\u0000"`, KindBadResponse, Retryable, "", ""},
		{"empty", plainRealm, 200, "", KindBadResponse, Retryable, "", ""},
		{"blank", plainRealm, 200, " \n", KindBadResponse, Retryable, "", ""},
		{"204", plainRealm, 204, "", KindBadResponse, Retryable, "", ""},
		{"garbage", plainRealm, 200, "\x00\x01\x02", KindBadResponse, Retryable, "", ""},
		{"HTML", plainRealm, 200, "<!DOCTYPE html><p>access_token", KindBadResponse, Retryable, "", ""},
		{"cut off", plainRealm, 200, `{"access_token":"T"`, KindBadResponse, Retryable, "", ""},
		{"two documents", plainRealm, 200, goodAnswer + goodAnswer, KindBadResponse, Retryable, "", ""},
		{"invalid UTF-8", plainRealm, 200, "{\"access_token\":\"T\xff\"}", KindBadResponse, Retryable, "", ""},
		{"GBK", plainRealm, 200, "{\"m\":\"\xd6\xd0\",\"access_token\":\"T\"}", KindBadResponse, Retryable, "", ""},
		{"UTF-16", plainRealm, 200, "\xff\xfe{\x00}\x00", KindBadResponse, Retryable, "", ""},
		{"a doubled token", plainRealm, 200, `{"access_token":"a","access_token":"b"}`, KindBadResponse, Retryable, "", ""},
		{"a doubled token in other spelling", plainRealm, 200, `{"access_token":"a","access\u005ftoken":"b"}`, KindBadResponse, Retryable, "", ""},
		{"a doubled expiry", plainRealm, 200, `{"access_token":"a","expires_in":1,"expires_in":2}`, KindBadResponse, Retryable, "", ""},
		{"a doubled errcode", rule0, 200, `{"access_token":"a","errcode":0,"errcode":1}`, KindBadResponse, Retryable, "", ""},
		{"a doubled token beside words", plainRealm, 200, `{"access_token":"a","access_token":"b","errcode":40013}`, KindBadResponse, Retryable, "", ""},
		{"a doubled form field", `{"url":"@","method":"POST","content_type":"form","token_path":"t"}`, 200, `t=1&t=2`, KindBadResponse, Retryable, "", ""},
		{"nesting without end", plainRealm, 200, strings.Repeat(`{"a":`, 200_000), KindBadResponse, Retryable, "", ""},
		{"closed nesting without end", plainRealm, 200, strings.Repeat(`[`, 400_000) + strings.Repeat(`]`, 400_000), KindBadResponse, Retryable, "", ""},
		{"no token", plainRealm, 200, `{"token":"T"}`, KindBadResponse, Retryable, "", ""},
		{"a null token", plainRealm, 200, `{"access_token":null}`, KindBadResponse, Retryable, "", ""},
		{"an empty token", plainRealm, 200, `{"access_token":""}`, KindBadResponse, Retryable, "", ""},
		{"an object for a token", plainRealm, 200, `{"access_token":{}}`, KindBadResponse, Retryable, "", ""},
		{"true for a token", plainRealm, 200, `{"access_token":true}`, KindBadResponse, Retryable, "", ""},
		{"a header in the token", plainRealm, 200, `{"access_token":"a\r\nX: y"}`, KindBadResponse, Retryable, "", ""},
		{"NUL in the token", plainRealm, 200, `{"access_token":"a\u0000"}`, KindBadResponse, Retryable, "", ""},
		{"DEL in the token", plainRealm, 200, `{"access_token":"a\u007f"}`, KindBadResponse, Retryable, "", ""},
		{"a long token", plainRealm, 200, `{"access_token":"` + strings.Repeat("a", maxToken+1) + `"}`, KindBadResponse, Retryable, "", ""},
		{"JSON as the text", text, 200, `{"errcode":40013,"errmsg":"invalid appid"}`, KindRefused, Hopeless, "40013", "invalid appid"},
		{"HTML as the text", text, 200, `<p>x</p>`, KindBadResponse, Retryable, "", ""},
		{"a sentence as the text", text, 200, `invalid credentials`, KindBadResponse, Retryable, "", ""},
		{"no text", text, 200, " ", KindBadResponse, Retryable, "", ""},
		{"text with control characters", text, 200, "a\x00b", KindBadResponse, Retryable, "", ""},

		{"WeChat 40001", rule0, 200, `{"errcode":40001,"errmsg":"invalid credential"}`, KindRefused, Hopeless, "40001", "invalid credential"},
		{"WeChat 40013 without a rule", plainRealm, 200, `{"errcode":40013,"errmsg":"invalid appid"}`, KindRefused, Hopeless, "40013", "invalid appid"},
		{"WeChat 40125", rule0, 200, `{"errcode":40125,"errmsg":"invalid appsecret"}`, KindRefused, Hopeless, "40125", "invalid appsecret"},
		{"WeChat 40243", rule0, 200, `{"errcode":40243,"errmsg":"frozen"}`, KindRefused, Hopeless, "40243", "frozen"},
		{"WeChat 45009", rule0, 200, `{"errcode":45009,"errmsg":"reach max api daily quota limit"}`, KindRefused, Throttled, "45009", "reach max api daily quota limit"},
		{"WeChat 45011", rule0, 200, `{"errcode":45011,"errmsg":"minute"}`, KindRefused, Throttled, "45011", "minute"},
		{"WeChat -1", rule0, 200, `{"errcode":-1,"errmsg":"system error"}`, KindRefused, Retryable, "-1", "system error"},
		{"an errcode beside a token", rule0, 200, `{"errcode":-1,"access_token":"T"}`, KindRefused, Retryable, "-1", ""},
		{"DingTalk 88", rule0, 200, `{"errcode":88,"errmsg":"x","sub_code":"60011","sub_msg":"no permission"}`, KindRefused, Retryable, "60011", "no permission"},
		{"Douyin 10013", `{"url":"@","token_path":"data.access_token"}`, 200, `{"data":{"error_code":10013,"description":"client_key"},"message":"error"}`, KindRefused, Hopeless, "10013", "client_key"},
		{"Douyin 10020", `{"url":"@","token_path":"data.access_token"}`, 200, `{"data":{"error_code":10020,"description":"often"}}`, KindRefused, Throttled, "10020", "often"},
		{"Kuaishou", `{"url":"@","token_path":"t","success":[{"json":"result","values":[1]}]}`, 200, `{"result":100200100,"error_msg":"app"}`, KindRefused, Hopeless, "100200100", "app"},
		{"Slack", `{"url":"@","token_path":"t","success":[{"json":"ok","values":[true]}]}`, 200, `{"ok":false,"error":"invalid_client"}`, KindRefused, Hopeless, "invalid_client", ""},
		{"PDD", plainRealm, 200, `{"error_response":{"error_code":10019,"error_msg":"sign"}}`, KindRefused, Retryable, "10019", "sign"},
		{"Baidu", plainRealm, 401, `{"error":"invalid_client","error_description":"unknown client id"}`, KindRefused, Hopeless, "invalid_client", "unknown client id"},
		{"Feishu", plainRealm, 200, `{"code":10003,"msg":"invalid param"}`, KindRefused, Retryable, "10003", "invalid param"},
		{"DingTalk new", plainRealm, 400, `{"code":"invalidClientIdOrSecret","message":"no"}`, KindRefused, Hopeless, "invalidClientIdOrSecret", "no"},
		{"Google", plainRealm, 403, `{"error":{"code":403,"message":"denied","status":"PERMISSION_DENIED"}}`, KindRefused, Hopeless, "403", "denied"},
		{"Salesforce", plainRealm, 400, `[{"errorCode":"X","message":"m"}]`, KindRefused, Hopeless, "X", "m"},
		{"X", plainRealm, 403, `{"errors":[{"code":99,"message":"Unable to verify"}]}`, KindRefused, Throttled, "99", "Unable to verify"},
		{"GitHub", plainRealm, 401, `{"message":"Bad credentials"}`, KindRefused, Hopeless, "", "Bad credentials"},
		{"slow_down", plainRealm, 400, `{"error":"slow_down"}`, KindRefused, Throttled, "slow_down", ""},
		{"slow_down in capitals and a 200", plainRealm, 200, `{"error":"SLOW_DOWN"}`, KindRefused, Throttled, "SLOW_DOWN", ""},
		{"a broken refusal", plainRealm, 429, strings.Repeat("x", maxAnswer+1), KindRefused, Throttled, "", ""},
		{"temporarily_unavailable", plainRealm, 400, `{"error":"temporarily_unavailable"}`, KindRefused, Throttled, "temporarily_unavailable", ""},
		{"PayPal", plainRealm, 429, `{"name":"RATE_LIMIT_REACHED","message":"m"}`, KindRefused, Throttled, "RATE_LIMIT_REACHED", "m"},
		{"Entra: 429 and no JSON", plainRealm, 429, `slow down`, KindRefused, Throttled, "", ""},
		{"400", plainRealm, 400, ``, KindRefused, Hopeless, "", ""},
		{"401", plainRealm, 401, `<p>`, KindRefused, Hopeless, "", ""},
		{"403", plainRealm, 403, ``, KindRefused, Hopeless, "", ""},
		{"404", plainRealm, 404, ``, KindRefused, Hopeless, "", ""},
		{"405", plainRealm, 405, ``, KindRefused, Hopeless, "", ""},
		{"408", plainRealm, 408, ``, KindRefused, Retryable, "", ""},
		{"410", plainRealm, 410, ``, KindRefused, Hopeless, "", ""},
		{"425", plainRealm, 425, ``, KindRefused, Retryable, "", ""},
		{"500", plainRealm, 500, goodAnswer, KindRefused, Retryable, "", ""},
		{"500 with a credential's error", plainRealm, 500, `{"error":"invalid_client"}`, KindRefused, Retryable, "invalid_client", ""},
		{"502", plainRealm, 502, `<html>`, KindRefused, Retryable, "", ""},
		{"503", plainRealm, 503, ``, KindRefused, Retryable, "", ""},
		{"another status than the rule's", `{"url":"@","token_path":"t","success":[{"status":[201]}]}`, 200, `{"t":"T"}`, KindRefused, Retryable, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, failed := fetchFrom(t, c.config, answering(c.status, "application/json", c.body))
			if failed == nil {
				t.Fatalf("a token %q", got.Token.Access.Reveal())
			}
			if failed.Kind != c.kind || failed.Class != c.class || failed.Status != c.status || failed.ProviderCode != c.code || failed.ProviderMessage != c.msg {
				t.Errorf("error %+v", *failed)
			}
			if failed.Kind == KindBadResponse && !strings.Contains(failed.Detail, "bytes, sha256 ") {
				t.Errorf("detail %q has no digest", failed.Detail)
			}
		})
	}
}

// TestRedaction: a provider that repeats the credential or the token, in any
// encoding, does not get it into an error.
func TestRedaction(t *testing.T) {
	const config = `{"url":"@/t?s={secret.appsecret}","token_path":"access_token","success":[{"json":"errcode","values":[0]}],"arguments":[{"name":"u","place":"basic","value":"$appsecret"}]}`
	secret := "SECRET-a/b+c"
	var forms []string
	for _, name := range []string{"raw", "form", "path", "JSON", "base64", "base64 for URLs"} {
		forms = append(forms, encoders[name](secret, nil), encoders[name]("u:"+secret, nil))
	}
	for _, quoted := range forms {
		body := `{"errcode":1,"access_token":"TOKEN-0123456789","errmsg":"bad \u0007\nsecret ` + quoted + ` and TOKEN-0123456789` + strings.Repeat("é", 300) + `"}`
		_, failed := fetchFrom(t, config, answering(400, "", body))
		if failed == nil {
			t.Fatal("no error")
		}
		text := failed.Error()
		if strings.Contains(text, quoted) || strings.Contains(text, "TOKEN-01") || strings.ContainsAny(text, "\n\a") {
			t.Errorf("error %q", text)
		}
		if n := len([]rune(failed.ProviderMessage)); n != maxWords {
			t.Errorf("%d characters of message", n)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, " 60 ": time.Minute, "999999": 24 * time.Hour, "99999999999999999999": 0,
		"-1": 0, "1.5": 0, "soon": 0, "": 0,
		noon.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		noon.Add(-time.Hour).Format(http.TimeFormat):       0,
		noon.Add(48 * time.Hour).Format(http.TimeFormat):   24 * time.Hour,
	} {
		_, failed := fetchFrom(t, plainRealm, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		if failed == nil || failed.RetryAfter != want || failed.Class != Throttled {
			t.Errorf("%q: %+v, want %v", value, failed, want)
		}
	}
}

func gzipped(t *testing.T, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestContentEncoding(t *testing.T) {
	good := gzipped(t, []byte(goodAnswer))
	for _, c := range []struct {
		name, encoding string
		body           []byte
		kind           Kind
	}{
		{"gzip", "gzip", good, ""},
		{"x-gzip", " X-GZIP", good, ""},
		{"identity", "identity", []byte(goodAnswer), ""},
		{"gzip and not said", "", good, KindBadResponse},
		{"said and not gzip", "gzip", []byte(goodAnswer), KindBadResponse},
		{"cut gzip", "gzip", good[:len(good)-9], KindBadResponse},
		{"a wrong checksum", "gzip", append(good[:len(good)-1:len(good)-1], 0xff), KindBadResponse},
		{"br", "br", []byte(goodAnswer), KindBadResponse},
		{"gzip twice", "gzip, gzip", gzipped(t, good), KindBadResponse},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, failed := fetchFrom(t, plainRealm, func(w http.ResponseWriter, _ *http.Request) {
				if c.encoding != "" {
					w.Header().Set("Content-Encoding", c.encoding)
				}
				_, _ = w.Write(c.body)
			})
			switch {
			case c.kind == "" && failed != nil:
				t.Error(failed)
			case c.kind != "" && (failed == nil || failed.Kind != c.kind):
				t.Errorf("error %v", failed)
			}
		})
	}
}
