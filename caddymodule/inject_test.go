package caddymodule

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// placing is a provider that refuses the first token of each realm wherever it is
// asked, and that quotes the request in its answers.
func placing(t *testing.T) *provider {
	p := newProvider(t)
	dead := canary + "-token-1"
	p.api = func(w http.ResponseWriter, r *http.Request) {
		content := &strings.Builder{}
		_ = r.Write(content)
		if strings.Contains(content.String(), dead) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprint(w, content)
	}
	return p
}

// placingSite leads to the realm p.
const placingSite = `
	handle_path /p/* {
		token_proxy {
			realm p
			key main
		}
	}`

// A token in the path of a Telegram bot: without a credential, by a library that
// sends a dummy, and for files; each with a token that turns out to be dead.
func TestInjectPath(t *testing.T) {
	for path, want := range map[string]string{
		"/getMe?a=1":       "GET /bot" + canary + "-token-2/getMe?a=1 ",
		"/botDUMMY/getMe":  "GET /bot" + canary + "-token-2/getMe ",
		"/file/bot/a%2Fb":  "GET /file/bot" + canary + "-token-2/a%2Fb ",
		"/x/%62ot/..y/bot": "GET /bot" + canary + "-token-2/x/%62ot/..y/bot ",
	} {
		t.Run(path, func(t *testing.T) {
			p, i := placing(t), newInstance(t)
			i.load(p.realm("p", "inject path bot\ninject path file/bot\nrenew_on status 401"), placingSite)
			a := i.get("/p" + path)
			if a.StatusCode != http.StatusOK || !strings.HasPrefix(a.body, want) || p.fetches.Load() != 2 {
				t.Errorf("%s, %d token requests\n%s", a.Status, p.fetches.Load(), a.body)
			}
			wantNoToken(t, i)
		})
	}
}

// A token in the body, in a cookie, and in several places at once, each with a
// token that turns out to be dead.
func TestInjectBodyAndCookie(t *testing.T) {
	const second = canary + "-token-2"
	for n, tt := range []struct {
		inject, mediaType, body, want string
	}{
		{"inject body token", "application/x-www-form-urlencoded", "a=1&token=mine", "token=" + second + "&a=1"},
		{"inject body token", "", "", "token=" + second},
		{"inject body auth.key \"Bearer {token}\"", "application/json", `{"a":1,"auth":{"key":0}}`, `{"a":1,"auth":{"key":"Bearer ` + second + `"}}`},
		{"inject cookie SID\ninject query sid", "text/plain", "as it is", "as it is"},
	} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			p, i := placing(t), newInstance(t)
			i.load(p.realm("p", tt.inject+"\nrenew_on status 401"), placingSite)
			header := []string{"Cookie", "sid=mine; a=1"}
			if tt.mediaType != "" {
				header = append(header, "Content-Type", tt.mediaType)
			}
			a := i.do(http.MethodPost, "http://"+i.host+"/p/x", tt.body, header...)
			if a.StatusCode != http.StatusOK || !strings.HasSuffix(a.body, "\r\n\r\n"+tt.want) || p.fetches.Load() != 2 {
				t.Errorf("%s: %s, %d token requests\n%s", tt.inject, a.Status, p.fetches.Load(), a.body)
			}
			if !strings.Contains(a.body, fmt.Sprintf("\r\nContent-Length: %d\r\n", len(tt.want))) {
				t.Errorf("another length:\n%s", a.body)
			}
			if want := "\r\nCookie: SID=" + second + "\r\n"; strings.Contains(tt.inject, "cookie") != strings.Contains(a.body, want) {
				t.Errorf("cookies:\n%s", a.body)
			}
			wantNoToken(t, i)
		})
	}
}

// A signature over the method and the path, made for each request: the one with
// the second token has another signature.
func TestInjectComputed(t *testing.T) {
	p, i := placing(t), newInstance(t)
	i.load(p.realm("p", `inject query access_token
		inject header X-Sign expr "method + path + ':' + hex(hmac('sha256', secret.secret, token + method + path))"
		inject header X-Bad expr "path == '/bad' ? '' : 'good'"
		renew_on status 401`), placingSite)
	a := i.do(http.MethodPut, "http://"+i.host+"/p/a%2Fb?x=1", "body")
	mac := hmac.New(sha256.New, []byte(canary+"-secret"))
	mac.Write([]byte(canary + "-token-2PUT/a%2Fb"))
	if want := "\r\nX-Sign: PUT/a%2Fb:" + hex.EncodeToString(mac.Sum(nil)) + "\r\n"; a.StatusCode != http.StatusOK || !strings.Contains(a.body, want) {
		t.Errorf("%s, want %s\n%s", a.Status, want, a.body)
	}
	a = i.get("/p/bad")
	if code, detail := problemOf(t, a); a.StatusCode != http.StatusBadGateway || code != "token_unavailable" || !strings.Contains(detail, "config.inject[2].expr") {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
	if !strings.Contains(i.log(), "config.inject[2].expr: gives no value") {
		t.Error("the log does not name the field")
	}
	wantNoToken(t, i)
}

// A body that cannot carry the token does not go out.
func TestInjectBodyRefuses(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject body token"), placingSite)
	for body, want := range map[string]string{"application/json": "invalid_field", "text/plain": "unsupported_media_type"} {
		a := i.do(http.MethodPost, "http://"+i.host+"/p/x", "[1]", "Content-Type", body)
		if code, _ := problemOf(t, a); code != want {
			t.Errorf("%s: %s\n%s", body, a.Status, a.body)
		}
	}
	if n := p.calls.Load(); n > 0 {
		t.Errorf("%d requests went out", n)
	}
}

// The rules of a client are asked about the path without the token, so that a
// dummy opens no path that is denied.
func TestInjectPathAsksTheRules(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject path bot")+`
		client c {
			key `+strings.Repeat("k", 32)+`
			allow use p {
				paths /getMe
			}
		}`, proxyMain)
	key := "Bearer " + strings.Repeat("k", 32)
	for path, want := range map[string]int{
		"/getMe": http.StatusOK, "/botX/getMe": http.StatusOK, "/deleteWebhook": http.StatusForbidden, "/botX/deleteWebhook": http.StatusForbidden,
	} {
		if a := i.get("/p"+path, "Authorization", key); a.StatusCode != want {
			t.Errorf("%s: %s\n%s", path, a.Status, a.body)
		}
	}
}

// wantNoToken fails where the log holds a token. At DEBUG, Caddy logs the request
// that the transport was given.
func wantNoToken(t *testing.T, i *instance) {
	t.Helper()
	log := i.log()
	if !strings.Contains(log, "upstream roundtrip") {
		t.Error("the log has no request")
	}
	if strings.Contains(log, canary+"-token") {
		t.Errorf("the log holds a token: %s", around(log))
	}
}
