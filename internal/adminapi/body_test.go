package adminapi

import (
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A form, and whatever else a page of another site can send without asking,
// is refused; so is a compressed body, which would only look broken.
func TestContentTypes(t *testing.T) {
	for _, tt := range []struct {
		header  []string
		refused bool
	}{
		{[]string{"Content-Type", "application/json"}, false},
		{[]string{"Content-Type", "application/json; charset=utf-8"}, false},
		{[]string{"Content-Type", "Application/JSON;charset=UTF-8"}, false},
		{[]string{"Content-Type", "application/json", "Content-Encoding", "identity"}, false},
		{nil, true},
		{[]string{"Content-Type", ""}, true},
		{[]string{"Content-Type", "application/x-www-form-urlencoded"}, true},
		{[]string{"Content-Type", "multipart/form-data; boundary=x"}, true},
		{[]string{"Content-Type", "text/plain"}, true},
		{[]string{"Content-Type", "text/plain; application/json"}, true},
		{[]string{"Content-Type", "application/jsonx"}, true},
		{[]string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, true},
	} {
		for _, target := range []string{"/api/realm", "/api/realm/a/test", "/api/secret"} {
			p, c := newPuppet(t)
			body := `{"id":"a"}`
			if target != "/api/realm" {
				body = `{"realm":"a","key":"k"}`
			}
			if target == "/api/realm/a/test" {
				body = `{"key":"k"}`
			}
			a := c.send(http.MethodPost, target, strings.NewReader(body), tt.header...)
			if !tt.refused {
				if p.ref.Realm != "a" {
					t.Errorf("%v: %d %s", tt.header, a.status, a.body)
				}
				continue
			}
			a.refused(http.StatusUnsupportedMediaType, "unsupported_media_type", "")
			if p.ref.Realm != "" {
				t.Errorf("%v reached the broker", tt.header)
			}
		}
	}
}

// A DELETE has no body and needs no type; a GET with one may call it anything,
// as curl --data does.
func TestBodiesWithoutType(t *testing.T) {
	p, c := newPuppet(t)
	c.send(http.MethodDelete, "/api/realm/a", nil).ok(`{"success":"ok"}`)
	if p.ref.Realm != "a" {
		t.Errorf("deleted %v", p.ref)
	}
	a := c.send(http.MethodGet, "/api/token", strings.NewReader(`{"realm":"a","key":"k"}`), "Content-Type", "application/x-www-form-urlencoded")
	if a.status != http.StatusOK || p.ref != (realm.Ref{Realm: "a", Key: "k"}) {
		t.Errorf("%v: %s", p.ref, a.body)
	}
}

func TestLargeBodies(t *testing.T) {
	p, c := newPuppet(t)
	frame := `{"id":"a","comment":""}`
	fits := strings.Repeat("x", maxBody-len(frame))
	if a := c.json(http.MethodPost, "/api/realm", `{"id":"a","comment":"`+fits+`"}`); a.status != http.StatusOK {
		t.Errorf("1 MiB: %d", a.status)
	}
	p.ref = realm.Ref{}
	for _, body := range []string{`{"id":"a","comment":"` + fits + `x"}`, strings.Repeat("[", 2<<20), `{"id":"a"}` + strings.Repeat(" ", 2<<20)} {
		c.json(http.MethodPost, "/api/realm", body).refused(http.StatusRequestEntityTooLarge, "too_large", "the body is larger than 1MiB")
		c.json(http.MethodPost, "/api/realm/a/test", body).refused(http.StatusRequestEntityTooLarge, "too_large", "")
		c.json(http.MethodPost, "/api/secret", body).refused(http.StatusRequestEntityTooLarge, "too_large", "")
		c.json(http.MethodGet, "/api/token?realm=a&key=k", body).refused(http.StatusRequestEntityTooLarge, "too_large", "")
	}
	if p.ref.Realm != "" {
		t.Error("a body that is too large reached the broker")
	}
}

// Bodies that are no proper JSON object, on every route that takes one.
func TestBrokenBodies(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":         "",
		"blank":           " ",
		"null":            "null",
		"list":            `[{"id":"a"}]`,
		"text":            `"a"`,
		"cut":             `{"id":"a"`,
		"two":             `{"id":"a"}{"id":"b"}`,
		"rest":            `{"id":"a"}x`,
		"comment":         `{"id":"a"} // wxgzh`,
		"single quotes":   `{'id':'a'}`,
		"not UTF-8":       "{\"id\":\"a\xff\"}",
		"half surrogate":  `{"id":"a\ud800"}`,
		"byte order mark": "\ufeff" + `{"id":"a"}`,
	} {
		t.Run(name, func(t *testing.T) {
			p, c := newPuppet(t)
			for _, target := range []string{"/api/realm", "/api/realm/r/test", "/api/secret"} {
				c.send(http.MethodPost, target, strings.NewReader(body), "Content-Type", "application/json").
					refused(http.StatusBadRequest, "invalid_field", "")
			}
			if strings.TrimSpace(body) != "" { // a GET may come without
				c.json(http.MethodGet, "/api/token?realm=r&key=k", body).refused(http.StatusBadRequest, "invalid_field", "")
			}
			if p.ref.Realm != "" {
				t.Errorf("reached the broker as %v", p.ref)
			}
		})
	}
	p, c := newPuppet(t)
	c.send(http.MethodPost, "/api/realm", iotest.ErrReader(http.ErrBodyReadAfterClose), "Content-Type", "application/json").wrong("")
	if p.ref.Realm != "" {
		t.Error("a body that broke off reached the broker")
	}
}

