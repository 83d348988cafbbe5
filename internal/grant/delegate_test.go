package grant

import (
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const delegateBody = `{"realm":"test","key":"main","a":"1","b":"\"2\"","password":"p"}`

var delegateFields = map[string]string{"password": "p", "b": `"2"`, "a": "1", "realm": "other", "key": "other"}

// TestLogicCode: the earlier service's delegate gets realm, key and all fields
// of that secret, and nothing that others share.
func TestLogicCode(t *testing.T) {
	p := newProvider(t, answering(200, "text/html", `{"token":"T","expires_in":60}`))
	r := realm.Realm{ID: "test", LogicCode: p.URL + "/logic?x=1"}
	r.Config.Shared = map[string]realm.Hidden{"shared": "S"}
	b := bind(t, r, delegateFields)
	got, err := b.Fetch(t.Context(), testClient(t), Request{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Token.Access.Reveal() != "T" || !got.Token.ExpiresAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("token %+v", got.Token)
	}
	if q := p.requests[0]; q.method != "POST" || q.path != "/logic" || q.query != "x=1" || q.body != delegateBody || q.header.Get("Content-Type") != "application/json" {
		t.Errorf("request %+v", q)
	}
}

func TestDelegateGrant(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"data":{"token":"T"},"ttl":1000}`))
	r := realmOf(t, `{"token_path":"data.token","expires_in_path":"ttl","expires_in_unit":"ms","arguments":[{"name":"X-Auth","place":"header","value":"$a"}],"grant":{"name":"delegate","token_url":"@/d"}}`, p.URL)
	r.LogicCode = "https://not.asked.example/"
	got, err := bind(t, r, delegateFields).Fetch(t.Context(), testClient(t), Request{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Token.Access.Reveal() != "T" || !got.Token.ExpiresAt.Equal(noon.Add(time.Second)) {
		t.Errorf("token %+v", got.Token)
	}
	if q := p.requests[0]; q.body != delegateBody || q.header.Get("X-Auth") != "1" {
		t.Errorf("request %+v", q)
	}
}

func TestDelegateGrantAsksLogicCode(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"token":"T"}`))
	r := realmOf(t, `{"grant":{"name":"delegate"}}`, "")
	r.LogicCode = p.URL
	if _, err := bind(t, r, nil).Fetch(t.Context(), testClient(t), Request{}); err != nil {
		t.Fatal(err)
	}
	if q := p.requests[0]; q.body != `{"realm":"test","key":"main"}` {
		t.Errorf("request %+v", q)
	}
}

// TestConfigWins: logic_code is asked only where config says nothing.
func TestConfigWins(t *testing.T) {
	for config, path := range map[string]string{
		`{}`: "/logic",
		`{"url":"@/recipe","token_path":"token"}`:                                            "/recipe",
		`{"token_path":"token","grant":{"name":"client_credentials","token_url":"@/grant"}}`: "/grant",
	} {
		p := newProvider(t, answering(200, "", `{"token":"T"}`))
		r := realmOf(t, config, p.URL)
		r.LogicCode = p.URL + "/logic"
		if _, err := bind(t, r, fields).Fetch(t.Context(), testClient(t), Request{}); err != nil {
			t.Fatal(err)
		}
		if got := p.requests[0].path; got != path {
			t.Errorf("%s: asked %s", config, got)
		}
	}
}
