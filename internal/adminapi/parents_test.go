package adminapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// family is a realm wx with the keys main (the default one) and other, and the
// server that it and its children are asked at.
func family(t *testing.T) *server {
	t.Helper()
	ticket := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeCom, Credentials: map[string]string{"corp": "corp-secret"}})
	s := newServerOf(t, fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"wx1": "wx1-secret"}, API: ticket})
	s.must(http.MethodPost, "/api/realm", `{"id":"wx","config":`+s.movedTo(s.url)[:len(s.movedTo(s.url))-1]+`,"default_key":"main","renew_on":[{"json":"errcode","values":[40001]}]}}`)
	for _, key := range []string{"main", "other"} {
		s.must(http.MethodPost, "/api/secret", `{"realm":"wx","key":"`+key+`","key_1":"wx1","key_2":"wx1-secret","key_3":"client_credential"}`)
	}
	return s
}

// child is the body of a realm that takes the token that value names.
func (s *server) child(id, value string) string {
	return fmt.Sprintf(`{"id":%q,"config":%s}`, id, s.childConfig(value))
}

func (s *server) childConfig(value string) string {
	return `{"url":"` + s.url + `/cgi-bin/gettoken?corpid=corp&corpsecret=corp-secret","allow_http":true,"token_path":"access_token","expires_in_path":"expires_in",
		"arguments":[{"name":"access_token","place":"url","value":"` + value + `"}]}`
}

// TestParentsTakeTheRightToRead: whoever saves a realm, writes a secret or tries a
// config can use the tokens that it takes of others. He needs the right to read
// them, and without it hears the same whatever there is.
func TestParentsTakeTheRightToRead(t *testing.T) {
	s := family(t)
	without := s.client(t, "without", "allow admin child *", "allow admin_read * *")
	one := s.client(t, "one", "allow admin child *", "allow read wx main")
	all := s.client(t, "all", "allow admin child *", "allow read wx *")
	for value, may := range map[string]string{
		"{token_of.wx}": "one all", "{token_of.wx.main}": "one all", "{token_of.wx.other}": "all", "{token_of.wx.nobody}": "all",
		"{token_of.nobody}": "", "{token_of.nobody.main}": "",
	} {
		for name, c := range map[string]caller{"without": without, "one": one, "all": all} {
			a := c.json(http.MethodPost, "/api/realm", s.child("child", value))
			if strings.Contains(may, name) {
				if a.status != http.StatusOK {
					t.Errorf("%s, %s: %d %s", name, value, a.status, a.body)
				}
				continue
			}
			doc := a.refused(http.StatusForbidden, "forbidden", "")
			if detail := fmt.Sprint(doc["detail"]); detail != errForbidden.Detail {
				t.Errorf("%s, %s: %s", name, value, detail)
			}
		}
	}
	s.json(http.MethodPost, "/api/realm", s.child("child", "{token_of.nobody}")).wrong("config.arguments[0].value")

	// A secret names the key.
	all.json(http.MethodPost, "/api/realm", s.child("child", "{token_of.wx}"))
	for key, may := range map[string]bool{"main": true, "other": false, "nobody": false} {
		body := `{"realm":"child","key":"k-` + key + `","fields":{"parent":"` + key + `"}}`
		if a := one.json(http.MethodPost, "/api/secret", body); (a.status == http.StatusOK) != may {
			t.Errorf("a secret of %s: %d %s", key, a.status, a.body)
		} else if !may {
			a.refused(http.StatusForbidden, "forbidden", errForbidden.Detail)
		}
	}
	s.must(http.MethodPost, "/api/secret", `{"realm":"child","key":"taken","fields":{"parent":"other","x":"1"}}`)
	one.json(http.MethodPost, "/api/secret", `{"realm":"child","key":"taken","fields":{"x":"2"}}`).refused(http.StatusForbidden, "forbidden", "")

	// A dry run takes the same, with a config and without.
	one.json(http.MethodPost, "/api/realm/child/test", `{"key":"taken"}`).refused(http.StatusForbidden, "forbidden", "")
	one.json(http.MethodPost, "/api/realm/child/test", `{"key":"k-main","config":`+s.childConfig("{token_of.wx.other}")+`}`).refused(http.StatusForbidden, "forbidden", "")
	before := s.provider.Fetches()
	without.json(http.MethodPost, "/api/realm/child/test", `{"key":"k-main"}`).refused(http.StatusForbidden, "forbidden", "")
	if s.provider.Fetches() != before {
		t.Error("the parent was asked")
	}
	if a := one.json(http.MethodPost, "/api/realm/child/test", `{"key":"k-main"}`); a.status != http.StatusOK || !strings.Contains(a.body, `"token"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A realm that others need is not deleted, and whoever may see them hears which.
func TestDeletingAParent(t *testing.T) {
	s := family(t)
	s.must(http.MethodPost, "/api/realm", s.child("seen", "{token_of.wx}"))
	s.must(http.MethodPost, "/api/realm", s.child("unseen", "{token_of.wx.main}"))
	for _, c := range []struct {
		caller
		names []string
	}{
		{s.caller, []string{"seen", "unseen"}},
		{s.client(t, "some", "allow admin wx *", "allow admin_read seen *"), []string{"seen"}},
		{s.client(t, "none", "allow admin wx *"), nil},
	} {
		for _, query := range []string{"", "?cascade=true"} {
			detail := fmt.Sprint(c.json(http.MethodDelete, "/api/realm/wx"+query, "").refused(http.StatusConflict, "conflict", "")["detail"])
			_, names, _ := strings.Cut(detail, "first: ")
			if names != strings.Join(c.names, ", ") {
				t.Errorf("%q: want %v", detail, c.names)
			}
		}
	}
	s.must(http.MethodDelete, "/api/realm/seen", "")
	s.must(http.MethodDelete, "/api/realm/unseen", "")
	s.must(http.MethodDelete, "/api/realm/wx?cascade=true", "")
}

// The status and an explanation name the parents to whoever may see them.
func TestParentsInStatusAndExplanation(t *testing.T) {
	s := family(t)
	s.must(http.MethodPost, "/api/realm", strings.Replace(s.child("child", "{token_of.wx.main}"), `{"url"`, `{"api":"https://x.example.com","inject":[{"place":"url","name":"t"}],"url"`, 1))
	s.must(http.MethodPost, "/api/secret", `{"realm":"child","key":"k","fields":{"x":"1"}}`)
	s.must(http.MethodGet, "/api/token?realm=child&key=k", "")
	s.must(http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["child"]}]}`)
	const question = `{"client":"app","realm":"child","key":"k"}`
	for _, c := range []struct {
		caller
		seen bool
	}{{s.caller, true}, {s.client(t, "half", "allow admin_read child *"), false}} {
		status, told := c.get("/api/status").body, c.json(http.MethodPost, "/api/explain", question).body
		if got := strings.Contains(status, `"parents":[{"realm":"wx","key":"main"}]`); got != c.seen {
			t.Errorf("%s", status)
		}
		if got := strings.Contains(told, "obtained with one of realm wx"); got != c.seen {
			t.Errorf("%s", told)
		}
	}
}