// Wrong members are named with the path that the caller typed.
func TestWrongMembers(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for _, tt := range []struct{ target, body, field string }{
		{"/api/realm", `{}`, "id"},
		{"/api/realm", `{"id":""}`, "id"},
		{"/api/realm", `{"id":null}`, "id"},
		{"/api/realm", `{"id":7}`, "id"},
		{"/api/realm", `{"id":{"a":1}}`, "id"},
		{"/api/realm", `{"id":"a","id":"b"}`, "id"},
		{"/api/realm", `{"ID":"a"}`, "id"},
		{"/api/realm", `{"id":"a","Config":{}}`, "Config"},
		{"/api/realm", `{"id":"a","zz":1,"aa":2}`, "aa"},
		{"/api/realm", `{"id":"a","constructor ":1}`, `"constructor "`},
		{"/api/realm", `{"id":"a","config":[]}`, "config"},
		{"/api/realm", `{"id":"a","config":"x"}`, "config"},
		{"/api/realm", `{"id":"a","config":{"url":1}}`, "config.url"},
		{"/api/realm", `{"id":"a","config":{"uri":"x"}}`, "config.uri"},
		{"/api/realm", `{"id":"a","config":{"url":"x","url":"y"}}`, "config.url"},
		{"/api/realm", `{"id":"a","config":{"arguments":[{"name":"a","place":"url"},{"name":[]}]}}`, "config.arguments[1].name"},
		{"/api/realm", `{"id":"a","config":{"limits":{"windows":[{"per":5}]}}}`, "config.limits.windows[0].per"},
		{"/api/realm", `{"id":"a","config":{"shared":{"x":5}}}`, "config.shared.x"},
		{"/api/realm", `{"id":"a","config":{"shared":{"x":"******************"}}}`, "config.shared.x"},
		{"/api/realm", `{"id":"a","config":{"shared":{"a b":"******************"}}}`, `config.shared."a b"`},
		{"/api/realm", `{"id":"a","comment":5}`, "comment"},
		{"/api/realm", `{"id":"a","logic_code":["x"]}`, "logic_code"},
		{"/api/realm/r/test", `{}`, "key"},
		{"/api/realm/r/test", `{"key":5}`, "key"},
		{"/api/realm/r/test", `{"key":"k","realm":"r"}`, "realm"},
		{"/api/realm/r/test", `{"key":"k","config":{"x":1}}`, "config.x"},
		{"/api/realm/r/test", `{"key":"k","config":{"shared":{"x":"******************"}}}`, "config.shared.x"},
		{"/api/secret", `{"key":"k"}`, "realm"},
		{"/api/secret", `{"realm":"r"}`, "key"},
		{"/api/secret", `{"realm":"r","key":"k","key":"l"}`, "key"},
		{"/api/secret", `{"realm":"r","key":"k","key_1":5}`, "key_1"},
		{"/api/secret", `{"realm":"r","key":"k","key_1":["x"]}`, "key_1"},
		{"/api/secret", `{"realm":"r","key":"k","key_1":true}`, "key_1"},
		{"/api/secret", `{"realm":"r","key":"k","key_1":"a","key_1":"a"}`, "key_1"},
		{"/api/secret", `{"realm":"r","key":"k","key_0":"a"}`, "key_0"},
		{"/api/secret", `{"realm":"r","key":"k","key_01":"a"}`, "key_01"},
		{"/api/secret", `{"realm":"r","key":"k","key_":"a"}`, "key_"},
		{"/api/secret", `{"realm":"r","key":"k","key_99999":"a"}`, "key_99999"},
		{"/api/secret", `{"realm":"r","key":"k","Key_1":"a"}`, "Key_1"},
		{"/api/secret", `{"realm":"r","key":"k","appid":"a"}`, "appid"},
		{"/api/secret", `{"realm":"r","key":"k","fields":"a"}`, "fields"},
		{"/api/secret", `{"realm":"r","key":"k","fields":["a"]}`, "fields"},
		{"/api/secret", `{"realm":"r","key":"k","fields":{"appid":1}}`, "fields.appid"},
		{"/api/secret", `{"realm":"r","key":"k","fields":{"appid":"a","appid":"b"}}`, "fields.appid"},
		{"/api/secret", `{"realm":"r","key":"k","fields":{"app id":"a"}}`, `fields."app id"`},
		{"/api/secret", `{"realm":"r","key":"k","fields":{"":"a"}}`, `fields.""`},
		{"/api/secret", `{"realm":"r","key":"k","fields":{"key_1":"a"},"key_1":"b"}`, "key_1"},
		{"/api/secret", `{"realm":"r","key":"k","fields":{"key_1":null},"key_1":"b"}`, "key_1"},
		{"/api/secret", `{"realm":"r","key":"k","fields":{"a":` + deep + `}}`, "*"},
		{"/api/secret", `{"realm":"r","key":"k","token":5}`, "token"},
		{"/api/secret", `{"realm":"r","key":"k","token":"t","expires_at":-1}`, "expires_at"},
		{"/api/secret", `{"realm":"r","key":"k","token":"t","expires_at":1.5}`, "expires_at"},
		{"/api/secret", `{"realm":"r","key":"k","token":"t","expires_at":"soon"}`, "expires_at"},
		{"/api/secret", `{"realm":"r","key":"k","token":"t","expires_at":""}`, "expires_at"},
		{"/api/secret", `{"realm":"r","key":"k","token":"t","expires_at":{}}`, "expires_at"},
		{"/api/secret", `{"realm":"r","key":"k","token":"t","expires_at":99999999999999999999}`, "expires_at"},
		{"/api/secret", `{"realm":"r","key":"k","token":"t","expires_at":253402300800000}`, "expires_at"},
		{"/api/secret", `{"realm":"r","key":"k","drop_refresh_token":"yes"}`, "drop_refresh_token"},
	} {
		p, c := newPuppet(t)
		a := c.json(http.MethodPost, tt.target, tt.body)
		if tt.field == "*" {
			a.refused(http.StatusBadRequest, "invalid_field", "")
			continue
		}
		a.wrong(tt.field)
		if t.Failed() {
			t.Fatalf("POST %s %s\n%s", tt.target, tt.body, a.body)
		}
		if tt.target == "/api/secret" && p.ref.Realm != "" {
			t.Errorf("%s reached the broker", tt.body)
		}
	}
}
